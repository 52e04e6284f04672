//! Batch: many datagrams in one call.
//!
//! A train is several datagrams of equal size in one buffer, of which the last may be shorter. The kernel hands them over like
//! that (UDP_GRO) and takes them like that (UDP_SEGMENT): one way through its layers for all of them.

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Range;
use std::ptr;

use rustix::net::SendFlags;
use socket2::SockRef;

use super::Socket;

/// Datagrams that one call takes or gives at most.
pub const SLOTS: usize = 64;
/// Room for one datagram, or one train: no larger one can be, so that none is ever cut.
const SLOT_BYTES: usize = 64 * 1024;
/// The most datagrams in one train (UDP_MAX_SEGMENTS of every kernel).
pub const TRAIN_MAX: usize = 64;
/// The most bytes in one train, whatever the headers.
pub const TRAIN_BYTES_MAX: usize = 65_487;
/// Room for what comes beside a datagram: where it was sent to, and the size of a train's parts.
const CONTROL_BYTES: usize = 128;

/// What came into a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes, of all parts together.
    pub bytes: usize,
    /// The size of each part but the last, of a train.
    pub segment: Option<usize>,
    /// Whether there was more of it than there is room for.
    pub is_cut: bool,
    /// Who sent it.
    pub from: Option<SocketAddr>,
    /// Which of the machine's addresses it was sent to, where the socket stands for all of them.
    pub to: Option<IpAddr>,
}

/// A part of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Which slot.
    pub slot: usize,
    /// Where it begins there.
    pub offset: usize,
    /// Its bytes.
    pub bytes: usize,
}

/// One datagram, or one train, that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// Its first piece, in a list of pieces.
    pub first: usize,
    /// How many of them it is.
    pub count: usize,
    /// The size of each part but the last, of a train.
    pub segment: Option<usize>,
    /// To whom, from a socket that is not connected.
    pub to: Option<SocketAddr>,
    /// From which of the machine's addresses.
    pub from: Option<IpAddr>,
}

#[repr(align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// Buffers for as many datagrams as one call takes, and what the call needs beside them.
pub struct Batch {
    memory: Box<[u8]>,
    headers: Box<[libc::mmsghdr]>,
    pieces: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    /// What lies in each slot.
    received: Box<[Received]>,
}

impl Batch {
    /// With nothing in it. Memory is taken from the kernel only as far as it is used.
    pub fn new() -> Batch {
        let nothing = Received { bytes: 0, segment: None, is_cut: false, from: None, to: None };
        // SAFETY: of these plain structures of the kernel's all zeroes is a value: no pointers, no lengths.
        let (header, name) =
            unsafe { (mem::zeroed::<libc::mmsghdr>(), mem::zeroed::<libc::sockaddr_storage>()) };
        let piece = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Batch {
            memory: vec![0; SLOTS * SLOT_BYTES].into(),
            headers: vec![header; SLOTS].into(),
            pieces: vec![piece; SLOTS].into(),
            names: vec![name; SLOTS].into(),
            controls: vec![Control([0; CONTROL_BYTES]); SLOTS].into(),
            received: vec![nothing; SLOTS].into(),
        }
    }

    /// Bytes that it takes at most.
    pub const fn bytes() -> usize {
        SLOTS
            * (SLOT_BYTES
                + CONTROL_BYTES
                + mem::size_of::<libc::mmsghdr>()
                + mem::size_of::<libc::sockaddr_storage>())
    }

    /// Takes what the socket has into the slots from `first` on, at most `max` of them, and says how many.
    pub fn receive(&mut self, socket: &Socket, first: usize, max: usize) -> io::Result<usize> {
        let slots = first..(first + max).min(SLOTS);
        for slot in slots.clone() {
            let name = (&raw mut self.names[slot]).cast();
            self.lay_out(slot, name, mem::size_of::<libc::sockaddr_storage>());
        }
        self.fill(socket, slots)
    }

    /// The same, of a socket that hears from one only: who sent it is not told.
    pub fn receive_connected(&mut self, socket: &Socket, first: usize, max: usize) -> io::Result<usize> {
        let slots = first..(first + max).min(SLOTS);
        slots.clone().for_each(|slot| self.lay_out(slot, ptr::null_mut(), 0));
        self.fill(socket, slots)
    }

    /// Has the header of a slot point to its room, and to this one for a name.
    fn lay_out(&mut self, slot: usize, name: *mut libc::c_void, name_bytes: usize) {
        let room = &mut self.memory[slot * SLOT_BYTES..(slot + 1) * SLOT_BYTES];
        self.pieces[slot] = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
        let header = &mut self.headers[slot].msg_hdr;
        header.msg_name = name;
        header.msg_namelen = name_bytes as libc::socklen_t;
        header.msg_iov = &raw mut self.pieces[slot];
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut self.controls[slot].0).cast();
        header.msg_controllen = CONTROL_BYTES;
        header.msg_flags = 0;
    }

    fn fill(&mut self, socket: &Socket, slots: Range<usize>) -> io::Result<usize> {
        assert!(!slots.is_empty());
        let first = slots.start;
        // Not by libc's recvmmsg, where a thread may be cancelled: for that it does two atomic exchanges around each call.
        // SAFETY: each header was just made to point to a slot, a piece and a control of its own, and to a name or none, with their
        // sizes; all of them are in boxes of this value, which is borrowed for the call.
        let count = unsafe {
            libc::syscall(
                libc::SYS_recvmmsg,
                socket.raw(),
                self.headers[slots.clone()].as_mut_ptr(),
                slots.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut::<libc::timespec>(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for slot in first..first + count {
            self.received[slot] = self.look(slot);
        }
        Ok(count)
    }

    /// What lies in a slot.
    pub fn received(&self, slot: usize) -> Received {
        self.received[slot]
    }

    /// What lies in a part of a slot.
    pub fn bytes_of(&self, piece: &Piece) -> &[u8] {
        &self.memory[piece.slot * SLOT_BYTES + piece.offset..][..piece.bytes]
    }

    fn look(&self, slot: usize) -> Received {
        let header = &self.headers[slot];
        let mut found = Received {
            bytes: header.msg_len as usize,
            segment: None,
            is_cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            from: address(&self.names[slot], header.msg_hdr.msg_namelen),
            to: None,
        };
        if header.msg_hdr.msg_controllen == 0 {
            return found;
        }
        // SAFETY: the kernel has filled `msg_controllen` bytes of the control that the header points to; the macros of libc
        // walk no further than that. What each message holds is the kernel's word for its level and type, and it is read
        // without regard to alignment.
        unsafe {
            let mut message = libc::CMSG_FIRSTHDR(&raw const header.msg_hdr);
            while !message.is_null() {
                let data = libc::CMSG_DATA(message);
                match ((*message).cmsg_level, (*message).cmsg_type) {
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                        let info: libc::in_pktinfo = ptr::read_unaligned(data.cast());
                        found.to = Some(Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr)).into());
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let info: libc::in6_pktinfo = ptr::read_unaligned(data.cast());
                        let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                        // Nobody can answer from an address of many.
                        found.to = (!ip.is_multicast()).then_some(ip.into());
                    }
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        let size: libc::c_int = ptr::read_unaligned(data.cast());
                        found.segment =
                            usize::try_from(size).ok().filter(|&size| 0 < size && size < found.bytes);
                    }
                    _ => {}
                }
                message = libc::CMSG_NXTHDR(&raw const header.msg_hdr, message);
            }
        }
        found
    }

    /// Sends one datagram or train on a connected socket.
    pub fn send(&mut self, socket: &Socket, pieces: &[Piece], message: &Outgoing) -> io::Result<()> {
        let parts = &pieces[message.first..message.first + message.count];
        if let ([only], None) = (parts, message.segment) {
            let bytes = self.bytes_of(only);
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            return rustix::net::send(socket, bytes, flags).map(drop).map_err(io::Error::from);
        }
        let mut result = Ok(());
        self.send_all(socket, pieces, &[*message], |_, error| result = Err(error));
        result
    }

    /// Sends one datagram on a connected socket, with these bytes before it.
    pub fn send_behind(&self, socket: &Socket, header: &[u8], piece: &Piece) -> io::Result<()> {
        let bytes = self.bytes_of(piece);
        let parts = [io::IoSlice::new(header), io::IoSlice::new(bytes)];
        SockRef::from(socket)
            .send_vectored_with_flags(&parts, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .map(drop)
    }

    /// Sends all of these with as few calls as it takes. Calls `failed` with those that were not sent; the others were.
    pub fn send_all(
        &mut self,
        socket: &Socket,
        pieces: &[Piece],
        messages: &[Outgoing],
        mut failed: impl FnMut(usize, io::Error),
    ) {
        assert!(messages.len() <= SLOTS);
        let mut used = 0;
        for (place, message) in messages.iter().enumerate() {
            let first = used;
            for piece in &pieces[message.first..message.first + message.count] {
                let bytes = &mut self.memory[piece.slot * SLOT_BYTES + piece.offset..][..piece.bytes];
                self.pieces[used] = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
                used += 1;
            }
            let name_bytes = message.to.map_or(0, |to| write_address(to, &mut self.names[place]));
            let control_bytes = write_control(message, &mut self.controls[place]);
            let header = &mut self.headers[place].msg_hdr;
            header.msg_name =
                if name_bytes > 0 { (&raw mut self.names[place]).cast() } else { ptr::null_mut() };
            header.msg_namelen = name_bytes;
            header.msg_iov = &raw mut self.pieces[first];
            header.msg_iovlen = used - first;
            header.msg_control =
                if control_bytes > 0 { (&raw mut self.controls[place].0).cast() } else { ptr::null_mut() };
            header.msg_controllen = control_bytes;
            header.msg_flags = 0;
        }
        let mut at = 0;
        while at < messages.len() {
            let rest = &mut self.headers[at..messages.len()];
            // SAFETY: each header was just made to point to pieces of slots, and to a name and a control of its own or to none,
            // with their sizes; all of them are in boxes of this value, which is borrowed for the call.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.raw(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
                )
            };
            match usize::try_from(sent) {
                Ok(sent @ 1..) => at += sent,
                _ => {
                    failed(at, io::Error::last_os_error());
                    at += 1;
                }
            }
        }
    }
}

impl Default for Batch {
    fn default() -> Batch {
        Batch::new()
    }
}

/// Whether a datagram is larger than the way takes.
pub fn is_too_large(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// Whether a train could not be sent as one, and its parts may be.
pub fn is_no_train(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT)
    )
}

/// What goes beside a datagram, and how many bytes that is.
fn write_control(message: &Outgoing, control: &mut Control) -> usize {
    let mut used = 0;
    match message.from {
        Some(IpAddr::V4(ip)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from(ip).to_be() },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            put(control, &mut used, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
        Some(IpAddr::V6(ip)) => {
            let info =
                libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
            put(control, &mut used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
        None => {}
    }
    if let Some(segment) = message.segment {
        let segment = u16::try_from(segment).unwrap_or(u16::MAX);
        put(control, &mut used, libc::SOL_UDP, libc::UDP_SEGMENT, &segment);
    }
    used
}

fn put<T>(control: &mut Control, used: &mut usize, level: libc::c_int, kind: libc::c_int, value: &T) {
    let bytes = mem::size_of::<T>() as u32;
    // SAFETY: CMSG_SPACE and CMSG_LEN only calculate.
    let (space, length) = unsafe { (libc::CMSG_SPACE(bytes) as usize, libc::CMSG_LEN(bytes) as usize) };
    assert!(*used + space <= CONTROL_BYTES);
    // SAFETY: the header and the value lie inside the control (asserted), which is aligned for a header, as every space is.
    unsafe {
        let message: *mut libc::cmsghdr = control.0.as_mut_ptr().add(*used).cast();
        (*message).cmsg_len = length as _;
        (*message).cmsg_level = level;
        (*message).cmsg_type = kind;
        ptr::write_unaligned(libc::CMSG_DATA(message).cast(), ptr::read(value));
    }
    *used += space;
}

/// An address as the kernel wrote it.
fn address(name: &libc::sockaddr_storage, bytes: libc::socklen_t) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET if bytes as usize >= mem::size_of::<libc::sockaddr_in>() => {
            // SAFETY: a sockaddr_storage is larger than every address and aligned for each; the family says which it is.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(name.sin_port))))
        }
        libc::AF_INET6 if bytes as usize >= mem::size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above.
            let name = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(name.sin6_port), 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// An address as the kernel reads it, and how many bytes that is.
fn write_address(address: SocketAddr, name: &mut libc::sockaddr_storage) -> libc::socklen_t {
    match address {
        SocketAddr::V4(address) => {
            // SAFETY: a sockaddr_storage is larger than every address and aligned for each, and all of it is initialised.
            let name = unsafe { &mut *ptr::from_mut(name).cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = address.port().to_be();
            name.sin_addr.s_addr = u32::from(*address.ip()).to_be();
            mem::size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(address) => {
            // SAFETY: as above.
            let name = unsafe { &mut *ptr::from_mut(name).cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = address.port().to_be();
            name.sin6_flowinfo = 0;
            name.sin6_addr.s6_addr = address.ip().octets();
            name.sin6_scope_id = address.scope_id();
            mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

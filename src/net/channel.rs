//! Channel: messages between a process and the one that takes over from it, with descriptors beside them.
//!
//! A socket pair that keeps messages apart (SOCK_SEQPACKET). Descriptors travel with a message (SCM_RIGHTS), and not by
//! inheritance: a descriptor that is to be inherited would also go to whatever program a health check starts in the same
//! moment.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Stdio;
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Descriptors in one message. The kernel takes 253.
pub const DESCRIPTORS_MAX: usize = 128;
/// Bytes in one message.
pub const BYTES_MAX: usize = 64 << 10;

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Two ends.
    pub fn pair() -> io::Result<(Channel, Channel)> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Channel(ours), Channel(theirs)))
    }

    /// The end that is this process's standard input, which is empty from now on.
    ///
    /// # Errors
    ///
    /// When it is something else.
    pub fn from_standard_input() -> io::Result<Channel> {
        let input = io::stdin();
        if sockopt::socket_type(&input).ok() != Some(SocketType::SEQPACKET) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "standard input is no socket of messages",
            ));
        }
        let channel = Channel(input.as_fd().try_clone_to_owned()?);
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        Ok(channel)
    }

    /// For the process that is to have this end as its standard input.
    pub fn into_standard_input(self) -> Stdio {
        Stdio::from(self.0)
    }

    /// Sends one message: waits for room no longer than this.
    pub fn send(&self, text: &str, descriptors: &[BorrowedFd<'_>], patience: Duration) -> io::Result<()> {
        assert!(!text.is_empty(), "an empty message would look like the end");
        assert!(descriptors.len() <= DESCRIPTORS_MAX);
        sockopt::set_socket_timeout(&self.0, Timeout::Send, Some(at_least(patience)))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(beside.push(SendAncillaryMessage::ScmRights(descriptors)), "there is room for them");
        }
        let text = [IoSlice::new(text.as_bytes())];
        retry_on_intr(|| sendmsg(&self.0, &text, &mut beside, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// Receives one message and what is beside it, or `None` when the other end is closed; waits no longer than this
    /// (`WouldBlock`).
    pub fn receive(&self, patience: Duration) -> io::Result<Option<(String, Vec<OwnedFd>)>> {
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        sockopt::set_socket_timeout(&self.0, Timeout::Recv, Some(at_least(patience)))?;
        let mut bytes = vec![0; BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let received = retry_on_intr(|| {
            recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::CMSG_CLOEXEC)
        })?;
        let mut descriptors = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        // The kernel leaves out what this process may not open.
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(wrong(
                "a message came without a part of it: too long, or over the limit on open files",
            ));
        }
        bytes.truncate(received.bytes);
        let text = String::from_utf8(bytes).map_err(|_| wrong("a message is no text"))?;
        Ok(Some((text, descriptors)))
    }
}

/// No time at all would mean for ever.
fn at_least(patience: Duration) -> Duration {
    patience.max(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn descriptors_come_with_their_message() {
        let (ours, theirs) = Channel::pair().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        ours.send("two", &[listener.as_fd(), listener.as_fd()], PATIENCE).unwrap();
        ours.send("none", &[], PATIENCE).unwrap();
        drop((ours, listener));
        let (text, descriptors) = theirs.receive(PATIENCE).unwrap().unwrap();
        assert_eq!((text.as_str(), descriptors.len()), ("two", 2));
        let (text, none) = theirs.receive(PATIENCE).unwrap().unwrap();
        assert_eq!((text.as_str(), none.len()), ("none", 0));
        assert!(theirs.receive(PATIENCE).unwrap().is_none(), "the end");
        // It still listens, although the one who made it is gone.
        let mut descriptors = descriptors.into_iter().map(TcpListener::from);
        TcpStream::connect(address).unwrap().write_all(b"hello").unwrap();
        assert!(descriptors.next().unwrap().accept().is_ok());
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (ours, _theirs) = Channel::pair().unwrap();
        let error = ours.receive(Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let text = "x".repeat(BYTES_MAX);
        let error = loop {
            if let Err(error) = ours.send(&text, &[], Duration::ZERO) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}

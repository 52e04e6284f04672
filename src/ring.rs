//! The ring: our own entries on the ring of one worker's runtime, and a second ring of ours beside it.
//!
//! tokio-uring offers reads and writes with buffers of its own making and a connect without options. What ringway needs
//! beside that goes onto the same ring through `UnsubmittedOneshot`, which takes any entry that completes once.
//!
//! The rule that keeps this sound: whatever an entry points to (descriptor, buffer, address) is moved into the
//! operation, and comes back only with its completion. If the future is dropped, the driver keeps it until then. But
//! dropping does not cancel: bytes that a forgotten read takes are lost. So nothing here is ever raced against a timer;
//! who wants an operation to end breaks the connection (`net::abort`, `net::stop_connecting`) and awaits it.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use socket2::SockAddr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_uring::buf::{IoBuf, IoBufMut};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};

use crate::buffers::{Buffer, Chunk, Slab};
use crate::net::Socket;

use runtime::COMPLETIONS_MAX;

pub use runtime::runtime;
pub use unavailable::Unavailable;

mod runtime;
mod unavailable;

/// Finds out whether io_uring can be used.
pub fn probe() -> Result<(), Unavailable> {
    elsewhere(probe_here)
}

/// Finds out whether a [`SecondRing`] can be had.
pub fn probe_second() -> io::Result<()> {
    elsewhere(|| SecondRing::new(8, 8).map(drop))
}

/// Asks on a thread that ends with the answer: when a ring is torn down the kernel interrupts the thread that used it, some
/// time later, and whatever that thread then waits in fails with EINTR.
fn elsewhere<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(ask).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Makes a ring, asks for the operations, runs one that does nothing.
fn probe_here() -> Result<(), Unavailable> {
    let mut ring = IoUring::new(2).map_err(|error| Unavailable::new("io_uring_setup", error))?;
    let mut probe = io_uring::Probe::new();
    // A filter may refuse registration and nothing else; then plain buffers serve, and only running it will tell.
    if ring.submitter().register_probe(&mut probe).is_ok() {
        let needed =
            [opcode::PollAdd::CODE, opcode::ReadFixed::CODE, opcode::WriteFixed::CODE, opcode::Connect::CODE];
        if !needed.iter().all(|&code| probe.is_supported(code)) {
            return Err(Unavailable::new("io_uring_register", io::Error::from_raw_os_error(libc::ENOSYS)));
        }
    }
    // SAFETY: a Nop points to nothing.
    unsafe { ring.submission().push(&opcode::Nop::new().build()) }
        .expect("the queue was just made, and is empty");
    ring.submit_and_wait(1).map_err(|error| Unavailable::new("io_uring_enter", error))?;
    Ok(())
}

// SAFETY: the range lies inside one vector (asserted when it was made) that is never resized, so that it stays where it
// is until the slab is dropped; and all of it was set to zero, so that it is initialised throughout.
unsafe impl IoBuf for Slab {
    fn stable_ptr(&self) -> *const u8 {
        self.address_for_reading()
    }

    fn bytes_init(&self) -> usize {
        self.size()
    }

    fn bytes_total(&self) -> usize {
        self.size()
    }
}

// SAFETY: as above; `set_init` has nothing to note, because everything is initialised from the start.
unsafe impl IoBufMut for Slab {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.address()
    }

    unsafe fn set_init(&mut self, _count: usize) {}
}

/// Lets the other tasks have their turn, and hands everything that is queued on the runtime's ring to the kernel.
///
/// Not by tokio's `yield_now`: that does not park the thread, and the runtime calls the kernel only when it parks. A task that
/// only ever yielded would keep every accept, connect and read of the others waiting for as long as it has work.
pub async fn let_others_run() {
    // That it failed would say that the kernel was called.
    let _ = submit((), opcode::Nop::new().build()).await;
}

/// A descriptor that wakes the task which waits for it to be readable. Only the edge tells.
pub fn wakes(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by the value that is registered, which nobody replaces; it closes with it.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

/// Waits until there is something to read, the stream has ended or it is broken. Holds no buffer meanwhile.
pub async fn readable(socket: &Socket) -> io::Result<()> {
    poll(socket.clone(), socket.raw(), libc::POLLIN).await
}

/// Waits until something can be written, or the connection is broken.
pub async fn writable(socket: &Socket) -> io::Result<()> {
    poll(socket.clone(), socket.raw(), libc::POLLOUT).await
}

/// Waits until a connection can be accepted, or the listener has been stopped. It takes nothing: it can be left behind.
pub async fn acceptable<Listener: AsRawFd + 'static>(listener: &std::rc::Rc<Listener>) -> io::Result<()> {
    poll(std::rc::Rc::clone(listener), listener.as_raw_fd(), libc::POLLIN).await
}

async fn poll<Owner: Unpin + 'static>(
    owner: Owner,
    descriptor: i32,
    events: libc::c_short,
) -> io::Result<()> {
    let entry = opcode::PollAdd::new(types::Fd(descriptor), events as u32).build();
    let (result, _) = submit(owner, entry).await;
    result.map(drop)
}

/// Reads once, as much as is there and fits. `None` is the end of the stream; the buffer is back in its arena then.
pub fn read(socket: &Socket, buffer: Buffer) -> impl Future<Output = io::Result<Option<Chunk>>> {
    read_at_most(socket, buffer, usize::MAX)
}

/// The same, but no more than `max` bytes, of which there is at least one.
pub async fn read_at_most(socket: &Socket, mut buffer: Buffer, max: usize) -> io::Result<Option<Chunk>> {
    // A read of nothing would look like the end of the stream.
    assert!(max > 0);
    loop {
        let size = buffer.size().min(max) as u32;
        let (descriptor, address) = (types::Fd(socket.raw()), buffer.address());
        let entry = if buffer.is_registered() {
            opcode::ReadFixed::new(descriptor, address, size, 0).build()
        } else {
            opcode::Read::new(descriptor, address, size).build()
        };
        let (result, (_, back)) = submit((socket.clone(), buffer), entry).await;
        buffer = back;
        match result {
            Ok(0) => return Ok(None),
            Ok(count) => return Ok(Some(Chunk::filled(buffer, count as usize))),
            Err(error) if is_transient(&error) => readable(socket).await?,
            Err(error) => return Err(error),
        }
    }
}

/// Writes once, at most what is left of the chunk, and advances it by what was written.
pub async fn write(socket: &Socket, mut chunk: Chunk) -> io::Result<Chunk> {
    assert!(chunk.remaining() > 0);
    loop {
        let (descriptor, address, size) =
            (types::Fd(socket.raw()), chunk.address(), chunk.remaining() as u32);
        let entry = if chunk.is_registered() {
            opcode::WriteFixed::new(descriptor, address, size, 0).build()
        } else {
            opcode::Write::new(descriptor, address, size).build()
        };
        let (result, (_, back)) = submit((socket.clone(), chunk), entry).await;
        chunk = back;
        match result {
            Ok(count) => {
                chunk.advance(count as usize);
                return Ok(chunk);
            }
            Err(error) if is_transient(&error) => writable(socket).await?,
            Err(error) => return Err(error),
        }
    }
}

/// Connects a prepared socket. Ends early only by `net::stop_connecting`.
pub async fn connect(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    // Boxed: the kernel may read the address after this future has moved.
    let address = Box::new(SockAddr::from(address));
    let entry = opcode::Connect::new(types::Fd(socket.raw()), address.as_ptr().cast(), address.len()).build();
    let (result, _) = submit((socket.clone(), address), entry).await;
    result.map(drop)
}

/// The one group of buffers that the second ring picks from.
const GROUP: u16 = 0;
/// The user data of entries whose completion says nothing that matters.
const NOBODY: u64 = u64::MAX;
/// io_uring_enter(2): hand completions over, and do the work that was put off until somebody asks (DEFER_TASKRUN).
const ENTER_GETEVENTS: u32 = 1;

/// A ring of our own beside the runtime's, for what that one cannot do: one receive that completes again and again, into
/// buffers that the kernel picks when bytes are there. So nobody who waits holds a buffer.
///
/// It defers its work until [`SecondRing::enter`] (one batch, no interruptions); an eventfd tells when there is some. The
/// same rule holds as for the runtime's ring: an operation owns what its entry points to until it is complete.
pub struct SecondRing {
    /// Dropped first: the kernel lets go of the shelf before its memory does.
    ring: IoUring,
    shelf: Shelf,
    /// What is under way, by the user data of its entry.
    operations: slab::Slab<Operation>,
    /// Taken from the kernel and not looked at yet.
    completions: VecDeque<cqueue::Entry>,
    wakeups: OwnedFd,
    /// Bytes, since the beginning.
    sent: u64,
    deeds: Deeds,
    /// How often in a row an enter found nothing, although the flag said that work was put off. The kernel may leave the flag
    /// set with nothing behind it. But it also does only a part of the work at each enter, and some of that completes nothing.
    fruitless: u32,
}

/// What a second ring has done since the beginning.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deeds {
    /// Times that the kernel was entered.
    pub enters: u64,
    /// Operations, or parts of them, that were complete.
    pub completions: u64,
    /// Enters at which the kernel had more of these than there is room for; it keeps them, and none is lost.
    pub overflows: u64,
    /// Operations that are under way.
    pub in_flight: u64,
}

enum Operation {
    Receive {
        _socket: Socket,
        tag: usize,
    },
    /// Boxed: few, because most chunks are sent at once, and they would make every receive's place larger.
    Send(Box<Sending>),
}

struct Sending {
    socket: Socket,
    chunk: Chunk,
    tag: usize,
}

/// What the second ring has to say. `tag` is what the operation was begun with.
pub enum Event {
    /// Bytes have come. If the receive does not go on, this was its last word.
    Received {
        /// Whose.
        tag: usize,
        /// The bytes.
        chunk: Chunk,
        /// Whether more may come.
        goes_on: bool,
    },
    /// A receive is over.
    Over {
        /// Whose.
        tag: usize,
        /// Why.
        why: Over,
    },
    /// A send is complete.
    Sent {
        /// Whose.
        tag: usize,
        /// The chunk, advanced by what was sent.
        chunk: Chunk,
        /// How much that was.
        result: io::Result<usize>,
    },
}

/// Why a receive is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The stream has come to its end.
    End,
    /// The connection is broken.
    Broken,
    /// There was no buffer on the shelf.
    NoBuffer,
    /// It was stopped, or interrupted: what comes from now on waits in the socket.
    Stopped,
}

impl SecondRing {
    /// Makes the ring, with room for `in_flight` operations, and a shelf for up to `shelf_max` buffers.
    pub fn new(in_flight: usize, shelf_max: usize) -> io::Result<SecondRing> {
        // Completions come when we ask for them, some tens at a time.
        let completions = in_flight.next_power_of_two().clamp(8, 8 * SECOND_SUBMISSIONS as usize) as u32;
        let submissions = (completions / 2).min(SECOND_SUBMISSIONS);
        let mut builder = IoUring::builder();
        builder.setup_cqsize(completions).setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        let ring = builder.build(submissions)?;
        // SAFETY: eventfd takes two numbers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us, and nobody else knows its number.
        let wakeups = unsafe { OwnedFd::from_raw_fd(descriptor) };
        ring.submitter().register_eventfd(wakeups.as_raw_fd())?;
        let shelf = Shelf::new(shelf_max);
        // SAFETY: the address is that of `entries` entries on a page boundary, which stay where they are until the shelf is
        // dropped: after the ring, or never if anything is under way then.
        unsafe { ring.submitter().register_buf_ring(shelf.address(), shelf.size(), GROUP) }?;
        Ok(SecondRing {
            ring,
            shelf,
            operations: slab::Slab::with_capacity(in_flight.min(COMPLETIONS_MAX)),
            completions: VecDeque::new(),
            wakeups,
            sent: 0,
            deeds: Deeds::default(),
            fruitless: 0,
        })
    }

    /// Becomes readable when there is work. Only the edge tells: it is never read.
    pub fn wakeups(&self) -> io::Result<AsyncFd<OwnedFd>> {
        wakes(self.wakeups.try_clone()?)
    }

    /// Puts buffers on the shelf, up to `count`, as long as there are any to be had.
    pub fn fill_shelf(&mut self, count: usize, buffer: impl FnMut() -> Option<Buffer>) {
        self.shelf.fill(count, buffer);
    }

    /// Takes every buffer off the shelf, if nothing is under way that could pick one: with that the ring is closed.
    pub fn clear_shelf(&mut self) {
        if self.operations.is_empty() && self.ring.submitter().unregister_buf_ring(GROUP).is_ok() {
            self.shelf.buffers.iter_mut().for_each(|buffer| *buffer = None);
        }
    }

    /// Begins to receive. Goes on until it is over; the key is for [`SecondRing::stop`].
    pub fn receive(&mut self, socket: &Socket, tag: usize) -> usize {
        let key = self.operations.insert(Operation::Receive { _socket: socket.clone(), tag });
        let entry = opcode::RecvMulti::new(types::Fd(socket.raw()), GROUP).build();
        self.push(&entry.user_data(key as u64));
        key
    }

    /// Asks a receive to end. What it has received until then comes first.
    pub fn stop(&mut self, receive: usize) {
        let entry = opcode::AsyncCancel::new(receive as u64).build();
        self.push(&entry.user_data(NOBODY));
    }

    /// Sends what is left of the chunk as far as the socket takes it at once.
    pub fn send_now(&mut self, socket: &Socket, chunk: &mut Chunk) -> io::Result<usize> {
        // SAFETY: the bytes are those that a read has just filled, and the chunk is borrowed for as long as the slice lives.
        let bytes = unsafe { std::slice::from_raw_parts(chunk.address(), chunk.remaining()) };
        let count = crate::net::send_now(socket, bytes)?;
        chunk.advance(count);
        self.sent += count as u64;
        Ok(count)
    }

    /// Believes the flag again, if it was not believed any more; says whether it was not. To be called now and then.
    pub fn look_again(&mut self) -> bool {
        let had_given_up = self.fruitless >= FRUITLESS_MAX;
        self.fruitless = 0;
        had_given_up
    }

    /// Bytes that were sent, since the beginning.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends what is left of the chunk, or a part of it.
    pub fn send(&mut self, socket: &Socket, chunk: Chunk, tag: usize) {
        assert!(chunk.remaining() > 0);
        let key =
            self.operations.insert(Operation::Send(Box::new(Sending { socket: socket.clone(), chunk, tag })));
        self.push_send(key);
    }

    fn push_send(&mut self, key: usize) {
        let Some(Operation::Send(sending)) = self.operations.get_mut(key) else {
            unreachable!("only sends are sent again")
        };
        let Sending { socket, chunk, .. } = &mut **sending;
        let (descriptor, address, size) =
            (types::Fd(socket.raw()), chunk.address(), chunk.remaining() as u32);
        let entry = opcode::Send::new(descriptor, address, size).flags(libc::MSG_NOSIGNAL).build();
        self.push(&entry.user_data(key as u64));
    }

    fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: a send's entry points into its chunk, a receive's to nothing of ours but the shelf. The operation owns
            // the chunk, and the socket whose number the entry names, until its last completion has been looked at; if
            // the ring is dropped before that, both are kept for ever.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return;
            }
            // The queue is full: what is in it goes to the kernel now.
            let _ = self.ring.submit();
        }
    }

    /// What it has done since the beginning.
    pub fn deeds(&self) -> Deeds {
        Deeds { in_flight: self.operations.len() as u64, ..self.deeds }
    }

    /// Whether there is anything to do: entries to hand over, work that the kernel has put off, or completions.
    pub fn has_work(&mut self) -> bool {
        if !self.ring.completion().is_empty() {
            return true;
        }
        let queue = self.ring.submission();
        !queue.is_empty() || queue.cq_overflow() || (self.fruitless < FRUITLESS_MAX && queue.taskrun())
    }

    /// Hands entries over, lets the kernel do what it has put off, and takes what is complete. Does not wait.
    pub fn enter(&mut self) -> io::Result<()> {
        let queue = self.ring.submission();
        let queued = queue.len() as u32;
        self.deeds.overflows += u64::from(queue.cq_overflow());
        drop(queue);
        self.deeds.enters += 1;
        // SAFETY: no argument is passed, so that the kernel reads nothing but the queue.
        let entered =
            unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued, 0, ENTER_GETEVENTS, None) };
        self.completions.extend(self.ring.completion());
        self.deeds.completions += self.completions.len() as u64;
        let is_fruitless = queued == 0 && self.completions.is_empty();
        self.fruitless = if is_fruitless { self.fruitless.saturating_add(1) } else { 0 };
        match entered.err() {
            // Interrupted, or short of room for completions: there is more to do, and has_work says so.
            Some(error)
                if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// The next thing that was complete at the last [`SecondRing::enter`].
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let completion = self.completions.pop_front()?;
            if completion.user_data() != NOBODY
                && let Some(event) = self.event(&completion)
            {
                return Some(event);
            }
        }
    }

    fn event(&mut self, completion: &cqueue::Entry) -> Option<Event> {
        let (key, result) = (completion.user_data() as usize, completion.result());
        let goes_on = cqueue::more(completion.flags());
        let error = || io::Error::from_raw_os_error(-result);
        match self.operations.get(key)? {
            Operation::Receive { tag, .. } => {
                let tag = *tag;
                let buffer = cqueue::buffer_select(completion.flags()).map(|number| self.shelf.take(number));
                if !goes_on {
                    self.operations.remove(key);
                }
                let why = match (result, buffer) {
                    (1.., Some(buffer)) => {
                        let chunk = Chunk::filled(buffer, result as usize);
                        return Some(Event::Received { tag, chunk, goes_on });
                    }
                    // Never without a buffer: bytes that went nowhere are a broken stream.
                    (1.., None) => Over::Broken,
                    (0, _) => Over::End,
                    _ => match -result {
                        libc::ENOBUFS => Over::NoBuffer,
                        libc::ECANCELED | libc::EINTR | libc::EAGAIN => Over::Stopped,
                        _ => Over::Broken,
                    },
                };
                assert!(!goes_on, "a receive that is over goes on: {why:?}");
                Some(Event::Over { tag, why })
            }
            Operation::Send(_) if result < 0 && is_transient(&error()) => {
                self.push_send(key);
                None
            }
            Operation::Send(_) => {
                let Operation::Send(sending) = self.operations.remove(key) else {
                    unreachable!("it was one a moment ago")
                };
                let Sending { mut chunk, tag, .. } = *sending;
                let result = if result < 0 { Err(error()) } else { Ok(result as usize) };
                if let Ok(count) = result {
                    chunk.advance(count);
                    self.sent += count as u64;
                }
                Some(Event::Sent { tag, chunk, result })
            }
        }
    }
}

impl Drop for SecondRing {
    fn drop(&mut self) {
        if !self.operations.is_empty() {
            // The kernel ends them in its own time, and may write until then: what they point to stays.
            #[allow(clippy::mem_forget)]
            std::mem::forget((std::mem::take(&mut self.operations), std::mem::take(&mut self.shelf.pages)));
            #[allow(clippy::mem_forget)]
            std::mem::forget(std::mem::take(&mut self.shelf.buffers));
        }
    }
}

/// So many enters in a row that find nothing, and the flag that there is something is not believed until the next look.
const FRUITLESS_MAX: u32 = 64;
/// Entries that the second ring can queue before the kernel is called.
const SECOND_SUBMISSIONS: u32 = 512;

/// Buffers that the kernel may pick from, in a ring of its own that both sides see.
struct Shelf {
    /// The entries. The kernel reads them, and the tail, which lies in the first one.
    pages: Vec<Page>,
    /// A power of two.
    count: u16,
    tail: u16,
    /// By number: those that lie on the shelf.
    buffers: Vec<Option<Buffer>>,
    /// Numbers of which no buffer lies on the shelf.
    free: Vec<u16>,
}

/// The kernel wants the entries to begin on a page boundary.
#[repr(C, align(4096))]
#[derive(Clone)]
struct Page([u8; 4096]);

impl Shelf {
    fn new(max: usize) -> Shelf {
        let count = max.next_power_of_two().clamp(8, 1 << 15) as u16;
        let bytes = usize::from(count) * size_of::<types::BufRingEntry>();
        Shelf {
            pages: vec![Page([0; 4096]); bytes.div_ceil(4096)],
            count,
            tail: 0,
            buffers: (0..count).map(|_| None).collect(),
            free: (0..count).rev().collect(),
        }
    }

    fn address(&self) -> u64 {
        self.pages.as_ptr() as u64
    }

    fn size(&self) -> u16 {
        self.count
    }

    /// The buffer with this number, which the kernel has just filled.
    fn take(&mut self, number: u16) -> Buffer {
        let buffer = self.buffers[usize::from(number)].take().expect("the kernel picks what lies there");
        self.free.push(number);
        buffer
    }

    fn fill(&mut self, count: usize, mut buffer: impl FnMut() -> Option<Buffer>) {
        let before = self.tail;
        while usize::from(self.count) - self.free.len() < count
            && let Some(number) = self.free.pop()
        {
            let Some(mut buffer) = buffer() else {
                self.free.push(number);
                break;
            };
            let (address, size) = (buffer.address() as u64, buffer.size() as u32);
            self.buffers[usize::from(number)] = Some(buffer);
            let index = usize::from(self.tail & (self.count - 1));
            let entries: *mut types::BufRingEntry = self.pages.as_mut_ptr().cast();
            // SAFETY: `index` is below the number of entries, for which the pages have room. The kernel reads an entry only
            // after the tail has passed it, and there are never more on the shelf than entries. The setters touch three
            // fields and not the fourth, which in the first entry is the tail.
            let entry = unsafe { &mut *entries.add(index) };
            entry.set_addr(address);
            entry.set_len(size);
            entry.set_bid(number);
            self.tail = self.tail.wrapping_add(1);
        }
        if self.tail != before {
            // SAFETY: the first entry is on the pages and initialised; its fourth field is aligned, and after this only the
            // kernel reads it. Release: whoever sees the tail sees the entries before it.
            unsafe {
                let tail = types::BufRingEntry::tail(self.pages.as_ptr().cast()).cast_mut();
                AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
            }
        }
    }
}

/// Older kernels answer EAGAIN where newer ones wait, and a signal may interrupt either: poll, then try again.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR | libc::ECANCELED))
}

/// Queues an entry; `owned` is everything it points to, and comes back with the result.
fn submit<Owned: Unpin + 'static>(
    owned: Owned,
    entry: squeue::Entry,
) -> impl Future<Output = (io::Result<u32>, Owned)> + Unpin {
    let operation: InFlightOneshot<Owned, Completion<Owned>> =
        UnsubmittedOneshot::new(owned, Completion(PhantomData), entry).submit();
    operation
}

struct Completion<Owned>(PhantomData<Owned>);

impl<Owned: 'static> OneshotOutputTransform for Completion<Owned> {
    type Output = (io::Result<u32>, Owned);
    type StoredData = Owned;

    fn transform_oneshot_output(self, owned: Owned, completion: cqueue::Entry) -> Self::Output {
        let result = completion.result();
        let result = if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result as u32) };
        (result, owned)
    }
}

#[cfg(test)]
mod tests {
    use super::runtime::{Flags, Sizes, build};
    use super::*;
    use crate::buffers::{Arena, Layout};
    use crate::net::{self, testing::connected};
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};
    use std::time::Duration;

    fn layout(cell_size: usize) -> Layout {
        Layout { cells: 16, cell_size, large_cells: 0, large_cell_size: 0 }
    }

    /// Fails instead of hanging.
    async fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), future)
            .await
            .expect("it should have completed long ago")
    }

    #[test]
    fn with_every_set_of_flags_a_byte_arrives_and_leaves() {
        for flags in [Flags::All, Flags::Cooperative, Flags::None] {
            let runtime = build(flags, Sizes { submissions: 16, completions: 32 }).unwrap();
            runtime.block_on(soon(async {
                let (arena, _) = Arena::register(layout(4096), usize::MAX);
                let (ours, mut peer) = connected();
                let reading = tokio_uring::spawn({
                    let (ours, buffer) = (ours.clone(), arena.take());
                    async move { read(&ours, buffer).await }
                });
                // The read waits in the kernel while this goes on.
                tokio::task::yield_now().await;
                peer.write_all(b"ping").unwrap();
                let chunk = reading.await.unwrap().unwrap().expect("not the end of the stream");
                assert_eq!(chunk.remaining(), 4, "{flags:?}");
                assert_eq!(write(&ours, chunk).await.unwrap().remaining(), 0);
                let mut back = [0; 4];
                peer.read_exact(&mut back).unwrap();
                assert_eq!(&back, b"ping");
            }));
        }
    }

    #[test]
    fn more_completions_than_the_queue_holds_all_arrive() {
        const CONNECTIONS: usize = 500;
        let runtime = build(Flags::All, Sizes { submissions: 16, completions: 32 }).unwrap();
        runtime.block_on(soon(async {
            let (sockets, mut peers): (Vec<_>, Vec<_>) = (0..CONNECTIONS).map(|_| connected()).unzip();
            let waiting = sockets.iter().map(|socket| {
                let socket = socket.clone();
                tokio_uring::spawn(async move { readable(&socket).await })
            });
            let waiting: Vec<_> = waiting.collect();
            tokio::time::sleep(Duration::from_millis(20)).await;
            // All at once, while this thread does not look: the queue overflows.
            for peer in &mut peers {
                peer.write_all(b"x").unwrap();
            }
            assert_eq!(waiting.len(), CONNECTIONS);
            for each in waiting {
                each.await.unwrap().unwrap();
            }
        }));
    }

    #[test]
    fn who_lets_others_run_all_the_time_hands_their_entries_to_the_kernel() {
        let runtime = build(Flags::All, Sizes { submissions: 16, completions: 32 }).unwrap();
        runtime.block_on(soon(async {
            let (ours, mut peer) = connected();
            let busy = tokio_uring::spawn(async {
                loop {
                    let_others_run().await;
                }
            });
            tokio::time::sleep(Duration::from_millis(10)).await;
            peer.write_all(b"x").unwrap();
            readable(&ours).await.unwrap();
            busy.abort();
        }));
    }

    #[test]
    fn breaking_a_connection_completes_what_waits_on_it() {
        let runtime = build(Flags::All, Sizes { submissions: 16, completions: 32 }).unwrap();
        runtime.block_on(soon(async {
            let arena = Arena::plain(layout(64 * 1024));
            let (ours, _peer) = connected();
            let reading = tokio_uring::spawn({
                let (ours, buffer) = (ours.clone(), arena.take());
                async move { read(&ours, buffer).await.map(|chunk| chunk.is_some()) }
            });
            // Nobody reads at the other end: sooner or later a write waits.
            let writing = tokio_uring::spawn({
                let ours = ours.clone();
                async move {
                    loop {
                        write(&ours, Chunk::of(&[7; 64 * 1024])).await?;
                    }
                    #[allow(unreachable_code, reason = "names the type")]
                    io::Result::Ok(())
                }
            });
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(!reading.is_finished() && !writing.is_finished());
            net::abort(&ours);
            assert!(!matches!(reading.await.unwrap(), Ok(true)));
            writing.await.unwrap().unwrap_err();
            assert_eq!(arena.free(), arena.cells());
        }));
    }

    #[test]
    fn a_connect_that_nobody_answers_can_be_ended() {
        let runtime = build(Flags::All, Sizes { submissions: 16, completions: 32 }).unwrap();
        // A listener whose queue is full does not answer.
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        // Of a machine that is very busy silence says nothing yet.
        while queued.is_empty() {
            while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
                queued.push(stream);
            }
        }
        let tcp = crate::config::TcpOptions { nodelay: true, keepalive: None, user_timeout: None };
        runtime.block_on(soon(async {
            for end in [net::stop_connecting, net::abort] {
                let socket =
                    net::prepare_stream(address.into(), tcp, &crate::config::PoolSocket::default()).unwrap();
                let connecting = tokio_uring::spawn({
                    let socket = socket.clone();
                    async move { connect(&socket, address).await }
                });
                tokio::time::sleep(Duration::from_millis(50)).await;
                assert!(!connecting.is_finished());
                end(&socket);
                connecting.await.unwrap().unwrap_err();
            }
        }));
    }

    #[test]
    fn a_broken_pipe_is_an_error_and_not_a_signal() {
        // IORING_OP_WRITE raises SIGPIPE where send(2) could be told not to. Rust's start-up ignores it; if anything
        // changed that, this test would kill its process.
        let runtime = build(Flags::All, Sizes { submissions: 16, completions: 32 }).unwrap();
        runtime.block_on(soon(async {
            let (ours, peer) = connected();
            net::finish_writing(&ours).unwrap();
            drop(peer);
            let error = write(&ours, Chunk::of(b"x")).await.err().expect("the writing side was ended");
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }));
    }
}

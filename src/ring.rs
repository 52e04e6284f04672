//! The ring: the runtime of one worker, and our own entries on it.
//!
//! tokio-uring offers reads and writes with buffers of its own making and a connect without options. What ringway needs
//! beside that goes onto the same ring through `UnsubmittedOneshot`, which takes any entry that completes once.
//!
//! The rule that keeps this sound: whatever an entry points to (descriptor, buffer, address) is moved into the
//! operation, and comes back only with its completion. If the future is dropped, the driver keeps it until then. But
//! dropping does not cancel: bytes that a forgotten read takes are lost. So nothing here is ever raced against a timer;
//! who wants an operation to end breaks the connection (`net::abort`, `net::stop_connecting`) and awaits it.
#![allow(unsafe_code)]

use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use socket2::SockAddr;
use tokio_uring::buf::{IoBuf, IoBufMut};
use tokio_uring::{InFlightOneshot, OneshotOutputTransform, Runtime, UnsubmittedOneshot};

use crate::buffers::{Buffer, Chunk, Slab};
use crate::net::Socket;

pub use unavailable::Unavailable;

mod unavailable;

/// Entries that can be queued before the kernel is called. A full queue is flushed by itself: more only batches more.
const SUBMISSIONS: u32 = 1024;
/// With fewer than this the ring is not worth having.
const SUBMISSIONS_MIN: u32 = 16;
/// The kernel's own maximum for a completion queue.
const COMPLETIONS_MAX: usize = 65_536;

/// Makes the runtime of the calling thread, with room for `in_flight` operations at once.
///
/// The flags save interrupts and locks in the kernel (5 to 15 % of the cost of a small message). A kernel that does not
/// know them answers EINVAL and gets fewer. DEFER_TASKRUN would save more but is never asked for: tokio-uring sleeps in
/// epoll on the ring's descriptor, and under that flag the descriptor does not become readable.
pub fn runtime(in_flight: usize) -> Result<Runtime, Unavailable> {
    let mut flags = Flags::All;
    let mut sizes = Sizes::for_operations(in_flight);
    loop {
        let error = match build(flags, sizes) {
            Ok(runtime) => return Ok(runtime),
            Err(error) => error,
        };
        match (error.raw_os_error(), sizes.smaller()) {
            (Some(libc::EINVAL), _) if flags != Flags::None => flags = flags.fewer(),
            // Some kernels count the queues against the limit on locked memory.
            (Some(libc::ENOMEM), Some(smaller)) => sizes = smaller,
            _ => return Err(Unavailable::new("io_uring_setup", error)),
        }
    }
}

/// Entries in the two queues of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    submissions: u32,
    completions: u32,
}

impl Sizes {
    /// A full completion queue loses nothing (the kernel keeps a list), but it is slower: have room for all.
    fn for_operations(in_flight: usize) -> Sizes {
        let completions =
            in_flight.next_power_of_two().clamp(2 * SUBMISSIONS as usize, COMPLETIONS_MAX) as u32;
        Sizes { submissions: SUBMISSIONS, completions }
    }

    /// Half of the completions, down to twice the submissions; from there half of both.
    fn smaller(self) -> Option<Sizes> {
        let Sizes { submissions, completions } = self;
        if completions > 2 * submissions {
            Some(Sizes { submissions, completions: completions / 2 })
        } else if submissions > SUBMISSIONS_MIN {
            Some(Sizes { submissions: submissions / 2, completions: completions / 2 })
        } else {
            None
        }
    }
}

/// What is asked of the ring: each step down suits an older kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flags {
    /// Linux 6.0
    All,
    /// Linux 5.19
    Cooperative,
    /// Any
    None,
}

impl Flags {
    fn fewer(self) -> Flags {
        match self {
            Flags::All => Flags::Cooperative,
            Flags::Cooperative | Flags::None => Flags::None,
        }
    }
}

fn build(flags: Flags, sizes: Sizes) -> io::Result<Runtime> {
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(sizes.completions);
    match flags {
        Flags::All => {
            ring.setup_coop_taskrun().setup_taskrun_flag().setup_single_issuer();
        }
        Flags::Cooperative => {
            ring.setup_coop_taskrun().setup_taskrun_flag();
        }
        Flags::None => {}
    }
    Runtime::new(tokio_uring::builder().entries(sizes.submissions).uring_builder(&ring))
}

/// Finds out whether io_uring can be used.
///
/// On a thread that ends with the answer: when a ring is torn down the kernel interrupts the thread that used it, some
/// time later, and whatever that thread then waits in fails with EINTR.
pub fn probe() -> Result<(), Unavailable> {
    let answer = std::thread::spawn(probe_here).join();
    answer.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
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

/// Waits until there is something to read, the stream has ended or it is broken. Holds no buffer meanwhile.
pub async fn readable(socket: &Socket) -> io::Result<()> {
    poll(socket.clone(), socket.raw(), libc::POLLIN).await
}

/// Waits until something can be written, or the connection is broken.
pub async fn writable(socket: &Socket) -> io::Result<()> {
    poll(socket.clone(), socket.raw(), libc::POLLOUT).await
}

/// Waits until a connection can be accepted, or the listener has been stopped.
pub async fn acceptable(listener: &std::rc::Rc<TcpListener>) -> io::Result<()> {
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
pub async fn read(socket: &Socket, mut buffer: Buffer) -> io::Result<Option<Chunk>> {
    loop {
        let (descriptor, address, size) = (types::Fd(socket.raw()), buffer.address(), buffer.size() as u32);
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
    use super::*;
    use crate::buffers::{Arena, Layout};
    use crate::net;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpStream};
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    fn layout(cell_size: usize) -> Layout {
        Layout { cells: 16, cell_size, large_cells: 0, large_cell_size: 0 }
    }

    /// Our end of a connection, and the peer.
    fn connected() -> (Socket, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (Socket::from(OwnedFd::from(listener.accept().unwrap().0)), peer)
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
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            queued.push(stream);
        }
        let tcp = crate::config::TcpOptions { nodelay: true, keepalive: None, user_timeout: None };
        runtime.block_on(soon(async {
            for end in [net::stop_connecting, net::abort] {
                let socket = net::prepare_stream(address, tcp).unwrap();
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
    fn a_ring_that_is_refused_for_memory_is_tried_smaller_until_it_is_not_worth_it() {
        let mut sizes = Sizes::for_operations(20_000);
        assert_eq!(sizes, Sizes { submissions: 1024, completions: 32_768 });
        let mut steps = 0;
        while let Some(smaller) = sizes.smaller() {
            assert!(smaller.completions < sizes.completions);
            assert!(smaller.completions >= 2 * smaller.submissions);
            sizes = smaller;
            steps += 1;
        }
        assert_eq!((sizes, steps), (Sizes { submissions: 16, completions: 32 }, 10));
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

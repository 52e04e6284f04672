//! Peek: looks at a client's first bytes, and leaves them in its socket.
//!
//! What is only looked at is still there for whoever is chosen because of it, and nothing has to be put back. One buffer of
//! bounded size is held for as long as that takes.

use std::io;
use std::time::{Duration, Instant};

use crate::net::{self, Socket};
use crate::ring;

/// What came of looking.
#[derive(Debug, PartialEq, Eq)]
pub enum Peeked<T> {
    /// Enough has come to decide.
    Decided(T),
    /// The stream ended, or broke, before that.
    Ended,
    /// Time was up before that.
    Late,
    /// So many bytes as may be looked at were not enough.
    TooLong,
}

/// Looks at what has come, from the first byte on, each time that more is there, until `decide` makes something of it.
///
/// # Errors
///
/// When the socket cannot be asked.
pub async fn peek<T>(
    client: &Socket,
    bytes_max: usize,
    patience: Duration,
    mut decide: impl FnMut(&[u8]) -> Option<T>,
) -> io::Result<Peeked<T>> {
    let deadline = Instant::now() + patience;
    let mut buffer = vec![0; bytes_max.min(FIRST_LOOK)];
    let (mut seen, mut is_raised) = (0, false);
    let peeked = loop {
        // Bytes that were looked at and left make the socket readable for ever: it is told to be quiet until there is one more
        // (SO_RCVLOWAT).
        if seen > 0 {
            net::set_low_water(client, seen + 1)?;
            is_raised = true;
        }
        if !await_readable(client, deadline).await? {
            break Peeked::Late;
        }
        let count = match net::peek(client, &mut buffer) {
            Ok(count) if count > seen => count,
            Ok(_) if net::is_at_its_end(client) => break Peeked::Ended,
            // Not every kind of socket waits for more than there is.
            Ok(_) => {
                tokio::time::sleep(LOOK_PAUSE).await;
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => break Peeked::Ended,
        };
        seen = count;
        if let Some(decided) = decide(&buffer[..count]) {
            break Peeked::Decided(decided);
        }
        if count == bytes_max {
            break Peeked::TooLong;
        }
        if count == buffer.len() {
            buffer.resize(bytes_max.min(2 * buffer.len()), 0);
        }
    };
    // Most greetings come at once: then it was never raised.
    if is_raised {
        net::set_low_water(client, 1)?;
    }
    Ok(peeked)
}

/// Most greetings fit; the buffer grows for those that do not.
const FIRST_LOOK: usize = 2048;
/// From one look to the next where the kernel does not tell of more.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// Waits until there is more to look at, or the stream has ended; false when time is up. The poll takes nothing, so that it can
/// be left behind.
async fn await_readable(client: &Socket, deadline: Instant) -> io::Result<bool> {
    let deadline = tokio::time::Instant::from_std(deadline);
    match tokio::time::timeout_at(deadline, ring::readable(client)).await {
        Ok(result) => result.map(|()| true),
        Err(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    use crate::net::testing::connected;

    /// Enough for any look that ends by what the peer does.
    const PATIENCE: Duration = Duration::from_secs(10);

    fn on_a_ring<T>(work: impl Future<Output = T>) -> T {
        ring::runtime(8).unwrap().block_on(work)
    }

    #[test]
    fn bytes_come_one_by_one_and_stay_where_they_are() {
        let (ours, mut peer) = connected();
        let writing = std::thread::spawn(move || {
            for byte in b"hello" {
                peer.write_all(&[*byte]).unwrap();
            }
            peer
        });
        let whole = |bytes: &[u8]| (bytes.len() >= 5).then(|| bytes.to_vec());
        let peeked = on_a_ring(peek(&ours, 16, PATIENCE, whole)).unwrap();
        assert_eq!(peeked, Peeked::Decided(b"hello".to_vec()));
        let _peer = writing.join().unwrap();
        let mut left = [0; 5];
        let ours = std::os::fd::AsFd::as_fd(&ours).try_clone_to_owned().unwrap();
        std::net::TcpStream::from(ours).read_exact(&mut left).unwrap();
        assert_eq!(&left, b"hello");
    }

    #[test]
    fn an_end_a_bound_and_the_clock_end_it() {
        let never = |_: &[u8]| None::<()>;
        let (ours, mut peer) = connected();
        peer.write_all(b"half").unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(on_a_ring(peek(&ours, 16, PATIENCE, never)).unwrap(), Peeked::Ended);
        let (ours, mut peer) = connected();
        peer.write_all(&[7; 5000]).unwrap();
        assert_eq!(on_a_ring(peek(&ours, 4096, PATIENCE, never)).unwrap(), Peeked::TooLong);
        let (ours, mut peer) = connected();
        peer.write_all(b"half").unwrap();
        let mut looks = 0;
        let counted = |_: &[u8]| {
            looks += 1;
            None::<()>
        };
        assert_eq!(on_a_ring(peek(&ours, 16, Duration::from_millis(500), counted)).unwrap(), Peeked::Late);
        // It waits for more, and does not look again and again at what is there.
        assert_eq!(looks, 1);
    }
}

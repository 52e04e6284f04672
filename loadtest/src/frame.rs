//! The head of a request in the reply protocol.
//!
//! A request is [`HEAD_LEN`] bytes of head and then filling, up to the request length. All numbers are big-endian:
//!
//! | at | bytes | what                                                               |
//! |---:|------:|--------------------------------------------------------------------|
//! |  0 |     4 | magic, `RWL1`                                                      |
//! |  4 |     4 | request length in bytes, the head included                         |
//! |  8 |     4 | reply length in bytes, at least 1                                  |
//! | 12 |     4 | delay before the reply in microseconds, beside the backend's own   |
//! | 16 |     8 | seed: the filling is [`Frame::filling`], the reply is [`Frame::reply`] |
//!
//! The reply is exactly that many bytes, without a head of its own. A backend that reads anything else resets the
//! connection: a wrong head means that bytes were lost or changed on the way.

use std::time::Duration;

use crate::pattern::Pattern;

/// Bytes of the head; the shortest request.
pub(crate) const HEAD_LEN: usize = 24;
/// The longest request and the longest reply.
pub(crate) const LENGTH_MAX: u64 = 1 << 30;
/// The longest delay a request can ask for.
pub(crate) const DELAY_MAX: Duration = Duration::from_secs(60);

/// What a request says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Length of the whole request.
    pub(crate) request_len: u64,
    /// Length of the wanted reply.
    pub(crate) reply_len: u64,
    /// How long the backend waits before it replies.
    pub(crate) delay: Duration,
    /// Makes the bytes of filling and reply.
    pub(crate) seed: u64,
}

impl Frame {
    /// The bytes of the head.
    pub(crate) fn encode(&self) -> [u8; HEAD_LEN] {
        let number =
            |value: u128| u32::try_from(value).expect("lengths and delay were bounded").to_be_bytes();
        let mut head = [0; HEAD_LEN];
        head[..4].copy_from_slice(MAGIC);
        head[4..8].copy_from_slice(&number(self.request_len.into()));
        head[8..12].copy_from_slice(&number(self.reply_len.into()));
        head[12..16].copy_from_slice(&number(self.delay.as_micros()));
        head[16..].copy_from_slice(&self.seed.to_be_bytes());
        head
    }

    /// Reads a head; `None` if it is not one that a client of this protocol sends.
    pub(crate) fn decode(head: &[u8; HEAD_LEN]) -> Option<Self> {
        let number = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let frame = Self {
            request_len: number(4).into(),
            reply_len: number(8).into(),
            delay: Duration::from_micros(number(12).into()),
            seed: u64::from_be_bytes(head[16..].try_into().expect("eight bytes")),
        };
        let well_formed = head.starts_with(MAGIC)
            && (HEAD_LEN as u64..=LENGTH_MAX).contains(&frame.request_len)
            && (1..=LENGTH_MAX).contains(&frame.reply_len)
            && frame.delay <= DELAY_MAX;
        well_formed.then_some(frame)
    }

    /// The bytes of the request; those of the head's place are covered by the head.
    pub(crate) fn filling(&self) -> Pattern {
        // Not the reply's bytes: a request that comes back by mistake must not pass for a reply.
        Pattern::new(!self.seed)
    }

    /// The bytes of the reply.
    pub(crate) fn reply(&self) -> Pattern {
        Pattern::new(self.seed)
    }
}

const MAGIC: &[u8; 4] = b"RWL1";

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = Frame {
        request_len: 100,
        reply_len: 1 << 30,
        delay: Duration::from_micros(250),
        seed: 0x0102_0304_0506_0708,
    };

    #[test]
    fn a_head_reads_back_as_it_was_written() {
        assert_eq!(Frame::decode(&FRAME.encode()), Some(FRAME));
    }

    #[test]
    fn heads_outside_the_bounds_are_refused() {
        let changed = |at: usize, bytes: &[u8]| {
            let mut head = FRAME.encode();
            head[at..at + bytes.len()].copy_from_slice(bytes);
            Frame::decode(&head)
        };
        assert_eq!(changed(0, b"GET "), None);
        assert_eq!(changed(4, &23u32.to_be_bytes()), None);
        assert_eq!(changed(4, &((1 << 30) + 1u32).to_be_bytes()), None);
        assert_eq!(changed(8, &0u32.to_be_bytes()), None);
        assert_eq!(changed(8, &((1 << 30) + 1u32).to_be_bytes()), None);
        assert_eq!(changed(12, &60_000_001u32.to_be_bytes()), None);
    }
}

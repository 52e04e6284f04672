//! What a datagram has in it: a head that says which one it is, and bytes that belong to that one alone.

use crate::{dice::mix, pattern::Pattern};

/// Magic, the tag of the sender, the number.
pub(crate) const HEAD_LEN: usize = 16;

/// Makes the datagrams of one sender and knows them again.
#[derive(Debug)]
pub(super) struct Datagrams {
    tag: u32,
    // A body is a piece of this, from a place that follows from the number: comparing it costs no more than a copy.
    bytes: Vec<u8>,
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// To the datagram of this number, as it should be.
    To(u64),
    /// Something else.
    Altered,
}

impl Datagrams {
    /// Senders of other tags send others. The bytes follow from the seed.
    pub(super) fn new(tag: u32, seed: u64, size_max: usize) -> Self {
        let mut bytes = vec![0; PLACES + size_max];
        Pattern::new(seed).fill(0, &mut bytes);
        Self { tag, bytes }
    }

    /// Writes the one of this number into all of `out`.
    pub(super) fn write(&self, number: u64, out: &mut [u8]) {
        let (head, body) = out.split_at_mut(HEAD_LEN);
        head.copy_from_slice(&self.head(number));
        body.copy_from_slice(self.body(number, body.len()));
    }

    /// Reads what answers one of `sent` bytes and should have `wanted`: what is longer than what was sent ends with zeros.
    pub(super) fn read(&self, bytes: &[u8], sent: usize, wanted: usize) -> Answer {
        if bytes.len() != wanted || wanted < HEAD_LEN {
            return Answer::Altered;
        }
        let (head, rest) = bytes.split_at(HEAD_LEN);
        let number = u64::from_be_bytes(head[8..].try_into().expect("the head has eight bytes after eight"));
        let (body, zeros) = rest.split_at(rest.len().min(sent - HEAD_LEN));
        let is_right = head == self.head(number)
            && body == self.body(number, body.len())
            && zeros.iter().all(|&byte| byte == 0);
        if is_right { Answer::To(number) } else { Answer::Altered }
    }

    fn head(&self, number: u64) -> [u8; HEAD_LEN] {
        let mut head = [0; HEAD_LEN];
        head[..4].copy_from_slice(b"RWU1");
        head[4..8].copy_from_slice(&self.tag.to_be_bytes());
        head[8..].copy_from_slice(&number.to_be_bytes());
        head
    }

    fn body(&self, number: u64, len: usize) -> &[u8] {
        let place = mix(number) as usize % PLACES;
        &self.bytes[place..place + len]
    }
}

/// Where a body may begin.
const PLACES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_as_it_was_is_known_and_any_changed_byte_is_seen() {
        let datagrams = Datagrams::new(7, 1, 100);
        let mut bytes = [0; 100];
        datagrams.write(41, &mut bytes);
        assert_eq!(datagrams.read(&bytes, 100, 100), Answer::To(41));
        for place in 0..bytes.len() {
            let mut changed = bytes;
            changed[place] ^= 0x10;
            assert_eq!(datagrams.read(&changed, 100, 100), Answer::Altered, "byte {place}");
        }
        assert_eq!(datagrams.read(&bytes[..99], 100, 100), Answer::Altered);
        assert_eq!(Datagrams::new(8, 1, 100).read(&bytes, 100, 100), Answer::Altered);
    }

    #[test]
    fn an_answer_may_be_shorter_or_longer_than_the_question() {
        let datagrams = Datagrams::new(7, 1, 64);
        let mut bytes = [0; 80];
        datagrams.write(5, &mut bytes[..64]);
        assert_eq!(datagrams.read(&bytes, 64, 80), Answer::To(5));
        assert_eq!(datagrams.read(&bytes[..20], 64, 20), Answer::To(5));
        bytes[79] = 1;
        assert_eq!(datagrams.read(&bytes, 64, 80), Answer::Altered);
    }
}

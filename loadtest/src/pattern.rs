//! The bytes that are sent and checked: made from a seed, so both ends know them without storing them.

use crate::dice::mix;

/// An endless row of bytes, any part of which can be made or checked on its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pattern {
    seed: u64,
}

impl Pattern {
    /// The row of bytes that belongs to `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Writes the bytes from `offset` on into all of `out`.
    pub(crate) fn fill(self, offset: u64, out: &mut [u8]) {
        let skip = (offset % 8) as usize;
        let mut word_index = offset / 8;
        let (head, rest) = out.split_at_mut(((8 - skip) % 8).min(out.len()));
        if !head.is_empty() {
            head.copy_from_slice(&self.word(word_index)[skip..skip + head.len()]);
            word_index += 1;
        }
        for chunk in rest.chunks_mut(8) {
            chunk.copy_from_slice(&self.word(word_index)[..chunk.len()]);
            word_index += 1;
        }
    }

    /// Where the first byte of `bytes` is that is not the one at its place; `offset` is the place of `bytes[0]`.
    pub(crate) fn first_difference(self, offset: u64, bytes: &[u8]) -> Option<u64> {
        let mut expected = [0; 512];
        let mut at = offset;
        for chunk in bytes.chunks(expected.len()) {
            let expected = &mut expected[..chunk.len()];
            self.fill(at, expected);
            if chunk != expected {
                let same = chunk.iter().zip(&*expected).take_while(|(a, b)| a == b).count();
                return Some(at + same as u64);
            }
            at += chunk.len() as u64;
        }
        None
    }

    fn word(self, index: u64) -> [u8; 8] {
        mix(self.seed ^ index.wrapping_mul(0xd6e8_feb8_6659_fd93)).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_equals_the_same_part_of_the_whole() {
        let pattern = Pattern::new(42);
        let mut whole = [0; 64];
        pattern.fill(0, &mut whole);
        for from in 0..64 {
            for to in from..=64 {
                let mut part = vec![0; to - from];
                pattern.fill(from as u64, &mut part);
                assert_eq!(part, whole[from..to], "{from}..{to}");
            }
        }
    }

    #[test]
    fn a_changed_byte_is_found_at_its_place() {
        let pattern = Pattern::new(42);
        let mut bytes = vec![0; 3000];
        pattern.fill(11, &mut bytes);
        assert_eq!(pattern.first_difference(11, &bytes), None);
        bytes[1500] ^= 0x10;
        assert_eq!(pattern.first_difference(11, &bytes), Some(1511));
    }

    #[test]
    fn another_seed_gives_other_bytes() {
        let mut bytes = [0; 64];
        Pattern::new(1).fill(0, &mut bytes);
        assert!(Pattern::new(2).first_difference(0, &bytes).is_some());
    }
}

//! Lines: those that are made and that nobody has taken yet. They go whole, one after the other. Pure.

/// Bytes from which on no more are made before these are taken.
const BYTES_ENOUGH: usize = 64 << 10;

/// Some lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
    /// How many have been taken.
    taken: usize,
}

impl Lines {
    /// Makes one.
    pub(super) fn add(&mut self, make: impl FnOnce(&mut Vec<u8>)) {
        make(&mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn are_enough(&self) -> bool {
        self.bytes.len() >= BYTES_ENOUGH
    }

    /// How many are left.
    pub(super) fn left(&self) -> usize {
        self.ends.len() - self.taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// The next ones: as many as fit into so many bytes, one at least; nothing when none is left.
    pub(super) fn next(&self, bytes_max: usize) -> &[u8] {
        let (begin, left) = (self.begin(), &self.ends[self.taken..]);
        let fit = left.partition_point(|end| end - begin <= bytes_max).max(1);
        let end = left.get(fit - 1).or(left.last()).copied().unwrap_or(begin);
        &self.bytes[begin..end]
    }

    /// So many of the next bytes were taken; says how many of them belong to a line that was not taken whole. That one is
    /// still left.
    pub(super) fn take(&mut self, bytes: usize) -> usize {
        let reached = self.begin() + bytes;
        self.taken += self.ends[self.taken..].partition_point(|end| *end <= reached);
        reached - self.begin()
    }

    /// Forgets them all; says how many were left.
    pub(super) fn clear(&mut self) -> usize {
        let left = self.left();
        self.bytes.clear();
        self.ends.clear();
        self.taken = 0;
        left
    }

    /// Where the first that is left begins.
    fn begin(&self) -> usize {
        self.taken.checked_sub(1).map_or(0, |last| self.ends[last])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        let mut lines = Lines::default();
        for line in ["one\n", "two\n", "three\n"] {
            lines.add(|bytes| bytes.extend_from_slice(line.as_bytes()));
        }
        lines
    }

    #[test]
    fn only_whole_lines_are_next() {
        let mut lines = lines();
        assert_eq!(lines.next(usize::MAX), b"one\ntwo\nthree\n");
        assert_eq!(lines.next(8), b"one\ntwo\n");
        assert_eq!(lines.next(7), b"one\n");
        assert_eq!(lines.next(0), b"one\n");
        assert_eq!(lines.take(4), 0);
        assert_eq!(lines.next(8), b"two\n");
        assert_eq!(lines.take(10), 0);
        assert_eq!((lines.next(8), lines.left()), (&b""[..], 0));
    }

    #[test]
    fn a_line_that_was_taken_in_part_is_left() {
        let mut lines = lines();
        assert_eq!(lines.take(3), 3);
        assert_eq!(lines.next(4), b"one\n");
        assert_eq!(lines.take(10), 2);
        assert_eq!((lines.next(99), lines.left()), (&b"three\n"[..], 1));
        assert_eq!(lines.clear(), 1);
        assert_eq!((lines.next(99), lines.left()), (&b""[..], 0));
    }
}

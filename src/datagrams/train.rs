//! Trains: which of the datagrams that came together go on together. Pure.

use crate::net::{Piece, Received, TRAIN_BYTES_MAX, TRAIN_MAX};

/// Datagrams of one session, one behind the other, that are sent as one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Train {
    /// The first piece.
    pub(super) first: usize,
    /// How many pieces.
    pub(super) count: usize,
    /// The size of each datagram but the last.
    size: usize,
    /// Bytes in all.
    pub(super) bytes: usize,
    /// Datagrams.
    pub(super) datagrams: usize,
    /// Whether a shorter one has come: it has to be the last.
    is_closed: bool,
}

impl Train {
    /// Of what lies in one slot, in the piece of this number.
    pub(super) fn of(received: &Received, first: usize) -> Train {
        let size = received.segment.unwrap_or(received.bytes);
        Train {
            first,
            count: 1,
            size,
            bytes: received.bytes,
            datagrams: if size == 0 { 1 } else { received.bytes.div_ceil(size) },
            is_closed: size == 0 || !received.bytes.is_multiple_of(size),
        }
    }

    /// Of one piece, which is one datagram.
    pub(super) fn of_piece(piece: &Piece, first: usize) -> Train {
        let bytes = piece.bytes;
        Train { first, count: 1, size: bytes, bytes, datagrams: 1, is_closed: bytes == 0 }
    }

    /// Takes in what follows, if the kernel can send both as one.
    pub(super) fn join(&mut self, next: &Train) -> bool {
        let fits = self.datagrams + next.datagrams <= TRAIN_MAX && self.bytes + next.bytes <= TRAIN_BYTES_MAX;
        let suits =
            next.size == self.size || (next.datagrams == 1 && 0 < next.bytes && next.bytes < self.size);
        if self.is_closed || !fits || !suits || next.bytes == 0 || next.first != self.first + self.count {
            return false;
        }
        self.count += next.count;
        self.bytes += next.bytes;
        self.datagrams += next.datagrams;
        self.is_closed = next.is_closed || next.size != self.size;
        true
    }

    /// What the kernel has to be told, if it is more than one datagram.
    pub(super) fn segment(&self) -> Option<usize> {
        (self.datagrams > 1).then_some(self.size)
    }
}

/// The datagrams of a train, one piece each.
pub(super) fn apart(pieces: &[Piece], size: usize) -> Vec<Piece> {
    let of = |piece: &Piece| {
        let (slot, offset, bytes) = (piece.slot, piece.offset, piece.bytes);
        let count = if size == 0 { 1 } else { bytes.div_ceil(size).max(1) };
        (0..count).map(move |nth| {
            let begin = nth * size;
            Piece {
                slot,
                offset: offset + begin,
                bytes: if size == 0 { bytes } else { size.min(bytes - begin) },
            }
        })
    };
    pieces.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(bytes: usize, segment: Option<usize>) -> Received {
        Received { bytes, segment, is_cut: false, from: None, to: None }
    }

    /// What becomes of these when each joins the one before if it can: datagrams and bytes.
    fn joined(all: &[(usize, Option<usize>)]) -> Vec<(usize, usize)> {
        let mut trains: Vec<Train> = Vec::new();
        for (place, &(bytes, segment)) in all.iter().enumerate() {
            let next = Train::of(&received(bytes, segment), place);
            if !trains.last_mut().is_some_and(|last| last.join(&next)) {
                trains.push(next);
            }
        }
        trains.iter().map(|train| (train.datagrams, train.bytes)).collect()
    }

    #[test]
    fn equal_ones_go_together_and_a_shorter_one_is_the_last() {
        assert_eq!(joined(&[(100, None), (100, None), (40, None), (40, None)]), [(3, 240), (1, 40)]);
        assert_eq!(joined(&[(100, None), (101, None)]), [(1, 100), (1, 101)]);
        assert_eq!(
            joined(&[(300, Some(100)), (100, None), (250, Some(100)), (100, None)]),
            [(7, 650), (1, 100)]
        );
    }

    #[test]
    fn an_empty_one_goes_alone() {
        assert_eq!(
            joined(&[(0, None), (0, None), (100, None), (0, None)]),
            [(1, 0), (1, 0), (1, 100), (1, 0)]
        );
    }

    #[test]
    fn no_train_is_longer_than_the_kernel_takes() {
        let many = vec![(10, None); 100];
        assert_eq!(joined(&many), [(64, 640), (36, 360)]);
        assert_eq!(joined(&[(40_000, None), (40_000, None)]), [(1, 40_000), (1, 40_000)]);
    }

    #[test]
    fn apart_each_has_its_own_bytes() {
        let piece = |offset, bytes| Piece { slot: 3, offset, bytes };
        assert_eq!(apart(&[piece(0, 250)], 100), [piece(0, 100), piece(100, 100), piece(200, 50)]);
        assert_eq!(apart(&[piece(0, 0)], 0), [piece(0, 0)]);
    }
}

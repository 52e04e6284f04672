//! Carried: what the relays of one worker have carried, by the way it went.

use std::cell::Cell;

/// Counts only; the worker's tick shows them to others. Every byte is in exactly one of the first four.
#[derive(Debug, Default)]
pub struct Carried {
    /// Bytes through small buffers, those from the heap included.
    pub small: Cell<u64>,
    /// Bytes through large cells.
    pub large: Cell<u64>,
    /// Bytes through pipes.
    pub spliced: Cell<u64>,
    /// Bytes in datagrams.
    pub datagrams: Cell<u64>,
    /// Times that a direction waited without a buffer, because it had been silent.
    pub parked: Cell<u64>,
}

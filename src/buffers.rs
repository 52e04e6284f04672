//! The arena: one worker's relay buffers, registered with its ring once and lent out one at a time.
//!
//! tokio-uring's own pool keeps at most 1,024 buffers and drops the rest without a word. So one large slab is
//! registered as a single buffer and cut into cells here; a fixed read or write may name any range inside it.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use tokio_uring::buf::fixed::FixedBufRegistry;

/// Below this many cells a registered arena is not worth having; memory that is not registered serves instead.
const CELLS_MIN: usize = 16;

/// One worker's buffers. Clones share them; all of it stays on the worker's thread.
#[derive(Clone)]
pub struct Arena(Rc<Cells>);

struct Cells {
    /// Start of the slab. Valid for as long as `memory` lives, which is as long as any buffer does: each holds an `Rc`.
    base: *mut u8,
    layout: Layout,
    /// Indices of the cells that are not lent, the last returned on top: it is the likeliest to be in a cache.
    free: RefCell<Vec<u32>>,
    /// The same of the large cells, whose indices follow those of the others.
    free_large: RefCell<Vec<u32>>,
    /// Buffers lent from the heap because no cell was free, so far.
    borrowed: Cell<u64>,
    memory: Memory,
}

/// How a slab is cut: the cells, and behind them the large ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Cells.
    pub cells: usize,
    /// Bytes of each.
    pub cell_size: usize,
    /// Large cells, for long transfers; may be none.
    pub large_cells: usize,
    /// Bytes of each.
    pub large_cell_size: usize,
}

impl Layout {
    /// Bytes in all.
    pub fn bytes(&self) -> usize {
        self.cells * self.cell_size + self.large_cells * self.large_cell_size
    }

    /// A quarter less of both, but never less than the minimum of cells.
    fn smaller(self) -> Layout {
        let cells = (self.cells * 3 / 4).max(CELLS_MIN.min(self.cells));
        Layout { cells, large_cells: self.large_cells * 3 / 4, ..self }
    }

    /// Where a cell begins, and its size.
    fn place(&self, index: usize) -> (usize, usize) {
        match index.checked_sub(self.cells) {
            None => (index * self.cell_size, self.cell_size),
            Some(large) => (self.cells * self.cell_size + large * self.large_cell_size, self.large_cell_size),
        }
    }
}

/// Who owns the slab.
enum Memory {
    /// The ring knows it: fixed reads and writes.
    Registered(#[allow(dead_code, reason = "keeps the slab alive")] FixedBufRegistry<Slab>),
    /// The ring does not: plain reads and writes at the same addresses.
    Plain(#[allow(dead_code, reason = "keeps the slab alive")] Slab),
}

/// What became of the wish for a registered arena.
#[derive(Debug)]
pub enum Registration {
    /// All of it.
    Full,
    /// Less: the kernel refused more (`RLIMIT_MEMLOCK`). This much.
    Smaller(Layout),
    /// None of it, for this reason: plain reads and writes serve.
    Refused(io::Error),
}

impl Arena {
    /// Registers so many cells with the ring of the runtime that this runs on, or as many as the kernel allows, but no
    /// more bytes than `bytes_fair`, its share of the memory that may be locked. One registration per ring: call it once,
    /// before traffic.
    pub fn register(wanted: Layout, bytes_fair: usize) -> (Arena, Registration) {
        assert!(wanted.cells > 0 && wanted.cell_size > 0);
        let mut layout = wanted;
        while layout.bytes() > bytes_fair && layout.smaller() != layout {
            layout = layout.smaller();
        }
        loop {
            let mut slab = Slab::new(layout.bytes());
            let base = slab.address();
            let registry = FixedBufRegistry::new([slab]);
            match registry.register() {
                Ok(()) => {
                    let memory = Memory::Registered(registry);
                    let reached =
                        if layout == wanted { Registration::Full } else { Registration::Smaller(layout) };
                    return (Arena::over(base, layout, memory), reached);
                }
                // What is over the limit on locked memory is refused whole; less of it may pass. Small steps: a huge page
                // counts whole, even if we touch only its edge.
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && layout.smaller() != layout => {
                    layout = layout.smaller();
                }
                Err(error) => return (Arena::plain(wanted), Registration::Refused(error)),
            }
        }
    }

    /// An arena that the ring does not know.
    pub fn plain(layout: Layout) -> Arena {
        let mut slab = Slab::new(layout.bytes());
        let base = slab.address();
        Arena::over(base, layout, Memory::Plain(slab))
    }

    fn over(base: *mut u8, layout: Layout, memory: Memory) -> Arena {
        let (cells, all) = (layout.cells as u32, (layout.cells + layout.large_cells) as u32);
        Arena(Rc::new(Cells {
            base,
            layout,
            free: RefCell::new((0..cells).rev().collect()),
            free_large: RefCell::new((cells..all).rev().collect()),
            borrowed: Cell::new(0),
            memory,
        }))
    }

    /// A buffer, always: from the heap when every cell is lent, so that no direction ever waits for another one's.
    pub fn take(&self) -> Buffer {
        match self.0.free.borrow_mut().pop() {
            Some(index) => self.cell(index),
            None => {
                self.0.borrowed.set(self.0.borrowed.get() + 1);
                Buffer(Place::Heap(vec![0; self.0.layout.cell_size].into_boxed_slice()))
            }
        }
    }

    /// A cell, if one is free.
    pub fn take_cell(&self) -> Option<Buffer> {
        self.0.free.borrow_mut().pop().map(|index| self.cell(index))
    }

    /// Whether a cell is free.
    pub fn has_cell(&self) -> bool {
        !self.0.free.borrow().is_empty()
    }

    /// A large cell if one is free, and any buffer otherwise.
    pub fn take_large(&self) -> Buffer {
        let large = self.0.free_large.borrow_mut().pop();
        large.map_or_else(|| self.take(), |index| self.cell(index))
    }

    /// A large cell to wait with, unless waiters already hold half of them.
    pub fn take_large_to_wait(&self) -> Option<Buffer> {
        let mut free = self.0.free_large.borrow_mut();
        if free.len() * 2 <= self.0.layout.large_cells {
            return None;
        }
        free.pop().map(|index| self.cell(index))
    }

    /// A cell to wait with, unless waiters already hold half of the arena.
    ///
    /// A pending read pins its buffer for as long as the peer is silent. The other half stays for bytes on the move,
    /// so that idle sessions, however many, cannot starve busy ones.
    pub fn take_to_wait(&self) -> Option<Buffer> {
        let mut free = self.0.free.borrow_mut();
        if free.len() * 2 <= self.0.layout.cells {
            return None;
        }
        free.pop().map(|index| self.cell(index))
    }

    /// Cells that are not lent, large ones included.
    pub fn free(&self) -> usize {
        self.0.free.borrow().len() + self.0.free_large.borrow().len()
    }

    /// Cells that are not large, in all.
    pub fn small_cells(&self) -> usize {
        self.0.layout.cells
    }

    /// Cells in all, large ones included.
    pub fn cells(&self) -> usize {
        self.0.layout.cells + self.0.layout.large_cells
    }

    /// How often a buffer came from the heap because no cell was free.
    pub fn borrowed(&self) -> u64 {
        self.0.borrowed.get()
    }

    fn cell(&self, index: u32) -> Buffer {
        Buffer(Place::Cell { cells: Rc::clone(&self.0), index })
    }
}

/// Memory to register: a range that begins where a huge page would.
///
/// A huge page counts whole against the limit on locked memory. A slab that only touches the edges of two more would
/// use up the default limit of 8 MiB with half of that.
pub(crate) struct Slab {
    memory: Vec<u8>,
    start: usize,
    size: usize,
}

impl Slab {
    const ALIGNMENT: usize = 2 * 1024 * 1024;

    /// `size` bytes, all zero. What is before them is never touched, and so is never backed by memory.
    fn new(size: usize) -> Slab {
        let memory = vec![0; size + Slab::ALIGNMENT];
        let start = memory.as_ptr().align_offset(Slab::ALIGNMENT);
        assert!(start + size <= memory.len());
        Slab { memory, start, size }
    }

    /// Where it begins. Stays the same when the slab is moved: a Vec's heap block does not move with the Vec.
    pub(crate) fn address(&mut self) -> *mut u8 {
        self.memory[self.start..].as_mut_ptr()
    }

    /// The same.
    pub(crate) fn address_for_reading(&self) -> *const u8 {
        self.memory[self.start..].as_ptr()
    }

    /// Bytes from there on.
    pub(crate) fn size(&self) -> usize {
        self.size
    }
}

/// Room for one read. Goes back to where it came from by drop, which touches the free list and never the ring.
pub struct Buffer(Place);

enum Place {
    Cell { cells: Rc<Cells>, index: u32 },
    Heap(Box<[u8]>),
}

impl Buffer {
    /// Bytes that it can hold.
    pub fn size(&self) -> usize {
        match &self.0 {
            Place::Cell { cells, index } => cells.layout.place(*index as usize).1,
            Place::Heap(bytes) => bytes.len(),
        }
    }

    /// Whether it is one of the large cells.
    pub fn is_large(&self) -> bool {
        match &self.0 {
            Place::Cell { cells, index } => *index as usize >= cells.layout.cells,
            Place::Heap(_) => false,
        }
    }

    /// Where it starts. Only for entries on the ring, whose operation owns the buffer until it is complete.
    pub(crate) fn address(&mut self) -> *mut u8 {
        match &mut self.0 {
            // Cells do not overlap, and a cell is lent to one buffer at a time: nobody else has this range.
            Place::Cell { cells, index } => cells.base.wrapping_add(cells.layout.place(*index as usize).0),
            Place::Heap(bytes) => bytes.as_mut_ptr(),
        }
    }

    /// Whether the ring knows the memory: only then may an entry be a fixed one.
    pub(crate) fn is_registered(&self) -> bool {
        match &self.0 {
            Place::Cell { cells, .. } => matches!(cells.memory, Memory::Registered(_)),
            Place::Heap(_) => false,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let is_large = self.is_large();
        if let Place::Cell { cells, index } = &self.0 {
            let (free, count) = if is_large {
                (&cells.free_large, cells.layout.large_cells)
            } else {
                (&cells.free, cells.layout.cells)
            };
            let mut free = free.borrow_mut();
            assert!(free.len() < count, "a cell came back twice");
            free.push(*index);
        }
    }
}

/// Bytes on their way: a buffer and which part of it is still to be written.
///
/// Made only from what one read returned, so a write can never send what an earlier session left in the buffer.
pub struct Chunk {
    buffer: Buffer,
    start: usize,
    end: usize,
}

impl Chunk {
    /// The first `count` bytes of `buffer`, which a read has just filled.
    pub(crate) fn filled(buffer: Buffer, count: usize) -> Chunk {
        assert!(count <= buffer.size());
        Chunk { buffer, start: 0, end: count }
    }

    /// These bytes, in memory of their own.
    pub fn of(bytes: &[u8]) -> Chunk {
        Chunk::filled(Buffer(Place::Heap(bytes.into())), bytes.len())
    }

    /// Bytes still to be written.
    pub fn remaining(&self) -> usize {
        self.end - self.start
    }

    /// Whether the read that made it filled the buffer.
    pub fn is_full(&self) -> bool {
        self.end == self.buffer.size()
    }

    /// Notes that `count` more bytes were written.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining());
        self.start += count;
    }

    /// The buffer, for the next read; what it holds is forgotten.
    pub fn into_buffer(self) -> Buffer {
        self.buffer
    }

    pub(crate) fn address(&mut self) -> *const u8 {
        let start = self.start;
        self.buffer.address().wrapping_add(start)
    }

    pub(crate) fn is_registered(&self) -> bool {
        self.buffer.is_registered()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(cells: usize, cell_size: usize) -> Layout {
        Layout { cells, cell_size, large_cells: 2, large_cell_size: 4 * cell_size }
    }

    #[test]
    fn every_cell_comes_back_and_no_two_overlap() {
        let arena = Arena::plain(layout(4, 64));
        let mut buffers: Vec<Buffer> = (0..4).map(|_| arena.take()).collect();
        buffers.extend((0..2).map(|_| arena.take_large()));
        assert_eq!((arena.free(), arena.cells()), (0, 6));
        let mut ranges: Vec<(usize, usize)> =
            buffers.iter_mut().map(|each| (each.address() as usize, each.size())).collect();
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0));
        assert_eq!(ranges.iter().map(|(_, size)| size).sum::<usize>(), layout(4, 64).bytes());
        drop(buffers);
        assert_eq!(arena.free(), 6);
    }

    #[test]
    fn an_empty_arena_lends_from_the_heap_and_says_so() {
        let arena = Arena::plain(layout(1, 64));
        let cell = arena.take();
        let heap = arena.take();
        assert_eq!((heap.size(), arena.borrowed()), (64, 1));
        drop(heap);
        assert_eq!(arena.free(), 2);
        drop(cell);
        assert_eq!(arena.free(), 3);
    }

    #[test]
    fn those_that_wait_get_half_of_the_cells_at_most() {
        let arena = Arena::plain(layout(8, 64));
        let waiting: Vec<Buffer> = std::iter::from_fn(|| arena.take_to_wait()).collect();
        let waiting_large: Vec<Buffer> = std::iter::from_fn(|| arena.take_large_to_wait()).collect();
        assert_eq!((waiting.len(), waiting_large.len()), (4, 1));
        assert_eq!(arena.free(), 5);
    }

    #[test]
    fn without_a_large_cell_a_small_one_serves() {
        let arena = Arena::plain(layout(1, 64));
        let lent: Vec<Buffer> = (0..4).map(|_| arena.take_large()).collect();
        let sizes: Vec<usize> = lent.iter().map(Buffer::size).collect();
        assert_eq!(sizes, [256, 256, 64, 64]);
        assert_eq!(arena.borrowed(), 4 - 3);
    }

    #[test]
    fn a_chunk_ends_where_the_read_ended() {
        let arena = Arena::plain(layout(1, 64));
        let mut chunk = Chunk::filled(arena.take(), 10);
        chunk.advance(4);
        assert_eq!(chunk.remaining(), 6);
        chunk.advance(6);
        assert_eq!(chunk.remaining(), 0);
    }

    #[test]
    #[should_panic(expected = "count <= self.remaining()")]
    fn a_chunk_cannot_be_written_beyond_its_end() {
        let arena = Arena::plain(layout(1, 64));
        Chunk::filled(arena.take(), 10).advance(11);
    }
}

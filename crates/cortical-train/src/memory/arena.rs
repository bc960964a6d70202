//! What a program's memory comes to that allocates and frees through the command's allocator: sizes are rounded up, and
//! freed blocks are kept for the next tensor of their size.

use std::collections::HashMap;

use cortical_kernels::alloc::{block_bytes, is_kept};

/// Bytes of freed blocks that are kept, as [`CachingAllocator::new`](cortical_kernels::alloc::CachingAllocator::new)
/// has it.
const CACHED: u64 = 1 << 30;
/// Freed blocks of one size that are kept.
const DEPTH: u64 = 64;

/// The first room that a vector of bytes gets, a power of two.
const FIRST_READ: u64 = 1 << 16;

/// The memory of a program that does nothing but allocate and free.
#[derive(Debug, Default)]
pub(super) struct Arena {
    /// Freed blocks by their sizes.
    free: HashMap<u64, u64>,
    cached: u64,
    live: u64,
    peak: u64,
}

/// A tensor's memory. It has to be given back by [`Arena::free`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Block(u64);

impl Arena {
    /// Room for a tensor.
    pub(super) fn alloc(&mut self, bytes: u64) -> Block {
        let size = usize::try_from(bytes).map_or(bytes, |bytes| block_bytes(bytes) as u64);
        self.live = self.live.saturating_add(size);
        if let Some(blocks) = self.free.get_mut(&size).filter(|blocks| **blocks > 0) {
            *blocks -= 1;
            self.cached -= size;
        }
        self.peak = self.peak.max(self.live.saturating_add(self.cached));
        Block(size)
    }

    /// Gives it back.
    pub(super) fn free(&mut self, Block(size): Block) {
        self.live = self.live.saturating_sub(size);
        let is_kept = usize::try_from(size).is_ok_and(is_kept);
        let blocks = self.free.entry(size).or_default();
        if is_kept && *blocks < DEPTH && self.cached.saturating_add(size) <= CACHED {
            *blocks += 1;
            self.cached += size;
        }
    }

    /// Room for data of so many bytes whose number is not known while they are read: a vector that doubles when it is
    /// full. The pages behind its end are not touched.
    pub(super) fn read(&mut self, bytes: u64) {
        let mut size = FIRST_READ;
        let mut before = None;
        while size < bytes {
            let block = self.alloc(size);
            before
                .replace(block)
                .into_iter()
                .for_each(|block| self.free(block));
            size = size.saturating_mul(2);
        }
        self.live = self.live.saturating_add(bytes);
        self.peak = self.peak.max(self.live.saturating_add(self.cached));
        before.into_iter().for_each(|block| self.free(block));
    }

    /// The same data in a second place, of which the first is freed then.
    pub(super) fn read_again(&mut self, bytes: u64) {
        let first = self.live.saturating_add(bytes);
        self.read(bytes);
        self.live = first.saturating_sub(bytes);
        let is_kept = usize::try_from(bytes).is_ok_and(is_kept);
        if is_kept && self.cached.saturating_add(bytes) <= CACHED {
            self.cached += bytes;
        }
    }

    /// The most that it had from the system at once.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_blocks_serve_tensors_of_their_size_only() {
        let mut arena = Arena::default();
        let block = arena.alloc(1 << 20);
        arena.free(block);
        let again = arena.alloc((1 << 20) - 5);
        assert_eq!(arena.peak(), 1 << 20);
        arena.free(again);
        // Of another size: the first one stays with the program.
        let other = arena.alloc(1 << 21);
        assert_eq!(arena.peak(), 3 << 20);
        arena.free(other);
        // Small ones go back to the system.
        for _ in 0..3 {
            let small = arena.alloc(1000);
            arena.free(small);
        }
        assert_eq!(arena.peak(), (3 << 20) + 1000);
    }

    #[test]
    fn data_leave_the_rooms_that_they_have_grown_out_of() {
        let mut arena = Arena::default();
        arena.read(5 << 16);
        // Rooms of 1, 2 and 4 units, and what was read.
        assert_eq!(arena.peak(), (1 + 2 + 4 + 5) << 16);
        arena.alloc(4 << 16);
        assert_eq!(arena.peak(), (1 + 2 + 4 + 5) << 16);
    }

    #[test]
    fn no_more_is_kept_than_the_allocator_keeps() {
        let mut arena = Arena::default();
        let blocks: Vec<Block> = (0..3).map(|_| arena.alloc(1 << 29)).collect();
        for block in blocks {
            arena.free(block);
        }
        assert_eq!(arena.cached, CACHED);
        arena.alloc(1 << 28);
        assert_eq!(
            arena.peak(),
            3 << 29,
            "what was given back is no longer there"
        );
    }
}

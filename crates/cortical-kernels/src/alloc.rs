//! An allocator that keeps large blocks for the next step instead of giving them back.
//!
//! A training step allocates the same activations and gradients again and again. The system's allocator maps large
//! blocks afresh each time, and every page of them then costs a fault. [`CachingAllocator`] keeps freed blocks of
//! 64 KiB and more in lists by size and leaves everything else to the system. A library must not choose the allocator
//! of a program; a program does so in two lines:
//!
//! ```
//! use cortical_kernels::alloc::CachingAllocator;
//! #[global_allocator]
//! static ALLOCATOR: CachingAllocator = CachingAllocator::with_limit(1 << 30);
//! # let v = vec![0_u8; 1 << 20];
//! # drop(v);
//! # assert!(ALLOCATOR.cached_bytes() >= 1 << 20);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Blocks from this size on are kept.
const MIN_BYTES: usize = 64 << 10;
/// Blocks from this size on are not.
const MAX_BYTES: usize = 1 << 32;
/// Every kept block begins at a multiple of this: a cache line, and a vector of AVX-512.
const ALIGN: usize = 64;
/// Sizes are rounded up to a quarter of a power of two, so at most a quarter of a block is unused.
const CLASSES: usize = 4 * (MAX_BYTES.ilog2() - MIN_BYTES.ilog2()) as usize + 1;
/// The most blocks of one size that are kept.
const DEPTH: usize = 256;

/// A global allocator over the system's that keeps freed large blocks, up to a limit.
///
/// A block that was allocated while another thread had the lists comes from the system: nobody ever waits for a lock.
#[derive(Debug)]
pub struct CachingAllocator {
    limit: usize,
    cached: AtomicUsize,
    taken: AtomicBool,
    lists: UnsafeCell<[List; CLASSES]>,
}

#[derive(Clone, Copy, Debug)]
struct List {
    blocks: [*mut u8; DEPTH],
    len: usize,
}

// SAFETY: `lists` is touched only by whoever has set `taken`.
unsafe impl Sync for CachingAllocator {}
// SAFETY: the blocks belong to the allocator and not to a thread.
unsafe impl Send for CachingAllocator {}

impl Default for CachingAllocator {
    fn default() -> Self {
        Self::new()
    }
}

impl CachingAllocator {
    /// Keeps up to 1 GiB.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_limit(1 << 30)
    }

    /// Keeps up to `limit` bytes.
    #[must_use]
    pub const fn with_limit(limit: usize) -> Self {
        let list = List {
            blocks: [ptr::null_mut(); DEPTH],
            len: 0,
        };
        Self {
            limit,
            cached: AtomicUsize::new(0),
            taken: AtomicBool::new(false),
            lists: UnsafeCell::new([list; CLASSES]),
        }
    }

    /// How many bytes are kept and free.
    #[must_use]
    pub fn cached_bytes(&self) -> usize {
        self.cached.load(Ordering::Relaxed)
    }

    /// Gives every kept block back to the system.
    pub fn trim(&self) {
        for class in 0..CLASSES {
            while let Some(block) = self.pop(class) {
                // SAFETY: the block was allocated with the layout of its class and is in no list any more.
                unsafe { System.dealloc(block, layout_of(class)) };
            }
        }
    }

    /// Calls `f` with the list of a class, unless another thread has the lists.
    fn with_list<R>(&self, class: usize, f: impl FnOnce(&mut List) -> Option<R>) -> Option<R> {
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: `taken` was free and is now ours, so nobody else has a reference to the lists.
        let result = f(unsafe { &mut (*self.lists.get())[class] });
        self.taken.store(false, Ordering::Release);
        result
    }

    fn pop(&self, class: usize) -> Option<*mut u8> {
        let block = self.with_list(class, |list| {
            list.len = list.len.checked_sub(1)?;
            Some(list.blocks[list.len])
        })?;
        self.cached
            .fetch_sub(size_of_class(class), Ordering::Relaxed);
        Some(block)
    }

    /// Keeps a block; `None` when there is no room or another thread has the lists.
    fn push(&self, class: usize, block: *mut u8) -> Option<()> {
        let size = size_of_class(class);
        if self.cached_bytes() + size > self.limit {
            return None;
        }
        self.with_list(class, |list| {
            *list.blocks.get_mut(list.len)? = block;
            list.len += 1;
            // Counted while the list is ours, so that a pop cannot come first.
            self.cached.fetch_add(size, Ordering::Relaxed);
            Some(())
        })
    }
}

/// The bytes of the block that [`CachingAllocator`] takes for so many: as many, or a larger size of which blocks are
/// kept for the next one who wants that.
///
/// ```
/// use cortical_kernels::alloc::block_bytes;
/// assert_eq!([1000, 100_000, 4_000_000].map(block_bytes), [1000, 114_688, 4_194_304]);
/// ```
#[must_use]
pub fn block_bytes(bytes: usize) -> usize {
    let layout = Layout::from_size_align(bytes, 1).ok();
    let class = layout.and_then(class_of);
    class.map_or(bytes, size_of_class)
}

/// Whether [`CachingAllocator`] keeps a block of so many bytes when it is freed.
#[must_use]
pub fn is_kept(bytes: usize) -> bool {
    (MIN_BYTES..=MAX_BYTES).contains(&bytes)
}

/// The class of a layout that is kept.
fn class_of(layout: Layout) -> Option<usize> {
    let size = layout.size();
    if !(MIN_BYTES..=MAX_BYTES).contains(&size) || layout.align() > ALIGN {
        return None;
    }
    // The power of two below, and which quarter of the way to the next one.
    let power = (size - 1).ilog2();
    let quarter = (size - 1 - (1 << power)) >> (power - 2);
    let class = 4 * (power as usize) + quarter + 1;
    Some(class - 4 * MIN_BYTES.ilog2() as usize)
}

fn size_of_class(class: usize) -> usize {
    let class = class + 4 * MIN_BYTES.ilog2() as usize;
    let (power, quarter) = (class / 4, class % 4);
    (1 << power) + (quarter << (power - 2))
}

fn layout_of(class: usize) -> Layout {
    Layout::from_size_align(size_of_class(class), ALIGN)
        .expect("a power of two, and sizes below 2³³")
}

// SAFETY: a block comes from the system with the layout of its class, which is at least as large and as aligned as what
// was asked for, and goes back with the same layout; between the two it is either with the program or in one list.
unsafe impl GlobalAlloc for CachingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class_of(layout) else {
            // SAFETY: the caller's promises.
            return unsafe { System.alloc(layout) };
        };
        // SAFETY: the layout of a class is not empty.
        self.pop(class)
            .unwrap_or_else(|| unsafe { System.alloc(layout_of(class)) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class_of(layout) else {
            // SAFETY: the caller's promises.
            return unsafe { System.alloc_zeroed(layout) };
        };
        match self.pop(class) {
            Some(block) => {
                // SAFETY: the block is at least as large as the layout and nobody else has it.
                unsafe { block.write_bytes(0, layout.size()) };
                block
            }
            // SAFETY: the layout of a class is not empty.
            None => unsafe { System.alloc_zeroed(layout_of(class)) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class_of(layout) {
            // SAFETY: a layout without a class came from the system as it is.
            None => unsafe { System.dealloc(block, layout) },
            Some(class) => {
                if self.push(class, block).is_none() {
                    // SAFETY: allocated with the layout of its class.
                    unsafe { System.dealloc(block, layout_of(class)) };
                }
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size, rounded up to the alignment, does not overflow.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (class_of(layout), class_of(new)) {
            // SAFETY: neither block is one of ours.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            (Some(old), Some(new)) if old == new => block,
            // SAFETY: the old block is valid for its size, the new one for its own, and they are different.
            _ => unsafe {
                let moved = self.alloc(new);
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 4).expect("a small size")
    }

    #[test]
    fn a_class_is_the_smallest_that_holds_a_size() {
        for class in 0..CLASSES {
            let size = size_of_class(class);
            assert_eq!(class_of(layout(size)), Some(class), "{size}");
            if class > 0 {
                assert_eq!(class_of(layout(size_of_class(class - 1) + 1)), Some(class));
                assert!(size * 4 <= size_of_class(class - 1) * 5, "{size}");
            }
        }
        assert_eq!(class_of(layout(MIN_BYTES - 1)), None);
        assert_eq!(class_of(layout(MAX_BYTES + 1)), None);
        let page = Layout::from_size_align(1 << 20, 4096).expect("a page");
        assert_eq!(class_of(page), None);
    }

    #[test]
    fn a_freed_block_is_the_next_one_of_its_size() {
        let allocator = CachingAllocator::new();
        // SAFETY: blocks are used within their layouts and freed once.
        unsafe {
            let first = allocator.alloc(layout(100_000));
            assert!(first.addr().is_multiple_of(ALIGN));
            first.write_bytes(7, 100_000);
            allocator.dealloc(first, layout(100_000));
            assert_eq!(
                allocator.cached_bytes(),
                size_of_class(class_of(layout(100_000)).expect("kept"))
            );
            let second = allocator.alloc_zeroed(layout(99_000));
            assert_eq!(second, first);
            assert!((0..99_000).all(|i| *second.add(i) == 0));
            assert_eq!(allocator.cached_bytes(), 0);
            let same = allocator.realloc(second, layout(99_000), 101_000);
            assert_eq!(same, second);
            same.write(5);
            let moved = allocator.realloc(same, layout(101_000), 300_000);
            assert_eq!((moved.read(), moved == same), (5, false));
            let small = allocator.realloc(moved, layout(300_000), 10);
            assert_eq!(small.read(), 5);
            allocator.dealloc(small, layout(10));
            allocator.trim();
            assert_eq!(allocator.cached_bytes(), 0);
        }
    }

    #[test]
    fn no_more_is_kept_than_the_limit() {
        let allocator = CachingAllocator::with_limit(1 << 20);
        // SAFETY: as above.
        unsafe {
            let blocks: Vec<_> = (0..4).map(|_| allocator.alloc(layout(400_000))).collect();
            for block in blocks {
                allocator.dealloc(block, layout(400_000));
            }
        }
        assert!(allocator.cached_bytes() > 500_000 && allocator.cached_bytes() <= 1 << 20);
        allocator.trim();
    }

    #[test]
    fn threads_share_it() {
        let allocator = CachingAllocator::new();
        std::thread::scope(|scope| {
            for seed in 0..4_usize {
                let allocator = &allocator;
                scope.spawn(move || {
                    for i in 0..2000 {
                        let layout = layout(65_536 + (i * 7919 + seed * 104_729) % 500_000);
                        // SAFETY: the block is used within its layout and freed once.
                        unsafe {
                            let block = allocator.alloc(layout);
                            block.write_bytes(seed as u8, layout.size());
                            assert_eq!(block.add(layout.size() - 1).read(), seed as u8);
                            allocator.dealloc(block, layout);
                        }
                    }
                });
            }
        });
        allocator.trim();
        assert_eq!(allocator.cached_bytes(), 0);
    }
}

//! A mutable slice that tasks on several threads write disjoint parts of.

use std::marker::PhantomData;
use std::ops::Range;

/// A slice whose parts are handed out by position; the giver promises that parts in use do not overlap.
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    _borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it is a mutable borrow of `[T]`, and `part` gives out references to elements one thread at a time.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            _borrow: PhantomData,
        }
    }

    /// The elements in `range`.
    ///
    /// # Panics
    /// If the range does not lie inside the slice.
    ///
    /// # Safety
    /// No element of `range` may be in another part that is alive.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "a part lies inside"
        );
        // SAFETY: the range was checked to lie inside the borrowed slice, and the caller promises that nobody else
        // uses these elements.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// Where the elements in `range` begin, for a writer that leaves gaps.
    ///
    /// # Panics
    /// If the range does not lie inside the slice.
    pub(crate) fn address(&self, range: Range<usize>) -> *mut T {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "a part lies inside"
        );
        // SAFETY: the range was checked to lie inside the borrowed slice.
        unsafe { self.start.add(range.start) }
    }
}

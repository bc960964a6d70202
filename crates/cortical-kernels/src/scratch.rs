//! Working memory that a thread keeps between calls, so that kernels allocate nothing in their loops.

use crate::real::Real;
use std::cell::RefCell;

/// A cache line, so that every buffer starts on one.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; 8]);

thread_local! {
    // A stack of free buffers: a kernel that waits for other threads may be handed another kernel's work meanwhile, so
    // a buffer in use is out of the stack rather than borrowed from it.
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `len` numbers of unspecified value, aligned to 64 bytes.
pub(crate) fn with<T: Real, R>(len: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    let mut buffer = FREE.with_borrow_mut(|free| {
        // The largest free buffer, so that the stack settles on few large ones.
        let largest = (0..free.len()).max_by_key(|&i| free[i].len());
        largest.map_or_else(Vec::new, |i| free.swap_remove(i))
    });
    let lines = (len * size_of::<T>()).div_ceil(size_of::<Line>());
    if buffer.len() < lines {
        // Nothing in the old buffer is worth copying.
        buffer = vec![Line([0; 8]); lines];
    }
    // SAFETY: the buffer holds at least `len · size_of::<T>()` initialised bytes, more strictly aligned than T; T is
    // f32 or f64, for which any bits are a value; and the slice borrows a buffer that nobody else can reach.
    let slice = unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<T>(), len) };
    let result = f(slice);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_buffers_are_different_and_reused() {
        let (first, second) = with(100, |a: &mut [f32]| {
            with(50, |b: &mut [f64]| {
                a.fill(1.0);
                b.fill(2.0);
                assert!(a.iter().all(|v| *v == 1.0));
                (a.as_ptr() as usize, b.as_ptr() as usize)
            })
        });
        assert!(first.is_multiple_of(64) && second.is_multiple_of(64));
        let again = with(100, |a: &mut [f32]| a.as_ptr() as usize);
        assert!(again == first || again == second);
    }
}

//! Work on several threads with the same bits for any number of them.
//!
//! Work is cut by the size of the problem and never by the number of threads, and partial sums are combined in
//! the order of their parts. With one thread everything runs in place, without a pool.

use rayon::prelude::*;

/// How many elements of cheap arithmetic make a task worth handing to another thread.
pub const TASK_ELEMENTS: usize = 16 * 1024;

/// Whether other threads can help.
#[must_use]
pub fn is_parallel() -> bool {
    rayon::current_num_threads() > 1
}

/// Calls `f(i)` for every `i` in `0..tasks`.
pub fn for_each(tasks: usize, f: impl Fn(usize) + Sync + Send) {
    if tasks > 1 && is_parallel() {
        (0..tasks).into_par_iter().with_max_len(1).for_each(f);
    } else {
        (0..tasks).for_each(f);
    }
}

/// Calls `f(i)` for every `i` in `0..tasks` and returns the results in order.
pub fn map<R: Send>(tasks: usize, f: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    if tasks > 1 && is_parallel() {
        (0..tasks).into_par_iter().with_max_len(1).map(f).collect()
    } else {
        (0..tasks).map(f).collect()
    }
}

/// Cuts `out` into chunks of `chunk` elements (the last may be shorter) and calls `f(first_element, chunk)`.
///
/// # Panics
/// If `chunk` is zero.
pub fn chunks_mut<T: Send>(out: &mut [T], chunk: usize, f: impl Fn(usize, &mut [T]) + Sync + Send) {
    assert!(chunk > 0, "a chunk holds at least one element");
    if out.len() > chunk && is_parallel() {
        out.par_chunks_mut(chunk)
            .enumerate()
            .with_max_len(1)
            .for_each(|(i, part)| f(i * chunk, part));
    } else {
        for (i, part) in out.chunks_mut(chunk).enumerate() {
            f(i * chunk, part);
        }
    }
}

/// As [`chunks_mut`] over two slices that are cut in step: `a` by `chunk_a`, `b` by `chunk_b`. Calls
/// `f(index_of_chunk, chunk_of_a, chunk_of_b)`.
///
/// # Panics
/// If a chunk length is zero.
pub fn chunks2_mut<A: Send, B: Send>(
    a: &mut [A],
    chunk_a: usize,
    b: &mut [B],
    chunk_b: usize,
    f: impl Fn(usize, &mut [A], &mut [B]) + Sync + Send,
) {
    assert!(
        chunk_a > 0 && chunk_b > 0,
        "a chunk holds at least one element"
    );
    if a.len() > chunk_a && is_parallel() {
        a.par_chunks_mut(chunk_a)
            .zip(b.par_chunks_mut(chunk_b))
            .enumerate()
            .with_max_len(1)
            .for_each(|(i, (a, b))| f(i, a, b));
    } else {
        for (i, (a, b)) in a.chunks_mut(chunk_a).zip(b.chunks_mut(chunk_b)).enumerate() {
            f(i, a, b);
        }
    }
}

/// How many rows of `row_len` elements make one task: a function of the problem alone.
#[must_use]
pub fn rows_per_task(row_len: usize) -> usize {
    (TASK_ELEMENTS / row_len.max(1)).max(1)
}

//! Work on several threads with the same bits for any number of them.
//!
//! Work is cut by the size of the problem and never by the number of threads, and partial sums are combined in
//! the order of their parts. With one thread everything runs in place, without a pool.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rayon::prelude::*;

/// How many elements of cheap arithmetic make a task worth handing to another thread.
pub const TASK_ELEMENTS: usize = 16 * 1024;

/// Whether other threads can help.
#[must_use]
pub(crate) fn is_parallel() -> bool {
    rayon::current_num_threads() > 1
}

/// How long [`keep_spinning`] waits for the other threads. A sleeping one comes within a tenth of a millisecond; one
/// that is busy elsewhere may not come.
const PATIENCE: Duration = Duration::from_millis(2);

/// Calls `f` while the other threads of the pool keep spinning.
///
/// A thread without work falls asleep within microseconds, and waking it takes the system some tens of them: more than
/// half a matrix-vector product of a small network, and a step of decoding is hundreds of those. Inside `f` the other
/// threads look for work without rest instead, as those of OpenMP do between two parallel regions; that keeps their
/// processors busy, so it is for work that is short of time. What is computed, and its bits, are the same.
///
/// Outside a pool's threads, or with one thread, it only calls `f`.
pub fn keep_spinning<R>(f: impl FnOnce() -> R) -> R {
    let others = rayon::current_num_threads() - 1;
    if others == 0 || rayon::current_thread_index().is_none() {
        return f();
    }
    let watch = Watch::default();
    rayon::in_place_scope(|scope| {
        for _ in 0..others {
            scope.spawn(|_| watch.stand());
        }
        // No watch may be taken up later than this: it could be by a thread that waits, inside other work, for
        // something that only that work's end can bring.
        let begin = Instant::now();
        while watch.started.load(Ordering::Acquire) < others && begin.elapsed() < PATIENCE {
            std::hint::spin_loop();
        }
        watch.has_begun.store(true, Ordering::Release);
        let _end = End(&watch);
        f()
    })
}

/// What the other threads know while they spin.
#[derive(Default)]
struct Watch {
    started: AtomicUsize,
    has_begun: AtomicBool,
    is_over: AtomicBool,
}

impl Watch {
    /// Looks for work until the watch is over; returns at once if it has begun without this thread.
    fn stand(&self) {
        if self.has_begun.load(Ordering::Acquire) {
            return;
        }
        self.started.fetch_add(1, Ordering::AcqRel);
        // Nobody looks for work before, so that nobody finds a second watch.
        while !self.has_begun.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        let mut looks = 0_u32;
        while !self.is_over.load(Ordering::Acquire) {
            if rayon::yield_now() == Some(rayon::Yield::Executed) {
                looks = 0;
                continue;
            }
            looks += 1;
            if looks.is_multiple_of(1024) {
                // Somebody else may have use for the processor.
                std::thread::yield_now();
            } else {
                std::hint::spin_loop();
            }
        }
    }
}

/// Ends a watch, also when what it was for panics.
struct End<'a>(&'a Watch);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
    }
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
pub(crate) fn chunks2_mut<A: Send, B: Send>(
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

/// Rows of a task where all `rows` are `work`, and `worth` of it is worth handing to another thread: a multiple of
/// `together`.
///
/// The tasks are as many as a multiple of four, so that two threads, or four, have as many each: five like ones take
/// two threads as long as six would.
pub(crate) fn even_rows(rows: usize, work: usize, worth: usize, together: usize) -> usize {
    let tasks = match work / worth {
        0 => 1,
        tasks => tasks.next_multiple_of(4),
    };
    rows.div_ceil(tasks).max(1).next_multiple_of(together)
}

/// How many rows of `row_len` elements make one task: a function of the problem alone.
#[must_use]
pub(crate) fn rows_per_task(row_len: usize) -> usize {
    (TASK_ELEMENTS / row_len.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    }

    #[test]
    fn even_tasks_are_for_two_threads_or_four() {
        // Little work is one task, and a task is never less than what goes together.
        assert_eq!(even_rows(100, 1000, 2000, 4), 100);
        assert_eq!(even_rows(3, 1 << 20, 1000, 4), 4);
        assert_eq!(even_rows(0, 0, 1000, 4), 4);
        // Five tasks' worth are eight tasks.
        assert_eq!(even_rows(576, 576 * 576, 1 << 16, 4), 72);
        for rows in 1..300 {
            let of_task = even_rows(rows, rows * 1000, 2000, 1);
            assert!(rows.div_ceil(of_task) <= (rows / 2).next_multiple_of(4).max(1));
        }
    }

    #[test]
    fn work_is_done_while_threads_keep_spinning() {
        for threads in [1, 2, 4] {
            let sums = pool(threads).install(|| {
                keep_spinning(|| {
                    // One inside another finds everybody busy, and goes on.
                    let inner = keep_spinning(|| map(100, |i| i));
                    (0..50)
                        .map(|n| map(n, |i| inner[i]).iter().sum::<usize>())
                        .collect::<Vec<_>>()
                })
            });
            assert_eq!(
                sums,
                (0..50)
                    .map(|n: usize| n * n.saturating_sub(1) / 2)
                    .collect::<Vec<_>>()
            );
        }
        assert_eq!(keep_spinning(|| 7), 7);
    }

    #[test]
    fn many_at_once_come_to_an_end() {
        let pool = pool(3);
        let total: usize = std::thread::scope(|scope| {
            let runs: Vec<_> = (0..6)
                .map(|_| scope.spawn(|| pool.install(|| keep_spinning(|| map(64, |i| i).len()))))
                .collect();
            runs.into_iter().map(|run| run.join().unwrap()).sum()
        });
        assert_eq!(total, 6 * 64);
    }

    #[test]
    fn a_panic_ends_the_watch() {
        let pool = pool(2);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.install(|| keep_spinning(|| panic!("as asked")));
        }));
        assert!(panicked.is_err());
        assert_eq!(pool.install(|| keep_spinning(|| map(9, |i| i).len())), 9);
    }
}

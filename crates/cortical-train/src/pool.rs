//! Threads for a training.

use crate::{Error, Result};

/// Stack of each thread: candle's backward pass recurses once for every operation in a row.
const STACK_BYTES: usize = 16 << 20;

/// Runs `work` on a pool of this many threads, so that what it splits up needs no detour through another thread.
///
/// Without a number there is one thread for each processor, or as many as `RAYON_NUM_THREADS` says. The number changes
/// the time that a training takes, and not one bit of its result.
///
/// ```
/// let threads = cortical_train::in_pool(Some(2), rayon::current_num_threads)?;
/// assert_eq!(threads, 2);
/// # Ok::<(), cortical_train::Error>(())
/// ```
///
/// # Errors
/// [`Error::Threads`] when the operating system gives none.
pub fn in_pool<R: Send>(threads: Option<usize>, work: impl FnOnce() -> R + Send) -> Result<R> {
    let threads = threads.unwrap_or(0);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(STACK_BYTES)
        .build()
        .map_err(|why| Error::Threads { threads, why })?;
    Ok(pool.install(work))
}

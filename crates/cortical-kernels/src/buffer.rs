//! Memory for results that are overwritten whole, and numbers as the bytes that they are in memory.

use crate::real::Real;

/// `n` numbers of unspecified value, for a kernel that writes every one of them.
///
/// Filling with zeros what is overwritten at once costs a pass over memory, a tenth of a training step at batch 32. In
/// builds with debug assertions the numbers are `NaN`, so a kernel that reads them or leaves one out is found by its
/// tests.
#[must_use]
pub fn unspecified<T: Real>(n: usize) -> Vec<T> {
    if IS_FILLED {
        return vec![T::from_f64(f64::NAN); n];
    }
    let mut numbers = Vec::with_capacity(n);
    touch(&mut numbers);
    // SAFETY: there is room for `n` numbers, `touch` has written some bits there, and any bits are an f32 or an f64.
    unsafe { numbers.set_len(n) };
    numbers
}

/// Where nothing can be said of memory that was not written, or where tests look for those who read it.
const IS_FILLED: bool = cfg!(debug_assertions) || cfg!(miri) || !cfg!(target_arch = "x86_64");

/// Makes the room of a vector memory that has been written.
///
/// The assembly may write to everything reachable from the pointer that it is given, so to the compiler it has written
/// some bits there. (The bits are those that the memory held; they do not change by themselves, as the page is mapped
/// and private.)
fn touch<T>(numbers: &mut Vec<T>) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the memory is the vector's, and the assembly is empty.
    unsafe {
        std::arch::asm!("/* {0} */", in(reg) numbers.as_mut_ptr(), options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
}

/// Numbers of which any bits are one.
pub trait Plain: sealed::Plain + Copy + Default + Send + Sync + 'static {}

mod sealed {
    /// Nobody else says of a type that any bits are one of it.
    pub trait Plain {}
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl sealed::Plain for $type {}
        impl Plain for $type {}
    )*};
}
plain!(u8, i16, u16, i32, u32, i64, u64, f32, f64);

/// The bytes of numbers, as they lie in memory.
///
/// ```
/// use cortical_kernels::buffer::as_bytes;
/// assert_eq!(as_bytes(&[1_u16, 515]), [1_u16.to_ne_bytes(), 515_u16.to_ne_bytes()].concat());
/// ```
#[must_use]
pub fn as_bytes<T: Plain>(numbers: &[T]) -> &[u8] {
    // SAFETY: plain numbers have no bytes between them, and bytes have no alignment.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// `count` numbers whose bytes, as they lie in memory, `fill` writes; `None` when there is no memory for them.
///
/// What `fill` leaves out has unspecified values. A large result lies in large pages where the system has them: of
/// those of 4 kB a thousand are needed for 4 MB, each with a fault of its own, which takes longer than to read a file
/// that is cached.
///
/// ```
/// use cortical_kernels::buffer::filled;
/// let fill = |bytes: &mut [u8]| {
///     bytes.copy_from_slice(&1.5_f32.to_ne_bytes());
///     Ok::<_, std::io::Error>(())
/// };
/// assert_eq!(filled::<f32, _>(1, fill).expect("four bytes")?, [1.5]);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// That of `fill`.
pub fn filled<T: Plain, E>(
    count: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Option<Result<Vec<T>, E>> {
    let mut numbers: Vec<T> = Vec::new();
    numbers.try_reserve_exact(count).ok()?;
    let bytes = count * size_of::<T>();
    want_large_pages(numbers.as_mut_ptr().cast(), bytes);
    if IS_FILLED {
        numbers.resize(count, T::default());
    } else {
        touch(&mut numbers);
    }
    // SAFETY: the memory is the vector's, there is room for so many bytes, and all of it has been written (above).
    let room = unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), bytes) };
    if let Err(error) = fill(room) {
        return Some(Err(error));
    }
    // SAFETY: there is room for `count` numbers, that memory has been written, and any bits are a plain number.
    unsafe { numbers.set_len(count) };
    Some(Ok(numbers))
}

/// A large page of processors of this family.
const LARGE_PAGE: usize = 2 << 20;

/// Asks the system for large pages where so many bytes will be written.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn want_large_pages(start: *mut u8, bytes: usize) {
    const PAGE: usize = 4096;
    const MADV_HUGEPAGE: i32 = 14;
    unsafe extern "C" {
        fn madvise(start: *mut u8, bytes: usize, advice: i32) -> i32;
    }
    if bytes < LARGE_PAGE {
        return;
    }
    // From the page on which they begin, so that neighbours can share a large page.
    let within = start.addr() % PAGE;
    // SAFETY: a hint, which changes nothing that a program can see; where the system refuses it, nothing happens.
    unsafe { madvise(start.wrapping_sub(within), bytes + within, MADV_HUGEPAGE) };
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn want_large_pages(_: *mut u8, bytes: usize) {
    let _ = bytes < LARGE_PAGE;
}

/// Copies of fewer bytes may still be in a cache when they are wanted.
const PAST_CACHES: usize = 1 << 18;

/// Copies bytes from memory that others may change meanwhile, such as a mapped file: past the caches where there are
/// many of them. The copy then holds old or new bytes.
///
/// # Safety
/// `to.len()` bytes from `from` on are readable, and none of them is in `to`.
pub unsafe fn copy_from_shared(from: *const u8, to: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if to.len() >= PAST_CACHES {
        use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
        const LINE: usize = 64;
        let head = to.as_ptr().align_offset(LINE).min(to.len());
        let lines = (to.len() - head) / LINE;
        let tail = head + lines * LINE;
        let out = to.as_mut_ptr();
        // SAFETY: all of `from` and `to` is readable and writable; the target of the lines is aligned, and the two ends
        // are what the lines leave over.
        unsafe {
            std::ptr::copy_nonoverlapping(from, out, head);
            for line in 0..lines {
                let at = head + line * LINE;
                let (from, to): (*const __m128i, *mut __m128i) =
                    (from.add(at).cast(), out.add(at).cast());
                let parts = [0, 1, 2, 3].map(|i| _mm_loadu_si128(from.add(i)));
                for (i, part) in parts.into_iter().enumerate() {
                    _mm_stream_si128(to.add(i), part);
                }
            }
            std::ptr::copy_nonoverlapping(from.add(tail), out.add(tail), to.len() - tail);
            _mm_sfence();
        }
        return;
    }
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_length_and_shows_who_reads_it() {
        assert_eq!(unspecified::<f32>(0).len(), 0);
        let numbers = unspecified::<f64>(1000);
        assert_eq!(numbers.len(), 1000);
        if cfg!(debug_assertions) {
            assert!(numbers.iter().all(|x| x.is_nan()));
        }
    }

    #[test]
    fn numbers_are_filled_by_their_bytes() {
        for count in [0, 1, 7, 1 << 20] {
            let fill = |bytes: &mut [u8]| {
                assert_eq!(bytes.len(), 4 * count);
                for (i, number) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                    *number = (i as u32).to_ne_bytes();
                }
                Ok::<_, ()>(())
            };
            let numbers = filled::<u32, _>(count, fill)
                .expect("memory")
                .expect("no error");
            assert!(numbers.iter().copied().eq(0..count as u32));
            assert_eq!(as_bytes(&numbers).len(), 4 * count);
        }
        assert_eq!(filled::<u8, _>(3, |_| Err(5)), Some(Err(5)));
        assert!(filled::<u64, ()>(usize::MAX / 8, |_| Ok(())).is_none());
        assert!(filled::<u64, ()>(usize::MAX, |_| Ok(())).is_none());
    }

    #[test]
    fn copies_are_whole_wherever_they_begin() {
        let from: Vec<u8> = (0..PAST_CACHES + 300)
            .map(|i| (i * 7 % 251) as u8)
            .collect();
        for length in [0, 1, 100, PAST_CACHES, PAST_CACHES + 77] {
            for (at, target) in [(0, 0), (3, 1), (64, 63), (1, 16)] {
                let mut to = vec![0; length + 200];
                // SAFETY: both lie inside of vectors of their own.
                unsafe { copy_from_shared(from[at..].as_ptr(), &mut to[target..target + length]) };
                assert_eq!(
                    to[target..target + length],
                    from[at..at + length],
                    "{length}"
                );
                assert!(
                    to[..target]
                        .iter()
                        .chain(&to[target + length..])
                        .all(|x| *x == 0)
                );
            }
        }
    }
}

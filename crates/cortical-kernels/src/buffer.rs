//! Memory for results that a kernel overwrites whole.

use crate::real::Real;

/// `n` numbers of unspecified value, for a kernel that writes every one of them.
///
/// Filling with zeros what is overwritten at once costs a pass over memory, a tenth of a training step at batch 32. In
/// builds with debug assertions the numbers are `NaN`, so a kernel that reads them or leaves one out is found by its
/// tests.
#[must_use]
pub fn unspecified<T: Real>(n: usize) -> Vec<T> {
    if cfg!(debug_assertions) || cfg!(miri) || !cfg!(target_arch = "x86_64") {
        return vec![T::from_f64(f64::NAN); n];
    }
    let mut numbers = Vec::with_capacity(n);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the memory is the vector's. The assembly may write to everything reachable from the pointer that it is
    // given, so to the compiler it has written some bits there, and any bits are an f32 or an f64. (The bits are those
    // that the memory held; they do not change by themselves, as the page is mapped and private.)
    unsafe {
        std::arch::asm!("/* {0} */", in(reg) numbers.as_mut_ptr(), options(nostack, preserves_flags));
        numbers.set_len(n);
    }
    numbers
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
}

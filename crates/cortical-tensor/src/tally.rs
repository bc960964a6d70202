//! How many multiply-adds the operations of a thread do, counted by the operations themselves.

use std::cell::Cell;

thread_local! {
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Runs `f` and counts the multiply-adds of the products in it: matrices, convolutions, recurrences and attention, each
/// from the sizes that its kernel is called with, on the way forward, in this thread. Sums, norms and activations are
/// not products and do not count. It exists so that tests can compare what layers say of themselves with what is done.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_kernels::activation::Activation;
/// use cortical_tensor::{multiply_adds_of, ops::linear};
/// # fn main() -> cortical_tensor::Result<()> {
/// let x = Tensor::zeros((2, 3), DType::F32, &Device::Cpu)?;
/// let weight = Tensor::zeros((5, 3), DType::F32, &Device::Cpu)?;
/// let (y, count) = multiply_adds_of(|| linear(&x, &weight, None, Activation::Relu));
/// assert_eq!((y?.dims(), count), (&[2, 5][..], 2 * 3 * 5));
/// # Ok(())
/// # }
/// ```
pub fn multiply_adds_of<R>(f: impl FnOnce() -> R) -> (R, u64) {
    struct Restore(Option<u64>);
    impl Drop for Restore {
        fn drop(&mut self) {
            COUNT.set(self.0);
        }
    }
    let before = COUNT.replace(Some(0));
    // A count around this one gets all of it.
    let mut restore = Restore(before);
    let result = f();
    let count = COUNT.get().unwrap_or(0);
    restore.0 = before.map(|before| before.saturating_add(count));
    (result, count)
}

/// Whether somebody counts.
pub(crate) fn is_counting() -> bool {
    COUNT.get().is_some()
}

/// Counts a product of sizes, if somebody does.
pub(crate) fn count(sizes: &[usize]) {
    if let Some(before) = COUNT.get() {
        let sizes = sizes.iter().map(|n| u64::try_from(*n).unwrap_or(u64::MAX));
        let product = sizes.fold(1, u64::saturating_mul);
        COUNT.set(Some(before.saturating_add(product)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_nest_and_end() {
        count(&[7]);
        let (((), inner), outer) = multiply_adds_of(|| {
            count(&[2, 3]);
            multiply_adds_of(|| count(&[5]))
        });
        assert_eq!((inner, outer), (5, 11));
        assert!(!is_counting());
        let (_, count) = multiply_adds_of(|| count(&[usize::MAX, 2]));
        assert_eq!(count, u64::MAX);
    }
}

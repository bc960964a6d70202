//! Shapes of results, multiplied with care.

use crate::{Error, Result};

/// The number of elements of a result, refused before anything is allocated if it cannot be addressed.
///
/// # Errors
/// [`Error::TooLarge`] when the elements' bytes would not fit in an `isize`, which is what an allocation can be at most.
pub(crate) fn checked_count(op: &'static str, shape: &[usize]) -> Result<usize> {
    let too_large = || Error::TooLarge {
        op,
        shape: shape.to_vec(),
    };
    let count = shape
        .iter()
        .try_fold(1_usize, |n, d| n.checked_mul(*d))
        .ok_or_else(too_large)?;
    match count.checked_mul(size_of::<f64>()) {
        Some(bytes) if isize::try_from(bytes).is_ok() => Ok(count),
        _ => Err(too_large()),
    }
}

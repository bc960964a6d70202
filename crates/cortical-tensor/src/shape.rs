//! Shapes of results, multiplied with care.

use crate::{Error, Result};

/// The number of elements of a result, refused before anything is allocated if memory could not hold it.
///
/// # Errors
/// [`Error::TooLarge`] when the elements' bytes would not fit in an `isize`, which is what an allocation can be at
/// most, or the allocator has no room for them.
pub(crate) fn checked_count(op: &'static str, shape: &[usize]) -> Result<usize> {
    let too_large = || Error::TooLarge {
        op,
        shape: shape.to_vec(),
    };
    // A zero makes the result empty, but products of the other sizes must not overflow either.
    let most = shape
        .iter()
        .try_fold(1_usize, |n, d| n.checked_mul((*d).max(1)))
        .ok_or_else(too_large)?;
    let count = if shape.contains(&0) { 0 } else { most };
    match most.checked_mul(size_of::<f64>()) {
        Some(bytes) if isize::try_from(bytes).is_ok() && has_room(count) => Ok(count),
        _ => Err(too_large()),
    }
}

/// Whether the allocator would give memory for so many `f32`. Asking costs a system call, so only large sizes are asked
/// for.
fn has_room(count: usize) -> bool {
    const LARGE: usize = 1 << 30;
    count < LARGE || Vec::<f32>::new().try_reserve_exact(count).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_memory_cannot_hold_is_refused() {
        assert_eq!(checked_count("test", &[3, 4]).unwrap(), 12);
        assert_eq!(checked_count("test", &[1 << 50, 0]).unwrap(), 0);
        // Too many to count, to address, and to have; and too many if the empty axis were not there.
        for shape in [
            &[1 << 33, 1 << 33][..],
            &[1 << 60],
            &[1 << 45],
            &[0, 1 << 33, 1 << 33],
        ] {
            let refused = checked_count("test", shape);
            assert!(matches!(refused, Err(Error::TooLarge { .. })), "{shape:?}");
        }
    }
}

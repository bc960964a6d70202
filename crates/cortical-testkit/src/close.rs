//! Closeness of two lists of numbers, with the largest difference, its index and both values.

/// The place where two lists of numbers differ most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Worst {
    /// Flat index of the element.
    pub index: usize,
    /// What was computed.
    pub got: f64,
    /// What was expected.
    pub want: f64,
    /// `|got - want|`; infinite where only one side is a number.
    pub difference: f64,
    /// `atol + rtol * |want|`, what would have been allowed there.
    pub allowed: f64,
}

impl std::fmt::Display for Worst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            index,
            got,
            want,
            difference,
            allowed,
        } = self;
        write!(
            f,
            "largest difference {difference:e} at index {index}: got {got:?}, want {want:?}, allowed {allowed:e}"
        )
    }
}

/// Why two lists of numbers are not close.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The lists have different lengths.
    #[error("{got} elements, want {want}")]
    Length {
        /// Number of elements computed.
        got: usize,
        /// Number of elements expected.
        want: usize,
    },
    /// Some elements differ by more than the tolerance.
    #[error("{outside} of {total} elements outside the tolerance; {worst}")]
    Values {
        /// How many elements are outside.
        outside: usize,
        /// How many elements there are.
        total: usize,
        /// Of those outside, the one with the largest difference.
        worst: Worst,
    },
}

/// Compares `got` with `want` by `|got - want| <= atol + rtol * |want|`.
///
/// Two NaNs agree, equal infinities agree, anything else that is not finite does not. On success the largest
/// difference of all is returned (zeros for empty lists), so that a test can print how much room is left.
///
/// # Errors
/// [`Mismatch::Length`] for lists of different lengths; [`Mismatch::Values`] if any element is outside the tolerance.
pub fn compare(got: &[f64], want: &[f64], rtol: f64, atol: f64) -> Result<Worst, Mismatch> {
    if got.len() != want.len() {
        return Err(Mismatch::Length {
            got: got.len(),
            want: want.len(),
        });
    }
    let mut overall = Worst::default();
    let mut outside = 0;
    let mut worst_outside = Worst::default();
    for (index, (&got, &want)) in got.iter().zip(want).enumerate() {
        let difference = if got == want || (got.is_nan() && want.is_nan()) {
            0.0
        } else if got.is_finite() && want.is_finite() {
            (got - want).abs()
        } else {
            f64::INFINITY
        };
        let allowed = atol + rtol * want.abs();
        let here = Worst {
            index,
            got,
            want,
            difference,
            allowed,
        };
        if index == 0 || difference > overall.difference {
            overall = here;
        }
        // An infinite difference is outside even where an infinite `want` makes the tolerance infinite, and a
        // tolerance that is NaN allows nothing but equality.
        let inside = difference == 0.0 || (difference.is_finite() && difference <= allowed);
        if !inside {
            outside += 1;
            if outside == 1 || difference > worst_outside.difference {
                worst_outside = here;
            }
        }
    }
    if outside > 0 {
        return Err(Mismatch::Values {
            outside,
            total: got.len(),
            worst: worst_outside,
        });
    }
    Ok(overall)
}

/// [`compare`], as an assertion: panics with `what`, the largest difference, its index and both values.
///
/// # Panics
/// If the lists are not close.
#[track_caller]
pub fn assert_close(what: &str, got: &[f64], want: &[f64], rtol: f64, atol: f64) {
    if let Err(mismatch) = compare(got, want, rtol, atol) {
        panic!("{what}: {mismatch} (rtol {rtol:e}, atol {atol:e})");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_the_tolerance_reports_the_largest_difference() {
        let worst = compare(&[1.0, 2.5, 3.0], &[1.0, 2.0, 3.25], 0.0, 0.5).unwrap();
        assert_eq!(
            worst,
            Worst {
                index: 1,
                got: 2.5,
                want: 2.0,
                difference: 0.5,
                allowed: 0.5
            }
        );
        assert_eq!(compare(&[], &[], 0.0, 0.0), Ok(Worst::default()));
    }

    #[test]
    fn relative_and_absolute_tolerance_add() {
        assert!(compare(&[103.0], &[100.0], 0.02, 1.0).is_ok());
        assert!(compare(&[103.1], &[100.0], 0.02, 1.0).is_err());
    }

    #[test]
    fn the_worst_element_outside_is_named_even_if_a_larger_difference_is_allowed() {
        // 1000 may be off by 10; 1 may not be off by 0.5.
        let got = compare(&[1005.0, 1.5], &[1000.0, 1.0], 0.01, 0.0);
        let worst = Worst {
            index: 1,
            got: 1.5,
            want: 1.0,
            difference: 0.5,
            allowed: 0.01,
        };
        assert_eq!(
            got,
            Err(Mismatch::Values {
                outside: 1,
                total: 2,
                worst
            })
        );
    }

    #[test]
    fn what_is_not_finite_agrees_only_with_itself() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        assert!(compare(&[nan, inf, -inf], &[nan, inf, -inf], 0.0, 0.0).is_ok());
        for (got, want) in [
            (nan, 1.0),
            (1.0, nan),
            (1.0, inf),
            (inf, 1.0),
            (inf, -inf),
            (nan, inf),
        ] {
            assert!(
                compare(&[got], &[want], 1.0, 1.0).is_err(),
                "{got} passed for {want}"
            );
        }
    }

    #[test]
    #[should_panic(
        expected = "loss: 1 of 2 elements outside the tolerance; largest difference 5e-1 at index 1: got 2.5, want 2.0, allowed 1e-1 (rtol 0e0, atol 1e-1)"
    )]
    fn assert_close_says_what_where_and_both_values() {
        assert_close("loss", &[1.0, 2.5], &[1.0, 2.0], 0.0, 0.1);
    }

    #[test]
    fn different_lengths_are_a_mismatch() {
        assert_eq!(
            compare(&[1.0], &[], 0.0, 0.0),
            Err(Mismatch::Length { got: 1, want: 0 })
        );
    }
}

//! Drawing samples by weight.

use std::sync::Arc;

use cortical_tensor::Rng;

use crate::dataset::Dataset;
use crate::error::{Error, LoadDefect, Result, SampleDefect};

/// How probably each sample is drawn, relative to the others.
///
/// ```
/// use cortical_data::{iris, Weights};
/// use cortical_tensor::{Rng, Seed};
/// let weights = Weights::new(&[0.0, 1.0, 3.0])?;
/// let mut rng = Rng::new(Seed(1), "draw");
/// assert!((0..50).all(|_| weights.draw(&mut rng) > 0));
/// assert_eq!(Weights::balanced(&iris()?)?.len(), 150);
/// # Ok::<(), cortical_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Weights {
    /// The sum of the weights up to each sample.
    sums: Arc<[f64]>,
}

impl Weights {
    /// Weights of samples; they need not sum to anything.
    ///
    /// # Errors
    /// [`LoadDefect::Weight`] for a weight that is negative or not finite, or a sum that is 0.
    pub fn new(weights: &[f64]) -> Result<Self> {
        let mut sum = 0.0;
        let mut sums = Vec::with_capacity(weights.len());
        for (index, &found) in weights.iter().enumerate() {
            sum += found;
            if !(found >= 0.0 && sum.is_finite()) {
                let expected = "a number of at least 0, with a finite sum";
                return Err(Error::Load(LoadDefect::Weight {
                    index,
                    expected,
                    found,
                }));
            }
            sums.push(sum);
        }
        if sum == 0.0 {
            return Err(Error::Load(LoadDefect::Weight {
                index: 0,
                expected: "a weight above 0 for one sample at least",
                found: 0.0,
            }));
        }
        Ok(Self { sums: sums.into() })
    }

    /// Weights with which every class comes up as often as the others.
    ///
    /// # Errors
    /// [`LoadDefect::Weight`] for a data set without samples; one with numbers to predict.
    pub fn balanced(dataset: &Dataset) -> Result<Self> {
        if dataset.targets().is_some() {
            return Err(Error::Sample(SampleDefect::OtherTarget {
                expected: "classes",
                found: "numbers to predict",
            }));
        }
        let counts = dataset.class_counts();
        let weight = |label: &u32| 1.0 / counts[*label as usize] as f64;
        Self::new(&dataset.labels().iter().map(weight).collect::<Vec<_>>())
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Whether there is no sample, which no weights have.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Draws a sample.
    pub fn draw(&self, rng: &mut Rng) -> usize {
        let last = self.sums.len() - 1;
        let at = rng.uniform() * self.sums[last];
        // The first sample whose sum is above: never one of weight 0.
        self.sums.partition_point(|sum| *sum <= at).min(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_tensor::Seed;

    #[test]
    fn samples_come_as_often_as_they_weigh() {
        let weights = Weights::new(&[1.0, 0.0, 2.0, 5.0, 0.0]).unwrap();
        let mut rng = Rng::new(Seed(1), "draw");
        let mut counts = [0.0_f64; 5];
        for _ in 0..8000 {
            counts[weights.draw(&mut rng)] += 1.0 / 1000.0;
        }
        for (count, want) in counts.iter().zip([1.0, 0.0, 2.0, 5.0, 0.0]) {
            assert!((count - want).abs() < 0.2, "{counts:?}");
        }
        assert_eq!((counts[1], counts[4]), (0.0, 0.0));
    }

    #[test]
    fn what_is_no_weight_is_refused() {
        let refused = |weights: &[f64]| Weights::new(weights).unwrap_err().to_string();
        let number = "expected a number of at least 0, with a finite sum, found";
        assert_eq!(refused(&[1.0, -1.0]), format!("weight 1: {number} -1"));
        let huge = refused(&[f64::MAX, f64::MAX]);
        assert_eq!(huge, format!("weight 1: {number} {}", f64::MAX));
        assert_eq!(
            refused(&[0.0, 0.0]),
            "weight 0: expected a weight above 0 for one sample at least, found 0"
        );
        assert!(Weights::new(&[f64::NAN]).is_err());
        assert!(Weights::new(&[]).is_err());
    }
}

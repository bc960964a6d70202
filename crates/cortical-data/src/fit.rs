//! Preprocessing with the statistics of training samples.

use crate::error::{Error, PreprocessDefect, Result};
use crate::fill::{self, Missing};
use crate::inputs::Inputs;
use crate::preprocess::{Normalize, Preprocess};

impl Preprocess {
    /// Preprocessing of the given kind with the statistics of `train`'s raw values.
    ///
    /// A column that never changes has the standard deviation 0; it is divided by 1 and so becomes 0.
    ///
    /// # Errors
    /// [`Normalize::Unit`] for values whose range is not known.
    pub fn fit(kind: Normalize, train: &Inputs) -> Result<Self> {
        Self::fit_filled(kind, Missing::Refuse, train)
    }

    /// As [`fit`](Self::fit) of samples with values that are missing, which are filled as `missing` says.
    ///
    /// # Errors
    /// As [`fit`](Self::fit); a column without any value.
    pub(crate) fn fit_filled(kind: Normalize, missing: Missing, train: &Inputs) -> Result<Self> {
        let fill = fill::fit(missing, train)?;
        let made = match (kind, train.range()) {
            (Normalize::None, _) => Self::identity(train.shape()),
            (Normalize::Auto | Normalize::Unit, Some(range)) => {
                Self::new(train.shape(), range, Vec::new(), Vec::new())
            }
            (Normalize::Unit, None) => Err(Error::Preprocess(PreprocessDefect::NoRange)),
            (Normalize::Auto | Normalize::Standardize, range) => {
                let range = range.unwrap_or(1.0);
                let (mean, std) = statistics(train, range, &fill)?;
                let single = |values: &[f64]| values.iter().map(|&x| x as f32).collect();
                let made = Self::new(train.shape(), range, single(&mean), single(&std))?;
                match train.is_double() {
                    true => made.with_precise(mean, std),
                    false => Ok(made),
                }
            }
        }?;
        made.with_fill(fill)?
            .with_columns(train.preprocess().columns().to_vec())
    }
}

/// Mean and (population) standard deviation along the first dimension, in double precision and a fixed order.
fn statistics(train: &Inputs, range: f32, fill: &[f64]) -> Result<(Vec<f64>, Vec<f64>)> {
    let filled = |row: usize| -> Result<Vec<f64>> {
        let mut values = train.scaled_row(row, range)?;
        for (value, fill) in values.iter_mut().zip(fill) {
            if value.is_nan() {
                *value = fill / f64::from(range);
            }
        }
        Ok(values)
    };
    let channels = train.shape()[0];
    let in_channel = train.preprocess().features() / channels;
    let count = (train.len() * in_channel).max(1) as f64;
    let mut sums = vec![0.0f64; channels];
    for row in 0..train.len() {
        let values = filled(row)?;
        for (sum, values) in sums.iter_mut().zip(values.chunks(in_channel)) {
            *sum += values.iter().sum::<f64>();
        }
    }
    let means: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
    let mut squares = vec![0.0f64; channels];
    for row in 0..train.len() {
        let values = filled(row)?;
        let values = values.chunks(in_channel);
        for ((square, mean), values) in squares.iter_mut().zip(&means).zip(values) {
            *square += values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        }
    }
    let std = squares.iter().map(|square| {
        let std = (square / count).sqrt();
        // Subnormal deviations would divide to infinity, and zero to NaN.
        if (std as f32).is_normal() { std } else { 1.0 }
    });
    let std = std.collect();
    Ok((means, std))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn pictures_are_standardised_by_channel() {
        // Two pictures of two channels with two pixels: channel 0 holds 0, 10, 20, 30, channel 1 holds 7 only.
        let pictures = Inputs::from_bytes(vec![0, 10, 7, 7, 20, 30, 7, 7], &[2, 1, 2]).unwrap();
        let preprocess = Preprocess::fit(Normalize::Standardize, &pictures).unwrap();
        let out = pictures
            .preprocessed(&preprocess)
            .unwrap()
            .tensor(0..2, &Device::Cpu)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        let a = 15.0 / 125f32.sqrt();
        let want = [-a, -a / 3.0, 0.0, 0.0, a / 3.0, a, 0.0, 0.0];
        for (got, want) in out.iter().zip(want) {
            assert!((got - want).abs() < 1e-6, "{out:?}");
        }
    }

    #[test]
    fn auto_scales_what_has_a_range_and_standardises_the_rest() {
        let pictures = Inputs::from_bytes(vec![0, 255, 51, 102], &[1, 2, 2]).unwrap();
        let unit = Preprocess::fit(Normalize::Auto, &pictures).unwrap();
        assert_eq!((unit.range(), unit.mean()), (255.0, &[][..]));
        let table = Inputs::new(vec![1.0, 3.0], &[1]).unwrap();
        let standard = Preprocess::fit(Normalize::Auto, &table).unwrap();
        assert_eq!((standard.range(), standard.mean()), (1.0, &[2.0][..]));
        assert_eq!(
            Preprocess::fit(Normalize::Unit, &table)
                .unwrap_err()
                .to_string(),
            "expected data whose range of values is known (images), found columns of numbers; use normalize = \"standardize\""
        );
        let raw = Preprocess::fit(Normalize::None, &pictures).unwrap();
        assert_eq!(raw, Preprocess::identity(&[1, 2, 2]).unwrap());
    }
}

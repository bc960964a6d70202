//! Numbers that are to be predicted, and the scale on which a network learns them.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use cortical_settings::choice;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, SampleDefect, list};

choice! {
    /// What is predicted of a sample.
    #[derive(Debug, Default)]
    #[non_exhaustive]
    pub enum Target: "target" {
        /// One class out of several.
        #[default]
        Classes = "classes",
        /// One or several numbers.
        Numbers = "numbers",
        /// Any number of labels: of each whether it is there.
        Labels = "labels",
    }
}

/// The largest magnitude of a number to predict: far enough from the end of `f64` that differences and their sums are
/// finite.
pub(crate) const MOST: f64 = 1e300;

/// Numbers that are to be predicted, as many for each sample as there are names, in the unit of the data.
///
/// ```
/// use cortical_data::{TargetScale, Targets};
/// let targets = Targets::new(vec![1.0, 10.0, 3.0, 30.0], vec!["a".into(), "b".into()])?;
/// let scale = TargetScale::fit(&targets)?;
/// assert_eq!((scale.mean(), scale.std()), (&[2.0, 20.0][..], &[1.0, 10.0][..]));
/// assert_eq!(scale.original(1, scale.standardized(1, 30.0)), 30.0);
/// # Ok::<(), cortical_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Targets {
    /// Row by row.
    values: Arc<[f64]>,
    scale: Arc<TargetScale>,
}

/// The map from numbers in the unit of the data to those that a network learns: `z = (y − mean) / std`, each target by
/// itself. A model keeps it, so that predictions come in the unit of the data.
///
/// It is written to and read from any serde format; what is read is checked like what is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct TargetScale {
    names: Vec<String>,
    mean: Vec<f64>,
    std: Vec<f64>,
}

/// The fields as a file holds them, before they are checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    names: Vec<String>,
    mean: Vec<f64>,
    std: Vec<f64>,
}

impl TryFrom<Fields> for TargetScale {
    type Error = Error;

    fn try_from(Fields { names, mean, std }: Fields) -> Result<Self> {
        let wrong = |expected: &str, found: String| {
            let expected = expected.to_owned();
            Err(Error::Sample(SampleDefect::Scale { expected, found }))
        };
        if names.is_empty() || names.len() != mean.len() || names.len() != std.len() {
            let found = format!("{}, {} and {}", names.len(), mean.len(), std.len());
            return wrong("as many means and deviations as names, one at least", found);
        }
        if let Some(x) = mean.iter().find(|x| !x.is_finite()) {
            return wrong("a finite mean", x.to_string());
        }
        match std.iter().find(|x| !(x.is_finite() && **x > 0.0)) {
            Some(x) => wrong("a positive and finite deviation", x.to_string()),
            None => Ok(Self { names, mean, std }),
        }
    }
}

impl From<TargetScale> for Fields {
    fn from(TargetScale { names, mean, std }: TargetScale) -> Self {
        Self { names, mean, std }
    }
}

impl TargetScale {
    /// The scale on which these targets have the mean 0 and the (population) standard deviation 1.
    ///
    /// # Errors
    /// [`SampleDefect::ConstantTarget`] for one that has the same value in every sample, of which nothing can be
    /// learned.
    pub fn fit(targets: &Targets) -> Result<Self> {
        let names = targets.names();
        let (mut mean, mut std) = (Vec::new(), Vec::new());
        for (at, name) in names.iter().enumerate() {
            let values = || targets.values.iter().skip(at).step_by(names.len());
            let count = targets.len().max(1) as f64;
            let first = values().next().copied().unwrap_or(0.0);
            // From the first value, so that what is far from 0 keeps its digits.
            let away = || values().map(move |y| (y - first) / count);
            let middle = first + away().sum::<f64>();
            let most = values().fold(0.0, |most: f64, y| most.max((y - middle).abs()));
            let is_constant = values().all(|y| *y == first);
            let squares = values().map(|y| ((y - middle) / most).powi(2));
            let spread = most * (squares.sum::<f64>() / count).sqrt();
            if is_constant || !(spread > 0.0 && spread.is_finite()) {
                return Err(Error::Sample(SampleDefect::ConstantTarget {
                    name: name.clone(),
                    value: first,
                }));
            }
            mean.push(middle);
            std.push(spread);
        }
        let names = names.to_vec();
        Ok(Self { names, mean, std })
    }

    /// The names of the targets.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many targets there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// The mean of each.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The standard deviation of each.
    #[must_use]
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// A number in the unit of the data on the scale that is learned; `target` counts from 0.
    #[must_use]
    pub fn standardized(&self, target: usize, y: f64) -> f64 {
        (y - self.mean[target]) / self.std[target]
    }

    /// A number on the scale that is learned in the unit of the data.
    #[must_use]
    pub fn original(&self, target: usize, z: f64) -> f64 {
        z * self.std[target] + self.mean[target]
    }
}

impl Targets {
    /// Numbers row by row, one for each name, which are learned as they are until they get a scale.
    ///
    /// # Errors
    /// No name; a number of values that is no multiple of the names'; a value that is not finite, or of a magnitude
    /// above 1e300.
    pub fn new(values: Vec<f64>, names: Vec<String>) -> Result<Self> {
        let count = names.len();
        let scale = TargetScale::try_from(Fields {
            mean: vec![0.0; count],
            std: vec![1.0; count],
            names,
        })?;
        if !values.len().is_multiple_of(count) {
            return Err(Error::Sample(SampleDefect::ValueCount {
                shape: vec![count],
                expected: count,
                found: values.len(),
            }));
        }
        if let Some(at) = values.iter().position(|y| !is_target(*y)) {
            return Err(Error::Sample(SampleDefect::TargetRange {
                row: at / count,
                found: values[at],
            }));
        }
        Ok(Self {
            values: values.into(),
            scale: scale.into(),
        })
    }

    /// The same numbers, learned on another scale.
    ///
    /// # Errors
    /// [`SampleDefect::OtherTargets`] for a scale of targets of other names.
    pub fn scaled(&self, scale: &TargetScale) -> Result<Self> {
        if scale.names != self.scale.names {
            return Err(Error::Sample(SampleDefect::OtherTargets {
                expected: list(&scale.names),
                found: list(&self.scale.names),
            }));
        }
        Ok(Self {
            values: self.values.clone(),
            scale: Arc::new(scale.clone()),
        })
    }

    /// The scale on which they are learned.
    #[must_use]
    pub fn scale(&self) -> &TargetScale {
        &self.scale
    }

    /// The names of the targets.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.scale.names
    }

    /// How many targets a sample has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.scale.count()
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.count()
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The numbers of a sample, in the unit of the data; none for a sample that is not there.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f64] {
        let start = row.saturating_mul(self.count());
        let end = start.saturating_add(self.count());
        self.values.get(start..end).unwrap_or_default()
    }

    /// Those of these samples, all of which are there.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        let values = rows.iter().flat_map(|&row| self.row(row).iter().copied());
        Self {
            values: values.collect(),
            scale: self.scale.clone(),
        }
    }

    /// The bytes of all numbers.
    pub(crate) fn bytes(&self) -> u64 {
        size_of_val(&self.values[..]) as u64
    }

    /// The numbers of these samples as they are learned: `[rows, targets]`, `f32`.
    pub(crate) fn tensor(
        &self,
        rows: impl IntoIterator<Item = usize>,
        device: &Device,
    ) -> Result<Tensor> {
        let (mut values, mut count) = (Vec::new(), 0);
        for found in rows {
            let row = self.row(found);
            if row.is_empty() {
                let expected = self.len();
                return Err(Error::Sample(SampleDefect::RowRange { expected, found }));
            }
            let row = row.iter().enumerate();
            values.extend(row.map(|(at, y)| self.scale.standardized(at, *y) as f32));
            count += 1;
        }
        Ok(Tensor::from_vec(values, (count, self.count()), device)?)
    }
}

/// Whether a number can be predicted.
pub(crate) fn is_target(y: f64) -> bool {
    y.is_finite() && y.abs() <= MOST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(values: &[f64]) -> Targets {
        Targets::new(values.to_vec(), vec!["y".to_owned()]).unwrap()
    }

    #[test]
    fn a_scale_keeps_its_digits_however_far_or_large_the_numbers_are() {
        for (offset, unit) in [
            (0.0, 1.0),
            (1e12, 1.0),
            (0.0, 1e-300),
            (0.0, 1e290),
            (-5.0, 1e-9),
        ] {
            let values: Vec<f64> = (0..5).map(|i| offset + f64::from(i) * unit).collect();
            let scale = TargetScale::fit(&targets(&values)).unwrap();
            let want = 2.0_f64.sqrt();
            assert!(
                (scale.std()[0] / unit / want - 1.0).abs() < 1e-6,
                "{scale:?}"
            );
            let z = scale.standardized(0, values[4]);
            assert!((z - want).abs() < 1e-6, "{z}");
            let json = serde_json::to_string(&scale).unwrap();
            let again: TargetScale = serde_json::from_str(&json).unwrap();
            assert!((again.original(0, z) - values[4]).abs() <= 1e-9 * unit.max(values[4].abs()));
        }
        let ends = targets(&[-MOST, MOST]);
        assert_eq!(TargetScale::fit(&ends).unwrap().std(), [MOST]);
    }

    #[test]
    fn what_cannot_be_predicted_is_refused() {
        let refused = |values: &[f64]| {
            let made = Targets::new(values.to_vec(), vec!["a".to_owned(), "b".to_owned()]);
            made.and_then(|targets| TargetScale::fit(&targets))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused(&[1.0, 2.0, 3.0]),
            "expected a multiple of 2 values (samples of shape [2]), found 3"
        );
        assert_eq!(
            refused(&[1.0, 2.0, f64::NAN, 4.0]),
            "sample 1: expected a finite number to predict, of a magnitude of at most 1e300, found NaN"
        );
        assert_eq!(
            refused(&[1.0, 2.0, 3.0, 2.0]),
            "the target \"b\" is 2 in every sample that is learned from, so that nothing can be learned of it; choose another"
        );
        for json in [
            r#"{"names":["y"],"mean":[0.0],"std":[0.0]}"#,
            r#"{"names":["y"],"mean":[],"std":[1.0]}"#,
            r#"{"names":[],"mean":[],"std":[]}"#,
            r#"{"names":["y"],"mean":[0.0],"std":[1.0],"x":1}"#,
        ] {
            assert!(serde_json::from_str::<TargetScale>(json).is_err(), "{json}");
        }
        let other = TargetScale::fit(&targets(&[1.0, 2.0])).unwrap();
        let two = Targets::new(vec![1.0, 2.0], vec!["a".to_owned(), "b".to_owned()]).unwrap();
        assert_eq!(
            two.scaled(&other).unwrap_err().to_string(),
            "expected the targets y, found a, b"
        );
    }

    #[test]
    fn rows_become_a_tensor_on_the_scale() {
        let two = Targets::new(
            vec![1.0, 10.0, 3.0, 30.0],
            vec!["a".to_owned(), "b".to_owned()],
        );
        let two = two.unwrap();
        let scaled = two.scaled(&TargetScale::fit(&two).unwrap()).unwrap();
        let x = scaled.select(&[1, 0]).tensor(0..2, &Device::Cpu).unwrap();
        assert_eq!(x.to_vec2::<f32>().unwrap(), [[1.0, 1.0], [-1.0, -1.0]]);
        assert!(scaled.tensor([2], &Device::Cpu).is_err());
        assert_eq!(two.row(usize::MAX), [0.0; 0]);
    }
}

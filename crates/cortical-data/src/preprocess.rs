//! What happens to raw values before a network sees them, kept beside the model so that `predict` does the same.

use cortical_settings::choice;
use serde::{Deserialize, Serialize};

use crate::column::{self, Column, ColumnKind};
use crate::error::{Error, PreprocessDefect, Result, SampleDefect};

/// How values are brought into the range that networks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Normalize {
    /// [`Normalize::Unit`] where the range of values is known (pictures), else [`Normalize::Standardize`].
    #[default]
    Auto,
    /// Raw values.
    None,
    /// Divided by the largest value that can occur, so that they lie in 0..1.
    Unit,
    /// Divided by their range where it is known, then brought to mean 0 and standard deviation 1, each column (or each
    /// channel of a picture) by itself, with statistics of the training split only.
    Standardize,
}

choice!(for Normalize: "kind of normalisation" {
    Auto = "auto",
    None = "none",
    Unit = "unit",
    Standardize = "standardize",
});

/// The map from raw values to network inputs: `y = (x / range - mean[c]) / std[c]`.
///
/// `c` is the index along a sample's first dimension: the column of a table (shape `[columns]`), the channel of a
/// picture (shape `[channels, height, width]`).
///
/// It is written to and read from any serde format; what is read is checked like what is made.
///
/// ```
/// use cortical_data::{Inputs, Normalize, Preprocess};
/// let train = Inputs::new(vec![1.0, 10.0, 3.0, 30.0], &[2])?;
/// let preprocess = Preprocess::fit(Normalize::Standardize, &train)?;
/// assert_eq!((preprocess.mean(), preprocess.std()), (&[2.0, 20.0][..], &[1.0, 10.0][..]));
/// # Ok::<(), cortical_data::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Preprocess {
    input_shape: Vec<usize>,
    range: f32,
    /// One for each index of the first dimension, or none at all.
    mean: Vec<f32>,
    /// As many as `mean`.
    std: Vec<f32>,
    features: usize,
    /// Mean and deviation in double precision, for values that are kept so.
    precise: Option<Precise>,
    /// What stands for a missing value, for each value of a sample; empty where none may be missing.
    fill: Vec<f64>,
    /// What the columns of the table hold, where there is more to say than that they are numbers.
    columns: Vec<Column>,
}

/// Statistics of values in double precision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Precise {
    mean: Vec<f64>,
    std: Vec<f64>,
}

/// A raw value, in both precisions.
pub(crate) trait Raw: Copy {
    fn single(self) -> f32;
    fn double(self) -> f64;
}

impl Raw for f32 {
    fn single(self) -> f32 {
        self
    }
    fn double(self) -> f64 {
        self.into()
    }
}

impl Raw for f64 {
    fn single(self) -> f32 {
        self as f32
    }
    fn double(self) -> f64 {
        self
    }
}

impl Raw for u8 {
    fn single(self) -> f32 {
        self.into()
    }
    fn double(self) -> f64 {
        self.into()
    }
}

/// The fields as a file holds them, before they are checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    input_shape: Vec<usize>,
    range: f32,
    mean: Vec<f32>,
    std: Vec<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    precise: Option<Precise>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fill: Vec<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    columns: Vec<Column>,
}

impl TryFrom<Fields> for Preprocess {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self> {
        let made = Self::new(&fields.input_shape, fields.range, fields.mean, fields.std)?;
        let made = match fields.precise {
            Some(Precise { mean, std }) => made.with_precise(mean, std)?,
            None => made,
        };
        made.with_fill(fields.fill)?.with_columns(fields.columns)
    }
}

impl From<Preprocess> for Fields {
    fn from(preprocess: Preprocess) -> Self {
        Self {
            input_shape: preprocess.input_shape,
            range: preprocess.range,
            mean: preprocess.mean,
            std: preprocess.std,
            precise: preprocess.precise,
            fill: preprocess.fill,
            columns: preprocess.columns,
        }
    }
}

impl Preprocess {
    /// Preprocessing with given numbers; `mean` and `std` empty for none.
    ///
    /// # Errors
    /// A shape that is empty or has a zero; `range` or a `std` that is not positive and finite; a `mean` that is not
    /// finite; `mean` and `std` that are neither empty nor as long as the first dimension.
    pub fn new(input_shape: &[usize], range: f32, mean: Vec<f32>, std: Vec<f32>) -> Result<Self> {
        let features = features_of(input_shape)?;
        let bad = |what, expected: &str, found: String| {
            Err(Error::Preprocess(PreprocessDefect::Field {
                what,
                expected: expected.to_owned(),
                found,
            }))
        };
        if !(range.is_finite() && range > 0.0) {
            return bad("range", "to be positive and finite", range.to_string());
        }
        for (what, values) in [("mean", &mean), ("std", &std)] {
            let channels = input_shape[0];
            if !(mean.is_empty() && std.is_empty()) && values.len() != channels {
                let expected = format!(
                    "to have {channels} value(s), one for each index of the first dimension"
                );
                return bad(what, &expected, values.len().to_string());
            }
        }
        if let Some(x) = mean.iter().find(|x| !x.is_finite()) {
            return bad("mean", "to be finite", x.to_string());
        }
        if let Some(x) = std.iter().find(|x| !(x.is_finite() && **x > 0.0)) {
            return bad("std", "to be positive and finite", x.to_string());
        }
        Ok(Self {
            input_shape: input_shape.to_vec(),
            range,
            mean,
            std,
            features,
            precise: None,
            fill: Vec::new(),
            columns: Vec::new(),
        })
    }

    /// The same with its mean and deviation in double precision, so that values that are kept so lose nothing before
    /// they are subtracted.
    ///
    /// # Errors
    /// [`PreprocessDefect::Field`] for numbers that are not as many as, or do not round to, those in single precision.
    pub(crate) fn with_precise(self, mean: Vec<f64>, std: Vec<f64>) -> Result<Self> {
        for (single, double) in [(&self.mean, &mean), (&self.std, &std)] {
            let rounds = |(single, double): (&f32, &f64)| *single == *double as f32;
            if single.len() != double.len() || !single.iter().zip(double).all(rounds) {
                return Err(Error::Preprocess(PreprocessDefect::Field {
                    what: "precise",
                    expected: "to be mean and std with more digits".to_owned(),
                    found: format!("{} others", double.len()),
                }));
            }
        }
        Ok(Self {
            precise: Some(Precise { mean, std }),
            ..self
        })
    }

    /// The same with a number for each value of a sample that stands for one that is missing (NaN); none where none may
    /// be missing.
    ///
    /// # Errors
    /// [`PreprocessDefect::Field`] for another number of them, or one that is not finite.
    pub fn with_fill(self, fill: Vec<f64>) -> Result<Self> {
        let wrong = |expected: String, found: String| {
            let what = "fill";
            Err(Error::Preprocess(PreprocessDefect::Field {
                what,
                expected,
                found,
            }))
        };
        if !fill.is_empty() && fill.len() != self.features {
            let expected = format!("to have {} numbers", self.features);
            return wrong(expected, fill.len().to_string());
        }
        match fill.iter().find(|x| !(**x as f32).is_finite()) {
            Some(x) => wrong("to be finite".to_owned(), x.to_string()),
            None => Ok(Self { fill, ..self }),
        }
    }

    /// Whether missing values are filled.
    #[must_use]
    pub fn fills(&self) -> bool {
        !self.fill.is_empty()
    }

    /// The same for rows of a table with these columns; none for numbers without names and with the label behind them.
    ///
    /// # Errors
    /// [`PreprocessDefect::Field`] for columns that make another number of values than a sample has.
    pub fn with_columns(self, columns: Vec<Column>) -> Result<Self> {
        let labels = columns.iter().filter(|c| c.kind == ColumnKind::Label);
        if labels.count() > 1 {
            return Err(Error::Preprocess(PreprocessDefect::Field {
                what: "columns",
                expected: "to have one label at most".to_owned(),
                found: "more".to_owned(),
            }));
        }
        let width = column::width(&columns);
        if !columns.is_empty() && width != Some(self.features) {
            return Err(Error::Preprocess(PreprocessDefect::Field {
                what: "columns",
                expected: format!("to make {} numbers", self.features),
                found: width.map_or("too many".to_owned(), |width| width.to_string()),
            }));
        }
        Ok(Self { columns, ..self })
    }

    /// The columns of the table that was learned from; empty for numbers without names and with the label behind them.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Preprocessing that changes nothing.
    ///
    /// # Errors
    /// A shape that is empty or has a zero.
    pub fn identity(input_shape: &[usize]) -> Result<Self> {
        Self::new(input_shape, 1.0, Vec::new(), Vec::new())
    }

    /// The shape of the samples that this is for.
    #[must_use]
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// How many values a sample has.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features
    }

    /// What raw values are divided by first.
    #[must_use]
    pub fn range(&self) -> f32 {
        self.range
    }

    /// What is subtracted then, for each index of the first dimension; empty for nothing.
    #[must_use]
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// What is divided by last, for each index of the first dimension; empty for nothing.
    #[must_use]
    pub fn std(&self) -> &[f32] {
        &self.std
    }

    /// Appends one sample's values, preprocessed.
    pub(crate) fn extend<T: Raw>(&self, sample: &[T], out: &mut Vec<f32>) {
        if self.fill.is_empty() {
            return self.scale(sample, out);
        }
        let pairs = sample.iter().map(|x| x.double()).zip(&self.fill);
        let filled: Vec<f64> = pairs
            .map(|(x, fill)| if x.is_nan() { *fill } else { x })
            .collect();
        self.scale(&filled, out);
    }

    fn scale<T: Raw>(&self, sample: &[T], out: &mut Vec<f32>) {
        let range = self.range;
        if self.mean.is_empty() {
            out.extend(sample.iter().map(|&x| x.single() / range));
            return;
        }
        if let Some(Precise { mean, std }) = &self.precise {
            let range = f64::from(range);
            let channels = sample.chunks_exact(self.features / mean.len());
            for ((channel, mean), std) in channels.zip(mean).zip(std) {
                let values = channel.iter().map(|&x| (x.double() / range - mean) / std);
                out.extend(values.map(|x| x as f32));
            }
            return;
        }
        let channels = sample.chunks_exact(self.features / self.mean.len());
        for ((channel, &mean), &std) in channels.zip(&self.mean).zip(&self.std) {
            out.extend(channel.iter().map(|&x| (x.single() / range - mean) / std));
        }
    }
}

/// The number of values in a sample of `shape`.
fn features_of(shape: &[usize]) -> Result<usize> {
    shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
        .filter(|&features| {
            features > 0 && !shape.is_empty() && features <= isize::MAX as usize / 4
        })
        .ok_or_else(|| {
            Error::Sample(SampleDefect::Shape {
                found: shape.to_vec(),
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_file_with_impossible_numbers_is_refused() {
        let check = |json: &str, text: &str| {
            let error = serde_json::from_str::<Preprocess>(json).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        };
        check(
            r#"{"input_shape":[2],"range":0.0,"mean":[],"std":[]}"#,
            "expected range to be positive and finite, found 0",
        );
        check(
            r#"{"input_shape":[2],"range":1.0,"mean":[1.0],"std":[1.0]}"#,
            "expected mean to have 2 value(s), one for each index of the first dimension, found 1",
        );
        check(
            r#"{"input_shape":[2],"range":1.0,"mean":[1.0,2.0],"std":[]}"#,
            "expected std to have 2 value(s)",
        );
        check(
            r#"{"input_shape":[1],"range":1.0,"mean":[0.0],"std":[-1.0]}"#,
            "expected std to be positive and finite, found -1",
        );
        check(
            r#"{"input_shape":[1],"range":1.0,"mean":[1e60],"std":[1.0]}"#,
            "expected mean to be finite, found inf",
        );
        check(
            r#"{"input_shape":[],"range":1.0,"mean":[],"std":[]}"#,
            "expected a sample shape",
        );
        check(
            r#"{"input_shape":[1],"range":1.0,"mean":[],"std":[],"more":1}"#,
            "unknown field `more`",
        );
    }

    proptest! {
        #[test]
        fn saved_and_loaded_is_the_same_to_the_bit(
            range in prop::num::f32::POSITIVE | prop::num::f32::NORMAL,
            mean in prop::num::f32::NORMAL,
            std in prop::num::f32::POSITIVE | prop::num::f32::NORMAL,
        ) {
            let (range, std) = (range.abs(), std.abs());
            prop_assume!(range.is_normal() && std.is_normal());
            let preprocess = Preprocess::new(&[1], range, vec![mean], vec![std]).unwrap();
            let text = serde_json::to_string(&preprocess).unwrap();
            prop_assert_eq!(serde_json::from_str::<Preprocess>(&text).unwrap(), preprocess);
        }
    }
}

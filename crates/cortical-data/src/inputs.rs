//! Samples without labels: raw values, the shape of a sample, and the preprocessing that every batch goes through.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use cortical_tensor::Rng;

use crate::augment::Augment;
use crate::column::Column;
use crate::error::{Error, Result, SampleDefect};
use crate::numbers::Numbers;
use crate::preprocess::Preprocess;

/// Raw values as they were read; pictures stay bytes, a quarter of the memory, and numbers of tables in double
/// precision where they need it.
#[derive(Debug)]
enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    U8(Vec<u8>),
}

/// Samples of one shape, read-only and cheap to clone.
///
/// The raw values are kept as they were read. What leaves through [`Inputs::tensor`] has gone through
/// [`Inputs::preprocess`], which is the identity until [`Inputs::preprocessed`] says otherwise.
///
/// ```
/// use candle_core::Device;
/// use cortical_data::Inputs;
/// let inputs = Inputs::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[2])?;
/// let rows = inputs.tensor([2, 0], &Device::Cpu)?;
/// assert_eq!(rows.to_vec2::<f32>()?, [[5.0, 6.0], [1.0, 2.0]]);
/// # Ok::<(), cortical_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Inputs {
    values: Arc<Values>,
    /// Which samples of `values` these are, in order; all of them when absent.
    rows: Option<Arc<[usize]>>,
    /// How many samples these are.
    len: usize,
    /// Values in a sample.
    features: usize,
    /// The largest raw value that can occur, where that is known.
    range: Option<f32>,
    preprocess: Arc<Preprocess>,
}

impl Inputs {
    /// Samples of `shape`, one after the other in `values`.
    ///
    /// # Shapes
    /// `values`: `[n, shape...]` in row-major order.
    ///
    /// # Errors
    /// A shape that is empty or has a zero; a number of values that is no multiple of the shape's; NaN or infinity.
    pub fn new(values: Vec<f32>, shape: &[usize]) -> Result<Self> {
        if let Some(index) = values.iter().position(|x| !x.is_finite()) {
            return Err(Error::Sample(SampleDefect::NotFinite {
                index,
                found: values[index],
            }));
        }
        Self::build(values.len(), Values::F32(values), shape, None)
    }

    /// As [`Inputs::new`], of numbers in double precision: such as times in milliseconds, whose differences single
    /// precision loses. They stay so until they are preprocessed ([`Preprocess::fit`] with
    /// [`Normalize::Standardize`](crate::Normalize::Standardize) subtracts their mean in double precision too).
    ///
    /// ```
    /// use candle_core::Device;
    /// use cortical_data::{Inputs, Normalize, Preprocess};
    /// let times = Inputs::from_f64(vec![1_700_000_000_000.0, 1_700_000_000_002.0], &[1])?;
    /// let standardize = Preprocess::fit(Normalize::Standardize, &times)?;
    /// let x = times.preprocessed(&standardize)?.tensor(0..2, &Device::Cpu)?;
    /// assert_eq!(x.to_vec2::<f32>()?, [[-1.0], [1.0]]);
    /// # Ok::<(), cortical_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Inputs::new`]; a number beyond the range of `f32`.
    pub fn from_f64(values: Vec<f64>, shape: &[usize]) -> Result<Self> {
        if let Some(index) = values.iter().position(|&x| !(x as f32).is_finite()) {
            let found = values[index] as f32;
            return Err(Error::Sample(SampleDefect::NotFinite { index, found }));
        }
        Self::build(values.len(), Values::F64(values), shape, None)
    }

    /// The values of a table.
    pub(crate) fn from_numbers(values: Numbers, shape: &[usize]) -> Result<Self> {
        match values {
            Numbers::F32(values) => Self::new(values, shape),
            Numbers::F64(values) => Self::from_f64(values, shape),
        }
    }

    /// The values of a table, of which some may be missing (NaN): preprocessing fills them.
    pub(crate) fn with_gaps(values: Numbers, shape: &[usize]) -> Result<Self> {
        match values {
            Numbers::F32(values) => Self::build(values.len(), Values::F32(values), shape, None),
            Numbers::F64(values) => Self::build(values.len(), Values::F64(values), shape, None),
        }
    }

    /// Pictures (or other samples) of bytes, whose values range from 0 to 255.
    ///
    /// # Errors
    /// A shape that is empty or has a zero; a number of bytes that is no multiple of the shape's.
    pub fn from_bytes(bytes: Vec<u8>, shape: &[usize]) -> Result<Self> {
        Self::build(bytes.len(), Values::U8(bytes), shape, Some(255.0))
    }

    fn build(count: usize, values: Values, shape: &[usize], range: Option<f32>) -> Result<Self> {
        let preprocess = Preprocess::identity(shape)?;
        let features = preprocess.features();
        if !count.is_multiple_of(features) {
            return Err(Error::Sample(SampleDefect::ValueCount {
                shape: shape.to_vec(),
                expected: features,
                found: count,
            }));
        }
        Ok(Self {
            values: Arc::new(values),
            rows: None,
            len: count / features,
            features,
            range,
            preprocess: Arc::new(preprocess),
        })
    }

    /// The same samples, with the largest raw value that can occur stated (16 for the embedded digits).
    #[must_use]
    pub fn with_range(self, range: f32) -> Self {
        Self {
            range: Some(range),
            ..self
        }
    }

    /// The same values seen as samples of another shape with as many values; preprocessing starts as the identity
    /// again.
    ///
    /// # Errors
    /// A shape with another number of values.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Self> {
        let preprocess = Preprocess::identity(shape)?;
        if preprocess.features() != self.features {
            return Err(Error::Sample(SampleDefect::InputShape {
                expected: shape.to_vec(),
                found: self.shape().to_vec(),
            }));
        }
        // The columns of a table stay what they are.
        let preprocess = preprocess.with_columns(self.preprocess.columns().to_vec())?;
        Ok(Self {
            preprocess: Arc::new(preprocess),
            ..self.clone()
        })
    }

    /// The same values, said to come from these columns of a table.
    pub(crate) fn with_columns(self, columns: Vec<Column>) -> Result<Self> {
        let preprocess = Preprocess::clone(&self.preprocess).with_columns(columns)?;
        Ok(Self {
            preprocess: Arc::new(preprocess),
            ..self
        })
    }

    /// The same raw samples with `preprocess` instead of whatever they went through so far.
    ///
    /// # Errors
    /// Preprocessing made for samples of another shape.
    pub fn preprocessed(&self, preprocess: &Preprocess) -> Result<Self> {
        if preprocess.input_shape() != self.shape() {
            return Err(Error::Sample(SampleDefect::InputShape {
                expected: preprocess.input_shape().to_vec(),
                found: self.shape().to_vec(),
            }));
        }
        Ok(Self {
            preprocess: Arc::new(preprocess.clone()),
            ..self.clone()
        })
    }

    /// The samples `rows`, in that order; the values are shared, not copied.
    ///
    /// # Errors
    /// A row that does not exist.
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        let chosen = rows
            .iter()
            .map(|&row| self.source_row(row))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            len: chosen.len(),
            rows: Some(chosen.into()),
            ..self.clone()
        })
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The shape of one sample.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.preprocess.input_shape()
    }

    /// The largest raw value that can occur, where that is known.
    #[must_use]
    pub fn range(&self) -> Option<f32> {
        self.range
    }

    /// What every sample goes through on its way into a tensor.
    #[must_use]
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The samples `rows` (a list or a range), preprocessed, as one tensor.
    ///
    /// # Shapes
    /// Returns `[rows, shape...]`, `f32`.
    ///
    /// # Errors
    /// A row that does not exist; the device's own errors.
    pub fn tensor(&self, rows: impl IntoIterator<Item = usize>, device: &Device) -> Result<Tensor> {
        let rows = rows.into_iter();
        let mut values = Vec::with_capacity(rows.size_hint().0.min(self.len) * self.features);
        let mut count = 0;
        for row in rows {
            self.extend_with_row(row, &mut values)?;
            count += 1;
        }
        let mut dims = vec![count];
        dims.extend_from_slice(self.shape());
        Ok(Tensor::from_vec(values, dims, device)?)
    }

    /// As [`Inputs::tensor`], with each raw sample changed by `augment` in the random stream of its row first.
    ///
    /// # Shapes
    /// Returns `[rows, shape...]`, `f32`.
    ///
    /// # Errors
    /// Samples that are no pictures; a row that does not exist; the device's own errors.
    pub(crate) fn augmented(
        &self,
        rows: &[usize],
        augment: &Augment,
        stream: impl Fn(usize) -> Rng,
        device: &Device,
    ) -> Result<Tensor> {
        let mut values = Vec::with_capacity(rows.len().min(self.len) * self.features);
        for &row in rows {
            let mut raw = self.raw_row(row)?;
            augment.apply(&mut stream(row), &mut raw, self.shape(), self.range)?;
            self.preprocess.extend(&raw, &mut values);
        }
        let mut dims = vec![rows.len()];
        dims.extend_from_slice(self.shape());
        Ok(Tensor::from_vec(values, dims, device)?)
    }

    /// Appends one preprocessed sample.
    fn extend_with_row(&self, row: usize, out: &mut Vec<f32>) -> Result<()> {
        let start = self.source_row(row)? * self.features;
        let span = start..start + self.features;
        match &*self.values {
            Values::F32(values) => self.preprocess.extend(&values[span], out),
            Values::F64(values) => self.preprocess.extend(&values[span], out),
            Values::U8(bytes) => self.preprocess.extend(&bytes[span], out),
        }
        Ok(())
    }

    /// The raw values of one sample, in single precision.
    ///
    /// # Errors
    /// A row that does not exist.
    pub fn raw_row(&self, row: usize) -> Result<Vec<f32>> {
        let start = self.source_row(row)? * self.features;
        let span = start..start + self.features;
        Ok(match &*self.values {
            Values::F32(values) => values[span].to_vec(),
            Values::F64(values) => values[span].iter().map(|&x| x as f32).collect(),
            Values::U8(bytes) => bytes[span].iter().map(|&byte| f32::from(byte)).collect(),
        })
    }

    /// The raw values of one sample, each divided by `range`, in the precision in which they are kept.
    pub(crate) fn scaled_row(&self, row: usize, range: f32) -> Result<Vec<f64>> {
        match &*self.values {
            Values::F64(values) => {
                let start = self.source_row(row)? * self.features;
                let values = &values[start..start + self.features];
                Ok(values.iter().map(|x| x / f64::from(range)).collect())
            }
            _ => {
                let raw = self.raw_row(row)?;
                Ok(raw.into_iter().map(|x| f64::from(x / range)).collect())
            }
        }
    }

    /// Where the raw values are, and the bytes that they take: other samples may share them.
    pub(crate) fn storage(&self) -> (usize, u64) {
        let bytes = match &*self.values {
            Values::F32(values) => size_of_val(&values[..]),
            Values::F64(values) => size_of_val(&values[..]),
            Values::U8(bytes) => bytes.len(),
        };
        (Arc::as_ptr(&self.values).addr(), bytes as u64)
    }

    /// Whether values are kept in double precision.
    pub(crate) fn is_double(&self) -> bool {
        matches!(*self.values, Values::F64(_))
    }

    /// The columns of a table that have one value in all samples after preprocessing; none where samples are no rows of
    /// a table.
    pub(crate) fn constant_columns(&self) -> Result<Vec<usize>> {
        if self.shape().len() != 1 || self.is_empty() {
            return Ok(Vec::new());
        }
        let (mut first, mut values) = (Vec::new(), Vec::new());
        self.extend_with_row(0, &mut first)?;
        let mut constant: Vec<usize> = (0..self.features).collect();
        for row in 1..self.len {
            values.clear();
            self.extend_with_row(row, &mut values)?;
            constant.retain(|&column| values[column] == first[column]);
            if constant.is_empty() {
                break;
            }
        }
        Ok(constant)
    }

    /// The same samples with their values in single precision, and as numbers without columns.
    pub(crate) fn in_single(self) -> Result<Self> {
        let shape = self.shape().to_vec();
        let mut values = Vec::with_capacity(self.len * self.features);
        for row in 0..self.len {
            values.extend(self.raw_row(row)?);
        }
        Self::new(values, &shape)
    }

    /// Where sample `row` stands among the stored samples.
    fn source_row(&self, row: usize) -> Result<usize> {
        if row >= self.len {
            return Err(Error::Sample(SampleDefect::RowRange {
                expected: self.len,
                found: row,
            }));
        }
        Ok(self.rows.as_ref().map_or(row, |rows| rows[row]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(inputs: &Inputs) -> Vec<Vec<f32>> {
        inputs
            .tensor(0..inputs.len(), &Device::Cpu)
            .unwrap()
            .to_vec2()
            .unwrap()
    }

    #[test]
    fn a_selection_of_a_selection_shares_the_values() {
        let inputs = Inputs::from_bytes((0..8).collect(), &[2]).unwrap();
        let some = inputs.select(&[3, 1, 0]).unwrap();
        let fewer = some.select(&[2, 0]).unwrap();
        assert_eq!(rows_of(&fewer), [[0.0, 1.0], [6.0, 7.0]]);
        assert!(Arc::ptr_eq(&inputs.values, &fewer.values));
        assert_eq!(
            some.select(&[3]).unwrap_err().to_string(),
            "expected a row below 3, found 3"
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let check = |result: Result<Inputs>, text: &str| {
            assert_eq!(result.unwrap_err().to_string(), text);
        };
        check(
            Inputs::new(vec![0.0; 5], &[2]),
            "expected a multiple of 2 values (samples of shape [2]), found 5",
        );
        check(
            Inputs::new(vec![0.0, f32::NAN], &[2]),
            "value 1: expected a finite number, found NaN",
        );
        for shape in [&[][..], &[0][..], &[usize::MAX, 2][..]] {
            check(
                Inputs::new(vec![], shape),
                &format!(
                    "expected a sample shape of sizes from 1 whose product fits the memory, found {shape:?}"
                ),
            );
        }
        check(
            Inputs::new(vec![0.0; 4], &[4])
                .unwrap()
                .reshaped(&[1, 2, 3]),
            "expected samples of shape [1, 2, 3], found [4]; the data do not fit this model",
        );
        check(
            Inputs::new(vec![0.0; 4], &[4])
                .unwrap()
                .preprocessed(&Preprocess::identity(&[1, 2, 2]).unwrap()),
            "expected samples of shape [1, 2, 2], found [4]; the data do not fit this model",
        );
    }

    #[test]
    fn no_samples_and_no_rows_make_empty_tensors() {
        let none = Inputs::new(vec![], &[1, 2, 2]).unwrap();
        assert!(none.is_empty());
        let dims = |rows: std::ops::Range<usize>| {
            none.tensor(rows, &Device::Cpu).map(|t| t.dims().to_vec())
        };
        assert_eq!(dims(0..0).unwrap(), [0, 1, 2, 2]);
        assert!(dims(0..1).is_err());
    }
}

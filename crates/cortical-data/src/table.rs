//! Tables in safetensors files: a tensor of inputs and one of labels.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use cortical_io::TensorFile;

use crate::about::About;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::inputs::Inputs;
use crate::numbers::Numbers;

const INPUTS: &str = "inputs";
const LABELS: &str = "labels";
/// The metadata key of a JSON list of class names.
const CLASSES: &str = "classes";
/// Classes that are made up where the file names none.
const MOST_CLASSES: u32 = 1 << 20;

/// Reads a safetensors file with the tensors `inputs` and `labels`; class names come from the metadata `classes`
/// (JSON), else classes are numbered.
///
/// # Shapes
/// - `inputs`: `[n, shape...]` of any floating-point type, or bytes, whose range is then 0 to 255
/// - `labels`: `[n]` of integers
///
/// # Errors
/// [`Error::Table`] for a tensor that is missing or does not fit, [`Error::Tensors`] for a file that is not what it
/// should be, and those of [`Dataset::new`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("table.safetensors");
/// let tensors = [
///     ("inputs".to_owned(), Tensor::new(&[[0.5_f32, 1.0], [2.0, 3.0]], &Device::Cpu)?),
///     ("labels".to_owned(), Tensor::new(&[1_u32, 0], &Device::Cpu)?),
/// ];
/// cortical_io::save_tensors(&path, &tensors, &Default::default())?;
/// let dataset = cortical_data::read_table(&path)?;
/// assert_eq!((dataset.input_shape(), dataset.labels()), (&[2][..], &[1, 0][..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_table(path: &Path) -> Result<Dataset> {
    let file = TensorFile::open(path)?;
    let wrong = |expected, found: String| Error::Table {
        path: path.to_owned(),
        expected,
        found,
    };
    let load = |name: &'static str, expected| -> Result<Tensor> {
        if file.tensors().iter().all(|tensor| tensor.name() != name) {
            let names: Vec<&str> = file.tensors().iter().map(|t| t.name()).take(5).collect();
            return Err(wrong(expected, format!("{names:?}")));
        }
        Ok(file.load(name, &Device::Cpu)?)
    };
    let inputs = load(INPUTS, "a tensor \"inputs\"")?;
    let labels = load(LABELS, "a tensor \"labels\"")?;
    if inputs.rank() < 2 {
        let found = format!("{:?}", inputs.dims());
        return Err(wrong("inputs of shape [n, ...]", found));
    }
    let integers = matches!(labels.dtype(), DType::U8 | DType::U32 | DType::I64);
    if labels.rank() != 1 || !integers {
        let found = format!("{:?} of {:?}", labels.dims(), labels.dtype());
        return Err(wrong("labels of shape [n] and of integers", found));
    }
    let labels: Vec<i64> = labels.to_dtype(DType::I64)?.to_vec1()?;
    let labels: Option<Vec<u32>> = labels.iter().map(|&y| u32::try_from(y).ok()).collect();
    let labels = labels.ok_or_else(|| wrong("labels from 0 up", "one below 0".to_owned()))?;
    let named = file.metadata().get(CLASSES);
    let classes: Vec<String> = match named {
        Some(json) => serde_json::from_str(json)
            .map_err(|why| wrong("a JSON list of names in `classes`", why.to_string()))?,
        None => {
            let most = labels.iter().max().copied().unwrap_or(0);
            if most >= MOST_CLASSES {
                return Err(wrong("labels below 1048576", most.to_string()));
            }
            (0..=most).map(|class| class.to_string()).collect()
        }
    };
    let shape = inputs.dims()[1..].to_vec();
    let flat = inputs.flatten_all()?;
    let inputs = match flat.dtype() {
        DType::U8 => Inputs::from_bytes(flat.to_vec1()?, &shape)?,
        DType::F64 => {
            let mut values = Numbers::default();
            flat.to_vec1()?.into_iter().for_each(|x| values.push(x));
            Inputs::from_numbers(values, &shape)?
        }
        _ => Inputs::new(flat.to_dtype(DType::F32)?.to_vec1()?, &shape)?,
    };
    let about = About {
        summary: format!(
            "{} samples of shape {shape:?}, {} classes",
            inputs.len(),
            classes.len()
        ),
        notes: Vec::new(),
    };
    let dataset = Dataset::new(inputs, labels, classes)?.with_about(about);
    Ok(match named {
        Some(_) => dataset,
        None => dataset.with_numbered_classes(),
    })
}

/// Whether a file is called like a safetensors file.
pub(crate) fn is_table(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending == "safetensors")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(tensors: &[(&str, Tensor)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        let named = tensors
            .iter()
            .map(|(name, t)| ((*name).to_owned(), t.clone()));
        let named: Vec<_> = named.collect();
        cortical_io::save_tensors(&path, &named, &Default::default()).unwrap();
        let error = read_table(&path).unwrap_err().to_string();
        error
            .split_once("t.safetensors: ")
            .unwrap_or(("", &error))
            .1
            .to_owned()
    }

    #[test]
    fn what_is_missing_or_does_not_fit_is_named() {
        let cpu = &Device::Cpu;
        let x = Tensor::zeros((2, 3), DType::F32, cpu).unwrap();
        let y = |labels: &[i64]| Tensor::new(labels, cpu).unwrap();
        assert_eq!(
            refused(&[("x", x.clone())]),
            "expected a tensor \"inputs\", found [\"x\"]"
        );
        assert_eq!(
            refused(&[("inputs", x.flatten_all().unwrap()), ("labels", y(&[0, 1]))]),
            "expected inputs of shape [n, ...], found [6]"
        );
        assert_eq!(
            refused(&[("inputs", x.clone()), ("labels", x.clone())]),
            "expected labels of shape [n] and of integers, found [2, 3] of F32"
        );
        assert_eq!(
            refused(&[("inputs", x.clone()), ("labels", y(&[0, -1]))]),
            "expected labels from 0 up, found one below 0"
        );
        assert_eq!(
            refused(&[
                ("inputs", x.clone()),
                ("labels", y(&[0, i64::from(u32::MAX)]))
            ]),
            "expected labels below 1048576, found 4294967295"
        );
        assert_eq!(
            refused(&[("inputs", x), ("labels", y(&[0]))]),
            "expected 2 labels, one for each sample, found 1"
        );
    }
}

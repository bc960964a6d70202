//! Samples to predict from: a CSV file, a file of IDX images, a picture or a folder of pictures, brought into the form
//! that a saved model takes.

use std::io::BufRead;
use std::path::Path;

use crate::about::About;
use crate::csv::{self, CsvOptions};
use crate::error::{CsvDefect, Error, Result};
use crate::features::Features;
use crate::files;
use crate::fill::Missing;
use crate::idx;
use crate::pictures;
use crate::preprocess::Preprocess;

/// Opens a file of samples for a model whose preprocessing was saved: a CSV file (with or without a label column) or a
/// file of IDX images, recognised by their first bytes; either may be compressed with gzip. Or a PNG or JPEG picture,
/// or a folder of them, those in its folders too, in the order of their names, which are brought to the model's size.
///
/// With [`CsvOptions::classes`] set to the model's classes, labels that the file has are given as their numbers.
///
/// # Errors
/// As [`csv::read_features`] and [`idx::read_images`]; images of another size than the model takes.
///
/// ```
/// use cortical_data::{csv::CsvOptions, open_features, Preprocess};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("rows.csv");
/// std::fs::write(&path, "6,8\n0,2\n").unwrap();
/// let saved = Preprocess::new(&[2], 2.0, vec![], vec![])?;
/// let rows = open_features(&path, &saved, &CsvOptions::default())?;
/// let x = rows.inputs.tensor(0..2, &candle_core::Device::Cpu)?;
/// assert_eq!(x.to_vec2::<f32>()?, [[3.0, 4.0], [0.0, 1.0]]);
/// # Ok::<(), cortical_data::Error>(())
/// ```
pub fn open_features(
    path: &Path,
    preprocess: &Preprocess,
    options: &CsvOptions,
) -> Result<Features> {
    let without_columns = |what: &str| match &options.label {
        Some(label) => {
            let defect = CsvDefect::NoColumn {
                what: "label column",
                expected: label.to_string(),
                found: format!("{what}, which has no columns"),
            };
            Err(defect.of_file(path))
        }
        None => Ok(()),
    };
    let pictures = || {
        without_columns("a picture or a folder of them")?;
        let read = pictures::read_inputs(path, preprocess.input_shape())?;
        Ok(Features {
            inputs: read.inputs.preprocessed(preprocess)?,
            labels: None,
            targets: None,
            is_table: false,
            files: read.files,
            about: About {
                notes: read.notes,
                ..About::default()
            },
        })
    };
    if path.is_dir() {
        return pictures();
    }
    let mut reader = files::open(path)?;
    let start = reader.fill_buf().map_err(|why| Error::read(path, 0, why))?;
    let is_called_so = pictures::is_called_picture(path) || pictures::is_other_picture(path, start);
    if pictures::is_picture(start) || is_called_so {
        return pictures();
    }
    let features = if start.starts_with(&idx::IMAGES_MAGIC) {
        without_columns("a file of IDX images")?;
        Features {
            inputs: idx::read_images_from(reader, path)?.into_inputs()?,
            labels: None,
            targets: None,
            is_table: false,
            files: Vec::new(),
            about: About::default(),
        }
    } else {
        let options = CsvOptions {
            columns: preprocess.columns().to_vec(),
            // Which number stands for what is missing, the preprocessing knows.
            missing: match preprocess.fills() {
                true => Missing::Mean,
                false => Missing::Refuse,
            },
            ..options.clone()
        };
        csv::read_features_from(reader, path, preprocess.features(), &options)?
    };
    let shaped = features.inputs.reshaped(preprocess.input_shape())?;
    Ok(Features {
        inputs: shaped.preprocessed(preprocess)?,
        ..features
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Inputs;
    use candle_core::Device;

    /// The labels of a file as [`Features`] has them.
    type Labels = Option<Vec<Option<u32>>>;

    /// What a model for pictures of 1×2 pixels gets to see of a file.
    fn seen(bytes: &[u8]) -> Result<(Vec<f32>, Labels)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("samples");
        std::fs::write(&path, bytes).unwrap();
        let saved = Preprocess::new(&[1, 1, 2], 10.0, vec![1.0], vec![2.0]).unwrap();
        let options = CsvOptions {
            classes: Some(vec!["a".into(), "b".into()]),
            ..CsvOptions::default()
        };
        let features = open_features(&path, &saved, &options)?;
        let x = features
            .inputs
            .tensor(0..features.inputs.len(), &Device::Cpu)?;
        assert_eq!(x.dims()[1..], [1, 1, 2]);
        Ok((x.flatten_all()?.to_vec1()?, features.labels))
    }

    #[test]
    fn a_row_and_a_picture_go_through_the_same_preprocessing() {
        let want = vec![0.0, 4.5];
        assert_eq!(seen(b"10,100\n").unwrap(), (want.clone(), None));
        assert_eq!(
            seen(b"10,100,b\n").unwrap(),
            (want.clone(), Some(vec![Some(1)]))
        );
        let idx = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 10, 100];
        assert_eq!(seen(&idx).unwrap(), (want, None));
    }

    #[test]
    fn the_digits_as_a_file_are_what_training_saw() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/digits.csv.gz");
        let digits = crate::digits().unwrap();
        let saved = Preprocess::fit(crate::Normalize::Auto, digits.inputs()).unwrap();
        let options = CsvOptions {
            classes: Some(digits.classes().to_vec()),
            ..CsvOptions::default()
        };
        let read = open_features(&path, &saved, &options).unwrap();
        let labels: Option<Vec<u32>> = read.labels.and_then(|all| all.into_iter().collect());
        assert_eq!(labels.as_deref(), Some(digits.labels()));
        let bits = |inputs: &Inputs| {
            let all = inputs.tensor(0..inputs.len(), &Device::Cpu).unwrap();
            assert_eq!(all.dims(), [1797, 1, 8, 8]);
            all.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(
            bits(&read.inputs),
            bits(digits.preprocessed(&saved).unwrap().inputs())
        );
    }

    #[test]
    fn samples_of_another_size_are_refused() {
        let idx = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 10];
        assert_eq!(
            seen(&idx).unwrap_err().to_string(),
            "expected samples of shape [1, 1, 2], found [1, 1, 1]; the data do not fit this model"
        );
        let rows = seen(b"1\n").unwrap_err().to_string();
        assert!(rows.ends_with(
            "line 1: expected 2 (or one more with a label) cells separated by commas, found 1"
        ));
    }
}

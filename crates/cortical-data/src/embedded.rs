//! The data sets that are part of the crate, so that a first run needs no file.

use std::io::Read;
use std::path::Path;

use crate::csv::{self, CsvOptions};
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::files;
use crate::targets::Target;

const DIGITS: &[u8] = include_bytes!("../data/digits.csv.gz");
const MOBY_DICK: &[u8] = include_bytes!("../data/moby-dick.txt.gz");
const CONCRETE: &[u8] = include_bytes!("../data/concrete.csv.gz");
const IRIS: &[u8] = include_bytes!("../data/iris.csv");

/// 1,797 handwritten digits, pictures of 8×8 pixels with values 0 to 16.
///
/// # Shapes
/// A sample is `[1, 8, 8]`: one channel, height, width.
///
/// # Errors
/// None but candle's own; the data are part of the program.
///
/// # Source
/// The test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI, 1998), as scikit-learn
/// ships it.
pub fn digits() -> Result<Dataset> {
    let name = Path::new("the embedded digits.csv.gz");
    let flat = csv::read_from(files::unpack(DIGITS), name, &CsvOptions::default())?;
    let inputs = flat
        .inputs()
        .clone()
        .in_single()?
        .with_range(16.0)
        .reshaped(&[1, 8, 8])?;
    Dataset::new(inputs, flat.labels().to_vec(), flat.classes().to_vec())
}

/// 150 irises of three species: length and width of sepal and petal in centimetres.
///
/// # Shapes
/// A sample is `[4]`.
///
/// # Errors
/// None but candle's own; the data are part of the program.
///
/// # Source
/// R. A. Fisher, "The use of multiple measurements in taxonomic problems" (1936), as scikit-learn ships it.
pub fn iris() -> Result<Dataset> {
    let name = Path::new("the embedded iris.csv");
    let numbered = csv::read_from(IRIS, name, &CsvOptions::default())?;
    let species = ["setosa", "versicolor", "virginica"].map(str::to_owned);
    Dataset::new(
        // In single precision, as its bits have always been, and by place: the first row of the file names no columns.
        numbered.inputs().clone().in_single()?,
        numbered.labels().to_vec(),
        species.to_vec(),
    )
}

/// 1,030 kinds of concrete: what a cubic metre is mixed of in kilograms, the age in days, and as the number to predict
/// the compressive strength in megapascals.
///
/// # Shapes
/// A sample is `[8]`, with one target.
///
/// # Errors
/// None but candle's own; the data are part of the program.
///
/// # Source
/// I-C. Yeh, "Modeling of strength of high-performance concrete using artificial neural networks" (1998), UCI.
pub fn concrete() -> Result<Dataset> {
    let name = Path::new("the embedded concrete.csv.gz");
    let options = CsvOptions {
        target: Target::Numbers,
        ..CsvOptions::default()
    };
    csv::read_from(files::unpack(CONCRETE), name, &options)
}

/// The text of the novel "Moby-Dick; or, The Whale": 1.2 megabytes.
///
/// # Errors
/// None; the text is part of the program.
///
/// # Source
/// H. Melville (1851), as the stdlib project ships it.
pub fn moby_dick() -> Result<String> {
    let name = Path::new("the embedded moby-dick.txt.gz");
    let mut text = String::new();
    let read = files::unpack(MOBY_DICK).read_to_string(&mut text);
    read.map_err(|why| Error::read(name, 0, why))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Normalize, Preprocess};
    use candle_core::Device;

    #[test]
    fn digits_are_what_scikit_learn_says_they_are() {
        let digits = digits().unwrap();
        assert_eq!(digits.len(), 1797);
        assert_eq!(digits.input_shape(), [1, 8, 8]);
        assert_eq!(
            digits.class_counts(),
            [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
        );
        assert_eq!(digits.classes()[9], "9");
        let unit = Preprocess::fit(Normalize::Auto, digits.inputs()).unwrap();
        let all = digits.inputs().preprocessed(&unit).unwrap();
        let all = all
            .tensor(0..1797, &Device::Cpu)
            .unwrap()
            .flatten_all()
            .unwrap();
        let all = all.to_vec1::<f32>().unwrap();
        assert_eq!(all.iter().copied().fold(f32::NAN, f32::max), 1.0);
        // The pixels' sum, taken with NumPy.
        assert_eq!(
            all.iter().map(|&x| f64::from(x) * 16.0).sum::<f64>(),
            561_718.0
        );
        assert_eq!(all[2..6], [5.0 / 16.0, 13.0 / 16.0, 9.0 / 16.0, 1.0 / 16.0]);
    }

    #[test]
    fn concrete_is_what_its_maker_says() {
        let concrete = concrete().unwrap();
        let targets = concrete.targets().unwrap();
        assert_eq!((concrete.len(), concrete.input_shape()), (1030, &[8][..]));
        assert_eq!(targets.names(), ["strength"]);
        assert_eq!(targets.row(0), [79.99]);
        // The published mean.
        let sum: f64 = (0..1030).map(|row| targets.row(row)[0]).sum();
        assert!((sum / 1030.0 - 35.82).abs() < 0.005, "{}", sum / 1030.0);
    }

    #[test]
    fn iris_has_fifty_of_each_species() {
        let iris = iris().unwrap();
        assert_eq!(iris.class_counts(), [50, 50, 50]);
        assert_eq!(iris.classes(), ["setosa", "versicolor", "virginica"]);
        assert_eq!(iris.inputs().raw_row(149).unwrap(), [5.9, 3.0, 5.1, 1.8]);
    }
}

//! IDX files, the format of MNIST and its relatives: a header of sizes, then unsigned bytes.
//!
//! ```text
//! byte 0   two zero bytes
//! byte 2   element type; 0x08, unsigned bytes, is the only one read here
//! byte 3   number of dimensions d: 1 for labels, 3 for images (count, rows, columns)
//! byte 4   d sizes, 32 bits each, most significant byte first
//! then     the elements
//! ```
//!
//! # Source
//! Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".

use std::cmp::Ordering;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use crate::about::About;
use crate::dataset::{Dataset, Splits};
use crate::error::{Error, IdxDefect, Result, SampleDefect};
use crate::files;
use crate::inputs::Inputs;

/// The most elements that a header may claim: two gibibytes.
pub const MAX_ELEMENTS: u64 = 1 << 31;

/// What every IDX file of unsigned bytes with three dimensions begins with.
pub(crate) const IMAGES_MAGIC: [u8; 4] = [0, 0, UNSIGNED_BYTES, 3];

/// The code of the element type that is read here.
const UNSIGNED_BYTES: u8 = 0x08;

/// The images and the labels of the two parts.
const TRAIN: [&str; 2] = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
const TEST: [&str; 2] = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// How many bytes stand before the first label.
const LABELS_HEADER_BYTES: u64 = 8;

/// Pictures of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// The height of a picture, at least 1.
    pub rows: usize,
    /// The width of a picture, at least 1.
    pub columns: usize,
    /// `[n, rows, columns]`, row-major.
    pub pixels: Vec<u8>,
}

impl Images {
    /// The pictures as samples of shape `[1, rows, columns]`, values 0 to 255.
    ///
    /// # Errors
    /// A number of pixels that is no multiple of `rows * columns`, which no file gives.
    pub fn into_inputs(self) -> Result<Inputs> {
        Inputs::from_bytes(self.pixels, &[1, self.rows, self.columns])
    }
}

/// Reads a file of images, such as `train-images-idx3-ubyte.gz`; gzip is recognised by its first bytes.
///
/// # Errors
/// A file that cannot be read; another magic number, element type or number of dimensions; a size of zero; more than
/// [`MAX_ELEMENTS`]; fewer or more bytes than the header says. Memory is taken as data arrive, never on the header's
/// word.
pub fn read_images(path: &Path) -> Result<Images> {
    images(files::open(path)?, path)
}

/// [`read_images`] from any reader of uncompressed bytes; `name` stands for the path in messages.
///
/// # Errors
/// As [`read_images`].
pub fn read_images_from(reader: impl BufRead, name: &Path) -> Result<Images> {
    images(reader, name)
}

/// Reads a file of labels, such as `train-labels-idx1-ubyte.gz`; gzip is recognised by its first bytes.
///
/// # Errors
/// As [`read_images`].
pub fn read_labels(path: &Path) -> Result<Vec<u8>> {
    Ok(read(files::open(path)?, path, "labels", 1)?.1)
}

/// [`read_labels`] from any reader of uncompressed bytes; `name` stands for the path in messages.
///
/// # Errors
/// As [`read_images`].
pub fn read_labels_from(reader: impl BufRead, name: &Path) -> Result<Vec<u8>> {
    Ok(read(reader, name, "labels", 1)?.1)
}

/// Reads the four files of a folder: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same with `t10k` for
/// the test part, each with or without `.gz`. Classes are called `classes`, or by their numbers when it is absent.
///
/// # Errors
/// A missing file; as [`read_images`]; images and labels that differ in number; training and test images that differ in
/// size; a label that is no class.
pub fn read_folder(folder: &Path, classes: Option<&[&str]>) -> Result<Splits> {
    let train = Part::read(folder, TRAIN)?;
    let test = Part::read(folder, TEST)?;
    if train.inputs.shape() != test.inputs.shape() {
        return Err(Error::Sample(SampleDefect::InputShape {
            expected: train.inputs.shape().to_vec(),
            found: test.inputs.shape().to_vec(),
        }));
    }
    let is_named = classes.is_some();
    let classes: Vec<String> = match classes {
        Some(names) => names.iter().map(|&name| name.to_owned()).collect(),
        None => {
            let largest = train.labels.iter().chain(&test.labels).max();
            (0..=largest.copied().unwrap_or(0))
                .map(|y| y.to_string())
                .collect()
        }
    };
    let (height, width) = (train.inputs.shape()[1], train.inputs.shape()[2]);
    let about = About {
        summary: format!(
            "{} pictures for training, {} for testing, {width} x {height} pixels, grey, {} classes",
            train.labels.len(),
            test.labels.len(),
            classes.len()
        ),
        notes: Vec::new(),
    };
    let labelled = |part: Part| -> Result<Dataset> {
        let part = part.labelled(&classes)?.with_about(about.clone());
        Ok(match is_named {
            true => part,
            false => part.with_numbered_classes(),
        })
    };
    Ok(Splits {
        train: labelled(train)?,
        valid: None,
        test: labelled(test)?,
    })
}

/// Whether a folder looks like one for [`read_folder`].
pub(crate) fn is_folder(folder: &Path) -> bool {
    find(folder, TRAIN[0]).is_ok()
}

/// Images and their labels, not yet known to be of a class.
struct Part {
    inputs: Inputs,
    labels: Vec<u8>,
    labels_path: PathBuf,
}

impl Part {
    fn read(folder: &Path, [images, labels]: [&'static str; 2]) -> Result<Self> {
        let (images_path, labels_path) = (find(folder, images)?, find(folder, labels)?);
        let labels = read_labels(&labels_path)?;
        let inputs = read_images(&images_path)?.into_inputs()?;
        if inputs.len() != labels.len() {
            return Err(Error::IdxCounts {
                images: images_path,
                labels: labels_path,
                expected: inputs.len(),
                found: labels.len(),
            });
        }
        Ok(Self {
            inputs,
            labels,
            labels_path,
        })
    }

    fn labelled(self, classes: &[String]) -> Result<Dataset> {
        if let Some(row) = self
            .labels
            .iter()
            .position(|&y| usize::from(y) >= classes.len())
        {
            return Err(Error::Idx {
                path: self.labels_path,
                offset: LABELS_HEADER_BYTES + row as u64,
                defect: IdxDefect::Label {
                    expected: classes.len(),
                    found: self.labels[row],
                },
            });
        }
        let labels = self.labels.into_iter().map(u32::from).collect();
        Dataset::new(self.inputs, labels, classes.to_vec())
    }
}

/// The four files of a folder.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    [TRAIN, TEST]
        .into_iter()
        .flatten()
        .map(|name| find(folder, name))
        .collect()
}

/// The path of a file that may have been compressed.
fn find(folder: &Path, name: &'static str) -> Result<PathBuf> {
    [name.to_owned(), format!("{name}.gz")]
        .into_iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Error::MissingIdxFile {
            folder: folder.to_owned(),
            expected: name,
        })
}

fn images(reader: impl BufRead, path: &Path) -> Result<Images> {
    let (sizes, pixels) = read(reader, path, "images", 3)?;
    Ok(Images {
        rows: sizes[1] as usize,
        columns: sizes[2] as usize,
        pixels,
    })
}

/// Reads a whole file of `dimensions` dimensions and gives the sizes and the elements.
fn read(
    mut reader: impl BufRead,
    path: &Path,
    what: &'static str,
    dimensions: u8,
) -> Result<(Vec<u32>, Vec<u8>)> {
    let header_bytes = 4 + 4 * u64::from(dimensions);
    let mut header = Vec::new();
    read_up_to(&mut reader, header_bytes, &mut header, 0, path)?;
    let (sizes, elements) = parse_header(&header, path, what, dimensions)?;

    let expected = header_bytes + elements;
    // One byte more than promised is asked for, to notice a file that goes on.
    let mut data = Vec::new();
    read_up_to(&mut reader, elements + 1, &mut data, header_bytes, path)?;
    let path = || path.to_owned();
    match (data.len() as u64).cmp(&elements) {
        Ordering::Less => Err(Error::Idx {
            path: path(),
            offset: header_bytes + data.len() as u64,
            defect: IdxDefect::Truncated { expected },
        }),
        Ordering::Equal => Ok((sizes, data)),
        Ordering::Greater => Err(Error::Idx {
            path: path(),
            offset: expected,
            defect: IdxDefect::Trailing,
        }),
    }
}

/// Appends at most `most` bytes that begin at `offset` in the file; memory grows with what arrives.
fn read_up_to(
    reader: &mut impl BufRead,
    most: u64,
    out: &mut Vec<u8>,
    offset: u64,
    path: &Path,
) -> Result<()> {
    match reader.take(most).read_to_end(out) {
        Ok(_) => Ok(()),
        Err(why) => Err(Error::read(path, offset + out.len() as u64, why)),
    }
}

/// Checks a header, which may have been cut short, and gives the sizes and their product.
fn parse_header(
    header: &[u8],
    path: &Path,
    what: &'static str,
    dimensions: u8,
) -> Result<(Vec<u32>, u64)> {
    let path = || path.to_owned();
    if let &[a, b, ..] = header
        && [a, b] != [0, 0]
    {
        return Err(Error::Idx {
            path: path(),
            offset: 0,
            defect: IdxDefect::Magic { found: [a, b] },
        });
    }
    if let Some(&found) = header.get(2)
        && found != UNSIGNED_BYTES
    {
        return Err(Error::Idx {
            path: path(),
            offset: 2,
            defect: IdxDefect::Type { found },
        });
    }
    if let Some(&found) = header.get(3)
        && found != dimensions
    {
        return Err(Error::Idx {
            path: path(),
            offset: 3,
            defect: IdxDefect::Dimensions {
                what,
                expected: dimensions,
                found,
            },
        });
    }
    let expected = 4 + 4 * u64::from(dimensions);
    if (header.len() as u64) < expected {
        return Err(Error::Idx {
            path: path(),
            offset: header.len() as u64,
            defect: IdxDefect::Truncated { expected },
        });
    }
    let sizes: Vec<u32> = header[4..]
        .chunks_exact(4)
        .map(|size| size.iter().fold(0, |all, &byte| all << 8 | u32::from(byte)))
        .collect();
    if let Some(dimension) = sizes.iter().position(|&size| size == 0) {
        return Err(Error::Idx {
            path: path(),
            offset: 4 + 4 * dimension as u64,
            defect: IdxDefect::Empty { dimension },
        });
    }
    let product = sizes
        .iter()
        .try_fold(1u64, |product, &size| product.checked_mul(u64::from(size)))
        .filter(|&product| product <= MAX_ELEMENTS);
    match product {
        Some(elements) => Ok((sizes, elements)),
        None => Err(Error::Idx {
            path: path(),
            offset: 4,
            defect: IdxDefect::TooLarge {
                limit: MAX_ELEMENTS,
                claimed: sizes,
            },
        }),
    }
}

#[cfg(test)]
#[path = "idx_tests.rs"]
mod tests;

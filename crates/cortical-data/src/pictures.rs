//! Folders of pictures, one folder for each class: PNG and JPEG.
//!
//! ```text
//! animals/cat/1.png          a class each; a part is held out for testing
//! animals/dog/rex.jpg
//!
//! animals/train/cat/1.png    or the parts apart, in letters of any case; where there is no test, valid takes its place
//! animals/valid/cat/7.png    valid, val or validation
//! animals/test/cat/9.png
//! ```

use std::path::{Path, PathBuf};

use crate::about::count;
use crate::dataset::{Dataset, Splits};
use crate::error::{Error, PictureDefect, Result, SampleDefect, list};
use crate::files;
use crate::inputs::Inputs;

mod folder;
mod jpeg;
mod orientation;
mod png;
mod resize;

use folder::{Classes, LeftOut, Listing, beneath, has_pictures, part};
pub(crate) use folder::{files, folders, is_called_picture};

/// The most pixels of one picture, before it is made smaller.
const MOST_PIXELS: usize = 1 << 26;
/// The most bytes of one file.
const MOST_BYTES: u64 = 1 << 28;
/// The most bytes of all pictures together, as they are kept.
const MOST_TOGETHER: usize = 1 << 32;
/// What the folders of the parts are called.
const TRAIN: [&str; 1] = ["train"];
const VALID: [&str; 3] = ["valid", "val", "validation"];
const TEST: [&str; 1] = ["test"];
const PNG: [u8; 8] = *b"\x89PNG\r\n\x1a\n";
const JPEG: [u8; 3] = [0xff, 0xd8, 0xff];

/// A picture of bytes, channel after channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// Columns, at least 1.
    pub width: usize,
    /// `[channels, height, width]`, row-major.
    pub bytes: Vec<u8>,
}

/// What a folder of pictures has.
#[derive(Debug)]
pub(crate) enum Folder {
    /// Classes, of which a part is to be held out.
    Whole(Dataset),
    /// Parts of its own.
    Split(Box<Splits>),
}

/// Reads a PNG or JPEG file; which one it is is told by its first bytes. Transparency is dropped, 16 bits become 8,
/// palettes colours. It is turned as its EXIF data say, so that it is the way up in which it was taken.
///
/// # Errors
/// [`Error::Read`], [`PictureDefect::Unreadable`] for a file that is neither, ends early or is broken, and for one of
/// more than 2²⁶ pixels.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("dot.png");
/// # std::fs::write(&path, include_bytes!("../data/test/dots.png"))?;
/// let picture = cortical_data::read_picture(&path)?;
/// assert_eq!((picture.channels, picture.height, picture.width), (3, 1, 2));
/// assert_eq!(picture.bytes, [1, 4, 2, 5, 3, 6]); // channel after channel
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_picture(path: &Path) -> Result<Pixels> {
    let bytes = files::read(path, MOST_BYTES)?;
    let decoded = if bytes.starts_with(&PNG) {
        png::decode(&bytes)
    } else if bytes.starts_with(&JPEG) {
        jpeg::decode(&bytes)
    } else {
        Err(other_format(&bytes).into())
    };
    decoded.map_err(|why| Error::Picture {
        path: path.to_owned(),
        defect: PictureDefect::Unreadable { why },
    })
}

/// What a file is that begins like neither.
fn other_format(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "it is empty",
        [b'G', b'I', b'F', b'8', ..] => "it is a GIF; save it as PNG",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => "it is a WebP picture; save it as PNG",
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => "it is a TIFF; save it as PNG",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "it is a HEIC or AVIF picture; save it as PNG",
        _ => "its first bytes are those of another format",
    }
}

/// Whether a file is called or begins like a picture of a kind that is not read.
pub(crate) fn is_other_picture(path: &Path, start: &[u8]) -> bool {
    const OTHERS: [&str; 8] = ["gif", "webp", "bmp", "tif", "tiff", "heic", "avif", "svg"];
    let ending = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_ascii_lowercase();
    OTHERS.contains(&&*ending) || start.starts_with(b"GIF8")
}

/// Whether a file begins like one for [`read_picture`].
pub(crate) fn is_picture(start: &[u8]) -> bool {
    start.starts_with(&PNG) || start.starts_with(&JPEG)
}

/// Whether a folder holds folders of pictures, or pictures.
pub(crate) fn is_folder(folder: &Path) -> bool {
    let inner = |folder: &Path| folders(folder).unwrap_or_default();
    let classes = inner(folder);
    has_pictures(folder)
        || classes.iter().any(|class| has_pictures(class))
        || classes
            .iter()
            .flat_map(|part| inner(part))
            .any(|class| has_pictures(&class))
}

/// Reads a folder of classes, or one of parts with the classes of the training part. Folders without pictures are no
/// classes; the notes say what was left out.
///
/// Pictures take the shape `[channels, height, width]` where one is given: they are made smaller or larger, grey or
/// coloured. Else all must be of one size; they are grey if all of them are.
pub(crate) fn read_folder(folder: &Path, shape: Option<&[usize]>) -> Result<Folder> {
    let given = shape.map(|shape| three(shape, folder)).transpose()?;
    let all = Listing::of(folder)?;
    let train = part(&all.folders, &TRAIN)?;
    let valid = part(&all.folders, &VALID)?;
    let test = part(&all.folders, &TEST)?;
    let mut left_out = LeftOut::new(folder);
    let mut taken = None;
    let (train, valid, test) = match (train, valid, test) {
        (Some(train), valid, Some(test)) => (train, valid, test),
        // What is known to be held out is tested on, as there is nothing else.
        (Some(train), Some(valid), None) => {
            let name = valid.file_name().unwrap_or_default().display();
            taken = Some(format!(
                "there is no folder test, so the folder {name} is what is tested on, and choices are made by none or by a share of the training part (data.valid_fraction)"
            ));
            (train, None, valid)
        }
        _ => return read_whole(folder, all, given).map(Folder::Whole),
    };
    let parts: Vec<&PathBuf> = [Some(train), valid, Some(test)]
        .into_iter()
        .flatten()
        .collect();
    left_out.beside_parts(&all, &parts);
    let found = Classes::of(train, Listing::of(train)?, &mut left_out)?;
    let classes = found.names(&left_out)?;
    let mut held_out = |part: &PathBuf| {
        let others = Classes::of(part, Listing::of(part)?, &mut left_out)?;
        let known = |path: &Path| classes.iter().any(|class| path.ends_with(class));
        match others.folders.iter().find(|(path, _)| !known(path)) {
            Some((other, _)) => Err(Error::Picture {
                path: other.clone(),
                defect: PictureDefect::ClassFolder {
                    expected: list(&classes),
                },
            }),
            None => Read::classes(part, others.folders, &classes, given),
        }
    };
    let valid = valid.map(&mut held_out).transpose()?;
    let test = held_out(test)?;
    let train = Read::classes(train, found.folders, &classes, given)?;
    let mut shape = given.map_or_else(|| train.shape(), Ok)?;
    if given.is_none() {
        for part in valid.iter().chain([&test]) {
            let [channels, height, width] = part.shape()?;
            if [height, width] != shape[1..] {
                return Err(Error::Sample(SampleDefect::InputShape {
                    expected: shape.to_vec(),
                    found: vec![channels, height, width],
                }));
            }
            // One coloured picture anywhere makes all of them so.
            shape[0] = shape[0].max(channels);
        }
    }
    let number = |read: &Read| read.pictures.len();
    let parts = match &valid {
        Some(valid) => format!(
            "{} pictures for training, {} for validation, {} for testing",
            number(&train),
            number(valid),
            number(&test)
        ),
        None => format!(
            "{} pictures for training, {} for testing",
            number(&train),
            number(&test)
        ),
    };
    let notes = left_out.notes().into_iter().chain(taken).collect();
    let about = folder::about(parts, shape, &classes, notes);
    let dataset =
        |read: Read| Ok::<_, Error>(read.dataset(shape, &classes)?.with_about(about.clone()));
    Ok(Folder::Split(Box::new(Splits {
        train: dataset(train)?,
        valid: valid.map(dataset).transpose()?,
        test: dataset(test)?,
    })))
}

/// Reads a folder of classes, without parts.
fn read_whole(folder: &Path, all: Listing, given: Option<[usize; 3]>) -> Result<Dataset> {
    let mut left_out = LeftOut::new(folder);
    let found = Classes::of(folder, all, &mut left_out)?;
    let classes = found.names(&left_out)?;
    let read = Read::classes(folder, found.folders, &classes, given)?;
    let shape = given.map_or_else(|| read.shape(), Ok)?;
    let pictures = count(read.pictures.len(), "picture", "pictures");
    let about = folder::about(pictures, shape, &classes, left_out.notes());
    Ok(read.dataset(shape, &classes)?.with_about(about))
}

/// Pictures in the shape that a model takes.
pub(crate) struct Pictures {
    pub(crate) inputs: Inputs,
    /// Their files.
    pub(crate) files: Vec<PathBuf>,
    /// What was left out.
    pub(crate) notes: Vec<String>,
}

/// Reads a picture, or all pictures of a folder and of the folders in it, in the order of their names, in the shape
/// that a model takes.
pub(crate) fn read_inputs(path: &Path, shape: &[usize]) -> Result<Pictures> {
    let shape = three(shape, path)?;
    let (files, notes) = match path.is_dir() {
        true => beneath(path).map(|(files, left_out)| (files, left_out.notes()))?,
        false => (vec![path.to_owned()], Vec::new()),
    };
    let mut read = Read {
        given: Some(shape),
        ..Read::default()
    };
    for path in &files {
        read.add(path.clone(), 0)?;
    }
    Ok(Pictures {
        inputs: read.inputs(shape)?,
        files,
        notes,
    })
}

/// A shape of three sizes, for the pictures at a path.
fn three(shape: &[usize], path: &Path) -> Result<[usize; 3]> {
    match *shape {
        [channels @ (1 | 3), height, width] if height > 0 && width > 0 => {
            Ok([channels, height, width])
        }
        _ => Err(Error::Picture {
            path: path.to_owned(),
            defect: PictureDefect::Shape {
                expected: shape.to_vec(),
            },
        }),
    }
}

/// Pictures as they were read.
#[derive(Debug, Default)]
struct Read {
    pictures: Vec<(PathBuf, Pixels, u32)>,
    /// The most channels of any.
    channels: usize,
    bytes: usize,
    /// The shape that each picture is brought to as it is read.
    given: Option<[usize; 3]>,
}

impl Read {
    /// All pictures of the folders of these classes, in the shape that is given.
    fn classes(
        folder: &Path,
        folders: Vec<(PathBuf, Vec<PathBuf>)>,
        classes: &[String],
        given: Option<[usize; 3]>,
    ) -> Result<Self> {
        let mut read = Self {
            given,
            ..Self::default()
        };
        // Sorted by the names of the classes, as the folders are.
        for (folder, pictures) in folders {
            let label = classes.iter().position(|class| folder.ends_with(class));
            let label = label.expect("folders of other classes were refused") as u32;
            for path in pictures {
                read.add(path, label)?;
            }
        }
        if read.pictures.is_empty() {
            return Err(Error::Picture {
                path: folder.to_owned(),
                defect: PictureDefect::NoPictures,
            });
        }
        Ok(read)
    }

    fn add(&mut self, path: PathBuf, label: u32) -> Result<()> {
        let mut picture = read_picture(&path)?;
        // At once, so that large pictures do not lie in memory together.
        if let Some(shape @ [channels, height, width]) = self.given {
            picture = Pixels {
                channels,
                height,
                width,
                bytes: resize::fit(picture, shape),
            };
        }
        self.bytes = self.bytes.saturating_add(picture.bytes.len());
        if self.bytes > MOST_TOGETHER {
            return Err(Error::TooLarge {
                path,
                limit_bytes: MOST_TOGETHER as u64,
            });
        }
        self.channels = self.channels.max(picture.channels);
        self.pictures.push((path, picture, label));
        Ok(())
    }

    /// The one shape that all pictures have.
    fn shape(&self) -> Result<[usize; 3]> {
        let (_, first, _) = &self.pictures[0];
        let size = (first.height, first.width);
        for (path, picture, _) in &self.pictures {
            if (picture.height, picture.width) != size {
                return Err(Error::Picture {
                    path: path.clone(),
                    defect: PictureDefect::Size {
                        expected: [self.channels, size.0, size.1],
                        found: [picture.height, picture.width],
                    },
                });
            }
        }
        Ok([self.channels, size.0, size.1])
    }

    fn dataset(self, shape: [usize; 3], classes: &[String]) -> Result<Dataset> {
        let labels = self.pictures.iter().map(|(_, _, label)| *label).collect();
        Dataset::new(self.inputs(shape)?, labels, classes.to_vec())
    }

    fn inputs(self, shape: [usize; 3]) -> Result<Inputs> {
        let [channels, height, width] = shape;
        let size = channels
            .checked_mul(height)
            .and_then(|n| n.checked_mul(width));
        let all = size.and_then(|size| size.checked_mul(self.pictures.len()));
        let mut bytes = Vec::new();
        if all.is_none_or(|all| all > MOST_TOGETHER || bytes.try_reserve_exact(all).is_err()) {
            return Err(Error::Sample(SampleDefect::PictureShape {
                found: shape.to_vec(),
            }));
        }
        for (_, picture, _) in self.pictures {
            bytes.extend(resize::fit(picture, shape));
        }
        Inputs::from_bytes(bytes, &shape)
    }
}

/// Why a picture cannot be decoded.
type Why = Box<dyn std::error::Error + Send + Sync>;
/// What decoding makes, or why it cannot.
type Decoded<T> = std::result::Result<T, Why>;

/// Bytes of pixels, so many channels to a pixel, as a picture of one or three channels; further channels are dropped.
fn planes(bytes: &[u8], found: usize, (height, width): (usize, usize)) -> Decoded<Pixels> {
    let channels = if found < 3 { 1 } else { 3 };
    let pixels = height * width;
    if bytes.len() < pixels * found || pixels == 0 {
        return Err("it has fewer pixels than it says".into());
    }
    let mut out = Vec::with_capacity(channels * pixels);
    for channel in 0..channels {
        out.extend(bytes[..pixels * found].iter().skip(channel).step_by(found));
    }
    Ok(Pixels {
        channels,
        height,
        width,
        bytes: out,
    })
}

/// The number of pixels, if a picture of this size is read at all.
fn checked(height: usize, width: usize) -> Decoded<usize> {
    let pixels = height.checked_mul(width);
    let pixels = pixels.filter(|pixels| (1..=MOST_PIXELS).contains(pixels));
    pixels.ok_or_else(|| {
        format!("it is {width} x {height}; expected from 1 to {MOST_PIXELS} pixels").into()
    })
}

#[cfg(test)]
mod tests;

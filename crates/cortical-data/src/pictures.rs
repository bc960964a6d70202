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

use std::fs;
use std::path::{Path, PathBuf};

use crate::about::{About, count};
use crate::dataset::{Dataset, Splits};
use crate::error::{Error, PictureDefect, Result, SampleDefect, list};
use crate::files;
use crate::inputs::Inputs;

mod jpeg;
mod orientation;
mod png;
mod resize;

/// The most pixels of one picture, before it is made smaller.
const MOST_PIXELS: usize = 1 << 26;
/// The most bytes of one file.
const MOST_BYTES: u64 = 1 << 28;
/// The most bytes of all pictures together, as they are kept.
const MOST_TOGETHER: usize = 1 << 32;
/// What the files of pictures are called.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];
/// What the folders of the parts are called.
const TRAIN: [&str; 1] = ["train"];
const VALID: [&str; 3] = ["valid", "val", "validation"];
const TEST: [&str; 1] = ["test"];
/// What macOS puts beside the folders in an archive.
const NO_CLASS: &str = "__MACOSX";

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
        Err("its first bytes are those of another format".into())
    };
    decoded.map_err(|why| Error::Picture {
        path: path.to_owned(),
        defect: PictureDefect::Unreadable { why },
    })
}

/// Whether a file begins like one for [`read_picture`].
pub(crate) fn is_picture(start: &[u8]) -> bool {
    start.starts_with(&PNG) || start.starts_with(&JPEG)
}

/// Whether a folder holds folders of pictures, or pictures.
pub(crate) fn is_folder(folder: &Path) -> bool {
    let has = |folder: &Path| files(folder).is_ok_and(|files| !files.is_empty());
    let inner = |folder: &Path| folders(folder).unwrap_or_default();
    let classes = inner(folder);
    has(folder)
        || classes.iter().any(|class| has(class))
        || classes
            .iter()
            .flat_map(|part| inner(part))
            .any(|class| has(&class))
}

/// Reads a folder of classes, or one of parts with the classes of the training part. Folders without pictures are no
/// classes; the notes name them.
///
/// Pictures take the shape `[channels, height, width]` where one is given: they are made smaller or larger, grey or
/// coloured. Else all must be of one size; they are grey if all of them are.
pub(crate) fn read_folder(folder: &Path, shape: Option<&[usize]>) -> Result<Folder> {
    let given = shape.map(three).transpose()?;
    let folders_in = folders(folder)?;
    let train = part(&folders_in, &TRAIN)?;
    let valid = part(&folders_in, &VALID)?;
    let test = part(&folders_in, &TEST)?;
    let (train, valid, test) = match (train, valid, test) {
        (Some(train), valid, Some(test)) => (train, valid, test),
        // What is known to be held out is tested on, as there is nothing else.
        (Some(train), Some(valid), None) => (train, None, valid),
        _ => {
            let found = Classes::of(folder, folders_in)?;
            let classes = found.names()?;
            let read = Read::classes(folder, &found.folders, &classes, given)?;
            let shape = given.map_or_else(|| read.shape(), Ok)?;
            let pictures = count(read.pictures.len(), "picture", "pictures");
            let about = found.about(pictures, shape, &classes);
            let all = read.dataset(shape, &classes)?.with_about(about);
            return Ok(Folder::Whole(all));
        }
    };
    let mut found = Classes::of(train, folders(train)?)?;
    let classes = found.names()?;
    let mut held_out = |part: &PathBuf| {
        let others = Classes::of(part, folders(part)?)?;
        found.left_out.extend(others.left_out);
        let known = |path: &&PathBuf| classes.iter().any(|class| path.ends_with(class));
        match others.folders.iter().find(|path| !known(path)) {
            Some(other) => Err(Error::Picture {
                path: other.clone(),
                defect: PictureDefect::ClassFolder {
                    expected: list(&classes),
                },
            }),
            None => Read::classes(part, &others.folders, &classes, given),
        }
    };
    let valid = valid.map(&mut held_out).transpose()?;
    let test = held_out(test)?;
    let train = Read::classes(train, &found.folders, &classes, given)?;
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
    let about = found.about(parts, shape, &classes);
    let dataset =
        |read: Read| Ok::<_, Error>(read.dataset(shape, &classes)?.with_about(about.clone()));
    Ok(Folder::Split(Box::new(Splits {
        train: dataset(train)?,
        valid: valid.map(dataset).transpose()?,
        test: dataset(test)?,
    })))
}

/// The folders of a folder that are classes, and those that are not.
struct Classes {
    folder: PathBuf,
    folders: Vec<PathBuf>,
    left_out: Vec<String>,
}

impl Classes {
    fn of(folder: &Path, all: Vec<PathBuf>) -> Result<Self> {
        let (mut folders, mut left_out) = (Vec::new(), Vec::new());
        for path in all {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.eq_ignore_ascii_case(NO_CLASS) {
                left_out.push(format!("left out: the folder {name}, which is no class"));
            } else if files(&path)?.is_empty() {
                let text = path.display().to_string();
                left_out.push(format!(
                    "left out: the folder {text:?}, which has no picture called .png, .jpg or .jpeg"
                ));
            } else {
                folders.push(path);
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            folders,
            left_out,
        })
    }

    /// The names of the classes, sorted.
    fn names(&self) -> Result<Vec<String>> {
        let name = |class: &PathBuf| Some(class.file_name()?.to_string_lossy().into_owned());
        let names: Vec<String> = self.folders.iter().filter_map(name).collect();
        if names.len() < 2 {
            return Err(Error::Picture {
                path: self.folder.clone(),
                defect: PictureDefect::NoClassFolders { found: names.len() },
            });
        }
        Ok(names)
    }

    fn about(&self, pictures: String, shape: [usize; 3], classes: &[String]) -> About {
        let [channels, height, width] = shape;
        let colour = if channels == 1 { "grey" } else { "coloured" };
        let classes = count(classes.len(), "class", "classes");
        About {
            summary: format!("{pictures}, {width} x {height} pixels, {colour}, {classes}"),
            notes: self.left_out.clone(),
        }
    }
}

/// The folder that is called one of these names, in letters of any case.
fn part<'a>(folders: &'a [PathBuf], names: &[&str]) -> Result<Option<&'a PathBuf>> {
    let called = |path: &&PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        names.iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let mut found = folders.iter().filter(called);
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => Err(Error::Picture {
            path: second.clone(),
            defect: PictureDefect::TwoParts {
                other: first.clone(),
            },
        }),
        (found, _) => Ok(found),
    }
}

/// Reads a picture, or all pictures of a folder in the order of their names, in the shape that a model takes; with
/// their paths.
pub(crate) fn read_inputs(path: &Path, shape: &[usize]) -> Result<(Inputs, Vec<PathBuf>)> {
    let shape = three(shape)?;
    let paths = match path.is_dir() {
        true => files(path)?,
        false => vec![path.to_owned()],
    };
    let mut read = Read {
        given: Some(shape),
        ..Read::default()
    };
    for path in &paths {
        read.add(path.clone(), 0)?;
    }
    Ok((read.inputs(shape)?, paths))
}

/// A shape of three sizes.
fn three(shape: &[usize]) -> Result<[usize; 3]> {
    match *shape {
        [channels @ (1 | 3), height, width] if height > 0 && width > 0 => {
            Ok([channels, height, width])
        }
        _ => Err(Error::Sample(SampleDefect::PictureShape {
            found: shape.to_vec(),
        })),
    }
}

/// What lies in a folder and passes `wanted`, sorted by name; hidden things are left out.
fn entries(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
    let failed = |why| Error::read(folder, 0, why);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        if name.is_some_and(|name| !name.starts_with('.')) && wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The folders of a folder, but hidden ones.
pub(crate) fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    entries(folder, Path::is_dir)
}

/// The pictures of a folder, by the endings of their names.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    entries(folder, |path| {
        let ending = path
            .extension()
            .map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        path.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&&*ending))
    })
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
        folders: &[PathBuf],
        classes: &[String],
        given: Option<[usize; 3]>,
    ) -> Result<Self> {
        let mut read = Self {
            given,
            ..Self::default()
        };
        for (class, label) in classes.iter().zip(0..) {
            for folder in folders.iter().filter(|folder| folder.ends_with(class)) {
                for path in files(folder)? {
                    read.add(path, label)?;
                }
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

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

use crate::dataset::{Dataset, Splits};
use crate::error::{Error, PictureDefect, Result, SampleDefect, list};
use crate::inputs::Inputs;

mod png;
mod resize;

/// The most pixels of one picture, before it is made smaller.
const MOST_PIXELS: usize = 1 << 26;
/// A byte of a JPEG file holds fewer pixels than this.
const MOST_PIXELS_A_BYTE: usize = 4096;
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

/// Reads a PNG or JPEG file; which one it is is told by its first bytes. Transparency is dropped, 16 bits become 8, palettes colours.
///
/// # Errors
/// [`Error::Read`], [`PictureDefect::Unreadable`] for a file that is neither or is broken, and for one of more than 2²⁶ pixels.
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
    let failed = |why| Error::read(path, 0, why);
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > MOST_BYTES {
        return Err(Error::TooLarge {
            path: path.to_owned(),
            limit_bytes: MOST_BYTES,
        });
    }
    let bytes = fs::read(path).map_err(failed)?;
    let decoded = if bytes.starts_with(&PNG) {
        png::decode(&bytes)
    } else if bytes.starts_with(&JPEG) {
        decode_jpeg(&bytes)
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

/// Reads a folder of classes, or one of parts with the classes of the training part.
///
/// Pictures take the shape `[channels, height, width]` where one is given: they are made smaller or larger, grey or coloured. Else all must be of one
/// size; they are grey if all of them are.
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
            let classes = class_names(folder, &folders_in)?;
            let read = Read::classes(folder, &classes)?;
            let shape = given.map_or_else(|| read.shape(), Ok)?;
            return Ok(Folder::Whole(read.dataset(shape, &classes)?));
        }
    };
    let classes = class_names(train, &folders(train)?)?;
    let held_out = |part: &PathBuf| {
        let others = folders(part)?;
        let known = |path: &&PathBuf| classes.iter().any(|class| path.ends_with(class));
        match others.iter().find(|path| !known(path)) {
            Some(other) => Err(Error::Picture {
                path: other.clone(),
                defect: PictureDefect::ClassFolder {
                    expected: list(&classes),
                },
            }),
            None => Read::classes(part, &classes),
        }
    };
    let train = Read::classes(train, &classes)?;
    let valid = valid.map(held_out).transpose()?;
    let test = held_out(test)?;
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
    Ok(Folder::Split(Box::new(Splits {
        train: train.dataset(shape, &classes)?,
        valid: (valid.map(|part| part.dataset(shape, &classes))).transpose()?,
        test: test.dataset(shape, &classes)?,
    })))
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

/// Reads a picture, or all pictures of a folder in the order of their names, in the shape that a model takes; with their paths.
pub(crate) fn read_inputs(path: &Path, shape: &[usize]) -> Result<(Inputs, Vec<PathBuf>)> {
    let shape = three(shape)?;
    let paths = match path.is_dir() {
        true => files(path)?,
        false => vec![path.to_owned()],
    };
    let mut read = Read::default();
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

/// The names of the folders in a folder, sorted.
fn class_names(folder: &Path, classes: &[PathBuf]) -> Result<Vec<String>> {
    let names: Vec<String> = classes
        .iter()
        .filter_map(|class| Some(class.file_name()?.to_string_lossy().into_owned()))
        .collect();
    if names.len() < 2 {
        return Err(Error::Picture {
            path: folder.to_owned(),
            defect: PictureDefect::NoClassFolders { found: names.len() },
        });
    }
    Ok(names)
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

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    entries(folder, Path::is_dir)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
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
}

impl Read {
    /// All pictures of these classes.
    fn classes(folder: &Path, classes: &[String]) -> Result<Self> {
        let mut read = Self::default();
        for (class, label) in classes.iter().zip(0..) {
            let class = folder.join(class);
            if class.is_dir() {
                for path in files(&class)? {
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
        let picture = read_picture(&path)?;
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

fn decode_jpeg(bytes: &[u8]) -> Decoded<Pixels> {
    use zune_jpeg::zune_core::bytestream::ZCursor;
    use zune_jpeg::zune_core::colorspace::ColorSpace;
    use zune_jpeg::zune_core::options::DecoderOptions;
    // A side of more than 65535 pixels cannot be said in a JPEG file.
    let options = DecoderOptions::default()
        .set_max_width(1 << 16)
        .set_max_height(1 << 16);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers()?;
    let info = decoder.info().ok_or("it has no header")?;
    let (height, width) = (usize::from(info.height), usize::from(info.width));
    // Eight by eight pixels of each colour take some bits at least.
    if checked(height, width)? > bytes.len().saturating_mul(MOST_PIXELS_A_BYTE) {
        return Err("it has fewer pixels than it says".into());
    }
    let grey = info.components == 1;
    let (space, channels) = match grey {
        true => (ColorSpace::Luma, 1),
        false => (ColorSpace::RGB, 3),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let pixels = decoder.decode()?;
    planes(&pixels, channels, (height, width))
}

#[cfg(test)]
mod tests;

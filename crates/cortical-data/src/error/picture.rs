//! What can be wrong with a picture, or with a folder of them.

use std::path::PathBuf;

/// What is wrong with a picture or a folder of pictures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureDefect {
    /// A file is no picture that can be read.
    #[error("cannot be read as a PNG or JPEG picture: {why}")]
    Unreadable {
        /// What the decoder says.
        why: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Pictures of several sizes, and nobody said which one to take.
    #[error(
        "expected {} x {} pixels as in the other pictures, found {} x {}; say data.input_shape={expected:?} to bring all to one size",
        expected[2], expected[1], found[1], found[0]
    )]
    Size {
        /// Channels, height and width of the first.
        expected: [usize; 3],
        /// Height and width of this one.
        found: [usize; 2],
    },
    /// A folder of pictures has too few folders of classes.
    #[error(
        "expected a folder with PNG or JPEG pictures for each of at least two classes, or such folders in train and test (and valid, val or validation), found {found}{hint}"
    )]
    NoClassFolders {
        /// How many folders with pictures it has.
        found: usize,
        /// What it has besides, in words.
        hint: String,
    },
    /// A folder to predict from has no picture, nor has one in it.
    #[error(
        "expected pictures called .png, .jpg or .jpeg in it or in its folders, found none{hint}"
    )]
    NoneBeneath {
        /// What it has instead, in words.
        hint: String,
    },
    /// Pictures for what takes no pictures.
    #[error(
        "expected samples of shape {expected:?}, as rows of a table are, found pictures or a folder for them; they have the shape [1 or 3, height, width]"
    )]
    Shape {
        /// The shape asked for.
        expected: Vec<usize>,
    },
    /// The test part has a class that the training part has not.
    #[error("expected one of the classes of the training part, {expected}")]
    ClassFolder {
        /// The known classes.
        expected: String,
    },
    /// Two folders are the same part of a folder of pictures.
    #[error("the same part of the data as {other}; expected one of them")]
    TwoParts {
        /// The other folder.
        other: PathBuf,
    },
    /// There are folders of classes, but no picture in them.
    #[error(
        "expected pictures called .png, .jpg or .jpeg in the folders of its classes, found none"
    )]
    NoPictures,
}

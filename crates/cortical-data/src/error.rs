//! Everything that can be wrong with data, one variant for each broken rule.

use std::io;
use std::path::{Path, PathBuf};

/// What this crate's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// What is wrong with a data set, a file or an argument; the message says where, what was expected and what was found.
///
/// Lines and columns count from 1, byte offsets from 0 and after decompression.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system, or the decompressor, could not deliver the file's bytes.
    #[error("{path}: cannot be read at byte {offset}: {why}")]
    Read {
        /// The file.
        path: PathBuf,
        /// How many (decompressed) bytes had been read.
        offset: u64,
        /// What the operating system or the decompressor says.
        why: io::Error,
    },
    /// A file holds more than the caller allows.
    #[error(
        "{path}: expected at most {limit_bytes} bytes after decompression, found more; raise the size limit if the file is meant to be this large"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most bytes allowed.
        limit_bytes: u64,
    },

    /// The operating system gave no thread.
    #[error("no thread could be started to prepare batches ahead: {why}; set train.prefetch to 0")]
    Thread {
        /// What the operating system says.
        why: io::Error,
    },
    /// A number that says how pictures are changed is outside its range.
    #[error("augment.{what}: expected {expected}, found {found}")]
    Augment {
        /// The field.
        what: &'static str,
        /// Its range.
        expected: &'static str,
        /// The number.
        found: f64,
    },
    /// Samples that are to be changed as pictures are none.
    #[error(
        "expected pictures of shape [channels, height, width] to augment, found samples of shape {found:?}"
    )]
    NotAPicture {
        /// The shape of the samples.
        found: Vec<usize>,
    },
    /// Weights to draw samples by that are no weights.
    #[error("weight {index}: expected {expected}, found {found}")]
    Weights {
        /// Which one.
        index: usize,
        /// What weights are.
        expected: &'static str,
        /// The weight.
        found: f64,
    },
    /// Another number of weights than of samples.
    #[error("expected {expected} weights, one for each sample, found {found}")]
    WeightCount {
        /// How many samples there are.
        expected: usize,
        /// How many weights came.
        found: usize,
    },
    /// A number of folds that samples cannot be dealt into.
    #[error(
        "expected from 2 to {samples} folds and a fold below their number, found fold {fold} of {folds}"
    )]
    Folds {
        /// How many folds were asked for.
        folds: usize,
        /// Which one.
        fold: usize,
        /// How many samples there are.
        samples: usize,
    },
    /// A safetensors table lacks a tensor, or has one that does not fit.
    #[error("{path}: expected {expected}, found {found}")]
    Table {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A file of tensors that cannot be read.
    #[error(transparent)]
    Tensors(#[from] cortical_io::Error),

    /// A file is no picture that can be read.
    #[error("{path}: cannot be read as a PNG or JPEG picture: {why}")]
    BadPicture {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        why: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Pictures of several sizes, and nobody said which one to take.
    #[error(
        "{path}: expected {} x {} pixels as in the other pictures, found {} x {}; say data.input_shape={expected:?} to bring all to one size",
        expected[2], expected[1], found[1], found[0]
    )]
    PictureSize {
        /// The file.
        path: PathBuf,
        /// Channels, height and width of the first.
        expected: [usize; 3],
        /// Height and width of this one.
        found: [usize; 2],
    },
    /// A shape that no picture has, or that is too large for all of them.
    #[error("pictures have the shape [1 or 3, height, width], found {found:?}")]
    PictureShape {
        /// The shape.
        found: Vec<usize>,
    },
    /// A folder holds nothing to learn from.
    #[error(
        "{path}: found neither folders of PNG or JPEG pictures, one for each class, nor the four IDX files that begin with train-images-idx3-ubyte"
    )]
    NothingToLearn {
        /// The folder.
        path: PathBuf,
    },
    /// A folder of pictures has too few folders of classes.
    #[error("{path}: expected a folder for each of at least two classes, found {found}")]
    NoClassFolders {
        /// The folder.
        path: PathBuf,
        /// How many folders it has.
        found: usize,
    },
    /// The test part has a class that the training part has not.
    #[error("{path}: expected one of the classes of the training part, {expected}")]
    ClassFolder {
        /// The folder of the class.
        path: PathBuf,
        /// The known classes.
        expected: String,
    },
    /// Two folders are the same part of a folder of pictures.
    #[error("{first} and {second} are both names of one part; expected one of them")]
    TwoParts {
        /// One folder.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// There are folders of classes, but no picture in them.
    #[error(
        "{path}: expected pictures called .png, .jpg or .jpeg in the folders of its classes, found none"
    )]
    NoPictures {
        /// The folder.
        path: PathBuf,
    },

    /// No data set, file or folder goes by this name.
    #[error(
        "there is no data set, file or folder called {name:?}{hint}; data sets: {known}; a path names a CSV file, a safetensors table, or a folder of pictures or with four IDX files",
        hint = nearest.map_or(String::new(), |near| format!(" (did you mean {near:?}?)"))
    )]
    UnknownDataset {
        /// The name that was asked for.
        name: String,
        /// The known name that looks most like it.
        nearest: Option<&'static str>,
        /// The names that are known, separated by commas.
        known: String,
    },
    /// A known data set is not on this machine.
    #[error(
        "the files of {name} are not on this machine; looked in {looked_in}; install them with `{install}` or name their folder"
    )]
    NotInstalled {
        /// The data set.
        name: &'static str,
        /// The folders looked in, separated by commas.
        looked_in: String,
        /// The command that installs it.
        install: &'static str,
    },
    /// A folder lacks one of the four IDX files.
    #[error("{folder}: expected a file {expected} or {expected}.gz, found neither")]
    MissingIdxFile {
        /// The folder.
        folder: PathBuf,
        /// The name of the missing file.
        expected: &'static str,
    },

    /// The first two bytes of an IDX file are not zero.
    #[error(
        "{path}, byte 0: expected the two zero bytes an IDX file begins with, found {found:02x?}"
    )]
    IdxMagic {
        /// The file.
        path: PathBuf,
        /// The two bytes.
        found: [u8; 2],
    },
    /// An IDX file holds elements of another type.
    #[error("{path}, byte 2: expected element type 0x08 (unsigned bytes), found {found:#04x}")]
    IdxType {
        /// The file.
        path: PathBuf,
        /// The type's code.
        found: u8,
    },
    /// An IDX file has another number of dimensions.
    #[error("{path}, byte 3: expected {expected} dimension(s) for {what}, found {found}")]
    IdxDimensions {
        /// The file.
        path: PathBuf,
        /// Images or labels.
        what: &'static str,
        /// How many dimensions such a file has.
        expected: u8,
        /// How many it says it has.
        found: u8,
    },
    /// A dimension of an IDX file is zero.
    #[error(
        "{path}, byte {offset}: expected a size of at least 1 for dimension {dimension}, found 0"
    )]
    IdxEmpty {
        /// The file.
        path: PathBuf,
        /// Where the size stands.
        offset: u64,
        /// Which dimension, from 0.
        dimension: usize,
    },
    /// An IDX header claims more elements than any file that this crate reads.
    #[error(
        "{path}, byte 4: expected at most {limit} elements, found a header that claims {claimed:?}"
    )]
    IdxTooLarge {
        /// The file.
        path: PathBuf,
        /// The most elements allowed.
        limit: u64,
        /// The sizes in the header.
        claimed: Vec<u32>,
    },
    /// An IDX file ends before what its header promises.
    #[error("{path}, byte {offset}: expected {expected} bytes in all, found the end of the file")]
    IdxTruncated {
        /// The file.
        path: PathBuf,
        /// Where the file ends.
        offset: u64,
        /// How many bytes it should have.
        expected: u64,
    },
    /// An IDX file goes on after what its header promises.
    #[error("{path}, byte {offset}: expected the end of the file, found more bytes")]
    IdxTrailing {
        /// The file.
        path: PathBuf,
        /// Where the file should end.
        offset: u64,
    },
    /// A label in an IDX file is no class of the data set.
    #[error("{path}, byte {offset}: expected a label below {expected}, found {found}")]
    IdxLabel {
        /// The file.
        path: PathBuf,
        /// Where the label stands.
        offset: u64,
        /// The number of classes.
        expected: usize,
        /// The label.
        found: u8,
    },
    /// Two files that belong together disagree about the number of samples.
    #[error(
        "{images} has {expected} images, but {labels} has {found} labels; they do not belong together"
    )]
    IdxCounts {
        /// The file of images.
        images: PathBuf,
        /// The file of labels.
        labels: PathBuf,
        /// How many images.
        expected: usize,
        /// How many labels.
        found: usize,
    },

    /// A CSV file has no row of data.
    #[error("{path}, line {line}: expected at least one row of data, found the end of the file")]
    CsvEmpty {
        /// The file.
        path: PathBuf,
        /// The file's last line.
        line: u64,
    },
    /// A CSV row has another number of cells than the rows before it, or than the model needs.
    #[error("{path}, line {line}: expected {expected} cells separated by commas, found {found}")]
    CsvRagged {
        /// The file.
        path: PathBuf,
        /// The row's first line.
        line: u64,
        /// How many cells were expected, in words.
        expected: String,
        /// How many there are.
        found: usize,
    },
    /// A CSV cell that should hold a number does not.
    #[error("{path}, line {line}, column {column}: expected a number, found {found:?}")]
    CsvNotANumber {
        /// The file.
        path: PathBuf,
        /// The row's first line.
        line: u64,
        /// The cell.
        column: usize,
        /// Its text, shortened.
        found: String,
    },
    /// A CSV cell holds NaN, an infinity or a number beyond `f32`.
    #[error(
        "{path}, line {line}, column {column}: expected a finite number within the range of f32, found {found:?}"
    )]
    CsvNotFinite {
        /// The file.
        path: PathBuf,
        /// The row's first line.
        line: u64,
        /// The cell.
        column: usize,
        /// Its text, shortened.
        found: String,
    },
    /// A CSV cell is not text.
    #[error("{path}, line {line}, column {column}: expected UTF-8 text, found other bytes")]
    CsvNotUtf8 {
        /// The file.
        path: PathBuf,
        /// The row's first line.
        line: u64,
        /// The cell.
        column: usize,
    },
    /// A quoted CSV cell never ends.
    #[error(
        "{path}, line {line}, column {column}: expected a closing quote, found the end of the file"
    )]
    CsvOpenQuote {
        /// The file.
        path: PathBuf,
        /// The row's first line.
        line: u64,
        /// The cell.
        column: usize,
    },
    /// A quote stands where CSV has none.
    #[error(
        "{path}, line {line}, column {column}: expected quotes around the whole cell (and doubled inside it), found {found:?}"
    )]
    CsvStrayQuote {
        /// The file.
        path: PathBuf,
        /// The row's first line.
        line: u64,
        /// The cell.
        column: usize,
        /// The character that does not belong there.
        found: char,
    },
    /// A column is not there.
    #[error("{path}, line {line}: expected a {what} {expected}, found {found}")]
    CsvNoColumn {
        /// The file.
        path: PathBuf,
        /// The file's first row.
        line: u64,
        /// What the column is for.
        what: &'static str,
        /// The column that was asked for.
        expected: String,
        /// The columns that are there, in words.
        found: String,
    },
    /// A cell has no category, one that a model does not know, or one too many.
    #[error("{path}, line {line}, column {column}: expected {expected}, found {found:?}")]
    CsvCategory {
        /// The file.
        path: PathBuf,
        /// The row's line.
        line: u64,
        /// The cell's column.
        column: usize,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Categories would make more numbers than the memory holds.
    #[error(
        "{rows} rows of {columns} numbers are more than the memory holds; ignore the columns with many categories"
    )]
    TooManyValues {
        /// How many rows there are.
        rows: usize,
        /// How many numbers a row would have.
        columns: usize,
    },
    /// A row has no label.
    #[error("{path}, line {line}, column {column}: expected a label, found an empty cell")]
    CsvNoLabel {
        /// The file.
        path: PathBuf,
        /// The row's first line.
        line: u64,
        /// The cell.
        column: usize,
    },
    /// A row has no text.
    #[error("{path}, line {line}, column {column}: expected a text, found nothing")]
    CsvNoText {
        /// The file.
        path: PathBuf,
        /// The row's first line.
        line: u64,
        /// The cell.
        column: usize,
    },
    /// One column is asked for as text and as label.
    #[error("{path}: column {column} is to be both text and label; choose two columns")]
    TextIsLabel {
        /// The file.
        path: PathBuf,
        /// The column.
        column: usize,
    },
    /// Lines of text are to teach classes.
    #[error(
        "{path}: lines of text have no labels; expected a CSV file with a column of texts and one of labels"
    )]
    TextsUnlabelled {
        /// The file.
        path: PathBuf,
    },
    /// A label is none of the classes that the model knows.
    #[error(
        "{path}, line {line}, column {column}: expected a label among {expected}, found {found:?}"
    )]
    CsvUnknownLabel {
        /// The file.
        path: PathBuf,
        /// The row's first line.
        line: u64,
        /// The cell.
        column: usize,
        /// The known classes.
        expected: String,
        /// Its text, shortened.
        found: String,
    },
    /// Every row has the same label.
    #[error(
        "{path}, line {line}: expected labels of at least two classes, found only {found:?}; is column {column} the label?"
    )]
    CsvOneClass {
        /// The file.
        path: PathBuf,
        /// The file's last line.
        line: u64,
        /// The label column.
        column: usize,
        /// The only label.
        found: String,
    },

    /// A shape that no sample can have.
    #[error(
        "expected a sample shape of sizes from 1 whose product fits the memory, found {found:?}"
    )]
    BadShape {
        /// The shape.
        found: Vec<usize>,
    },
    /// Values and shape do not fit together.
    #[error("expected a multiple of {expected} values (samples of shape {shape:?}), found {found}")]
    ValueCount {
        /// The shape of one sample.
        shape: Vec<usize>,
        /// The number of values in a sample.
        expected: usize,
        /// How many values there are.
        found: usize,
    },
    /// A value is NaN or infinite.
    #[error("value {index}: expected a finite number, found {found}")]
    NotFinite {
        /// Which value.
        index: usize,
        /// The value.
        found: f32,
    },
    /// The number of labels is not the number of samples.
    #[error("expected {expected} labels, one for each sample, found {found}")]
    LabelCount {
        /// The number of samples.
        expected: usize,
        /// The number of labels.
        found: usize,
    },
    /// A label is not below the number of classes.
    #[error("sample {row}: expected a label below {expected}, found {found}")]
    LabelRange {
        /// Which sample.
        row: usize,
        /// The number of classes.
        expected: usize,
        /// The label.
        found: u32,
    },
    /// There is no such sample.
    #[error("expected a row below {expected}, found {found}")]
    RowRange {
        /// How many samples there are.
        expected: usize,
        /// The row asked for.
        found: usize,
    },
    /// A data set's samples have another shape than the model or its preprocessing takes.
    #[error(
        "expected samples of shape {expected:?}, found {found:?}; the data do not fit this model"
    )]
    InputShape {
        /// The shape expected.
        expected: Vec<usize>,
        /// The shape of the samples.
        found: Vec<usize>,
    },
    /// Scaling to 0..1 was asked for, but nobody knows what the largest value can be.
    #[error(
        "expected data whose range of values is known (images), found columns of numbers; use normalize = \"standardize\""
    )]
    NoRange,
    /// Preprocessing with statistics that cannot be.
    #[error("preprocessing: expected {what} {expected}, found {found}")]
    BadPreprocess {
        /// Which field.
        what: &'static str,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },

    /// A held-out part outside 0..1.
    #[error("expected a test fraction above 0 and below 1, found {found}")]
    TestFraction {
        /// The fraction.
        found: f64,
    },
    /// A split that leaves one side without samples.
    #[error(
        "expected at least one sample for training and one for testing, but {samples} samples in {classes} classes leave {train} and {test}; add samples or change the test fraction"
    )]
    EmptySplit {
        /// How many samples there are.
        samples: usize,
        /// How many classes have samples.
        classes: usize,
        /// How many samples training would get.
        train: usize,
        /// How many samples testing would get.
        test: usize,
    },
    /// A validation part outside 0..1.
    #[error("expected a validation fraction of at least 0 and below 1, found {found}")]
    ValidFraction {
        /// The fraction.
        found: f64,
    },
    /// A validation part that leaves one side without samples.
    #[error(
        "expected at least one sample for training and one for validation, but {samples} samples in {classes} classes leave {train} and {valid}; add samples or change the validation fraction"
    )]
    EmptyValidation {
        /// How many samples there are beside the test part.
        samples: usize,
        /// How many classes have samples.
        classes: usize,
        /// How many samples training would get.
        train: usize,
        /// How many samples validation would get.
        valid: usize,
    },
    /// A batch size of zero.
    #[error("expected a batch size of at least 1, found 0")]
    BatchSize,
    /// An epoch without a batch.
    #[error("expected at least {expected} sample(s) for one batch, found {found}")]
    NoBatches {
        /// The samples that one batch needs.
        expected: usize,
        /// The samples that there are.
        found: usize,
    },
    /// A position in another loader's data.
    #[error(
        "expected a position with a batch below {expected}, found {found}; it was saved with other data or another batch size"
    )]
    Position {
        /// The number of batches in an epoch.
        expected: u64,
        /// The batch of the position.
        found: u64,
    },

    /// candle could not make the tensor.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn read(path: &Path, offset: u64, why: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            offset,
            why,
        }
    }
}

/// A cell's text as a message shows it: not longer than a line can bear.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 40;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

/// Names as a message lists them: the first twenty, then how many more.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    const MOST: usize = 20;
    let shown: Vec<String> = names
        .iter()
        .take(MOST)
        .map(|name| shorten(name.as_ref()))
        .collect();
    let more = names.len().saturating_sub(MOST);
    if more == 0 {
        shown.join(", ")
    } else {
        format!("{} and {more} more", shown.join(", "))
    }
}

//! What can be wrong with samples and their labels.

/// Why values, shapes, labels and rows do not fit together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleDefect {
    /// A shape that no sample can have.
    #[error(
        "expected a sample shape of sizes from 1 whose product fits the memory, found {found:?}"
    )]
    Shape {
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
    /// A shape that no picture has, or that is too large for all of them.
    #[error("pictures have the shape [1 or 3, height, width], found {found:?}")]
    PictureShape {
        /// The shape.
        found: Vec<usize>,
    },
    /// A data set has a class that is none of those that it is to have, such as a model's.
    #[error("expected the classes {expected}, found {found}; classes are known by their names")]
    OtherClasses {
        /// The classes expected.
        expected: String,
        /// The classes of the data.
        found: String,
    },
    /// A column has no value by which those that are missing could be filled.
    #[error(
        "the column {column} has no value in any sample that is learned from, so that none can be filled in; leave it out by data.ignore"
    )]
    EmptyColumn {
        /// What the column is called.
        column: String,
    },
    /// A number to predict is non-finite, or beyond what can be reckoned with.
    #[error(
        "sample {row}: expected a finite number to predict, of a magnitude of at most 1e300, found {found}"
    )]
    TargetRange {
        /// Which sample.
        row: usize,
        /// The number.
        found: f64,
    },
    /// A number to predict never changes.
    #[error(
        "the target {name:?} is {value} in every sample that is learned from, so that nothing can be learned of it; choose another"
    )]
    ConstantTarget {
        /// The target's name.
        name: String,
        /// Its only value.
        value: f64,
    },
    /// A scale of numbers to predict that cannot be.
    #[error("scale of the targets: expected {expected}, found {found}")]
    Scale {
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Data have other targets than those that are known, as a model's.
    #[error("expected the targets {expected}, found {found}")]
    OtherTargets {
        /// The targets expected.
        expected: String,
        /// The targets of the data.
        found: String,
    },
    /// Classes are needed, and the samples have numbers to predict, or the other way round.
    #[error("expected samples with {expected}, found samples with {found}")]
    OtherTarget {
        /// What should be predicted.
        expected: &'static str,
        /// What the data have.
        found: &'static str,
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
}

//! What can go wrong in an operation.

use candle_core::{DType, DeviceLocation};

/// The result of an operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A broken rule of an operation: which one, what was expected, what came.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor has the wrong number of dimensions or a dimension of the wrong size.
    #[error("{op}: {argument} must have shape {expected}, but has {got:?}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// Which argument.
        argument: &'static str,
        /// The shape in words or numbers.
        expected: String,
        /// The shape that came.
        got: Vec<usize>,
    },
    /// An option of an operation is outside its range.
    #[error("{op}: {option} must be {expected}, but is {got}")]
    Option {
        /// The operation.
        op: &'static str,
        /// Which option.
        option: &'static str,
        /// The range in words.
        expected: String,
        /// The value that came.
        got: String,
    },
    /// An operation does not compute in this dtype.
    #[error("{op}: {argument} has dtype {got:?}, expected {expected}; convert it with `to_dtype`")]
    DType {
        /// The operation.
        op: &'static str,
        /// Which argument.
        argument: &'static str,
        /// The dtypes that would do, in words.
        expected: &'static str,
        /// The dtype that came.
        got: DType,
    },
    /// The arguments of an operation are of different dtypes.
    #[error(
        "{op}: the first argument has dtype {first:?} and {argument} {got:?}; convert one of them with `to_dtype` (an input to its layer's dtype, as a rule)"
    )]
    Mixed {
        /// The operation.
        op: &'static str,
        /// The argument that differs.
        argument: &'static str,
        /// The first argument's dtype.
        first: DType,
        /// Its dtype.
        got: DType,
    },
    /// The arguments of an operation live on different devices.
    #[error(
        "{op}: {argument} is on {got:?}, but the first argument is on {expected:?}; move it with `to_device`"
    )]
    Device {
        /// The operation.
        op: &'static str,
        /// Which argument.
        argument: &'static str,
        /// Where the first argument is.
        expected: DeviceLocation,
        /// Where this one is.
        got: DeviceLocation,
    },
    /// An index lies outside the range that it points into.
    #[error("{op}: {argument}[{at}] is {got}, but must be below {below}")]
    Index {
        /// The operation.
        op: &'static str,
        /// Which argument.
        argument: &'static str,
        /// The position of the index.
        at: usize,
        /// The index.
        got: i64,
        /// The end of the range.
        below: usize,
    },
    /// A tensor would have more elements than memory can hold.
    #[error("{op}: a tensor of shape {shape:?} does not fit in memory; use smaller sizes")]
    TooLarge {
        /// The operation.
        op: &'static str,
        /// The shape of the tensor, or the part of it that is already too much.
        shape: Vec<usize>,
    },
    /// A window cannot slide over its input as asked.
    #[error("{op}: {source}")]
    Geometry {
        /// The operation.
        op: &'static str,
        /// The broken rule.
        source: cortical_kernels::conv::GeometryError,
    },
    /// A parameter was changed between the forward and the backward pass, so that its gradient would be wrong.
    #[error(
        "{op}: a parameter was changed after the forward pass used it; call backward before the optimizer's step"
    )]
    ParameterChanged {
        /// The operation.
        op: &'static str,
    },
    /// A backward pass over this part of the graph failed halfway, and its gradients are still in the way.
    #[error("{op}: an earlier backward pass through this graph failed; run the forward pass again")]
    PassFailed {
        /// The operation.
        op: &'static str,
    },
    /// An operation returned the wrong number of gradients: a defect of the operation.
    #[error("{op}: backward returned {got} gradients for {expected} inputs")]
    GradientCount {
        /// The operation.
        op: &'static str,
        /// The number of inputs.
        expected: usize,
        /// The number of gradients.
        got: usize,
    },
    /// candle refused.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// The message, as a program shows it whose `main` returns the error.
impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            other => candle_core::Error::wrap(other),
        }
    }
}

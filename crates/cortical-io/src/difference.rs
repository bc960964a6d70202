//! What differs between the tensors of a file and those of a model.

use std::fmt;

use candle_core::DType;

/// Differences that a message lists before it only counts the rest.
const LISTED: usize = 20;

/// One way in which a file's tensors are not the model's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The model has it, the file has not.
    Missing {
        /// Name of the tensor.
        name: String,
        /// Its dimensions in the model.
        shape: Vec<usize>,
    },
    /// The file has it, the model has not.
    Unexpected {
        /// Name of the tensor.
        name: String,
        /// Its dimensions in the file.
        shape: Vec<usize>,
    },
    /// Both have it, with different dimensions.
    Shape {
        /// Name of the tensor.
        name: String,
        /// Dimensions in the model.
        expected: Vec<usize>,
        /// Dimensions in the file.
        got: Vec<usize>,
    },
    /// Both have it, with different element types.
    DType {
        /// Name of the tensor.
        name: String,
        /// Type in the model.
        expected: DType,
        /// Type in the file; `None` for one that cannot be loaded.
        got: Option<DType>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name, shape } => write!(f, "{name} {shape:?} is missing"),
            Self::Unexpected { name, shape } => write!(f, "{name} {shape:?} is not in the model"),
            Self::Shape {
                name,
                expected,
                got,
            } => {
                write!(f, "{name} has shape {got:?}, the model {expected:?}")
            }
            Self::DType {
                name,
                expected,
                got: Some(got),
            } => {
                write!(
                    f,
                    "{name} has elements {}, the model {}",
                    got.as_str(),
                    expected.as_str()
                )
            }
            Self::DType {
                name,
                expected,
                got: None,
            } => {
                write!(
                    f,
                    "{name} has elements that cannot be loaded, the model {}",
                    expected.as_str()
                )
            }
        }
    }
}

/// The differences, a line each.
pub(crate) fn list(differences: &[Difference]) -> String {
    let shown = differences
        .iter()
        .take(LISTED)
        .map(|difference| format!("\n  {difference}"));
    let mut text: String = shown.collect();
    if differences.len() > LISTED {
        text.push_str(&format!("\n  and {} more", differences.len() - LISTED));
    }
    text
}

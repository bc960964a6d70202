//! What the outputs of a network of pictures and tables mean.

use crate::numbers::NumberOutputs;
use crate::{Error, Result};

/// What the outputs of a network mean.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outputs {
    /// A score for each of these classes, one of which a sample belongs to.
    Classes(Vec<String>),
    /// Numbers.
    Numbers(NumberOutputs),
}

impl Outputs {
    /// How many outputs there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Numbers(numbers) => numbers.count(),
        }
    }

    /// The classes.
    ///
    /// # Errors
    /// [`Error::NoClasses`] where numbers are predicted.
    pub fn classes(&self) -> Result<&[String]> {
        match self {
            Self::Classes(classes) => Ok(classes),
            Self::Numbers(_) => Err(Error::NoClasses),
        }
    }

    /// The numbers.
    ///
    /// # Errors
    /// [`Error::NoNumbers`] where classes are predicted.
    pub fn numbers(&self) -> Result<&NumberOutputs> {
        match self {
            Self::Numbers(numbers) => Ok(numbers),
            Self::Classes(_) => Err(Error::NoNumbers),
        }
    }
}

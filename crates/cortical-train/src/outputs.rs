//! What the outputs of a network of pictures and tables mean.

use crate::labels::LabelOutputs;
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
    /// Labels of which a sample has any number.
    Labels(LabelOutputs),
}

impl Outputs {
    /// How many outputs there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Numbers(numbers) => numbers.count(),
            Self::Labels(labels) => labels.names().len(),
        }
    }

    /// The classes.
    ///
    /// # Errors
    /// [`Error::NoClasses`] where something else is predicted.
    pub fn classes(&self) -> Result<&[String]> {
        match self {
            Self::Classes(classes) => Ok(classes),
            _ => Err(Error::NoClasses),
        }
    }

    /// The numbers.
    ///
    /// # Errors
    /// [`Error::NoNumbers`] where something else is predicted.
    pub fn numbers(&self) -> Result<&NumberOutputs> {
        match self {
            Self::Numbers(numbers) => Ok(numbers),
            _ => Err(Error::NoNumbers),
        }
    }

    /// The labels of which a sample has any number.
    ///
    /// # Errors
    /// [`Error::OtherLabels`] where something else is predicted.
    pub fn labels(&self) -> Result<&LabelOutputs> {
        match self {
            Self::Labels(labels) => Ok(labels),
            _ => Err(Error::OtherLabels),
        }
    }
}

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
        /// The name in the file that is meant most likely.
        nearest: Option<String>,
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
            Self::Missing {
                name,
                shape,
                nearest,
            } => {
                write!(f, "{name} {shape:?} is missing")?;
                match nearest {
                    Some(near) => write!(f, "; is {near} meant?"),
                    None => Ok(()),
                }
            }
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

/// Names that are compared with each other at most.
const COMPARED: usize = 4000;

/// For the missing tensors that a message lists, the unexpected one of the same shape whose name is nearest.
pub(crate) fn find_nearest(differences: &mut [Difference]) {
    let unexpected: Vec<(String, Vec<usize>)> = differences
        .iter()
        .filter_map(|difference| match difference {
            Difference::Unexpected { name, shape } => Some((name.clone(), shape.clone())),
            _ => None,
        })
        .take(COMPARED)
        .collect();
    for difference in differences.iter_mut().take(LISTED) {
        let Difference::Missing {
            name,
            shape,
            nearest,
        } = difference
        else {
            continue;
        };
        let same = unexpected.iter().filter(|(_, other)| other == shape);
        let far = |other: &str| strsim::levenshtein(name, other);
        let found = same.min_by_key(|(other, _)| far(other));
        *nearest = found
            .filter(|(other, _)| 2 * far(other) <= name.len().max(other.len()) + 8)
            .map(|(other, _)| other.clone());
    }
}

/// The rule among differences that [`fitting_rename`] finds.
pub(crate) fn fitting_rule(differences: &[Difference]) -> Option<String> {
    let (mut missing, mut unexpected) = (Vec::new(), Vec::new());
    for difference in differences {
        match difference {
            Difference::Missing { name, shape, .. } => missing.push((name.clone(), shape.clone())),
            Difference::Unexpected { name, shape } => {
                unexpected.push((name.clone(), shape.clone()));
            }
            _ => {}
        }
    }
    fitting_rename(&missing, &unexpected).map(|(rule, _)| rule)
}

/// The rule of `--rename` that gives the names of missing tensors to the most unexpected ones of their shape, and to
/// how many, if one beginning for another is all that differs.
///
/// ```
/// let tensor = |name: &str| (name.to_owned(), vec![2, 3]);
/// let found = cortical_io::fitting_rename(&[tensor("model.a.weight")], &[tensor("module.net.a.weight")]);
/// assert_eq!(found, Some(("module.net.*=model.*".to_owned(), 1)));
/// ```
#[must_use]
pub fn fitting_rename(
    missing: &[(String, Vec<usize>)],
    unexpected: &[(String, Vec<usize>)],
) -> Option<(String, usize)> {
    let missing: std::collections::BTreeMap<&str, &[usize]> = missing
        .iter()
        .map(|(name, shape)| (name.as_str(), shape.as_slice()))
        .collect();
    let first = unexpected.iter().take(LISTED);
    let beginnings = first.flat_map(|(name, _)| {
        let ends = name.match_indices('.').map(|(at, _)| at + 1);
        std::iter::once(0).chain(ends).map(|end| name.split_at(end))
    });
    let mut best: Option<(usize, String)> = None;
    for (old, rest) in beginnings {
        // What stands before the same rest among the missing ones.
        for new in missing
            .keys()
            .filter_map(|name| name.strip_suffix(rest))
            .take(4)
        {
            if new == old || !(new.is_empty() || new.ends_with('.')) {
                continue;
            }
            let fits = unexpected.iter().filter(|(name, shape)| {
                let renamed = name.strip_prefix(old).map(|rest| format!("{new}{rest}"));
                renamed.is_some_and(|name| missing.get(name.as_str()) == Some(&shape.as_slice()))
            });
            let count = fits.count();
            if best.as_ref().is_none_or(|(most, _)| count > *most) {
                best = Some((count, format!("{old}*={new}*")));
            }
        }
    }
    best.filter(|(count, _)| *count > 0)
        .map(|(count, rule)| (rule, count))
}

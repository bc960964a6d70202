//! What is wrong with a setting, in words that name the field.

use toml::Value;

/// What is wrong with a setting.
#[derive(Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FieldError {
    /// A field that nobody knows.
    #[error("there is no field {path}{}", hint(nearest.as_deref(), known))]
    Unknown {
        /// The field's full path, such as `optim.lrr`.
        path: String,
        /// The full path of the known field that looks most like it.
        nearest: Option<String>,
        /// The fields that are known there.
        known: Vec<String>,
    },
    /// A field that others have.
    #[error("{path} is a setting for {owner}, and this recipe is for {here}")]
    Elsewhere {
        /// The field's full path.
        path: String,
        /// Who has it.
        owner: &'static str,
        /// Who does not.
        here: &'static str,
    },
    /// A field that another kind of the same thing has.
    #[error("{path} is a setting of {at} = {}, which is {here:?} here", owners.join(" or "))]
    OtherKind {
        /// The field's full path.
        path: String,
        /// Where the kind is said.
        at: String,
        /// The kinds that have it.
        owners: Vec<String>,
        /// The kind that there is.
        here: String,
    },
    /// A field that must be there is not.
    #[error("{path} is missing; expected {expected}")]
    Missing {
        /// The field's full path.
        path: String,
        /// What it should hold.
        expected: String,
    },
    /// A value of the wrong type.
    #[error("{path}: expected {expected}, found {found}")]
    Type {
        /// The field's full path.
        path: String,
        /// The type in words.
        expected: String,
        /// The value's type and text.
        found: String,
    },
    /// A value of the right type that makes no sense.
    #[error("{path}: expected {expected}, found {found}")]
    Range {
        /// The field's full path.
        path: String,
        /// What would make sense.
        expected: String,
        /// The value.
        found: String,
    },
    /// A name that stands for nothing.
    #[error("{path}: there is no {what} {found:?}{}", hint(nearest.as_deref(), known))]
    Name {
        /// The field's full path.
        path: String,
        /// What the name should stand for, such as `activation`.
        what: &'static str,
        /// The name.
        found: String,
        /// The known name that looks most like it.
        nearest: Option<String>,
        /// The known names.
        known: Vec<String>,
    },
}

/// The message, as a program shows it whose `main` returns the error.
impl std::fmt::Debug for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// The end of a message about an unknown name.
fn hint(nearest: Option<&str>, known: &[String]) -> String {
    match nearest {
        Some(near) => format!("; did you mean {near}?"),
        None => format!("; known: {}", known.join(", ")),
    }
}

/// The one of `known` that looks most like `name`, if any does: a few letters differ, or one begins with the other.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let begins = |a: &str, b: &str| b.len() >= 3 && a.starts_with(b);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= 1 + candidate.len().min(name.len()) / 3
                || begins(name, candidate)
                || begins(candidate, name)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A value as messages show it: its type and its text, shortened.
#[must_use]
pub fn show(value: &Value) -> String {
    let text: String = value.to_string().chars().take(60).collect();
    match value {
        Value::String(_) => format!("the text {text}"),
        Value::Integer(_) | Value::Float(_) => format!("the number {text}"),
        Value::Boolean(_) => text,
        Value::Datetime(_) => format!("the date {text}"),
        Value::Array(_) => format!("the list {text}"),
        Value::Table(_) => format!("the table {text}"),
    }
}

//! Tables of a recipe whose fields serde knows, with the errors that people are to read.

use cortical_models::fields::FieldValue;
use cortical_settings::{FieldError, nearest, show};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::write::Line;

/// A table of a recipe.
pub(super) trait Section: Clone + Serialize + DeserializeOwned + Default {
    /// Every field, with a remark.
    const FIELDS: &'static [(&'static str, &'static str)];
    /// Fields that every recipe shows; the others are later additions, and count only where they are not as by default.
    const FIRST: &'static [&'static str] = &[];

    /// The first field whose value makes no sense: its name, what would make sense, the value.
    fn broken(&self) -> Option<(&'static str, &'static str, String)>;
}

/// Reads a table; what it does not say is as in `base`.
pub(super) fn read<T: Section>(path: &str, table: &Table, base: &T) -> Result<T, FieldError> {
    let known = T::FIELDS.iter().map(|(name, _)| *name);
    for name in table.keys() {
        if !known.clone().any(|known| known == name) {
            return Err(unknown(path, name, known));
        }
    }
    let mut merged = to_table(base);
    for (name, value) in table {
        // One after the other, so that an error is about this one.
        let before = merged.insert(name.clone(), value.clone());
        if let Err(why) = T::deserialize(Value::Table(merged.clone())) {
            let default = before.or_else(|| to_table(&T::default()).get(name).cloned());
            return Err(wrong_type(
                &format!("{path}.{name}"),
                value,
                default.as_ref(),
                why.message(),
            ));
        }
    }
    let section = T::deserialize(Value::Table(merged)).map_err(|why| FieldError::Range {
        path: path.to_owned(),
        expected: "a table of settings".to_owned(),
        found: why.message().to_owned(),
    })?;
    match section.broken() {
        None => Ok(section),
        Some((field, expected, found)) => Err(FieldError::Range {
            path: format!("{path}.{field}"),
            expected: expected.to_owned(),
            found,
        }),
    }
}

/// The fields as a recipe shows them.
pub(super) fn lines<T: Section>(section: &T) -> Vec<Line> {
    let (table, default) = (to_table(section), to_table(&T::default()));
    let line = |(name, remark): &(&'static str, &'static str)| Line {
        name,
        value: table.get(*name).cloned(),
        remark,
        is_addition: !T::FIRST.contains(name) && table.get(*name) == default.get(*name),
    };
    T::FIELDS.iter().map(line).collect()
}

/// A value as TOML has it. Settings are numbers, texts, lists and tables, which always fit.
pub(super) fn to_table(value: &impl Serialize) -> Table {
    Table::try_from(value).expect("settings are numbers, texts, lists and tables")
}

/// A field that nobody knows.
pub(super) fn unknown<'a>(
    path: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> FieldError {
    FieldError::Unknown {
        path: format!("{path}.{name}"),
        nearest: nearest(name, known.clone()).map(|near| format!("{path}.{near}")),
        known: known.map(str::to_owned).collect(),
    }
}

/// A value that is not what its field holds.
pub(super) fn wrong_type(
    path: &str,
    value: &Value,
    default: Option<&Value>,
    why: &str,
) -> FieldError {
    let expected = match default {
        Some(Value::Integer(_)) => u64::EXPECTED.to_owned(),
        Some(Value::Float(_)) => f64::EXPECTED.to_owned(),
        Some(Value::Boolean(_)) => bool::EXPECTED.to_owned(),
        // serde knows better: `unknown variant ..., expected one of ...`.
        _ => match why.split_once("expected ") {
            Some((_, expected)) => expected.replace('`', "\""),
            None => why.to_owned(),
        },
    };
    FieldError::Type {
        path: path.to_owned(),
        expected,
        found: show(value),
    }
}

/// What serde says about a table that it could not read, as an error about one of its fields.
pub(super) fn from_serde(path: &str, why: &str) -> FieldError {
    let quoted: Vec<&str> = why.split('`').skip(1).step_by(2).collect();
    let after = |start: &str| why.starts_with(start);
    match quoted.split_first() {
        Some((name, known)) if after("unknown field") => unknown(path, name, known.iter().copied()),
        Some((name, _)) if after("missing field") => FieldError::Missing {
            path: format!("{path}.{name}"),
            expected: "a value".to_owned(),
        },
        _ => FieldError::Range {
            path: path.to_owned(),
            expected: "settings that can be read".to_owned(),
            found: why.trim().to_owned(),
        },
    }
}

//! Settings read out of TOML, with errors that name the field by its full path.
//!
//! [`Fields`] hands out the fields of one table, remembers which names were asked for, and at the end refuses what
//! nobody asked for. It is what recipes and descriptions of networks are read with.

use cortical_settings::{FieldError, nearest, show};
use toml::{Table, Value};

/// A type that a setting can have.
pub trait FieldValue: Sized {
    /// The type in words, for messages.
    const EXPECTED: &'static str;
    /// The value, if it has this type.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FieldValue for String {
    const EXPECTED: &'static str = "text in quotes";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl FieldValue for bool {
    const EXPECTED: &'static str = "true or false";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl FieldValue for u64 {
    const EXPECTED: &'static str = "a whole number, not negative";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_integer().and_then(|n| n.try_into().ok())
    }
}

impl FieldValue for usize {
    const EXPECTED: &'static str = "a whole number, not negative";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_integer().and_then(|n| n.try_into().ok())
    }
}

impl FieldValue for f64 {
    const EXPECTED: &'static str = "a finite number";
    fn from_value(value: &Value) -> Option<Self> {
        let number = match value {
            Value::Integer(n) => Some(*n as f64),
            Value::Float(x) => Some(*x),
            _ => None,
        };
        number.filter(|x| x.is_finite())
    }
}

impl FieldValue for Vec<usize> {
    const EXPECTED: &'static str = "a list of whole numbers";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(usize::from_value).collect()
    }
}

impl FieldValue for Vec<f64> {
    const EXPECTED: &'static str = "a list of finite numbers";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(f64::from_value).collect()
    }
}

impl FieldValue for Vec<Value> {
    const EXPECTED: &'static str = "a list";
    fn from_value(value: &Value) -> Option<Self> {
        value.as_array().cloned()
    }
}

impl FieldValue for Value {
    const EXPECTED: &'static str = "a value";
    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

/// The fields of one table, handed out by name.
///
/// ```
/// use cortical_models::fields::Fields;
/// let table: toml::Table = "lr = 1\nmomentun = 0.9".parse()?;
/// let mut fields = Fields::new("optim", &table);
/// let lr: f64 = fields.or("lr", 1e-3)?;
/// let momentum: f64 = fields.or("momentum", 0.0)?;
/// let error = fields.finish().unwrap_err();
/// assert_eq!(error.to_string(), "there is no field optim.momentun; did you mean optim.momentum?");
/// # assert_eq!((lr, momentum), (1.0, 0.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Fields<'a> {
    path: String,
    table: &'a Table,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The fields of `table`, which messages call `path`; an empty path for a whole file.
    #[must_use]
    pub fn new(path: &str, table: &'a Table) -> Self {
        Self {
            path: path.to_owned(),
            table,
            asked: Vec::new(),
        }
    }

    /// The full path of a field of this table.
    #[must_use]
    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// The field `name`, if it is there.
    ///
    /// # Errors
    /// A value of another type.
    pub fn get<T: FieldValue>(&mut self, name: &'static str) -> Result<Option<T>, FieldError> {
        self.asked.push(name);
        let Some(value) = self.table.get(name) else {
            return Ok(None);
        };
        match T::from_value(value) {
            Some(value) => Ok(Some(value)),
            None => Err(FieldError::Type {
                path: self.path_of(name),
                expected: T::EXPECTED.to_owned(),
                found: show(value),
            }),
        }
    }

    /// The field `name`, or `default`.
    ///
    /// # Errors
    /// A value of another type.
    pub fn or<T: FieldValue>(&mut self, name: &'static str, default: T) -> Result<T, FieldError> {
        Ok(self.get(name)?.unwrap_or(default))
    }

    /// The field `name`, which must be there.
    ///
    /// # Errors
    /// A field that is not there; a value of another type.
    pub fn required<T: FieldValue>(&mut self, name: &'static str) -> Result<T, FieldError> {
        self.get(name)?.ok_or_else(|| FieldError::Missing {
            path: self.path_of(name),
            expected: T::EXPECTED.to_owned(),
        })
    }

    /// The table `name`, if it is there.
    ///
    /// # Errors
    /// A value that is no table.
    pub fn section(&mut self, name: &'static str) -> Result<Option<Fields<'a>>, FieldError> {
        self.asked.push(name);
        match self.table.get(name) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(Self::new(&self.path_of(name), table))),
            Some(other) => Err(FieldError::Type {
                path: self.path_of(name),
                expected: format!("a table, [{}]", self.path_of(name)),
                found: show(other),
            }),
        }
    }

    /// Refuses a value that makes no sense.
    ///
    /// # Errors
    /// [`FieldError::Range`] unless `holds`.
    pub fn check(
        &self,
        name: &str,
        holds: bool,
        expected: &str,
        found: impl std::fmt::Display,
    ) -> Result<(), FieldError> {
        if holds {
            return Ok(());
        }
        Err(FieldError::Range {
            path: self.path_of(name),
            expected: expected.to_owned(),
            found: found.to_string(),
        })
    }

    /// What the name in a field stands for.
    ///
    /// # Errors
    /// [`FieldError::Name`] for a name that is not in `known`.
    pub fn choose<T: Copy>(
        &self,
        name: &str,
        what: &'static str,
        found: &str,
        known: &[(&str, T)],
    ) -> Result<T, FieldError> {
        if let Some((_, value)) = known.iter().find(|(known, _)| *known == found) {
            return Ok(*value);
        }
        let names = known.iter().map(|(known, _)| *known);
        Err(FieldError::Name {
            path: self.path_of(name),
            what,
            found: found.chars().take(60).collect(),
            nearest: nearest(found, names.clone()).map(|near| format!("{near:?}")),
            known: names.map(str::to_owned).collect(),
        })
    }

    /// Refuses fields that nobody asked for.
    ///
    /// # Errors
    /// [`FieldError::Unknown`] for the first of them.
    pub fn finish(self) -> Result<(), FieldError> {
        let unknown = self
            .table
            .keys()
            .find(|key| !self.asked.contains(&key.as_str()));
        let Some(unknown) = unknown else {
            return Ok(());
        };
        Err(FieldError::Unknown {
            path: self.path_of(unknown),
            nearest: nearest(unknown, self.asked.iter().copied()).map(|near| self.path_of(near)),
            known: self.asked.iter().map(|name| self.path_of(name)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error<T: FieldValue + std::fmt::Debug>(text: &str) -> String {
        let table: Table = text.parse().unwrap();
        let mut fields = Fields::new("a.b", &table);
        fields.required::<T>("x").unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_type_says_what_was_expected_and_found() {
        let check = |got: String, want: &str| assert_eq!(got, want);
        check(
            error::<f64>("x = \"1e-3\""),
            "a.b.x: expected a finite number, found the text \"1e-3\"",
        );
        check(
            error::<f64>("x = nan"),
            "a.b.x: expected a finite number, found the number nan",
        );
        check(
            error::<u64>("x = -3"),
            "a.b.x: expected a whole number, not negative, found the number -3",
        );
        check(
            error::<bool>("x = 1"),
            "a.b.x: expected true or false, found the number 1",
        );
        check(
            error::<Vec<usize>>("x = [1, \"b\"]"),
            "a.b.x: expected a list of whole numbers, found the list [1, \"b\"]",
        );
        check(
            error::<String>("y = 1"),
            "a.b.x is missing; expected text in quotes",
        );
    }

    #[test]
    fn a_table_where_a_value_should_be_and_the_other_way_round() {
        let table: Table = "s = 1\n[t]\nx = 1".parse().unwrap();
        let mut fields = Fields::new("", &table);
        assert_eq!(
            fields.section("s").unwrap_err().to_string(),
            "s: expected a table, [s], found the number 1"
        );
        assert_eq!(
            fields.get::<u64>("t").unwrap_err().to_string(),
            "t: expected a whole number, not negative, found the table { x = 1 }"
        );
        assert!(fields.section("t").unwrap().is_some());
    }

    #[test]
    fn an_unknown_field_far_from_any_lists_them() {
        let table: Table = "zebra = 1".parse().unwrap();
        let mut fields = Fields::new("optim", &table);
        let _: Option<f64> = fields.get("lr").unwrap();
        assert_eq!(
            fields.finish().unwrap_err().to_string(),
            "there is no field optim.zebra; known: optim.lr"
        );
    }
}

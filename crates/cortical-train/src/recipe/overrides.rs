//! Single fields set from outside: `optim.lr=3e-4`.

use std::str::FromStr;

use cortical_settings::{FieldError, show};
use toml::{Table, Value};

use crate::{Error, Result};

/// One field of a recipe with its new value, written `PATH=VALUE`.
///
/// The value has TOML's syntax; what TOML does not understand is text, so that quotes may be left out.
///
/// ```
/// use cortical_train::Override;
/// let set: Override = "model.kind=lenet".parse()?;
/// assert_eq!(set.path(), "model.kind");
/// assert_eq!(set.value().as_str(), Some("lenet"));
/// # Ok::<(), cortical_train::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    path: String,
    value: Value,
}

impl Override {
    /// A field and its value.
    #[must_use]
    pub fn new(path: &str, value: impl Into<Value>) -> Self {
        Self {
            path: path.to_owned(),
            value: value.into(),
        }
    }

    /// The field's full path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The new value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Puts the value into a table, with the tables on the way to it.
    pub(crate) fn apply(&self, table: &mut Table) -> Result<(), FieldError> {
        let mut table = table;
        let mut rest = self.path.as_str();
        while let Some((section, inner)) = rest.split_once('.') {
            let at = self.path.len() - inner.len() - 1;
            let entry = table
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            let found = show(entry);
            let Value::Table(next) = entry else {
                return Err(FieldError::Type {
                    path: self.path[..at].to_owned(),
                    expected: "a table, which it must be to set a field of it".to_owned(),
                    found,
                });
            };
            (table, rest) = (next, inner);
        }
        table.insert(rest.to_owned(), self.value.clone());
        Ok(())
    }
}

impl FromStr for Override {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let broken = || Error::Override {
            text: text.to_owned(),
        };
        let (path, value) = text.split_once('=').ok_or_else(broken)?;
        let (path, value) = (path.trim(), value.trim());
        if path.is_empty() || path.split('.').any(|part| part.trim().is_empty()) {
            return Err(broken());
        }
        Ok(Self::new(path, parse(value)))
    }
}

/// A value in TOML's syntax; a list whose elements lack their quotes; or text.
fn parse(value: &str) -> Value {
    let parsed = format!("v = {value}").parse::<Table>().ok();
    let single = parsed.filter(|table| table.len() == 1);
    if let Some(value) = single.and_then(|mut table| table.remove("v")) {
        return value;
    }
    // A shell takes quotes away: `[conv*, fc1.*]`.
    let inner = value
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(inner) if !inner.contains(['[', ']', '{', '}', '"', '\'', '\n']) => {
            Value::Array(inner.split(',').map(|part| parse(part.trim())).collect())
        }
        _ => Value::from(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_tomls_types_and_fall_back_to_text() {
        let check = |text: &str, want: Value| {
            assert_eq!(*text.parse::<Override>().unwrap().value(), want, "{text}");
        };
        check("a=1", Value::Integer(1));
        check("a = 3e-4", Value::Float(3e-4));
        check("a=true", Value::Boolean(true));
        check("a=[1, 2]", Value::from(vec![1, 2]));
        check("a=[conv*, fc1.*]", Value::from(vec!["conv*", "fc1.*"]));
        check("a=[q_proj,v_proj]", Value::from(vec!["q_proj", "v_proj"]));
        check(
            "a=[\"q_proj\",\"v_proj\"]",
            Value::from(vec!["q_proj", "v_proj"]),
        );
        check("a=[{ b = }]", Value::from("[{ b = }]"));
        check("a=\"x\"", Value::from("x"));
        check("a=lenet", Value::from("lenet"));
        check("a=some/file.csv", Value::from("some/file.csv"));
        check("a=", Value::from(""));
        check("a=b=c", Value::from("b=c"));
        check("a=1\nb=2", Value::from("1\nb=2"));
    }

    #[test]
    fn what_names_no_field_is_refused() {
        for text in ["", "a", "=1", "a..b=1", ".a=1"] {
            let error = text.parse::<Override>().unwrap_err().to_string();
            let want = format!("cannot set {text:?}: expected FIELD=VALUE, such as optim.lr=3e-4");
            assert_eq!(error, want);
        }
    }

    #[test]
    fn tables_are_made_on_the_way_and_values_are_not_replaced_by_tables() {
        let mut table = Table::new();
        Override::new("a.b.c", 1).apply(&mut table).unwrap();
        assert_eq!(table["a"]["b"]["c"].as_integer(), Some(1));
        let error = Override::new("a.b.c.d", 1).apply(&mut table).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.b.c: expected a table, which it must be to set a field of it, found the number 1"
        );
    }
}

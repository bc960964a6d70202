//! The types that a setting can have.

use std::path::PathBuf;

use toml::Value;

use crate::error::{FieldError, show};

/// A type that a setting can have.
pub trait Setting: Sized {
    /// The type in words, for messages.
    fn expected() -> String;

    /// The value, which messages call `path`.
    ///
    /// # Errors
    /// A value of another type, or one that stands for nothing.
    fn from_value(path: &str, value: &Value) -> Result<Self, FieldError>;

    /// The value as TOML has it; `None` for one that is not given.
    fn to_value(&self) -> Option<Value>;

    /// What it is where a table does not say it and there is no default: nothing, but for what may be absent.
    #[must_use]
    fn absent() -> Option<Self> {
        None
    }

    /// The error about a value of another type.
    #[must_use]
    fn wrong_type(path: &str, value: &Value) -> FieldError {
        FieldError::Type {
            path: path.to_owned(),
            expected: Self::expected(),
            found: show(value),
        }
    }
}

/// A [`Setting`] from its type in words, a reader that gives `None` for other types, and a writer.
#[macro_export]
macro_rules! setting {
    ($type:ty, $expected:expr, $read:expr, $write:expr) => {
        impl $crate::Setting for $type {
            fn expected() -> String {
                String::from($expected)
            }
            fn from_value(
                path: &str,
                value: &$crate::Value,
            ) -> ::std::result::Result<Self, $crate::FieldError> {
                let read: fn(&$crate::Value) -> Option<Self> = $read;
                read(value).ok_or_else(|| Self::wrong_type(path, value))
            }
            fn to_value(&self) -> Option<$crate::Value> {
                let write: fn(&Self) -> $crate::Value = $write;
                Some(write(self))
            }
        }
    };
}

/// A whole number as TOML has it. What was read fits, for it came from one; [`Settings`](crate::Settings) with larger
/// numbers of their own are refused by a rule.
fn integer(n: impl TryInto<i64>) -> Value {
    Value::Integer(n.try_into().unwrap_or(i64::MAX))
}

fn whole<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    value.as_integer().and_then(|n| n.try_into().ok())
}

fn finite(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Float(x) => Some(*x),
        _ => None,
    };
    number.filter(|x| x.is_finite())
}

setting!(
    String,
    "text in quotes",
    |v| v.as_str().map(str::to_owned),
    |s| Value::from(s.as_str())
);
setting!(
    PathBuf,
    "a path in quotes",
    |v| v.as_str().map(PathBuf::from),
    |p| Value::from(p.to_string_lossy().as_ref())
);
setting!(bool, "true or false", Value::as_bool, |b| Value::from(*b));
setting!(u32, "a whole number, not negative", whole, |n| integer(*n));
setting!(u64, "a whole number, not negative", whole, |n| integer(*n));
setting!(usize, "a whole number, not negative", whole, |n| integer(
    *n
));
setting!(i64, "a whole number", whole, |n| Value::Integer(*n));
setting!(f64, "a finite number", finite, |x| Value::Float(*x));
setting!(
    (f64, f64),
    "two finite numbers",
    |v| match v.as_array()?.as_slice() {
        [a, b] => Some((finite(a)?, finite(b)?)),
        _ => None,
    },
    |(a, b)| Value::from(vec![*a, *b])
);
setting!(
    (f64, f64, f64),
    "three finite numbers",
    |v| match v.as_array()?.as_slice() {
        [a, b, c] => Some((finite(a)?, finite(b)?, finite(c)?)),
        _ => None,
    },
    |(a, b, c)| Value::from(vec![*a, *b, *c])
);
setting!(Value, "a value", |v| Some(v.clone()), Value::clone);

impl<T: Setting> Setting for Vec<T> {
    fn expected() -> String {
        format!("a list, each element {}", T::expected())
    }

    fn from_value(path: &str, value: &Value) -> Result<Self, FieldError> {
        let Some(list) = value.as_array() else {
            return Err(Self::wrong_type(path, value));
        };
        let element = |(i, value)| T::from_value(&format!("{path}[{i}]"), value);
        list.iter().enumerate().map(element).collect()
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::Array(
            self.iter().filter_map(Setting::to_value).collect(),
        ))
    }
}

impl<T: Setting> Setting for Option<T> {
    fn expected() -> String {
        T::expected()
    }

    fn from_value(path: &str, value: &Value) -> Result<Self, FieldError> {
        T::from_value(path, value).map(Some)
    }

    fn to_value(&self) -> Option<Value> {
        self.as_ref().and_then(Setting::to_value)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

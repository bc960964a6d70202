//! Settings with a value for each axis.

use cortical_settings::{Broken, FieldError, Rule, Setting, rule};
use toml::Value;

/// One value for all axes, or one for each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PerAxis<T>(Vec<T>);

impl<T: Copy> PerAxis<T> {
    /// The same for every axis.
    pub(super) fn all(value: T) -> Self {
        Self(vec![value])
    }

    /// What was given: one value, or one for each axis.
    pub(super) fn given(&self) -> &[T] {
        &self.0
    }

    /// The value of each axis, for values that [`check_axes`] let through.
    pub(super) fn each<const AXES: usize>(&self) -> [T; AXES] {
        std::array::from_fn(|i| *self.0.get(i).unwrap_or(&self.0[0]))
    }
}

impl<T: Setting + Copy> Setting for PerAxis<T> {
    fn expected() -> String {
        format!("{}, or a list with one for each axis", T::expected())
    }

    fn from_value(path: &str, value: &Value) -> Result<Self, FieldError> {
        match value {
            Value::Array(list) if !list.is_empty() => Setting::from_value(path, value).map(Self),
            Value::Array(_) | Value::Table(_) => Err(Self::wrong_type(path, value)),
            one => match T::from_value(path, one) {
                Ok(one) => Ok(Self::all(one)),
                Err(_) => Err(Self::wrong_type(path, one)),
            },
        }
    }

    fn to_value(&self) -> Option<Value> {
        match &self.0[..] {
            [one] => one.to_value(),
            _ => self.0.to_value(),
        }
    }
}

/// The first of some fields that has neither one value nor one for each axis.
pub(super) fn check_axes(
    axes: usize,
    fields: &[(&str, Option<&PerAxis<usize>>)],
) -> Option<Broken> {
    let wrong = |sizes: &PerAxis<usize>| ![1, axes].contains(&sizes.0.len());
    let (name, sizes) = fields.iter().find_map(|(name, sizes)| {
        sizes
            .filter(|sizes| wrong(sizes))
            .map(|sizes| (name, sizes))
    })?;
    let expected = match axes {
        1 => "one number".to_owned(),
        _ => format!("one number, or {axes} of them"),
    };
    Some(Broken::new(*name, expected, format_args!("{:?}", sizes.0)))
}

/// Every size is at least 1.
pub(super) fn positive_sizes() -> Rule<PerAxis<usize>> {
    rule("at least 1", |sizes: &PerAxis<usize>| !sizes.0.contains(&0))
}

/// What surrounds an input: so many elements on both sides of each axis, or as many as keep the size, written `"same"`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Surround {
    /// So many on both sides.
    Both(PerAxis<usize>),
    /// As many as keep the size.
    Same,
}

impl Surround {
    /// The numbers, if they are given.
    pub(super) fn sizes(&self) -> Option<&PerAxis<usize>> {
        match self {
            Self::Both(sizes) => Some(sizes),
            Self::Same => None,
        }
    }
}

impl Setting for Surround {
    fn expected() -> String {
        format!("{}, or \"same\"", PerAxis::<usize>::expected())
    }

    fn from_value(path: &str, value: &Value) -> Result<Self, FieldError> {
        match value {
            Value::String(text) if text == "same" => Ok(Self::Same),
            Value::Array(_) => PerAxis::from_value(path, value).map(Self::Both),
            other => match PerAxis::from_value(path, other) {
                Ok(sizes) => Ok(Self::Both(sizes)),
                Err(_) => Err(Self::wrong_type(path, other)),
            },
        }
    }

    fn to_value(&self) -> Option<Value> {
        match self {
            Self::Both(sizes) => sizes.to_value(),
            Self::Same => Some(Value::from("same")),
        }
    }
}

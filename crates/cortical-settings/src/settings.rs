//! Tables of settings.

use std::sync::LazyLock;

use toml::{Table, Value};

use crate::error::{FieldError, nearest, show};
use crate::rule::{Broken, Rule};
use crate::setting::Setting;
use crate::write::Line;

/// A table of settings, declared with [`settings!`](crate::settings!).
pub trait Settings: Clone + PartialEq {
    /// Every field's name with a remark, in the order in which people are shown them.
    const FIELDS: &'static [(&'static str, &'static str)];

    /// Reads a table that messages call `path`; what it does not say is as in `base`, or by default.
    ///
    /// # Errors
    /// A field that does not exist, is missing, of the wrong type, or with a value that makes no sense.
    fn read(path: &str, table: &Table, base: Option<&Self>) -> Result<Self, FieldError>;

    /// The value of each field, in the order of [`FIELDS`](Self::FIELDS).
    fn to_values(&self) -> Vec<Option<Value>>;

    /// The default of each field; `None` for those that must be given or are absent by default.
    fn default_values() -> Vec<Option<Value>>;

    /// The first setting whose value makes no sense.
    fn broken(&self) -> Option<Broken>;

    /// The names of the fields.
    fn names() -> impl Iterator<Item = &'static str> + Clone {
        Self::FIELDS.iter().map(|(name, _)| *name)
    }

    /// Refuses settings that make no sense, which messages find at `path`.
    ///
    /// # Errors
    /// [`FieldError::Range`].
    fn check(&self, path: &str) -> Result<(), FieldError> {
        self.broken().map_or(Ok(()), |broken| {
            Err(FieldError::Range {
                path: join(path, &broken.field),
                expected: broken.expected,
                found: broken.found,
            })
        })
    }

    /// The fields with their values and remarks.
    fn lines(&self) -> Vec<Line> {
        let fields = Self::FIELDS.iter().zip(self.to_values());
        let line =
            |((&(name, remark), value), default): ((_, Option<Value>), Option<Value>)| Line {
                name,
                is_default: value == default,
                value,
                remark,
            };
        fields.zip(Self::default_values()).map(line).collect()
    }

    /// The fields that are given as a table.
    fn to_table(&self) -> Table {
        let fields = Self::names().zip(self.to_values());
        fields
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect()
    }
}

/// The full path of a field: `optim.lr`, or `seed` for one of no table.
#[must_use]
pub fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The fields of `table` that `T` has, where a table holds those of several.
#[must_use]
pub fn only<T: Settings>(table: &Table) -> Table {
    let own = table
        .iter()
        .filter(|(name, _)| T::names().any(|own| own == *name));
    own.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Refuses fields of the table `path` whose names are not known.
///
/// # Errors
/// [`FieldError::Unknown`] for the first of them.
pub fn refuse_unknown<'a>(
    path: &str,
    table: &Table,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), FieldError> {
    let is_known = |name: &String| known.clone().any(|known| known == name);
    match table.keys().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => Err(FieldError::Unknown {
            path: join(path, name),
            nearest: nearest(name, known.clone()).map(|near| join(path, near)),
            known: known.map(|name| join(path, name)).collect(),
        }),
    }
}

/// The table `name` inside `table`; an empty one if it is not there.
///
/// # Errors
/// A value that is no table.
pub fn section<'t>(path: &str, table: &'t Table, name: &str) -> Result<&'t Table, FieldError> {
    static EMPTY: LazyLock<Table> = LazyLock::new(Table::new);
    match table.get(name) {
        None => Ok(&EMPTY),
        Some(Value::Table(table)) => Ok(table),
        Some(other) => Err(FieldError::Type {
            expected: format!("a table, [{}]", join(path, name)),
            path: join(path, name),
            found: show(other),
        }),
    }
}

/// The field `name` of the table `path`: what the table says, or else the base's value, or else the default.
///
/// # Errors
/// A value of another type; [`FieldError::Missing`] where there is nothing at all.
pub fn take<T: Setting + Clone>(
    path: &str,
    name: &str,
    table: &Table,
    base: Option<&T>,
    default: impl FnOnce() -> Option<T>,
) -> Result<T, FieldError> {
    if let Some(value) = table.get(name) {
        return T::from_value(&join(path, name), value);
    }
    let other = base.cloned().or_else(default).or_else(T::absent);
    other.ok_or_else(|| FieldError::Missing {
        path: join(path, name),
        expected: T::expected(),
    })
}

/// Declares a table of settings: a struct whose fields say their types, defaults, remarks and rules.
///
/// ```text
/// pub name: Type = default, "remark", rule, rule;     // a setting with a default
/// pub name: Type, "remark", rule;                     // one that must be given (or may be absent, for an `Option`)
/// pub pattern as "match": String, "remark";           // one whose name in TOML is another
/// check = Self::consistent;                           // behind the struct: `fn(&Self) -> Option<Broken>`
/// ```
///
/// A table whose fields all have defaults gets a `Default` as well.
#[macro_export]
macro_rules! settings {
    // All fields have defaults.
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$fmeta:meta])* $fvis:vis $field:ident $(as $key:literal)? : $type:ty = $default:expr,
                $remark:literal $(, $rule:expr)* ; )*
        }
        $(check = $check:expr;)?
    ) => {
        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }
        $crate::settings! {
            @declare
            $(#[$meta])*
            $vis struct $name {
                $( $(#[$fmeta])* $fvis $field $(as $key)? : $type = $default, $remark $(, $rule)* ; )*
            }
            $(check = $check;)?
        }
    };
    // Some must be given.
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$fmeta:meta])* $fvis:vis $field:ident $(as $key:literal)? : $type:ty $(= $default:expr)?,
                $remark:literal $(, $rule:expr)* ; )*
        }
        $(check = $check:expr;)?
    ) => {
        $crate::settings! {
            @declare
            $(#[$meta])*
            $vis struct $name {
                $( $(#[$fmeta])* $fvis $field $(as $key)? : $type $(= $default)?, $remark $(, $rule)* ; )*
            }
            $(check = $check;)?
        }
    };
    (
        @declare
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$fmeta:meta])* $fvis:vis $field:ident $(as $key:literal)? : $type:ty $(= $default:expr)?,
                $remark:literal $(, $rule:expr)* ; )*
        }
        $(check = $check:expr;)?
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $( $(#[$fmeta])* $fvis $field: $type, )*
        }

        impl $crate::Settings for $name {
            const FIELDS: &'static [(&'static str, &'static str)] =
                &[ $( ($crate::settings!(@key $field $($key)?), $remark), )* ];

            fn read(
                path: &str,
                table: &$crate::Table,
                base: Option<&Self>,
            ) -> ::std::result::Result<Self, $crate::FieldError> {
                $crate::refuse_unknown(path, table, Self::names())?;
                let read = Self {
                    $( $field: $crate::take(
                        path,
                        $crate::settings!(@key $field $($key)?),
                        table,
                        base.map(|base| &base.$field),
                        || $crate::settings!(@default $($default)?),
                    )?, )*
                };
                read.check(path)?;
                Ok(read)
            }

            fn to_values(&self) -> Vec<Option<$crate::Value>> {
                vec![ $( $crate::Setting::to_value(&self.$field), )* ]
            }

            fn default_values() -> Vec<Option<$crate::Value>> {
                vec![ $( {
                    let default: Option<$type> = $crate::settings!(@default $($default)?);
                    default.and_then(|default| $crate::Setting::to_value(&default))
                }, )* ]
            }

            fn broken(&self) -> Option<$crate::Broken> {
                $(
                    let rules: Vec<$crate::Rule<$type>> = vec![ $( $rule ),* ];
                    let name = $crate::settings!(@key $field $($key)?);
                    if let Some(broken) = $crate::first_broken(name, &self.$field, &rules) {
                        return Some(broken);
                    }
                )*
                $(
                    let check: fn(&Self) -> Option<$crate::Broken> = $check;
                    if let Some(broken) = check(self) {
                        return Some(broken);
                    }
                )?
                None
            }
        }

        impl $crate::Setting for $name {
            fn expected() -> String {
                let fields = <Self as $crate::Settings>::names();
                let fields: Vec<&str> = fields.collect();
                format!("a table of {}", fields.join(", "))
            }

            fn from_value(
                path: &str,
                value: &$crate::Value,
            ) -> ::std::result::Result<Self, $crate::FieldError> {
                match value {
                    $crate::Value::Table(table) => <Self as $crate::Settings>::read(path, table, None),
                    other => Err(Self::wrong_type(path, other)),
                }
            }

            fn to_value(&self) -> Option<$crate::Value> {
                Some($crate::Value::Table(<Self as $crate::Settings>::to_table(self)))
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@default) => { None };
    (@default $default:expr) => { Some($default) };
}

/// The first rule that a field's value breaks.
#[doc(hidden)]
pub fn first_broken<T: Setting>(name: &str, value: &T, rules: &[Rule<T>]) -> Option<Broken> {
    let rule = rules.iter().find(|rule| !rule.holds(value))?;
    let found = value.to_value();
    Some(Broken::new(
        name,
        rule.expected(),
        found.as_ref().map_or_else(String::new, plain),
    ))
}

/// A value as messages show one that breaks its rule: `-1` for a number, without the `.0` that TOML has behind it.
fn plain(value: &Value) -> String {
    match value {
        Value::Float(x) => x.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{at_least, positive, rule, share};

    settings! {
        /// A group.
        #[derive(Clone, Debug, PartialEq)]
        struct Group {
            /// Names.
            pattern as "match": String, "a pattern of names";
            /// Factor.
            lr_scale: f64 = 1.0, "factor of the learning rate";
            /// Decay.
            weight_decay: Option<f64>, "in place of the optimizer's", positive().optional();
        }
    }

    settings! {
        /// Everything.
        #[derive(Clone, Debug, PartialEq)]
        struct Everything {
            /// A number.
            lr: f64 = 1e-3, "base learning rate", positive();
            /// Two.
            betas: (f64, f64) = (0.9, 0.999), "decays",
                rule("two shares", |b: &(f64, f64)| share().holds(&b.0) && share().holds(&b.1));
            /// Sizes.
            hidden: Vec<usize> = vec![64], "sizes";
            /// Groups.
            groups: Vec<Group> = Vec::new(), "groups";
            /// A count.
            epochs: u64 = 1, "count", at_least(1);
        }
        check = |all| (all.epochs as usize > 10 * all.hidden.len())
            .then(|| Broken::new("epochs", "fewer than that", all.epochs));
    }

    fn read(text: &str) -> Result<Everything, String> {
        let table: Table = text.parse().unwrap();
        Everything::read("x", &table, None).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = "lr = 1\nhidden = [1, 2]\ngroups = [{ match = \"a*\", weight_decay = 0.5 }]";
        let all = read(text).unwrap();
        assert_eq!(all.groups[0].pattern, "a*");
        assert_eq!((all.lr, all.groups[0].lr_scale), (1.0, 1.0));
        assert_eq!(Everything::read("x", &all.to_table(), None).unwrap(), all);
        let base = Everything { epochs: 3, ..all };
        let over = Everything::read("x", &"lr = 2".parse().unwrap(), Some(&base)).unwrap();
        assert_eq!(over, Everything { lr: 2.0, ..base });
    }

    #[test]
    fn mistakes_name_the_field() {
        let check = |text: &str, want: &str| assert_eq!(read(text).unwrap_err(), want, "{text}");
        check("lrr = 1", "there is no field x.lrr; did you mean x.lr?");
        check(
            "lr = \"fast\"",
            "x.lr: expected a finite number, found the text \"fast\"",
        );
        check("lr = 0", "x.lr: expected a number above 0, found 0");
        check(
            "betas = [0.9]",
            "x.betas: expected two finite numbers, found the list [0.9]",
        );
        check(
            "betas = [0.9, 2]",
            "x.betas: expected two shares, found [0.9, 2.0]",
        );
        check(
            "hidden = [1, -2]",
            "x.hidden[1]: expected a whole number, not negative, found the number -2",
        );
        check(
            "groups = [{ lr_scale = 2 }]",
            "x.groups[0].match is missing; expected text in quotes",
        );
        check(
            "groups = [{ match = \"a\", weight_decay = -1 }]",
            "x.groups[0].weight_decay: expected a number above 0, found -1",
        );
        check("epochs = 0", "x.epochs: expected at least 1, found 0");
        check(
            "epochs = 11",
            "x.epochs: expected fewer than that, found 11",
        );
    }

    #[test]
    fn lines_know_what_is_as_by_default() {
        let all = read("epochs = 2").unwrap();
        let lines = all.lines();
        let changed: Vec<&str> = lines
            .iter()
            .filter(|l| !l.is_default)
            .map(|l| l.name)
            .collect();
        assert_eq!(changed, ["epochs"]);
        assert_eq!(lines[0].remark, "base learning rate");
    }
}

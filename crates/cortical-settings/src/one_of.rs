//! Tables of which each has a kind: one of several [`Settings`](crate::Settings) by name.

use toml::{Table, Value};

use crate::choice::choose;
use crate::error::FieldError;
use crate::settings::refuse_unknown;
use crate::write::Line;

/// One of several tables, declared with [`one_of!`](crate::one_of!). In TOML the field `kind` says which.
pub trait OneOf: Clone + PartialEq {
    /// What a kind is, such as `optimizer`.
    const WHAT: &'static str;

    /// Every kind's name, with further names of the same kind behind it.
    const KINDS: &'static [&'static [&'static str]];

    /// The name of this kind.
    fn kind(&self) -> &'static str;

    /// The names of the fields of a kind, without `kind` itself.
    fn names_of(kind: &str) -> Vec<&'static str>;

    /// Reads a table of this kind, without the field `kind`, over a base that counts if it is of the same kind.
    ///
    /// # Errors
    /// As [`Settings::read`](crate::Settings::read).
    fn read_kind(
        path: &str,
        kind: &str,
        table: &Table,
        base: Option<&Self>,
    ) -> Result<Self, FieldError>;

    /// The fields of this kind with their values and remarks, without `kind` itself.
    fn lines_of_kind(&self) -> Vec<Line>;

    /// The kinds' names, one each.
    fn kinds() -> impl Iterator<Item = &'static str> + Clone {
        Self::KINDS.iter().map(|names| names[0])
    }

    /// Reads a table that messages call `path`: its `kind`, or that of `base`, and the fields of that kind. Fields
    /// named in `others` are somebody else's.
    ///
    /// # Errors
    /// A kind or a field that does not exist; those of [`Settings::read`](crate::Settings::read).
    fn read_beside(
        path: &str,
        table: &Table,
        base: Option<&Self>,
        others: &[&'static str],
    ) -> Result<Self, FieldError> {
        let kind = match table.get("kind") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(other) => {
                return Err(<String as crate::Setting>::wrong_type(
                    &crate::join(path, "kind"),
                    other,
                ));
            }
            None => match base {
                Some(base) => base.kind(),
                None => {
                    return Err(FieldError::Missing {
                        path: crate::join(path, "kind"),
                        expected: format!("the name of a kind of {}", Self::WHAT),
                    });
                }
            },
        };
        let known: Vec<(&str, &str)> = (Self::KINDS.iter())
            .flat_map(|names| names.iter().map(|name| (*name, names[0])))
            .collect();
        let kind = choose(&crate::join(path, "kind"), Self::WHAT, kind, &known)?;
        let own = Self::names_of(kind);
        let names = ["kind"].iter().chain(&own).chain(others).copied();
        refuse_unknown(path, table, names)?;
        let own: Table = (table.iter())
            .filter(|(name, _)| own.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Self::read_kind(path, kind, &own, base)
    }

    /// Reads a table that is all this choice's own.
    ///
    /// # Errors
    /// As [`read_beside`](Self::read_beside).
    fn read(path: &str, table: &Table, base: Option<&Self>) -> Result<Self, FieldError> {
        Self::read_beside(path, table, base, &[])
    }

    /// The fields with their values and remarks, `kind` first.
    fn lines(&self, remark: &'static str) -> Vec<Line> {
        let kind = Line {
            name: "kind",
            value: Some(Value::from(self.kind())),
            remark,
            is_default: false,
        };
        std::iter::once(kind).chain(self.lines_of_kind()).collect()
    }

    /// The fields that are given, `kind` among them, as a table.
    fn to_table(&self) -> Table {
        let lines = self.lines("").into_iter();
        lines
            .filter_map(|line| Some((line.name.to_owned(), line.value?)))
            .collect()
    }
}

/// The error about a kind that is none of `T`'s.
#[doc(hidden)]
#[must_use]
pub fn unknown_kind<T: OneOf>(path: &str, kind: &str) -> FieldError {
    FieldError::Name {
        path: crate::join(path, "kind"),
        what: T::WHAT,
        found: kind.chars().take(60).collect(),
        nearest: crate::nearest(kind, T::kinds()).map(|near| format!("{near:?}")),
        known: T::kinds().map(str::to_owned).collect(),
    }
}

/// Declares a choice between tables of settings by their kinds.
///
/// ```
/// use cortical_settings::{OneOf, one_of, settings, positive, at_least};
/// settings! {
///     /// Falls every so many steps.
///     #[derive(Clone, Debug, PartialEq)]
///     pub struct Step {
///         /// Steps between two falls.
///         pub step_size: u64, "steps between two falls", at_least(1);
///         /// Factor of a fall.
///         pub gamma: f64 = 0.1, "factor of a fall", positive();
///     }
/// }
/// settings! {
///     /// Never changes.
///     #[derive(Clone, Debug, PartialEq)]
///     pub struct Constant {}
/// }
/// one_of! {
///     /// How the learning rate changes.
///     #[derive(Clone, Debug, PartialEq)]
///     pub enum Schedule: "schedule" {
///         /// It does not.
///         "constant" | "none" => Constant(Constant),
///         /// It falls.
///         "step" => Step(Step),
///     }
/// }
/// let table: toml::Table = "kind = \"step\"\nstep_size = 5".parse()?;
/// let schedule = Schedule::read("schedule", &table, None)?;
/// assert_eq!(schedule, Schedule::Step(Step { step_size: 5, gamma: 0.1 }));
///
/// let table: toml::Table = "kind = \"stepp\"".parse()?;
/// let error = Schedule::read("schedule", &table, None).unwrap_err();
/// assert_eq!(error.to_string(), "schedule.kind: there is no schedule \"stepp\"; did you mean \"step\"?");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! one_of {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident : $what:literal {
            $( $(#[$vmeta:meta])* $first:literal $(| $other:literal)* => $variant:ident ( $settings:ty ) , )+
        }
    ) => {
        $(#[$meta])*
        $vis enum $name {
            $( $(#[$vmeta])* $variant($settings), )+
        }

        impl $crate::OneOf for $name {
            const WHAT: &'static str = $what;
            const KINDS: &'static [&'static [&'static str]] = &[ $( &[$first $(, $other)*], )+ ];

            fn kind(&self) -> &'static str {
                match self { $( Self::$variant(_) => $first, )+ }
            }

            fn names_of(kind: &str) -> Vec<&'static str> {
                match kind {
                    $( $first $(| $other)* => <$settings as $crate::Settings>::names().collect(), )+
                    _ => Vec::new(),
                }
            }

            fn read_kind(
                path: &str,
                kind: &str,
                table: &$crate::Table,
                base: Option<&Self>,
            ) -> ::std::result::Result<Self, $crate::FieldError> {
                match kind {
                    $( $first $(| $other)* => {
                        let base = match base {
                            Some(Self::$variant(settings)) => Some(settings),
                            _ => None,
                        };
                        let settings = <$settings as $crate::Settings>::read(path, table, base)?;
                        Ok(Self::$variant(settings))
                    } )+
                    _ => Err($crate::unknown_kind::<Self>(path, kind)),
                }
            }

            fn lines_of_kind(&self) -> Vec<$crate::Line> {
                match self {
                    $( Self::$variant(settings) => $crate::Settings::lines(settings), )+
                }
            }
        }

        impl $crate::Setting for $name {
            fn expected() -> String {
                format!("a table with the kind of a {}", $what)
            }

            fn from_value(
                path: &str,
                value: &$crate::Value,
            ) -> ::std::result::Result<Self, $crate::FieldError> {
                match value {
                    $crate::Value::Table(table) => <Self as $crate::OneOf>::read(path, table, None),
                    $crate::Value::String(kind) => {
                        let table = [("kind".to_owned(), $crate::Value::from(kind.as_str()))];
                        <Self as $crate::OneOf>::read(path, &table.into_iter().collect(), None)
                    }
                    other => Err(Self::wrong_type(path, other)),
                }
            }

            fn to_value(&self) -> Option<$crate::Value> {
                Some($crate::Value::Table(<Self as $crate::OneOf>::to_table(self)))
            }
        }
    };
}

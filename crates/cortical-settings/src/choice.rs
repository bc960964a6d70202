//! Settings that are one of several names.

use crate::error::{FieldError, nearest};

/// A choice between names, declared with [`choice!`](crate::choice!).
pub trait Choice: Copy + PartialEq + 'static {
    /// What a name stands for, such as `kind of network`.
    const WHAT: &'static str;

    /// Every name with what it stands for; the first of those that stand for the same is the one that is written.
    const ALL: &'static [(&'static str, Self)];

    /// The name that is written.
    #[must_use]
    fn name(self) -> &'static str {
        let own = Self::ALL.iter().find(|(_, value)| *value == self);
        own.expect("every choice has a name").0
    }

    /// What a name stands for, in a field that messages call `path`.
    ///
    /// # Errors
    /// [`FieldError::Name`].
    fn from_name(path: &str, name: &str) -> Result<Self, FieldError> {
        choose(path, Self::WHAT, name, Self::ALL)
    }
}

/// What the name in the field `path` stands for.
///
/// # Errors
/// [`FieldError::Name`] for a name that is not in `known`.
pub fn choose<T: Copy>(
    path: &str,
    what: &'static str,
    found: &str,
    known: &[(&str, T)],
) -> Result<T, FieldError> {
    if let Some((_, value)) = known.iter().find(|(known, _)| *known == found) {
        return Ok(*value);
    }
    let names = known.iter().map(|(known, _)| *known);
    Err(FieldError::Name {
        path: path.to_owned(),
        what,
        found: found.chars().take(60).collect(),
        nearest: nearest(found, names.clone()).map(|near| format!("{near:?}")),
        known: names.map(str::to_owned).collect(),
    })
}

/// Declares an enum whose values are names in TOML: `choice! { pub enum Norm: "norm" { /// ... One = "one", } }`.
///
/// Further names of a value stand behind a bar: `ValidLoss = "valid_loss" | "val_loss"`.
///
/// ```
/// use cortical_settings::{Choice, choice};
/// choice! {
///     /// What happens when a loss is non-finite.
///     #[derive(Debug, Default)]
///     pub enum OnNan: "reaction" {
///         /// The run ends.
///         #[default]
///         Stop = "stop",
///         /// The step is undone.
///         Skip = "skip",
///     }
/// }
/// assert_eq!(OnNan::from_name("guard.on_nan", "skip")?, OnNan::Skip);
/// let error = OnNan::from_name("guard.on_nan", "skipp").unwrap_err();
/// assert_eq!(error.to_string(), "guard.on_nan: there is no reaction \"skipp\"; did you mean \"skip\"?");
/// # Ok::<(), cortical_settings::FieldError>(())
/// ```
#[macro_export]
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident : $what:literal {
            $( $(#[$vmeta:meta])* $variant:ident = $first:literal $(| $other:literal)* , )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $( $(#[$vmeta])* $variant, )+ }
        $crate::choice!(for $name : $what { $( $variant = $first $(| $other)*, )+ });
    };
    // The same for an enum that stands already.
    (for $name:ty : $what:literal { $( $variant:ident = $first:literal $(| $other:literal)* , )+ }) => {
        impl $crate::Choice for $name {
            const WHAT: &'static str = $what;
            const ALL: &'static [(&'static str, Self)] =
                &[ $( ($first, Self::$variant), $( ($other, Self::$variant), )* )+ ];
        }
        $crate::choice!(setting $name);
    };
    // A type whose choices were written by hand.
    (setting $name:ty) => {
        impl $crate::Setting for $name {
            fn expected() -> String {
                let names = <Self as $crate::Choice>::ALL.iter();
                let names: Vec<String> = names.map(|(name, _)| format!("{name:?}")).collect();
                names.join(" or ")
            }
            fn from_value(
                path: &str,
                value: &$crate::Value,
            ) -> ::std::result::Result<Self, $crate::FieldError> {
                match value.as_str() {
                    Some(name) => <Self as $crate::Choice>::from_name(path, name),
                    None => Err(Self::wrong_type(path, value)),
                }
            }
            fn to_value(&self) -> Option<$crate::Value> {
                Some($crate::Value::from($crate::Choice::name(*self)))
            }
        }
    };
}

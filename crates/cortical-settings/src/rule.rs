//! Ranges of settings: what makes sense, in words and as a test.

use std::fmt::{self, Debug, Display};

/// What a value must satisfy, beside its type.
pub struct Rule<T> {
    expected: String,
    holds: Box<dyn Fn(&T) -> bool>,
}

impl<T> Rule<T> {
    /// What would make sense, in words.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// Whether a value does.
    #[must_use]
    pub fn holds(&self, value: &T) -> bool {
        (self.holds)(value)
    }
}

impl<T: 'static> Rule<T> {
    /// The same for a setting that may be absent.
    #[must_use]
    pub fn optional(self) -> Rule<Option<T>> {
        Rule {
            expected: self.expected,
            holds: Box::new(move |value| value.as_ref().is_none_or(|value| (self.holds)(value))),
        }
    }
}

impl<T> Debug for Rule<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rule").field(&self.expected).finish()
    }
}

/// A setting that breaks its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The field's name in its table.
    pub field: String,
    /// What would make sense.
    pub expected: String,
    /// The value.
    pub found: String,
}

impl Broken {
    /// A field whose value makes no sense.
    pub fn new(field: impl Into<String>, expected: impl Into<String>, found: impl Display) -> Self {
        Self {
            field: field.into(),
            expected: expected.into(),
            found: found.to_string(),
        }
    }
}

/// Any rule.
pub fn rule<T>(expected: impl Into<String>, holds: impl Fn(&T) -> bool + 'static) -> Rule<T> {
    Rule {
        expected: expected.into(),
        holds: Box::new(holds),
    }
}

/// Not below `least`.
pub fn at_least<T: PartialOrd + Display + 'static>(least: T) -> Rule<T> {
    rule(format!("at least {least}"), move |value| *value >= least)
}

/// Not above `most`.
pub fn at_most<T: PartialOrd + Display + 'static>(most: T) -> Rule<T> {
    rule(format!("at most {most}"), move |value| *value <= most)
}

/// Neither below `least` nor above `most`.
pub fn between<T: PartialOrd + Display + 'static>(least: T, most: T) -> Rule<T> {
    rule(format!("from {least} to {most}"), move |value| {
        *value >= least && *value <= most
    })
}

/// `0 ≤ x ≤ 1`
#[must_use]
pub fn share() -> Rule<f64> {
    rule("a share from 0 to 1", |x: &f64| (0.0..=1.0).contains(x))
}

/// `0 ≤ x < 1`
#[must_use]
pub fn share_below_one() -> Rule<f64> {
    rule("a share from 0 to below 1", |x: &f64| {
        (0.0..1.0).contains(x)
    })
}

/// `x > 0`
#[must_use]
pub fn positive() -> Rule<f64> {
    rule("a number above 0", |x: &f64| *x > 0.0)
}

/// `x ≥ 0`, finite
#[must_use]
pub fn not_negative() -> Rule<f64> {
    rule("a number of at least 0", |x: &f64| {
        *x >= 0.0 && x.is_finite()
    })
}

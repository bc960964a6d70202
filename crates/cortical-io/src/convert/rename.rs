//! Other names for tensors: patterns with stars, as `--rename 'model.*=*'` has them.

use std::fmt;
use std::str::FromStr;

/// A text with stars that names fit or not: a `*` fits any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<String>);

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self(text.split('*').map(str::to_owned).collect())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("*"))
    }
}

impl Pattern {
    /// Whether a name fits from its beginning to its end.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        self.stars(name).is_some()
    }

    /// What the stars fit, each as short as possible but for the last one.
    fn stars<'n>(&self, name: &'n str) -> Option<Vec<&'n str>> {
        let (first, rest) = self.0.split_first()?;
        let mut left = name.strip_prefix(first.as_str())?;
        let mut stars = Vec::new();
        for (i, part) in rest.iter().enumerate() {
            // The last part ends the name; an empty one before it takes nothing.
            let at = match i + 1 == rest.len() {
                true => left.strip_suffix(part.as_str())?.len(),
                false => left.find(part.as_str())?,
            };
            stars.push(&left[..at]);
            left = &left[at + part.len()..];
        }
        left.is_empty().then_some(stars)
    }
}

/// A rule: names that fit the pattern get another name, or are left out.
///
/// A `*` in the pattern fits any text, as short as possible for all but the last one; the stars of the new name stand
/// for what they fitted, in their order. A rule without a new name leaves the tensors out.
///
/// ```
/// use cortical_io::Rename;
/// let rule: Rename = "state_dict.*=*".parse()?;
/// assert_eq!(rule.apply("state_dict.fc.weight"), Some("fc.weight".to_owned()));
/// assert_eq!(rule.apply("epoch"), None);
/// let turned: Rename = "*.layer.*.w=layers.*.*.weight".parse()?;
/// assert_eq!(turned.apply("net.layer.3.w"), Some("layers.net.3.weight".to_owned()));
/// # Ok::<(), cortical_io::RenameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    pattern: Pattern,
    name: Vec<String>,
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenameError {
    /// There is no pattern, or nothing between it and the new name.
    #[error("{rule:?} is no rule: expected a pattern, `=` and the new name, such as 'model.*=*'")]
    Form {
        /// The text.
        rule: String,
    },
    /// The new name has more stars than the pattern.
    #[error("{rule:?} has {got} stars in the new name, but {expected} in the pattern")]
    Stars {
        /// The text.
        rule: String,
        /// Stars of the pattern.
        expected: usize,
        /// Stars of the new name.
        got: usize,
    },
}

impl FromStr for Rename {
    type Err = RenameError;

    fn from_str(rule: &str) -> Result<Self, RenameError> {
        let form = || RenameError::Form { rule: rule.into() };
        let (pattern, name) = rule.split_once('=').ok_or_else(form)?;
        if pattern.is_empty() || name.contains('=') {
            return Err(form());
        }
        let (pattern, Pattern(name)) = (Pattern::from(pattern), Pattern::from(name));
        if name.len() > pattern.0.len() {
            return Err(RenameError::Stars {
                rule: rule.into(),
                expected: pattern.0.len() - 1,
                got: name.len() - 1,
            });
        }
        Ok(Self { pattern, name })
    }
}

impl fmt::Display for Rename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.pattern, self.name.join("*"))
    }
}

impl Rename {
    /// Another name for the one tensor of this name, whatever characters are in them; it is left out for an empty one.
    #[must_use]
    pub fn exact(from: &str, to: &str) -> Self {
        Self {
            pattern: Pattern(vec![from.to_owned()]),
            name: vec![to.to_owned()],
        }
    }

    /// The new name of a tensor that fits the pattern, empty for one that is left out; `None` for one that does not
    /// fit.
    #[must_use]
    pub fn apply(&self, name: &str) -> Option<String> {
        let stars = self.pattern.stars(name)?;
        let mut new = self.name[0].clone();
        for (star, part) in stars.iter().zip(&self.name[1..]) {
            new.push_str(star);
            new.push_str(part);
        }
        Some(new)
    }
}

/// The name that the first rule that fits gives; `None` for a tensor that is left out.
pub(crate) fn renamed(rules: &[Rename], name: &str) -> Option<String> {
    let new = rules.iter().find_map(|rule| rule.apply(name));
    let new = new.unwrap_or_else(|| name.to_owned());
    (!new.is_empty()).then_some(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns_from_end_to_end() {
        let check = |rule: &str, name: &str, want: Option<&str>| {
            let rule: Rename = rule.parse().unwrap();
            assert_eq!(rule.apply(name).as_deref(), want, "{rule} of {name}");
        };
        check("a=b", "a", Some("b"));
        check("a=b", "ab", None);
        check("*=x.*", "a.b", Some("x.a.b"));
        check("a.*=b.*", "a.c", Some("b.c"));
        check("a.*=b.*", "xa.c", None);
        check(
            "*.gamma=*.weight",
            "ln.gamma.gamma",
            Some("ln.gamma.weight"),
        );
        check("h.*.w*=l.*.*", "h.1.w.w2", Some("l.1..w2"));
        check("optimizer.*=", "optimizer.state", Some(""));
        check("*ab*ab=*|*", "abab", Some("|"));
        check("**=**", "ab", Some("ab"));
        check("a*a=x*", "a", None);
    }

    #[test]
    fn stars_in_a_name_of_one_tensor_are_no_patterns() {
        let rule = Rename::exact("a*=b", "c*");
        assert_eq!(rule.apply("a*=b").as_deref(), Some("c*"));
        assert_eq!(rule.apply("axx=b"), None);
    }

    #[test]
    fn other_texts_are_no_rules() {
        for rule in ["", "a", "=b", "a=b=c"] {
            assert!(
                matches!(rule.parse::<Rename>(), Err(RenameError::Form { .. })),
                "{rule}"
            );
        }
        let error = "a.*=*.*".parse::<Rename>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"a.*=*.*\" has 2 stars in the new name, but 1 in the pattern"
        );
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = ["a.*=", "*.b=*.c", "*=x.*"].map(|rule| rule.parse().unwrap());
        assert_eq!(renamed(&rules, "a.b"), None);
        assert_eq!(renamed(&rules, "c.b").as_deref(), Some("c.c"));
        assert_eq!(renamed(&rules, "c.d").as_deref(), Some("x.c.d"));
        assert_eq!(renamed(&[], "c.d").as_deref(), Some("c.d"));
    }
}

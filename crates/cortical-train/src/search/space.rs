//! What a search tries: fields of a recipe with the values that each may take.

use std::str::FromStr;

use cortical_tensor::Rng;
use toml::Value;

use crate::recipe::Override;
use crate::search_defect::SearchDefect;

/// A field with the values that are tried, written `FIELD=V1,V2,…` or `FIELD=LOW..HIGH`.
///
/// Whole numbers between two whole ends are equally likely; other numbers above 0 are drawn evenly by their logarithm,
/// as learning rates are thought of, and those of a range that begins at 0 or below evenly.
///
/// ```
/// use cortical_train::Axis;
/// let lr: Axis = "optim.lr=1e-3,1e-2".parse()?;
/// assert_eq!((lr.path(), lr.count()), ("optim.lr", Some(2)));
/// let hidden: Axis = "model.hidden=[32],[64, 64]".parse()?;
/// assert_eq!(hidden.count(), Some(2));
/// assert_eq!("optim.lr=1e-4..1e-1".parse::<Axis>()?.count(), None);
/// # Ok::<(), cortical_train::SearchDefect>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    path: String,
    values: Values,
    text: String,
}

/// The values of a field.
#[derive(Clone, Debug, PartialEq)]
enum Values {
    List(Vec<Value>),
    Whole(i64, i64),
    Real(f64, f64),
}

impl FromStr for Axis {
    type Err = SearchDefect;

    fn from_str(text: &str) -> Result<Self, SearchDefect> {
        let broken = || SearchDefect::Axis {
            text: text.to_owned(),
        };
        let (path, values) = text.split_once('=').ok_or_else(broken)?;
        let (path, values) = (path.trim(), values.trim());
        let one = |value: &str| -> Result<Value, SearchDefect> {
            let set: Override = format!("{path}={value}").parse().map_err(|_| broken())?;
            Ok(set.value().clone())
        };
        let values = match values.split_once("..") {
            Some((low, high)) => match (one(low)?, one(high)?) {
                (Value::Integer(low), Value::Integer(high)) if low < high => {
                    Values::Whole(low, high)
                }
                (low, high) => {
                    let number =
                        |value: Value| value.as_float().or(value.as_integer().map(|n| n as f64));
                    let (low, high) = number(low).zip(number(high)).ok_or_else(broken)?;
                    let fits = low.is_finite() && high.is_finite() && low < high;
                    fits.then_some(Values::Real(low, high)).ok_or_else(broken)?
                }
            },
            None => {
                let parts = split(values);
                if parts.iter().any(|part| part.trim().is_empty()) {
                    return Err(broken());
                }
                let all = parts.into_iter().map(one);
                Values::List(all.collect::<Result<_, _>>()?)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            values,
            text: text.to_owned(),
        })
    }
}

/// The parts of a list, but for commas within brackets, braces and quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

impl Axis {
    /// The field's full path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How many values there are; `None` for a range.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        match &self.values {
            Values::List(all) => Some(all.len()),
            _ => None,
        }
    }

    fn set(&self, value: Value) -> Override {
        Override::new(&self.path, value)
    }

    /// A value drawn at random.
    pub(super) fn draw(&self, rng: &mut Rng) -> Override {
        self.set(match &self.values {
            Values::List(all) => all[rng.below(all.len() as u64) as usize].clone(),
            Values::Whole(low, high) => {
                let count = high.abs_diff(*low).saturating_add(1);
                Value::Integer(low.saturating_add_unsigned(rng.below(count)))
            }
            Values::Real(low, high) if *low > 0.0 => {
                let (a, b) = (low.ln(), high.ln());
                Value::Float((a + rng.uniform() * (b - a)).exp().clamp(*low, *high))
            }
            // Halves first, for the whole width may be infinite.
            Values::Real(low, high) => {
                let half = high / 2.0 - low / 2.0;
                Value::Float((low + 2.0 * (rng.uniform() * half)).clamp(*low, *high))
            }
        })
    }
}

/// Every combination of the values of all fields, the last field changing fastest.
///
/// # Errors
/// [`SearchDefect::RangeInGrid`]; [`SearchDefect::TooMany`].
pub(super) fn grid(axes: &[Axis], most: usize) -> Result<Vec<Vec<Override>>, SearchDefect> {
    let mut all: Vec<Vec<Override>> = vec![Vec::new()];
    for axis in axes {
        let Values::List(values) = &axis.values else {
            return Err(SearchDefect::RangeInGrid {
                path: axis.path.clone(),
            });
        };
        let size = all.len().checked_mul(values.len());
        if size.is_none_or(|size| size > most) {
            return Err(SearchDefect::TooMany { most });
        }
        let longer = |start: &Vec<Override>| -> Vec<Vec<Override>> {
            let with = |value: &Value| [start.clone(), vec![axis.set(value.clone())]].concat();
            values.iter().map(with).collect()
        };
        all = all.iter().flat_map(longer).collect();
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_tensor::Seed;

    #[test]
    fn a_grid_has_every_combination_and_ranges_are_drawn_within_their_ends() {
        let axes: Vec<Axis> = ["a=1,2,3", "b=[1, 2],[3]"]
            .map(|text| text.parse().unwrap())
            .into();
        let all = grid(&axes, 100).unwrap();
        assert_eq!(all.len(), 6);
        assert_eq!(
            (all[1][0].path(), all[1][0].value()),
            ("a", &Value::Integer(1))
        );
        assert_eq!(all[1][1].value(), &Value::from(vec![3]));
        assert!(matches!(
            grid(&axes, 5),
            Err(SearchDefect::TooMany { most: 5 })
        ));
        let mut rng = Rng::new(Seed(1), "search");
        let lr: Axis = "lr=1e-4..1e-1".parse().unwrap();
        let mut low = 0;
        for _ in 0..300 {
            let x = lr.draw(&mut rng).value().as_float().unwrap();
            assert!((1e-4..=1e-1).contains(&x));
            low += usize::from(x < 1e-3);
            let n: Axis = "n=2..4".parse().unwrap();
            let n = n.draw(&mut rng).value().as_integer().unwrap();
            assert!((2..=4).contains(&n));
            let wide: Axis = "w=-1e308..1e308".parse().unwrap();
            assert!(wide.draw(&mut rng).value().as_float().unwrap().is_finite());
        }
        // A third of the decades, a third of the draws.
        assert!((60..140).contains(&low), "{low}");
        assert!(matches!(
            grid(&[lr], 9),
            Err(SearchDefect::RangeInGrid { .. })
        ));
    }

    #[test]
    fn what_says_no_values_is_refused() {
        for text in [
            "", "a", "=1,2", "a=", "a=1,,2", "a=3..1", "a=x..y", "a..b=1",
        ] {
            assert!(text.parse::<Axis>().is_err(), "{text}");
        }
    }
}

//! A tensor of what is looked into.

use crate::kind::{Kind, is_buffer};
use cortical_models::language::grouped;
use std::cmp::Ordering;

/// A tensor: what a header or a configuration says about it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Entry {
    /// Its name in the file, or in the model that is described.
    pub name: String,
    /// Its dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The type of its elements; `None` where only a description is there.
    pub dtype: Option<String>,
    /// Its bytes in the file.
    pub bytes: Option<u64>,
    /// What it is for.
    pub kind: Kind,
    /// Whether it is no parameter, such as the running mean of a norm.
    pub is_buffer: bool,
    /// Whether the run trains it; `None` where nobody says.
    pub trainable: Option<bool>,
    /// Multiplications, with the addition that follows each, for one input; `None` where that is not known.
    pub multiply_adds: Option<u64>,
    /// Which of the opened models has it.
    pub(crate) home: usize,
    /// Its name there.
    pub(crate) stored: String,
    /// Its name in Hugging Face's files, where that is another one.
    pub(crate) common: Option<String>,
}

impl Entry {
    pub(crate) fn new(name: &str, shape: &[usize]) -> Self {
        Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            dtype: None,
            bytes: None,
            kind: Kind::of_name(name, shape),
            is_buffer: is_buffer(name, shape),
            trainable: None,
            multiply_adds: None,
            home: 0,
            stored: name.to_owned(),
            common: None,
        }
    }

    pub(crate) fn in_file(self, dtype: String, bytes: u64, home: usize) -> Self {
        Self {
            dtype: Some(dtype),
            bytes: Some(bytes),
            home,
            ..self
        }
    }

    /// Its elements, no more than can be counted.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shape
            .iter()
            .fold(1, |n: usize, d| n.saturating_mul(*d))
    }

    /// Its parameters: 0 for a buffer.
    #[must_use]
    pub fn parameters(&self) -> usize {
        if self.is_buffer { 0 } else { self.count() }
    }

    /// How its number of elements comes about: `11,008 · 4,096`.
    #[must_use]
    pub fn formula(&self) -> String {
        product(&self.shape)
    }

    /// The name under which another model may have the same tensor: Hugging Face's where it is known.
    #[must_use]
    pub fn common_name(&self) -> &str {
        self.common.as_deref().unwrap_or(&self.name)
    }
}

/// Sizes with dots between them.
pub(crate) fn product(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(|d| grouped(*d)).collect();
    match sizes.is_empty() {
        true => "1".to_owned(),
        false => sizes.join(" · "),
    }
}

/// The order of names in which `layers.2` comes before `layers.10`, and a layer's weight before its bias.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    // Numbers stand before words, and weights before other words, so that the order is one.
    let key = |part: &str| {
        let number = part.parse::<u64>();
        (number.is_err(), number.unwrap_or(0), part != "weight")
    };
    let (mut left, mut right) = (a.split('.'), b.split('.'));
    loop {
        let (x, y) = match (left.next(), right.next()) {
            (Some(x), Some(y)) => (x, y),
            (x, y) => return x.is_some().cmp(&y.is_some()).then_with(|| a.cmp(b)),
        };
        let order = key(x).cmp(&key(y));
        let order = match x.parse::<u64>().is_ok() {
            true => order,
            false => order.then_with(|| x.cmp(y)),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn names_are_in_the_order_that_people_expect() {
        let mut names = [
            "h.10.w",
            "h.2.bias",
            "h.2.weight",
            "a",
            "h.2",
            "9a",
            "1a",
            "10",
            "9",
        ];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            [
                "9",
                "10",
                "1a",
                "9a",
                "a",
                "h.2",
                "h.2.weight",
                "h.2.bias",
                "h.10.w"
            ]
        );
    }
}

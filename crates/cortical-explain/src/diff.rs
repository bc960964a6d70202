//! How two models differ, tensor by tensor.

use crate::contents::Contents;
use crate::entry::Entry;
use crate::error::Result;
use crate::stats::Stats;
use crate::weights::{Weights, pieces};
use std::collections::BTreeMap;

/// A tensor that both models have.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TensorDiff {
    /// Its name, Hugging Face's where that is known.
    pub name: String,
    /// Its shapes in both.
    pub shapes: [Vec<usize>; 2],
    /// The types of its elements in both.
    pub dtypes: [String; 2],
    /// How the elements differ; `None` where the shapes do.
    pub change: Option<Change>,
}

/// How the elements of a tensor, or of all tensors of a module, differ. Pairs of which one is NaN or infinite are
/// counted and otherwise left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// The elements before and after.
    pub sides: [Stats; 2],
    /// The sum of the products of both.
    pub dot: f64,
    /// The differences, the second less the first.
    pub difference: Stats,
}

impl Change {
    fn add(&mut self, before: &[f64], after: &[f64]) {
        self.sides[0].add(before);
        self.sides[1].add(after);
        let differences =
            before
                .iter()
                .zip(after)
                .map(|(a, b)| match a == b || a.is_nan() && b.is_nan() {
                    true => 0.0,
                    false => b - a,
                });
        self.difference.add(&differences.collect::<Vec<f64>>());
        let products = before.iter().zip(after).map(|(a, b)| a * b);
        self.dot += products.filter(|product| product.is_finite()).sum::<f64>();
    }

    fn merge(&mut self, other: &Self) {
        self.sides[0].merge(&other.sides[0]);
        self.sides[1].merge(&other.sides[1]);
        self.dot += other.dot;
        self.difference.merge(&other.difference);
    }

    /// Whether both have the same numbers.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.difference.largest == 0.0 && self.difference.non_finite == 0
    }

    /// The norm of the change by that of the first: `‖b − a‖ / ‖a‖`; infinite where the first is all zeros and the
    /// second is not.
    #[must_use]
    pub fn relative(&self) -> f64 {
        match (self.difference.norm(), self.sides[0].norm()) {
            (0.0, _) => 0.0,
            (change, norm) => change / norm,
        }
    }

    /// The cosine of the angle between both; 1 where both are all zeros, 0 where one is.
    #[must_use]
    pub fn cosine(&self) -> f64 {
        match (self.sides[0].norm(), self.sides[1].norm()) {
            (0.0, 0.0) => 1.0,
            (a, b) if a == 0.0 || b == 0.0 => 0.0,
            (a, b) => (self.dot / a / b).clamp(-1.0, 1.0),
        }
    }
}

/// What two models have in common and what not.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Diff {
    /// The tensors that both have, in the order of the first.
    pub tensors: Vec<TensorDiff>,
    /// Names that only the first has.
    pub missing: Vec<String>,
    /// Names that only the second has.
    pub new: Vec<String>,
    /// What a person should know.
    pub remarks: Vec<String>,
}

/// Compares two models, from whatever files they come. Both are read piece by piece: neither has to fit into memory.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_explain::{Contents, diff};
/// # let folder = tempfile::tempdir()?;
/// # let (a, b) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
/// for (path, numbers) in [(&a, [3.0_f32, 4.0]), (&b, [3.0, 3.5])] {
///     let tensor = Tensor::new(&numbers, &Device::Cpu)?;
///     cortical_io::save_tensors(path, &[("fc.weight".to_owned(), tensor)], &Default::default())?;
/// }
/// let found = diff(&Contents::open(&a)?, &Contents::open(&b)?)?;
/// let change = found.tensors[0].change.expect("the shapes are the same");
/// assert_eq!((change.relative(), change.difference.largest), (0.1, 0.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::NoNumbers`](crate::Error::NoNumbers) for a model without weights; files that cannot be read, elements that
/// are no numbers.
pub fn diff(before: &Contents, after: &Contents) -> Result<Diff> {
    let mut found = Diff::default();
    let (mut left, mut right) = (by_name(before), by_name(after));
    align(&mut left, &mut right, &mut found.remarks);
    let second: BTreeMap<&str, &Entry> = right
        .iter()
        .map(|(name, entry)| (name.as_str(), *entry))
        .collect();
    for (name, entry) in &left {
        match second
            .get(name.as_str())
            .copied()
            .or_else(|| tied(after, name))
        {
            None => found.missing.push(name.clone()),
            Some(other) => found
                .tensors
                .push(compare(name, (before, entry), (after, other))?),
        }
    }
    let first: BTreeMap<&str, &Entry> = left
        .iter()
        .map(|(name, entry)| (name.as_str(), *entry))
        .collect();
    for (name, entry) in &right {
        if first.contains_key(name.as_str()) {
            continue;
        }
        match tied(before, name) {
            None => found.new.push(name.clone()),
            Some(other) => found
                .tensors
                .push(compare(name, (before, other), (after, entry))?),
        }
    }
    for (contents, other) in [(before, &second), (after, &first)] {
        let ties = contents.ties.iter();
        for (name, kept) in ties.filter(|(name, _)| other.contains_key(name.as_str())) {
            let path = contents.path.display();
            found.remarks.push(format!(
                "in {path}, {name} is {kept} and is compared as such"
            ));
        }
    }
    Ok(found)
}

/// The tensors with the names that other models may have for them.
fn by_name(contents: &Contents) -> Vec<(String, &Entry)> {
    let named = contents.entries.iter();
    named
        .map(|entry| (entry.common_name().to_owned(), entry))
        .collect()
}

/// Takes away what stands before all names of one model but the head's, where the two have no name in common otherwise.
fn align(left: &mut [(String, &Entry)], right: &mut [(String, &Entry)], remarks: &mut Vec<String>) {
    let names = |all: &[(String, &Entry)]| -> Vec<String> {
        all.iter().map(|(name, _)| name.clone()).collect()
    };
    let common = |a: &[String], b: &[String]| {
        let all: std::collections::BTreeSet<&String> = a.iter().collect();
        b.iter().filter(|name| all.contains(name)).count()
    };
    let (a, b) = (names(left), names(right));
    let best = common(&a, &b);
    let strip = |names: &[String]| -> Option<(String, Vec<String>)> {
        let first = |name: &String| name.split_once('.').map(|(first, _)| format!("{first}."));
        // What most names begin with.
        let prefix = names.get(names.len() / 2).and_then(first)?;
        let bare = names
            .iter()
            .map(|name| name.strip_prefix(&prefix).unwrap_or(name).to_owned());
        Some((prefix.clone(), bare.collect()))
    };
    if let Some((prefix, bare)) = strip(&a)
        && common(&bare, &b) > best
    {
        left.iter_mut()
            .zip(bare)
            .for_each(|((name, _), bare)| *name = bare);
        remarks.push(format!(
            "names of the first are compared without {prefix:?}"
        ));
    } else if let Some((prefix, bare)) = strip(&b)
        && common(&a, &bare) > best
    {
        right
            .iter_mut()
            .zip(bare)
            .for_each(|((name, _), bare)| *name = bare);
        remarks.push(format!(
            "names of the second are compared without {prefix:?}"
        ));
    }
}

/// The tensor whose elements the one of this name shares.
fn tied<'a>(contents: &'a Contents, name: &str) -> Option<&'a Entry> {
    let (_, kept) = contents.ties.iter().find(|(tied, _)| tied == name)?;
    contents.entries.iter().find(|entry| entry.name == *kept)
}

fn compare(
    name: &str,
    (before, a): (&Contents, &Entry),
    (after, b): (&Contents, &Entry),
) -> Result<TensorDiff> {
    let (left, right) = (before.weights_of(a)?, after.weights_of(b)?);
    let shapes = [left.common_shape(a), right.common_shape(b)];
    let change = match shapes[0] == shapes[1] {
        true => Some(change((left, a), (right, b))?),
        false => None,
    };
    Ok(TensorDiff {
        name: name.to_owned(),
        shapes,
        dtypes: [a, b].map(|entry| entry.dtype.clone().unwrap_or_default()),
        change,
    })
}

fn change((left, a): (&Weights, &Entry), (right, b): (&Weights, &Entry)) -> Result<Change> {
    let mut change = Change::default();
    // One number, a row or all of them: the larger is a multiple of the smaller.
    let unit = left.unit(a).max(right.unit(b));
    for (from, len) in pieces(a.count(), unit) {
        change.add(&left.read(a, from, len)?, &right.read(b, from, len)?);
    }
    Ok(change)
}

impl Diff {
    /// The changes of modules, named by so many parts of their tensors' names, in the order of their first tensors; how
    /// many tensors each has that could be compared.
    #[must_use]
    pub fn modules(&self, depth: usize) -> Vec<(String, usize, Change)> {
        let mut order: Vec<(String, usize, Change)> = Vec::new();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for tensor in &self.tensors {
            let Some(change) = &tensor.change else {
                continue;
            };
            let mut parts: Vec<&str> = tensor.name.split('.').collect();
            parts.pop();
            parts.truncate(depth);
            let module = parts.join(".");
            let at = *places.entry(module.clone()).or_insert(order.len());
            if at == order.len() {
                order.push((module, 0, Change::default()));
            }
            order[at].1 += 1;
            order[at].2.merge(change);
        }
        order
    }

    /// The change of everything that could be compared.
    #[must_use]
    pub fn total(&self) -> Change {
        let mut total = Change::default();
        for change in self
            .tensors
            .iter()
            .filter_map(|tensor| tensor.change.as_ref())
        {
            total.merge(change);
        }
        total
    }

    /// Whether both models have the same tensors with the same numbers.
    #[must_use]
    pub fn is_same(&self) -> bool {
        let same = |tensor: &TensorDiff| tensor.change.is_some_and(|change| change.is_same());
        self.missing.is_empty() && self.new.is_empty() && self.tensors.iter().all(same)
    }
}

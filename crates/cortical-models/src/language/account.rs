//! How a model's number of parameters comes about, part by part.

use super::config::LanguageConfig;
use super::head::Head;
use super::parts::{Part, TensorSpec, grouped};
use std::collections::BTreeMap;

/// One part of an [`Account`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountLine {
    /// The part in words.
    pub part: &'static str,
    /// How its number comes about, such as `32 × 4,096 · 11,008`.
    pub formula: String,
    /// Its parameters.
    pub count: usize,
}

/// The parameters of a model, part by part.
///
/// ```
/// use cortical_models::language::{Account, preset};
/// let config = preset("llama2-7b").expect("a preset").config;
/// let account = Account::new(&config);
/// assert_eq!(account.total, 6_738_415_616);
/// assert_eq!(account.lines[1].formula, "32 layers × 4,096 · 4,096");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The parts, in the order in which the model uses them.
    pub lines: Vec<AccountLine>,
    /// All parameters.
    pub total: usize,
    /// What shares or saves weights, in sentences.
    pub remarks: Vec<String>,
}

impl Account {
    /// The account of a configuration; numbers beyond what can be counted stop at the largest that can.
    #[must_use]
    pub fn new(config: &LanguageConfig) -> Self {
        let tensors = config.tensors();
        let mut parts: BTreeMap<Part, BTreeMap<Vec<usize>, usize>> = BTreeMap::new();
        for TensorSpec { shape, part, .. } in &tensors {
            *parts
                .entry(*part)
                .or_default()
                .entry(shape.clone())
                .or_default() += 1;
        }
        let lines: Vec<AccountLine> = parts
            .into_iter()
            .map(|(part, shapes)| AccountLine {
                part: part.name(),
                formula: shapes
                    .iter()
                    .map(|(shape, times)| formula(shape, *times, config.layers()))
                    .collect::<Vec<_>>()
                    .join(" + "),
                count: shapes.iter().fold(0, |sum: usize, (shape, times)| {
                    sum.saturating_add(shape.iter().fold(*times, |n, d| n.saturating_mul(*d)))
                }),
            })
            .collect();
        Self {
            total: lines
                .iter()
                .fold(0, |sum, line| sum.saturating_add(line.count)),
            lines,
            remarks: remarks(config),
        }
    }
}

fn formula(shape: &[usize], times: usize, layers: usize) -> String {
    let product: Vec<String> = shape.iter().map(|d| grouped(*d)).collect();
    let product = product.join(" · ");
    match times {
        1 => product,
        n if n == layers => format!("{} layers × {product}", grouped(n)),
        n if n.is_multiple_of(layers.max(1)) => {
            format!("{} layers × {} × {product}", grouped(layers), n / layers)
        }
        n => format!("{} × {product}", grouped(n)),
    }
}

fn remarks(config: &LanguageConfig) -> Vec<String> {
    let mut all = Vec::new();
    if config.head() == Head::Tied {
        let saved = config.vocab_size().saturating_mul(config.hidden_size());
        all.push(format!(
            "the head is the token embedding once more, which saves {} parameters",
            grouped(saved)
        ));
    }
    all.extend(config.inner().remarks());
    all
}

//! How a number of parameters comes about.

use crate::contents::Contents;
use crate::entry::{Entry, product};
use cortical_models::language::{Account, grouped};
use std::collections::{BTreeMap, HashMap};

/// A line of an explanation: some parameters, and how their number comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose they are.
    pub part: String,
    /// How their number comes about, such as `32 × 11,008 · 4,096`.
    pub formula: String,
    /// How many they are.
    pub parameters: usize,
}

impl Contents {
    /// How the number of parameters comes about: part by part for a language model, layer by layer for a network,
    /// and by names that differ in numbers only for anything else. Then what shares or saves weights, in sentences.
    #[must_use]
    pub fn explain(&self) -> (Vec<Line>, Vec<String>) {
        if let Some(config) = &self.config {
            let account = Account::new(config);
            // Files may have more or less than the configuration says; then they are what is explained.
            if account.total == self.parameters() {
                let lines = account.lines.into_iter().map(|line| Line {
                    part: line.part.to_owned(),
                    formula: line.formula,
                    parameters: line.count,
                });
                return (lines.collect(), account.remarks);
            }
        }
        if let Some(plan) = &self.plan {
            let layers = plan.layers().iter().filter(|layer| layer.parameters > 0);
            let lines = layers.map(|layer| Line {
                part: layer.name.clone().unwrap_or_default(),
                formula: layer.description.formula.clone(),
                parameters: layer.parameters,
            });
            return (lines.collect(), Vec::new());
        }
        (by_pattern(&self.entries), Vec::new())
    }
}

/// Parameters by names that differ in numbers only, in the order in which they come.
fn by_pattern(entries: &[Entry]) -> Vec<Line> {
    let mut order: Vec<String> = Vec::new();
    let mut found: HashMap<String, BTreeMap<Vec<usize>, usize>> = HashMap::new();
    for entry in entries.iter().filter(|entry| !entry.is_buffer) {
        let parts = entry.name.split('.').map(|part| match part.parse::<u64>() {
            Ok(_) => "*",
            Err(_) => part,
        });
        let pattern = parts.collect::<Vec<_>>().join(".");
        let shapes = found.entry(pattern.clone()).or_insert_with(|| {
            order.push(pattern);
            BTreeMap::new()
        });
        *shapes.entry(entry.shape.clone()).or_default() += 1;
    }
    let lines = order.into_iter().map(|part| {
        let shapes = &found[&part];
        let terms = shapes.iter().map(|(shape, times)| match times {
            1 => product(shape),
            times => format!("{} × {}", grouped(*times), product(shape)),
        });
        let counts = shapes
            .iter()
            .map(|(shape, times)| shape.iter().fold(*times, |n, d| n.saturating_mul(*d)));
        Line {
            formula: terms.collect::<Vec<_>>().join(" + "),
            parameters: counts.fold(0, usize::saturating_add),
            part,
        }
    });
    lines.collect()
}

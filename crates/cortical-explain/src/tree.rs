//! The modules of a model as a tree, in which blocks that are alike stand once.

use crate::contents::{Contents, Text};
use crate::entry::{Entry, product};
use crate::stats::Stats;
use cortical_models::language::grouped;
use std::collections::HashMap;

/// Names with more parts than this end in one long part: a stranger's file decides how deep names go.
const DEPTH: usize = 24;

/// A module or a tensor of a model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// The last part of its name, or several where nothing else begins with them: `self_attn`, `norm.weight`. For
    /// blocks that are alike their numbers: `0-31`.
    pub name: String,
    /// How many blocks it stands for.
    pub times: usize,
    /// The parameters of all of them.
    pub parameters: usize,
    /// How that number comes about: `4,096 · 11,008` for a tensor, `32 × 202,383,360` for blocks; empty for a module.
    pub formula: String,
    /// Multiply-adds of all of them for one input, as far as they are known.
    pub multiply_adds: u64,
    /// How many of the parameters the run trains; `None` where nobody says.
    pub trainable: Option<usize>,
    /// The shape and the type of a tensor; `None` for a module.
    pub tensor: Option<TensorNode>,
    /// What the numbers of all of them come to, where statistics were gathered.
    pub stats: Option<Stats>,
    /// What is inside, in order.
    pub children: Vec<Node>,
}

/// What only tensors have.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorNode {
    /// The dimensions.
    pub shape: Vec<usize>,
    /// The type of the elements; `None` where only a description is there.
    pub dtype: Option<String>,
    /// Whether it is no parameter.
    pub is_buffer: bool,
}

impl Contents {
    /// The modules as a tree under one root without a name.
    ///
    /// ```
    /// use cortical_explain::Contents;
    /// let gpt2 = Contents::open("gpt2".as_ref())?.tree();
    /// let blocks = &gpt2.children[0].children[2];
    /// assert_eq!((blocks.name.as_str(), blocks.children[0].name.as_str()), ("h", "0-11"));
    /// assert_eq!(blocks.children[0].formula, "12 × 7,087,872");
    /// # Ok::<(), cortical_explain::Error>(())
    /// ```
    #[must_use]
    pub fn tree(&self) -> Node {
        tree(
            &self.entries,
            &vec![None; self.entries.len()],
            self.text.as_ref(),
        )
    }

    /// As [`tree`](Self::tree), with what the elements of each tensor come to, as [`stats`](Self::stats) gathered it.
    #[must_use]
    pub fn tree_with(&self, stats: &[Stats]) -> Node {
        let all: Vec<Option<Stats>> = stats.iter().copied().map(Some).collect();
        tree(&self.entries, &all, self.text.as_ref())
    }
}

/// A module while it is being put together.
#[derive(Default)]
struct Module<'a> {
    order: Vec<Part<'a>>,
    modules: HashMap<&'a str, usize>,
}

enum Part<'a> {
    Module(&'a str, Module<'a>),
    Tensor(&'a str, usize),
    /// What attention multiplies for a text of so many tokens.
    Products(usize, u64),
}

/// What stands for the products of attention, which are no tensor.
const PRODUCTS: &str = "scores and values";

fn tree(entries: &[Entry], stats: &[Option<Stats>], text: Option<&Text>) -> Node {
    let mut root = Module::default();
    for (at, entry) in entries.iter().enumerate() {
        let mut parts: Vec<&str> = entry.name.splitn(DEPTH, '.').collect();
        let last = parts.pop().unwrap_or_default();
        let mut module = &mut root;
        for part in parts {
            let next = module.order.len();
            let place = *module.modules.entry(part).or_insert(next);
            if place == next {
                module.order.push(Part::Module(part, Module::default()));
            }
            let Part::Module(_, inner) = &mut module.order[place] else {
                unreachable!("the places of modules hold modules");
            };
            module = inner;
        }
        module.order.push(Part::Tensor(last, at));
    }
    if let Some(Text { tokens, attention }) = text {
        for (name, products) in attention {
            let mut module = &mut root;
            for part in name.split('.').filter(|part| !part.is_empty()) {
                let Some(place) = module.modules.get(part).copied() else {
                    break;
                };
                let Part::Module(_, inner) = &mut module.order[place] else {
                    unreachable!("the places of modules hold modules");
                };
                module = inner;
            }
            module.order.push(Part::Products(*tokens, *products));
        }
    }
    node("", &root, entries, stats).0
}

/// The node of a module, and a text that is the same for modules that are alike.
fn node<'a>(
    name: &str,
    module: &Module<'a>,
    entries: &[Entry],
    stats: &[Option<Stats>],
) -> (Node, String) {
    let mut children: Vec<Node> = Vec::new();
    let mut signature = String::new();
    // Blocks by their signatures: where the node that stands for them is, and their numbers.
    let mut alike: HashMap<String, (usize, Vec<u64>)> = HashMap::new();
    for part in &module.order {
        match part {
            Part::Tensor(name, at) => {
                let (child, text) = leaf(name, &entries[*at], stats[*at]);
                signature += &format!("{name}\0{text}\0");
                children.push(child);
            }
            Part::Products(tokens, products) => {
                signature += &format!("{PRODUCTS}\0{products}\0");
                children.push(Node {
                    name: PRODUCTS.to_owned(),
                    formula: format!("{} tokens", grouped(*tokens)),
                    multiply_adds: *products,
                    ..Node::module("")
                });
            }
            Part::Module(name, inner) => {
                let (child, text) = node(name, inner, entries, stats);
                signature += &format!("{name}\0({text})\0");
                match name.parse::<u64>() {
                    Ok(number) => {
                        let (at, numbers) =
                            alike.entry(text).or_insert((children.len(), Vec::new()));
                        if numbers.is_empty() {
                            children.push(child);
                        } else {
                            children[*at].take(&child);
                        }
                        numbers.push(number);
                    }
                    Err(_) => children.push(child),
                }
            }
        }
    }
    for (at, mut numbers) in alike.into_values() {
        if numbers.len() > 1 {
            let child = &mut children[at];
            numbers.sort_unstable();
            child.name = ranges(&numbers);
            child.times = numbers.len();
            let one = child.parameters / numbers.len();
            child.formula = format!("{} × {}", grouped(numbers.len()), grouped(one));
        }
    }
    let mut module = Node::module(name);
    for child in &children {
        module.take(child);
    }
    module.children = children;
    // The root stays, whatever is in it, and so do numbers, which blocks that are alike have in common.
    let joins = !name.is_empty() && name.parse::<u64>().is_err() && module.children.len() == 1;
    match module.children.pop() {
        Some(only) if joins && only.times == 1 => {
            let name = format!("{name}.{}", only.name);
            (Node { name, ..only }, signature)
        }
        only => {
            module.children.extend(only);
            (module, signature)
        }
    }
}

fn leaf(name: &str, entry: &Entry, stats: Option<Stats>) -> (Node, String) {
    let trainable = entry
        .trainable
        .map(|trains| if trains { entry.parameters() } else { 0 });
    let dtype = entry.dtype.clone();
    let signature = format!("{:?}{dtype:?}{trainable:?}", entry.shape);
    let node = Node {
        name: name.to_owned(),
        times: 1,
        parameters: entry.parameters(),
        formula: product(&entry.shape),
        multiply_adds: entry.multiply_adds.unwrap_or(0),
        trainable,
        tensor: Some(TensorNode {
            shape: entry.shape.clone(),
            dtype,
            is_buffer: entry.is_buffer,
        }),
        stats,
        children: Vec::new(),
    };
    (node, signature)
}

impl Node {
    /// A module without anything in it.
    fn module(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            times: 1,
            parameters: 0,
            formula: String::new(),
            multiply_adds: 0,
            trainable: None,
            tensor: None,
            stats: None,
            children: Vec::new(),
        }
    }

    /// Adds another one's numbers, and those of what is inside where both are alike.
    fn take(&mut self, other: &Self) {
        self.parameters = self.parameters.saturating_add(other.parameters);
        self.multiply_adds = self.multiply_adds.saturating_add(other.multiply_adds);
        self.trainable = match (self.trainable, other.trainable) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        match (&mut self.stats, &other.stats) {
            (Some(stats), Some(other)) => stats.merge(other),
            (stats, other) => *stats = stats.or(*other),
        }
        // What is inside one block is shown as that of one, but its statistics are those of all.
        for (own, other) in self.children.iter_mut().zip(&other.children) {
            own.gather(other);
        }
    }

    /// Adds the statistics of what is alike.
    fn gather(&mut self, other: &Self) {
        if let (Some(stats), Some(other)) = (&mut self.stats, &other.stats) {
            stats.merge(other);
        }
        for (own, other) in self.children.iter_mut().zip(&other.children) {
            own.gather(other);
        }
    }
}

/// Numbers with those that follow each other in one: `0-3, 7`.
fn ranges(numbers: &[u64]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(*number) => *end = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let runs = runs.iter().map(|(start, end)| match start == end {
        true => start.to_string(),
        false => format!("{start}-{end}"),
    });
    runs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(names: &[(&str, &[usize])]) -> Vec<Entry> {
        names
            .iter()
            .map(|(name, shape)| Entry::new(name, shape))
            .collect()
    }

    #[test]
    fn blocks_that_are_alike_stand_once_and_others_by_themselves() {
        let entries = entries(&[
            ("emb.weight", &[10, 4]),
            ("h.0.fc.weight", &[4, 4]),
            ("h.1.fc.weight", &[4, 4]),
            ("h.2.fc.weight", &[8, 4]),
            ("h.3.fc.weight", &[4, 4]),
        ]);
        let root = tree(&entries, &[None; 5], None);
        assert_eq!(root.parameters, 40 + 48 + 32);
        assert_eq!(root.children[0].name, "emb.weight");
        let blocks = &root.children[1];
        let said: Vec<(&str, usize, &str)> = blocks
            .children
            .iter()
            .map(|child| {
                (
                    child.name.as_str(),
                    child.parameters,
                    child.formula.as_str(),
                )
            })
            .collect();
        assert_eq!(said, [("0-1, 3", 48, "3 × 16"), ("2", 32, "")]);
    }

    #[test]
    fn statistics_of_alike_blocks_are_those_of_all() {
        let entries = entries(&[("h.0.a", &[2]), ("h.1.a", &[2])]);
        let stats = [[3.0, 0.0], [0.0, 4.0]].map(|numbers| {
            let mut stats = Stats::default();
            stats.add(&numbers);
            Some(stats)
        });
        let root = tree(&entries, &stats, None);
        assert_eq!(root.stats.unwrap().norm(), 5.0);
        assert_eq!(root.children[0].children[0].stats.unwrap().sparsity(), 0.5);
    }

    #[test]
    fn a_name_without_end_is_one_part() {
        let name = "a.".repeat(500);
        let root = tree(&entries(&[(&name, &[2])]), &[None], None);
        assert_eq!(root.parameters, 2);
    }
}

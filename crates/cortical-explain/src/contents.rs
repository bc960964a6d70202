//! What a run, a model file, a folder, a configuration or a name holds.

use crate::entry::{Entry, natural};
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::stats::Stats;
use crate::weights::Weights;
use cortical_models::Plan;
use cortical_models::language::{Head, LanguageConfig, Part};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What something holds: every tensor with its shape, and what is known about the model that they make. Only headers
/// and descriptions are read until [`stats`](Self::stats) are asked for.
///
/// ```
/// use cortical_explain::Contents;
/// let llama = Contents::open("llama2-70b".as_ref())?;
/// assert_eq!(llama.parameters(), 68_976_648_192);
/// assert_eq!(llama.tree().children[0].name, "model");
/// # Ok::<(), cortical_explain::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Contents {
    /// What it is, in words.
    pub what: &'static str,
    /// The file or folder, or the name.
    pub path: PathBuf,
    /// Its tensors, in the order in which the model uses them where that is known.
    pub entries: Vec<Entry>,
    /// The language model that it is, where a configuration says so.
    pub config: Option<LanguageConfig>,
    /// The network that it is, where a training wrote it.
    pub plan: Option<Plan>,
    /// Tensors that have no elements of their own, and whose they share.
    pub ties: Vec<(String, String)>,
    /// What the file says about itself.
    pub metadata: BTreeMap<String, String>,
    /// What a person should know.
    pub remarks: Vec<String>,
    pub(crate) weights: Vec<Weights>,
}

impl Contents {
    /// What a configuration describes.
    #[must_use]
    pub fn of_config(what: &'static str, path: &Path, config: LanguageConfig) -> Self {
        let entries = config.tensors();
        let entries = entries.iter().map(|t| Entry::new(&t.name, &t.shape));
        let mut contents = Self::new(what, path);
        contents.entries = entries.collect();
        contents.describe(config);
        contents
    }

    pub(crate) fn new(what: &'static str, path: &Path) -> Self {
        Self {
            what,
            path: path.to_owned(),
            entries: Vec::new(),
            config: None,
            plan: None,
            ties: Vec::new(),
            metadata: BTreeMap::new(),
            remarks: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// Adds what the configuration of a language model tells: the order, ties, multiply-adds.
    pub(crate) fn describe(&mut self, config: LanguageConfig) {
        let specs = config.tensors();
        let rank: BTreeMap<&str, usize> = specs.iter().map(|t| t.name.as_str()).zip(0..).collect();
        self.sort_by(|name| rank.get(name).copied());
        let table = specs.iter().find(|spec| spec.part == Part::Tokens);
        // Files of a model without its head have names without a prefix.
        let table = table.and_then(|table| {
            let is_table = |entry: &&mut Entry| {
                let name = entry.common_name();
                name == table.name || table.name.ends_with(&format!(".{name}"))
            };
            self.entries.iter_mut().find(is_table)
        });
        let table = table.map(|entry| entry.name.clone());
        let has_head = self
            .entries
            .iter()
            .any(|e| e.common_name() == "lm_head.weight");
        let is_tied = config.head() == Head::Tied && !has_head;
        for entry in &mut self.entries {
            let is_head = is_tied && table.as_ref() == Some(&entry.name);
            if entry.shape.len() == 2 && (entry.kind != Kind::Embedding || is_head) {
                entry.multiply_adds = Some(entry.count() as u64);
            }
        }
        if let (true, Some(table)) = (is_tied, table) {
            let head = "lm_head.weight".to_owned();
            if self.ties.iter().all(|(name, _)| *name != head) {
                self.ties.push((head, table));
            }
        }
        self.config = Some(config);
    }

    /// Adds what the description of a network tells: the order, multiply-adds, which layer gives the scores.
    pub(crate) fn plan(&mut self, plan: Plan) {
        let mut leaves = Vec::new();
        for layer in plan.layers() {
            collect(&layer.description, layer.name.as_deref(), &mut leaves);
        }
        let names: Vec<&str> = plan
            .layers()
            .iter()
            .filter_map(|l| l.name.as_deref())
            .collect();
        let is_in = |name: &str, layer: &str| {
            name.strip_prefix(layer)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        self.sort_by(|name| names.iter().position(|layer| is_in(name, layer)));
        let last = names.last().copied().unwrap_or_default();
        for entry in &mut self.entries {
            let Some((layer, kind, multiply_adds)) =
                leaves.iter().find(|(layer, ..)| is_in(&entry.name, layer))
            else {
                continue;
            };
            if *kind == "Linear" {
                let is_head = layer == last && entry.shape.first() == Some(&plan.classes());
                entry.kind = if is_head {
                    Kind::Head
                } else {
                    Kind::FeedForward
                };
            }
            if entry.name == format!("{layer}.weight") {
                entry.multiply_adds = Some(*multiply_adds);
            }
        }
        self.plan = Some(plan);
    }

    /// Sorts the tensors as their ranks say, and by their names where those say nothing.
    pub(crate) fn sort_by(&mut self, rank: impl Fn(&str) -> Option<usize>) {
        self.entries.sort_by(|a, b| {
            let key = |entry: &Entry| rank(entry.common_name()).unwrap_or(usize::MAX);
            key(a).cmp(&key(b)).then_with(|| natural(&a.name, &b.name))
        });
    }

    /// How many parameters there are, no more than can be counted; shared ones count once, and buffers not.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let counts = self.entries.iter().map(Entry::parameters);
        counts.fold(0, usize::saturating_add)
    }

    /// How many of them the run trains; `None` where nobody says.
    #[must_use]
    pub fn trainable(&self) -> Option<usize> {
        let said = self.entries.iter().any(|entry| entry.trainable.is_some());
        let trained = self
            .entries
            .iter()
            .filter(|entry| entry.trainable == Some(true));
        said.then(|| {
            trained
                .map(Entry::parameters)
                .fold(0, usize::saturating_add)
        })
    }

    /// The bytes of all tensors in their files; `None` where only a description is there.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let mut bytes = self.entries.iter().map(|entry| entry.bytes);
        bytes.try_fold(0_u64, |sum, bytes| Some(sum.saturating_add(bytes?)))
    }

    /// Multiplications, with the addition that follows each, for one input: a sample, or a token of a language model
    /// without the products of attention, which grow with the text. `None` where the model is not known.
    #[must_use]
    pub fn multiply_adds(&self) -> Option<u64> {
        match (&self.plan, &self.config) {
            (Some(plan), _) => Some(plan.multiply_adds()),
            (None, Some(_)) => {
                let known = self.entries.iter().filter_map(|entry| entry.multiply_adds);
                Some(known.fold(0, u64::saturating_add))
            }
            (None, None) => None,
        }
    }

    /// The parameters of each kind that there is, the largest number first.
    #[must_use]
    pub fn kinds(&self) -> Vec<(Kind, usize)> {
        let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| !entry.is_buffer) {
            let sum = kinds.entry(entry.kind).or_default();
            *sum = sum.saturating_add(entry.count());
        }
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        kinds
    }

    /// What the elements of a tensor come to. They are read piece by piece.
    ///
    /// # Errors
    /// [`Error::NoNumbers`] where only a description is there; a file that cannot be read, elements that are no
    /// numbers.
    pub fn stats(&self, entry: &Entry) -> Result<Stats> {
        self.weights_of(entry)?.stats(entry)
    }

    pub(crate) fn weights_of(&self, entry: &Entry) -> Result<&Weights> {
        let weights = self
            .weights
            .get(entry.home)
            .filter(|_| entry.dtype.is_some());
        weights.ok_or_else(|| Error::NoNumbers {
            path: self.path.clone(),
        })
    }
}

/// A layer inside a network: its name, its kind, its multiply-adds.
type Leaf = (String, &'static str, u64);

/// The layers inside a description that have a name.
fn collect(description: &cortical_neuron::Description, name: Option<&str>, leaves: &mut Vec<Leaf>) {
    for part in &description.parts {
        collect(part, None, leaves);
    }
    let name = name.unwrap_or(&description.name);
    if description.parts.is_empty() && !name.is_empty() {
        leaves.push((name.to_owned(), description.kind, description.multiply_adds));
    }
}

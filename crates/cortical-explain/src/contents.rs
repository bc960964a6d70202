//! What a run, a model file, a folder, a configuration or a name holds.

use crate::entry::{Entry, natural};
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::stats::Stats;
use crate::weights::Weights;
use cortical_models::Plan;
use cortical_models::language::{Head, LanguageConfig, Part, TensorSpec, TextCosts};
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
    /// The tokens of the text that costs are those of, and what attention multiplies in each block of a language model:
    /// the module that it belongs to, and its multiply-adds.
    pub text: Option<Text>,
    /// What the file says about itself.
    pub metadata: BTreeMap<String, String>,
    /// What a person should know.
    pub remarks: Vec<String>,
    pub(crate) weights: Vec<Weights>,
}

/// The text that the costs of a language model are those of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Text {
    /// Its tokens.
    pub tokens: usize,
    /// The products of scores and of values: in which module, and how many multiply-adds for the whole text.
    pub attention: Vec<(String, u64)>,
}

/// Tokens of a text that costs are those of where nobody says how many, or as many as the model has positions.
const TOKENS: usize = 2048;

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
            text: None,
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
        let positions = config.max_positions();
        let tokens = match &self.text {
            Some(text) => text.tokens,
            None => TOKENS.min(positions).max(1),
        };
        for entry in &mut self.entries {
            let is_head = is_tied && table.as_ref() == Some(&entry.name);
            if entry.shape.len() == 2 && (entry.kind != Kind::Embedding || is_head) {
                // A pooler reads the first token of a text.
                let times = if is_pooler(&entry.name) { 1 } else { tokens };
                entry.multiply_adds = Some((entry.count() as u64).saturating_mul(times as u64));
            }
        }
        match config.costs(tokens) {
            Ok(costs) => {
                let attention = self.attention(&costs, &specs, tokens);
                self.text = Some(Text { tokens, attention });
            }
            Err(why) => self
                .remarks
                .push(format!("what attention costs is not known: {why}")),
        }
        if let (true, Some(table)) = (is_tied, table) {
            let head = "lm_head.weight".to_owned();
            if self.ties.iter().all(|(name, _)| *name != head) {
                self.ties.push((head, table));
            }
        }
        self.config = Some(config);
    }

    /// What attention multiplies, block by block, and the module that has the block's last projection.
    fn attention(
        &self,
        costs: &TextCosts,
        specs: &[TensorSpec],
        tokens: usize,
    ) -> Vec<(String, u64)> {
        let blocks = costs.blocks.iter().enumerate();
        let of_block = blocks.filter_map(|(block, cost)| {
            let number = block.to_string();
            let own = specs
                .iter()
                .filter(|spec| spec.name.split('.').any(|part| part == number));
            let weights = own.clone().filter(|spec| spec.shape.len() == 2);
            let weights = weights.map(|spec| spec.count().unwrap_or(usize::MAX) as u64);
            let weights = weights.fold(0, u64::saturating_add);
            let products = weights.saturating_mul(tokens as u64);
            let output = own.clone().find(|spec| spec.part == Part::Output)?;
            let is_output = |entry: &&Entry| entry.common_name() == output.name;
            let name = self.entries.iter().find(is_output)?.name.as_str();
            let layer = name.strip_suffix(".weight").unwrap_or(name);
            let module = layer.rsplit_once('.').map_or("", |(module, _)| module);
            let attention = cost.multiply_adds.saturating_sub(products);
            Some((module.to_owned(), attention))
        });
        of_block.collect()
    }

    /// The same with the costs of a text of so many tokens. Nothing changes for what is no language model.
    #[must_use]
    pub fn at_context(mut self, tokens: usize) -> Self {
        if let Some(config) = self.config.take() {
            self.text = Some(Text {
                tokens: tokens.max(1),
                attention: Vec::new(),
            });
            self.describe(config);
        }
        self
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

    /// Bytes that its largest tensor takes in single precision, with those that it is stored in where those are others.
    pub(crate) fn largest_in_single(&self) -> u64 {
        let bytes = self.entries.iter().map(|entry| {
            let single = (entry.count() as u64).saturating_mul(4);
            let stored = entry.bytes.unwrap_or(single);
            single.saturating_add(if stored == single { 0 } else { stored })
        });
        bytes.max().unwrap_or(0)
    }

    /// Multiplications, with the addition that follows each, for one input: a sample, or the [`text`](Self::text) of
    /// a language model, with the products of attention. Norms, activations and pools do not count. `None` where the
    /// model is not known.
    ///
    /// ```
    /// use cortical_explain::Contents;
    /// let gpt2 = Contents::open("gpt2".as_ref())?.at_context(1024);
    /// let (weights, attention) = (50_257 * 768 + 12 * 12 * 768 * 768, 12 * 2 * 768 * (1024 * 1025 / 2));
    /// assert_eq!(gpt2.multiply_adds(), Some(1024 * weights + attention));
    /// # Ok::<(), cortical_explain::Error>(())
    /// ```
    #[must_use]
    pub fn multiply_adds(&self) -> Option<u64> {
        match (&self.plan, &self.config) {
            (Some(plan), _) => Some(plan.multiply_adds()),
            (None, Some(_)) => {
                let known = self.entries.iter().filter_map(|entry| entry.multiply_adds);
                let attention = self.text.iter().flat_map(|text| &text.attention);
                let all = known.chain(attention.map(|(_, products)| *products));
                Some(all.fold(0, u64::saturating_add))
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

/// Whether a tensor is that of a pooler, which reads one token of a text.
fn is_pooler(name: &str) -> bool {
    name.split('.').any(|part| part == "pooler")
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

//! Language models: weights by magnitude, chance or Wanda, heads and feed-forward neurons by what they pass on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use cortical_io::machine_memory;
use cortical_kernels::sparse::Precision;
use cortical_models::NeuronGroup;
use cortical_models::language::{
    BlockGroups, LanguageModel, LoadOptions, Loaded, Weights as Stored, open,
};
use cortical_neuron::{Params, Pass};
use cortical_settings::Value;
use cortical_text::{Tokenizer, perplexity};
use cortical_train::{
    Observer, Outcome as Trained, Override, Recipe, RunFolder, RunPaths, Stop, train,
};

use crate::calibration::{Inputs, Pruning, Ranked};
use crate::importance::{Importance, Share, choose, scores};
use crate::remove::remove;
use crate::report::{Report, Width};
use crate::{Error, Figures, Outcome, Result, pack, timing};

/// The model that a new run begins with, in its folder.
const START: &str = "start";
/// The weights of a model, in its folder.
const MODEL: &str = "model.safetensors";
/// The masks of a model, in its folder.
const MASKS: &str = "masks.safetensors";

/// How many copies of a model there must be room for, for two to be measured at once.
const ROOM: u64 = 4;
/// Tokens of a block of the texts that are read.
const BLOCK: usize = 512;

/// What is asked for of a language model.
#[derive(Clone, Debug)]
pub struct TextRequest {
    /// A folder as Hugging Face has it, a run, or a GGUF file.
    pub model: PathBuf,
    /// The folder of the new model.
    pub out: PathBuf,
    /// What is removed.
    pub removal: TextRemoval,
    /// The text that shows what the model reads.
    pub calibration: String,
    /// Tokens of it that are read at most.
    pub tokens: usize,
    /// The text that perplexity is measured on, before and after.
    pub test: String,
    /// The precision of the connections of pruned layers that are packed, if any are to be.
    pub pack: Option<Precision>,
    /// How many tokens at a time the time is measured for.
    pub batches: Vec<usize>,
    /// Draws what is random.
    pub seed: u64,
}

/// What is removed from a language model.
#[derive(Clone, Debug, PartialEq)]
pub enum TextRemoval {
    /// Weights of the blocks' linear layers, which become 0.
    Weights(Ranked),
    /// Heads of keys and values with their queries, and neurons of the feed-forward parts: the same share of each
    /// block.
    Widths {
        /// The share of heads.
        heads: f64,
        /// The share of neurons.
        inner: f64,
        /// Whether they are ranked by their weights times what they read of the calibration text; by their weights
        /// alone otherwise.
        calibrated: bool,
    },
}

/// Prunes a language model into a folder that `generate`, `perplexity` and transformers open.
///
/// # Errors
/// A model that cannot be opened or has no name for what it would be; an architecture that does not say what can be
/// removed; a folder that is there already; a text without tokens.
pub fn prune_text(request: &TextRequest) -> Result<Report> {
    let folder = NewFolder::make(&request.out)?;
    let widths = cut(request, &request.out)?;
    let report = report(request, widths)?;
    folder.keep();
    Ok(report)
}

/// Prunes the model of a run into a new run, which is trained as its recipe says: for no epochs unless something else
/// is set. A folder that holds the new run already, made by the same request and not finished, is gone on with.
///
/// # Errors
/// Those of [`prune_text`] and of [`train`].
pub fn prune_text_run(
    request: &TextRequest,
    (epochs, set): (u64, &[Override]),
    stop: &dyn Stop,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    let start = request.out.join(START);
    let model = std::path::absolute(&start).unwrap_or_else(|_| start.clone());
    let mut all = vec![
        Override::new("model", model.to_string_lossy().into_owned()),
        Override::new("start.from", ""),
        Override::new("start.replace", Value::Array(Vec::new())),
        Override::new("train.epochs", i64::try_from(epochs).unwrap_or(i64::MAX)),
        Override::new("train.max_steps", 0),
    ];
    all.extend(set.iter().cloned());
    let (mut recipe, _) = RunPaths::new(&request.model).read_finished()?;
    // How the old run was pruned has been done.
    recipe.prune = None;
    let recipe = Recipe::from_toml(&recipe.to_toml(), None, &all)?;
    let (run, found) = match RunPaths::new(&request.out).is_run() {
        true => RunFolder::open(&request.out)?,
        false => (RunFolder::create(&request.out, &recipe)?, recipe.clone()),
    };
    if found != recipe {
        return Err(Error::OtherRun {
            path: request.out.clone(),
        });
    }
    let made = run.made().cloned();
    let mut widths = Vec::new();
    if !start.join("config.json").is_file() {
        let written = NewFolder::make(&start).and_then(|folder| {
            widths = cut(request, &start)?;
            folder.keep();
            Ok(())
        });
        if let (Err(_), Some(made)) = (&written, made) {
            made.undo();
        }
        written?;
    }
    match train(run, &recipe, stop, observer)? {
        Trained::Stopped {
            step, total_steps, ..
        } => Ok(Outcome::Stopped { step, total_steps }),
        _ => Ok(Outcome::Finished(Box::new(report(request, widths)?))),
    }
}

/// Writes the pruned model into a folder; the groups that have become smaller.
fn cut(request: &TextRequest, folder: &Path) -> Result<Vec<Width>> {
    if request.model.join(MODEL).is_file() {
        pack::refuse_packed(&request.model.join(MODEL))?;
    }
    let Loaded { model, params, .. } = load(&request.model, Stored::Single)?;
    let tokenizer = Tokenizer::open(&request.model)?;
    let calibration = Calibration {
        ids: tokenizer.encode(&request.calibration)?,
        tokens: request.tokens,
    };
    let job = Job {
        request,
        model: &model,
        params: &params,
        calibration: &calibration,
    };
    let (config, tensors, widths) = match &request.removal {
        TextRemoval::Weights(ranked) => {
            job.weights(*ranked)?;
            (model.config().clone(), tensors(&params), Vec::new())
        }
        TextRemoval::Widths {
            heads,
            inner,
            calibrated,
        } => job.widths([*heads, *inner], *calibrated)?,
    };
    let json = config.to_json();
    let json = json.ok_or_else(|| {
        job.unsuited("transformers has no name for what this model computes, so there is no config.json for it")
    })?;
    let write = |name: &str, text: &str| {
        cortical_io::write_atomic(folder.join(name), |file| file.write_all(text.as_bytes()))
    };
    write("tokenizer.json", &tokenizer.to_json()?)?;
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let named: Vec<_> = tensors.into_iter().collect();
    cortical_io::save_tensors(folder.join(MODEL), &named, &metadata)?;
    let masks = params.masks();
    if !masks.is_empty() {
        cortical_io::save_tensors(folder.join(MASKS), &masks, &Default::default())?;
    }
    write("config.json", &json)?;
    Ok(widths)
}

/// Packs the new model if it is to be; what came of it, in words.
fn pack_model(request: &TextRequest) -> Result<Option<String>> {
    let path = request.out.join(MODEL);
    let Some(precision) = request.pack else {
        return Ok(None);
    };
    // A folder that is gone on with may have been packed.
    if pack::refuse_packed(&path).is_err() {
        return Ok(None);
    }
    let layers = pack::layers_of_text(&load(&request.out, Stored::Single)?.model);
    let rows = request.batches.first().copied().unwrap_or(1);
    let packed = pack::pack(&path, &layers, precision, rows)?;
    Ok(Some(packed.words(rows)))
}

/// Both models, measured.
fn report(request: &TextRequest, widths: Vec<Width>) -> Result<Report> {
    let packed = pack_model(request)?;
    let (mut before, old) = measured(request, &request.model, Stored::Single)?;
    // Two models at once, or one after the other.
    let room = machine_memory().unwrap_or(u64::MAX);
    let fits = before.parameters as u64 * 4 * ROOM < room;
    let old = if fits {
        Some(old)
    } else {
        before.milliseconds = times(request, &[&old.model])?.remove(0);
        None
    };
    let stored = match request.pack {
        None => Stored::Single,
        // Packed weights are computed with as they lie, and are no parameters.
        Some(_) => Stored::Stored,
    };
    let (mut after, new) = measured(request, &request.out, stored)?;
    if request.pack.is_some() {
        after.parameters = before.parameters;
    }
    match &old {
        Some(old) => {
            let mut both = times(request, &[&old.model, &new.model])?;
            (after.milliseconds, before.milliseconds) = (both.remove(1), both.remove(0));
        }
        None => after.milliseconds = times(request, &[&new.model])?.remove(0),
    }
    let mut report = Report::new(words(&request.removal), before, after);
    report.widths = widths;
    report.remarks.extend(packed);
    if old.is_none() {
        report.remarks.push("The models do not fit into memory together: their times were taken one after the other.".to_owned());
    }
    report.curve = crate::network::curve(&RunPaths::new(&request.out));
    crate::report::write(&request.out, &report)?;
    Ok(report)
}

/// A model, and what it achieves.
fn measured(request: &TextRequest, path: &Path, weights: Stored) -> Result<(Figures, Loaded)> {
    let loaded = load(path, weights)?;
    let test = Tokenizer::open(path)?.encode(&request.test)?;
    let mut figures = Figures {
        parameters: loaded.params.count(),
        pruned: crate::network::pruned(path.join(MASKS))?,
        file_bytes: bytes(path),
        ..Figures::default()
    };
    let model = &loaded.model;
    let window = BLOCK.min(model.config().max_positions());
    if test.len() > window / 2 && model.has_head() {
        let found = perplexity(model, &test, window, window / 2)?;
        (figures.perplexity, figures.loss) = (Some(found.value()), Some(found.loss));
    }
    Ok((figures, loaded))
}

/// Milliseconds of each model, for so many tokens of the test text at a time.
fn times(request: &TextRequest, models: &[&LanguageModel]) -> Result<Vec<Vec<(usize, f64)>>> {
    let test = Tokenizer::open(&request.out)?.encode(&request.test)?;
    let most = models.iter().map(|model| model.config().max_positions());
    let most = most.min().unwrap_or(0);
    let mut all = vec![Vec::new(); models.len()];
    for tokens in request.batches.iter().filter(|tokens| **tokens <= most) {
        let ids: Vec<u32> = test.iter().copied().cycle().take(*tokens).collect();
        if ids.len() == *tokens {
            let found = timing::of_tokens(models, &ids)?;
            for (times, ms) in all.iter_mut().zip(found) {
                times.push((*tokens, ms));
            }
        }
    }
    Ok(all)
}

fn load(path: &Path, weights: Stored) -> Result<Loaded> {
    let options = LoadOptions {
        weights,
        ..LoadOptions::default()
    };
    Ok(open(path, &options)?)
}

fn tensors(params: &Params) -> BTreeMap<String, Tensor> {
    params.named_tensors().into_iter().collect()
}

/// Bytes of a model's tensors: of a file, or of the safetensors files in a folder.
fn bytes(path: &Path) -> u64 {
    let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    if path.is_file() {
        return size(path);
    }
    let entries = fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let is_model = |path: &PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        name.starts_with("model") && name.ends_with(".safetensors")
    };
    entries.filter(is_model).map(|path| size(&path)).sum()
}

fn words(removal: &TextRemoval) -> String {
    let percent = |share: f64| format!("{} %", (share * 1e4).round() / 100.0);
    match removal {
        TextRemoval::Weights(ranked) => format!(
            "{} of the weights of the blocks, {}",
            ranked.amount, ranked.by
        ),
        TextRemoval::Widths {
            heads,
            inner,
            calibrated,
        } => {
            let by = match calibrated {
                true => "by weights and what they read",
                false => "by magnitude",
            };
            let (heads, inner) = (percent(*heads), percent(*inner));
            format!(
                "{heads} of the heads and {inner} of the feed-forward neurons of each block, {by}"
            )
        }
    }
}

/// A text in blocks.
struct Calibration {
    ids: Vec<u32>,
    tokens: usize,
}

impl Calibration {
    /// Whole blocks `[n, block]`, or a short text as one block.
    fn blocks(&self, most: usize) -> Result<Option<Tensor>> {
        let block = BLOCK.min(most).min(self.ids.len());
        if block == 0 {
            return Ok(None);
        }
        let count = (self.tokens.max(block) / block).min(self.ids.len() / block);
        let ids = Tensor::from_slice(&self.ids[..count * block], (count, block), &Device::Cpu)?;
        Ok(Some(ids))
    }
}

/// A request with the model that it is about.
struct Job<'a> {
    request: &'a TextRequest,
    model: &'a LanguageModel,
    params: &'a Params,
    calibration: &'a Calibration,
}

impl Job<'_> {
    fn unsuited(&self, why: &str) -> Error {
        Error::Unsuited {
            what: "cannot prune",
            path: self.request.model.clone(),
            why: why.to_owned(),
        }
    }

    fn blocks(&self) -> Result<Tensor> {
        let most = self.model.config().max_positions();
        let blocks = self.calibration.blocks(most)?;
        blocks.ok_or_else(|| self.unsuited("the calibration text has no tokens"))
    }

    /// Every linear layer of the blocks loses weights.
    fn weights(&self, ranked: Ranked) -> Result<()> {
        let head = |name: &str| name == "lm_head";
        let layers = self.model.projections().into_iter();
        let layers: Vec<_> = layers.filter(|layer| !head(layer.name())).collect();
        let pruning = Pruning::new(&layers, ranked, self.request.seed);
        match ranked.needs_inputs() {
            true => pruning.calibrated(self.model, &self.blocks()?),
            false => pruning.all(),
        }
    }

    /// Heads and neurons go from every block, as many from each.
    fn widths(
        &self,
        shares: [f64; 2],
        calibrated: bool,
    ) -> Result<(
        cortical_models::language::LanguageConfig,
        BTreeMap<String, Tensor>,
        Vec<Width>,
    )> {
        let config = self.model.config();
        let groups = config.groups();
        let BlockGroups { heads, inner } = groups.ok_or_else(|| {
            self.unsuited("its architecture does not say which of its tensors belong together; prune weights instead (--sparsity)")
        })?;
        if heads.is_empty() && shares[0] > 0.0 {
            return Err(self.unsuited("a head of this architecture is as wide as the model divided by their number, so none can be removed; remove feed-forward neurons instead (--intermediate)"));
        }
        let tensors = tensors(self.params);
        let inputs = Inputs::default();
        if calibrated {
            let mut pass = Pass::eval().read_by(&inputs);
            self.model.hidden(&self.blocks()?, None, &mut pass)?;
        }
        let keep = |groups: &[NeuronGroup], share: f64| -> Result<Vec<Vec<usize>>> {
            let scores = match calibrated {
                true => inputs.scores(groups, &tensors)?,
                false => scores(groups, &tensors, Importance::Magnitude)?,
            };
            Ok(choose(groups, &scores, Share::Each(share)))
        };
        let kept = [keep(&heads, shares[0])?, keep(&inner, shares[1])?];
        let tensors = remove(&tensors, &heads, &kept[0])?;
        let tensors = remove(&tensors, &inner, &kept[1])?;
        let left = |groups: &[NeuronGroup], kept: &[Vec<usize>]| {
            Some((groups.first()?.count, kept.first()?.len()))
        };
        let mut widths = Vec::new();
        let named = [
            "heads of keys and values of each block",
            "feed-forward neurons of each block",
        ];
        let all = [left(&heads, &kept[0]), left(&inner, &kept[1])];
        for (name, left) in named.into_iter().zip(all) {
            widths.extend(left.map(|(before, after)| Width {
                layers: vec![name.to_owned()],
                before,
                after,
            }));
        }
        let count = |left: Option<(usize, usize)>| left.map_or(0, |(_, after)| after);
        let config = config.clone().narrowed(count(all[0]), count(all[1]));
        Ok((config, tensors, widths))
    }
}

/// A folder that goes away again unless it is kept: half a model helps nobody.
struct NewFolder(Option<PathBuf>);

impl NewFolder {
    fn make(path: &Path) -> Result<Self> {
        let failed = |why| cortical_train::Error::File {
            path: path.to_owned(),
            why,
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::create_dir(path).map_err(failed)?;
        Ok(Self(Some(path.to_owned())))
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // What cannot be removed stays.
            let _ = fs::remove_dir_all(path);
        }
    }
}

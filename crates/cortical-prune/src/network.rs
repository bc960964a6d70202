//! Networks of pictures and tables: what is removed, what is trained on, what is measured.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use cortical_io::{Metadata, TensorFile};
use cortical_models::{Network, NeuronGroup, Plan};
use cortical_settings::{Choice, Table, Value};
use cortical_train::{
    Observer, Outcome as Trained, Override, Recipe, Report as Run, RunFolder, RunPaths, Stop,
    TrainedModel, plan_of, train,
};

use crate::importance::{Share, keep, scores};
use crate::remove::{remove, shapes};
use crate::report::{Report, Width};
use crate::request::{Removal, Request};
use crate::rewind::Tickets;
use crate::target::{Found, Search, Target};
use crate::{Error, Figures, Result, pack, timing};

/// The weights that the new run begins with, in its folder.
const START: &str = "start.safetensors";
/// Which of them were pruned already.
const START_MASKS: &str = "start-masks.safetensors";

/// The key of the layers in a model file's metadata.
const LAYERS: &str = "cortical.layers";

/// How a pruning ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The new run is finished.
    Finished(Box<Report>),
    /// The training of what is left was asked to stop; everything is saved, and the same request goes on.
    Stopped {
        /// Steps taken so far.
        step: u64,
        /// Steps of the whole run.
        total_steps: u64,
    },
}

/// Prunes a finished run into a new one, which is trained as its recipe says.
///
/// A folder that holds the new run already, made by the same request and not finished, is gone on with.
///
/// # Errors
/// A run that is not finished or cannot be read; what [`keep`] refuses; a recipe that the run's folder has another one
/// than; everything that [`train`] refuses.
pub fn prune(request: &Request, stop: &dyn Stop, observer: &mut dyn Observer) -> Result<Outcome> {
    let paths = RunPaths::new(&request.run);
    let (recipe, run) = paths.read_finished()?;
    recipe.samples()?;
    pack::refuse_packed(&paths.model())?;
    let before = paths.load_model(&Device::Cpu)?;
    let file = TensorFile::open(paths.model())?;
    let plan = plan_of(&file).ok_or_else(|| Error::Unsuited {
        what: "cannot prune",
        path: paths.model(),
        why: "it does not describe its network".to_owned(),
    })?;
    let job = Job {
        request,
        recipe: &recipe,
        plan: &plan,
        model: &before,
        metadata: file.metadata().clone(),
    };
    let smaller = job.smaller()?;
    let trained = match &request.removal {
        Removal::Rewind(rewind) => Tickets::new(request, &recipe, rewind).run(stop, observer)?,
        _ => {
            let recipe = job.recipe(smaller.as_ref())?;
            let folder = job.folder(&recipe, smaller.as_ref())?;
            let trained = train(folder, &recipe, stop, observer);
            trained.inspect_err(|_| job.undo(smaller.as_ref()))?
        }
    };
    let report = match trained {
        Trained::Finished(report) | Trained::AlreadyFinished(report) => report,
        Trained::Stopped {
            step, total_steps, ..
        } => return Ok(Outcome::Stopped { step, total_steps }),
        _ => return Err(job.unsuited("cannot prune", "its training ended in an unknown way")),
    };
    let packed = job.pack()?;
    let mut found = job.report(&run, &report, smaller.as_ref())?;
    found.remarks.extend(packed);
    crate::report::write(&request.out, &found)?;
    Ok(Outcome::Finished(Box::new(found)))
}

/// A network from which neurons were removed.
struct Smaller {
    plan: Plan,
    tensors: BTreeMap<String, Tensor>,
    widths: Vec<Width>,
    /// Of weights that the old run had pruned.
    masks: Vec<(String, Tensor)>,
    found: Option<Found>,
}

/// A request with what it is about.
struct Job<'a> {
    request: &'a Request,
    recipe: &'a Recipe,
    plan: &'a Plan,
    model: &'a TrainedModel,
    metadata: Metadata,
}

impl Job<'_> {
    /// The network without the neurons that go, if that is what is asked for.
    fn smaller(&self) -> Result<Option<Smaller>> {
        let groups = self.plan.groups()?;
        let tensors: BTreeMap<String, Tensor> =
            self.model.params().named_tensors().into_iter().collect();
        let (kept, found) = match self.request.removal {
            Removal::Neurons { importance, share } => {
                (keep(&groups, &tensors, importance, share)?, None)
            }
            Removal::Target {
                importance,
                target,
                batch,
            } => {
                // A folder that is gone on with knows what was found: another search would find something else.
                if let Some(smaller) = self.found_before()? {
                    return Ok(Some(smaller));
                }
                let search = Search {
                    plan: self.plan,
                    groups: &groups,
                    tensors: &tensors,
                    scores: &scores(&groups, &tensors, importance)?,
                    batch,
                };
                let found = search.run(target)?;
                (found.kept.clone(), Some(found))
            }
            Removal::Weights(_) | Removal::Rewind(_) => return Ok(None),
        };
        let masks = self.masks(&tensors, &groups, &kept)?;
        let tensors = remove(&tensors, &groups, &kept)?;
        let widths = groups.iter().zip(&kept).filter(|(group, _)| !group.fixed);
        let widths = widths.map(|(group, kept)| Width {
            layers: group.makers().into_iter().map(str::to_owned).collect(),
            before: group.count,
            after: kept.len(),
        });
        Ok(Some(Smaller {
            plan: self.plan.narrowed(&shapes(&tensors))?,
            tensors,
            widths: widths.collect(),
            masks,
            found,
        }))
    }

    /// The masks of the old run without the neurons that go.
    fn masks(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        groups: &[NeuronGroup],
        kept: &[Vec<usize>],
    ) -> Result<Vec<(String, Tensor)>> {
        let path = RunPaths::new(&self.request.run).masks();
        if !path.is_file() {
            return Ok(Vec::new());
        }
        let masks = TensorFile::open(path)?.load_all(&Device::Cpu)?;
        let mut all = tensors.clone();
        all.extend(masks.iter().cloned());
        let cut = remove(&all, groups, kept)?;
        let masks = masks.into_iter();
        Ok(masks
            .filter_map(|(name, _)| Some((name.clone(), cut.get(&name)?.clone())))
            .collect())
    }

    /// The network that an interrupted pruning has begun with in the folder of the new run.
    fn found_before(&self) -> Result<Option<Smaller>> {
        let path = self.request.out.join(START);
        if !RunPaths::new(&self.request.out).is_run() || !path.is_file() {
            return Ok(None);
        }
        let file = TensorFile::open(&path)?;
        let Some(plan) = plan_of(&file) else {
            return Ok(None);
        };
        let tensors = file.load_all(&Device::Cpu)?.into_iter().collect();
        let (groups, narrow) = (self.plan.groups()?, plan.groups()?);
        let pairs = groups.iter().zip(&narrow).filter(|(group, _)| !group.fixed);
        let widths = pairs.map(|(before, after)| Width {
            layers: before.makers().into_iter().map(str::to_owned).collect(),
            before: before.count,
            after: after.count,
        });
        let masks = self.request.out.join(START_MASKS);
        let masks = match masks.is_file() {
            true => TensorFile::open(masks)?.load_all(&Device::Cpu)?,
            false => Vec::new(),
        };
        Ok(Some(Smaller {
            widths: widths.collect(),
            plan,
            tensors,
            masks,
            found: None,
        }))
    }

    /// The recipe of the new run: that of the old one, which begins from its weights and says what is pruned.
    fn recipe(&self, smaller: Option<&Smaller>) -> Result<Recipe> {
        let epochs = self.request.epochs.unwrap_or(1);
        let epochs = i64::try_from(epochs).unwrap_or(i64::MAX);
        let start = match smaller {
            Some(_) => self.request.out.join(START),
            None => self.request.run.clone(),
        };
        let start = std::path::absolute(&start).unwrap_or(start);
        let mut set = vec![
            Override::new("train.epochs", epochs),
            Override::new("train.max_steps", 0),
            Override::new("start.from", start.to_string_lossy().into_owned()),
            Override::new("start.replace", Value::Array(Vec::new())),
        ];
        if let Some(smaller) = smaller {
            let lines = smaller.plan.to_spec().to_fields().into_iter();
            let model: Table = lines
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            set.push(Override::new("model", Value::Table(model)));
        }
        if let Removal::Weights(weights) = &self.request.removal {
            set.push(weights.to_override());
        }
        if smaller.is_some_and(|smaller| !smaller.masks.is_empty()) {
            let masks = self.request.out.join(START_MASKS);
            let masks = std::path::absolute(&masks).unwrap_or(masks);
            let table = Table::from_iter([
                ("method".to_owned(), Value::from("given")),
                (
                    "masks".to_owned(),
                    Value::from(masks.to_string_lossy().into_owned()),
                ),
            ]);
            set.push(Override::new("prune", Value::Table(table)));
        }
        set.extend(self.request.set.iter().cloned());
        // How the old run was pruned has been done.
        let mut old = self.recipe.clone();
        old.prune = None;
        Ok(Recipe::from_toml(&old.to_toml(), None, &set)?)
    }

    /// The folder of the new run, with the weights that it begins with.
    fn folder(&self, recipe: &Recipe, smaller: Option<&Smaller>) -> Result<RunFolder> {
        let out = &self.request.out;
        if RunPaths::new(out).is_run() {
            let (folder, found) = RunFolder::open(out)?;
            let other = Error::OtherRun { path: out.clone() };
            return if found == *recipe {
                Ok(folder)
            } else {
                Err(other)
            };
        }
        let folder = RunFolder::create(out, recipe)?;
        if let Some(smaller) = smaller {
            let mut metadata = self.metadata.clone();
            metadata.insert(LAYERS.to_owned(), smaller.plan.to_json());
            let named: Vec<_> = smaller.tensors.clone().into_iter().collect();
            cortical_io::save_tensors(out.join(START), &named, &metadata)?;
            if !smaller.masks.is_empty() {
                let path = out.join(START_MASKS);
                cortical_io::save_tensors(path, &smaller.masks, &Metadata::new())?;
            }
        }
        Ok(folder)
    }

    /// Takes back what was written beside a run that could not begin.
    fn undo(&self, smaller: Option<&Smaller>) {
        if smaller.is_some() && !RunPaths::new(&self.request.out).is_run() {
            // What cannot be removed stays.
            let _ = std::fs::remove_file(self.request.out.join(START));
            let _ = std::fs::remove_file(self.request.out.join(START_MASKS));
            let _ = std::fs::remove_dir(&self.request.out);
        }
    }

    /// Packs the new model if it is to be; what came of it, in words.
    fn pack(&self) -> Result<Option<String>> {
        let path = RunPaths::new(&self.request.out).model();
        let Some(precision) = self.request.pack else {
            return Ok(None);
        };
        // A folder that is gone on with may have been packed.
        if pack::refuse_packed(&path).is_err() {
            return Ok(None);
        }
        let layers = pack::layers_of_network(self.plan)?;
        let rows = self.request.batches.first().copied().unwrap_or(1);
        let packed = pack::pack(&path, &layers, precision, rows)?;
        Ok(Some(packed.words(rows)))
    }

    /// Both models, measured.
    fn report(&self, old: &Run, new: &Run, smaller: Option<&Smaller>) -> Result<Report> {
        let paths = RunPaths::new(&self.request.out);
        let after = paths.load_model(&Device::Cpu)?;
        let plan = smaller.map_or(self.plan, |smaller| &smaller.plan);
        let old_pruned = pruned(RunPaths::new(&self.request.run).masks())?;
        let mut figures = [
            figures(old, old_pruned, self.plan, self.model.path()),
            figures(new, new.pruned, plan, after.path()),
        ];
        for batch in &self.request.batches {
            let networks: [(&Network, &[usize]); 2] = [
                (self.model.network(), self.plan.input_shape()),
                (after.network(), plan.input_shape()),
            ];
            let times = timing::milliseconds(&networks, *batch, timing::PATIENCE)?;
            for (figures, time) in figures.iter_mut().zip(times) {
                figures.milliseconds.push((*batch, time));
            }
        }
        let [before, after] = figures;
        let mut report = Report::new(self.words(), before, after);
        report.widths = smaller.map_or(Vec::new(), |smaller| smaller.widths.clone());
        report.curve = curve(&paths);
        if let Some(found) = smaller.and_then(|smaller| smaller.found.as_ref()) {
            report.table.clone_from(&found.table);
            let (taken, back) = found.steps;
            report.remarks.push(format!(
                "{taken} steps were taken by the table of widths and times, and {back} taken back as they measured no faster."
            ));
        }
        Ok(report)
    }

    /// What is removed, in words.
    fn words(&self) -> String {
        let percent = |share: f64| format!("{} %", (share * 1e4).round() / 100.0);
        match &self.request.removal {
            Removal::Target { target, batch, .. } => {
                let fast = match target {
                    Target::Milliseconds(ms) => format!("{ms} ms"),
                    Target::Speedup(times) => format!("{times} times as fast"),
                };
                format!("neurons removed until the network takes {fast} for {batch} at a time")
            }
            Removal::Rewind(rewind) => {
                let share = percent(rewind.weights.sparsity.unwrap_or(0.0));
                format!(
                    "{share} of the weights, trained again from step {}",
                    rewind.step
                )
            }
            Removal::Weights(weights) => {
                let what = match (&weights.pattern, weights.sparsity) {
                    (Some(pattern), _) => format!("all but {pattern} of the weights"),
                    (None, share) => format!("{} of the weights", percent(share.unwrap_or(0.0))),
                };
                format!("{what}, by {}", weights.method.name())
            }
            Removal::Neurons { importance, share } => {
                let by = match importance {
                    crate::Importance::Random(_) => "at random",
                    crate::Importance::Magnitude => "by magnitude",
                };
                match share {
                    Share::Each(share) => {
                        format!("{} of the neurons of each layer, {by}", percent(*share))
                    }
                    Share::All(share) => format!("{} of all neurons, {by}", percent(*share)),
                }
            }
        }
    }

    fn unsuited(&self, what: &'static str, why: &str) -> Error {
        Error::Unsuited {
            what,
            path: self.request.run.clone(),
            why: why.to_owned(),
        }
    }
}

fn figures(run: &Run, pruned: usize, plan: &Plan, file: &Path) -> Figures {
    Figures {
        accuracy: run.test.as_ref().map(|test| test.accuracy),
        loss: run.test_loss,
        parameters: plan.parameters(),
        pruned,
        multiply_adds: Some(plan.multiply_adds()),
        file_bytes: std::fs::metadata(file).map_or(0, |file| file.len()),
        ..Figures::default()
    }
}

/// How many weights a file of masks prunes; none without one.
pub(crate) fn pruned(masks: PathBuf) -> Result<usize> {
    if !masks.is_file() {
        return Ok(0);
    }
    let mut pruned = 0;
    for (_, mask) in TensorFile::open(&masks)?.load_all(&Device::Cpu)? {
        let mask = mask.flatten_all()?.to_vec1::<u8>()?;
        pruned += mask.into_iter().filter(|stays| *stays == 0).count();
    }
    Ok(pruned)
}

/// What the validations of a run found, by step.
pub(crate) fn curve(paths: &RunPaths) -> Vec<(f64, f64)> {
    let text = match std::fs::read_to_string(paths.metrics()) {
        Ok(text) => text,
        Err(_) => return Vec::new(),
    };
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let point = |line: serde_json::Value| {
        let figure = line["valid_accuracy"]
            .as_f64()
            .or(line["valid_perplexity"].as_f64());
        Some((line["step"].as_f64()?, figure?))
    };
    lines.filter_map(point).collect()
}

//! Which weights are disconnected while a network trains, and when: the table `[prune]` of a recipe at work.

use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use cortical_io::TensorFile;
use cortical_neuron::{Param, Params, Pattern, kept, largest, largest_of_rows};
use cortical_optim::fits;
use cortical_tensor::{Rng, Seed};

use crate::folder::RunPaths;
use crate::recipe::{PruneMethod, PruneRecipe, PruneScope, Recipe};
use crate::start::refuse_idle;
use crate::{Error, Result};

/// How a checkpoint names a mask, and what movement has come to.
const MASK: &str = "mask.";
const MOVEMENT: &str = "movement.";

/// Prunes weights between steps.
pub(crate) struct Pruner {
    recipe: PruneRecipe,
    seed: u64,
    /// The weights that may be pruned.
    params: Vec<Param>,
    /// Of each of them the sum of −weight · gradient, for [`PruneMethod::Movement`].
    movement: Vec<Vec<f32>>,
    /// Steps over which the sparsity rises.
    ramp_steps: u64,
}

impl Pruner {
    /// What the recipe says for a run of so many steps.
    ///
    /// # Errors
    /// A pattern of names that fits nothing; steps beyond the run's; [`Error::NothingToPrune`].
    pub(crate) fn new(
        recipe: &PruneRecipe,
        params: &Params,
        seed: u64,
        total_steps: u64,
    ) -> Result<Self> {
        let all = params.all();
        let names = all.iter().map(Param::name);
        refuse_idle("prune.exclude", &recipe.exclude, names)?;
        let excluded = |name: &str| recipe.exclude.iter().any(|pattern| fits(pattern, name));
        let is_weight = |param: &Param| param.dims().len() > 1 && !param.name().contains("lora_");
        let chosen = |param: &Param| is_weight(param) && !excluded(param.name());
        let params: Vec<Param> = all.into_iter().filter(chosen).collect();
        if params.is_empty() {
            return Err(Error::NothingToPrune);
        }
        if recipe.from_step > 0 && recipe.from_step >= total_steps {
            return Err(Error::LatePruning {
                from_step: recipe.from_step,
                total_steps,
            });
        }
        let left = total_steps.saturating_sub(recipe.from_step);
        // The last step trains what all prunings have left.
        let ramp_steps = ((left as f64 * recipe.ramp).round() as u64).min(left.saturating_sub(1));
        let movement = match recipe.method {
            PruneMethod::Movement => params.iter().map(|p| vec![0.0; p.count()]).collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            recipe: recipe.clone(),
            seed,
            params,
            movement,
            ramp_steps,
        })
    }

    /// Whether the file of masks can be read, if there is to be one: before the first step, not in the midst of them.
    ///
    /// # Errors
    /// The file's.
    pub(crate) fn check_masks(&self) -> Result<()> {
        if self.recipe.method == PruneMethod::Given {
            TensorFile::open(masks_of(&self.recipe.masks))?;
        }
        Ok(())
    }

    /// Prunes, if something is to be pruned before this step (the first is 0).
    pub(crate) fn before_step(&mut self, step: u64) -> Result<()> {
        let Some(after) = step.checked_sub(self.recipe.from_step) else {
            return Ok(());
        };
        let is_due = after == self.ramp_steps
            || (after < self.ramp_steps && after.is_multiple_of(self.recipe.every));
        if !is_due {
            return Ok(());
        }
        if self.recipe.method == PruneMethod::Given {
            return self.take_given();
        }
        let progress = match self.ramp_steps {
            0 => 1.0,
            ramp => after as f64 / ramp as f64,
        };
        self.prune(self.recipe.sparsity * (1.0 - (1.0 - progress).powi(3)))
    }

    /// Adds what the gradients of this step say about movement.
    pub(crate) fn see_gradients(&mut self) -> Result<()> {
        for (param, sums) in self.params.iter().zip(&mut self.movement) {
            if let Some(grad) = param.grad() {
                let (weights, grads) = (numbers(param.tensor())?, numbers(&grad)?);
                for (sum, (w, g)) in sums.iter_mut().zip(weights.iter().zip(grads)) {
                    *sum -= w * g;
                }
            }
        }
        Ok(())
    }

    fn prune(&self, sparsity: f64) -> Result<()> {
        let scores: Result<Vec<Vec<f32>>> =
            (0..self.params.len()).map(|i| self.scores(i)).collect();
        let scores = scores?;
        let each = scores.iter().zip(&self.params);
        let masks: Vec<Vec<u8>> = match (Pattern::parse(&self.recipe.pattern), self.recipe.scope) {
            (Some(pattern), _) => each
                .map(|(scores, param)| pattern.mask(scores, row(param)))
                .collect(),
            (None, PruneScope::Global) => {
                let count = scores.iter().map(Vec::len).sum();
                largest(scores.iter().map(Vec::as_slice), kept(count, sparsity))
            }
            (None, PruneScope::Layer) => each
                .map(|(scores, _)| largest_of_rows(scores, scores.len(), sparsity))
                .collect(),
            (None, PruneScope::Row) => each
                .map(|(scores, param)| largest_of_rows(scores, row(param), sparsity))
                .collect(),
        };
        for (param, mask) in self.params.iter().zip(masks) {
            let mask = Tensor::from_vec(mask, param.dims(), param.tensor().device())?;
            param.prune(&mask)?;
        }
        Ok(())
    }

    /// How important each weight of a parameter is; what was pruned stays so.
    fn scores(&self, i: usize) -> Result<Vec<f32>> {
        let param = &self.params[i];
        let mut scores = match self.recipe.method {
            PruneMethod::Movement => self.movement[i].clone(),
            PruneMethod::Random => {
                let stream = format!("prune {}", param.name());
                let mut rng = Rng::new(Seed(self.seed), &stream);
                (0..param.count()).map(|_| rng.uniform() as f32).collect()
            }
            _ => numbers(param.tensor())?.into_iter().map(f32::abs).collect(),
        };
        if let Some(mask) = param.mask() {
            let mask = mask.flatten_all()?.to_vec1::<u8>()?;
            for (score, _) in scores.iter_mut().zip(mask).filter(|(_, stays)| *stays == 0) {
                *score = f32::NEG_INFINITY;
            }
        }
        Ok(scores)
    }

    /// Prunes as a file says.
    fn take_given(&self) -> Result<()> {
        let path = masks_of(&self.recipe.masks);
        let file = TensorFile::open(&path)?;
        let wrong = |name: &str, why: String| Error::Mask {
            path: path.clone(),
            name: name.to_owned(),
            why,
        };
        let mut masks = Vec::new();
        for info in file.tensors() {
            let name = info.name();
            let param = self.params.iter().find(|param| param.name() == name);
            let param = param.ok_or_else(|| {
                wrong(
                    name,
                    "no weight of the network that may be pruned".to_owned(),
                )
            })?;
            if info.shape() != param.dims() {
                let why = format!("it is {:?}, the weight {:?}", info.shape(), param.dims());
                return Err(wrong(name, why));
            }
            masks.push((param, file.load(name, param.tensor().device())?));
        }
        if masks.is_empty() {
            return Err(wrong("", "the file is empty".to_owned()));
        }
        for (param, mask) in masks {
            param.prune(&mask)?;
        }
        Ok(())
    }

    /// What movement has come to.
    fn movement(&self) -> Result<Vec<(String, Tensor)>> {
        let each = self.params.iter().zip(&self.movement);
        each.map(|(param, sums)| {
            let name = format!("{MOVEMENT}{}", param.name());
            Ok((name, Tensor::new(&sums[..], param.tensor().device())?))
        })
        .collect()
    }

    /// Goes on from there.
    fn restore(&mut self, kept: &[(String, Tensor)]) -> Result<()> {
        for (param, sums) in self.params.iter().zip(&mut self.movement) {
            let name = format!("{MOVEMENT}{}", param.name());
            let found = kept.iter().find(|(kept, _)| *kept == name);
            let found = found.map(|(_, sums)| sums.to_vec1::<f32>()).transpose()?;
            *sums = found
                .filter(|found| found.len() == sums.len())
                .ok_or_else(|| Error::Mask {
                    path: PathBuf::from("the checkpoint"),
                    name,
                    why: "the sums of its movement are missing".to_owned(),
                })?;
        }
        Ok(())
    }
}

/// Prunes weights as a recipe's table says, at once and in the end's measure: for weights that are not trained on from
/// here.
///
/// # Errors
/// As at the beginning of a training.
pub fn prune_now(recipe: &PruneRecipe, params: &Params, seed: u64) -> Result<()> {
    let at_once = PruneRecipe {
        from_step: 0,
        ramp: 0.0,
        ..recipe.clone()
    };
    Pruner::new(&at_once, params, seed, 0)?.before_step(0)
}

/// What a checkpoint keeps of pruning: masks, whoever made them, and what the pruner remembers.
pub(crate) fn state(params: &Params, pruner: Option<&Pruner>) -> Result<Vec<(String, Tensor)>> {
    let masks = params.masks().into_iter();
    let mut all: Vec<_> = masks
        .map(|(name, mask)| (format!("{MASK}{name}"), mask))
        .collect();
    all.extend(
        pruner
            .map(Pruner::movement)
            .transpose()?
            .unwrap_or_default(),
    );
    Ok(all)
}

/// Goes to where a checkpoint was written: exactly its masks are there afterwards.
pub(crate) fn restore(
    kept: &[(String, Tensor)],
    params: &Params,
    pruner: Option<&mut Pruner>,
) -> Result<()> {
    params.all().iter().for_each(Param::unprune);
    for (name, mask) in kept {
        if let Some(name) = name.strip_prefix(MASK) {
            params.prune(name, mask)?;
        }
    }
    pruner.map_or(Ok(()), |pruner| pruner.restore(kept))
}

/// What the run or the model that training begins from has pruned stays pruned, but for what begins afresh.
pub(crate) fn inherit(recipe: &Recipe, params: &Params) -> Result<()> {
    let model = recipe.text().map_or("", |text| &text.model);
    for from in [model, &recipe.start.from] {
        let masks = RunPaths::new(from).masks();
        if from.is_empty() || !Path::new(from).is_dir() || !masks.is_file() {
            continue;
        }
        let file = TensorFile::open(masks)?;
        let replaced = |name: &str| {
            recipe
                .start
                .replace
                .iter()
                .any(|pattern| fits(pattern, name))
        };
        for info in file.tensors().iter().filter(|info| !replaced(info.name())) {
            params.prune(info.name(), &file.load(info.name(), params.device())?)?;
        }
    }
    Ok(())
}

/// Writes the masks of a finished run beside its model.
pub(crate) fn save(paths: &RunPaths, params: &Params) -> Result<()> {
    let masks = params.masks();
    if masks.is_empty() {
        return Ok(());
    }
    Ok(cortical_io::save_tensors(
        paths.masks(),
        &masks,
        &Default::default(),
    )?)
}

/// How many weights are pruned.
pub(crate) fn count(params: &Params) -> Result<usize> {
    let mut pruned = 0;
    for param in params.all() {
        pruned += param.count() - param.unpruned()?;
    }
    Ok(pruned)
}

/// The file of masks of a run, or the file itself.
fn masks_of(masks: &str) -> PathBuf {
    let path = Path::new(masks);
    match path.is_dir() {
        true => RunPaths::new(path).masks(),
        false => path.to_owned(),
    }
}

/// How many weights read into one output, as they lie behind each other.
fn row(param: &Param) -> usize {
    param.dims().iter().skip(1).product()
}

fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor
        .to_dtype(DType::F32)?
        .flatten_all()?
        .to_vec1::<f32>()?)
}

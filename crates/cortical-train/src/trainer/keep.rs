//! What is kept of a training: checkpoints to continue from, models of the best validations.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cortical_data::Position;
use cortical_io::{Checkpoint, TrainingState};
use cortical_kernels::isa;
use cortical_neuron::Params;
use cortical_optim::PlateauState;
use cortical_tensor::Rng;

use super::{Sums, Trainer};
use crate::best::Best;
use crate::guard;
use crate::observe::{Event, Observer, Warning};
use crate::recipe::OnNan;
use crate::task::{STREAM, Task, position_of};
use crate::{Error, Result, pruner, sources};

/// The version of what a checkpoint says about a training, among its figures; the first version had none.
const FORMAT: (&str, f64) = ("format", 2.0);

/// How keys about batches that are left out and about kept models begin.
const LEFT_OUT: &str = "left_out ";
const KEPT: &str = "kept ";

impl<'r, T: Task<'r>> Trainer<'_, 'r, T> {
    /// Writes a checkpoint of this moment, unless the weights are non-finite: those are never committed. Nor are, where
    /// a training may go back, those with which the newest batch leads to something non-finite.
    pub(super) fn commit(&mut self, observer: &mut dyn Observer) -> Result<PathBuf> {
        if let Some(place) = self.broken()? {
            if self.recipe.guard.on_nan == OnNan::Stop {
                return Err(self.diverged(place));
            }
            self.roll_back(place, observer)?;
            return Ok(self.folder.paths().checkpoints().folder(self.step));
        }
        // The lines about the steps so far must be there when the checkpoint says that they are.
        self.metrics.sync()?;
        let checkpoints = self.folder.paths().checkpoints();
        let path = checkpoints.save(&self.checkpoint()?)?;
        checkpoints.prune(self.recipe.checkpoint.keep)?;
        self.taken.clear();
        self.roll_backs = 0;
        observer.event(Event::Checkpoint {
            step: self.step,
            path: &path,
        });
        Ok(path)
    }

    /// What is non-finite among the weights or, where a training may go back, on the newest batch's way through the
    /// network.
    pub(super) fn broken(&self) -> Result<Option<String>> {
        match (guard::broken_weight(&self.params)?, &self.newest) {
            (Some(name), _) => Ok(Some(format!("the parameter {name}"))),
            (None, Some(batch)) if self.recipe.guard.on_nan == OnNan::Skip => {
                self.task.non_finite(batch, None)
            }
            (None, _) => Ok(None),
        }
    }

    fn checkpoint(&self) -> Result<Checkpoint> {
        let position = self.task.position();
        let mut metrics: BTreeMap<String, f64> = [
            FORMAT,
            ("loss", self.sums.loss),
            ("right", self.sums.right),
            ("samples", self.sums.samples),
            ("train_seconds", self.sums.train_seconds),
            ("seen", self.sums.seen as f64),
            ("best_since", self.best.since as f64),
            ("skips", self.skips as f64),
        ]
        .map(|(name, sum)| (name.to_owned(), sum))
        .into();
        if let Some(best) = self.best.figure {
            metrics.insert("best".to_owned(), best);
        }
        for (step, figure) in &self.kept {
            metrics.insert(format!("{KEPT}{step}"), *figure);
        }
        for at in &self.left_out {
            metrics.insert(format!("{LEFT_OUT}{} {}", at.epoch, at.batch), 1.0);
        }
        // But for a plateau the learning rate is a function of the step.
        let mut schedule = BTreeMap::from([("lr".to_owned(), self.optimizer.lr())]);
        if let Some(plateau) = &self.plateau {
            let state = plateau.state();
            schedule.insert("plateau_lr".to_owned(), state.lr);
            schedule.insert("plateau_bad".to_owned(), state.bad as f64);
            schedule.insert("plateau_cooldown".to_owned(), state.cooldown as f64);
            schedule.extend(state.best.map(|best| ("plateau_best".to_owned(), best)));
        }
        let state = TrainingState {
            step: self.step,
            epoch: position.epoch,
            position: position.batch,
            random: std::iter::once((STREAM, &self.rng))
                .chain(self.task.random())
                .map(|(name, rng)| (name.to_owned(), rng.state()))
                .collect(),
            schedule,
            metrics,
            instruction_set: isa::current().name().to_owned(),
            recipe_hash: self.recipe.hash(),
            data: self.sources.clone(),
            ..TrainingState::default()
        };
        Ok(Checkpoint {
            state,
            model: self.params.named_tensors(),
            metadata: cortical_io::model_metadata(&Default::default()),
            optimizer: self.optimizer.state()?,
            average: match &self.average {
                Some(average) => average.state()?,
                None => Vec::new(),
            },
            pruning: pruner::state(&self.params, self.pruner.as_ref())?,
        })
    }

    /// Goes to the moment at which a checkpoint was written.
    pub(super) fn restore(
        &mut self,
        checkpoint: &Checkpoint,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let state = &checkpoint.state;
        let step = state.step;
        let path = self.folder.paths().recipe();
        let is_old = state.metrics.get(FORMAT.0) != Some(&FORMAT.1);
        if is_old {
            // Their hashes were made in another way, so a change of the recipe would not be noticed.
            observer.event(Event::Warning(&Warning::OldCheckpoint { step }));
        } else if state.recipe_hash != self.recipe.hash() {
            return Err(Error::RecipeChanged { path, step });
        }
        if !state.data.is_empty() && !self.folder.paths().data().exists() {
            // What the run knows of its data is lost; the checkpoint knows it as well.
            sources::compare(self.folder, Some(&state.data), &self.sources, observer)?;
        }
        if let Some(warning) = Warning::of_other_instructions(&state.instruction_set) {
            observer.event(Event::Warning(&warning));
        }
        let stream = |name: &str| {
            let what = "random state";
            let state = state.random.get(name).copied();
            let state = state.ok_or(Error::CheckpointLacks { step, what })?;
            Ok::<_, Error>(Rng::from_state(state))
        };
        let rng = stream(STREAM)?;
        let of_task = self
            .task
            .random()
            .map(|(name, _)| stream(name))
            .transpose()?;
        let figure = |name: &str| state.metrics.get(name).copied();
        let sum = |name: &str, what| match figure(name) {
            None if is_old => Ok(0.0),
            found => found.ok_or(Error::CheckpointLacks { step, what }),
        };
        let sums = Sums {
            loss: sum("loss", "sum of losses")?,
            right: sum("right", "count of right answers")?,
            samples: sum("samples", "count of samples")?,
            train_seconds: sum("train_seconds", "time of training")?,
            seen: match figure("tokens") {
                Some(tokens) => tokens,
                None => sum("seen", "count of what was learned from")?,
            } as u64,
        };
        let position = Position {
            epoch: state.epoch,
            batch: state.position,
        };
        // The first version counted the batches of language models by their steps alone.
        let position = match is_old && self.recipe.kind().is_text() {
            true => position_of(
                step * self.recipe.train.accumulate,
                self.task.batches_per_epoch(),
            ),
            false => position,
        };
        self.task.seek(position, of_task.as_ref())?;
        pruner::restore(&checkpoint.pruning, &self.params, self.pruner.as_mut())?;
        checkpoint.restore_model(&self.params)?;
        self.optimizer.load_state(&checkpoint.optimizer)?;
        if let Some(average) = &mut self.average {
            average.load_state(&checkpoint.average)?;
        }
        if let Some(plateau) = &mut self.plateau {
            let number = |name: &str, what| {
                let number = state.schedule.get(name).copied();
                number.ok_or(Error::CheckpointLacks { step, what })
            };
            plateau.restore(PlateauState {
                lr: number("plateau_lr", "learning rate of the plateau")?,
                best: state.schedule.get("plateau_best").copied(),
                bad: number("plateau_bad", "count of bad validations")? as u64,
                cooldown: number("plateau_cooldown", "count of cooldown validations")? as u64,
            });
        }
        (self.step, self.sums, self.rng) = (step, sums, rng);
        self.best = Best {
            figure: figure("best"),
            since: figure("best_since").unwrap_or(0.0) as u64,
        };
        self.skips = figure("skips").unwrap_or(0.0) as u64;
        self.taken.clear();
        (self.newest, self.validated) = (None, None);
        self.kept = numbered(&state.metrics, KEPT)
            .filter_map(|(rest, figure)| Some((rest.parse().ok()?, figure)))
            .collect();
        let positions = numbered(&state.metrics, LEFT_OUT).filter_map(|(rest, _)| {
            let (epoch, batch) = rest.split_once(' ')?;
            Some(Position {
                epoch: epoch.parse().ok()?,
                batch: batch.parse().ok()?,
            })
        });
        self.left_out.extend(positions);
        Ok(())
    }

    /// Goes back to the newest checkpoint, after a step that spoilt the weights. It is the newest one that is left out
    /// from now on; if that does not help, the newest two of those that are left, then four …
    pub(super) fn roll_back(&mut self, place: String, observer: &mut dyn Observer) -> Result<()> {
        let checkpoints = self.folder.paths().checkpoints();
        let latest = checkpoints.latest_valid(self.params.device())?;
        let (Some(checkpoint), Some(&newest)) = (latest.checkpoint, self.taken.last()) else {
            return Err(self.diverged(place));
        };
        // The batches after it have done nothing wrong.
        self.left_out.retain(|at| *at < newest);
        let spoilt = 1_usize.checked_shl(self.roll_backs).unwrap_or(usize::MAX);
        self.left_out.extend(self.taken.iter().rev().take(spoilt));
        self.roll_backs += 1;
        self.restore(&checkpoint, observer)?;
        self.metrics.cut(self.step)?;
        let step = self.step;
        observer.event(Event::Warning(&Warning::RolledBack { step, place }));
        Ok(())
    }

    /// Writes the model of the finished run: with averaged weights, where there are any.
    pub(super) fn save_model(&mut self) -> Result<()> {
        let paths = self.folder.paths();
        self.with_average(|task, params| task.save(paths, params))?;
        pruner::save(paths, &self.params)
    }

    fn with_average(&mut self, save: impl FnOnce(&T, &Params) -> Result<()>) -> Result<()> {
        let save = || save(&self.task, &self.params);
        match &mut self.average {
            Some(average) if average.updates() > 0 => average.during(save)?,
            _ => save(),
        }
    }

    /// Keeps the model in `best/` if its validation is among the best.
    pub(super) fn keep_if_best(&mut self, figure: f64, larger: bool) -> Result<()> {
        let most = self.recipe.checkpoint.keep_best;
        if most == 0 || figure.is_nan() {
            return Ok(());
        }
        let folder = self.folder.paths().best();
        std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        let path = |step: u64| folder.join(format!("step-{step}.safetensors"));
        // The worst goes: the newest of equals, for the first was as good with less training.
        self.kept.insert(self.step, figure);
        let mut gone = Vec::new();
        while self.kept.len() > most {
            let worse = |a: f64, b: f64| {
                if larger {
                    a.total_cmp(&b)
                } else {
                    b.total_cmp(&a)
                }
            };
            let worst = self
                .kept
                .iter()
                .min_by(|a, b| worse(*a.1, *b.1).then(b.0.cmp(a.0)));
            let Some((&step, _)) = worst else { break };
            self.kept.remove(&step);
            gone.push(step);
        }
        if self.kept.contains_key(&self.step) {
            let path = path(self.step);
            self.with_average(|task, params| task.save_weights(&path, params))?;
        }
        for step in gone.into_iter().filter(|step| *step != self.step) {
            let path = path(step);
            match std::fs::remove_file(&path) {
                Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::file(path)(why));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The entries whose keys begin with `start`, by the rest of their keys.
fn numbered<'m>(
    map: &'m BTreeMap<String, f64>,
    start: &'static str,
) -> impl Iterator<Item = (&'m str, f64)> {
    map.iter()
        .filter_map(move |(key, value)| Some((key.strip_prefix(start)?, *value)))
}

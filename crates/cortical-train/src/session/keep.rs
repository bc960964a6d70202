//! What is kept of a training: checkpoints to continue from, models of the best tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cortical_data::Position;
use cortical_io::{Checkpoint, TrainingState};
use cortical_kernels::isa;
use cortical_optim::PlateauState;
use cortical_tensor::Rng;

use super::{STREAM, Session, Sums};
use crate::best::Best;
use crate::evaluate::Evaluation;
use crate::guard;
use crate::observe::{Event, Observer, Warning};
use crate::recipe::{OnNan, fnv};
use crate::{Error, Result};

/// How keys about batches that are left out and about kept models begin.
const LEFT_OUT: &str = "left_out ";
const KEPT: &str = "kept ";

impl Session<'_> {
    /// Writes a checkpoint of this moment, unless the weights are no numbers: those are never committed. Nor are, where a training may go back, those
    /// with which the newest inputs lead to none.
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

    /// What is no number among the weights or, where a training may go back, in the network's outputs for the newest inputs.
    pub(super) fn broken(&self) -> Result<Option<String>> {
        match (guard::broken_weight(&self.params)?, &self.inputs) {
            (Some(name), _) => Ok(Some(format!("the parameter {name}"))),
            (None, Some(inputs)) if self.recipe.guard.on_nan == OnNan::Skip => {
                guard::broken_output(&self.network, inputs, None)
            }
            (None, _) => Ok(None),
        }
    }

    /// Refuses to end with weights that are no numbers, or that lead to none.
    pub(super) fn refuse_broken(&self, test: &Evaluation) -> Result<()> {
        match guard::broken_weight(&self.params)? {
            Some(name) => Err(self.diverged(format!("the parameter {name}"))),
            None if !test.loss.is_finite() => Err(self.diverged("the loss of the test".to_owned())),
            None => Ok(()),
        }
    }

    fn diverged(&self, place: String) -> Error {
        Error::Diverged {
            step: self.step,
            epoch: self.loader.position().epoch + 1,
            loss: f64::NAN,
            place,
        }
    }

    fn checkpoint(&self) -> Result<Checkpoint> {
        let position = self.loader.position();
        let mut metrics: BTreeMap<String, f64> = [
            ("loss", self.sums.loss),
            ("right", self.sums.right),
            ("samples", self.sums.samples),
            ("train_seconds", self.sums.train_seconds),
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
            random: [(STREAM.to_owned(), self.rng.state())].into(),
            schedule,
            metrics,
            instruction_set: isa::current().name().to_owned(),
            recipe_hash: self.recipe.hash(),
            ..TrainingState::default()
        };
        Ok(Checkpoint {
            state,
            model: self.params.named_tensors(),
            metadata: cortical_io::model_metadata(&self.metadata),
            optimizer: self.optimizer.state()?,
            average: match &self.average {
                Some(average) => average.state()?,
                None => Vec::new(),
            },
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
        // The first checkpoints have the hash of the file itself.
        let of_file = || std::fs::read(&path).map(|text| fnv(&text)).ok();
        let hash = &state.recipe_hash;
        if *hash != self.recipe.hash() && of_file().as_ref() != Some(hash) {
            return Err(Error::RecipeChanged { path, step });
        }
        if let Some(warning) = Warning::of_other_instructions(&state.instruction_set) {
            observer.event(Event::Warning(&warning));
        }
        let random = state.random.get(STREAM);
        let what = "random state";
        let random = *random.ok_or(Error::CheckpointLacks { step, what })?;
        let figure = |name: &str| state.metrics.get(name).copied();
        let sum = |name: &str, what| figure(name).ok_or(Error::CheckpointLacks { step, what });
        let sums = Sums {
            loss: sum("loss", "sum of losses")?,
            right: sum("right", "count of right answers")?,
            samples: sum("samples", "count of samples")?,
            train_seconds: sum("train_seconds", "time of training")?,
        };
        self.loader.seek(Position {
            epoch: state.epoch,
            batch: state.position,
        })?;
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
                bad: number("plateau_bad", "count of bad tests")? as u64,
                cooldown: number("plateau_cooldown", "count of cooldown tests")? as u64,
            });
        }
        (self.step, self.sums, self.rng) = (step, sums, Rng::from_state(random));
        self.best = Best {
            figure: figure("best"),
            since: figure("best_since").unwrap_or(0.0) as u64,
        };
        self.skips = figure("skips").unwrap_or(0.0) as u64;
        self.taken.clear();
        (self.inputs, self.tested) = (None, None);
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

    /// Goes back to the newest checkpoint, after a step that spoilt the weights. It is the newest one that is left out from now on; if that does not
    /// help, the newest two of those that are left, then four …
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

    /// Writes the model: with averaged weights, where there are any.
    pub(super) fn save_model(&mut self, path: &Path) -> Result<()> {
        let (params, metadata) = (&self.params, &self.metadata);
        let save = || cortical_io::save_with(path, params, metadata);
        match &mut self.average {
            Some(average) if average.updates() > 0 => average.during(save)??,
            _ => save()?,
        }
        Ok(())
    }

    /// Keeps the model in `best/` if its test is among the best.
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
            self.save_model(&path(self.step))?;
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

//! What is kept of a training: checkpoints to continue from, and the model.

use std::path::PathBuf;

use cortical_io::{Checkpoint, TrainingState};
use cortical_kernels::isa;
use cortical_models::language::save_adapter;
use cortical_tensor::Rng;

use super::{BATCHES, Observer, STEPS, Session};
use crate::best::Best;
use crate::evaluate::rounded;
use crate::language::observe::{LanguageEvent, LanguageReport};
use crate::observe::Warning;
use crate::{Error, Result, guard};

impl Session<'_> {
    /// Writes a checkpoint of this moment, unless the weights are no numbers: those are never committed.
    pub(super) fn save(&self, observer: Observer<'_>) -> Result<PathBuf> {
        self.refuse_broken_weights()?;
        // The lines about the steps so far must be there when the checkpoint says that they are.
        self.metrics.sync()?;
        let random = [(BATCHES, &self.batches), (STEPS, &self.steps)];
        let mut metrics = vec![
            ("train_seconds".to_owned(), self.seconds),
            ("tokens".to_owned(), self.tokens as f64),
            ("best_since".to_owned(), self.best.since as f64),
        ];
        metrics.extend(self.best.figure.map(|best| ("best".to_owned(), best)));
        let state = TrainingState {
            step: self.step,
            random: random
                .map(|(name, rng)| (name.to_owned(), rng.state()))
                .into(),
            schedule: [("lr".to_owned(), self.optimizer.lr())].into(),
            metrics: metrics.into_iter().collect(),
            instruction_set: isa::current().name().to_owned(),
            recipe_hash: self.recipe.hash(),
            ..TrainingState::default()
        };
        let checkpoints = self.folder.paths().checkpoints();
        let path = checkpoints.save(&Checkpoint {
            state,
            model: self.params.named_tensors(),
            metadata: cortical_io::model_metadata(&Default::default()),
            optimizer: self.optimizer.state()?,
            average: match &self.average {
                Some(average) => average.state()?,
                None => Vec::new(),
            },
        })?;
        checkpoints.prune(self.recipe.checkpoint.keep)?;
        observer(LanguageEvent::Checkpoint { step: self.step });
        Ok(path)
    }

    /// Goes to the moment at which a checkpoint was written.
    pub(super) fn restore(
        &mut self,
        checkpoint: &Checkpoint,
        observer: Observer<'_>,
    ) -> Result<()> {
        let (state, step) = (&checkpoint.state, checkpoint.state.step);
        if state.recipe_hash != self.recipe.hash() {
            let path = self.folder.paths().recipe();
            return Err(Error::RecipeChanged { path, step });
        }
        if let Some(warning) = Warning::of_other_instructions(&state.instruction_set) {
            observer(LanguageEvent::Warning(&warning));
        }
        let stream = |name: &str| {
            let state = state.random.get(name).copied();
            let what = "random state";
            state
                .map(Rng::from_state)
                .ok_or(Error::CheckpointLacks { step, what })
        };
        (self.batches, self.steps) = (stream(BATCHES)?, stream(STEPS)?);
        let figure = |name: &str| state.metrics.get(name).copied();
        self.seconds = figure("train_seconds").unwrap_or(0.0);
        // Checkpoints of before did not count tokens; all batches had as many.
        let train = &self.recipe.train;
        let of_step = train.accumulate * (train.batch_size * train.block) as u64;
        self.tokens = figure("tokens").map_or(step * of_step, |tokens| tokens as u64);
        self.best = Best {
            figure: figure("best"),
            since: figure("best_since").unwrap_or(0.0) as u64,
        };
        checkpoint.restore_model(&self.params)?;
        self.optimizer.load_state(&checkpoint.optimizer)?;
        if let Some(average) = &mut self.average {
            average.load_state(&checkpoint.average)?;
        }
        Ok(())
    }

    fn refuse_broken_weights(&self) -> Result<()> {
        match guard::broken_weight(&self.params)? {
            None => Ok(()),
            Some(name) => Err(Error::Diverged {
                step: self.step,
                epoch: 1,
                loss: f64::NAN,
                place: format!("the parameter {name}"),
            }),
        }
    }

    /// Tests once more, writes the model or its changes and, last, the report.
    pub(super) fn finish(mut self, observer: Observer<'_>) -> Result<LanguageReport> {
        self.refuse_broken_weights()?;
        let tested = match self.tested.take() {
            Some((step, tested)) if step == self.step => tested,
            _ => self.test(observer)?,
        };
        let paths = self.folder.paths();
        self.metrics.finish()?;
        let (params, lora, task) = (&self.params, &self.recipe.lora, &self.task);
        let (config, base) = (task.config(), &self.recipe.model);
        let save = || -> Result<()> {
            match lora {
                Some(_) => Ok(save_adapter(paths.root(), params, config, base)?),
                None => task.save(paths, params),
            }
        };
        match &mut self.average {
            Some(average) if average.updates() > 0 => average.during(save)??,
            _ => save()?,
        }
        let foresees = tested.classes.is_none();
        let trainable = self.params.trainable();
        let report = LanguageReport {
            kind: "language".to_owned(),
            steps: self.step,
            tokens: self.tokens,
            train_seconds: rounded(self.seconds),
            parameters: self.params.count(),
            trainable: trainable.iter().map(|param| param.count()).sum(),
            test_loss: tested.loss,
            perplexity: tested.loss.filter(|_| foresees).map(f64::exp),
            sample: tested.sample,
            test: tested.classes,
            mistakes: tested.mistakes,
        };
        paths.write_report(&report)?;
        Ok(report)
    }
}

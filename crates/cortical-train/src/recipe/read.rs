//! Recipes out of TOML.

use cortical_data::Target;
use cortical_models::language::preset;
use cortical_models::{Kinds, ModelSpec};
use cortical_settings::{
    FieldError, Settings, Table, Value, at_most, nearest, only, refuse_unknown, section, settings,
    take,
};

use super::{
    ClassifyRecipe, DataRecipe, DeviceRecipe, LoraRecipe, OptimRecipe, Override, PruneRecipe,
    Recipe, RunSchedule, SampleData, SampleRecipe, SampleTraining, ScheduleRecipe, StartRecipe,
    TaskKind, TaskRecipe, TextData, TextRecipe, TextTraining, TrainRecipe, upgrade,
};
use crate::{Error, Result};

settings! {
    /// The fields before the first table, but for those that depend on the task.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct Head {
        /// The format.
        pub(super) version: u64 = super::RECIPE_VERSION, "of this format";
        /// The seed.
        pub(super) seed: u64 = 1, "draws initial weights, the order of samples and dropout", at_most(i64::MAX as u64);
        /// The device.
        pub(super) device: DeviceRecipe = DeviceRecipe::Cpu, "";
    }
}

impl Recipe {
    /// Reads a recipe; what it does not say is as in `base`, or as in the preset that suits its data or its model.
    ///
    /// # Errors
    /// [`Error::RecipeSyntax`] for text that is no TOML; [`Error::RecipeVersion`] for a newer or a missing version,
    /// [`Error::OldRecipe`] for an older one that cannot be understood; [`Error::OtherTask`] for a base that learns
    /// something else; [`Error::Field`] for a field that does not exist, of the wrong type, or with a value that makes
    /// no sense.
    pub fn from_toml(text: &str, base: Option<&Self>, overrides: &[Override]) -> Result<Self> {
        Self::from_toml_with(text, base, overrides, &Kinds::standard())
    }

    /// As [`from_toml`](Self::from_toml) for a network with layers of these kinds.
    ///
    /// # Errors
    /// As [`from_toml`](Self::from_toml).
    pub fn from_toml_with(
        text: &str,
        base: Option<&Self>,
        overrides: &[Override],
        kinds: &Kinds,
    ) -> Result<Self> {
        let mut table = parse(text)?;
        for set in overrides {
            set.apply(&mut table)?;
        }
        upgrade::upgrade(&mut table)?;
        let kind = match (kind_of(&table), base) {
            (Some(kind), Some(base)) if kind.is_text() != base.kind().is_text() => {
                return Err(Error::OtherTask {
                    expected: base.kind().words(),
                    found: kind.words(),
                });
            }
            (Some(kind), _) => kind,
            (None, Some(base)) => base.kind(),
            (None, None) => TaskKind::Classification,
        };
        Self::read(&table, kind, base, kinds).map_err(|error| Error::Field(with_hint(error, kind)))
    }

    fn read(
        table: &Table,
        kind: TaskKind,
        base: Option<&Self>,
        kinds: &Kinds,
    ) -> Result<Self, FieldError> {
        let known = Self::with_every_table(kind).outermost();
        let elsewhere_known = Self::with_every_table(other_kind(kind)).outermost();
        let other = |name: &&str| !known.contains(name) && table.contains_key(*name);
        if let Some(name) = elsewhere_known.into_iter().find(other) {
            return Err(elsewhere(name, kind));
        }
        refuse_unknown("", table, known.into_iter())?;
        let part = |name: &str| section("", table, name);
        let data = part("data")?;
        let default;
        let base = match base {
            Some(base) => base,
            None => {
                default = Self::suited(kind, table, data)?;
                &default
            }
        };
        let head = Head {
            seed: base.seed,
            device: base.device,
            ..Head::default()
        };
        let head = Head::read("", &only::<Head>(table), Some(&head))?;

        let (task, data, train) = match &base.task {
            TaskRecipe::Samples(samples) => base.read_samples(table, samples, kinds)?,
            TaskRecipe::Text(text) => base.read_text(table, text)?,
        };
        let start: StartRecipe = Settings::read("start", part("start")?, Some(&base.start))?;
        refuse_untrained(&train, &start, &task)?;
        Ok(Self {
            seed: head.seed,
            device: head.device,
            data,
            task,
            optim: OptimRecipe::read(part("optim")?, &base.optim)?,
            schedule: ScheduleRecipe::read(part("schedule")?, &warmed(base, kind, &train))?,
            train,
            average: Settings::read("average", part("average")?, Some(&base.average))?,
            start,
            prune: table_or::<PruneRecipe>(table, "prune", base.prune.as_ref())?,
            guard: Settings::read("guard", part("guard")?, Some(&base.guard))?,
            checkpoint: Settings::read("checkpoint", part("checkpoint")?, Some(&base.checkpoint))?,
            log: Settings::read("log", part("log")?, Some(&base.log))?,
        })
    }

    /// The recipe that says what a table leaves open.
    fn suited(kind: TaskKind, table: &Table, data: &Table) -> Result<Self, FieldError> {
        if kind.is_text() {
            let model: String = take("", "model", table, None, || None)?;
            return Ok(match kind {
                TaskKind::TextClassification => Self::for_text_classes(&model),
                _ => Self::for_text(&model),
            });
        }
        let name = take("data", "name", data, None, || {
            Some(DataRecipe::default().name)
        })?;
        Ok(Self::for_data(&name))
    }

    fn read_samples(
        &self,
        table: &Table,
        base: &SampleRecipe,
        kinds: &Kinds,
    ) -> Result<(TaskRecipe, DataRecipe, TrainRecipe), FieldError> {
        let kind = TaskKind::Classification;
        let (data, own): (DataRecipe, SampleData) =
            part::<_, _, TextData>("data", table, kind, (&self.data, &base.data))?;
        let test = data.test_fraction;
        if test <= 0.0 {
            return Err(FieldError::Range {
                path: "data.test_fraction".to_owned(),
                expected: "a share above 0 and below 1".to_owned(),
                found: test.to_string(),
            });
        }
        let (train, training): (TrainRecipe, SampleTraining) =
            part::<_, _, TextTraining>("train", table, kind, (&self.train, &base.train))?;
        refuse_other_target(&own, &training)?;
        let suited = match &own.input_shape {
            Some(shape) if own.input_shape != base.data.input_shape => {
                ModelSpec::suggested_for(shape)
            }
            _ => base.model.clone(),
        };
        let model = table.get("model").map(|_| section("", table, "model"));
        let samples = SampleRecipe {
            model: read_model(model.transpose()?, suited, kinds)?,
            data: own,
            train: training,
            augment: Settings::read(
                "augment",
                section("", table, "augment")?,
                Some(&base.augment),
            )?,
        };
        Ok((TaskRecipe::Samples(Box::new(samples)), data, train))
    }

    fn read_text(
        &self,
        table: &Table,
        base: &TextRecipe,
    ) -> Result<(TaskRecipe, DataRecipe, TrainRecipe), FieldError> {
        let kind = TaskKind::NextToken;
        let (data, own): (DataRecipe, TextData) =
            part::<_, _, SampleData>("data", table, kind, (&self.data, &base.data))?;
        let (train, training): (TrainRecipe, TextTraining) =
            part::<_, _, SampleTraining>("train", table, kind, (&self.train, &base.train))?;
        let model: String = take("", "model", table, Some(&base.model), || None)?;
        if model.is_empty() {
            return Err(FieldError::Range {
                path: "model".to_owned(),
                expected: "the name, folder or file of a language model".to_owned(),
                found: "nothing".to_owned(),
            });
        }
        let text = TextRecipe {
            model,
            data: own,
            train: training,
            classify: table_or::<ClassifyRecipe>(table, "classify", base.classify.as_ref())?,
            lora: table_or::<LoraRecipe>(table, "lora", base.lora.as_ref())?,
        };
        let (learns_classes, own) = (text.classify.is_some(), &text.train);
        let idle = |path: &str, expected: &str, found: String| {
            Err(FieldError::Range {
                path: path.to_owned(),
                expected: expected.to_owned(),
                found,
            })
        };
        if learns_classes && own.sample_tokens > 0 {
            let expected = "0, as a model of classes writes no text";
            return idle(
                "train.sample_tokens",
                expected,
                own.sample_tokens.to_string(),
            );
        }
        if !learns_classes && own.label_smoothing > 0.0 {
            let expected = "0, as labels are smoothed with [classify] only";
            return idle(
                "train.label_smoothing",
                expected,
                own.label_smoothing.to_string(),
            );
        }
        if let Some(seed) = text.data.split_seed.filter(|_| !learns_classes) {
            let expected = "nothing, as without [classify] the end of the text is held out";
            return idle("data.split_seed", expected, seed.to_string());
        }
        Ok((TaskRecipe::Text(text), data, train))
    }
}

/// Refuses fields that say something of another target than the recipe's.
fn refuse_other_target(data: &SampleData, train: &SampleTraining) -> Result<(), FieldError> {
    let default = SampleTraining::default();
    let words = |target: Target| match target {
        Target::Numbers => "data.target = \"numbers\"",
        Target::Labels => "data.target = \"labels\"",
        _ => "data.target = \"classes\"",
    };
    let weighs = train.class_weights != default.class_weights;
    let set = [
        (
            "train.label_smoothing",
            Target::Classes,
            train.label_smoothing > 0.0,
        ),
        ("train.mixup", Target::Classes, train.mixup > 0.0),
        ("train.cutmix", Target::Classes, train.cutmix > 0.0),
        ("train.balanced", Target::Classes, train.balanced),
        ("train.class_weights", Target::Classes, weighs),
        ("train.loss", Target::Numbers, train.loss != default.loss),
        (
            "train.huber_delta",
            Target::Numbers,
            train.huber_delta != default.huber_delta,
        ),
        (
            "train.thresholds",
            Target::Labels,
            train.thresholds != default.thresholds,
        ),
    ];
    let other = set
        .iter()
        .find(|(_, owner, is_set)| *is_set && *owner != data.target);
    match other {
        Some((path, owner, _)) => Err(FieldError::Elsewhere {
            path: (*path).to_owned(),
            owner: words(*owner),
            here: words(data.target),
        }),
        None => Ok(()),
    }
}

/// A run without a step is one of weights that others have trained.
fn refuse_untrained(
    train: &TrainRecipe,
    start: &StartRecipe,
    task: &TaskRecipe,
) -> Result<(), FieldError> {
    let is_drawn = match task {
        TaskRecipe::Samples(_) => true,
        TaskRecipe::Text(text) => preset(&text.model).is_some(),
    };
    if train.epochs == 0 && train.max_steps == 0 && start.from.is_empty() && is_drawn {
        return Err(FieldError::Range {
            path: "train.epochs".to_owned(),
            expected: "at least 1, unless train.max_steps says when the run ends".to_owned(),
            found: "0".to_owned(),
        });
    }
    Ok(())
}

/// A kind of the tasks that this one is none of.
fn other_kind(kind: TaskKind) -> TaskKind {
    match kind.is_text() {
        true => TaskKind::Classification,
        false => TaskKind::NextToken,
    }
}

/// What a table says that it learns, if it says so: a language model is named, a network has a table.
fn kind_of(table: &Table) -> Option<TaskKind> {
    match table.get("model") {
        _ if table.contains_key("classify") => Some(TaskKind::TextClassification),
        Some(Value::String(_)) => Some(TaskKind::NextToken),
        Some(_) => Some(TaskKind::Classification),
        None => None,
    }
}

/// Reads a table whose fields every recipe has, or only this task's; those of another task are refused by name.
fn part<Common: Settings, Own: Settings, Other: Settings>(
    path: &str,
    table: &Table,
    kind: TaskKind,
    (common, own): (&Common, &Own),
) -> Result<(Common, Own), FieldError> {
    let table = section("", table, path)?;
    if let Some(name) = Other::names()
        .find(|name| table.contains_key(*name) && !Own::names().any(|own| own == *name))
    {
        return Err(elsewhere(&format!("{path}.{name}"), kind));
    }
    refuse_unknown(path, table, Common::names().chain(Own::names()))?;
    let common = Common::read(path, &only::<Common>(table), Some(common))?;
    Ok((common, Own::read(path, &only::<Own>(table), Some(own))?))
}

/// A field or a table that only another kind of task has.
fn elsewhere(path: &str, kind: TaskKind) -> FieldError {
    let (owner, here) = match kind.is_text() {
        true => ("pictures and tables of numbers", "a language model"),
        false => ("language models", "pictures or a table of numbers"),
    };
    FieldError::Elsewhere {
        path: path.to_owned(),
        owner,
        here,
    }
}

/// A table that a recipe has or has not.
fn table_or<T: Settings>(
    table: &Table,
    name: &str,
    base: Option<&T>,
) -> Result<Option<T>, FieldError> {
    match table.contains_key(name) {
        false => Ok(base.cloned()),
        true => T::read(name, section("", table, name)?, base).map(Some),
    }
}

/// The base's schedule; the warm-up of a language model is a tenth of a short run at most.
fn warmed(base: &Recipe, kind: TaskKind, train: &TrainRecipe) -> ScheduleRecipe {
    match base.schedule {
        ScheduleRecipe::Run(RunSchedule::Cosine(run)) if kind.is_text() && train.max_steps > 0 => {
            ScheduleRecipe::cosine(run.warmup_steps.min(train.max_steps / 10), run.min_factor)
        }
        ref other => other.clone(),
    }
}

/// The network: the one that suits the data, or as its table says; a table that names no kind changes fields of the one
/// that suits.
fn read_model(
    said: Option<&Table>,
    suited: ModelSpec,
    kinds: &Kinds,
) -> Result<ModelSpec, FieldError> {
    let Some(said) = said else {
        return Ok(suited);
    };
    let mut whole = said.clone();
    if !["kind", "layers"]
        .iter()
        .any(|name| whole.contains_key(*name))
    {
        for (name, value) in suited.to_fields() {
            whole.entry(name).or_insert(value);
        }
    }
    ModelSpec::read_with("model", &whole, kinds)
}

/// TOML, or the line that is none.
pub(super) fn parse(text: &str) -> Result<Table> {
    text.parse().map_err(|why: toml::de::Error| {
        let span = why.span().unwrap_or_default();
        let before = text.get(..span.start).unwrap_or_default();
        Error::RecipeSyntax {
            line: 1 + before.matches('\n').count(),
            why: why.message().to_owned(),
        }
    })
}

/// A hint from anywhere in a recipe of this task, where the field's own table has none: `lr` is `optim.lr`.
fn with_hint(error: FieldError, kind: TaskKind) -> FieldError {
    let FieldError::Unknown {
        path,
        nearest: None,
        known,
    } = error
    else {
        return error;
    };
    let paths = Recipe::with_every_table(kind).paths();
    let leaf = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let wanted = leaf(&path);
    let leaves: Vec<String> = paths.iter().map(|path| leaf(path)).collect();
    let found = nearest(&path, paths.iter().map(String::as_str))
        .map(str::to_owned)
        .or_else(|| {
            let near = nearest(&wanted, leaves.iter().map(String::as_str))?;
            let at = leaves.iter().position(|leaf| leaf == near)?;
            Some(paths[at].clone())
        });
    FieldError::Unknown {
        path,
        nearest: found,
        known,
    }
}

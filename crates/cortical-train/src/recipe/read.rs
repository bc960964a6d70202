//! Recipes out of TOML.

use cortical_data::Normalize;
use cortical_data::csv::LabelColumn;
use cortical_models::ModelSpec;
use cortical_models::fields::{FieldError, FieldValue, Fields, nearest};
use toml::{Table, Value};

use super::presets::adamw;
use super::{
    CheckpointRecipe, DataRecipe, DeviceRecipe, LogRecipe, OptimRecipe, Override, RECIPE_VERSION,
    Recipe, ScheduleRecipe, TrainRecipe,
};
use crate::{Error, Result};

const NORMALIZE: [(&str, Normalize); 4] = [
    ("auto", Normalize::Auto),
    ("none", Normalize::None),
    ("unit", Normalize::Unit),
    ("standardize", Normalize::Standardize),
];

/// The name of a kind of normalisation.
pub(super) fn normalize_name(kind: Normalize) -> &'static str {
    NORMALIZE
        .iter()
        .find(|(_, known)| *known == kind)
        .map_or("auto", |(name, _)| name)
}

/// A label column as a recipe writes it.
struct Label(LabelColumn);

impl FieldValue for Label {
    const EXPECTED: &'static str = "the name or the number of a column";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(name) => Some(Self(LabelColumn::Name(name.clone()))),
            other => usize::from_value(other).map(|n| Self(LabelColumn::Number(n))),
        }
    }
}

impl Recipe {
    /// Reads a recipe; what it does not say is as in `base`, or as in the preset that suits its data.
    ///
    /// # Errors
    /// [`Error::RecipeSyntax`] for text that is no TOML, otherwise those of [`Recipe::from_table`].
    pub fn from_toml(text: &str, base: Option<&Self>, overrides: &[Override]) -> Result<Self> {
        let table = text.parse().map_err(|why: toml::de::Error| {
            let span = why.span().unwrap_or_default();
            let before = text.get(..span.start).unwrap_or_default();
            Error::RecipeSyntax {
                line: 1 + before.matches('\n').count(),
                why: why.message().to_owned(),
            }
        })?;
        Self::from_table(table, base, overrides)
    }

    /// Reads a recipe from a table that is parsed already.
    ///
    /// # Errors
    /// [`Error::RecipeVersion`] for a newer or a missing version; [`Error::Field`] for a field that does not exist, of the wrong type, or
    /// with a value that makes no sense.
    pub fn from_table(
        mut table: Table,
        base: Option<&Self>,
        overrides: &[Override],
    ) -> Result<Self> {
        for set in overrides {
            set.apply(&mut table)?;
        }
        match table.get("version") {
            Some(Value::Integer(version)) if *version == RECIPE_VERSION as i64 => {}
            found => {
                return Err(Error::RecipeVersion {
                    expected: RECIPE_VERSION,
                    found: found.map_or("none".to_owned(), Value::to_string),
                });
            }
        }
        Self::read(&table, base).map_err(|error| Error::Field(with_far_hint(error)))
    }

    fn read(table: &Table, base: Option<&Self>) -> Result<Self, FieldError> {
        let empty = Table::new();
        let mut fields = Fields::new("", table);
        let _: u64 = fields.required("version")?;
        let mut section = |name: &'static str| {
            let found = fields.section(name)?;
            Ok::<_, FieldError>(found.unwrap_or_else(|| Fields::new(name, &empty)))
        };
        let data = section("data")?;
        let model = section("model")?;
        let optim = section("optim")?;
        let schedule = section("schedule")?;
        let train = section("train")?;
        let checkpoint = section("checkpoint")?;
        let log = section("log")?;

        let has_model = table.contains_key("model");
        let data = read_data(data, base)?;
        let own;
        let base = match base {
            Some(base) => base,
            None => {
                own = Self::for_data(&data.name);
                &own
            }
        };
        let device: String = fields.or("device", "cpu".to_owned())?;
        let recipe = Self {
            seed: fields.or("seed", base.seed)?,
            device: fields.choose("device", "device", &device, &[("cpu", DeviceRecipe::Cpu)])?,
            model: match (has_model, &data.input_shape) {
                (true, _) => ModelSpec::read(model)?,
                (false, Some(shape)) => ModelSpec::suggested_for(shape),
                (false, None) => base.model.clone(),
            },
            data,
            optim: read_optim(optim, &base.optim)?,
            schedule: ScheduleRecipe::read(schedule, &base.schedule)?,
            train: read_train(train, &base.train)?,
            checkpoint: read_checkpoint(checkpoint, &base.checkpoint)?,
            log: read_log(log, &base.log)?,
        };
        let writable = recipe.seed <= i64::MAX as u64;
        fields.check("seed", writable, "at most 9223372036854775807", recipe.seed)?;
        fields.finish()?;
        Ok(recipe)
    }
}

/// A hint from anywhere in a recipe, where the field's own table has none: `lr` is `optim.lr`.
fn with_far_hint(error: FieldError) -> FieldError {
    let FieldError::Unknown {
        path,
        nearest: None,
        known,
    } = error
    else {
        return error;
    };
    let paths = Recipe::for_data("digits").paths();
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

fn read_data(mut fields: Fields<'_>, base: Option<&Recipe>) -> Result<DataRecipe, FieldError> {
    let default = base.map_or("digits", |base| &base.data.name).to_owned();
    let name: String = fields.or("name", default)?;
    fields.check(
        "name",
        !name.is_empty(),
        "the name of a data set or a file",
        "nothing",
    )?;
    let own;
    let base = match base {
        Some(base) => &base.data,
        None => {
            own = Recipe::for_data(&name).data;
            &own
        }
    };
    let test_fraction = fields.or("test_fraction", base.test_fraction)?;
    let holds = test_fraction > 0.0 && test_fraction < 1.0;
    fields.check(
        "test_fraction",
        holds,
        "a share above 0 and below 1",
        test_fraction,
    )?;
    let normalize: String = fields.or("normalize", normalize_name(base.normalize).to_owned())?;
    let input_shape: Option<Vec<usize>> = fields.get("input_shape")?;
    if let Some(shape) = &input_shape {
        let holds = !shape.is_empty() && !shape.contains(&0);
        let expected = "sizes of at least 1, such as [1, 8, 8]";
        fields.check("input_shape", holds, expected, format_args!("{shape:?}"))?;
    }
    let label: Option<Label> = fields.get("label")?;
    let dir: Option<String> = fields.get("dir")?;
    let split_seed = fields.or("split_seed", base.split_seed)?;
    let writable = split_seed <= i64::MAX as u64;
    fields.check(
        "split_seed",
        writable,
        "at most 9223372036854775807",
        split_seed,
    )?;
    let recipe = DataRecipe {
        name,
        test_fraction,
        split_seed,
        normalize: fields.choose("normalize", "kind of normalisation", &normalize, &NORMALIZE)?,
        input_shape: input_shape.or_else(|| base.input_shape.clone()),
        label: label.map(|label| label.0).or_else(|| base.label.clone()),
        dir: dir.map(Into::into).or_else(|| base.dir.clone()),
    };
    fields.finish()?;
    Ok(recipe)
}

fn read_optim(mut fields: Fields<'_>, base: &OptimRecipe) -> Result<OptimRecipe, FieldError> {
    let kind: String = fields.or("kind", base.kind().to_owned())?;
    let kind = fields.choose(
        "kind",
        "optimizer",
        &kind,
        &[("adamw", "adamw"), ("sgd", "sgd")],
    )?;
    let sgd = OptimRecipe::Sgd {
        lr: 0.05,
        momentum: 0.9,
        nesterov: false,
        weight_decay: 5e-4,
        clip_norm: None,
    };
    let base = match (kind, base) {
        (kind, base) if base.kind() == kind => *base,
        ("sgd", _) => sgd,
        _ => adamw(1e-3),
    };
    let not_negative = "a number of at least 0";
    let share = "a share from 0 to below 1";
    let in_share = |x: f64| (0.0..1.0).contains(&x);
    let lr = fields.or("lr", base.lr())?;
    fields.check("lr", lr > 0.0, "a learning rate above 0", lr)?;
    let clip_norm = fields.get("clip_norm")?.or(base.clip_norm());
    if let Some(norm) = clip_norm {
        fields.check("clip_norm", norm > 0.0, "a norm above 0", norm)?;
    }
    let recipe = match base {
        OptimRecipe::AdamW {
            betas,
            eps,
            weight_decay,
            ..
        } => {
            let given: Vec<f64> = fields.or("betas", betas.to_vec())?;
            let betas = match given[..] {
                [first, second] if in_share(first) && in_share(second) => [first, second],
                _ => {
                    let expected = "two shares from 0 to below 1";
                    fields.check("betas", false, expected, format_args!("{given:?}"))?;
                    betas
                }
            };
            let eps = fields.or("eps", eps)?;
            fields.check("eps", eps > 0.0, "a number above 0", eps)?;
            let weight_decay = fields.or("weight_decay", weight_decay)?;
            fields.check(
                "weight_decay",
                weight_decay >= 0.0,
                not_negative,
                weight_decay,
            )?;
            OptimRecipe::AdamW {
                lr,
                betas,
                eps,
                weight_decay,
                clip_norm,
            }
        }
        OptimRecipe::Sgd {
            momentum,
            nesterov,
            weight_decay,
            ..
        } => {
            let momentum = fields.or("momentum", momentum)?;
            fields.check("momentum", in_share(momentum), share, momentum)?;
            let nesterov = fields.or("nesterov", nesterov)?;
            let holds = !nesterov || momentum > 0.0;
            fields.check(
                "nesterov",
                holds,
                "a momentum above 0 to look ahead with",
                "momentum 0",
            )?;
            let weight_decay = fields.or("weight_decay", weight_decay)?;
            fields.check(
                "weight_decay",
                weight_decay >= 0.0,
                not_negative,
                weight_decay,
            )?;
            OptimRecipe::Sgd {
                lr,
                momentum,
                nesterov,
                weight_decay,
                clip_norm,
            }
        }
    };
    fields.finish()?;
    Ok(recipe)
}

fn read_train(mut fields: Fields<'_>, base: &TrainRecipe) -> Result<TrainRecipe, FieldError> {
    let epochs = fields.or("epochs", base.epochs)?;
    fields.check("epochs", epochs >= 1, "at least 1", epochs)?;
    fields.check(
        "epochs",
        epochs <= 1_000_000_000,
        "at most 1000000000",
        epochs,
    )?;
    let batch_size = fields.or("batch_size", base.batch_size)?;
    fields.check("batch_size", batch_size >= 1, "at least 1", batch_size)?;
    let eval_batch_size = fields.or("eval_batch_size", base.eval_batch_size)?;
    fields.check(
        "eval_batch_size",
        eval_batch_size >= 1,
        "at least 1",
        eval_batch_size,
    )?;
    fields.finish()?;
    Ok(TrainRecipe {
        epochs,
        batch_size,
        eval_batch_size,
    })
}

fn read_checkpoint(
    mut fields: Fields<'_>,
    base: &CheckpointRecipe,
) -> Result<CheckpointRecipe, FieldError> {
    let every_steps = fields.or("every_steps", base.every_steps)?;
    let keep = fields.or("keep", base.keep)?;
    fields.check("keep", keep >= 1, "at least 1", keep)?;
    fields.finish()?;
    Ok(CheckpointRecipe { every_steps, keep })
}

fn read_log(mut fields: Fields<'_>, base: &LogRecipe) -> Result<LogRecipe, FieldError> {
    let every_steps = fields.or("every_steps", base.every_steps)?;
    fields.finish()?;
    Ok(LogRecipe { every_steps })
}

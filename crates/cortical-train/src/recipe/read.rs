//! Recipes out of TOML.

use cortical_data::Normalize;
use cortical_data::csv::LabelColumn;
use cortical_models::ModelSpec;
use cortical_models::fields::{FieldValue, Fields};
use cortical_settings::{FieldError, nearest};
use toml::{Table, Value};

use super::{
    DataRecipe, DeviceRecipe, Override, RECIPE_VERSION, Recipe, ScheduleRecipe, optim, section,
};
use crate::{Error, Result};

const NORMALIZE: [(&str, Normalize); 4] = [
    ("auto", Normalize::Auto),
    ("none", Normalize::None),
    ("unit", Normalize::Unit),
    ("standardize", Normalize::Standardize),
];

/// The tables that are read by themselves.
const SECTIONS: [&str; 8] = [
    "optim",
    "train",
    "augment",
    "average",
    "start",
    "guard",
    "checkpoint",
    "log",
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

/// Columns as a recipe writes them.
struct Columns(Vec<LabelColumn>);

impl FieldValue for Columns {
    const EXPECTED: &'static str = "a list of names or numbers of columns";
    fn from_value(value: &Value) -> Option<Self> {
        let all = value.as_array()?.iter();
        let columns = all.map(|value| Label::from_value(value).map(|label| label.0));
        columns.collect::<Option<_>>().map(Self)
    }
}

impl Recipe {
    /// Reads a recipe; what it does not say is as in `base`, or as in the preset that suits its data.
    ///
    /// # Errors
    /// [`Error::RecipeSyntax`] for text that is no TOML, otherwise those of [`Recipe::from_table`].
    pub fn from_toml(text: &str, base: Option<&Self>, overrides: &[Override]) -> Result<Self> {
        Self::from_table(parse(text)?, base, overrides)
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
        check_version(&table, RECIPE_VERSION)?;
        let known = || Self::for_data("digits").paths();
        Self::read(&table, base).map_err(|error| Error::Field(with_far_hint(error, &known())))
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
        section("model")?;
        let schedule = section("schedule")?;
        for name in SECTIONS {
            section(name)?;
        }
        let part = |name: &str| match table.get(name) {
            Some(Value::Table(table)) => table,
            _ => &empty,
        };

        let data = read_data(data, base)?;
        let own;
        let base = match base {
            Some(base) => base,
            None => {
                own = Self::for_data(&data.name);
                &own
            }
        };
        let suited = match &data.input_shape {
            Some(shape) => ModelSpec::suggested_for(shape),
            None => base.model.clone(),
        };
        let device: String = fields.or("device", "cpu".to_owned())?;
        let recipe = Self {
            seed: fields.or("seed", base.seed)?,
            device: fields.choose("device", "device", &device, &[("cpu", DeviceRecipe::Cpu)])?,
            model: read_model(table.contains_key("model").then(|| part("model")), suited)?,
            data,
            optim: optim::read(part("optim"), &base.optim)?,
            schedule: ScheduleRecipe::read(schedule, part("schedule"), &base.schedule)?,
            train: section::read("train", part("train"), &base.train)?,
            augment: section::read("augment", part("augment"), &base.augment)?,
            average: section::read("average", part("average"), &base.average)?,
            start: section::read("start", part("start"), &base.start)?,
            guard: section::read("guard", part("guard"), &base.guard)?,
            checkpoint: section::read("checkpoint", part("checkpoint"), &base.checkpoint)?,
            log: section::read("log", part("log"), &base.log)?,
        };
        let writable = recipe.seed <= i64::MAX as u64;
        fields.check("seed", writable, "at most 9223372036854775807", recipe.seed)?;
        fields.finish()?;
        Ok(recipe)
    }
}

/// The network: the one that suits the data, or as its table says; a table that names no kind changes fields of the one that suits.
fn read_model(said: Option<&Table>, suited: ModelSpec) -> Result<ModelSpec, FieldError> {
    let Some(said) = said else {
        return Ok(suited);
    };
    let mut whole = said.clone();
    if !["kind", "layers"]
        .iter()
        .any(|name| whole.contains_key(*name))
    {
        for (name, value) in suited.to_fields() {
            let line = format!("{name} = {value}");
            for (name, value) in line.parse::<Table>().unwrap_or_default() {
                whole.entry(name).or_insert(value);
            }
        }
    }
    ModelSpec::read("model", &whole)
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

/// Refuses a recipe of another version.
pub(super) fn check_version(table: &Table, expected: u64) -> Result<()> {
    match table.get("version") {
        Some(Value::Integer(version)) if u64::try_from(*version) == Ok(expected) => Ok(()),
        found => Err(Error::RecipeVersion {
            expected,
            found: found.map_or("none".to_owned(), Value::to_string),
        }),
    }
}

/// A hint from anywhere in a recipe with these fields, where the field's own table has none: `lr` is `optim.lr`.
pub(super) fn with_far_hint(error: FieldError, paths: &[String]) -> FieldError {
    let FieldError::Unknown {
        path,
        nearest: None,
        known,
    } = error
    else {
        return error;
    };
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
    let one_hot: Option<Columns> = fields.get("one_hot")?;
    let ignore: Option<Columns> = fields.get("ignore")?;
    let folds: Option<usize> = fields.get("folds")?;
    let folds = folds.or(base.folds);
    let fold = fields.or("fold", base.fold)?;
    if let Some(folds) = folds {
        fields.check("folds", folds >= 2, "at least 2", folds)?;
    }
    let holds = fold < folds.unwrap_or(1);
    fields.check("fold", holds, "a number below data.folds", fold)?;
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
        one_hot: one_hot.map_or_else(|| base.one_hot.clone(), |columns| columns.0),
        ignore: ignore.map_or_else(|| base.ignore.clone(), |columns| columns.0),
        folds,
        fold,
        dir: dir.map(Into::into).or_else(|| base.dir.clone()),
    };
    fields.finish()?;
    Ok(recipe)
}

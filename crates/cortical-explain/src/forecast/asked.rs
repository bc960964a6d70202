//! Finding out what is to be planned: the recipe that would train it, and the model in numbers.

use std::path::{Path, PathBuf};

use cortical_models::{ModelSpec, Plan};
use cortical_train::{Override, Recipe, RunPaths, Subject, read_recipe_file};

use super::ForecastOptions;
use crate::contents::Contents;
use crate::error::Result;

/// A recipe that says nothing but its format.
const PLAIN: &str = "version = 2";

/// What is planned.
pub(super) struct Asked {
    pub(super) recipe: Recipe,
    pub(super) subject: Subject,
    /// The files of a model that is there.
    pub(super) files: Option<Contents>,
    pub(super) remarks: Vec<String>,
}

impl Asked {
    pub(super) fn open(what: &Path, options: &ForecastOptions) -> Result<Self> {
        let overrides = overrides(options)?;
        let name = what.display().to_string();
        if what.extension().is_some_and(|end| end == "toml") && what.is_file() {
            return Self::of_recipe(with_optimizer(
                read_recipe_file(what, &overrides)?,
                options,
            )?);
        }
        let run = RunPaths::new(what);
        if what.is_dir() && run.is_run() {
            let recipe = changed(&run.read_recipe()?, &overrides, options)?;
            return match Self::of_recipe(recipe.clone()) {
                Ok(asked) => Ok(asked),
                // The run is there though its data are not: its files say what the model is.
                Err(why) => {
                    let mut asked = Self::of_contents(Contents::open(what)?, recipe)?;
                    let said = format!("the data are not counted: {why}");
                    asked.remarks.push(said);
                    Ok(asked)
                }
            };
        }
        if what.exists() {
            let contents = Contents::open(what)?;
            let recipe = suited(&contents, what, &overrides, options)?;
            return Self::of_contents(contents, recipe);
        }
        if let Some(recipe) = Recipe::preset(&name) {
            return Self::of_recipe(changed(&recipe, &overrides, options)?);
        }
        let spec = name.parse::<ModelSpec>().ok();
        let Some(spec) = spec.filter(|spec| spec.usual_samples().is_some()) else {
            let contents = Contents::open(what)?;
            let recipe = suited(&contents, what, &overrides, options)?;
            return match options.data {
                Some(_) => Self::of_recipe(recipe),
                None => Self::of_contents(contents, recipe),
            };
        };
        let model: Override = format!("model.kind={name}").parse()?;
        let recipe = Recipe::from_toml(PLAIN, None, &[&overrides[..], &[model]].concat())?;
        let recipe = with_optimizer(recipe, options)?;
        if options.data.is_some() {
            return Self::of_recipe(recipe);
        }
        let (shape, classes) = spec.usual_samples().expect("it was asked above");
        let layers = recipe.samples()?.model.layers();
        let plan = Plan::new(&layers, shape, classes)?;
        Ok(Self {
            subject: Subject::of_network(&recipe, plan)?,
            recipe,
            files: None,
            remarks: vec![format!(
                "for samples of shape {shape:?} and {classes} classes, without the data themselves; --data names some"
            )],
        })
    }

    fn of_recipe(recipe: Recipe) -> Result<Self> {
        let subject = Subject::of(&recipe)?;
        let model = PathBuf::from(recipe.model_name());
        let files = recipe.text().is_ok() && model.exists();
        let files = files.then(|| Contents::open(&model)).transpose()?;
        Ok(Self {
            recipe,
            subject,
            files,
            remarks: Vec::new(),
        })
    }

    fn of_contents(contents: Contents, recipe: Recipe) -> Result<Self> {
        let remarks = contents.remarks.clone();
        let subject = match (&contents.config, &contents.plan) {
            (Some(config), _) => Subject::of_language(&recipe, config.clone())?,
            (None, Some(plan)) => Subject::of_network(&recipe, plan.clone())?,
            (None, None) => {
                return Err(crate::Error::NotDescribed {
                    path: contents.path,
                });
            }
        };
        Ok(Self {
            recipe,
            subject,
            files: contents.bytes().is_some().then_some(contents),
            remarks,
        })
    }
}

/// The recipe that would train what was opened.
fn suited(
    contents: &Contents,
    what: &Path,
    overrides: &[Override],
    options: &ForecastOptions,
) -> Result<Recipe> {
    let base = match contents.config {
        Some(_) => Recipe::for_text(&what.display().to_string()),
        None => Recipe::for_data("digits"),
    };
    changed(&base, overrides, options)
}

/// A recipe with some fields changed.
fn changed(recipe: &Recipe, overrides: &[Override], options: &ForecastOptions) -> Result<Recipe> {
    let recipe = Recipe::from_toml(&recipe.to_toml(), None, overrides)?;
    with_optimizer(recipe, options)
}

/// A recipe with another optimizer, whose hyperparameters are its own.
fn with_optimizer(mut recipe: Recipe, options: &ForecastOptions) -> Result<Recipe> {
    if let Some(name) = &options.optimizer {
        let kind: Override = format!("optim.kind={name}").parse()?;
        recipe.optim.config = Recipe::from_toml(PLAIN, None, &[kind])?.optim.config;
    }
    Ok(recipe)
}

/// What the options change in a recipe.
fn overrides(options: &ForecastOptions) -> Result<Vec<Override>> {
    let mut all = options.overrides.clone();
    let mut set = |field: &str, value: Option<String>| -> Result<()> {
        if let Some(value) = value {
            all.push(format!("{field}={value}").parse()?);
        }
        Ok(())
    };
    set(
        "data.name",
        options.data.as_ref().map(|name| format!("{name:?}")),
    )?;
    set("train.batch_size", options.batch.map(|n| n.to_string()))?;
    set("train.block", options.context.map(|n| n.to_string()))?;
    set("train.recompute", options.recompute.map(|n| n.to_string()))?;
    let dtype = options.dtype.filter(|dtype| dtype.is_trained());
    set("train.dtype", dtype.map(|dtype| dtype.name().to_owned()))?;
    Ok(all)
}

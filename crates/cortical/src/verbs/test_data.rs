//! The samples that a trained network is tested on or looked at with.

use std::path::Path;

use cortical_data::csv::{CsvOptions, LabelColumn};
use cortical_data::{Dataset, Target, Targets, catalog, open_features};
use cortical_train::{Outputs, Recipe, RunPaths, SampleRecipe, TrainedModel};

use crate::error::{Error, Result};
use crate::output::Output;

/// Samples at a time where no recipe says how many.
const BATCH_SIZE: usize = 256;

/// Which samples a person names.
pub(crate) struct TestData<'a> {
    /// The run or model file.
    pub(crate) run: &'a Path,
    /// A data set, a file or a folder; what the run held out when absent.
    pub(crate) data: Option<&'a str>,
    /// The label column of a CSV file.
    pub(crate) label: Option<&'a str>,
}

impl TestData<'_> {
    /// The samples to test on, preprocessed as the model's training data were, and how many at a time.
    pub(crate) fn open(
        &self,
        model: &TrainedModel,
        run: Option<&RunPaths>,
        output: &Output,
    ) -> Result<(Dataset, usize)> {
        let recipe = match run {
            Some(run) if run.is_run() => Some(run.read_recipe()?),
            _ => None,
        };
        let samples = recipe.as_ref().map(Recipe::samples).transpose()?;
        let batch_size = samples.map_or(BATCH_SIZE, |samples| samples.train.eval_batch_size);
        let dataset = match (self.data, &recipe) {
            (None, Some(recipe)) => recipe.open_samples(model.preprocess().columns())?.test,
            (None, None) => {
                return Err(Error::NoData {
                    path: self.run.to_owned(),
                });
            }
            (Some(name), _) => self.named(name, model, samples)?,
        };
        let dataset = model.prepared(&dataset)?;
        for note in &dataset.about().notes {
            output.remark(note);
        }
        Ok((dataset, batch_size))
    }

    /// Data that the person names: every row of a CSV file, the test part of anything else.
    fn named(
        &self,
        name: &str,
        model: &TrainedModel,
        trained: Option<&SampleRecipe>,
    ) -> Result<Dataset> {
        let path = Path::new(name);
        let is_known = catalog().iter().any(|entry| entry.name == name);
        let label = match (self.label, trained) {
            (Some(label), _) => Some(LabelColumn::parse(label)),
            // Models of older versions do not keep the columns of their table.
            (None, Some(trained)) if model.preprocess().columns().is_empty() => {
                trained.data.label.clone()
            }
            (None, _) => None,
        };
        if !is_known && path.is_file() {
            let target = match model.outputs() {
                Outputs::Labels(_) => Target::Labels,
                _ => Target::Classes,
            };
            let options = CsvOptions {
                target,
                label,
                classes: Some(model.classes().to_vec()),
                ..CsvOptions::default()
            };
            let features = open_features(path, model.preprocess(), &options)?;
            let names = match model.outputs() {
                Outputs::Numbers(numbers) => Some(numbers.scale().names()),
                Outputs::Labels(labels) => Some(labels.names()),
                _ => None,
            };
            if let Some(names) = names {
                let values = features.targets.ok_or_else(|| Error::NoTargets {
                    path: path.to_owned(),
                    targets: names.join(", "),
                })?;
                let targets = Targets::new(values, names.to_vec())?;
                return Ok(Dataset::of_numbers(features.inputs, targets)?);
            }
            let labels: Option<Vec<u32>> =
                features.labels.and_then(|all| all.into_iter().collect());
            let labels = labels.ok_or_else(|| Error::NoLabels {
                path: path.to_owned(),
            })?;
            return Ok(Dataset::new(
                features.inputs,
                labels,
                model.classes().to_vec(),
            )?);
        }
        if self.label.is_some() {
            return Err(Error::NoTable {
                data: name.to_owned(),
            });
        }
        let recipe = Recipe::for_data(name);
        let mut options = recipe.samples()?.options(&recipe.data);
        if path.is_dir() {
            // Pictures come in any size.
            options.input_shape = Some(model.preprocess().input_shape().to_vec());
        }
        Ok(cortical_data::open(name, &options)?.test)
    }
}

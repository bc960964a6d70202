//! A layer of one's own, named in a recipe and trained by the one trainer.
//!
//! `cargo run --release -p cortical-train --example own_layer -- FOLDER` trains a run in FOLDER, stops it half-way,
//! continues it and reads the model again.

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::{Device, Tensor};
use cortical_models::{AnyLayer, Kinds, LayerKind, Site};
use cortical_neuron::{Description, Init, Layer, Param, Pass};
use cortical_settings::settings;
use cortical_train::{Outcome, Recipe, RunFolder, RunPaths, Stop, evaluate, train};

settings! {
    /// What a recipe may set: `{ scale = 0.5 }` or `{ scale = { init = 0.5 } }`.
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct Scale {
        /// The factors at first.
        pub init: f64 = 1.0, "the factors at first";
    }
}

/// Every feature times a learned factor: `y = w ⊙ x`.
struct Scaled {
    weight: Param,
}

impl Layer for Scaled {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        Ok(x.broadcast_mul(self.weight.tracked(pass))?) // [n, features]
    }

    fn describe(&self, sample: &[usize]) -> cortical_neuron::Result<Description> {
        Ok(Description::new("Scaled", "", sample).parameters([&self.weight], "a factor a feature"))
    }
}

impl LayerKind for Scale {
    const KIND: &'static str = "scale";
    const SUMMARY: &'static str = "every feature times a learned factor";
    const PREFIX: &'static str = "scale";
    const SHORT: &'static str = "init";
    const EXAMPLE: &'static str = "a factor such as 0.5";
    type Settings = Self;

    fn build(settings: &Self, site: &Site<'_>) -> cortical_models::Result<AnyLayer> {
        let features = site.input()[0];
        let init = Init::Constant(settings.init);
        let weight = site.scope().param("weight", &[features], init)?;
        Ok(Box::new(Scaled { weight }))
    }
}

pub(crate) const RECIPE: &str = r#"
version = 2
[data]
name = "iris"
[model]
kind = "layers"
layers = [{ linear = 16 }, { scale = 0.5 }, { activation = "relu" }, { linear = "classes" }]
[train]
epochs = 20
"#;

/// Asks to stop after so many steps.
pub(crate) struct After(pub(crate) AtomicU64);

impl Stop for After {
    fn is_requested(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) == 0
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::args().nth(1).ok_or("name a folder for the run")?);
    let kinds = Kinds::standard().with::<Scale>();
    let recipe = Recipe::from_toml_with(RECIPE, None, &[], &kinds)?;
    let folder = RunFolder::create(&root, &recipe)?;
    train(folder, &recipe, &After(AtomicU64::new(10)), &mut ())?;

    let run = RunPaths::new(&root).with_kinds(&kinds);
    let (folder, recipe) = run.open()?; // the recipe in the folder names the layer
    let Outcome::Finished(report) = train(folder, &recipe, &(), &mut ())? else {
        return Err("nobody asked it to stop".into());
    };
    println!("{} steps", report.steps);

    let model = run.load_model(&Device::Cpu)?; // and so does the model file
    let test = recipe
        .open_samples(&[])?
        .test
        .preprocessed(model.preprocess())?;
    let found = evaluate(model.network(), &test, 64, &Device::Cpu)?;
    println!("{:.3} of the test samples", found.accuracy);
    println!("factors: {}", model.params().get("scale1.weight")?.tensor());
    Ok(())
}

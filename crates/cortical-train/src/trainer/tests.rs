//! Runs of language models that are stopped, continued, kept and refused. Those of pictures and tables stand in
//! `tests/`.

mod labelled;
mod text;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::recipe::{TaskRecipe, TextRecipe};
use crate::{Event, Outcome, Override, Recipe, Report, RunFolder, RunPaths, Stop, train};

/// A recipe on these data, with some fields set.
fn recipe_of(text: &str, data: &Path, set: &[&str]) -> Recipe {
    let mut set: Vec<Override> = set.iter().map(|set| set.parse().unwrap()).collect();
    set.insert(0, Override::new("data.name", data.display().to_string()));
    Recipe::from_toml(text, None, &set).unwrap()
}

/// Trains to the end, in a folder of its own, and returns the losses too.
fn trained(root: &Path, recipe: &Recipe) -> (Report, Vec<f64>) {
    let folder = RunFolder::create(root, recipe).unwrap();
    let mut losses = Vec::new();
    let outcome = train(folder, recipe, &(), &mut |event: Event<'_>| {
        if let Event::Step(step) = event {
            losses.push(step.loss);
        }
    });
    match outcome.unwrap() {
        Outcome::Finished(report) => (report, losses),
        other => panic!("nobody asked it to stop: {other:?}"),
    }
}

/// Trains to the end, stopped and continued twice.
fn trained_in_parts(root: &Path, recipe: &Recipe) -> Report {
    let mut parts = RunFolder::create(root, recipe).unwrap();
    for stop in [2, 3] {
        let stop = After(AtomicU64::new(stop));
        let outcome = train(parts, recipe, &stop, &mut ()).unwrap();
        assert!(matches!(outcome, Outcome::Stopped { .. }));
        parts = RunFolder::open(root).unwrap().0;
    }
    match train(parts, recipe, &(), &mut ()).unwrap() {
        Outcome::Finished(report) => report,
        other => panic!("nobody asked it to stop: {other:?}"),
    }
}

/// Why a run cannot begin; it leaves no folder.
fn refused(root: &Path, recipe: &Recipe) -> String {
    let folder = RunFolder::create(root, recipe).unwrap();
    let error = train(folder, recipe, &(), &mut ()).unwrap_err();
    assert!(!root.exists(), "{error}");
    error.to_string()
}

/// Asks to stop after some steps.
struct After(AtomicU64);

impl Stop for After {
    fn is_requested(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) == 0
    }
}

fn model_bytes(root: &Path) -> Vec<u8> {
    std::fs::read(RunPaths::new(root).model()).unwrap()
}

/// The fields of a language model's recipe.
fn text_of(recipe: &mut Recipe) -> &mut TextRecipe {
    match &mut recipe.task {
        TaskRecipe::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

//! Runs of language models that are stopped, continued, kept and refused. Those of pictures and tables stand in
//! `tests/`.

mod labelled;
mod text;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::recipe::{TaskRecipe, TextRecipe};
use crate::{Recipe, RunPaths, Stop};

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

//! Runs cases through the public interface of our crates.

use crate::outcome::{Judge, Outcome};
use crate::{Stop, differentiate, training, training_run};
use cortical_testkit::Case;

/// Runs one case in every way there is for it.
#[must_use]
pub fn run(case: &Case) -> Outcome {
    let name = case.path.file_stem().unwrap_or_default();
    let mut judge = Judge::new(case);
    let result = match case.kind.as_str() {
        "layer" | "function" | "loss" => differentiate::run(&mut judge),
        "optimizer" => training::optimizer(&mut judge),
        "schedule" => training::schedule(&mut judge),
        "clip" => training::clip(&mut judge),
        "run" => training_run::run(&mut judge),
        _ => Err(Stop::UnknownSubject {
            kind: case.kind.clone(),
            name: case.name.clone(),
        }),
    };
    Outcome {
        name: name.to_string_lossy().into_owned(),
        result: result.map(|()| judge.seen),
    }
}

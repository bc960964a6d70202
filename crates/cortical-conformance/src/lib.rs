//! Reference cases computed by PyTorch, and tests that hold Cortical's public interface to them.
//!
//! The cases lie in `cases/` beside the script that makes them (`cargo xtask cases`). Those whose names end in a number
//! or a bare word are from another generator of the same format; the script computes them again and compares.
//! [`defects`] says what a file of each kind must hold, so that a test that asks for a tensor finds it.
//!
//! [`extremes`] are small cases far from zero, with infinities and NaN, in both precisions.
//!
//! [`run`] computes a case with our crates in every way they offer: as a layer whose parameters have slots, as an
//! operation on plain candle variables, both of strided tensors, and as that operation's fallback in candle's
//! operations. A case that it does not know, or one with an argument that it does not know, is skipped by name. The
//! binary `cortical-conformance FOLDER` does so for any folder of cases.

mod config;
mod differentiate;
mod extremes;
mod given;
pub mod models;
mod outcome;
mod runner;
mod stop;
mod subjects;
mod training;
mod training_run;

pub use extremes::{Extreme, extremes};
pub use outcome::{Outcome, Seen};
pub use runner::{run, run_file};
pub use stop::Stop;

/// The README's example is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;

use cortical_testkit::{Case, CaseError, CaseTensor, Values};
use std::path::{Path, PathBuf};

/// The folder of the committed cases.
#[must_use]
pub fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

/// Every committed case, in the order of their files' names.
///
/// # Errors
/// [`CaseError`] if the folder cannot be read, or a file in it is not a case.
pub fn cases() -> Result<Vec<Case>, CaseError> {
    cases_in(&committed())
}

/// Every case in a folder, in the order of their files' names.
///
/// # Errors
/// [`CaseError`] if the folder cannot be read, or a file in it is not a case.
pub fn cases_in(folder: &Path) -> Result<Vec<Case>, CaseError> {
    let paths = cortical_testkit::cases(folder)?;
    paths.into_iter().map(Case::read).collect()
}

/// What is missing or contradictory in a case, a sentence each; nothing in a good one.
pub fn defects(case: &Case) -> Vec<String> {
    let mut defects = match case.kind.as_str() {
        "layer" | "function" | "loss" => gradients(case),
        "optimizer" => steps(case),
        "schedule" => missing(case, &["lr"]),
        "clip" => same_shapes(case, "grad.", "after."),
        "run" => {
            let mut defects = missing(case, &["input.0", "input.1", "losses"]);
            defects.extend(same_shapes(case, "param.", "after."));
            defects
        }
        kind => vec![format!("the kind {kind:?} is not known")],
    };
    for (name, tensor) in &case.tensors {
        if !finite(tensor) {
            defects.push(format!("{name} is not finite"));
        }
    }
    defects
}

/// Outputs match the gradients that come in, inputs and parameters those that go out.
fn gradients(case: &Case) -> Vec<String> {
    let mut defects = Vec::new();
    if case.with_prefix("output").next().is_none() {
        defects.push("there is no output".to_owned());
    }
    // Integers, such as the places of maxima, have no gradient.
    let has_gradient = |tensor: &CaseTensor| matches!(tensor.data, Values::F32(_) | Values::F64(_));
    let mut outputs = case.with_prefix("output");
    if outputs.any(|(_, tensor)| has_gradient(tensor)) {
        if case.with_prefix("d_input.").next().is_none()
            && case.with_prefix("d_param.").next().is_none()
        {
            defects.push("there is no gradient".to_owned());
        }
        defects.extend(same_shapes(case, "output", "d_output"));
    }
    defects.extend(same_shapes(case, "d_input.", "input."));
    defects.extend(same_shapes(case, "param.", "d_param."));
    defects.extend(same_shapes(case, "buffer.", "buffer_after."));
    defects
}

/// Each step of an optimizer has a gradient and a result for each parameter.
fn steps(case: &Case) -> Vec<String> {
    // L-BFGS computes its gradients itself.
    if case.name == "LBFGS" {
        return missing(case, &["input.0", "input.1", "param.0", "after.0.0"]);
    }
    let mut defects = same_shapes(case, "grad.", "after.");
    for (name, _) in case.with_prefix("param.") {
        defects.extend(missing(case, &[&format!("grad.0.{name}")]));
    }
    defects
}

fn missing(case: &Case, names: &[&str]) -> Vec<String> {
    let absent = names
        .iter()
        .filter(|name| !case.tensors.contains_key(**name));
    absent.map(|name| format!("{name} is missing")).collect()
}

/// Every tensor called `from` and something has a partner called `to` and the same, of the same shape.
fn same_shapes(case: &Case, from: &str, to: &str) -> Vec<String> {
    let mut defects = Vec::new();
    for (name, tensor) in case.with_prefix(from) {
        match case.tensors.get(&format!("{to}{name}")) {
            None => defects.push(format!("{to}{name} is missing")),
            Some(partner) if partner.shape != tensor.shape => defects.push(format!(
                "{from}{name} is {:?} but {to}{name} is {:?}",
                tensor.shape, partner.shape
            )),
            Some(_) => {}
        }
    }
    defects
}

fn finite(tensor: &CaseTensor) -> bool {
    match &tensor.data {
        Values::F32(values) => values.iter().all(|value| value.is_finite()),
        Values::F64(values) => values.iter().all(|value| value.is_finite()),
        _ => true,
    }
}

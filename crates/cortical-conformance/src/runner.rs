//! Runs cases through the public interface of our crates.
//!
//! A folder of cases comes from somebody else: what cannot be read, asks for impossible sizes or makes something panic
//! is one failed case, and the others run on.

use crate::outcome::{Judge, Outcome};
use crate::{Stop, differentiate, training, training_run};
use cortical_testkit::{Case, CaseError};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The largest whole number that an argument may be: as many rows as a large table has.
const NUMBER_MAX: f64 = 1_048_576.0;
/// The largest that one counted along an axis may be: three axes of as many elements are still few.
const AXIS_MAX: f64 = 512.0;
/// Arguments that are counted along an axis.
const AXES: [&str; 10] = [
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "output_padding",
    "output_size",
    "size",
    "scale_factor",
    "upscale_factor",
    "downscale_factor",
];
/// The largest file that is read.
const BYTES_MAX: u64 = 1 << 28;

/// Reads and runs the case in a file.
#[must_use]
pub fn run_file(path: &Path) -> Outcome {
    let read = || {
        let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
        if bytes > BYTES_MAX {
            let what = format!("size below {BYTES_MAX} bytes ({bytes} are there)");
            return Err(Stop::Malformed { what });
        }
        Ok(Case::read(path)?)
    };
    match read() {
        Ok(case) => run(&case),
        Err(stop) => Outcome {
            name: path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            result: Err(stop),
        },
    }
}

/// Runs one case in every way there is for it.
#[must_use]
pub fn run(case: &Case) -> Outcome {
    let name = case.path.file_stem().unwrap_or_default();
    let mut judge = Judge::new(case);
    let result = sizes(&case.config).and_then(|()| {
        let run = AssertUnwindSafe(|| run_kind(&mut judge));
        catch_unwind(run).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let what = text.unwrap_or("no message").to_string();
            Err(Stop::Panicked { what })
        })
    });
    Outcome {
        name: name.to_string_lossy().into_owned(),
        result: result.map(|()| judge.seen),
    }
}

fn run_kind(judge: &mut Judge<'_>) -> Result<(), Stop> {
    match judge.case.kind.as_str() {
        "layer" | "function" | "loss" => differentiate::run(judge),
        "optimizer" => training::optimizer(judge),
        "schedule" => training::schedule(judge),
        "clip" => training::clip(judge),
        "run" => training_run::run(judge),
        _ => Err(Stop::UnknownSubject {
            kind: judge.case.kind.clone(),
            name: judge.case.name.clone(),
        }),
    }
}

/// Refuses arguments so large that memory would end before a shape is compared.
fn sizes(config: &Value) -> Result<(), Stop> {
    let Some(arguments) = config.as_object() else {
        return Err(Stop::Malformed {
            what: "config, which must be an object".to_string(),
        });
    };
    for (key, value) in arguments {
        let most = if AXES.contains(&key.as_str()) {
            AXIS_MAX
        } else {
            NUMBER_MAX
        };
        let numbers = match value {
            Value::Array(values) => &values[..],
            one => std::slice::from_ref(one),
        };
        let whole = |value: &Value| value.is_i64() || value.is_u64() || most == AXIS_MAX;
        let too_large = |value: &&Value| {
            whole(value) && value.as_f64().is_some_and(|number| number.abs() > most)
        };
        if let Some(number) = numbers.iter().find(too_large) {
            let what = format!("config.{key}: {number} is more than {most}");
            return Err(Stop::Malformed { what });
        }
    }
    Ok(())
}

impl From<CaseError> for Stop {
    fn from(error: CaseError) -> Self {
        Self::Unreadable(error)
    }
}

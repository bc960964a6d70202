//! Losses.

use super::Made;
use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use cortical_tensor::ops::{self, CrossEntropy, Reduction};

pub(crate) fn operation(
    name: &str,
    config: &Config<'_>,
    given: &Given,
) -> Result<Option<Made>, Stop> {
    let (x, y) = (given.input(0)?, given.input(1)?);
    let made = match name {
        "CrossEntropyLoss" => {
            let options = CrossEntropy {
                weight: given.extra("weight").cloned(),
                ignore_index: Some(config.i64("ignore_index", -100)?),
                label_smoothing: config.f64("label_smoothing", 0.0)?,
                reduction: reduction(config)?,
            };
            ops::cross_entropy(x, y, &options)?
        }
        _ => return Ok(None),
    };
    Ok(Some(made.into()))
}

fn reduction(config: &Config<'_>) -> Result<Reduction, Stop> {
    match config.text("reduction", "mean")? {
        "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        "none" => Ok(Reduction::None),
        _ => config.refuse("reduction"),
    }
}

//! Losses.

use super::Made;
use crate::Stop;
use crate::config::Config;
use crate::given::Given;
use candle_core::{DType, Tensor};
use cortical_tensor::ops::{self, BceWithLogits, CrossEntropy, Ctc, GaussianNll, KlDiv, Nll};
use cortical_tensor::ops::{PoissonNll, Reduction, TripletMargin, TripletMarginWithDistance};

pub(crate) fn operation(
    name: &str,
    config: &Config<'_>,
    given: &Given,
) -> Result<Option<Made>, Stop> {
    let (x, y) = (given.input(0)?, given.input(1)?);
    let loss = match of_numbers(name, config, given, x, y)? {
        Some(loss) => Some(loss),
        None => of_one_row(name, config, given, x, y)?,
    };
    // What PyTorch has in place of `reduction` since long ago may only say what `reduction` says.
    config.only("size_average", serde_json::Value::Null)?;
    config.only("reduce", serde_json::Value::Null)?;
    Ok(loss.map(Into::into))
}

/// Losses of rows, of which PyTorch takes a single one without a batch as well.
fn of_one_row(
    name: &str,
    config: &Config<'_>,
    given: &Given,
    x: &Tensor,
    y: &Tensor,
) -> Result<Option<Tensor>, Stop> {
    let takes_one = ["CrossEntropyLoss", "NLLLoss", "MultiMarginLoss"].contains(&name);
    if !takes_one || x.rank() != 1 {
        return of_rows(name, config, given, x, y);
    }
    let loss = of_rows(name, config, given, &x.unsqueeze(0)?, &y.unsqueeze(0)?)?;
    // A loss for each row is then that of the one.
    Ok(match loss {
        Some(loss) if loss.rank() > 0 => Some(loss.squeeze(0)?),
        loss => loss,
    })
}

/// Losses between each number and its target.
fn of_numbers(
    name: &str,
    config: &Config<'_>,
    given: &Given,
    x: &Tensor,
    y: &Tensor,
) -> Result<Option<Tensor>, Stop> {
    let loss = match name {
        "MSELoss" => ops::mse_loss(x, y, reduction(config)?)?,
        "L1Loss" => ops::l1_loss(x, y, reduction(config)?)?,
        "SmoothL1Loss" => ops::smooth_l1_loss(x, y, config.f64("beta", 1.0)?, reduction(config)?)?,
        "HuberLoss" => ops::huber_loss(x, y, config.f64("delta", 1.0)?, reduction(config)?)?,
        "BCELoss" => ops::binary_cross_entropy(x, y, given.extra("weight"), reduction(config)?)?,
        "BCEWithLogitsLoss" => {
            let options = BceWithLogits {
                weight: given.extra("weight").cloned(),
                pos_weight: given.extra("pos_weight").cloned(),
                reduction: reduction(config)?,
            };
            ops::binary_cross_entropy_with_logits(x, y, &options)?
        }
        "MultiLabelSoftMarginLoss" => {
            ops::multi_label_soft_margin_loss(x, y, given.extra("weight"), reduction(config)?)?
        }
        "KLDivLoss" => {
            let batch_mean = config.text("reduction", "mean")? == "batchmean";
            let options = KlDiv {
                log_target: config.bool("log_target", false)?,
                batch_mean,
                reduction: if batch_mean {
                    Reduction::Sum
                } else {
                    reduction(config)?
                },
            };
            ops::kl_div(x, y, &options)?
        }
        "PoissonNLLLoss" => {
            let options = PoissonNll {
                log_input: config.bool("log_input", true)?,
                full: config.bool("full", false)?,
                eps: config.f64("eps", 1e-8)?,
                reduction: reduction(config)?,
            };
            ops::poisson_nll_loss(x, y, &options)?
        }
        "GaussianNLLLoss" => {
            let options = GaussianNll {
                full: config.bool("full", false)?,
                eps: config.f64("eps", 1e-6)?,
                reduction: reduction(config)?,
            };
            ops::gaussian_nll_loss(x, y, given.input(2)?, &options)?
        }
        "SoftMarginLoss" => ops::soft_margin_loss(x, y, reduction(config)?)?,
        "HingeEmbeddingLoss" => {
            ops::hinge_embedding_loss(x, y, config.f64("margin", 1.0)?, reduction(config)?)?
        }
        _ => return Ok(None),
    };
    Ok(Some(loss))
}

/// Losses of whole rows: classes, rankings and distances.
fn of_rows(
    name: &str,
    config: &Config<'_>,
    given: &Given,
    x: &Tensor,
    y: &Tensor,
) -> Result<Option<Tensor>, Stop> {
    let loss = match name {
        "CrossEntropyLoss" => {
            let options = CrossEntropy {
                weight: given.extra("weight").cloned(),
                ignore_index: Some(config.i64("ignore_index", -100)?),
                label_smoothing: config.f64("label_smoothing", 0.0)?,
                reduction: reduction(config)?,
            };
            ops::cross_entropy(x, y, &options)?
        }
        "NLLLoss" => {
            let options = Nll {
                weight: given.extra("weight").cloned(),
                ignore_index: Some(config.i64("ignore_index", -100)?),
                reduction: reduction(config)?,
            };
            ops::nll_loss(x, y, &options)?
        }
        "MultiMarginLoss" => {
            let p = config.usize("p", 1)? as u32;
            let margin = config.f64("margin", 1.0)?;
            ops::multi_margin_loss(x, y, p, margin, given.extra("weight"), reduction(config)?)?
        }
        "MarginRankingLoss" => {
            let margin = config.f64("margin", 0.0)?;
            ops::margin_ranking_loss(x, y, given.input(2)?, margin, reduction(config)?)?
        }
        "CosineEmbeddingLoss" => {
            let margin = config.f64("margin", 0.0)?;
            // PyTorch takes whole numbers for signs as well.
            let signs = given.input(2)?.to_dtype(x.dtype())?;
            ops::cosine_embedding_loss(x, y, &signs, margin, reduction(config)?)?
        }
        "CTCLoss" => {
            let lengths = |i: usize| -> Result<Vec<usize>, Stop> {
                let lengths = given
                    .input(i)?
                    .flatten_all()?
                    .to_dtype(DType::I64)?
                    .to_vec1::<i64>()?;
                Ok(lengths.into_iter().map(|len| len as usize).collect())
            };
            let options = Ctc {
                blank: config.usize("blank", 0)?,
                reduction: reduction(config)?,
                zero_infinity: config.bool("zero_infinity", false)?,
            };
            ops::ctc_loss(x, y, &lengths(2)?, &lengths(3)?, &options)?
        }
        "MultiLabelMarginLoss" => ops::multi_label_margin_loss(x, y, reduction(config)?)?,
        "TripletMarginWithDistanceLoss" => {
            // The distance of PyTorch's default.
            config.only("distance_function", serde_json::Value::Null)?;
            let options = TripletMarginWithDistance {
                margin: config.f64("margin", 1.0)?,
                swap: config.bool("swap", false)?,
                reduction: reduction(config)?,
            };
            let distance =
                |a: &Tensor, b: &Tensor| ops::norm(&((a - b)? + 1e-6)?, 2.0, &[-1], false);
            ops::triplet_margin_with_distance_loss(x, y, given.input(2)?, distance, &options)?
        }
        "TripletMarginLoss" => {
            let options = TripletMargin {
                margin: config.f64("margin", 1.0)?,
                p: config.f64("p", 2.0)?,
                eps: config.f64("eps", 1e-6)?,
                swap: config.bool("swap", false)?,
                reduction: reduction(config)?,
            };
            ops::triplet_margin_loss(x, y, given.input(2)?, &options)?
        }
        _ => return Ok(None),
    };
    Ok(Some(loss))
}

fn reduction(config: &Config<'_>) -> Result<Reduction, Stop> {
    match config.text("reduction", "mean")? {
        "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        "none" => Ok(Reduction::None),
        _ => config.refuse("reduction"),
    }
}

//! How long networks take, measured back to back.

use std::time::{Duration, Instant};

use candle_core::{Device, Tensor};
use cortical_models::Network;
use cortical_models::language::LanguageModel;
use cortical_neuron::{Layer, Pass};
use cortical_tensor::{Rng, Seed};

use crate::Result;

/// Rounds of a measurement: at least and at most, and for how long if it is neither.
const ROUNDS: (usize, usize) = (15, 400);
pub(crate) const PATIENCE: Duration = Duration::from_millis(400);

/// Median milliseconds of a forward pass in evaluation of each network, on so many samples of its input shape. One pass
/// of each follows the other, so that whatever slows the machine down slows all of them.
///
/// # Errors
/// Those of a forward pass.
pub(crate) fn milliseconds(
    networks: &[(&Network, &[usize])],
    batch: usize,
    patience: Duration,
) -> Result<Vec<f64>> {
    let mut rng = Rng::new(Seed(0), "timing");
    let mut inputs = Vec::new();
    for (_, shape) in networks {
        let mut x = vec![0.0; batch * shape.iter().product::<usize>()];
        rng.fill_normal(&mut x, 0.0, 1.0);
        let dims: Vec<usize> = std::iter::once(batch)
            .chain(shape.iter().copied())
            .collect();
        inputs.push(Tensor::from_vec(x, dims, &Device::Cpu)?);
    }
    let mut times = vec![Vec::new(); networks.len()];
    let started = Instant::now();
    for round in 0.. {
        let enough = round > ROUNDS.0 && started.elapsed() > patience;
        if enough || round > ROUNDS.1 {
            break;
        }
        for (i, (network, _)) in networks.iter().enumerate() {
            let before = Instant::now();
            let y = network.forward(&inputs[i], &mut Pass::eval())?;
            let took = before.elapsed().as_secs_f64() * 1e3;
            std::hint::black_box(y);
            // The first round finds nothing in the caches.
            if round > 0 {
                times[i].push(took);
            }
        }
    }
    Ok(times.into_iter().map(median).collect())
}

/// Median milliseconds of a pass of each language model over these tokens, with the scores of the last one; one pass of
/// each follows the other.
///
/// # Errors
/// Those of a pass.
pub(crate) fn of_tokens(models: &[&LanguageModel], ids: &[u32]) -> Result<Vec<f64>> {
    let ids = Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu)?;
    let mut times = vec![Vec::new(); models.len()];
    let started = Instant::now();
    for round in 0..ROUNDS.1 {
        if round > ROUNDS.0 && started.elapsed() > PATIENCE {
            break;
        }
        for (model, times) in models.iter().zip(&mut times) {
            let before = Instant::now();
            let hidden = model.hidden(&ids, None, &mut Pass::eval())?;
            let last = hidden.narrow(1, ids.dim(1)? - 1, 1)?.contiguous()?;
            if model.has_head() {
                std::hint::black_box(model.scores(&last, &mut Pass::eval())?);
            }
            if round > 0 {
                times.push(before.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    Ok(times.into_iter().map(median).collect())
}

pub(crate) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

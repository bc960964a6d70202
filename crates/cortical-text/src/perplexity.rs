//! How well a model predicts a text.

use crate::error::{Error, Result};
use candle_core::{Device, Tensor};
use cortical_models::language::LanguageModel;
use cortical_neuron::{Pass, loss::cross_entropy};

/// How well a model foresaw a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perplexity {
    /// The mean of `−ln p` over the tokens that were to be predicted.
    pub loss: f64,
    /// How many those were.
    pub tokens: usize,
}

impl Perplexity {
    /// `e^loss`: as unsure as among so many equally likely tokens.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.loss.exp()
    }
}

/// How well `model` predicts `ids`, read in windows of `window` tokens. In each, the tokens from place `skip` on count,
/// so that each that counts has a context; the last, shorter window counts too.
///
/// # Errors
/// [`Error::ShortText`]; when the model refuses.
pub fn perplexity(
    model: &LanguageModel,
    ids: &[u32],
    window: usize,
    skip: usize,
) -> Result<Perplexity> {
    let (window, skip) = (window.max(2), skip.max(1));
    let (mut sum, mut tokens) = (0.0, 0);
    for part in ids.chunks(window) {
        let counted = part.len().saturating_sub(skip);
        if counted == 0 {
            continue;
        }
        let read = Tensor::from_slice(&part[..part.len() - 1], (1, part.len() - 1), &Device::Cpu)?;
        let mut pass = Pass::eval();
        let hidden = model.hidden(&read, None, &mut pass)?;
        let hidden = hidden.narrow(1, skip - 1, counted)?.contiguous()?;
        let scores = model.scores(&hidden, &mut pass)?.flatten_to(1)?;
        let labels = Tensor::from_slice(&part[skip..], counted, &Device::Cpu)?;
        let loss = cross_entropy(&scores, &labels).map_err(cortical_models::Error::from)?;
        sum += f64::from(loss.to_scalar::<f32>()?) * counted as f64;
        tokens += counted;
    }
    if tokens == 0 {
        return Err(Error::ShortText {
            got: ids.len(),
            skip,
            needed: skip.saturating_add(1),
        });
    }
    let loss = sum / tokens as f64;
    Ok(Perplexity { loss, tokens })
}

//! What scores tokens: neurons of its own, or the table that looks them up.

use super::Head;
use super::table::TokenTable;
use candle_core::{DType, Tensor};
use cortical_neuron::{Init, Params, Pass, Projection, Result};
use cortical_tensor::ops::{self, CrossEntropy};

/// The end of a language model: from a hidden state to a score for each token.
#[derive(Debug)]
pub(crate) enum TokenHead {
    /// `lm_head`.
    Own(Projection),
    /// How well each token's vector fits.
    Tied(TokenTable),
}

impl TokenHead {
    /// The head that a model with this table of tokens ends with, if it ends with one.
    pub(crate) fn build(
        head: Head,
        table: &TokenTable,
        init: Init,
        params: &Params,
    ) -> Result<Option<Self>> {
        Ok(match head {
            Head::Own => {
                let config = Projection::config(table.dim(), table.tokens()).init(init);
                Some(Self::Own(config.build(&params.at("lm_head"))?))
            }
            Head::Tied => Some(Self::Tied(table.clone())),
            Head::None => None,
        })
    }

    /// The scores `[…, tokens]` of a hidden state `[…, dim]`.
    pub(crate) fn scores(&self, hidden: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        match self {
            Self::Own(neurons) => neurons.apply(hidden, pass),
            Self::Tied(table) => table.scores(hidden, pass),
        }
    }

    /// The mean cross-entropy of [`TokenHead::scores`] against the tokens that came. Of parameters in single precision it is one operation,
    /// which never holds all scores; packed, changed or narrow weights have to have them.
    pub(crate) fn loss(&self, hidden: &Tensor, labels: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let inputs = match self {
            _ if is_half(hidden) => None,
            Self::Own(neurons) => neurons.plain().map(|neurons| neurons.inputs(pass)),
            Self::Tied(table) => table.weight().map(|weight| (weight.input(pass), None)),
        };
        let options = CrossEntropy::default();
        Ok(match inputs {
            Some((weight, bias)) => {
                ops::linear_cross_entropy(hidden, weight, bias, labels, &options)?
            }
            None => {
                // Widened where they are narrow: a mean over thousands of tokens wants more than three digits.
                let scores = self.scores(hidden, pass)?;
                let scores = match is_half(&scores) {
                    true => scores.to_dtype(DType::F32)?,
                    false => scores,
                };
                let rows = scores.flatten_to(scores.rank().saturating_sub(2))?;
                ops::cross_entropy(&rows, &labels.flatten_all()?, &options)?
            }
        })
    }

    /// Its neurons, where it has some of its own.
    pub(crate) fn projection(&self) -> Option<&Projection> {
        match self {
            Self::Own(neurons) => Some(neurons),
            Self::Tied(_) => None,
        }
    }
}

fn is_half(x: &Tensor) -> bool {
    matches!(x.dtype(), DType::BF16 | DType::F16)
}

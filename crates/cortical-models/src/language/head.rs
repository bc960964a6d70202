//! What scores tokens: neurons of its own, or the table that looks them up.

use super::table::TokenTable;
use candle_core::{DType, Tensor};
use cortical_dense::Linear;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Init, Params, Pass, Result};
use cortical_tensor::ops::{self, CrossEntropy};

/// Where scores of tokens come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Weights of its own.
    Own,
    /// The table of tokens.
    Tied,
    /// Nowhere: the model ends with its hidden state.
    None,
}

impl Head {
    /// That of a model which shares the table of tokens, or does not.
    pub(crate) fn tied(tied: bool) -> Self {
        match tied {
            true => Self::Tied,
            false => Self::Own,
        }
    }
}

/// The end of a language model: from a hidden state to a score for each token.
#[derive(Debug)]
pub(crate) struct TokenHead {
    scorer: Scorer,
    /// What the scores are softly kept below.
    softcap: Option<f64>,
}

#[derive(Debug)]
enum Scorer {
    /// `lm_head`.
    Own(Linear),
    /// How well each token's vector fits.
    Tied(TokenTable),
}

impl TokenHead {
    /// The head that a model with this table of tokens ends with, if it ends with one.
    pub(crate) fn build(
        head: Head,
        table: &TokenTable,
        init: Init,
        softcap: Option<f64>,
        params: &Params,
    ) -> Result<Option<Self>> {
        let scorer = match head {
            Head::Own => {
                let config = Linear::config(table.dim(), table.tokens())
                    .bias(false)
                    .init(init);
                Scorer::Own(config.build(&params.at("lm_head"))?)
            }
            Head::Tied => Scorer::Tied(table.clone()),
            Head::None => return Ok(None),
        };
        Ok(Some(Self { scorer, softcap }))
    }

    /// The scores `[…, tokens]` of a hidden state `[…, dim]`.
    pub(crate) fn scores(&self, hidden: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let scores = match &self.scorer {
            Scorer::Own(linear) => linear.apply(hidden, pass)?,
            Scorer::Tied(table) => table.scores(hidden, pass)?,
        };
        match self.softcap {
            None => Ok(scores),
            Some(cap) => {
                let share = scores.affine(cap.recip(), 0.0)?;
                Ok(ops::activate(&share, Activation::Tanh)?.affine(cap, 0.0)?)
            }
        }
    }

    /// The mean cross-entropy of [`TokenHead::scores`] against the tokens that came. Of parameters in single precision
    /// it is one operation, which never holds all scores; quantized, changed or narrow weights and scores with a soft
    /// cap have to have them.
    pub(crate) fn loss(
        &self,
        hidden: &Tensor,
        labels: &Tensor,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let inputs = match &self.scorer {
            _ if is_half(hidden) || self.softcap.is_some() => None,
            Scorer::Own(linear) => linear.plain_inputs(pass),
            Scorer::Tied(table) => table.weight().map(|weight| (weight.input(pass), None)),
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

    /// Up to so many rows together, each row of the scores has the bits that it has alone.
    pub(crate) fn rows_alike(&self) -> usize {
        match &self.scorer {
            Scorer::Own(linear) => linear.rows_alike(),
            Scorer::Tied(table) => table.rows_alike(),
        }
    }

    /// Its neurons, where it has some of its own.
    pub(crate) fn projection(&self) -> Option<&Linear> {
        match &self.scorer {
            Scorer::Own(linear) => Some(linear),
            Scorer::Tied(_) => None,
        }
    }
}

fn is_half(x: &Tensor) -> bool {
    matches!(x.dtype(), DType::BF16 | DType::F16)
}

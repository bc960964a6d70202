//! The table of tokens, and losses of heads.

use candle_core::{DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::packed::PackedMatrix;
use cortical_neuron::{Embedding, Error, Init, Layer, Pass, Projection, Result, Scope};
use cortical_tensor::ops::{self, CrossEntropy};
use std::sync::Arc;

/// A vector for each token, from parameters or from packed rows.
#[derive(Clone, Debug)]
pub(crate) enum TokenTable {
    Table(Embedding),
    Packed(Arc<PackedMatrix>),
}

impl TokenTable {
    pub(crate) fn build(tokens: usize, dim: usize, init: Init, scope: &Scope) -> Result<Self> {
        let name = format!("{}.weight", scope.path());
        if let Some(source) = scope.params().source()
            && let Some(packed) = source.packed(&name, &[tokens, dim])?
        {
            return Ok(Self::Packed(packed));
        }
        Ok(Self::Table(
            Embedding::config(tokens, dim).init(init).build(scope)?,
        ))
    }

    /// The vectors `[…, dim]` of `ids`.
    pub(crate) fn look_up(&self, ids: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let packed = match self {
            Self::Table(table) => return table.forward(ids, pass),
            Self::Packed(packed) => packed,
        };
        let rows = ids.flatten_all()?.to_dtype(DType::I64)?.to_vec1::<i64>()?;
        let dim = packed.cols();
        let mut y = vec![0.0_f32; rows.len() * dim];
        for (at, (got, y)) in rows.iter().zip(y.chunks_exact_mut(dim.max(1))).enumerate() {
            let row = usize::try_from(*got)
                .ok()
                .filter(|row| *row < packed.rows());
            let Some(row) = row else {
                return Err(Error::Op(cortical_tensor::Error::Index {
                    op: "embedding",
                    argument: "indices",
                    at,
                    got: *got,
                    below: packed.rows(),
                }));
            };
            packed.unpack_row(row, y);
        }
        let mut shape = ids.dims().to_vec();
        shape.push(dim);
        Ok(Tensor::from_vec(y, shape, ids.device())?)
    }

    /// How well each token's vector fits: `hidden · tableᵀ`, a head that shares the table.
    pub(crate) fn scores(&self, hidden: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        Ok(match self {
            Self::Table(table) => ops::linear(
                hidden,
                table.weight().input(pass),
                None,
                Activation::Identity,
            )?,
            Self::Packed(packed) => ops::packed_linear(hidden, packed, None, Activation::Identity)?,
        })
    }
    /// The mean cross-entropy of [`TokenTable::scores`] against the tokens that came.
    pub(crate) fn loss(&self, hidden: &Tensor, labels: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let table = match self {
            Self::Table(table) if !is_half(hidden) => table,
            _ => return scores_loss(&self.scores(hidden, pass)?, labels),
        };
        let weight = table.weight().input(pass);
        let options = CrossEntropy::default();
        Ok(ops::linear_cross_entropy(
            hidden, weight, None, labels, &options,
        )?)
    }
}

/// The same for a head of its own.
pub(crate) fn projection_loss(
    head: &Projection,
    hidden: &Tensor,
    labels: &Tensor,
    pass: &Pass<'_>,
) -> Result<Tensor> {
    let neurons = head.plain().filter(|_| !is_half(hidden));
    let Some(neurons) = neurons else {
        return scores_loss(&head.apply(hidden, pass)?, labels);
    };
    let (weight, bias) = neurons.inputs(pass);
    let options = CrossEntropy::default();
    Ok(ops::linear_cross_entropy(
        hidden, weight, bias, labels, &options,
    )?)
}

fn is_half(x: &Tensor) -> bool {
    matches!(x.dtype(), DType::BF16 | DType::F16)
}

/// From the scores themselves, widened where they are narrow: a mean over thousands of tokens wants more than three digits.
fn scores_loss(scores: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let scores = match is_half(scores) {
        true => scores.to_dtype(DType::F32)?,
        false => scores.clone(),
    };
    let rows = scores.flatten_to(scores.rank().saturating_sub(2))?;
    let labels = labels.flatten_all()?;
    Ok(ops::cross_entropy(
        &rows,
        &labels,
        &CrossEntropy::default(),
    )?)
}

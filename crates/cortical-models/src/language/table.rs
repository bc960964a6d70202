//! The table of tokens.

use candle_core::{DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::matmul::ROWS_ALIKE;
use cortical_kernels::quantized::{FEW_ROWS, QuantizedMatrix};
use cortical_neuron::{Description, Embedding, Error, Init, Layer, Param, Pass, Result, Scope};
use cortical_tensor::ops;
use std::sync::Arc;

/// A vector for each token, from parameters or from quantized rows.
#[derive(Clone, Debug)]
pub(crate) enum TokenTable {
    Table(Embedding),
    Quantized(Arc<QuantizedMatrix>),
}

impl TokenTable {
    /// A table of `[tokens, dim]`. The token that stands for padding, if there is one, gets no gradient.
    pub(crate) fn build(
        [tokens, dim]: [usize; 2],
        padding: Option<u32>,
        init: Init,
        scope: &Scope,
    ) -> Result<Self> {
        let name = format!("{}.weight", scope.path());
        if let Some(source) = scope.params().source()
            && let Some(quantized) = source.quantized(&name, &[tokens, dim])?
        {
            return Ok(Self::Quantized(quantized));
        }
        let mut table = Embedding::config(tokens, dim).init(init);
        // transformers has no use for a padding that is no token, as in models with a smaller vocabulary.
        if let Some(row) = padding.filter(|row| (*row as usize) < tokens) {
            table = table.stored_padding_idx(row);
        }
        Ok(Self::Table(table.build(scope)?))
    }

    /// The vectors `[…, dim]` of `ids`.
    pub(crate) fn look_up(&self, ids: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let quantized = match self {
            Self::Table(table) => return table.forward(ids, pass),
            Self::Quantized(quantized) => quantized,
        };
        let rows = ids.flatten_all()?.to_dtype(DType::I64)?.to_vec1::<i64>()?;
        let dim = quantized.cols();
        let mut y = vec![0.0_f32; rows.len() * dim];
        for (at, (got, y)) in rows.iter().zip(y.chunks_exact_mut(dim.max(1))).enumerate() {
            let row = usize::try_from(*got)
                .ok()
                .filter(|row| *row < quantized.rows());
            let Some(row) = row else {
                return Err(Error::Op(cortical_tensor::Error::Index {
                    op: "embedding",
                    argument: "indices",
                    at,
                    got: *got,
                    below: quantized.rows(),
                }));
            };
            quantized.dequantize_row(row, y);
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
            Self::Quantized(quantized) => {
                ops::constant_linear(hidden, quantized, None, Activation::Identity)?
            }
        })
    }

    /// Up to so many rows together, each row of the scores has the bits that it has alone.
    pub(crate) fn rows_alike(&self) -> usize {
        match self {
            Self::Quantized(_) => FEW_ROWS,
            Self::Table(table) if table.weight().tensor().dtype() == DType::F32 => ROWS_ALIKE,
            Self::Table(_) => 1,
        }
    }

    /// Looking so many tokens up.
    pub(crate) fn describe(&self, rows: usize) -> Result<Description> {
        match self {
            Self::Table(table) => table.describe(&[rows]),
            Self::Quantized(_) => Ok(Description::new("Embedding", "", &[rows, self.dim()])),
        }
    }

    /// The vectors as a parameter, unless they are quantized.
    pub(crate) fn weight(&self) -> Option<&Param> {
        match self {
            Self::Table(table) => Some(table.weight()),
            Self::Quantized(_) => None,
        }
    }

    /// How many tokens there are.
    pub(crate) fn tokens(&self) -> usize {
        match self {
            Self::Table(table) => table.weight().dims()[0],
            Self::Quantized(quantized) => quantized.rows(),
        }
    }

    /// The elements of a token's vector.
    pub(crate) fn dim(&self) -> usize {
        match self {
            Self::Table(table) => table.weight().dims()[1],
            Self::Quantized(quantized) => quantized.cols(),
        }
    }
}

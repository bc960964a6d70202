//! Queries, keys and values from their inputs.

use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Init, Param, Pass, Result, Scope};
use cortical_tensor::ops;

/// The weights of the three projections.
#[derive(Clone, Debug)]
enum Weights {
    /// One above the other, where all three read inputs of the same width.
    Packed(Param),
    /// Queries, keys, values.
    Apart([Param; 3]),
}

/// The projections into queries, keys and values.
#[derive(Clone, Debug)]
pub(super) struct Projections {
    weights: Weights,
    bias: Option<Param>,
    widths: [usize; 3],
}

impl Projections {
    pub(super) fn build(
        scope: &Scope,
        d: usize,
        (kdim, vdim): (usize, usize),
        bias: bool,
    ) -> Result<Self> {
        let init = Init::XavierUniform { gain: 1.0 };
        let width = d.saturating_mul(3);
        let weights = if (kdim, vdim) == (d, d) {
            Weights::Packed(scope.param("in_proj_weight", &[width, d], init)?)
        } else {
            Weights::Apart([
                scope.param("q_proj_weight", &[d, d], init)?,
                scope.param("k_proj_weight", &[d, kdim], init)?,
                scope.param("v_proj_weight", &[d, vdim], init)?,
            ])
        };
        let bias = bias.then(|| scope.param("in_proj_bias", &[width], Init::ZEROS));
        Ok(Self {
            weights,
            bias: bias.transpose()?,
            widths: [d, kdim, vdim],
        })
    }

    /// How wide the inputs of queries, keys and values are.
    pub(super) fn widths(&self) -> [usize; 3] {
        self.widths
    }

    pub(super) fn weights(&self) -> impl Iterator<Item = &Param> {
        match &self.weights {
            Weights::Packed(one) => std::slice::from_ref(one).iter(),
            Weights::Apart(three) => three.iter(),
        }
    }

    pub(super) fn params(&self) -> impl Iterator<Item = &Param> {
        self.weights().chain(&self.bias)
    }

    /// All three from one input, by one product where the weights allow it.
    pub(super) fn of_one(&self, x: &Tensor, pass: &Pass<'_>) -> Result<[Tensor; 3]> {
        let Weights::Packed(weight) = &self.weights else {
            return self.of_three(x, x, x, pass);
        };
        let bias = self.bias.as_ref().map(|b| b.input(pass));
        let all = ops::linear(x, weight.input(pass), bias, Activation::Identity)?;
        let parts = ops::split(&all, &[self.widths[0]; 3])?;
        Ok(parts.try_into().expect("three sizes in, three parts out"))
    }

    /// Each from an input of its own: packed weights are cut, so their gradients flow through the cut.
    pub(super) fn of_three(
        &self,
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        pass: &Pass<'_>,
    ) -> Result<[Tensor; 3]> {
        let d = self.widths[0];
        let part = |i: usize, from: &Tensor| -> Result<Tensor> {
            let bias = self.bias.as_ref();
            let bias = bias
                .map(|b| b.tracked(pass).narrow(0, i * d, d))
                .transpose()?;
            let bias = bias.as_ref().map(Into::into);
            Ok(match &self.weights {
                Weights::Packed(all) => {
                    let weight = all.tracked(pass).narrow(0, i * d, d)?;
                    ops::linear(from, &weight, bias, Activation::Identity)?
                }
                Weights::Apart(three) => {
                    ops::linear(from, three[i].input(pass), bias, Activation::Identity)?
                }
            })
        };
        Ok([part(0, queries)?, part(1, keys)?, part(2, values)?])
    }
}

//! What every workload with a network shares: a step of training, and a pass of inference.

use crate::error::Result;
use crate::measure::{Job, Output};
use candle_core::Tensor;
use cortical_neuron::{Layer, Params, Pass, loss::cross_entropy};
use cortical_optim::{AdamW, AdamWConfig, Optimizer};
use cortical_tensor::Rng;

/// A network that learns one batch, step after step.
pub(super) struct Training<N> {
    network: N,
    params: Params,
    optimizer: AdamW,
    rng: Rng,
    inputs: Tensor,
    labels: Tensor,
}

impl<N: Layer> Training<N> {
    pub(super) fn new(network: N, params: Params, inputs: Tensor, labels: Tensor) -> Result<Self> {
        let optimizer = AdamW::new(&params, AdamWConfig::default())?;
        let rng = params.rng("training");
        Ok(Self {
            network,
            params,
            optimizer,
            rng,
            inputs,
            labels,
        })
    }
}

impl<N: Layer> Job for Training<N> {
    fn step(&mut self) -> Result<Output> {
        let mut pass = Pass::train(&mut self.rng);
        let logits = self.network.forward(&self.inputs, &mut pass)?;
        let loss = cross_entropy(&logits, &self.labels)?;
        self.params.backward(&loss)?;
        self.optimizer.step()?;
        Ok(Output::Number(f64::from(loss.to_scalar::<f32>()?)))
    }
}

/// A network that answers one batch, again and again.
pub(super) fn inference(network: impl Layer, inputs: Tensor) -> impl FnMut() -> Result<Output> {
    move || Ok(network.forward(&inputs, &mut Pass::eval())?.into())
}

//! What every workload with a network shares: a step of training, and a pass of inference.

use crate::error::Result;
use crate::measure::{Job, Output};
use candle_core::Tensor;
use cortical_neuron::{Layer, Params, Pass, loss::cross_entropy};
use cortical_optim::{AdamW, AdamWConfig, Optimizer};
use cortical_tensor::Rng;

/// How wrong a network is about a batch: inputs and labels to a scalar.
pub(super) type Loss<N> =
    fn(&N, &Tensor, &Tensor, &mut Pass<'_>) -> cortical_neuron::Result<Tensor>;

/// A network that learns one batch, step after step.
pub(super) struct Training<N> {
    network: N,
    loss: Loss<N>,
    params: Params,
    optimizer: AdamW,
    rng: Rng,
    inputs: Tensor,
    labels: Tensor,
}

impl<N: Layer> Training<N> {
    /// Of a network whose outputs are scores.
    pub(super) fn new(network: N, params: Params, inputs: Tensor, labels: Tensor) -> Result<Self> {
        let loss: Loss<N> =
            |network, inputs, labels, pass| cross_entropy(&network.forward(inputs, pass)?, labels);
        Self::with_loss(network, loss, params, inputs, labels)
    }
}

impl<N> Training<N> {
    /// Of a network that computes its loss itself.
    pub(super) fn with_loss(
        network: N,
        loss: Loss<N>,
        params: Params,
        inputs: Tensor,
        labels: Tensor,
    ) -> Result<Self> {
        let optimizer = AdamW::new(&params, AdamWConfig::default())?;
        let rng = params.rng("training");
        Ok(Self {
            network,
            loss,
            params,
            optimizer,
            rng,
            inputs,
            labels,
        })
    }
}

impl<N> Job for Training<N> {
    fn step(&mut self) -> Result<Output> {
        let mut pass = Pass::train(&mut self.rng);
        let loss = (self.loss)(&self.network, &self.inputs, &self.labels, &mut pass)?;
        self.params.backward(&loss)?;
        self.optimizer.step()?;
        Ok(Output::Number(f64::from(loss.to_scalar::<f32>()?)))
    }
}

/// A network that answers one batch, again and again.
pub(super) fn inference(network: impl Layer, inputs: Tensor) -> impl FnMut() -> Result<Output> {
    move || Ok(network.forward(&inputs, &mut Pass::eval())?.into())
}

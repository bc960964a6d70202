//! `rnn`, `lstm`, `gru`

use candle_core::{D, Tensor};
use cortical_neuron::{Description, Layer, Pass};
use cortical_recurrent::{Gru, Lstm, Recurrent, Rnn};
use cortical_settings::{Broken, at_least, between, choice, settings};

use super::dropout::probability;
use super::{AnyLayer, LayerKind, Site};
use crate::error::Result;

choice! {
    /// What a recurrent layer hands on.
    #[derive(Debug)]
    pub(super) enum Output: "output" {
        All = "all",
        Last = "last",
    }
}

choice! {
    /// What a plain recurrent neuron does with its sum.
    #[derive(Debug)]
    pub(super) enum Nonlinearity: "nonlinearity" {
        Tanh = "tanh",
        Relu = "relu",
    }
}

settings! {
    /// The settings of recurrent layers.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct RecurrentSettings {
        hidden_size: usize, "how many numbers a direction remembers", at_least(1);
        num_layers: usize = 1, "layers on one another", between(1, 1000);
        bidirectional: bool = false, "whether half of the neurons read from the end";
        output: Output = Output::All, "\"all\" steps, or the \"last\" state of each direction in a row";
        bias: bool = true, "whether neurons have biases";
        dropout: f64 = 0.0, "between layers, while training", probability();
        nonlinearity: Nonlinearity = Nonlinearity::Tanh, "of an rnn: tanh or relu";
        proj_size: usize = 0, "of an lstm: how many numbers a direction shows, if not all";
    }
}

/// The last state of each direction of the last layer, side by side.
struct LastState {
    layer: Recurrent,
    directions: usize,
}

impl Layer for LastState {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        let h = self.layer.run(x, None, pass)?.state.h;
        let first = h.dim(0)? - self.directions;
        let last: Vec<Tensor> = (first..first + self.directions)
            .map(|at| h.get(at))
            .collect::<candle_core::Result<_>>()?;
        Ok(Tensor::cat(&last, D::Minus1)?)
    }

    fn describe(&self, sample: &[usize]) -> cortical_neuron::Result<Description> {
        let description = self.layer.describe(sample)?;
        let row = description.output[1..].to_vec();
        Ok(description.output(&row))
    }
}

/// The cells.
pub(super) const RNN: usize = 0;
pub(super) const LSTM: usize = 1;
pub(super) const GRU: usize = 2;

/// A recurrent layer of one of these cells.
pub(super) struct Cell<const CELL: usize>;

impl<const CELL: usize> LayerKind for Cell<CELL> {
    const KIND: &'static str = ["rnn", "lstm", "gru"][CELL];
    const SUMMARY: &'static str = [
        "plain recurrent neurons over [steps, features]",
        "long short-term memory over [steps, features]",
        "gated recurrent units over [steps, features]",
    ][CELL];
    const PREFIX: &'static str = Self::KIND;
    const SHORT: &'static str = "hidden_size";
    const EXAMPLE: &'static str =
        "a size, or { hidden_size = 64, num_layers = 2, output = \"last\" }";
    type Settings = RecurrentSettings;

    fn broken(settings: &RecurrentSettings) -> Option<Broken> {
        let (size, nonlinearity) = (settings.proj_size, settings.nonlinearity);
        if size > 0 && CELL != LSTM {
            let expected = "0, as only an lstm is projected";
            return Some(Broken::new("proj_size", expected, size));
        }
        let expected = "\"tanh\", as only an rnn has another";
        (nonlinearity != Nonlinearity::Tanh && CELL != RNN)
            .then(|| Broken::new("nonlinearity", expected, "\"relu\""))
    }

    fn build(settings: &RecurrentSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let ([_, features], size) = (site.sequence()?, settings.hidden_size);
        let config = match (CELL, settings.nonlinearity) {
            (RNN, Nonlinearity::Tanh) => Rnn::config(features, size),
            (RNN, Nonlinearity::Relu) => Rnn::config(features, size).relu(),
            (LSTM, _) => Lstm::config(features, size).proj_size(settings.proj_size),
            _ => Gru::config(features, size),
        };
        let config = config
            .num_layers(settings.num_layers)
            .bidirectional(settings.bidirectional)
            .bias(settings.bias)
            .dropout(settings.dropout)
            .batch_first(true);
        let layer = config.build(site.scope())?;
        Ok(match settings.output {
            Output::All => Box::new(layer),
            Output::Last => {
                let directions = 1 + usize::from(settings.bidirectional);
                Box::new(LastState { layer, directions })
            }
        })
    }
}

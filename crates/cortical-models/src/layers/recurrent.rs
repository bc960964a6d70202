//! `rnn`, `lstm`, `gru`

use candle_core::{D, Tensor};
use cortical_neuron::{Description, Layer, Pass};
use cortical_recurrent::{
    Gru as GruLayer, Lstm as LstmLayer, Recurrent, RecurrentConfig, Rnn as RnnLayer,
};
use cortical_settings::{Broken, at_least, between, choice, settings};

use super::dropout::probability;
use super::{AnyLayer, LayerKind, Site};
use crate::error::Result;

const EXAMPLE: &str = "a size, or { hidden_size = 64, num_layers = 2, output = \"last\" }";

choice! {
    /// What a recurrent layer hands on.
    #[derive(Debug)]
    pub(super) enum Shown: "output" {
        All = "all",
        Last = "last",
    }
}

choice! {
    /// What a plain recurrent neuron does with its sum.
    #[derive(Debug)]
    pub(super) enum Bend: "nonlinearity" {
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
        output: Shown = Shown::All, "\"all\" steps, or the \"last\" state of each direction in a row";
        bias: bool = true, "whether neurons have biases";
        dropout: f64 = 0.0, "between layers, while training", probability();
        nonlinearity: Bend = Bend::Tanh, "of an rnn: tanh or relu";
        proj_size: usize = 0, "of an lstm: how many numbers a direction shows, if not all";
    }
}

/// Steps through time, and the options that all cells share.
fn configure(
    settings: &RecurrentSettings,
    site: &Site<'_>,
    config: fn(usize, usize) -> RecurrentConfig,
) -> Result<RecurrentConfig> {
    let [_, features] = site.sequence()?;
    Ok(config(features, settings.hidden_size)
        .num_layers(settings.num_layers)
        .bidirectional(settings.bidirectional)
        .bias(settings.bias)
        .dropout(settings.dropout)
        .batch_first(true))
}

/// The layer, with all steps or the last.
fn finish(
    settings: &RecurrentSettings,
    config: RecurrentConfig,
    site: &Site<'_>,
) -> Result<AnyLayer> {
    let layer = config.build(site.scope())?;
    Ok(match settings.output {
        Shown::All => Box::new(layer),
        Shown::Last => {
            let directions = 1 + usize::from(settings.bidirectional);
            Box::new(LastState { layer, directions })
        }
    })
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

/// The first setting that belongs to another cell.
fn foreign(settings: &RecurrentSettings, is_rnn: bool, is_lstm: bool) -> Option<Broken> {
    if settings.proj_size > 0 && !is_lstm {
        return Some(Broken::new(
            "proj_size",
            "0, as only an lstm is projected",
            settings.proj_size,
        ));
    }
    (settings.nonlinearity != Bend::Tanh && !is_rnn).then(|| {
        Broken::new(
            "nonlinearity",
            "\"tanh\", as only an rnn has another",
            "\"relu\"",
        )
    })
}

/// Plain recurrent neurons.
pub(super) struct Rnn;

impl LayerKind for Rnn {
    const KIND: &'static str = "rnn";
    const SUMMARY: &'static str = "plain recurrent neurons over [steps, features]";
    const PREFIX: &'static str = "rnn";
    const SHORT: &'static str = "hidden_size";
    const EXAMPLE: &'static str = EXAMPLE;
    type Settings = RecurrentSettings;

    fn broken(settings: &RecurrentSettings) -> Option<Broken> {
        foreign(settings, true, false)
    }

    fn build(settings: &RecurrentSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let config = configure(settings, site, RnnLayer::config)?;
        let config = match settings.nonlinearity {
            Bend::Tanh => config,
            Bend::Relu => config.relu(),
        };
        finish(settings, config, site)
    }
}

/// Long short-term memory.
pub(super) struct Lstm;

impl LayerKind for Lstm {
    const KIND: &'static str = "lstm";
    const SUMMARY: &'static str = "long short-term memory over [steps, features]";
    const PREFIX: &'static str = "lstm";
    const SHORT: &'static str = "hidden_size";
    const EXAMPLE: &'static str = EXAMPLE;
    type Settings = RecurrentSettings;

    fn broken(settings: &RecurrentSettings) -> Option<Broken> {
        foreign(settings, false, true)
    }

    fn build(settings: &RecurrentSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let config = configure(settings, site, LstmLayer::config)?;
        finish(settings, config.proj_size(settings.proj_size), site)
    }
}

/// Gated recurrent units.
pub(super) struct Gru;

impl LayerKind for Gru {
    const KIND: &'static str = "gru";
    const SUMMARY: &'static str = "gated recurrent units over [steps, features]";
    const PREFIX: &'static str = "gru";
    const SHORT: &'static str = "hidden_size";
    const EXAMPLE: &'static str = EXAMPLE;
    type Settings = RecurrentSettings;

    fn broken(settings: &RecurrentSettings) -> Option<Broken> {
        foreign(settings, false, false)
    }

    fn build(settings: &RecurrentSettings, site: &Site<'_>) -> Result<AnyLayer> {
        finish(settings, configure(settings, site, GruLayer::config)?, site)
    }
}

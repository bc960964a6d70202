//! A language model of characters: embedding, two layers of LSTM, and a linear layer that guesses the next character.

use super::training::Training;
use super::{Size, classes};
use crate::error::Result;
use crate::measure::{Cost, Workload};
use candle_core::{Device, Tensor};
use cortical_dense::Linear;
use cortical_neuron::{Embedding, Layer, Params, Pass};
use cortical_recurrent::{Lstm, Recurrent};
use cortical_tensor::Seed;

const CHARACTERS: usize = 128;
const LAYERS: usize = 2;

struct CharacterModel {
    embedding: Embedding,
    lstm: Recurrent,
    out: Linear,
}

impl CharacterModel {
    fn new(hidden: usize, params: &Params) -> Result<Self> {
        Ok(Self {
            embedding: Embedding::config(CHARACTERS, hidden).build(&params.at("embedding"))?,
            lstm: Lstm::config(hidden, hidden)
                .num_layers(LAYERS)
                .batch_first(true)
                .build(&params.at("lstm"))?,
            out: Linear::config(hidden, CHARACTERS).build(&params.at("out"))?,
        })
    }
}

impl CharacterModel {
    fn loss(
        &self,
        x: &Tensor,
        labels: &Tensor,
        pass: &mut Pass<'_>,
    ) -> cortical_neuron::Result<Tensor> {
        let x = self.embedding.forward(x, pass)?; // [n, steps] -> [n, steps, hidden]
        let x = self.lstm.forward(&x, pass)?; // [n, steps, hidden]
        self.out.loss(&x, labels, pass) // [n, steps, 128] inside
    }
}

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let training = |name: &str, hidden: usize, batch, steps| {
        let (batch, steps) = (size.pick(batch, 2), size.pick(steps, 3));
        let rows = batch * steps;
        Workload::new(name, (rows as f64, "tokens/s"), move || {
            let params = Params::new(&Device::Cpu, Seed(0));
            let inputs = classes("inputs", CHARACTERS, &[batch, steps])?;
            let labels = classes("labels", CHARACTERS, &[batch, steps])?;
            let model = CharacterModel::new(hidden, &params)?;
            Training::with_loss(model, CharacterModel::loss, params, inputs, labels)
        })
        .times(2, 9)
        .cost(training_cost(hidden, rows))
    };
    vec![
        training("lstm_train_b32_t64", 256, 32, 64),
        training("odd_lstm_200_train_b48_t50", 200, 48, 50),
    ]
}

/// Three products of every weight: forward, and backward for the weight and for what is below it.
fn training_cost(hidden: usize, rows: usize) -> Cost {
    let gates = LAYERS * 2 * 4 * hidden * hidden;
    let out = hidden * CHARACTERS;
    let biases = LAYERS * 2 * 4 * hidden + CHARACTERS;
    let parameters = CHARACTERS * hidden + gates + out + biases;
    let operations = 3.0 * 2.0 * (rows * (gates + out)) as f64;
    Cost::operations(operations).and_adamw(parameters as f64)
}

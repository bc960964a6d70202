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
const HIDDEN: usize = 256;
const LAYERS: usize = 2;

struct CharacterModel {
    embedding: Embedding,
    lstm: Recurrent,
    out: Linear,
}

impl CharacterModel {
    fn new(params: &Params) -> Result<Self> {
        Ok(Self {
            embedding: Embedding::config(CHARACTERS, HIDDEN).build(&params.at("embedding"))?,
            lstm: Lstm::config(HIDDEN, HIDDEN)
                .num_layers(LAYERS)
                .batch_first(true)
                .build(&params.at("lstm"))?,
            out: Linear::config(HIDDEN, CHARACTERS).build(&params.at("out"))?,
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
        let x = self.embedding.forward(x, pass)?; // [n, steps] -> [n, steps, 256]
        let x = self.lstm.forward(&x, pass)?; // [n, steps, 256]
        self.out.loss(&x, labels, pass) // [n, steps, 128] inside
    }
}

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let (batch, steps) = (size.pick(32, 2), size.pick(64, 3));
    let rows = batch * steps;
    let name = "lstm_train_b32_t64";
    let training = Workload::new(name, (rows as f64, "tokens/s"), move || {
        let params = Params::new(&Device::Cpu, Seed(0));
        let inputs = classes("inputs", CHARACTERS, &[batch, steps])?;
        let labels = classes("labels", CHARACTERS, &[batch, steps])?;
        let model = CharacterModel::new(&params)?;
        Training::with_loss(model, CharacterModel::loss, params, inputs, labels)
    });
    vec![training.times(2, 9).cost(training_cost(rows))]
}

/// Three products of every weight: forward, and backward for the weight and for what is below it.
fn training_cost(rows: usize) -> Cost {
    let gates = LAYERS * 2 * 4 * HIDDEN * HIDDEN;
    let out = HIDDEN * CHARACTERS;
    let biases = LAYERS * 2 * 4 * HIDDEN + CHARACTERS;
    let parameters = CHARACTERS * HIDDEN + gates + out + biases;
    let operations = 3.0 * 2.0 * (rows * (gates + out)) as f64;
    Cost::operations(operations).and_adamw(parameters as f64)
}

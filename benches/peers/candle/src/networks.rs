//! The networks but the language model.

use candle_core::{Result, Tensor};
use candle_nn::{
    Conv2d, Embedding, LSTM, Linear, Module, RNN, Sequential, VarBuilder, conv2d, embedding,
    linear, lstm, seq,
};

/// 784-512-256-10 with ReLU between the layers.
pub(crate) fn mlp(builder: VarBuilder<'_>) -> Result<Sequential> {
    Ok(seq()
        .add(linear(784, 512, builder.pp("fc1"))?)
        .add_fn(Tensor::relu)
        .add(linear(512, 256, builder.pp("fc2"))?)
        .add_fn(Tensor::relu)
        .add(linear(256, 10, builder.pp("fc3"))?))
}

/// Two convolutions, a pool, two dense layers.
pub(crate) struct Cnn {
    conv1: Conv2d,
    conv2: Conv2d,
    fc1: Linear,
    fc2: Linear,
}

impl Cnn {
    pub(crate) fn new(builder: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            conv1: conv2d(1, 32, 3, Default::default(), builder.pp("conv1"))?,
            conv2: conv2d(32, 64, 3, Default::default(), builder.pp("conv2"))?,
            fc1: linear(9216, 128, builder.pp("fc1"))?,
            fc2: linear(128, 10, builder.pp("fc2"))?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.conv1.forward(x)?.relu()?; // [n, 32, 26, 26]
        let x = self.conv2.forward(&x)?.relu()?.max_pool2d(2)?; // [n, 64, 12, 12]
        let x = self.fc1.forward(&x.flatten_from(1)?)?.relu()?; // [n, 128]
        self.fc2.forward(&x)
    }
}

/// Embedding, two layers of LSTM, and a linear layer over characters.
pub(crate) struct CharacterModel {
    embedding: Embedding,
    layers: [LSTM; 2],
    out: Linear,
}

impl CharacterModel {
    pub(crate) fn new(builder: VarBuilder<'_>) -> Result<Self> {
        let layer = |name: &str| lstm(256, 256, Default::default(), builder.pp(name));
        Ok(Self {
            embedding: embedding(128, 256, builder.pp("embedding"))?,
            layers: [layer("lstm1")?, layer("lstm2")?],
            out: linear(256, 128, builder.pp("out"))?,
        })
    }

    pub(crate) fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let mut x = self.embedding.forward(tokens)?; // [n, steps, 256]
        for layer in &self.layers {
            x = layer.states_to_tensor(&layer.seq(&x)?)?;
        }
        self.out.forward(&x)?.flatten_to(1) // [n · steps, 128]
    }
}

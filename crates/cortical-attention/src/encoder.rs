//! PyTorch's encoder block.

use crate::{Attend, MultiHeadAttention, project};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Dropout, Layer, LayerNorm, Neurons, Pass, Result, Scope};

/// The options of a [`TransformerEncoderLayer`].
#[derive(Clone, Copy, Debug)]
pub struct TransformerEncoderLayerConfig {
    d_model: usize,
    nhead: usize,
    dim_feedforward: usize,
    dropout: f64,
    activation: Activation,
    eps: f64,
    norm_first: bool,
    batch_first: bool,
    causal: bool,
}

impl TransformerEncoderLayerConfig {
    /// The width of the feed-forward half; 2048 by default.
    #[must_use]
    pub fn dim_feedforward(mut self, width: usize) -> Self {
        self.dim_feedforward = width;
        self
    }

    /// The probability of dropout, of attention weights too; 0.1 by default.
    #[must_use]
    pub fn dropout(mut self, p: f64) -> Self {
        self.dropout = p;
        self
    }

    /// The activation of the feed-forward half; ReLU by default.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The `eps` of both norms; 1e-5 by default.
    #[must_use]
    pub fn layer_norm_eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Whether norms stand before the halves instead of after them; they stand after by default.
    #[must_use]
    pub fn norm_first(mut self, norm_first: bool) -> Self {
        self.norm_first = norm_first;
        self
    }

    /// Whether inputs are `[batch, rows, d_model]`; they are by default (PyTorch's default is `[rows, batch, d_model]`).
    #[must_use]
    pub fn batch_first(mut self, batch_first: bool) -> Self {
        self.batch_first = batch_first;
        self
    }

    /// Whether a row sees no later rows; it sees them by default.
    #[must_use]
    pub fn causal(mut self, causal: bool) -> Self {
        self.causal = causal;
        self
    }

    /// Makes the block at a place of a model.
    ///
    /// # Errors
    /// As [`MultiHeadAttentionConfig::build`](crate::MultiHeadAttentionConfig::build).
    pub fn build(self, scope: &Scope) -> Result<TransformerEncoderLayer> {
        let attention = MultiHeadAttention::config(self.d_model, self.nhead)
            .dropout(self.dropout)
            .causal(self.causal)
            .batch_first(self.batch_first);
        let linear = |name: &str, shape: [usize; 2], activation: Activation| {
            Neurons::build(&scope.at(name), &shape, true, activation)
        };
        let norm = |name: &str| {
            LayerNorm::config(&[self.d_model])
                .eps(self.eps)
                .build(&scope.at(name))
        };
        let dropout = |name: &str| Dropout::new(self.dropout, &scope.at(name));
        Ok(TransformerEncoderLayer {
            attention: attention.build(&scope.at("self_attn"))?,
            linear1: linear(
                "linear1",
                [self.dim_feedforward, self.d_model],
                self.activation,
            )?,
            linear2: linear(
                "linear2",
                [self.d_model, self.dim_feedforward],
                Activation::Identity,
            )?,
            norm1: norm("norm1")?,
            norm2: norm("norm2")?,
            dropout: dropout("dropout")?,
            dropout1: dropout("dropout1")?,
            dropout2: dropout("dropout2")?,
            name: scope.path().to_string(),
            config: self,
        })
    }
}

/// `h = norm1(x + attention(x))`, `y = norm2(h + linear2(activation(linear1(h))))`, PyTorch's `nn.TransformerEncoderLayer`; with
/// `norm_first` each norm stands before its half.
///
/// # Shapes
/// - input and output: `[batch, rows, d_model]`
///
/// # Source
/// Vaswani et al., "Attention is all you need" (2017), section 3.1; Xiong et al., "On layer normalization in the
/// transformer architecture" (2020).
#[derive(Clone, Debug)]
pub struct TransformerEncoderLayer {
    attention: MultiHeadAttention,
    linear1: Neurons,
    linear2: Neurons,
    norm1: LayerNorm,
    norm2: LayerNorm,
    dropout: Dropout,
    dropout1: Dropout,
    dropout2: Dropout,
    name: String,
    config: TransformerEncoderLayerConfig,
}

impl TransformerEncoderLayer {
    /// The options of a block of this width with so many heads.
    #[must_use]
    pub fn config(d_model: usize, nhead: usize) -> TransformerEncoderLayerConfig {
        TransformerEncoderLayerConfig {
            d_model,
            nhead,
            dim_feedforward: 2048,
            dropout: 0.1,
            activation: Activation::Relu,
            eps: 1e-5,
            norm_first: false,
            batch_first: true,
            causal: false,
        }
    }

    /// The block with a mask as [`Attend`] takes it.
    ///
    /// # Errors
    /// When a shape does not fit; the error says in which layer.
    pub fn run(&self, x: &Tensor, mask: Option<&Tensor>, pass: &mut Pass<'_>) -> Result<Tensor> {
        let attend = Attend { memory: None, mask };
        if self.config.norm_first {
            let normed = self.norm1.forward(x, pass)?;
            let h = (x + self.attention_half(&normed, attend, pass)?)?;
            let normed = self.norm2.forward(&h, pass)?;
            return Ok((&h + self.feed_forward(&normed, pass)?)?);
        }
        let h = (x + self.attention_half(x, attend, pass)?)?;
        let h = self.norm1.forward(&h, pass)?;
        let y = (&h + self.feed_forward(&h, pass)?)?;
        self.norm2.forward(&y, pass)
    }

    fn attention_half(
        &self,
        x: &Tensor,
        attend: Attend<'_>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let y = self.attention.attend(x, attend, pass)?;
        self.dropout1.forward(&y, pass)
    }

    fn feed_forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let named = |e: cortical_neuron::Error| e.in_layer(&self.name);
        let hidden = project(&self.linear1, x, pass).map_err(named)?;
        let hidden = self.dropout.forward(&hidden, pass)?;
        let y = project(&self.linear2, &hidden, pass).map_err(named)?;
        self.dropout2.forward(&y, pass)
    }
}

impl Layer for TransformerEncoderLayer {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.run(x, None, pass)
    }
}

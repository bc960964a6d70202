//! PyTorch's encoder block.

use crate::{Attend, MultiHeadAttention};
use candle_core::Tensor;
use cortical_dense::Linear;
use cortical_kernels::activation::Activation;
use cortical_neuron::{
    Description, Dropout, Error, Layer, LayerNorm, Pass, Result, Scope, product,
};

/// The options of a [`TransformerEncoderLayer`] or a [`TransformerDecoderLayer`](crate::TransformerDecoderLayer).
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockOptions {
    pub(crate) d_model: usize,
    pub(crate) nhead: usize,
    pub(crate) dim_feedforward: usize,
    pub(crate) dropout: f64,
    pub(crate) activation: Activation,
    pub(crate) eps: f64,
    pub(crate) norm_first: bool,
    pub(crate) batch_first: bool,
    pub(crate) causal: bool,
    pub(crate) bias: bool,
}

impl BlockOptions {
    pub(crate) fn new(d_model: usize, nhead: usize) -> Self {
        Self {
            d_model,
            nhead,
            dim_feedforward: 2048,
            dropout: 0.1,
            activation: Activation::Relu,
            eps: 1e-5,
            norm_first: false,
            batch_first: true,
            causal: false,
            bias: true,
        }
    }

    pub(crate) fn attention(&self, scope: &Scope, causal: bool) -> Result<MultiHeadAttention> {
        MultiHeadAttention::config(self.d_model, self.nhead)
            .dropout(self.dropout)
            .causal(causal)
            .bias(self.bias)
            .batch_first(self.batch_first)
            .build(scope)
    }

    pub(crate) fn norm(&self, scope: &Scope) -> Result<LayerNorm> {
        let config = LayerNorm::config(&[self.d_model]).eps(self.eps);
        config.bias(self.bias).build(scope)
    }

    pub(crate) fn drop(&self, scope: &Scope) -> Result<Dropout> {
        Dropout::new(self.dropout, scope)
    }
}

/// The setters that encoder and decoder share.
macro_rules! block_options {
    ($config:ident, $layer:ident) => {
        impl $config {
            /// The width of the feed-forward sublayer; 2048 by default.
            #[must_use]
            pub fn dim_feedforward(mut self, width: usize) -> Self {
                self.0.dim_feedforward = width;
                self
            }

            /// The probability of dropout, of attention weights too; 0.1 by default.
            #[must_use]
            pub fn dropout(mut self, p: f64) -> Self {
                self.0.dropout = p;
                self
            }

            /// The activation of the feed-forward sublayer; ReLU by default.
            #[must_use]
            pub fn activation(mut self, activation: Activation) -> Self {
                self.0.activation = activation;
                self
            }

            /// The `eps` of the norms; 1e-5 by default.
            #[must_use]
            pub fn layer_norm_eps(mut self, eps: f64) -> Self {
                self.0.eps = eps;
                self
            }

            /// Whether norms stand before the parts instead of after them; they stand after by default.
            #[must_use]
            pub fn norm_first(mut self, norm_first: bool) -> Self {
                self.0.norm_first = norm_first;
                self
            }

            /// Whether inputs are `[batch, rows, d_model]`; they are by default (PyTorch's default is
            /// `[rows, batch, d_model]`).
            #[must_use]
            pub fn batch_first(mut self, batch_first: bool) -> Self {
                self.0.batch_first = batch_first;
                self
            }

            /// Whether a row sees no later rows; it sees them by default.
            #[must_use]
            pub fn causal(mut self, causal: bool) -> Self {
                self.0.causal = causal;
                self
            }

            /// Whether projections, dense layers and norms have biases; they have by default.
            #[must_use]
            pub fn bias(mut self, bias: bool) -> Self {
                self.0.bias = bias;
                self
            }

            /// Makes the block at a place of a model.
            ///
            /// # Errors
            /// As [`MultiHeadAttentionConfig::build`](crate::MultiHeadAttentionConfig::build).
            pub fn build(self, scope: &impl cortical_neuron::Place) -> Result<$layer> {
                let scope = &cortical_neuron::Place::place(scope);
                $layer::build(self.0, scope)
            }
        }
    };
}
pub(crate) use block_options;

/// The feed-forward sublayer of a block: `linear2(dropout(activation(linear1(x))))`.
#[derive(Clone, Debug)]
pub(crate) struct FeedForward {
    linear1: Linear,
    dropout: Dropout,
    linear2: Linear,
}

impl FeedForward {
    pub(crate) fn build(options: &BlockOptions, scope: &Scope) -> Result<Self> {
        let (narrow, wide) = (options.d_model, options.dim_feedforward);
        let linear1 = Linear::config(narrow, wide).activation(options.activation);
        let linear2 = Linear::config(wide, narrow);
        Ok(Self {
            linear1: linear1.bias(options.bias).build(&scope.at("linear1"))?,
            dropout: options.drop(&scope.at("dropout"))?,
            linear2: linear2.bias(options.bias).build(&scope.at("linear2"))?,
        })
    }

    pub(crate) fn run(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let hidden = self.linear1.apply(x, pass);
        let hidden = hidden.map_err(|e| e.in_layer(self.linear1.name()))?;
        let hidden = self.dropout.forward(&hidden, pass)?;
        let y = self.linear2.apply_to_units(hidden, pass);
        y.map_err(|e| e.in_layer(self.linear2.name()))
    }

    pub(crate) fn describe(&self, sample: &[usize]) -> Result<Description> {
        let layers = [&self.linear1, &self.linear2];
        let rows = product(&sample[..sample.len().saturating_sub(1)]);
        let rows = usize::try_from(rows).unwrap_or(usize::MAX);
        let (wide, narrow) = (self.linear1.out_features(), self.linear1.in_features());
        let biases = match self.linear1.bias() {
            Some(_) => format!(" + {wide} + {narrow}"),
            None => String::new(),
        };
        let mut description = Description::new("FeedForward", "", sample)
            .reads("each neuron reads its row")
            .keeping([product(&[rows, wide])])
            .parameters(
                layers.into_iter().flat_map(Linear::params),
                format!("2·wide·d{biases} with d = {narrow}, wide = {wide}"),
            );
        for layer in layers {
            let weight = layer.weight();
            let weight = weight.ok_or_else(|| Error::NotDescribed.in_layer(layer.name()))?;
            description = description.uses(weight, rows)?;
        }
        Ok(description)
    }
}

/// The options of a [`TransformerEncoderLayer`].
#[derive(Clone, Copy, Debug)]
pub struct TransformerEncoderLayerConfig(BlockOptions);

block_options!(TransformerEncoderLayerConfig, TransformerEncoderLayer);

/// `h = norm1(x + attention(x))`, `y = norm2(h + linear2(activation(linear1(h))))`, PyTorch's
/// `nn.TransformerEncoderLayer`; with `norm_first` each norm stands before its sublayer.
///
/// `4 d² + 4 d` parameters in attention, `2 · d · dim_feedforward + dim_feedforward + d` in the feed-forward sublayer,
/// `4 d` in the norms.
///
/// # Shapes
/// - input and output: `[batch, rows, d_model]`, or without `batch`
///
/// # Source
/// Vaswani et al., "Attention is all you need" (2017), section 3.1; Xiong et al., "On layer normalization in the
/// transformer architecture" (2020).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_attention::TransformerEncoderLayer;
/// use cortical_neuron::{Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let config = TransformerEncoderLayer::config(8, 2).dim_feedforward(16).norm_first(true);
/// let block = config.build(&params.at("layers.0"))?;
/// let x = Tensor::zeros((1, 5, 8), DType::F32, &Device::Cpu)?;
/// assert_eq!(block.forward(&x, &mut Pass::eval())?.dims(), [1, 5, 8]);
/// assert_eq!(block.describe(&[5, 8])?.parameters, params.count());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TransformerEncoderLayer {
    attention: MultiHeadAttention,
    feed_forward: FeedForward,
    norm1: LayerNorm,
    norm2: LayerNorm,
    dropout1: Dropout,
    dropout2: Dropout,
    name: String,
    norm_first: bool,
}

impl TransformerEncoderLayer {
    /// The options of a block of this width with so many heads.
    #[must_use]
    pub fn config(d_model: usize, nhead: usize) -> TransformerEncoderLayerConfig {
        TransformerEncoderLayerConfig(BlockOptions::new(d_model, nhead))
    }

    fn build(options: BlockOptions, scope: &Scope) -> Result<Self> {
        Ok(Self {
            attention: options.attention(&scope.at("self_attn"), options.causal)?,
            feed_forward: FeedForward::build(&options, scope)?,
            norm1: options.norm(&scope.at("norm1"))?,
            norm2: options.norm(&scope.at("norm2"))?,
            dropout1: options.drop(&scope.at("dropout1"))?,
            dropout2: options.drop(&scope.at("dropout2"))?,
            name: scope.path().to_string(),
            norm_first: options.norm_first,
        })
    }

    /// The block with a mask as [`Attend`] takes it.
    ///
    /// # Errors
    /// When a shape does not fit; the error says in which layer.
    pub fn run(&self, x: &Tensor, mask: Option<&Tensor>, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.run_masked(x, mask, None, pass)
    }

    /// The block with a mask and a mask of keys, both as [`Attend`] takes them: PyTorch's `src_mask` and
    /// `src_key_padding_mask`.
    ///
    /// # Errors
    /// When a shape does not fit; the error says in which layer.
    pub fn run_masked(
        &self,
        x: &Tensor,
        mask: Option<&Tensor>,
        key_mask: Option<&Tensor>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let attend = Attend {
            mask,
            key_mask,
            ..Attend::default()
        };
        if self.norm_first {
            let normed = self.norm1.forward(x, pass)?;
            let h = (x + self.attention_sublayer(&normed, attend, pass)?)?;
            let normed = self.norm2.forward(&h, pass)?;
            return Ok((&h + self.feed_forward_sublayer(&normed, pass)?)?);
        }
        let h = (x + self.attention_sublayer(x, attend, pass)?)?;
        let h = self.norm1.forward(&h, pass)?;
        let y = (&h + self.feed_forward_sublayer(&h, pass)?)?;
        self.norm2.forward(&y, pass)
    }

    fn attention_sublayer(
        &self,
        x: &Tensor,
        attend: Attend<'_>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let y = self.attention.attend(x, attend, pass)?;
        self.dropout1.forward(&y, pass)
    }

    fn feed_forward_sublayer(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let y = self.feed_forward.run(x, pass)?;
        self.dropout2.forward(&y, pass)
    }
}

impl Layer for TransformerEncoderLayer {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.run(x, None, pass)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let parts = vec![
            self.attention.describe(sample)?,
            self.norm1.describe(sample)?,
            self.feed_forward.describe(sample)?,
            self.norm2.describe(sample)?,
        ];
        let name = &self.name;
        let block = Description::of_parts("TransformerEncoderLayer", name, parts, sample);
        Ok(block.keeping([product(sample); 2]))
    }
}

//! A Llama-style block.

use crate::{Cache, GroupedQueryAttention, GroupedQueryAttentionConfig, SwiGlu, SwiGluConfig};
use candle_core::Tensor;
use cortical_neuron::{Description, Layer, Pass, Result, RmsNorm, Scope};

/// The options of a [`DecoderBlock`].
#[derive(Clone, Debug)]
pub struct DecoderBlockConfig {
    hidden_size: usize,
    feed_forward: SwiGluConfig,
    attention: GroupedQueryAttentionConfig,
    eps: f64,
}

impl DecoderBlockConfig {
    /// The `eps` of both norms; 1e-5 by default.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// The feed-forward half, with SiLU and without biases by default.
    #[must_use]
    pub fn feed_forward(mut self, feed_forward: SwiGluConfig) -> Self {
        self.feed_forward = feed_forward;
        self
    }

    /// Makes the block at a place of a model.
    ///
    /// # Errors
    /// As [`GroupedQueryAttentionConfig::build`].
    pub fn build(self, scope: &Scope) -> Result<DecoderBlock> {
        let norm = |name: &str| {
            RmsNorm::config(&[self.hidden_size])
                .eps(self.eps)
                .build(&scope.at(name))
        };
        Ok(DecoderBlock {
            input_norm: norm("input_layernorm")?,
            attention: self.attention.clone().build(&scope.at("self_attn"))?,
            post_attention_norm: norm("post_attention_layernorm")?,
            mlp: self.feed_forward.build(&scope.at("mlp"))?,
        })
    }
}

/// `h = x + attention(norm(x))`, `y = h + swiglu(norm(h))`, with the parameter names of Llama's files.
///
/// # Shapes
/// - input and output: `[batch, rows, hidden_size]`
///
/// # Source
/// Touvron et al., "LLaMA: open and efficient foundation language models" (2023).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_attention::{DecoderBlock, GroupedQueryAttention};
/// use cortical_neuron::{Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let block = DecoderBlock::config(16, 24, GroupedQueryAttention::config(16, 4));
/// let block = block.build(&params.at("layers.0"))?;
/// let x = Tensor::zeros((1, 3, 16), DType::F32, &Device::Cpu)?;
/// assert_eq!(block.forward(&x, &mut Pass::eval())?.dims(), [1, 3, 16]);
/// assert_eq!(block.describe(&[3, 16])?.parameters, params.count());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DecoderBlock {
    input_norm: RmsNorm,
    attention: GroupedQueryAttention,
    post_attention_norm: RmsNorm,
    mlp: SwiGlu,
}

impl DecoderBlock {
    /// The options of a block with this attention and a feed-forward half of this width.
    #[must_use]
    pub fn config(
        hidden_size: usize,
        intermediate_size: usize,
        attention: GroupedQueryAttentionConfig,
    ) -> DecoderBlockConfig {
        DecoderBlockConfig {
            hidden_size,
            feed_forward: SwiGlu::config(hidden_size, intermediate_size),
            attention,
            eps: 1e-5,
        }
    }

    /// Every projection, those of the attention first.
    pub fn projections(&self) -> impl Iterator<Item = &cortical_neuron::Projection> {
        let attention = self.attention.projections().into_iter();
        attention.chain(self.mlp.projections())
    }

    /// The block over the rows of `x` and, with a cache, over what was read before.
    ///
    /// # Errors
    /// When a shape does not fit; the error says in which layer.
    pub fn run(
        &self,
        x: &Tensor,
        cache: Option<&mut Cache>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let normed = self.input_norm.forward(x, pass)?;
        let h = (x + self.attention.attend(&normed, cache, pass)?)?;
        let normed = self.post_attention_norm.forward(&h, pass)?;
        Ok((&h + self.mlp.forward(&normed, pass)?)?)
    }
}

impl Layer for DecoderBlock {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.run(x, None, pass)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let parts = vec![
            self.input_norm.describe(sample)?,
            self.attention.describe(sample)?,
            self.post_attention_norm.describe(sample)?,
            self.mlp.describe(sample)?,
        ];
        Ok(Description::of_parts("DecoderBlock", "", parts, sample))
    }
}

//! PyTorch's decoder block.

use crate::encoder::{BlockOptions, FeedForward, block_options};
use crate::{Attend, MultiHeadAttention};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Description, Dropout, Layer, LayerNorm, Pass, Result, Scope, product};

/// The options of a [`TransformerDecoderLayer`].
#[derive(Clone, Copy, Debug)]
pub struct TransformerDecoderLayerConfig(BlockOptions);

block_options!(TransformerDecoderLayerConfig, TransformerDecoderLayer);

/// The masks of a [`TransformerDecoderLayer`], each as [`Attend`] takes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct DecoderMasks<'a> {
    /// Which rows of the target see which, PyTorch's `tgt_mask`.
    pub target: Option<&'a Tensor>,
    /// Which rows of the target are no padding, PyTorch's `tgt_key_padding_mask`.
    pub target_keys: Option<&'a Tensor>,
    /// Which rows of the target see which of the memory, PyTorch's `memory_mask`.
    pub memory: Option<&'a Tensor>,
    /// Which rows of the memory are no padding, PyTorch's `memory_key_padding_mask`.
    pub memory_keys: Option<&'a Tensor>,
}

/// `h = norm1(x + attention(x))`, `m = norm2(h + attention(h, memory))`, `y = norm3(m + feed_forward(m))`, PyTorch's
/// `nn.TransformerDecoderLayer`: each row reads the rows of the target that it may see, then the rows of what an
/// encoder has made of the source. With `norm_first` each norm stands before its part.
///
/// `8 d² + 8 d` parameters in both attentions, `2 · d · dim_feedforward + dim_feedforward + d` in the feed-forward
/// part, `6 d` in the norms.
///
/// # Shapes
/// - target and output: `[batch, rows, d_model]`; memory: `[batch, keys, d_model]`; all without `batch` where there is
///   none
///
/// # Source
/// Vaswani et al., "Attention is all you need" (2017), section 3.1.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_attention::{DecoderMasks, TransformerDecoderLayer};
/// use cortical_neuron::{Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let config = TransformerDecoderLayer::config(8, 2).dim_feedforward(16).causal(true);
/// let block = config.build(&params.at("layers.0"))?;
/// let target = Tensor::zeros((1, 3, 8), DType::F32, &Device::Cpu)?;
/// let memory = Tensor::zeros((1, 5, 8), DType::F32, &Device::Cpu)?;
/// let y = block.run(&target, &memory, DecoderMasks::default(), &mut Pass::eval())?;
/// assert_eq!(y.dims(), [1, 3, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TransformerDecoderLayer {
    self_attention: MultiHeadAttention,
    cross_attention: MultiHeadAttention,
    feed_forward: FeedForward,
    norms: [LayerNorm; 3],
    dropouts: [Dropout; 3],
    name: String,
    norm_first: bool,
}

impl TransformerDecoderLayer {
    /// The options of a block of this width with so many heads.
    #[must_use]
    pub fn config(d_model: usize, nhead: usize) -> TransformerDecoderLayerConfig {
        TransformerDecoderLayerConfig(BlockOptions::new(d_model, nhead))
    }

    fn build(options: BlockOptions, scope: &Scope) -> Result<Self> {
        let norm = |name: &str| options.norm(&scope.at(name));
        let drop = |name: &str| options.drop(&scope.at(name));
        Ok(Self {
            self_attention: options.attention(&scope.at("self_attn"), options.causal)?,
            cross_attention: options.attention(&scope.at("multihead_attn"), false)?,
            feed_forward: FeedForward::build(&options, scope)?,
            norms: [norm("norm1")?, norm("norm2")?, norm("norm3")?],
            dropouts: [drop("dropout1")?, drop("dropout2")?, drop("dropout3")?],
            name: scope.path().to_string(),
            norm_first: options.norm_first,
        })
    }

    /// The block over a target and a memory.
    ///
    /// # Errors
    /// When a shape does not fit; the error says in which layer.
    pub fn run(
        &self,
        target: &Tensor,
        memory: &Tensor,
        masks: DecoderMasks<'_>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let mut x = target.clone();
        for part in 0..3 {
            let input = match self.norm_first {
                true => self.norms[part].forward(&x, pass)?,
                false => x.clone(),
            };
            let y = match part {
                0 => {
                    let attend = Attend {
                        mask: masks.target,
                        key_mask: masks.target_keys,
                        ..Attend::default()
                    };
                    self.self_attention.attend(&input, attend, pass)?
                }
                1 => {
                    let attend = Attend {
                        memory: Some(memory),
                        mask: masks.memory,
                        key_mask: masks.memory_keys,
                        ..Attend::default()
                    };
                    self.cross_attention.attend(&input, attend, pass)?
                }
                _ => self.feed_forward.run(&input, pass)?,
            };
            x = (x + self.dropouts[part].forward(&y, pass)?)?;
            if !self.norm_first {
                x = self.norms[part].forward(&x, pass)?;
            }
        }
        pass.observe(&self.name, x)
    }

    /// What the block is made of and what it costs for a target of this shape with a memory of as many rows.
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn describe(&self, sample: &[usize]) -> Result<Description> {
        let mut parts = vec![
            self.self_attention.describe(sample)?,
            self.cross_attention.describe(sample)?,
            self.feed_forward.describe(sample)?,
        ];
        for norm in &self.norms {
            parts.push(norm.describe(sample)?);
        }
        let name = &self.name;
        let block = Description::of_parts("TransformerDecoderLayer", name, parts, sample);
        Ok(block.keeping([product(sample); 3]))
    }
}

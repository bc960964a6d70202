//! Layers whose neurons choose their inputs by content.
//!
//! - [`MultiHeadAttention`]: self- and cross-attention with the names of PyTorch's `nn.MultiheadAttention`;
//! - [`GroupedQueryAttention`]: with fewer key heads than query heads, [`Rotary`] positions and a [`Cache`] of keys and
//!   values, with the names of Llama's files;
//! - [`TransformerEncoderLayer`], [`TransformerDecoderLayer`]: PyTorch's blocks; [`DecoderBlock`]: Llama's, with RMS
//!   norm and [`SwiGlu`].
//!
//! Heads are read where the projections leave them, and scores are never held whole, so memory grows with the length of
//! a sequence and not with its square.
//!
//! What this crate does not know: the wiring of whole models (`cortical-models`), tokens (`cortical-text`).
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use cortical_attention::MultiHeadAttention;
//! use cortical_neuron::{Layer, Params, Pass};
//! use cortical_tensor::Seed;
//!
//! # fn main() -> cortical_neuron::Result<()> {
//! let params = Params::new(&Device::Cpu, Seed(1));
//! let layer = MultiHeadAttention::config(8, 2).build(&params.at("self_attn"))?;
//! let x = Tensor::zeros((2, 5, 8), DType::F32, &Device::Cpu)?;
//! assert_eq!(layer.forward(&x, &mut Pass::eval())?.dims(), [2, 5, 8]);
//! assert_eq!(params.get("self_attn.in_proj_weight")?.dims(), [24, 8]);
//! # Ok(())
//! # }
//! ```

mod cache;
mod decoder;
mod decoder_layer;
mod encoder;
mod feed_forward;
mod grouped;
mod multi_head;
mod observed;
mod rotary;
mod sublayer;

pub use cache::{Cache, Memory, TextRows, attend_texts};
pub use decoder::{DecoderBlock, DecoderBlockConfig};
pub use decoder_layer::{DecoderMasks, TransformerDecoderLayer, TransformerDecoderLayerConfig};
pub use encoder::{TransformerEncoderLayer, TransformerEncoderLayerConfig};
pub use feed_forward::{SwiGlu, SwiGluConfig};
pub use grouped::{GroupedQueryAttention, GroupedQueryAttentionConfig};
pub use multi_head::{Attend, MultiHeadAttention, MultiHeadAttentionConfig};
pub use observed::observed_attention;
pub use rotary::Rotary;

#[cfg(test)]
mod tests;

//! What every network is made of.
//!
//! - [`Params`]: the ordered store of named parameters and buffers, with the one `backward` that leaves no parameter
//!   out unsaid;
//! - [`Layer`] and [`Pass`]: a layer is a function of a tensor and of an explicit pass, in which training or
//!   evaluation, randomness and observers are arguments and never globals;
//! - [`Init`]: how weights begin;
//! - [`Affine`]: the parameters of neurons, weights and biases, with their activation;
//! - [`Source`]: first values from a file in place of random ones; [`Adapters`]: which layers carry a low-rank change;
//! - [`LayerNorm`], [`RmsNorm`], [`BatchNorm`], [`GroupNorm`], [`InstanceNorm`] and [`Embedding`];
//! - [`Dropout`] and [`loss`].
//!
//! What this crate does not know: how neurons are wired (`cortical-dense`, `cortical-conv`, …), optimizers, files.
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use cortical_neuron::{Init, Params, Pass, loss::cross_entropy};
//! use cortical_kernels::activation::Activation;
//! use cortical_tensor::{Seed, ops::linear};
//!
//! # fn main() -> cortical_neuron::Result<()> {
//! let params = Params::new(&Device::Cpu, Seed(1));
//! let weight = params.at("fc").param("weight", &[3, 2], Init::KAIMING_UNIFORM)?;
//! let mut rng = params.rng("dropout");
//! let pass = Pass::train(&mut rng);
//!
//! let x = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu)?;
//! let logits = linear(&x, weight.input(&pass), None, Activation::Identity)?;
//! let loss = cross_entropy(&logits, &Tensor::new(&[0_u32], &Device::Cpu)?)?;
//! params.backward(&loss)?;
//! assert_eq!(weight.grad().expect("a gradient").dims(), [3, 2]);
//! # Ok(())
//! # }
//! ```

mod adapters;
mod affine;
mod description;
mod dropout;
mod embedding;
mod error;
mod init;
mod layer;
pub mod loss;
mod masks;
mod network;
mod norm;
mod param;
mod params;
mod pass;
mod pointwise;
mod recompute;
mod scope;
mod sequential;
mod shape_layers;
mod source;

pub use adapters::Adapters;
pub use affine::Affine;
pub use description::{Description, product, wrong_sample};
pub use dropout::{AlphaDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout};
pub use embedding::{Embedding, EmbeddingConfig};
pub use error::{Error, Result};
pub use init::{Fan, Init};
pub use layer::{AsModule, FromModule, Layer};
pub use masks::{Pattern, kept, largest, largest_of_rows};
pub use norm::{
    BatchNorm, BatchNormConfig, GroupNorm, GroupNormConfig, InstanceNorm, InstanceNormConfig,
    LayerNorm, LayerNormConfig, RmsNorm, RmsNormConfig,
};
pub use param::{Buffer, Param};
pub use params::Params;
pub use pass::{InputObserver, Observer, Pass, View};
pub use pointwise::{Glu, PRelu, RRelu, Softmax};
pub use recompute::Recompute;
pub use scope::{Place, Scope};
pub use sequential::{Residual, Sequential};
pub use shape_layers::{Flatten, Identity, Permute, Unflatten};
pub use source::Source;

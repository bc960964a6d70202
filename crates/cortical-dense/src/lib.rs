//! Layers in which every neuron reads every input.
//!
//! - [`Linear`]: one such layer, with its activation fused;
//! - [`Bilinear`]: neurons that read pairs of inputs;
//! - [`Mlp`]: several, one after the other;
//! - [`GatedUnit`]: two side by side, one of which gates the other.
//!
//! What this crate does not know: other wirings (`cortical-conv`, `cortical-recurrent`, `cortical-attention`).
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use cortical_dense::Linear;
//! use cortical_kernels::activation::Activation::Relu;
//! use cortical_neuron::{Layer, Params, Pass};
//! use cortical_tensor::Seed;
//!
//! # fn main() -> cortical_neuron::Result<()> {
//! let params = Params::new(&Device::Cpu, Seed(1));
//! let layer = Linear::config(4, 3).activation(Relu).build(&params.at("fc1"))?;
//! let x = Tensor::new(&[[1.0_f32, 2.0, 3.0, 4.0]], &Device::Cpu)?;
//! assert_eq!(layer.forward(&x, &mut Pass::eval())?.dims(), [1, 3]);
//! assert_eq!(params.get("fc1.weight")?.dims(), [3, 4]);
//! # Ok(())
//! # }
//! ```

mod bilinear;
mod gated;
mod head;
mod linear;
mod mlp;

pub use bilinear::{Bilinear, BilinearConfig};
pub use gated::{GatedUnit, GatedUnitConfig};
pub use linear::{Layout, Linear, LinearConfig};
pub use mlp::{Mlp, MlpConfig};

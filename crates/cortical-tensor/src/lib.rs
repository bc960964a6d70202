//! Differentiable operations on candle tensors, with gradients you can trust.
//!
//! Functions in [`ops`] take and return [`candle_core::Tensor`] and record themselves in candle's own graph, so they
//! mix with candle's operations and with its `backward`. On the CPU each runs a kernel of `cortical-kernels`;
//! elsewhere, or where [`with_fallback`] says so, a fallback in candle's operations whose gradients are right.
//!
//! - [`ops`]: the operations; shapes and dtypes are checked before anything is allocated.
//! - [`apply`] and [`Op`]: the one door through which an operation enters candle's graph, for your own operations too.
//! - [`Input`] and [`GradSlot`]: where the gradient of a parameter lands, when it has a place of its own.
//! - [`gradcheck`](mod@gradcheck): compares any closure's gradients with central differences.
//! - [`Rng`] and [`Seed`]: named random streams that a checkpoint can hold.
//!
//! What this crate does not know: parameters by name, layers (`cortical-neuron`), files (`cortical-io`).
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use cortical_kernels::activation::Activation;
//! use cortical_tensor::ops::linear;
//!
//! # fn main() -> candle_core::Result<()> {
//! let x = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu)?;
//! let weight = Var::new(&[[0.5_f32, -1.0], [1.0, 1.0]], &Device::Cpu)?;
//! let y = linear(&x, &weight, None, Activation::Relu)?;
//! assert_eq!(y.to_vec2::<f32>()?, [[0.0, 3.0]]);
//! let grads = y.sum_all()?.backward()?;
//! let d_weight = grads.get(&weight).expect("the weight was used");
//! assert_eq!(d_weight.to_vec2::<f32>()?, [[0.0, 0.0], [1.0, 2.0]]);
//! # Ok(())
//! # }
//! ```

mod element;
mod error;
pub mod gradcheck;
mod graph;
mod input;
pub mod ops;
mod path;
mod rng;
mod shape;
mod tally;

pub use element::{Element, Values, values};
pub use error::{Error, Result};
pub use graph::{Backward, Op, Output, apply, apply_one};
pub use input::{GradSlot, Input, Operand};
pub use ops::attention::attention_weights;
pub use path::{is_fallback, with_fallback};
pub use rng::{Rng, RngState, Seed};
pub use tally::multiply_adds_of;

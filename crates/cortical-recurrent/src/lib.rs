//! Layers whose neurons are connected through time.
//!
//! - [`Recurrent`]: RNN, LSTM or GRU neurons in one or several layers, in one or both directions, with PyTorch's
//!   parameter names;
//! - [`Rnn`], [`Lstm`], [`Gru`]: where its options begin;
//! - [`State`]: what the neurons remember between sequences.
//!
//! A whole sequence is one operation of `cortical-tensor`, forward and backward, so the graph does not grow with time.
//!
//! What this crate does not know: other wirings (`cortical-dense`, `cortical-conv`, `cortical-attention`).
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use cortical_neuron::{Layer, Params, Pass};
//! use cortical_recurrent::Lstm;
//! use cortical_tensor::Seed;
//!
//! # fn main() -> cortical_neuron::Result<()> {
//! let params = Params::new(&Device::Cpu, Seed(1));
//! let lstm = Lstm::config(4, 8).num_layers(2).batch_first(true).build(&params.at("lstm"))?;
//! let x = Tensor::zeros((2, 5, 4), DType::F32, &Device::Cpu)?;
//! let first = lstm.run(&x, None, &mut Pass::eval())?;
//! assert_eq!(first.output.dims(), [2, 5, 8]);
//! assert_eq!(first.state.h.dims(), [2, 2, 8]); // layers, batch, hidden
//! let second = lstm.run(&x, Some(&first.state), &mut Pass::eval())?; // goes on where the first ended
//! assert_eq!(params.get("lstm.weight_ih_l1")?.dims(), [32, 8]);
//! # let _ = second;
//! # Ok(())
//! # }
//! ```

mod config;
mod packed;
mod recurrent;
mod rnn_layer;
#[cfg(test)]
mod tests;

pub use config::{Gru, Lstm, RecurrentConfig, Rnn};
pub use recurrent::{Recurrent, Run, State};

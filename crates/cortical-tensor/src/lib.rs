//! Differentiable operations on candle tensors.

mod rng;

pub use rng::{Rng, RngState, Seed};

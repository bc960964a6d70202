//! CPU arithmetic of neural networks on plain slices.

pub mod philox;

//! Llama and its relatives: one configuration, one model, and what a relative says of itself.

mod config;
mod export;
mod form;
mod gguf;
mod json;
mod model;
mod relative;
mod tensors;

pub(crate) use export::refuse;
pub(crate) use form::{Biases, Defaults, Form, GgufForm, NormPlaces, QkNorm};
pub(crate) use gguf::{read_gguf_windows, windows};
pub(crate) use json::{
    FULL, SLIDING, layer_types, read_attention_bias, read_layer_types, read_window,
};
pub(crate) use relative::{DecoderConfig, Relative, Ropes};

//! Llama and its relatives: one configuration, one model, and what a relative says of itself.

mod config;
mod form;
mod gguf;
mod json;
mod model;
mod relative;
mod tensors;

pub(crate) use form::{Defaults, Form, NormPlaces, QkNorm};
pub(crate) use gguf::{read_gguf_windows, windows};
pub(crate) use json::{
    FULL, SLIDING, layer_types, read_attention_bias, read_layer_types, read_window,
};
pub(crate) use relative::{DecoderConfig, Relative, Ropes};

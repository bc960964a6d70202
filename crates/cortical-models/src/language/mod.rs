//! Language models: Llama and its relatives, GPT-2, BERT.
//!
//! A [`LanguageConfig`] comes from a Hugging Face `config.json` ([`LanguageConfig::from_json`]), from a GGUF file or
//! from a preset ([`preset`]); it lists every tensor of its model by the name that the hub's files have
//! ([`LanguageConfig::tensors`]), explains its size part by part ([`Account`]) and is what a [`LanguageModel`] is built
//! from. [`open`] does all of it for a folder or a file.
//!
//! What an architecture is called, reads, has for tensors and builds stands in one file of `architectures`, beside a
//! table with a line for each. A field of a configuration that would change the mathematics and is not supported is
//! refused by its name.

mod account;
mod adapter;
mod architecture;
mod architectures;
mod cache;
mod class_head;
mod classifier;
mod config;
mod costs;
mod decoder;
mod describe;
mod export;
mod folder;
mod gguf;
mod gguf_description;
mod head;
mod hints;
mod json;
mod keys;
mod load;
mod model;
mod parts;
mod presets;
mod rope;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod widths;

pub use account::{Account, AccountLine};
pub use adapter::{adapter_base, merged_tensors, save_adapter};
pub use cache::{ModelCache, NextTokens};
pub use class_head::read_classes;
pub use classifier::TextClassifier;
pub use config::LanguageConfig;
pub use costs::TextCosts;
pub use export::GgufExport;
pub use gguf::GgufTensors;
pub use head::Head;
pub use load::{Loaded, open};
pub use model::{Block, LanguageModel};
pub use parts::{Part, TensorSpec, grouped};
pub use presets::{Preset, preset, presets};
pub use source::{LoadOptions, Weights};
pub use widths::BlockGroups;

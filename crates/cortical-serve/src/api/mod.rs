//! The interface, path by path.

pub(crate) mod answer;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod embeddings;
pub(crate) mod error;
pub(crate) mod fields;
pub(crate) mod predict;
pub(crate) mod submit;
pub(crate) mod tools;

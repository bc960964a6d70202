//! Models over HTTP, by the interfaces that clients know.
//!
//! [`serve`] answers on a listener until it is told to end:
//!
//! - `POST /v1/chat/completions`, `/v1/completions`, `GET /v1/models` for language models, `POST /v1/embeddings` for
//!   encoders, as OpenAI's clients speak them: whole or as server-sent events, with stop strings, seeds, probabilities
//!   and calls of tools;
//! - `POST /predict` for classifiers;
//! - `/health`, `/metrics` for Prometheus, and a page at `/`.
//!
//! One thread speaks to clients, another one computes: texts join and leave a [`Batch`](cortical_text::Batch), whose
//! steps read the weights once for all of them. What was read of earlier texts is kept for those that begin in the same
//! way. The number of texts, of waiting requests, of positions and of bytes is bounded by [`Options`], and what a
//! client does not wait for any more is not computed.
//!
//! What this crate does not know: files, and the command line; it opens no connection, and takes only those of the
//! listener that it is given.

mod api;
mod app;
mod engine;
mod error;
mod kept;
mod metrics;
mod options;
mod page;
mod routes;
mod server;

pub use app::{Classifier, Language, Subject};
pub use error::{Error, Result};
pub use options::Options;
pub use server::serve;

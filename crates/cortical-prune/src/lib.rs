//! Pruning: trained networks made smaller and faster, and measured.
//!
//! - [`prune`] takes a finished run and a [`Request`], removes weights or whole neurons, trains what is left
//!   ([`cortical_train::train`], so that the result is an ordinary run) and returns a [`Report`]: accuracy, parameters,
//!   multiply-adds, bytes and measured time before and after.
//! - [`Removal::Weights`]: single weights become 0 and stay so, by the recipe's table `[prune]`. The network keeps its
//!   shape.
//! - [`Removal::Neurons`]: whole neurons and channels go, with everything that reads them ([`keep`], [`remove`]): the
//!   network becomes an ordinary smaller one.
//!
//! Single weights that are 0 cost as much as others until they are left out: with `pack`, the linear layers that
//! multiply faster by the connections that are left are written so ([`Packed`]).
//!
//! - [`prune_text`] does the same for language models, in whose blocks the architecture says what belongs together.
//!
//! The central choice: which tensors belong to a neuron is not known here. Each kind of layer says it of itself
//! ([`cortical_models::LayerKind::widths`]), and this crate only ranks neurons and cuts slices. It does not know the
//! command line.

mod calibration;
mod error;
mod figures;
mod importance;
mod language;
mod network;
mod pack;
mod remove;
mod report;
mod request;
mod rewind;
mod target;
mod timing;

pub use calibration::{Amount, By, Ranked};
pub use error::{Error, Result};
pub use figures::Figures;
pub use importance::{Importance, Share, keep};
pub use language::{TextRemoval, TextRequest, prune_text, prune_text_run};
pub use network::{Outcome, prune};
pub use pack::Packed;
pub use remove::{remove, shapes};
pub use report::{Report, Width};
pub use request::{Removal, Request, Rewind, Weights};
pub use target::{Target, Timed};

//! Networks described layer by layer as data, and language models from their configurations ([`language`]).
//!
//! A [`ModelSpec`] is what a recipe's table `[model]` says: a preset by name or a list of [`LayerSpec`]s. A [`Plan`]
//! follows the shape of a sample through the layers, so that a description that gives no network is refused before
//! anything is allocated, with the layer, the shape that came and the one it expects; a [`Network`] is built from it.
//! Which kinds of layers there are say [`Kinds`]; a [`LayerKind`] of one's own joins them.
//!
//! This crate does not know data sets, tokenizers or the training loop; model files it reads through `cortical-io`.
//!
//! ```
//! use cortical_models::{ModelSpec, Plan};
//! let spec: ModelSpec = "lenet".parse()?;
//! let plan = Plan::new(&spec.layers(), &[1, 28, 28], 10)?;
//! assert_eq!(plan.layers()[3].name.as_deref(), Some("fc1"));
//! assert_eq!(plan.layers()[3].input_shape, [9216]);
//! # Ok::<(), cortical_models::Error>(())
//! ```

mod activations;
mod error;
pub mod language;
mod layers;
mod model_spec;
mod network;
mod plan;
mod presets;

pub use error::{Error, Result};
pub use layers::{
    AnyLayer, Kinds, LayerKind, LayerSpec, NeuronGroup, Role, Shapes, Site, Slice, Width, Widths,
};
pub use model_spec::{Kind, ModelSpec};
pub use network::Network;
pub use plan::{Plan, PlannedLayer};

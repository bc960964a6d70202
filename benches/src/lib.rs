//! How fast Cortical is.
//!
//! - [`workloads`]: whole jobs (training steps, inference, single operations, files) with the shapes that programs for
//!   PyTorch, candle-nn and Burn in `benches/peers/` run as well, each written as a user of the crates would write it;
//! - [`families`]: each family of kernels beside a named opponent, for criterion;
//! - [`measure`]: how a job is timed, and the line that the binary `workloads` prints for it;
//! - [`error`]: what can go wrong.
//!
//! ```console
//! $ cargo run --release -p cortical-bench --bin workloads -- mlp cnn
//! ```

pub mod error;
pub mod families;
pub mod measure;
pub mod workloads;

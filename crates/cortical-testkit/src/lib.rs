//! What the tests of every crate share, and nothing that a user's program runs.
//!
//! - [`compare`] and [`assert_close`]: closeness of numbers, reported by the largest difference, where it is
//!   and what both sides say there.
//! - [`Case`], [`cases`] and [`packed`]: the reference cases that PyTorch computed, one safetensors file each or
//!   many in one.
//! - [`rust_sources`]: source text, for tests that hold one part of the repository against another.
//! - [`strategies`]: proptest strategies for shapes (sizes 0 and 1 included) and memory layouts.
//!
//! The crate knows none of our other crates and no tensor library: values are plain vectors, a layout is a
//! description, and each test turns them into whatever it tests. The reader here is also independent of the one
//! in `cortical-io` on purpose, so that a mistake in that one cannot hide itself in its own tests.
//!
//! ```
//! cortical_testkit::assert_close("doubling", &[2.0, 4.0], &[2.0, 4.0 + 1e-9], 1e-6, 0.0);
//! ```

mod case;
mod close;
mod packed;
mod sources;
pub mod strategies;

pub use case::{Case, CaseError, CaseTensor, Values, cases};
pub use close::{Mismatch, Worst, assert_close, compare};
pub use packed::packed;
pub use sources::rust_sources;

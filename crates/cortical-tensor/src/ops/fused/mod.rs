//! Fused operations: several operations of a hot path as one, with the values and gradients of the fine ones.
//!
//! Each keeps less than the fine operations would, and its gradients meet inside instead of in candle's store, where
//! every first one costs two passes over memory.

mod attention_sublayer;
mod feed_forward;
mod head;
mod sublayer;

pub use attention_sublayer::{AttentionSublayer, SublayerRotary, attention_sublayer};
pub use feed_forward::{FeedForward, feed_forward};
pub use head::linear_cross_entropy;
pub use sublayer::Sublayer;

//! Pooling over windows of one or two axes, forward and backward.
//!
//! The input is a number of planes (batch times channels) of `[height, width]`; every plane is pooled by itself.
//!
//! | module | what |
//! |---|---|
//! | [`Geometry`] | the checked shape |
//! | [`max_forward`], [`max_backward`] | the largest element of each window, and where it stood |
//! | [`avg_forward`], [`avg_backward`] | the mean of each window |
//! | [`adaptive_max_forward`], [`adaptive_max_backward`] | the largest element of windows cut to give an output of a size |
//!
//! A window over three axes is separable: its maximum or mean is that of the maxima or means of its planes.

mod adaptive;
mod avg;
mod geometry;
mod max;
mod two;

pub use adaptive::{Cuts, adaptive_max_backward, adaptive_max_forward};
pub use avg::{Divisor, avg_backward, avg_factors, avg_forward};
pub use geometry::Geometry;
pub use max::{Tap, max_backward, max_forward};
pub(crate) use max::{max_backward_planes, max_forward_planes};

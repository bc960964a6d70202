//! Normalisation: a set of elements is shifted to mean 0 and scaled to variance 1, then each channel gets its own
//! scale and shift.
//!
//! `y = (x − μ) · r · weight + bias` with `r = 1 / √(σ² + eps)` and the biased variance σ². The kinds differ only in
//! which elements share μ and σ²:
//!
//! | kind | elements that share a mean | channel |
//! |---|---|---|
//! | [`layer_forward`] | a row | the column |
//! | [`rms_forward`] | a row; μ = 0 and σ² is the mean square | the column |
//! | [`Fused`], batch norm | one channel in every sample; a sum and an activation may follow | `x` is `[samples, channels, space]` |
//! | [`group_forward`] | the channels of a group in one sample; instance norm has a channel a group | the same |
//!
//! A forward pass returns the [`Moments`]; the backward pass needs them and the input. With `g = d_y · weight`,
//! `x̂ = (x − μ) · r` and means over the set,
//! `d_x = r · (g − mean(g) − x̂ · mean(g · x̂))`, `d_weight = Σ d_y · x̂`, `d_bias = Σ d_y`;
//! `mean(g)` is missing where μ is not computed (RMS).
//!
//! Gradients of weight and bias are *added* to what their slices hold, so that they can be a parameter's own.
//!
//! # Source
//! Ioffe and Szegedy (2015), batch norm; Ba, Kiros and Hinton (2016), layer norm; Ulyanov et al. (2016), instance norm;
//! Wu and He (2018), group norm; Zhang and Sennrich (2019), RMS norm.

mod batch;
mod fused;
mod group;
pub mod naive;
mod rows;

pub use fused::Fused;
pub use group::{group_backward, group_forward};
pub use rows::{layer_backward, layer_forward, rms_backward, rms_forward};

use crate::real::Real;

/// Mean and biased variance of the elements that are normalised together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments<T> {
    /// μ
    pub mean: T,
    /// σ², divided by the number of elements
    pub var: T,
}

impl<T: Real> Moments<T> {
    /// `1 / √(σ² + eps)`
    #[inline(always)]
    #[must_use]
    pub(crate) fn rstd(self, eps: T) -> T {
        T::ONE / (self.var + eps).sqrt()
    }
}

/// Scale and shift of each channel; a missing one is 1 or 0.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, T> {
    /// One scale a channel.
    pub weight: Option<&'a [T]>,
    /// One shift a channel.
    pub bias: Option<&'a [T]>,
}

impl<'a, T: Real> Affine<'a, T> {
    /// Neither scale nor shift.
    pub const NONE: Self = Self {
        weight: None,
        bias: None,
    };

    #[inline(always)]
    fn weight_at(&self, c: usize) -> T {
        self.weight.map_or(T::ONE, |w| w[c])
    }

    #[inline(always)]
    fn bias_at(&self, c: usize) -> T {
        self.bias.map_or(T::ZERO, |b| b[c])
    }

    fn check(&self, channels: usize) {
        for (what, slice) in [("weight", self.weight), ("bias", self.bias)] {
            if let Some(slice) = slice {
                assert_eq!(
                    slice.len(),
                    channels,
                    "norm: {what} has one element a channel"
                );
            }
        }
    }
}

/// Where the gradients go that somebody asked for: the input's is written, the others are added to.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// d_x, of the input's length.
    pub d_x: Option<&'a mut [T]>,
    /// One element a channel.
    pub d_weight: Option<&'a mut [T]>,
    /// One element a channel.
    pub d_bias: Option<&'a mut [T]>,
}

impl<T: Real> Gradients<'_, T> {
    fn check(&self, elements: usize, channels: usize) {
        if let Some(d_x) = &self.d_x {
            assert_eq!(d_x.len(), elements, "norm: input and its gradient");
        }
        for d in [&self.d_weight, &self.d_bias].into_iter().flatten() {
            assert_eq!(
                d.len(),
                channels,
                "norm: a gradient has one element a channel"
            );
        }
    }

    /// Adds `d_bias` and `d_weight` of some part, either of which may be unwanted.
    fn add(&mut self, isa: crate::isa::InstructionSet, d_bias: &[T], d_weight: &[T]) {
        if let Some(out) = &mut self.d_bias {
            crate::slice_sums::add_assign(isa, out, d_bias);
        }
        if let Some(out) = &mut self.d_weight {
            crate::slice_sums::add_assign(isa, out, d_weight);
        }
    }
}

/// The shape `[samples, channels, space]` of a picture, a sound or a plain batch (`space` = 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    /// n
    pub samples: usize,
    /// c
    pub channels: usize,
    /// s: the product of the spatial sizes.
    pub space: usize,
}

impl Dims {
    /// n · c · s
    #[must_use]
    pub fn elements(self) -> usize {
        self.samples * self.channels * self.space
    }
}

#[cfg(test)]
mod tests;

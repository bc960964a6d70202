//! The gradient that arrives from above, taken back to the convolution's weighted sum one image at a time.

use crate::activation::{self, Activation, Saves};
use crate::isa::InstructionSet;
use crate::pool::{self, Tap};
use crate::real::Real;
use std::ops::Range;

/// The gradient that arrives at some images of one group.
#[derive(Clone, Copy)]
pub(super) struct Arrived<'a, T> {
    /// Of the weighted sums; of a pool's windows, taken through the activation, for
    /// [`ImageBackward::WINDOWS`](super::driver::ImageBackward::WINDOWS).
    pub(super) d: &'a [T],
    /// Which tap of each window won; empty for weighted sums.
    pub(super) taps: &'a [u8],
}

/// Where the gradient of a convolution's weighted sum comes from.
#[derive(Clone, Copy, Debug)]
pub enum Upstream<'a, T> {
    /// It is given.
    Sum {
        /// Gradient of the weighted sum, of the output's shape.
        d_z: &'a [T],
    },
    /// The gradient of the activation's output is given.
    Activated {
        /// The activation.
        activation: Activation,
        /// What [`Activation::saves`] names, of the output's shape.
        saved: &'a [T],
        /// Gradient of the activation's output.
        d_y: &'a [T],
    },
    /// The gradient of a max pool over the activation's output is given.
    Pooled {
        /// The activation, one whose backward pass needs at most its output.
        activation: Activation,
        /// The pool over the planes of the convolution's output.
        pool: &'a pool::Geometry,
        /// The pool's output.
        pooled: &'a [T],
        /// Which tap of each window won.
        taps: &'a [u8],
        /// Gradient of the pool's output.
        d_pooled: &'a [T],
    },
}

impl<'a, T: Real> Upstream<'a, T> {
    /// Asserts that every slice has the length that `output_len` elements of the convolution's output call for.
    pub(super) fn check(&self, output_len: usize) {
        match *self {
            Self::Sum { d_z } => assert_eq!(d_z.len(), output_len, "gradient of a convolution"),
            Self::Activated { saved, d_y, .. } => {
                assert_eq!(d_y.len(), output_len, "gradient of an activation");
                assert_eq!(saved.len(), output_len, "saved values of an activation");
            }
            Self::Pooled {
                activation,
                pool,
                pooled,
                taps,
                d_pooled,
            } => {
                assert_eq!(pool.input_len(), output_len, "input of a pool");
                for len in [pooled.len(), taps.len(), d_pooled.len()] {
                    assert_eq!(len, pool.output_len(), "output of a pool");
                }
                assert_ne!(activation.saves(), Saves::Input, "activation under a pool");
            }
        }
    }

    /// The pool, if there is one.
    pub(super) fn pool(&self) -> Option<&'a pool::Geometry> {
        match *self {
            Self::Pooled { pool, .. } => Some(pool),
            _ => None,
        }
    }

    /// How much room [`Self::arrive`] needs for `len` elements.
    pub(super) fn scratch_len(&self, len: usize) -> usize {
        match self {
            Self::Sum { .. } => 0,
            Self::Activated { .. } => len,
            // A pool's gradient passes through the activation before it is spread.
            Self::Pooled { pool, .. } => len + len / pool.in_pixels().max(1) * pool.out_pixels(),
        }
    }

    /// The elements `own` of the gradient of the weighted sum, whole planes, or for `windows` those of the pool's
    /// windows above them; `room` holds them if they have to be computed.
    pub(super) fn arrive<'r>(
        &self,
        isa: InstructionSet,
        windows: bool,
        own: Range<usize>,
        room: &'r mut [T],
    ) -> Arrived<'r, T>
    where
        'a: 'r,
    {
        let sum = |d| Arrived { d, taps: &[] };
        match *self {
            Self::Sum { d_z } => sum(&d_z[own]),
            Self::Activated {
                activation,
                saved,
                d_y,
            } => {
                activation::backward_chunk(isa, activation, &saved[own.clone()], &d_y[own], room);
                sum(room)
            }
            Self::Pooled {
                activation,
                pool,
                pooled,
                taps,
                d_pooled,
            } => {
                let (d_z, gated) = room.split_at_mut(own.len());
                let pooled_at = |at: usize| at / pool.in_pixels().max(1) * pool.out_pixels();
                let own = pooled_at(own.start)..pooled_at(own.end);
                let gated = &mut gated[..own.len()];
                // The winner's activation is the pool's output, so the gate can be applied there.
                activation::backward_chunk(
                    isa,
                    activation,
                    &pooled[own.clone()],
                    &d_pooled[own.clone()],
                    gated,
                );
                let taps = &taps[own];
                if windows {
                    return Arrived { d: gated, taps };
                }
                pool::max_backward_planes(isa, pool, gated, taps, d_z);
                sum(d_z)
            }
        }
    }
}

/// The largest tap index of a fused pool must fit a byte.
#[must_use]
pub(super) fn fits_fused_pool(pool: &pool::Geometry) -> bool {
    pool.taps() <= <u8 as Tap>::MOST
}

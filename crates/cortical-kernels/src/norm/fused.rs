//! Batch norm with what follows it in a network, the sum with a branch and an activation, in one pass over memory.
//!
//! A channel is finished while its elements are still in the cache: its moments, then its output; in the backward pass
//! its two sums, then the gradient of its input. What the activation did is computed again from the input rather than
//! kept, unless a branch was added. Where a channel's elements lie scattered, the steps run one after the other over
//! everything.

use super::batch::{
    SCATTERED_BELOW, affine_slice, batch_backward, batch_moments, channel_moments,
    channels_backward, channels_forward, d_slice, slice_sums,
};
use super::{Affine, Dims, Gradients, Moments};
use crate::activation::{self, Activation, Saves, backward_chunk, forward_chunk, forward_in_place};
use crate::disjoint::Disjoint;
use crate::isa::{self, InstructionSet};
use crate::parallel::{self, TASK_ELEMENTS, rows_per_task};
use crate::real::Real;
use crate::scratch;

/// Elements that are worked on at a time, few enough for the first-level cache.
const BLOCK: usize = 512;

/// A batch norm with what follows it.
#[derive(Clone, Copy, Debug)]
pub struct Fused<'a, T> {
    /// The shape of input, output and branch.
    pub dims: Dims,
    /// Scale and shift of each channel.
    pub affine: Affine<'a, T>,
    /// What is added to the variance.
    pub eps: T,
    /// What happens to the sum.
    pub activation: Activation,
}

impl<T: Real> Fused<'_, T> {
    /// `y = activation((x − μ) · r · weight + bias + branch)`. The moments are the batch's own and are written, unless
    /// they are `given`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn forward(
        &self,
        x: &[T],
        branch: Option<&[T]>,
        given: bool,
        moments: &mut [Moments<T>],
        y: &mut [T],
    ) {
        self.check(x, moments);
        assert_eq!(x.len(), y.len(), "batch norm: input and output");
        if let Some(branch) = branch {
            assert_eq!(x.len(), branch.len(), "batch norm: input and branch");
        }
        if x.is_empty() {
            return;
        }
        let (dims, isa) = (self.dims, isa::current());
        if dims.space < SCATTERED_BELOW {
            if !given {
                batch_moments(x, dims, moments);
            }
            channels_forward(x, dims, self.affine, self.eps, moments, y);
            return self.follow(isa, branch, y);
        }
        let y = Disjoint::new(y);
        self.each_channel(moments, |c, moments| {
            if !given {
                *moments = channel_moments(isa, x, dims, c);
            }
            let [mean, scale, shift] = self.constants(c, *moments);
            for at in self.slices(c) {
                let own = at..at + dims.space;
                // SAFETY: each slice belongs to one channel, and each channel to one task.
                let y = unsafe { y.part(own.clone()) };
                match branch {
                    Some(branch) => {
                        add_slice(isa, &x[own.clone()], mean, scale, shift, &branch[own], y);
                    }
                    None => affine_slice(isa, &x[own], mean, scale, shift, y),
                }
                finish(isa, self.activation, y);
            }
        });
    }

    /// The gradients of [`Self::forward`], whose moments count as constants if they were `given`. `y` is the output; it
    /// is read only where there was a branch under an activation, whose derivative must not need its input. `d_branch`
    /// is written.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn backward(
        &self,
        x: &[T],
        y: Option<&[T]>,
        given: bool,
        moments: &[Moments<T>],
        d_y: &[T],
        mut gradients: Gradients<'_, T>,
        d_branch: Option<&mut [T]>,
    ) {
        let dims = self.dims;
        self.check(x, moments);
        gradients.check(x.len(), dims.channels);
        assert_eq!(
            x.len(),
            d_y.len(),
            "batch norm: input and upstream gradient"
        );
        if let Some(y) = y {
            assert_eq!(x.len(), y.len(), "batch norm: input and output");
            assert_ne!(
                self.activation.saves(),
                Saves::Input,
                "activation over a branch"
            );
        }
        if let Some(d_branch) = &d_branch {
            assert_eq!(x.len(), d_branch.len(), "batch norm: input and branch");
        }
        if x.is_empty() {
            return;
        }
        let isa = isa::current();
        if dims.space < SCATTERED_BELOW {
            return self.backward_scattered(x, y, given, moments, d_y, gradients, d_branch);
        }
        let keeps = d_branch.is_some();
        let d_branch = Disjoint::new(d_branch.unwrap_or_default());
        let wants_input = gradients.d_x.is_some();
        let d_x = Disjoint::new(gradients.d_x.take().unwrap_or_default());
        let per_element = T::from_f64(if given {
            0.0
        } else {
            1.0 / (dims.samples * dims.space) as f64
        });
        let mut sums = vec![(T::ZERO, T::ZERO); dims.channels];
        self.each_channel(&mut sums, |c, sums| {
            let [mean, scale, shift] = self.constants(c, moments[c]);
            let mut rooms = [[T::ZERO; BLOCK]; 2];
            // 1. The gradient of the weighted sum, and its sums over the channel.
            for at in self.blocks(c) {
                let own = at.clone();
                let gate = Gate {
                    x: &x[own.clone()],
                    y: y.map(|y| &y[own.clone()]),
                    d_y: &d_y[own.clone()],
                };
                let d_z = gate.open(isa, self.activation, [mean, scale, shift], &mut rooms);
                if keeps {
                    // SAFETY: each block belongs to one channel, and each channel to one task.
                    unsafe { d_branch.part(own) }.copy_from_slice(d_z);
                }
                let (a, b) = slice_sums(isa, gate.x, mean, d_z);
                *sums = (sums.0 + a, sums.1 + b);
            }
            if !wants_input {
                return;
            }
            // 2. d_x = d_z · scale + (x − μ) · slope + constant
            let r = moments[c].rstd(self.eps);
            let slope = -(scale * r * r * sums.1 * per_element);
            let constant = -(scale * sums.0 * per_element);
            for at in self.blocks(c) {
                // SAFETY: as above.
                let (d_x, own) = (unsafe { d_x.part(at.clone()) }, at);
                let gate = Gate {
                    x: &x[own.clone()],
                    y: y.map(|y| &y[own.clone()]),
                    d_y: &d_y[own.clone()],
                };
                let d_z = if keeps {
                    // SAFETY: as above.
                    unsafe { d_branch.part(own) }
                } else {
                    gate.open(isa, self.activation, [mean, scale, shift], &mut rooms)
                };
                d_slice(isa, gate.x, d_z, mean, scale, slope, constant, d_x);
            }
        });
        let d_bias: Vec<T> = sums.iter().map(|s| s.0).collect();
        let pairs = sums.iter().zip(moments);
        let d_weight: Vec<T> = pairs.map(|(s, m)| s.1 * m.rstd(self.eps)).collect();
        gradients.add(isa, &d_bias, &d_weight);
    }

    fn check(&self, x: &[T], moments: &[Moments<T>]) {
        assert_eq!(x.len(), self.dims.elements(), "batch norm: input");
        assert_eq!(
            moments.len(),
            self.dims.channels,
            "batch norm: moments a channel"
        );
        self.affine.check(self.dims.channels);
    }

    /// What makes an element of a channel: `(x − μ) · scale + shift`.
    fn constants(&self, c: usize, moments: Moments<T>) -> [T; 3] {
        let scale = self.affine.weight_at(c) * moments.rstd(self.eps);
        [moments.mean, scale, self.affine.bias_at(c)]
    }

    /// Calls `f(channel, item)` for every channel.
    fn each_channel<I: Send>(&self, items: &mut [I], f: impl Fn(usize, &mut I) + Sync + Send) {
        let channels = rows_per_task(self.dims.samples * self.dims.space);
        parallel::chunks_mut(items, channels, |first, items| {
            for (i, item) in items.iter_mut().enumerate() {
                f(first + i, item);
            }
        });
    }

    /// Where the slices of a channel begin.
    fn slices(&self, c: usize) -> impl Iterator<Item = usize> + use<T> {
        let Dims {
            samples,
            channels,
            space,
        } = self.dims;
        (0..samples).map(move |n| (n * channels + c) * space)
    }

    /// The slices of a channel in blocks.
    fn blocks(&self, c: usize) -> impl Iterator<Item = std::ops::Range<usize>> + use<T> {
        let space = self.dims.space;
        self.slices(c).flat_map(move |at| {
            (0..space)
                .step_by(BLOCK)
                .map(move |b| at + b..at + (b + BLOCK).min(space))
        })
    }

    /// What follows the norm, over everything.
    fn follow(&self, isa: InstructionSet, branch: Option<&[T]>, y: &mut [T]) {
        if branch.is_none() && self.activation == Activation::Identity {
            return;
        }
        parallel::chunks_mut(y, TASK_ELEMENTS, |at, y| {
            if let Some(branch) = branch {
                crate::slice_sums::add_assign(isa, y, &branch[at..at + y.len()]);
            }
            finish(isa, self.activation, y);
        });
    }

    fn backward_scattered(
        &self,
        x: &[T],
        y: Option<&[T]>,
        given: bool,
        moments: &[Moments<T>],
        d_y: &[T],
        gradients: Gradients<'_, T>,
        d_branch: Option<&mut [T]>,
    ) {
        let (dims, eps, weight) = (self.dims, self.eps, self.affine.weight);
        let n = x.len();
        let whole = self.activation != Activation::Identity;
        scratch::with(if whole { 2 * n } else { 0 }, |room| {
            let (saved, d_z) = room.split_at_mut(room.len() / 2);
            let d_z = if whole {
                let saved = match y {
                    Some(y) => y,
                    None => {
                        channels_forward(x, dims, self.affine, eps, moments, saved);
                        if self.activation.saves() == Saves::Output {
                            self.follow(isa::current(), None, saved);
                        }
                        &*saved
                    }
                };
                activation::backward(self.activation, saved, d_y, d_z);
                &*d_z
            } else {
                d_y
            };
            if let Some(d_branch) = d_branch {
                d_branch.copy_from_slice(d_z);
            }
            if given {
                channels_backward(x, dims, weight, eps, moments, d_z, gradients);
            } else {
                batch_backward(x, dims, weight, eps, moments, d_z, gradients);
            }
        });
    }
}

/// The gradient of an activation's output, to be taken back to the activation's input.
struct Gate<'a, T> {
    x: &'a [T],
    y: Option<&'a [T]>,
    d_y: &'a [T],
}

impl<'a, T: Real> Gate<'a, T> {
    fn open<'r>(
        &self,
        isa: InstructionSet,
        activation: Activation,
        [mean, scale, shift]: [T; 3],
        rooms: &'r mut [[T; BLOCK]; 2],
    ) -> &'r [T]
    where
        'a: 'r,
    {
        if activation == Activation::Identity {
            return self.d_y;
        }
        let [saved, d_z] = rooms.each_mut().map(|room| &mut room[..self.x.len()]);
        if let Some(y) = self.y {
            backward_chunk(isa, activation, y, self.d_y, d_z);
            return d_z;
        }
        affine_slice(isa, self.x, mean, scale, shift, saved);
        // The gate of ReLU opens for the sum as for the output.
        if activation.saves() == Saves::Output && activation != Activation::Relu {
            forward_chunk(isa, activation, saved, d_z);
            saved.copy_from_slice(d_z);
        }
        backward_chunk(isa, activation, saved, self.d_y, d_z);
        d_z
    }
}

multiversion! {
    /// `y = (x − mean) · scale + shift + branch`
    fn add_slice<T: Real>(x: &[T], mean: T, scale: T, shift: T, branch: &[T], y: &mut [T]) {
        for ((y, x), branch) in y.iter_mut().zip(x).zip(branch) {
            *y = (*x - mean).mul_add::<I>(scale, shift) + *branch;
        }
    }
}

/// The activation in place; `y` is still in the cache.
fn finish<T: Real>(isa: InstructionSet, activation: Activation, y: &mut [T]) {
    if activation == Activation::Relu {
        relu(isa, y);
    } else {
        forward_in_place(isa, activation, y);
    }
}

multiversion! {
    fn relu<T: Real>(y: &mut [T]) {
        for y in y {
            *y = y.maximum(T::ZERO);
        }
    }
}

#[cfg(test)]
mod tests;

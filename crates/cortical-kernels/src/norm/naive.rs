//! Every normalisation as its definition says, kept as the reference of the fast ones.
//!
//! Which elements are normalised together, and which share a weight, are two functions of the element's position.

use super::{Affine, Gradients, Moments};
use crate::real::Real;

/// Which set and which channel each element belongs to.
#[derive(Clone, Copy)]
pub struct Layout<'a> {
    /// How many sets share moments.
    pub sets: usize,
    /// The set of an element.
    pub set: &'a dyn Fn(usize) -> usize,
    /// The channel of an element.
    pub channel: &'a dyn Fn(usize) -> usize,
    /// False for RMS norm, whose mean counts as 0.
    pub centred: bool,
}

impl Layout<'_> {
    fn counts<T: Real>(&self, elements: usize) -> Vec<T> {
        let mut counts = vec![T::ZERO; self.sets];
        (0..elements).for_each(|i| counts[(self.set)(i)] += T::ONE);
        counts
    }

    /// Mean and variance of each set.
    pub fn moments<T: Real>(&self, x: &[T]) -> Vec<Moments<T>> {
        let counts = self.counts::<T>(x.len());
        let mut moments = vec![Moments::default(); self.sets];
        if self.centred {
            for (i, x) in x.iter().enumerate() {
                moments[(self.set)(i)].mean += *x / counts[(self.set)(i)];
            }
        }
        for (i, x) in x.iter().enumerate() {
            let (m, count) = (&mut moments[(self.set)(i)], counts[(self.set)(i)]);
            m.var += (*x - m.mean) * (*x - m.mean) / count;
        }
        moments
    }

    /// `y = (x − μ) · r · weight + bias`
    pub fn forward<T: Real>(
        &self,
        x: &[T],
        affine: Affine<'_, T>,
        eps: T,
        moments: &[Moments<T>],
        y: &mut [T],
    ) {
        for i in 0..x.len() {
            let (m, c) = (moments[(self.set)(i)], (self.channel)(i));
            y[i] = (x[i] - m.mean) * m.rstd(eps) * affine.weight_at(c) + affine.bias_at(c);
        }
    }

    /// The gradients of the module's head; with `constant` moments (evaluation) the two means are missing.
    pub fn backward<T: Real>(
        &self,
        x: &[T],
        affine: Affine<'_, T>,
        eps: T,
        moments: &[Moments<T>],
        constant: bool,
        d_y: &[T],
        gradients: Gradients<'_, T>,
    ) {
        let counts = self.counts::<T>(x.len());
        let (mut mean_g, mut mean_gx) = (vec![T::ZERO; self.sets], vec![T::ZERO; self.sets]);
        let normal = |i: usize| {
            let m = moments[(self.set)(i)];
            (x[i] - m.mean) * m.rstd(eps)
        };
        let Gradients {
            d_x,
            mut d_weight,
            mut d_bias,
        } = gradients;
        for i in 0..x.len() {
            let (set, c) = ((self.set)(i), (self.channel)(i));
            let g = d_y[i] * affine.weight_at(c);
            if !constant {
                if self.centred {
                    mean_g[set] += g / counts[set];
                }
                mean_gx[set] += g * normal(i) / counts[set];
            }
            if let Some(d) = &mut d_weight {
                d[c] += d_y[i] * normal(i);
            }
            if let Some(d) = &mut d_bias {
                d[c] += d_y[i];
            }
        }
        if let Some(d_x) = d_x {
            for i in 0..x.len() {
                let set = (self.set)(i);
                let g = d_y[i] * affine.weight_at((self.channel)(i));
                d_x[i] = moments[set].rstd(eps) * (g - mean_g[set] - normal(i) * mean_gx[set]);
            }
        }
    }
}

//! Rotary position embedding: pairs of elements of a head are rotated by an angle that grows with the position.
//!
//! `(a, b) → (a cos θ − b sin θ, a sin θ + b cos θ)` with `θ = position · frequency[pair]`. Two layouts of the pairs
//! are in use: the first half with the second ([`Pairs::Halves`]: GPT-NeoX, Llama in Hugging Face's files) and
//! neighbours ([`Pairs::Neighbours`]: the paper, Llama in Meta's and GGUF files). A rotation's inverse is its
//! transpose, so the backward pass rotates the upstream gradient by −θ.
//!
//! # Source
//! Su et al., "RoFormer: enhanced transformer with rotary position embedding" (2021).

use crate::isa;
use crate::parallel::{self, rows_per_task};
use crate::real::Real;

/// Which two elements of a head make a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// Element `i` with element `i + d/2`.
    Halves,
    /// Element `2i` with element `2i + 1`.
    Neighbours,
}

/// Forward rotates by θ, backward by −θ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// By θ.
    Forward,
    /// By −θ.
    Backward,
}

/// `base^(−2i/d)` for each of the `d/2` pairs.
#[must_use]
pub fn frequencies(rotary_dim: usize, base: f64) -> Vec<f64> {
    (0..rotary_dim / 2)
        .map(|i| base.powf(-(2.0 * i as f64) / rotary_dim as f64))
        .collect()
}

/// The cosines and sines of `positions.len()` rows of `frequencies.len()` angles, computed in double precision.
pub fn angles<T: Real>(positions: std::ops::Range<usize>, frequencies: &[f64]) -> (Vec<T>, Vec<T>) {
    positions
        .flat_map(|p| frequencies.iter().map(move |f| p as f64 * f))
        .map(|angle| (T::from_f64(angle.cos()), T::from_f64(angle.sin())))
        .unzip()
}

/// The rotation's table and the shape of what is rotated: `[…, positions, inner, head]`, where `inner` is 1 if heads
/// stand outside of positions and the number of heads if they stand inside.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a, T> {
    /// The layout of the pairs.
    pub pairs: Pairs,
    /// cos θ of `[positions, rotary/2]`.
    pub cos: &'a [T],
    /// sin θ of the same shape.
    pub sin: &'a [T],
    /// How many positions there are.
    pub positions: usize,
    /// How many rows follow one another with the same position.
    pub inner: usize,
    /// The elements of a head; what exceeds `rotary` is copied.
    pub head: usize,
    /// The elements of a head that are rotated, an even number.
    pub rotary: usize,
}

multiversion! {
    fn rotate_halves<T: Real>(cos: &[T], sin: &[T], sign: T, x: &mut [T]) {
        let (a, b) = x.split_at_mut(cos.len());
        for (((a, b), c), s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
            let s = *s * sign;
            let (x, y) = (*a, *b);
            *a = x * *c - y * s;
            *b = x * s + y * *c;
        }
    }
}

multiversion! {
    fn rotate_neighbours<T: Real>(cos: &[T], sin: &[T], sign: T, x: &mut [T]) {
        let (pairs, _) = x.as_chunks_mut::<2>();
        for ((pair, c), s) in pairs.iter_mut().zip(cos).zip(sin) {
            let s = *s * sign;
            let [x, y] = *pair;
            *pair = [x * *c - y * s, x * s + y * *c];
        }
    }
}

impl<T: Real> Rotation<'_, T> {
    fn check(&self, elements: usize) {
        assert!(
            self.rotary.is_multiple_of(2) && self.rotary <= self.head,
            "rope: an even part of a head"
        );
        let table = self.positions * self.rotary / 2;
        assert_eq!(self.cos.len(), table, "rope: cosines");
        assert_eq!(self.sin.len(), table, "rope: sines");
        let block = self.positions * self.inner * self.head;
        assert!(
            elements == 0 || elements.is_multiple_of(block),
            "rope: whole sequences"
        );
    }

    /// Rotates `x` in place.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn apply_in_place(&self, turn: Turn, x: &mut [T]) {
        self.check(x.len());
        self.run(turn, x, |_, _| ());
    }

    /// Writes the rotated `x` to `y`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn apply(&self, turn: Turn, x: &[T], y: &mut [T]) {
        assert_eq!(x.len(), y.len(), "rope: input and output");
        self.check(x.len());
        self.run(turn, y, |at, y| y.copy_from_slice(&x[at..at + y.len()]));
    }

    fn run(&self, turn: Turn, y: &mut [T], prepare: impl Fn(usize, &mut [T]) + Sync + Send) {
        if y.is_empty() {
            return;
        }
        let isa = isa::current();
        let sign = if turn == Turn::Forward {
            T::ONE
        } else {
            -T::ONE
        };
        let half = self.rotary / 2;
        parallel::chunks_mut(y, rows_per_task(self.head) * self.head, |at, y| {
            prepare(at, y);
            for (i, row) in y.chunks_exact_mut(self.head).enumerate() {
                let position = (at / self.head + i) / self.inner % self.positions;
                let angles = position * half..(position + 1) * half;
                let (cos, sin) = (&self.cos[angles.clone()], &self.sin[angles]);
                match self.pairs {
                    Pairs::Halves => rotate_halves(isa, cos, sin, sign, &mut row[..self.rotary]),
                    Pairs::Neighbours => {
                        rotate_neighbours(isa, cos, sin, sign, &mut row[..self.rotary]);
                    }
                }
            }
        });
    }

    /// The rotation as its definition says, element by element.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn apply_naive(&self, turn: Turn, x: &[T], y: &mut [T]) {
        assert_eq!(x.len(), y.len(), "rope: input and output");
        self.check(x.len());
        let half = self.rotary / 2;
        for i in 0..x.len() {
            let (row, j) = (i / self.head, i % self.head);
            if j >= self.rotary {
                y[i] = x[i];
                continue;
            }
            let (pair, second, other) = match self.pairs {
                Pairs::Halves => (j % half, j >= half, (j + half) % self.rotary),
                Pairs::Neighbours => (j / 2, j % 2 == 1, j ^ 1),
            };
            let angle = row / self.inner % self.positions * half + pair;
            let sin = if second == (turn == Turn::Forward) {
                self.sin[angle]
            } else {
                -self.sin[angle]
            };
            y[i] = x[i] * self.cos[angle] + x[row * self.head + other] * sin;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, numbers, on_every_isa, same_bits_on_any_threads, singles};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fast_equals_naive_and_backward_undoes_forward(
            outer in 0_usize..4, positions in 1_usize..9, inner in 1_usize..4, half in 0_usize..20, rest in 0_usize..5,
            neighbours: bool, backward: bool,
        ) {
            let pairs = if neighbours { Pairs::Neighbours } else { Pairs::Halves };
            let turn = if backward { Turn::Backward } else { Turn::Forward };
            let (rotary, head) = (2 * half, (2 * half + rest).max(1));
            let (cos, sin) = angles::<f64>(3..3 + positions, &frequencies(rotary, 100.0));
            let rotation = Rotation { pairs, cos: &cos, sin: &sin, positions, inner, head, rotary };
            let x = numbers(outer * positions * inner * head, 1);
            let mut want = vec![0.0; x.len()];
            rotation.apply_naive(turn, &x, &mut want);
            let (cos, sin) = (singles(&cos), singles(&sin));
            let single = Rotation { pairs, cos: &cos, sin: &sin, positions, inner, head, rotary };
            on_every_isa(|_| {
                let mut y = vec![0.0; x.len()];
                rotation.apply(turn, &x, &mut y);
                assert_close("y", &y, &want, 1e-14);
                let other = if backward { Turn::Forward } else { Turn::Backward };
                rotation.apply_in_place(other, &mut y);
                assert_close("back again", &y, &x, 1e-14);
                let mut y = singles(&x);
                single.apply_in_place(turn, &mut y);
                assert_close("f32", &y, &want, 1e-6);
            });
        }
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let (cos, sin) = angles::<f32>(0..200, &frequencies(48, 1e4));
        let rotation = Rotation {
            pairs: Pairs::Halves,
            cos: &cos,
            sin: &sin,
            positions: 200,
            inner: 3,
            head: 48,
            rotary: 48,
        };
        let x = singles(&numbers(2 * 200 * 3 * 48, 1));
        same_bits_on_any_threads(|| {
            let mut y = vec![0.0; x.len()];
            rotation.apply(Turn::Forward, &x, &mut y);
            y
        });
    }

    #[test]
    fn a_quarter_turn_is_what_the_paper_says() {
        let pairs = Pairs::Neighbours;
        let rotation = Rotation {
            pairs,
            cos: &[0.0, 1.0],
            sin: &[1.0, 0.0],
            positions: 1,
            inner: 1,
            head: 4,
            rotary: 4,
        };
        let mut x = [1.0, 2.0, 3.0, 4.0];
        rotation.apply_in_place(Turn::Forward, &mut x);
        assert_eq!(x, [-2.0, 1.0, 3.0, 4.0]);
        let rotation = Rotation {
            pairs: Pairs::Halves,
            ..rotation
        };
        let mut x = [1.0, 2.0, 3.0, 4.0];
        rotation.apply_in_place(Turn::Forward, &mut x);
        assert_eq!(x, [-3.0, 2.0, 1.0, 4.0]);
    }
}

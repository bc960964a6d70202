//! Muon: momentum whose matrix is made nearly orthogonal before it moves the parameter.
//!
//! ```text
//! b ← b + (1 − μ) (g − b)
//! u = g + μ (b − g)                (u = b without Nesterov's momentum)
//! p ← p − lr λ p
//! p ← p − lr · s · NS(u)
//! ```
//!
//! `NS` pulls the singular values of a matrix towards 1 by some rounds of `X ← a X + (b G + c G²) X` with `G = X Xᵀ`, from
//! `X = u / max(‖u‖, ε)`; a matrix with more rows than columns is transposed for it. Each product is rounded to `bfloat16`, as PyTorch rounds it: the result
//! need not be precise, and equal roundings give equal steps. `s` depends on the shape, see [`Adjust`].
//!
//! States: `b`.
//!
//! # Source
//! Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); Liu et al., "Muon is scalable for LLM training" (2025),
//! section 2.2; the form of the averages and the roundings are PyTorch's.

use super::{At, Update};
use crate::matmul::{MatRef, Write, matmul};
use crate::real::Real;

/// How the learning rate follows the shape `[rows, columns]` of a matrix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adjust {
    /// `√max(1, rows / columns)`
    #[default]
    Original,
    /// `0.2 √max(rows, columns)`, which gives steps of AdamW's size.
    MatchRmsAdamW,
    /// `√(rows / columns)`
    SpectralUnclamped,
}

impl Adjust {
    /// The factor of the learning rate.
    #[must_use]
    pub fn factor(self, rows: usize, cols: usize) -> f64 {
        let (rows, cols) = (rows as f64, cols as f64);
        match self {
            Self::Original => (rows / cols).max(1.0).sqrt(),
            Self::MatchRmsAdamW => 0.2 * rows.max(cols).sqrt(),
            Self::SpectralUnclamped => (rows / cols).sqrt(),
        }
    }
}

/// Hyperparameters, and the shape of the matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Muon {
    /// Learning rate.
    pub lr: f64,
    /// μ, the share of the average that stays.
    pub momentum: f64,
    /// λ, the share of the parameter that a step of learning rate 1 takes away.
    pub weight_decay: f64,
    /// Whether to look ahead along the momentum.
    pub nesterov: bool,
    /// a, b and c of the polynomial.
    pub coefficients: [f64; 3],
    /// ε, below which a norm counts as this.
    pub eps: f64,
    /// Rounds of the polynomial.
    pub rounds: u32,
    /// How the learning rate follows the shape.
    pub adjust: Adjust,
    /// Rows of the parameter.
    pub rows: usize,
    /// Columns of the parameter.
    pub cols: usize,
}

impl Default for Muon {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.95,
            weight_decay: 0.1,
            nesterov: true,
            coefficients: [3.4445, -4.7750, 2.0315],
            eps: 1e-7,
            rounds: 5,
            adjust: Adjust::Original,
            rows: 0,
            cols: 0,
        }
    }
}

/// `x` rounded to `bfloat16`, ties to even.
#[must_use]
pub fn bfloat16(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    let bits = x.to_bits();
    let half = 0x7fff + (bits >> 16 & 1);
    // Carries into the exponent are meant; the largest numbers become infinite.
    f32::from_bits(bits.wrapping_add(half) & 0xffff_0000)
}

/// `start + weight (end − start)`, from the nearer end.
fn lerp<T: Real>(start: T, end: T, weight: f64) -> T {
    if weight < 0.5 {
        start + T::from_f64(weight) * (end - start)
    } else {
        end - (end - start) * T::from_f64(1.0 - weight)
    }
}

/// `X ← NS(X)` for a matrix with no more rows than columns, its elements rounded to `bfloat16`.
fn orthogonalise(x: &mut [f32], (rows, cols): (usize, usize), muon: &Muon, product: Product) {
    let squares: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let norm = bfloat16(squares.sqrt() as f32).max(muon.eps as f32);
    for x in x.iter_mut() {
        *x = bfloat16(*x / norm);
    }
    let [a, b, c] = muon.coefficients.map(|c| c as f32);
    let (mut gram, mut polynomial) = (vec![0.0; rows * rows], vec![0.0; rows * rows]);
    let mut moved = vec![0.0; rows * cols];
    for _ in 0..muon.rounds {
        let of_x = MatRef::row_major(&*x, rows, cols);
        product(of_x, of_x.t(), &mut gram);
        gram.iter_mut().for_each(|g| *g = bfloat16(*g));
        let of_gram = MatRef::row_major(&gram, rows, rows);
        product(of_gram, of_gram, &mut polynomial);
        for (p, g) in polynomial.iter_mut().zip(&gram) {
            *p = bfloat16(b * *g + c * *p);
        }
        let polynomial = MatRef::row_major(&polynomial, rows, rows);
        product(polynomial, of_x, &mut moved);
        for (x, m) in x.iter_mut().zip(&moved) {
            *x = bfloat16(a * *x + *m);
        }
    }
}

/// A way to multiply matrices.
type Product = fn(MatRef<'_, f32>, MatRef<'_, f32>, &mut [f32]);

fn fast(a: MatRef<'_, f32>, b: MatRef<'_, f32>, out: &mut [f32]) {
    matmul(a, b, out, Write::Replace);
}

fn plain(a: MatRef<'_, f32>, b: MatRef<'_, f32>, out: &mut [f32]) {
    crate::matmul::matmul_naive(a, b, out, Write::Replace);
}

/// The transpose of a matrix with rows of `cols` elements.
fn transposed(x: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols)
        .map(|i| x[i % rows * cols + i / rows])
        .collect()
}

impl Muon {
    /// `NS(u)`, and the learning rate that goes with it.
    fn direction(&self, u: Vec<f32>, product: Product) -> Vec<f32> {
        let (rows, cols) = (self.rows, self.cols);
        let mut x: Vec<f32> = u.into_iter().map(bfloat16).collect();
        if rows > cols {
            x = transposed(&x, rows, cols);
            orthogonalise(&mut x, (cols, rows), self, product);
            transposed(&x, cols, rows)
        } else {
            orthogonalise(&mut x, (rows, cols), self, product);
            x
        }
    }

    fn run<T: Real>(
        &self,
        at: At,
        param: &mut [T],
        grad: &[T],
        state: &mut [&mut [T]],
        product: Product,
    ) {
        let [b] = state else {
            panic!("optimizer: number of state slices");
        };
        assert_eq!(grad.len(), param.len(), "optimizer: gradient and parameter");
        assert_eq!(b.len(), param.len(), "optimizer: state and parameter");
        assert_eq!(self.rows * self.cols, param.len(), "Muon: rows and columns");
        if param.is_empty() {
            return;
        }
        let scale = T::from_f64(at.factor(false));
        let mut u = Vec::with_capacity(param.len());
        for (b, g) in b.iter_mut().zip(grad) {
            let g = scale * *g;
            *b = lerp(*b, g, 1.0 - self.momentum);
            let ahead = if self.nesterov {
                lerp(g, *b, self.momentum)
            } else {
                *b
            };
            u.push(ahead.to_f64() as f32);
        }
        let direction = self.direction(u, product);
        let keep = T::from_f64(1.0 - self.lr * self.weight_decay);
        let lr = T::from_f64(self.lr * self.adjust.factor(self.rows, self.cols));
        for (p, d) in param.iter_mut().zip(direction) {
            *p = keep * *p - lr * T::from_f64(d.into());
        }
    }
}

impl Update for Muon {
    fn states(&self) -> usize {
        1
    }

    fn step<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        self.run(at, param, grad, state, fast);
    }

    fn naive<T: Real>(&self, at: At, param: &mut [T], grad: &[T], state: &mut [&mut [T]]) {
        self.run(at, param, grad, state, plain);
    }
}

//! Newton-Schulz iterations: a matrix made nearly orthogonal, as Muon does before it moves a parameter.
//!
//! They pull the singular values of a matrix towards 1 by some rounds of `X ← a X + (b G + c G²) X` with `G = X Xᵀ`,
//! from `X = u / max(‖u‖, ε)`; a matrix with more rows than columns is transposed for it. Each product is rounded to
//! `bfloat16`, as PyTorch rounds it: the result need not be precise, and equal roundings give equal steps.
//!
//! # Source
//! Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); the roundings are PyTorch's.

use crate::matmul::{MatRef, Write, matmul, matmul_naive};

/// What the iterations are made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewtonSchulz {
    /// a, b and c of the polynomial.
    pub coefficients: [f64; 3],
    /// ε, below which a norm counts as this.
    pub eps: f64,
    /// Rounds of the polynomial.
    pub rounds: u32,
}

/// `NS(u)` of a matrix.
#[must_use]
pub fn orthogonal(u: Vec<f32>, rows: usize, cols: usize, ns: &NewtonSchulz) -> Vec<f32> {
    direction(u, rows, cols, ns, fast)
}

/// The same with plain loops: the reference of [`orthogonal`].
#[must_use]
pub fn orthogonal_naive(u: Vec<f32>, rows: usize, cols: usize, ns: &NewtonSchulz) -> Vec<f32> {
    direction(u, rows, cols, ns, plain)
}

fn direction(
    u: Vec<f32>,
    rows: usize,
    cols: usize,
    ns: &NewtonSchulz,
    product: Product,
) -> Vec<f32> {
    let mut x: Vec<f32> = u.into_iter().map(bfloat16).collect();
    if rows > cols {
        x = transposed(&x, rows, cols);
        orthogonalise(&mut x, (cols, rows), ns, product);
        transposed(&x, cols, rows)
    } else {
        orthogonalise(&mut x, (rows, cols), ns, product);
        x
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

/// `X ← NS(X)` for a matrix with no more rows than columns, its elements rounded to `bfloat16`.
fn orthogonalise(x: &mut [f32], (rows, cols): (usize, usize), ns: &NewtonSchulz, product: Product) {
    let squares: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let norm = bfloat16(squares.sqrt() as f32).max(ns.eps as f32);
    for x in x.iter_mut() {
        *x = bfloat16(*x / norm);
    }
    let [a, b, c] = ns.coefficients.map(|c| c as f32);
    let (mut gram, mut polynomial) = (vec![0.0; rows * rows], vec![0.0; rows * rows]);
    let mut moved = vec![0.0; rows * cols];
    for _ in 0..ns.rounds {
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
    matmul_naive(a, b, out, Write::Replace);
}

/// The transpose of a matrix with rows of `cols` elements.
fn transposed(x: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols)
        .map(|i| x[i % rows * cols + i / rows])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::bfloat16;

    #[test]
    fn bfloat16_rounds_to_nearest_even() {
        for (x, want) in [
            (1.0, 1.0),
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
            (-1.0 - 1.001 / 256.0, -1.0 - 2.0 / 256.0),
            (f32::MAX, f32::INFINITY),
            (0.0, 0.0),
        ] {
            assert_eq!(bfloat16(x), want, "{x}");
        }
        assert!(bfloat16(f32::NAN).is_nan());
    }
}

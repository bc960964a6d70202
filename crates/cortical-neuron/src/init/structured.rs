//! Matrices with a structure: orthogonal, sparse, identity.

use super::wrong_rank;
use crate::{Error, Result};
use cortical_tensor::Rng;

/// Orthonormal rows, or columns where there are fewer of those, from a Gaussian matrix: every such basis is equally
/// likely.
pub(super) fn orthogonal(
    values: &mut [f32],
    shape: &[usize],
    gain: f64,
    rng: &mut Rng,
) -> Result<()> {
    if shape.len() < 2 {
        return Err(wrong_rank(
            "orthogonal",
            "used for two dimensions or more",
            shape,
        ));
    }
    if values.is_empty() {
        return Ok(());
    }
    let (rows, columns) = (shape[0], values.len() / shape[0]);
    let (vectors, length) = (rows.min(columns), rows.max(columns));
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(vectors);
    while basis.len() < vectors {
        let mut v: Vec<f64> = (0..length).map(|_| rng.normal()).collect();
        let before = dot(&v, &v).sqrt();
        // Twice is enough (Giraud, Langou and Rozložník 2005): once leaves what rounding has put back.
        for _ in 0..2 {
            for b in &basis {
                let along = dot(&v, b);
                v.iter_mut().zip(b).for_each(|(v, b)| *v -= along * b);
            }
        }
        let norm = dot(&v, &v).sqrt();
        // A vector that lies in the span of the others, which chance all but forbids, is drawn again.
        if norm > 1e-8 * before {
            v.iter_mut().for_each(|v| *v /= norm);
            basis.push(v);
        }
    }
    for (i, value) in values.iter_mut().enumerate() {
        let (row, column) = (i / columns, i % columns);
        let element = if rows <= columns {
            basis[row][column]
        } else {
            basis[column][row]
        };
        *value = (gain * element) as f32;
    }
    Ok(())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Gaussian, with a share of each column zero.
pub(super) fn sparse(
    values: &mut [f32],
    shape: &[usize],
    sparsity: f64,
    std: f64,
    rng: &mut Rng,
) -> Result<()> {
    let &[rows, columns] = shape else {
        return Err(wrong_rank("sparse", "used for a matrix", shape));
    };
    if !(0.0..=1.0).contains(&sparsity) {
        return Err(Error::Option {
            option: "sparsity",
            expected: "a share from 0 to 1",
            got: sparsity.to_string(),
        });
    }
    rng.fill_normal(values, 0.0, std);
    let zeros = (sparsity * rows as f64).ceil() as usize;
    let mut order: Vec<usize> = (0..rows).collect();
    for column in 0..columns {
        for i in 0..zeros {
            let other = i + rng.below((rows - i) as u64) as usize;
            order.swap(i, other);
            values[order[i] * columns + column] = 0.0;
        }
    }
    Ok(())
}

/// Ones on the diagonal.
pub(super) fn identity(values: &mut [f32], shape: &[usize]) -> Result<()> {
    let &[rows, columns] = shape else {
        return Err(wrong_rank("identity", "used for a matrix", shape));
    };
    for i in 0..rows.min(columns) {
        values[i * columns + i] = 1.0;
    }
    Ok(())
}

/// A one in the middle of the kernel between channels of the same number.
pub(super) fn dirac(values: &mut [f32], shape: &[usize], groups: usize) -> Result<()> {
    if !(3..=5).contains(&shape.len()) {
        return Err(wrong_rank(
            "dirac",
            "used for a kernel of one to three axes",
            shape,
        ));
    }
    if groups == 0 || !shape[0].is_multiple_of(groups) {
        return Err(Error::Option {
            option: "groups",
            expected: "a divisor of the output channels",
            got: groups.to_string(),
        });
    }
    let (inputs, kernel) = (shape[1], &shape[2..]);
    let taps: usize = kernel.iter().product();
    let middle = kernel.iter().fold(0, |at, size| at * size + size / 2);
    let per_group = shape[0] / groups;
    if taps == 0 {
        return Ok(());
    }
    for group in 0..groups {
        for channel in 0..per_group.min(inputs) {
            values[((group * per_group + channel) * inputs + channel) * taps + middle] = 1.0;
        }
    }
    Ok(())
}

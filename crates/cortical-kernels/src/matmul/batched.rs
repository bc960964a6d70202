//! Many matrix products of one shape.

use super::{MatRef, Write, matmul, matmul_task};
use crate::isa;
use crate::parallel;
use crate::real::Real;

/// How the matrices of a batch lie in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transposes {
    /// Whether each `A` lies as `[k, m]`.
    pub a: bool,
    /// Whether each `B` lies as `[n, k]`.
    pub b: bool,
}

impl Transposes {
    /// Operands `i` of many that lie one behind the other, as `[m, k]` and `[k, n]`.
    pub(super) fn views<'a, T: 'static>(
        self,
        i: usize,
        [m, n, k]: [usize; 3],
        a: &'a [T],
        b: &'a [T],
    ) -> (MatRef<'a, T>, MatRef<'a, T>) {
        let (a, b) = (
            &a[i * m * k..(i + 1) * m * k],
            &b[i * k * n..(i + 1) * k * n],
        );
        let a = match self.a {
            true => MatRef::row_major(a, k, m).t(),
            false => MatRef::row_major(a, m, k),
        };
        let b = match self.b {
            true => MatRef::row_major(b, n, k).t(),
            false => MatRef::row_major(b, k, n),
        };
        (a, b)
    }
}

/// `C = A · B` for each of `batch` matrices `[m, k]` and `[k, n]` (transposed where `transposes` says so), one behind
/// the other.
///
/// A single product may use all threads; of several each uses one, whatever the number of threads is.
///
/// # Panics
/// If the lengths do not fit the dimensions.
pub fn batched<T: Real>(
    batch: usize,
    [m, n, k]: [usize; 3],
    a: &[T],
    b: &[T],
    transposes: Transposes,
    c: &mut [T],
) {
    let lengths = (batch * m * k, batch * k * n, batch * m * n);
    assert_eq!((a.len(), b.len(), c.len()), lengths, "batched matmul");
    if c.is_empty() {
        return;
    }
    let product = |i: usize| transposes.views(i, [m, n, k], a, b);
    if batch == 1 {
        let (a, b) = product(0);
        matmul(a, b, c, Write::Replace);
        return;
    }
    let isa = isa::current();
    parallel::chunks_mut(c, m * n, |at, c| {
        let (a, b) = product(at / (m * n));
        if k == 0 {
            c.fill(T::ZERO);
        } else {
            matmul_task(isa, a, b, c, n, Write::Replace);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::matmul_naive;
    use crate::testing::{assert_close, numbers, same_bits_on_any_threads, singles};

    #[test]
    fn every_layout_is_the_naive_product() {
        for (batch, [m, n, k]) in [
            (1, [3, 4, 5]),
            (3, [2, 5, 4]),
            (2, [1, 1, 7]),
            (2, [3, 2, 0]),
            (0, [2, 2, 2]),
        ] {
            let (a, b) = (numbers(batch * m * k, 1), numbers(batch * k * n, 2));
            for transposes in [(false, false), (true, false), (false, true), (true, true)] {
                let transposes = Transposes {
                    a: transposes.0,
                    b: transposes.1,
                };
                let (mut got, mut want) = (vec![9.0; batch * m * n], vec![0.0; batch * m * n]);
                batched(batch, [m, n, k], &a, &b, transposes, &mut got);
                for i in 0..batch {
                    let (a, b) = (
                        &a[i * m * k..(i + 1) * m * k],
                        &b[i * k * n..(i + 1) * k * n],
                    );
                    let a = if transposes.a {
                        MatRef::row_major(a, k, m).t()
                    } else {
                        MatRef::row_major(a, m, k)
                    };
                    let b = if transposes.b {
                        MatRef::row_major(b, n, k).t()
                    } else {
                        MatRef::row_major(b, k, n)
                    };
                    matmul_naive(a, b, &mut want[i * m * n..(i + 1) * m * n], Write::Replace);
                }
                assert_close("batched", &got, &want, 1e-12);
            }
        }
    }

    #[test]
    fn threads_do_not_change_the_bits() {
        let (a, b) = (
            singles(&numbers(3 * 40 * 50, 1)),
            singles(&numbers(3 * 50 * 60, 2)),
        );
        for batch in [1, 3] {
            same_bits_on_any_threads(|| {
                let mut c = vec![0.0; batch * 40 * 60];
                let (a, b) = (&a[..batch * 2000], &b[..batch * 3000]);
                batched(batch, [40, 60, 50], a, b, Transposes::default(), &mut c);
                c
            });
        }
    }
}

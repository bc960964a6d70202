//! Products of matrices, many at once.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::pairs;
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, wrong_shape};
use crate::shape::checked_count;
use crate::{Input, Result, is_fallback, tally, values};
use candle_core::{DType, Tensor};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::matmul::{Transposes, batched};

const NAME: &str = "matmul";

/// `C = A B` for each of a batch of matrices, either of them read as its transpose where `transposes` says so.
///
/// # Shapes
/// - `a`: `[…, m, k]`, or `[…, k, m]` where it is transposed
/// - `b`: `[…, k, n]`, or `[…, n, k]` where it is transposed; the leading dimensions of both are broadcast to each
///   other
/// - result: `[…, m, n]`
/// - without transposes also a vector `[k]` on either side, whose dimension of one is gone from the result
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType),
/// [`Error::Device`](crate::Error::Device) when the arguments do not fit together,
/// [`Error::TooLarge`](crate::Error::TooLarge).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_kernels::matmul::Transposes;
/// # fn main() -> cortical_tensor::Result<()> {
/// let a = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu)?;
/// let b = Tensor::new(&[[3.0_f32, 4.0]], &Device::Cpu)?;
/// let c = cortical_tensor::ops::matmul(&a, &b, Transposes { a: false, b: true })?;
/// assert_eq!(c.to_vec2::<f32>()?, [[11.0]]);
/// # Ok(())
/// # }
/// ```
pub fn matmul<'a>(
    a: impl Into<Input<'a>>,
    b: impl Into<Input<'a>>,
    transposes: Transposes,
) -> Result<Tensor> {
    fn inner(a: Input<'_>, b: Input<'_>, transposes: Transposes) -> Result<Tensor> {
        if let Some((a, b, gone)) = spread(a.tensor(), b.tensor(), transposes)? {
            let mut c = matmul(&a, &b, transposes)?;
            for dim in gone {
                c = c.squeeze(c.rank() - dim)?;
            }
            return Ok(c);
        }
        let dims = check(a.tensor(), b.tensor(), transposes)?;
        let dtype = a.tensor().dtype();
        let on_pairs = pairs::are_for(a.tensor());
        if is_half(dtype) && !on_pairs {
            let (a, b) = (
                a.tensor().to_dtype(DType::F32)?,
                b.tensor().to_dtype(DType::F32)?,
            );
            return Ok(matmul(&a, &b, transposes)?.to_dtype(dtype)?);
        }
        if b.tensor().rank() < a.tensor().rank() {
            // One matrix for the whole batch: its gradient is the sum over the batch.
            let leading = &a.tensor().dims()[..a.tensor().rank() - 2];
            let b = b.tensor().broadcast_left(leading)?;
            return matmul(a, &b, transposes);
        }
        tally::count(&dims);
        if is_fallback(a.tensor().device()) {
            return fallback(a.tensor(), b.tensor(), transposes, dims);
        }
        if on_pairs {
            return forward_pairs(a.tensor(), b.tensor(), transposes, dims);
        }
        by_dtype!(NAME, "a", a.tensor(), T => forward::<T>(a, b, transposes, dims))
    }
    inner(a.into(), b.into(), transposes)
}

/// Vectors as matrices and batches of one shape, where that is not how they come; with the dimensions of the result,
/// counted from its end, that a vector does not have. `None` as well where they do not go together, which the checks
/// say better.
fn spread(
    a: &Tensor,
    b: &Tensor,
    transposes: Transposes,
) -> Result<Option<(Tensor, Tensor, Vec<usize>)>> {
    let plain = !transposes.a && !transposes.b;
    if plain && a.rank().min(b.rank()) == 1 {
        let (row, column) = (a.rank() == 1, b.rank() == 1);
        let a = if row { a.unsqueeze(0)? } else { a.clone() };
        let b = if column { b.unsqueeze(1)? } else { b.clone() };
        let gone = [(column, 1), (row, if column { 1 } else { 2 })];
        let gone = gone.into_iter().filter_map(|(is, dim)| is.then_some(dim));
        return Ok(Some((a, b, gone.collect())));
    }
    let (Some(a_end), Some(b_end)) = (a.rank().checked_sub(2), b.rank().checked_sub(2)) else {
        return Ok(None);
    };
    let (a_leading, b_leading) = (&a.dims()[..a_end], &b.dims()[..b_end]);
    if a_leading == b_leading || b_leading.is_empty() {
        return Ok(None);
    }
    let rank = a_end.max(b_end);
    let from_end = |dims: &[usize], i: usize| match (i + dims.len()).checked_sub(rank) {
        Some(at) => dims[at],
        None => 1,
    };
    let mut leading = Vec::with_capacity(rank);
    for i in 0..rank {
        match (from_end(a_leading, i), from_end(b_leading, i)) {
            (a, b) if a == b || b == 1 => leading.push(a),
            (1, b) => leading.push(b),
            _ => return Ok(None),
        }
    }
    checked_count(NAME, &leading)?;
    let whole = |t: &Tensor, end: usize| t.broadcast_as([&leading[..], &t.dims()[end..]].concat());
    Ok(Some((whole(a, a_end)?, whole(b, b_end)?, Vec::new())))
}

/// `[batch, m, n, k]` of products that fit together.
fn check(a: &Tensor, b: &Tensor, transposes: Transposes) -> Result<[usize; 4]> {
    check_float(NAME, "a", a)?;
    check_alike(NAME, a, "b", b)?;
    let [leading @ .., a_rows, a_cols] = a.dims() else {
        return Err(wrong_shape(NAME, "a", "[…, m, k]", a));
    };
    let [b_leading @ .., b_rows, b_cols] = b.dims() else {
        return Err(wrong_shape(NAME, "b", "[…, k, n]", b));
    };
    let turn = |yes: bool, rows: usize, cols: usize| if yes { (cols, rows) } else { (rows, cols) };
    let (m, k) = turn(transposes.a, *a_rows, *a_cols);
    let (b_k, n) = turn(transposes.b, *b_rows, *b_cols);
    if b_k != k || !(b_leading == leading || b_leading.is_empty()) {
        let last = if transposes.b {
            format!("n, {k}")
        } else {
            format!("{k}, n")
        };
        let expected = format!(
            "[{last}] behind {leading:?} or nothing, to go with a of {:?}",
            a.dims()
        );
        return Err(wrong_shape(NAME, "b", expected, b));
    }
    let batch = checked_count(NAME, leading)?;
    checked_count(NAME, &[batch, m, n])?;
    checked_count(NAME, &[batch, n, k])?;
    Ok([batch, m, n, k])
}

fn forward<T: Element>(
    a: Input<'_>,
    b: Input<'_>,
    transposes: Transposes,
    dims: [usize; 4],
) -> Result<Tensor> {
    let (a, b) = (a.operand()?, b.operand()?);
    let [batch, m, n, k] = dims;
    let mut c = unspecified::<T>(batch * m * n);
    batched(
        batch,
        [m, n, k],
        &values(a.tensor())?,
        &values(b.tensor())?,
        transposes,
        &mut c,
    );
    let mut shape = a.tensor().dims().to_vec();
    let rank = shape.len();
    shape[rank - 2..].copy_from_slice(&[m, n]);
    let op = Matmul::<T> {
        dims,
        transposes,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![a, b], Output::new(c, shape))
}

/// As [`forward`] for `bf16`; a parameter's gradient goes to candle, as that of a widened one does.
fn forward_pairs(
    a: &Tensor,
    b: &Tensor,
    transposes: Transposes,
    dims: [usize; 4],
) -> Result<Tensor> {
    let (a, b) = (Input::from(a).operand()?, Input::from(b).operand()?);
    let [batch, m, n, k] = dims;
    let mut shape = a.tensor().dims().to_vec();
    let rank = shape.len();
    shape[rank - 2..].copy_from_slice(&[m, n]);
    let (left, right) = (a.tensor(), b.tensor());
    let c = pairs::product(batch, [m, n, k], left, right, transposes)?;
    apply_one(
        OfPairs { dims, transposes },
        vec![a, b],
        Output::new(c, shape),
    )
}

struct Matmul<T> {
    dims: [usize; 4],
    transposes: Transposes,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for Matmul<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        backward(
            pass,
            self.dims,
            self.transposes,
            |batch, dims, a, b, t, like| {
                let mut c = unspecified::<T>(like.elem_count());
                batched(batch, dims, &values(a)?, &values(b)?, t, &mut c);
                tensor(c, like.shape())
            },
        )
    }
}

struct OfPairs {
    dims: [usize; 4],
    transposes: Transposes,
}

impl Op for OfPairs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        backward(
            pass,
            self.dims,
            self.transposes,
            |batch, dims, a, b, t, like| {
                tensor(pairs::product(batch, dims, a, b, t)?, like.shape())
            },
        )
    }
}

/// `dA = dC Bᵀ` and `dB = Aᵀ dC`, each transposed where its argument is; `product` makes one of the shape of its last
/// argument.
fn backward(
    pass: &Backward<'_>,
    [batch, m, n, k]: [usize; 4],
    Transposes { a: ta, b: tb }: Transposes,
    product: impl Fn(usize, [usize; 3], &Tensor, &Tensor, Transposes, &Tensor) -> Result<Tensor>,
) -> Result<Vec<Option<Tensor>>> {
    let (a, b, d_c) = (pass.input(0), pass.input(1), pass.d_output(0));
    let turned = |a, b| Transposes { a, b };
    let d_a = pass.wants(0).then(|| match ta {
        // [k, m] = B [k, n] · dCᵀ [n, m]
        true => product(batch, [k, m, n], b, d_c, turned(tb, true), a),
        // [m, k] = dC [m, n] · Bᵀ [n, k]
        false => product(batch, [m, k, n], d_c, b, turned(false, !tb), a),
    });
    let d_b = pass.wants(1).then(|| match tb {
        // [n, k] = dCᵀ [n, m] · A [m, k]
        true => product(batch, [n, k, m], d_c, a, turned(true, ta), b),
        // [k, n] = Aᵀ [k, m] · dC [m, n]
        false => product(batch, [k, n, m], a, d_c, turned(!ta, false), b),
    });
    Ok(vec![d_a.transpose()?, d_b.transpose()?])
}

fn fallback(a: &Tensor, b: &Tensor, transposes: Transposes, dims: [usize; 4]) -> Result<Tensor> {
    let [_, m, n, _] = dims;
    let last = a.rank() - 1;
    if a.elem_count() == 0 || b.elem_count() == 0 {
        let mut shape = a.dims().to_vec();
        shape[last - 1..].copy_from_slice(&[m, n]);
        return Ok(Tensor::zeros(shape, a.dtype(), a.device())?);
    }
    let turned = |t: &Tensor, yes: bool| match yes {
        true => t.transpose(last - 1, last)?.contiguous(),
        false => t.contiguous(),
    };
    Ok(turned(a, transposes.a)?.matmul(&turned(b, transposes.b)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::ops::testing::{as_widened, check as check_gradients, random};

    #[test]
    fn products_and_gradients_of_bf16_are_those_of_widened_ones() {
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            let transposes = Transposes { a: ta, b: tb };
            let run = |t: &[Tensor]| matmul(&t[0], &t[1], transposes);
            for (leading, [m, n, k]) in [
                (&[][..], [33, 40, 21]),
                (&[2, 3], [3, 17, 5]),
                (&[2], [2, 3, 0]),
            ] {
                let shape = |turned: bool, rows: usize, cols: usize| {
                    let last = if turned { [cols, rows] } else { [rows, cols] };
                    [leading, &last].concat()
                };
                let (a, b) = (random(&shape(ta, m, k), "a"), random(&shape(tb, k, n), "b"));
                as_widened(&[a.clone(), b], run);
                // One matrix for the whole batch, and a view.
                let one = random(&shape(tb, k, n)[leading.len()..], "b");
                as_widened(&[a, one], run);
            }
        }
        let view = random(&[21, 33], "a").t().unwrap();
        as_widened(&[view, random(&[21, 40], "b")], |t| {
            matmul(&t[0], &t[1], Transposes::default())
        });
    }

    #[test]
    fn gradients_of_every_layout_on_both_paths() {
        for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
            let transposes = Transposes { a: ta, b: tb };
            let run = |t: &[Tensor]| matmul(&t[0], &t[1], transposes);
            for (leading, [m, n, k]) in [
                (&[][..], [3, 4, 2]),
                (&[2], [3, 2, 4]),
                (&[2, 3], [1, 2, 3]),
                (&[2], [1, 1, 1]),
                (&[0], [2, 2, 2]),
                (&[2], [2, 3, 0]),
            ] {
                let shape = |turned: bool, rows: usize, cols: usize| {
                    let last = if turned { [cols, rows] } else { [rows, cols] };
                    [leading, &last].concat()
                };
                let (a, b) = (random(&shape(ta, m, k), "a"), random(&shape(tb, k, n), "b"));
                check_gradients(&[a.clone(), b.clone()], run);
                // One matrix for the whole batch.
                let one = random(&shape(tb, k, n)[leading.len()..], "b");
                check_gradients(&[a, one], run);
            }
        }
    }

    #[test]
    fn vectors_and_batches_that_broadcast() {
        let run = |t: &[Tensor]| matmul(&t[0], &t[1], Transposes::default());
        for (a, b, c) in [
            (&[4][..], &[4][..], &[][..]),
            (&[4], &[4, 3], &[3]),
            (&[3, 4], &[4], &[3]),
            (&[4], &[2, 4, 3], &[2, 3]),
            (&[2, 3, 4], &[4], &[2, 3]),
            (&[2, 1, 3, 4], &[5, 4, 2], &[2, 5, 3, 2]),
            (&[3, 4], &[2, 4, 2], &[2, 3, 2]),
        ] {
            let (a, b) = (random(a, "a"), random(b, "b"));
            let y = run(&[a.clone(), b.clone()]).unwrap();
            assert_eq!(y.dims(), c);
            let (m, n) = (a.dims().len() > 1, b.dims().len() > 1);
            let a_2 = if m {
                a.clone()
            } else {
                a.unsqueeze(0).unwrap()
            };
            let b_2 = if n {
                b.clone()
            } else {
                b.unsqueeze(1).unwrap()
            };
            let want = a_2.broadcast_matmul(&b_2).unwrap();
            crate::ops::testing::same(&y, &want.reshape(c).unwrap(), 1e-12);
            check_gradients(&[a, b], run);
        }
    }

    #[test]
    fn views_and_an_argument_used_twice() {
        let run = |t: &[Tensor]| matmul(&t[0], &t[1], Transposes::default());
        check_gradients(
            &[
                random(&[4, 3], "a").t().unwrap(),
                random(&[2, 4], "b").t().unwrap(),
            ],
            run,
        );
        check_gradients(&[random(&[3, 3], "a")], |t| {
            matmul(&t[0], &t[0], Transposes { a: true, b: false })
        });
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let message = |a: &[usize], b: &[usize]| {
            matmul(&random(a, "a"), &random(b, "b"), Transposes::default())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            message(&[2, 3, 4], &[2, 5, 4]),
            "matmul: b must have shape [4, n] behind [2] or nothing, to go with a of [2, 3, 4], but has [2, 5, 4]"
        );
        assert!(message(&[3], &[4, 4]).contains("[3, n]"));
        assert!(message(&[2, 1, 4], &[3, 5, 2]).contains("[4, n]"));
        let zero = Tensor::zeros((1, 1), DType::F32, &candle_core::Device::Cpu).unwrap();
        let (tall, wide) = (
            zero.broadcast_as((1 << 33, 1)).unwrap(),
            zero.broadcast_as((1, 1 << 33)).unwrap(),
        );
        let error = matmul(&tall, &wide, Transposes::default()).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    }
}

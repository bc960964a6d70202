//! Rows of a table, picked by index.

use crate::element::{Element, tensor, zeros};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, check_float, is_half, wrong_shape};
use crate::shape::checked_count;
use crate::{Error, Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::embedding as kernel;

const NAME: &str = "embedding";

/// `y[…, :] = weight[indices[…], :]`. Backward, a row's gradient is the sum over its uses, in the order of their
/// positions; uses of `padding` add nothing.
///
/// # Shapes
/// - `indices`: any, of u8, u32 or i64
/// - `weight`: `[rows, dim]`
/// - result: `[…, dim]`
///
/// # Errors
/// [`Error::Index`] for an index that is no row, [`Error::Shape`], [`Error::DType`], [`Error::Device`].
pub fn embedding<'a>(
    indices: &Tensor,
    weight: impl Into<Input<'a>>,
    padding: Option<u32>,
) -> Result<Tensor> {
    fn inner(indices: &Tensor, weight: Input<'_>, padding: Option<u32>) -> Result<Tensor> {
        let w = weight.tensor();
        check_float(NAME, "weight", w)?;
        let &[rows, dim] = w.dims() else {
            return Err(wrong_shape(NAME, "weight", "[rows, dim]", w));
        };
        let (expected, got) = (w.device().location(), indices.device().location());
        if expected != got {
            return Err(Error::Device {
                op: NAME,
                argument: "indices",
                expected,
                got,
            });
        }
        let mut shape = indices.dims().to_vec();
        shape.push(dim);
        checked_count(NAME, &shape)?;
        if is_half(w.dtype()) {
            let wide = w.to_dtype(DType::F32)?;
            return Ok(embedding(indices, &wide, padding)?.to_dtype(w.dtype())?);
        }
        let picked = rows_of(indices, rows)?;
        if is_fallback(w.device()) {
            return fallback(&picked, w, padding, shape);
        }
        by_dtype!(NAME, "weight", w, T => forward::<T>(picked, weight, padding, shape))
    }
    inner(indices, weight.into(), padding)
}

/// The indices, each checked to be a row.
fn rows_of(indices: &Tensor, rows: usize) -> Result<Vec<u32>> {
    if !matches!(indices.dtype(), DType::U8 | DType::U32 | DType::I64) {
        let (expected, got) = ("u32, i64 or u8", indices.dtype());
        return Err(Error::DType {
            op: NAME,
            argument: "indices",
            expected,
            got,
        });
    }
    let wide = indices
        .flatten_all()?
        .to_dtype(DType::I64)?
        .to_vec1::<i64>()?;
    wide.into_iter()
        .enumerate()
        .map(|(at, got)| {
            u32::try_from(got)
                .ok()
                .filter(|row| (*row as usize) < rows)
                .ok_or(Error::Index {
                    op: NAME,
                    argument: "indices",
                    at,
                    got,
                    below: rows,
                })
        })
        .collect()
}

struct Embedding<T> {
    indices: Vec<u32>,
    padding: Option<u32>,
    dtype: std::marker::PhantomData<T>,
}

fn forward<T: Element>(
    indices: Vec<u32>,
    weight: Input<'_>,
    padding: Option<u32>,
    shape: Vec<usize>,
) -> Result<Tensor> {
    let operand = weight.operand()?;
    let dim = operand.tensor().dims()[1];
    let mut y = unspecified::<T>(indices.len() * dim);
    kernel::forward(&values(operand.tensor())?, dim, &indices, &mut y);
    let op = Embedding::<T> {
        indices,
        padding,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![operand], Output::new(y, shape))
}

impl<T: Element> Op for Embedding<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let weight = pass.input(0);
        let mut d_weight = zeros::<T>(weight.elem_count());
        let d_y = values::<T>(pass.d_output(0))?;
        kernel::backward(
            &d_y,
            weight.dims()[1],
            &self.indices,
            self.padding,
            &mut d_weight,
        );
        Ok(vec![Some(tensor(d_weight, weight.shape())?)])
    }
}

fn fallback(
    picked: &[u32],
    weight: &Tensor,
    padding: Option<u32>,
    shape: Vec<usize>,
) -> Result<Tensor> {
    let n = picked.len();
    if n == 0 {
        return Ok(Tensor::zeros(shape, weight.dtype(), weight.device())?);
    }
    let indices = Tensor::from_slice(picked, n, weight.device())?;
    let weight = weight.contiguous()?;
    let y = weight.index_select(&indices, 0)?;
    let y = match padding {
        None => y,
        Some(padding) => {
            // The row itself passes, its gradient does not.
            let kept: Vec<f64> = picked
                .iter()
                .map(|p| f64::from(u8::from(*p != padding)))
                .collect();
            let kept = Tensor::from_vec(kept, (n, 1), weight.device())?.to_dtype(weight.dtype())?;
            let rest = kept.affine(-1.0, 1.0)?;
            (y.broadcast_mul(&kept)? + y.detach().broadcast_mul(&rest)?)?
        }
    };
    Ok(y.reshape(shape)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, random};
    use candle_core::Device;

    #[test]
    fn gradients_of_rows_used_once_often_and_never() {
        for shape in [&[6][..], &[2, 3], &[3, 1, 2]] {
            let indices =
                Tensor::from_vec(vec![1_u32, 0, 1, 4, 1, 0], shape, &Device::Cpu).unwrap();
            for padding in [None, Some(1)] {
                // Central differences see the row that padding hides from the gradient, so it is looked at below.
                if padding.is_none() {
                    check(&[random(&[5, 3], "w")], |t| {
                        embedding(&indices, &t[0], padding)
                    });
                    check(&[random(&[3, 5], "w").t().unwrap()], |t| {
                        embedding(&indices, &t[0], padding)
                    });
                }
            }
        }
        let none = Tensor::zeros((0, 2), DType::U32, &Device::Cpu).unwrap();
        check(&[random(&[5, 3], "w")], |t| embedding(&none, &t[0], None));
    }

    #[test]
    fn padding_is_read_but_not_trained() {
        let weight = candle_core::Var::from_tensor(&random(&[3, 2], "w")).unwrap();
        let indices = Tensor::new(&[0_i64, 1, 1], &Device::Cpu).unwrap();
        let gradient = || {
            let y = embedding(&indices, &weight, Some(0)).unwrap();
            assert_eq!(
                y.get(0).unwrap().to_vec1::<f64>().unwrap(),
                weight.get(0).unwrap().to_vec1::<f64>().unwrap()
            );
            y.sum_all()
                .unwrap()
                .backward()
                .unwrap()
                .get(&weight)
                .unwrap()
                .to_vec2::<f64>()
                .unwrap()
        };
        assert_eq!(gradient(), [[0.0, 0.0], [2.0, 2.0], [0.0, 0.0]]);
        assert_eq!(
            crate::with_fallback(gradient),
            [[0.0, 0.0], [2.0, 2.0], [0.0, 0.0]]
        );
    }

    #[test]
    fn errors_say_what_was_expected() {
        let w = random(&[5, 3], "w");
        let text = |indices: &[i64]| {
            embedding(&Tensor::new(indices, &Device::Cpu).unwrap(), &w, None)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            text(&[1, 5]),
            "embedding: indices[1] is 5, but must be below 5"
        );
        assert_eq!(
            text(&[-1]),
            "embedding: indices[0] is -1, but must be below 5"
        );
        let floats = embedding(&w, &w, None).unwrap_err().to_string();
        assert!(floats.contains("u32, i64 or u8"), "{floats}");
    }
}

//! A tensor cut into parts along its last dimension.

use crate::element::{Element, tensor, zeros};
use crate::graph::{Backward, Op, Output, apply};
use crate::ops::prepare::{by_dtype, check_float, is_half, wrong_shape};
use crate::{Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};

const NAME: &str = "split";

/// Cuts the last dimension into parts of these sizes. Backward, the parts' gradients are laid side by side in one pass,
/// where candle's `narrow` would fill a tensor of zeros for each part and add them up.
///
/// # Shapes
/// - `x`: `[…, Σ sizes]`
/// - results: `[…, size]` for each size
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) when the sizes do not add up to the last dimension,
/// [`Error::DType`](crate::Error::DType).
///
/// ```
/// use candle_core::{Device, Tensor};
/// # fn main() -> cortical_tensor::Result<()> {
/// let x = Tensor::new(&[[1.0_f32, 2.0, 3.0]], &Device::Cpu)?;
/// let parts = cortical_tensor::ops::split(&x, &[1, 2])?;
/// assert_eq!(parts[1].to_vec2::<f32>()?, [[2.0, 3.0]]);
/// # Ok(())
/// # }
/// ```
pub fn split<'a>(x: impl Into<Input<'a>>, sizes: &[usize]) -> Result<Vec<Tensor>> {
    fn inner(x: Input<'_>, sizes: &[usize]) -> Result<Vec<Tensor>> {
        let t = x.tensor();
        check_float(NAME, "x", t)?;
        let sum = sizes
            .iter()
            .try_fold(0_usize, |sum, size| sum.checked_add(*size));
        if sum.is_none() || t.dims().last().copied() != sum {
            return Err(wrong_shape(
                NAME,
                "x",
                format!("[…, the sum of {sizes:?}]"),
                t,
            ));
        }
        if is_half(t.dtype()) {
            let wide = t.to_dtype(DType::F32)?;
            return split(&wide, sizes)?
                .iter()
                .map(|part| Ok(part.to_dtype(t.dtype())?))
                .collect();
        }
        if is_fallback(t.device()) {
            let last = t.rank() - 1;
            if t.elem_count() == 0 {
                // candle reads beyond the end of an empty view that starts inside a row.
                let of_size = |size: &usize| {
                    let mut shape = t.dims().to_vec();
                    shape[last] = *size;
                    Ok(Tensor::zeros(shape, t.dtype(), t.device())?)
                };
                return sizes.iter().map(of_size).collect();
            }
            let mut start = 0;
            return sizes
                .iter()
                .map(|size| {
                    start += size;
                    Ok(t.narrow(last, start - size, *size)?.contiguous()?)
                })
                .collect();
        }
        by_dtype!(NAME, "x", t, T => forward::<T>(x, sizes))
    }
    inner(x.into(), sizes)
}

struct Split<T> {
    sizes: Vec<usize>,
    dtype: std::marker::PhantomData<T>,
}

fn forward<T: Element>(x: Input<'_>, sizes: &[usize]) -> Result<Vec<Tensor>> {
    let operand = x.operand()?;
    let shape = operand.tensor().dims().to_vec();
    let row: usize = sizes.iter().sum();
    let rows = operand.tensor().elem_count().checked_div(row).unwrap_or(0);
    let mut outputs = Vec::with_capacity(sizes.len());
    {
        let x = values::<T>(operand.tensor())?;
        let mut start = 0;
        for &size in sizes {
            let mut part = Vec::with_capacity(rows * size);
            for r in 0..rows {
                part.extend_from_slice(&x[r * row + start..r * row + start + size]);
            }
            start += size;
            let mut shape = shape.clone();
            *shape.last_mut().expect("the last dimension was checked") = size;
            outputs.push(Output::new(part, shape));
        }
    }
    let op = Split::<T> {
        sizes: sizes.to_vec(),
        dtype: std::marker::PhantomData,
    };
    apply(op, vec![operand], outputs)
}

impl<T: Element> Op for Split<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let x = pass.input(0);
        let mut d_x = zeros::<T>(x.elem_count());
        let row: usize = self.sizes.iter().sum();
        let mut start = 0;
        for (i, &size) in self.sizes.iter().enumerate() {
            let d_part = values::<T>(pass.d_output(i))?;
            if size > 0 {
                for (d_x, d) in d_x.chunks_exact_mut(row).zip(d_part.chunks_exact(size)) {
                    d_x[start..start + size].copy_from_slice(d);
                }
            }
            start += size;
        }
        Ok(vec![Some(tensor(d_x, x.shape())?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, random};

    #[test]
    fn gradients_of_every_part_and_of_unused_ones() {
        for shape in [&[3, 6][..], &[2, 2, 6], &[6], &[0, 6]] {
            for part in 0..3 {
                check(&[random(shape, "x")], |t| {
                    Ok(split(&t[0], &[1, 3, 2])?.swap_remove(part))
                });
            }
            check(&[random(shape, "x")], |t| {
                let parts = split(&t[0], &[2, 2, 2])?;
                Ok(((&parts[0] * &parts[1])? + (&parts[1] * &parts[2])?)?)
            });
        }
        check(&[random(&[6, 3], "x").t().unwrap()], |t| {
            Ok(split(&t[0], &[6])?.swap_remove(0))
        });
    }

    #[test]
    fn sizes_that_do_not_add_up_are_refused() {
        let error = split(&random(&[2, 5], "x"), &[2, 2]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "split: x must have shape […, the sum of [2, 2]], but has [2, 5]"
        );
    }
}

//! Planes of another size: upsampling, and what adaptive pooling shares with it.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, check_float, is_half, wrong_shape};
use crate::shape::checked_count;
use crate::{Error, Input, Result, is_composed, values};
use candle_core::{DType, Device, Tensor};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::resample::{self as kernel, AxisMap};

/// `y[i, j] = x[⌊i · in / out⌋, ⌊j · in / out⌋]`: every element repeated.
///
/// # Shapes
/// - `x`: `[n, channels, height, width]`, or without `n`
/// - result: `[n, channels, size[0], size[1]]`
///
/// # Errors
/// [`Error::Shape`] for another rank or an axis of length 0, [`Error::DType`], [`Error::Option`] for a size of 0, [`Error::TooLarge`].
pub fn upsample_nearest2d<'a>(x: impl Into<Input<'a>>, size: [usize; 2]) -> Result<Tensor> {
    let how = Resample {
        name: "upsample_nearest2d",
        option: "size",
        map: AxisMap::nearest,
    };
    resample::<2>(how, x.into(), size)
}

/// `y` interpolates linearly between the four elements of `x` around each place. With `align_corners` the corners' centres fall
/// together, without it the planes' outer edges do.
///
/// # Shapes
/// - `x`: `[n, channels, height, width]`, or without `n`
/// - result: `[n, channels, size[0], size[1]]`
///
/// # Errors
/// As [`upsample_nearest2d`].
pub fn upsample_bilinear2d<'a>(
    x: impl Into<Input<'a>>,
    size: [usize; 2],
    align_corners: bool,
) -> Result<Tensor> {
    let how = Resample {
        name: "upsample_bilinear2d",
        option: "size",
        map: move |input, output| AxisMap::linear(input, output, align_corners),
    };
    resample::<2>(how, x.into(), size)
}

/// A way of resampling, and what its errors call things.
pub(super) struct Resample<F> {
    pub(super) name: &'static str,
    pub(super) option: &'static str,
    pub(super) map: F,
}

/// Resamples the last `AXES` axes of `x` to the last `AXES` of `size`.
pub(super) fn resample<const AXES: usize>(
    how: Resample<impl Fn(usize, usize) -> AxisMap>,
    x: Input<'_>,
    size: [usize; 2],
) -> Result<Tensor> {
    let (name, t) = (how.name, x.tensor());
    check_float(name, "x", t)?;
    let dims = t.dims();
    if dims.len() < AXES + 1 || dims.len() > AXES + 2 || dims[dims.len() - AXES..].contains(&0) {
        let expected = format!(
            "[n, channels, …] or [channels, …] with {AXES} axes behind, none of them empty"
        );
        return Err(wrong_shape(name, "x", expected, t));
    }
    if size.contains(&0) {
        return Err(Error::Option {
            op: name,
            option: how.option,
            expected: "at least 1 along each axis".into(),
            got: format!("{:?}", &size[2 - AXES..]),
        });
    }
    let mut shape = dims.to_vec();
    let leading = shape.len() - AXES;
    shape[leading..].copy_from_slice(&size[2 - AXES..]);
    // The map of an axis is a list as well.
    checked_count(name, &size)?;
    checked_count(name, &shape)?;
    let dtype = t.dtype();
    let mut from = [1; 2];
    from[2 - AXES..].copy_from_slice(&dims[leading..]);
    let maps = [(how.map)(from[0], size[0]), (how.map)(from[1], size[1])];
    if is_half(dtype) {
        let wide = t.to_dtype(DType::F32)?;
        return Ok(run(name, maps, (&wide).into(), shape)?.to_dtype(dtype)?);
    }
    run(name, maps, x, shape)
}

fn run(name: &'static str, maps: [AxisMap; 2], x: Input<'_>, shape: Vec<usize>) -> Result<Tensor> {
    let t = x.tensor();
    if is_composed(t.device()) {
        return Ok(composed(&maps, t)?.reshape(shape)?);
    }
    by_dtype!(name, "x", t, T => forward::<T>(name, maps, x, shape))
}

fn forward<T: Element>(
    name: &'static str,
    maps: [AxisMap; 2],
    x: Input<'_>,
    shape: Vec<usize>,
) -> Result<Tensor> {
    let operand = x.operand()?;
    let mut y = unspecified::<T>(checked_count(name, &shape)?);
    kernel::forward(&maps[0], &maps[1], &values(operand.tensor())?, &mut y);
    let op = Resampled::<T> {
        name,
        maps,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![operand], Output::new(y, shape))
}

struct Resampled<T> {
    name: &'static str,
    maps: [AxisMap; 2],
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for Resampled<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let x = pass.input(0);
        let mut d_x = unspecified::<T>(x.elem_count());
        let d_y = values(pass.d_output(0))?;
        kernel::backward(&self.maps[0], &self.maps[1], &d_y, &mut d_x);
        Ok(vec![Some(tensor(d_x, x.shape())?)])
    }
}

/// `A_height · x · A_widthᵀ` with the matrices written out.
fn composed(maps: &[AxisMap; 2], x: &Tensor) -> candle_core::Result<Tensor> {
    let [height, width] = maps;
    let planes = x.elem_count() / (height.input() * width.input());
    if planes == 0 {
        return Ok(x.clone());
    }
    let matrix = |map: &AxisMap| {
        Tensor::from_vec(map.matrix(), (map.output(), map.input()), &Device::Cpu)?
            .to_dtype(x.dtype())?
            .to_device(x.device())
    };
    let rows = (x.contiguous()?).reshape((planes * height.input(), width.input()))?;
    let y = rows.matmul(&matrix(width)?.t()?)?;
    let y = y.reshape((planes, height.input(), width.output()))?;
    let a = matrix(height)?.broadcast_left(planes)?.contiguous()?;
    a.matmul(&y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::gradcheck;
    use crate::ops::{adaptive_avg_pool1d, adaptive_avg_pool2d};
    use crate::{Rng, Seed, with_composition};

    fn random(shape: &[usize]) -> Tensor {
        let mut rng = Rng::new(Seed(5), "resample");
        let n = shape.iter().product();
        tensor((0..n).map(|_| rng.normal()).collect::<Vec<f64>>(), shape).unwrap()
    }

    fn check(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) {
        let inputs = [x.clone()];
        gradcheck(&inputs, |t| f(&t[0])).unwrap();
        with_composition(|| gradcheck(&inputs, |t| f(&t[0]))).unwrap();
        let flat = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let (kernel, composed) = (f(x).unwrap(), with_composition(|| f(x)).unwrap());
        assert_eq!(kernel.dims(), composed.dims());
        for (k, c) in flat(kernel).iter().zip(flat(composed)) {
            assert!((k - c).abs() < 1e-12, "{k} {c}");
        }
    }

    #[test]
    fn gradients_of_every_way_on_both_paths() {
        let xs = [
            random(&[2, 3, 4, 5]),
            random(&[1, 5, 4]),
            random(&[2, 2, 1, 1]),
            random(&[5, 4, 3, 2]).transpose(1, 3).unwrap(),
            random(&[0, 3, 4, 5]),
        ];
        for x in &xs {
            for size in [[1, 1], [3, 2], [8, 10], [7, 1]] {
                check(x, |x| upsample_nearest2d(x, size));
                check(x, |x| upsample_bilinear2d(x, size, false));
                check(x, |x| upsample_bilinear2d(x, size, true));
                check(x, |x| adaptive_avg_pool2d(x, size));
            }
        }
        check(&random(&[2, 3, 7]), |x| adaptive_avg_pool1d(x, 3));
    }

    #[test]
    fn errors_say_what_was_expected() {
        let message = |r: Result<Tensor>| r.unwrap_err().to_string();
        let x = random(&[2, 3, 4, 5]);
        assert_eq!(
            message(adaptive_avg_pool2d(&x, [0, 2])),
            "adaptive_avg_pool2d: output_size must be at least 1 along each axis, but is [0, 2]"
        );
        assert!(
            message(upsample_nearest2d(&random(&[2, 0, 3]), [2, 2])).contains("none of them empty")
        );
        assert!(message(upsample_nearest2d(&random(&[2]), [2, 2])).contains("[n, channels, …]"));
        let huge = upsample_nearest2d(&x, [1 << 33, 1 << 33]);
        assert!(matches!(huge, Err(Error::TooLarge { .. })));
    }
}

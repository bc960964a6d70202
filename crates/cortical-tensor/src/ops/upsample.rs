//! Tensors of another size: interpolation, and what adaptive pooling shares with it.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, check_float, is_half, wrong_shape};
use crate::shape::checked_count;
use crate::{Error, Input, Result, is_fallback, values};
use candle_core::{DType, Device, Tensor};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::resample::{self as kernel, AxisMap, Places};

/// What decides the size of an interpolated tensor; one number counts for all axes.
#[derive(Clone, Debug, PartialEq)]
pub enum Resize {
    /// The size along each axis.
    Size(Vec<usize>),
    /// By what each axis is multiplied; a fraction of an element is cut off. Places are reckoned with the factor
    /// itself, not with the ratio of the sizes (PyTorch's default).
    Factor(Vec<f64>),
    /// As [`Self::Factor`], with places by the ratio of the sizes (PyTorch's `recompute_scale_factor=True`).
    FactorOfSizes(Vec<f64>),
}

/// How an interpolated element comes from those around its place, with PyTorch's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Interpolation {
    /// The input at ⌊place⌋, as PyTorch's `nearest` and OpenCV's `INTER_NEAREST` have it.
    #[default]
    Nearest,
    /// The input whose centre is nearest (`nearest-exact`).
    NearestExact,
    /// By distance between neighbours: `linear`, `bilinear` or `trilinear`, by the number of axes.
    Linear {
        /// Whether the centres of the corners fall together; the outer edges do otherwise.
        align_corners: bool,
        /// Whether shrinking averages over all inputs instead of skipping some.
        antialias: bool,
    },
    /// The cubic convolution of Keys (1981) over four neighbours an axis: `bicubic`.
    Cubic {
        /// As for [`Self::Linear`].
        align_corners: bool,
        /// As for [`Self::Linear`].
        antialias: bool,
    },
    /// The mean of the inputs that an output covers (`area`): adaptive average pooling.
    Area,
}

impl Interpolation {
    fn map(self, factor: Option<f64>, input: usize, output: usize) -> AxisMap {
        let places = |align_corners| Places {
            align_corners,
            factor,
        };
        match self {
            Self::Nearest => AxisMap::nearest(input, output, factor),
            Self::NearestExact => AxisMap::nearest_exact(input, output, factor),
            Self::Area => AxisMap::mean(input, output),
            Self::Linear {
                align_corners,
                antialias,
            } => match antialias {
                false => AxisMap::linear(input, output, places(align_corners)),
                true => AxisMap::linear_antialiased(input, output, places(align_corners)),
            },
            Self::Cubic {
                align_corners,
                antialias,
            } => match antialias {
                false => AxisMap::cubic(input, output, places(align_corners)),
                true => AxisMap::cubic_antialiased(input, output, places(align_corners)),
            },
        }
    }
}

/// Resamples every axis behind the channels, one after the other, to another size: PyTorch's
/// `nn.functional.interpolate`.
///
/// # Shapes
/// - `x`: `[n, channels, …]` with one, two or three axes behind
/// - result: `[n, channels, …]` with the axes of the new size
///
/// # Errors
/// [`Error::Shape`] for another rank or an axis of length 0, [`Error::DType`]; [`Error::Option`] for a size of 0, a
/// factor that is not positive and finite, or neither one number nor one an axis; [`Error::TooLarge`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_tensor::ops::{Interpolation, Resize, interpolate};
/// # fn main() -> cortical_tensor::Result<()> {
/// let x = Tensor::new(&[[[1.0_f32, 3.0]]], &Device::Cpu)?;
/// let linear = Interpolation::Linear { align_corners: true, antialias: false };
/// let y = interpolate(&x, &Resize::Size(vec![3]), linear)?;
/// assert_eq!(y.to_vec3::<f32>()?, [[[1.0, 2.0, 3.0]]]);
/// # Ok(())
/// # }
/// ```
pub fn interpolate<'a>(
    x: impl Into<Input<'a>>,
    resize: &Resize,
    mode: Interpolation,
) -> Result<Tensor> {
    fn inner(x: Input<'_>, resize: &Resize, mode: Interpolation) -> Result<Tensor> {
        match x.tensor().rank() {
            3 => along::<1>(x, resize, mode),
            4 => along::<2>(x, resize, mode),
            5 => along::<3>(x, resize, mode),
            _ => {
                let expected = "[n, channels, …] with one to three axes behind";
                Err(wrong_shape(INTERPOLATE, "x", expected, x.tensor()))
            }
        }
    }
    inner(x.into(), resize, mode)
}

const INTERPOLATE: &str = "interpolate";

fn along<const AXES: usize>(x: Input<'_>, resize: &Resize, mode: Interpolation) -> Result<Tensor> {
    let (size, factor): ([usize; AXES], [Option<f64>; AXES]) = match resize {
        Resize::Size(size) => (each("size", size)?, [None; AXES]),
        Resize::Factor(factors) | Resize::FactorOfSizes(factors) => {
            let factors: [f64; AXES] = each("scale_factor", factors)?;
            if !factors.iter().all(|f| f.is_finite() && *f > 0.0) {
                return Err(Error::Option {
                    op: INTERPOLATE,
                    option: "scale_factor",
                    expected: "positive and finite".into(),
                    got: format!("{factors:?}"),
                });
            }
            let input = &x.tensor().dims()[2..];
            // A product beyond `usize` becomes the largest one, which is then found to be too large.
            let size = std::array::from_fn(|i| (input[i] as f64 * factors[i]).floor() as usize);
            let by_ratio = matches!(resize, Resize::FactorOfSizes(_));
            (size, factors.map(|f| (!by_ratio).then_some(f)))
        }
    };
    let how = Resample {
        name: INTERPOLATE,
        option: "size",
        map: |axis: usize, input, output| mode.map(factor[axis], input, output),
    };
    resample(how, x, &size)
}

/// A value for each axis: one for all, or as many as there are axes.
fn each<const AXES: usize, T: Copy + std::fmt::Debug>(
    option: &'static str,
    values: &[T],
) -> Result<[T; AXES]> {
    if let &[all] = values {
        return Ok([all; AXES]);
    }
    values.try_into().map_err(|_| Error::Option {
        op: INTERPOLATE,
        option,
        expected: format!("one number, or {AXES}, one for each axis of x"),
        got: format!("{values:?}"),
    })
}

/// `y[i, j] = x[⌊i · in / out⌋, ⌊j · in / out⌋]`: every element repeated.
///
/// # Shapes
/// - `x`: `[n, channels, height, width]`, or without `n`
/// - result: `[n, channels, size[0], size[1]]`
///
/// # Errors
/// [`Error::Shape`] for another rank or an axis of length 0, [`Error::DType`], [`Error::Option`] for a size of 0,
/// [`Error::TooLarge`].
pub fn upsample_nearest2d<'a>(x: impl Into<Input<'a>>, size: [usize; 2]) -> Result<Tensor> {
    let how = Resample {
        name: "upsample_nearest2d",
        option: "size",
        map: |_, input, output| Interpolation::Nearest.map(None, input, output),
    };
    resample(how, x.into(), &size)
}

/// `y` interpolates linearly between the four elements of `x` around each place. With `align_corners` the corners'
/// centres fall together, without it the planes' outer edges do.
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
    let mode = Interpolation::Linear {
        align_corners,
        antialias: false,
    };
    let how = Resample {
        name: "upsample_bilinear2d",
        option: "size",
        map: |_, input, output| mode.map(None, input, output),
    };
    resample(how, x.into(), &size)
}

/// A way of resampling, and what its errors call things.
pub(super) struct Resample<F> {
    pub(super) name: &'static str,
    pub(super) option: &'static str,
    /// The map of an axis by its number and by its lengths before and after.
    pub(super) map: F,
}

/// Resamples the last `AXES` axes of `x` to `size`.
pub(super) fn resample<const AXES: usize>(
    how: Resample<impl Fn(usize, usize, usize) -> AxisMap>,
    x: Input<'_>,
    size: &[usize; AXES],
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
            got: format!("{size:?}"),
        });
    }
    let mut shape = dims.to_vec();
    let leading = shape.len() - AXES;
    shape[leading..].copy_from_slice(size);
    // The map of an axis is a list of some words for each output.
    for &size in size {
        checked_count(name, &[size, 16])?;
    }
    checked_count(name, size)?;
    let planes = checked_count(name, &dims[..leading])?;
    checked_count(name, &shape)?;
    let dtype = t.dtype();
    let maps: Vec<AxisMap> = (0..AXES)
        .map(|i| (how.map)(i, dims[leading + i], size[i]))
        .collect();
    let wide;
    let x = if is_half(dtype) {
        wide = t.to_dtype(DType::F32)?;
        Input::from(&wide)
    } else {
        x
    };
    let y = match <[AxisMap; AXES]>::try_from(maps) {
        Ok(maps) => steps(name, maps, x, planes, shape)?,
        Err(_) => unreachable!("a map was made for each axis"),
    };
    Ok(y.to_dtype(dtype)?)
}

/// One axis, two axes, or three: height and width first, then depth over whole planes.
fn steps<const AXES: usize>(
    name: &'static str,
    maps: [AxisMap; AXES],
    x: Input<'_>,
    planes: usize,
    shape: Vec<usize>,
) -> Result<Tensor> {
    let mut maps = maps.into_iter().rev();
    let mut next = || maps.next().unwrap_or_else(|| AxisMap::identity(1));
    let (width, height, depth) = (next(), next(), next());
    if AXES < 3 {
        return run(name, [height, width], x, shape);
    }
    let plane = height.output() * width.output();
    let middle = vec![checked_count(name, &[planes, depth.input(), plane])?];
    let y = run(name, [height, width], x, middle)?;
    let plane = AxisMap::identity(plane);
    run(name, [depth, plane], (&y).into(), shape)
}

/// The last two axes of `x`, or more that count as two, resampled by their maps; of a dtype with kernels or half
/// precision.
pub(super) fn run_maps(
    name: &'static str,
    maps: [AxisMap; 2],
    x: &Tensor,
    shape: Vec<usize>,
) -> Result<Tensor> {
    if is_half(x.dtype()) {
        let wide = x.to_dtype(DType::F32)?;
        return Ok(run(name, maps, (&wide).into(), shape)?.to_dtype(x.dtype())?);
    }
    run(name, maps, x.into(), shape)
}

fn run(name: &'static str, maps: [AxisMap; 2], x: Input<'_>, shape: Vec<usize>) -> Result<Tensor> {
    let t = x.tensor();
    if is_fallback(t.device()) {
        return Ok(fallback(name, &maps, t)?.reshape(shape)?);
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
fn fallback(name: &'static str, maps: &[AxisMap; 2], x: &Tensor) -> Result<Tensor> {
    let [height, width] = maps;
    let planes = x.elem_count() / (height.input() * width.input());
    if planes == 0 {
        return Ok(x.clone());
    }
    for map in maps.iter().filter(|map| !map.is_identity()) {
        checked_count(name, &[map.output(), map.input()])?;
    }
    let matrix = |map: &AxisMap| {
        Tensor::from_vec(map.matrix(), (map.output(), map.input()), &Device::Cpu)?
            .to_dtype(x.dtype())?
            .to_device(x.device())
    };
    let mut y = (x.contiguous()?).reshape((planes * height.input(), width.input()))?;
    if !width.is_identity() {
        y = y.matmul(&matrix(width)?.t()?)?;
    }
    let y = y.reshape((planes, height.input(), width.output()))?;
    if height.is_identity() {
        return Ok(y);
    }
    let a = matrix(height)?.broadcast_left(planes)?.contiguous()?;
    Ok(a.matmul(&y)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::gradcheck;
    use crate::ops::{adaptive_avg_pool1d, adaptive_avg_pool2d};
    use crate::{Rng, Seed, with_fallback};

    fn random(shape: &[usize]) -> Tensor {
        let mut rng = Rng::new(Seed(5), "resample");
        let n = shape.iter().product();
        tensor((0..n).map(|_| rng.normal()).collect::<Vec<f64>>(), shape).unwrap()
    }

    fn check(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) {
        let inputs = [x.clone()];
        gradcheck(&inputs, |t| f(&t[0])).unwrap();
        with_fallback(|| gradcheck(&inputs, |t| f(&t[0]))).unwrap();
        let flat = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let (kernel, fallback) = (f(x).unwrap(), with_fallback(|| f(x)).unwrap());
        assert_eq!(kernel.dims(), fallback.dims());
        for (k, c) in flat(kernel).iter().zip(flat(fallback)) {
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

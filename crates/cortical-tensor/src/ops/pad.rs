//! Tensors with something around them.

use crate::ops::prepare::{check_float, wrong_shape};
use crate::ops::upsample::run_maps;
use crate::shape::checked_count;
use crate::{Error, Input, Result};
use candle_core::{DType, Device, Tensor};
use cortical_kernels::resample::{AxisMap, Border};

const NAME: &str = "pad";

/// What stands around a padded tensor, with PyTorch's names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// A number.
    Constant(f64),
    /// The tensor as in a mirror that stands on its last element, which is not repeated.
    Reflect,
    /// Its last element again and again.
    Replicate,
    /// The tensor again from its other end.
    Circular,
}

/// `x` with so much in front of and behind each of its last axes, PyTorch's `nn.functional.pad`.
///
/// # Shapes
/// - `x`: any with at least as many axes as `sizes`
/// - `sizes`: `[in front, behind]` for each of the last axes, in their order (PyTorch has the last axis first)
/// - result: that of `x` with the last axes longer
///
/// # Errors
/// [`Error::Shape`] for too few axes, [`Error::Option`] for a mirror image or a round that is longer than the axis, or
/// anything but a constant around an empty axis; [`Error::DType`], [`Error::TooLarge`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_tensor::ops::{PadMode, pad};
/// # fn main() -> cortical_tensor::Result<()> {
/// let x = Tensor::new(&[1.0_f32, 2.0, 3.0], &Device::Cpu)?;
/// assert_eq!(pad(&x, &[[2, 1]], PadMode::Reflect)?.to_vec1::<f32>()?, [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
/// # Ok(())
/// # }
/// ```
pub fn pad<'a>(x: impl Into<Input<'a>>, sizes: &[[usize; 2]], mode: PadMode) -> Result<Tensor> {
    fn inner(x: Input<'_>, sizes: &[[usize; 2]], mode: PadMode) -> Result<Tensor> {
        let t = x.tensor();
        check_float(NAME, "x", t)?;
        let Some(leading) = t.rank().checked_sub(sizes.len()) else {
            let expected = format!("at least {} axes, one for each pair of sizes", sizes.len());
            return Err(wrong_shape(NAME, "x", expected, t));
        };
        let mut shape = t.dims().to_vec();
        for (length, size) in shape[leading..].iter_mut().zip(sizes) {
            *length = longer(*length, *size, mode)?;
        }
        checked_count(NAME, &shape)?;
        let border = match mode {
            PadMode::Constant(_) => Border::Zeros,
            PadMode::Reflect => Border::Reflect,
            PadMode::Replicate => Border::Replicate,
            PadMode::Circular => Border::Circular,
        };
        if shape.contains(&0) {
            return Ok(Tensor::zeros(shape, t.dtype(), t.device())?);
        }
        let outside = match mode {
            PadMode::Constant(value) if value != 0.0 => Some(around(t, sizes, &shape, value)?),
            _ => None,
        };
        if t.elem_count() == 0 {
            let zeros = Tensor::zeros(shape, t.dtype(), t.device())?;
            return Ok(outside.unwrap_or(zeros));
        }
        // One axis after the other; what lies behind an axis is one row to it.
        let mut y = t.clone();
        for (i, size) in sizes
            .iter()
            .enumerate()
            .filter(|(_, size)| **size != [0, 0])
        {
            let axis = leading + i;
            let map = AxisMap::padded(y.dims()[axis], *size, border);
            let row = AxisMap::identity(y.dims()[axis + 1..].iter().product());
            let mut longer = y.dims().to_vec();
            longer[axis] = map.output();
            y = run_maps(NAME, [map, row], &y, longer)?;
        }
        match outside {
            // Added to zeros, so that every number stays what it is.
            Some(outside) => Ok((y + outside)?),
            None => Ok(y),
        }
    }
    inner(x.into(), sizes, mode)
}

/// The length of a padded axis.
fn longer(length: usize, [front, behind]: [usize; 2], mode: PadMode) -> Result<usize> {
    let most = match mode {
        PadMode::Constant(_) => usize::MAX,
        PadMode::Reflect => length.saturating_sub(1),
        PadMode::Replicate if length > 0 => usize::MAX,
        PadMode::Replicate => 0,
        PadMode::Circular => length,
    };
    let total = length
        .checked_add(front)
        .and_then(|n| n.checked_add(behind));
    match total {
        Some(total) if front <= most && behind <= most => Ok(total),
        _ => Err(Error::Option {
            op: NAME,
            option: "sizes",
            expected: format!("at most {most} on each side of an axis of {length} for {mode:?}"),
            got: format!("[{front}, {behind}]"),
        }),
    }
}

/// `value` outside of where `t` will stand, and 0 inside.
fn around(t: &Tensor, sizes: &[[usize; 2]], shape: &[usize], value: f64) -> Result<Tensor> {
    let mut outside = Tensor::zeros(t.dims(), DType::F64, &Device::Cpu)?;
    let leading = shape.len() - sizes.len();
    for (i, size) in sizes.iter().enumerate() {
        for (part, length) in size.iter().enumerate().filter(|(_, length)| **length > 0) {
            let mut dims = outside.dims().to_vec();
            dims[leading + i] = *length;
            let edge = Tensor::full(value, dims, &Device::Cpu)?;
            let parts = if part == 0 {
                [&edge, &outside]
            } else {
                [&outside, &edge]
            };
            outside = Tensor::cat(&parts, leading + i)?;
        }
    }
    Ok(outside.to_dtype(t.dtype())?.to_device(t.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, random};

    const MODES: [PadMode; 5] = [
        PadMode::Constant(0.0),
        PadMode::Constant(1.5),
        PadMode::Reflect,
        PadMode::Replicate,
        PadMode::Circular,
    ];

    #[test]
    fn gradients_of_every_mode() {
        for mode in MODES {
            for x in [
                random(&[2, 3, 4], "x"),
                random(&[4, 3, 2], "x").transpose(0, 2).unwrap(),
            ] {
                check(std::slice::from_ref(&x), |t| pad(&t[0], &[[1, 2]], mode));
                check(std::slice::from_ref(&x), |t| {
                    pad(&t[0], &[[2, 0], [0, 3]], mode)
                });
                check(&[x], |t| pad(&t[0], &[[1, 1], [1, 2], [0, 0]], mode));
            }
            check(&[random(&[0, 3], "x")], |t| pad(&t[0], &[[1, 1]], mode));
        }
    }

    #[test]
    fn what_stands_around() {
        let x = Tensor::new(&[1.0_f32, 2.0, 3.0], &Device::Cpu).unwrap();
        let around = |mode| pad(&x, &[[2, 1]], mode).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(
            around(PadMode::Constant(7.0)),
            [7.0, 7.0, 1.0, 2.0, 3.0, 7.0]
        );
        assert_eq!(around(PadMode::Replicate), [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
        assert_eq!(around(PadMode::Circular), [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
        let nothing = random(&[0], "x");
        let y = pad(&nothing, &[[1, 1]], PadMode::Constant(2.0)).unwrap();
        assert_eq!(y.to_vec1::<f64>().unwrap(), [2.0, 2.0]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let x = random(&[2, 3], "x");
        let message = |sizes: &[[usize; 2]], mode| pad(&x, sizes, mode).unwrap_err().to_string();
        assert_eq!(
            message(&[[3, 0]], PadMode::Reflect),
            "pad: sizes must be at most 2 on each side of an axis of 3 for Reflect, but is [3, 0]"
        );
        assert!(message(&[[0, 4]], PadMode::Circular).contains("at most 3"));
        assert!(message(&[[usize::MAX, 1]], PadMode::Constant(0.0)).contains("sizes"));
        assert!(message(&[[1, 1]; 3], PadMode::Replicate).contains("at least 3 axes"));
        let huge = pad(&x, &[[1 << 33, 0], [1 << 33, 0]], PadMode::Constant(0.0));
        assert!(matches!(huge, Err(Error::TooLarge { .. })));
    }
}

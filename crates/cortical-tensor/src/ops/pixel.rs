//! Channels as pixels and back: the rearrangements of sub-pixel convolution.

use crate::ops::prepare::{check_float, wrong_shape};
use crate::shape::checked_count;
use crate::{Error, Result};
use candle_core::Tensor;

/// `y[…, c, h·r + i, w·r + j] = x[…, c·r² + i·r + j, h, w]`: every `r²` channels become the pixels of squares of side
/// `r`.
///
/// # Shapes
/// - `x`: `[…, channels · r², height, width]`
/// - result: `[…, channels, height · r, width · r]`
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`], [`Error::Option`] for a factor of 0, [`Error::TooLarge`].
///
/// # Source
/// Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
/// network" (2016).
///
/// ```
/// use candle_core::{Device, Tensor};
/// # fn main() -> cortical_tensor::Result<()> {
/// let x = Tensor::new(&[[[1.0_f32]], [[2.0]], [[3.0]], [[4.0]]], &Device::Cpu)?;
/// let y = cortical_tensor::ops::pixel_shuffle(&x, 2)?;
/// assert_eq!(y.to_vec3::<f32>()?, [[[1.0, 2.0], [3.0, 4.0]]]);
/// # Ok(())
/// # }
/// ```
pub fn pixel_shuffle(x: &Tensor, upscale_factor: usize) -> Result<Tensor> {
    let name = "pixel_shuffle";
    let (n, [channels, height, width]) = check(name, "upscale_factor", x, upscale_factor)?;
    let r = upscale_factor;
    let square = r.checked_mul(r).filter(|s| channels.is_multiple_of(*s));
    let Some(square) = square else {
        let expected = format!("[…, channels, height, width] with a multiple of {r}² channels");
        return Err(wrong_shape(name, "x", expected, x));
    };
    let c = channels / square;
    let (tall, broad) = (height.checked_mul(r), width.checked_mul(r));
    let (Some(tall), Some(broad)) = (tall, broad) else {
        return Err(Error::TooLarge {
            op: name,
            shape: vec![c, height, r, width, r],
        });
    };
    let y = (x.contiguous()?)
        .reshape(&[n, c, r, r, height, width][..])?
        .permute(&[0, 1, 4, 2, 5, 3][..])?
        .contiguous()?;
    Ok(y.reshape(behind(x, [c, tall, broad]))?)
}

/// The inverse of [`pixel_shuffle`]: `y[…, c·r² + i·r + j, h, w] = x[…, c, h·r + i, w·r + j]`.
///
/// # Shapes
/// - `x`: `[…, channels, height · r, width · r]`
/// - result: `[…, channels · r², height, width]`
///
/// # Errors
/// As [`pixel_shuffle`].
pub fn pixel_unshuffle(x: &Tensor, downscale_factor: usize) -> Result<Tensor> {
    let name = "pixel_unshuffle";
    let (n, [c, tall, broad]) = check(name, "downscale_factor", x, downscale_factor)?;
    let r = downscale_factor;
    if !tall.is_multiple_of(r) || !broad.is_multiple_of(r) {
        let expected = format!("[…, channels, height, width] with sides that are multiples of {r}");
        return Err(wrong_shape(name, "x", expected, x));
    }
    let (height, width) = (tall / r, broad / r);
    let channels = c.checked_mul(r).and_then(|n| n.checked_mul(r));
    let channels = channels.ok_or_else(|| Error::TooLarge {
        op: name,
        shape: vec![c, r, r, height, width],
    })?;
    let y = (x.contiguous()?)
        .reshape(&[n, c, height, r, width, r][..])?
        .permute(&[0, 1, 3, 5, 2, 4][..])?
        .contiguous()?;
    Ok(y.reshape(behind(x, [channels, height, width]))?)
}

/// The leading dimensions of `x` as one, and the other three.
fn check(
    name: &'static str,
    option: &'static str,
    x: &Tensor,
    factor: usize,
) -> Result<(usize, [usize; 3])> {
    check_float(name, "x", x)?;
    if factor == 0 {
        return Err(Error::Option {
            op: name,
            option,
            expected: "at least 1".into(),
            got: "0".into(),
        });
    }
    let [leading @ .., channels, height, width] = x.dims() else {
        let expected = "[…, channels, height, width]";
        return Err(wrong_shape(name, "x", expected, x));
    };
    Ok((checked_count(name, leading)?, [*channels, *height, *width]))
}

/// The leading dimensions of `x` with three others behind.
fn behind(x: &Tensor, last: [usize; 3]) -> Vec<usize> {
    [&x.dims()[..x.rank() - 3], &last].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, random, same};

    #[test]
    fn each_undoes_the_other() {
        for (shape, shuffled) in [
            (&[2, 8, 3, 2][..], &[2, 2, 6, 4][..]),
            (&[4, 1, 5], &[1, 2, 10]),
            (&[2, 3, 12, 2, 1], &[2, 3, 3, 4, 2]),
            (&[0, 4, 2, 2], &[0, 1, 4, 4]),
            (&[2, 0, 2, 2], &[2, 0, 4, 4]),
        ] {
            let x = random(shape, "x");
            let y = pixel_shuffle(&x, 2).unwrap();
            assert_eq!(y.dims(), shuffled);
            same(&pixel_unshuffle(&y, 2).unwrap(), &x, 0.0);
            check(std::slice::from_ref(&x), |t| pixel_shuffle(&t[0], 2));
            check(&[y], |t| pixel_unshuffle(&t[0], 2));
        }
    }

    #[test]
    fn what_does_not_divide_is_refused() {
        let message = |r: Result<Tensor>| r.unwrap_err().to_string();
        let x = random(&[2, 6, 3, 4], "x");
        assert_eq!(
            message(pixel_shuffle(&x, 2)),
            "pixel_shuffle: x must have shape […, channels, height, width] with a multiple of 2² channels, but has [2, 6, 3, 4]"
        );
        assert!(message(pixel_unshuffle(&x, 2)).contains("multiples of 2"));
        assert_eq!(
            message(pixel_shuffle(&x, 0)),
            "pixel_shuffle: upscale_factor must be at least 1, but is 0"
        );
        assert!(message(pixel_unshuffle(&x, usize::MAX)).contains("multiples of"));
        assert!(pixel_shuffle(&x, 1 << 32).is_err());
        assert!(pixel_shuffle(&random(&[4, 4], "x"), 1).is_err());
    }
}

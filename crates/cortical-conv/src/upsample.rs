//! Planes of another size: interpolation, and channels laid out as pixels.

use crate::axes::{check_positive, sample_axes};
use candle_core::Tensor;
use cortical_neuron::{Description, Error, Layer, Pass, Result, product, wrong_sample};
use cortical_tensor::ops::{self, Interpolation, Resize};

/// The options of an [`Upsample`].
#[derive(Clone, Debug)]
pub struct UpsampleConfig {
    resize: Resize,
    mode: Interpolation,
}

impl UpsampleConfig {
    /// How an element comes from those around its place; the nearest by default.
    #[must_use]
    pub fn mode(mut self, mode: Interpolation) -> Self {
        self.mode = mode;
        self
    }

    /// Whether places follow from the ratio of the sizes instead of from the factor, PyTorch's
    /// `recompute_scale_factor`; they do not by default.
    #[must_use]
    pub fn recompute_scale_factor(mut self, recompute: bool) -> Self {
        self.resize = match self.resize {
            Resize::Factor(factor) | Resize::FactorOfSizes(factor) if recompute => {
                Resize::FactorOfSizes(factor)
            }
            Resize::FactorOfSizes(factor) => Resize::Factor(factor),
            resize => resize,
        };
        self
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// [`Error::Option`] for a size of 0, or a factor that is not positive and finite.
    pub fn build(self) -> Result<Upsample> {
        match &self.resize {
            Resize::Size(size) => check_positive("size", size)?,
            Resize::Factor(factors) | Resize::FactorOfSizes(factors) => {
                if factors.iter().any(|f| !(f.is_finite() && *f > 0.0)) {
                    return Err(Error::Option {
                        option: "scale_factor",
                        expected: "positive and finite",
                        got: format!("{factors:?}"),
                    });
                }
            }
        }
        Ok(Upsample(self))
    }
}

/// Tensors of another size along the axes behind the channels, PyTorch's `nn.Upsample` with every mode: `nearest` (by
/// default), `nearest-exact`, `linear`, `bilinear`, `trilinear`, `bicubic` and `area`; see [`ops::interpolate`].
///
/// No parameters; each output reads the inputs around its place: one for `nearest`, 2 an axis for `linear`, 4 for
/// `bicubic`.
///
/// # Shapes
/// - input: `[n, channels, …]` with one to three axes behind
/// - output: `[n, channels, …]` with the axes of the new size
///
/// # Source
/// Keys, "Cubic convolution interpolation for digital image processing" (1981), for `bicubic`.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_conv::Upsample;
/// use cortical_neuron::{Layer, Pass};
/// use cortical_tensor::ops::Interpolation;
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::new(&[[[0.0_f32, 1.0]]], &Device::Cpu)?;
/// let nearest = Upsample::times(&[2.0]).build()?.forward(&x, &mut Pass::eval())?;
/// assert_eq!(nearest.to_vec3::<f32>()?, [[[0.0, 0.0, 1.0, 1.0]]]);
/// let linear = Interpolation::Linear { align_corners: true, antialias: false };
/// let line = Upsample::to(&[3]).mode(linear).build()?.forward(&x, &mut Pass::eval())?;
/// assert_eq!(line.to_vec3::<f32>()?, [[[0.0, 0.5, 1.0]]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Upsample(UpsampleConfig);

impl Upsample {
    /// The options of a layer whose output has this size along each axis; one number counts for all.
    #[must_use]
    pub fn to(size: &[usize]) -> UpsampleConfig {
        UpsampleConfig {
            resize: Resize::Size(size.to_vec()),
            mode: Interpolation::Nearest,
        }
    }

    /// The options of a layer whose output is `scale_factor` times as large along each axis; one number counts for all.
    #[must_use]
    pub fn times(scale_factor: &[f64]) -> UpsampleConfig {
        UpsampleConfig {
            resize: Resize::Factor(scale_factor.to_vec()),
            mode: Interpolation::Nearest,
        }
    }
}

impl Layer for Upsample {
    fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
        Ok(ops::interpolate(x, &self.0.resize, self.0.mode)?)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let Some((channels, axes)) = sample.split_first().filter(|(_, axes)| !axes.is_empty())
        else {
            return Err(wrong_sample("upsample", "[channels, …]", sample));
        };
        let each = |i: usize, len: usize| match &self.0.resize {
            Resize::Size(size) => size.get(i).or(size.last()).copied().unwrap_or(len),
            Resize::Factor(factors) | Resize::FactorOfSizes(factors) => {
                let factor = factors.get(i).or(factors.last()).copied().unwrap_or(1.0);
                (len as f64 * factor) as usize
            }
        };
        let mut output = vec![*channels];
        output.extend(axes.iter().enumerate().map(|(i, len)| each(i, *len)));
        let read = match self.0.mode {
            Interpolation::Linear { .. } => 1_u64 << axes.len(),
            Interpolation::Cubic { .. } => 1_u64 << (2 * axes.len()),
            _ => 1,
        };
        let connections = product(&output).saturating_mul(read);
        let reads = "each output reads the inputs around its place, without weights";
        let description = Description::new("Upsample", "", &output).reads(reads);
        Ok(description.costs(connections, 0))
    }
}

/// `y[c, h·r + i, w·r + j] = x[c·r² + i·r + j, h, w]`: channels laid out as pixels, PyTorch's `nn.PixelShuffle`. A
/// convolution before it makes a picture `r` times as large without reading zeros between pixels.
///
/// No parameters, no arithmetic.
///
/// # Shapes
/// - input: `[…, channels · r², height, width]`; output: `[…, channels, height · r, width · r]`
///
/// # Source
/// Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
/// network" (2016).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_conv::PixelShuffle;
/// use cortical_neuron::{Layer, Pass};
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::new(&[[[1.0_f32]], [[2.0]], [[3.0]], [[4.0]]], &Device::Cpu)?; // four channels of one pixel
/// let y = PixelShuffle::new(2)?.forward(&x, &mut Pass::eval())?;
/// assert_eq!(y.to_vec3::<f32>()?, [[[1.0, 2.0], [3.0, 4.0]]]); // one of four
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PixelShuffle {
    factor: usize,
}

impl PixelShuffle {
    /// Pictures `upscale_factor` times as high and wide.
    ///
    /// # Errors
    /// [`Error::Option`] for a factor of 0.
    pub fn new(upscale_factor: usize) -> Result<Self> {
        check_positive("upscale_factor", &[upscale_factor])?;
        let factor = upscale_factor;
        Ok(Self { factor })
    }
}

impl Layer for PixelShuffle {
    fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
        Ok(ops::pixel_shuffle(x, self.factor)?)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let [height, width] = sample_axes::<2>("pixel_shuffle", None, sample)?;
        let square = self.factor.saturating_mul(self.factor);
        if !sample[0].is_multiple_of(square) {
            let expected =
                format!("[channels, height, width] with a multiple of {square} channels");
            return Err(wrong_sample("pixel_shuffle", expected, sample));
        }
        let sides = [height, width].map(|side| side.saturating_mul(self.factor));
        let output = [sample[0] / square, sides[0], sides[1]];
        let description = Description::new("PixelShuffle", "", &output);
        Ok(description.reads("each output is an input"))
    }
}

/// `y[c·r² + i·r + j, h, w] = x[c, h·r + i, w·r + j]`: pixels laid out as channels, the opposite of [`PixelShuffle`];
/// PyTorch's `nn.PixelUnshuffle`.
///
/// No parameters, no arithmetic.
///
/// # Shapes
/// - input: `[…, channels, height · r, width · r]`; output: `[…, channels · r², height, width]`
///
/// # Source
/// Shi et al. (2016), as for [`PixelShuffle`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_conv::PixelUnshuffle;
/// use cortical_neuron::{Layer, Pass};
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::new(&[[[1.0_f32, 2.0], [3.0, 4.0]]], &Device::Cpu)?;
/// let y = PixelUnshuffle::new(2)?.forward(&x, &mut Pass::eval())?;
/// assert_eq!(y.to_vec3::<f32>()?, [[[1.0]], [[2.0]], [[3.0]], [[4.0]]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct PixelUnshuffle {
    factor: usize,
}

impl PixelUnshuffle {
    /// Pictures whose sides are cut by `downscale_factor`.
    ///
    /// # Errors
    /// [`Error::Option`] for a factor of 0.
    pub fn new(downscale_factor: usize) -> Result<Self> {
        check_positive("downscale_factor", &[downscale_factor])?;
        let factor = downscale_factor;
        Ok(Self { factor })
    }
}

impl Layer for PixelUnshuffle {
    fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
        Ok(ops::pixel_unshuffle(x, self.factor)?)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let sides = sample_axes::<2>("pixel_unshuffle", None, sample)?;
        if sides.iter().any(|side| !side.is_multiple_of(self.factor)) {
            let expected = format!(
                "[channels, height, width] with sides that {} divides",
                self.factor
            );
            return Err(wrong_sample("pixel_unshuffle", expected, sample));
        }
        let channels = sample[0]
            .saturating_mul(self.factor)
            .saturating_mul(self.factor);
        let output = [channels, sides[0] / self.factor, sides[1] / self.factor];
        let description = Description::new("PixelUnshuffle", "", &output);
        Ok(description.reads("each output is an input"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn dims(layer: &dyn Layer, shape: &[usize]) -> Vec<usize> {
        let x = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let y = layer.forward(&x, &mut Pass::eval()).unwrap();
        let described = layer.describe(&shape[1..]).unwrap();
        assert_eq!(described.output, y.dims()[1..]);
        y.dims().to_vec()
    }

    #[test]
    fn sizes_and_factors_and_modes_reach_the_operations() {
        let cubic = Interpolation::Cubic {
            align_corners: false,
            antialias: false,
        };
        let layer = Upsample::times(&[1.5, 2.0]).mode(cubic).build().unwrap();
        assert_eq!(dims(&layer, &[2, 3, 5, 4]), [2, 3, 7, 8]);
        let layer = Upsample::to(&[3]).build().unwrap();
        assert_eq!(dims(&layer, &[2, 3, 5, 4, 2]), [2, 3, 3, 3, 3]);
        assert_eq!(
            dims(&PixelShuffle::new(2).unwrap(), &[1, 8, 2, 3]),
            [1, 2, 4, 6]
        );
        assert_eq!(
            dims(&PixelUnshuffle::new(2).unwrap(), &[1, 2, 4, 6]),
            [1, 8, 2, 3]
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(Upsample::times(&[0.0]).build().is_err());
        assert!(Upsample::to(&[2, 0]).build().is_err());
        assert!(PixelShuffle::new(0).is_err() && PixelUnshuffle::new(0).is_err());
        let message = |layer: &dyn Layer, shape: &[usize]| {
            let x = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
            layer
                .forward(&x, &mut Pass::eval())
                .unwrap_err()
                .to_string()
        };
        let huge = Upsample::times(&[1e18]).build().unwrap();
        assert!(message(&huge, &[1, 1, 40, 40]).contains("does not fit in memory"));
        assert!(message(&PixelShuffle::new(2).unwrap(), &[1, 3, 2, 2]).contains("multiple of 2²"));
        assert!(
            message(&PixelUnshuffle::new(2).unwrap(), &[1, 3, 3, 2]).contains("multiples of 2")
        );
    }
}

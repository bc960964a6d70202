//! Upsampling: planes of another size.

use crate::axes::{Axes, check_positive};
use candle_core::Tensor;
use cortical_neuron::{Layer, Pass, Result};
use cortical_tensor::{Error, ops};

#[derive(Clone, Copy, Debug)]
enum Size {
    Fixed([usize; 2]),
    Times([usize; 2]),
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Nearest,
    Bilinear { align_corners: bool },
}

/// The options of an [`Upsample`].
#[derive(Clone, Copy, Debug)]
pub struct UpsampleConfig {
    size: Size,
    mode: Mode,
}

impl UpsampleConfig {
    /// Interpolate linearly between the four elements around each place, instead of repeating the nearest. With `align_corners` the
    /// corners' centres fall together, without it the planes' outer edges do.
    #[must_use]
    pub fn bilinear(mut self, align_corners: bool) -> Self {
        self.mode = Mode::Bilinear { align_corners };
        self
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// [`Error::Option`](cortical_neuron::Error::Option) for a size or factor of 0.
    pub fn build(self) -> Result<Upsample> {
        match self.size {
            Size::Fixed(size) => check_positive("size", &size)?,
            Size::Times(factor) => check_positive("scale_factor", &factor)?,
        }
        Ok(Upsample(self))
    }
}

/// Planes of another size, PyTorch's `nn.Upsample` with modes `nearest` (by default) and `bilinear`; see
/// [`ops::upsample_nearest2d`] and [`ops::upsample_bilinear2d`].
///
/// # Shapes
/// - input: `[n, channels, height, width]`, or without `n`
/// - output: `[n, channels, …size]`, or height and width times the factors
#[derive(Clone, Copy, Debug)]
pub struct Upsample(UpsampleConfig);

impl Upsample {
    /// The options of a layer whose output has this height and width.
    #[must_use]
    pub fn to(size: impl Into<Axes<2>>) -> UpsampleConfig {
        UpsampleConfig {
            size: Size::Fixed(size.into().0),
            mode: Mode::Nearest,
        }
    }

    /// The options of a layer whose output is `scale_factor` times as high and wide.
    #[must_use]
    pub fn times(scale_factor: impl Into<Axes<2>>) -> UpsampleConfig {
        UpsampleConfig {
            size: Size::Times(scale_factor.into().0),
            mode: Mode::Nearest,
        }
    }
}

impl Layer for Upsample {
    fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
        let size = match self.0.size {
            Size::Fixed(size) => size,
            Size::Times(factor) => {
                let [.., height, width] = *x.dims() else {
                    return Err(cortical_neuron::Error::Op(Error::Shape {
                        op: "upsample",
                        argument: "x",
                        expected: "[n, channels, height, width] or [channels, height, width]"
                            .into(),
                        got: x.dims().to_vec(),
                    }));
                };
                // The operation refuses what is too large to address.
                [
                    height.saturating_mul(factor[0]),
                    width.saturating_mul(factor[1]),
                ]
            }
        };
        Ok(match self.0.mode {
            Mode::Nearest => ops::upsample_nearest2d(x, size)?,
            Mode::Bilinear { align_corners } => ops::upsample_bilinear2d(x, size, align_corners)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn sizes_and_factors_and_modes_reach_the_operations() {
        let x = Tensor::new(&[[[0.0_f32, 1.0]]], &Device::Cpu).unwrap();
        let run = |config: UpsampleConfig| {
            let y = config
                .build()
                .unwrap()
                .forward(&x, &mut Pass::eval())
                .unwrap();
            y.to_vec3::<f32>().unwrap()
        };
        assert_eq!(run(Upsample::times([1, 2])), [[[0.0, 0.0, 1.0, 1.0]]]);
        assert_eq!(
            run(Upsample::to([1, 3]).bilinear(true)),
            [[[0.0, 0.5, 1.0]]]
        );
        let edges = run(Upsample::times([1, 2]).bilinear(false));
        assert_eq!(edges, [[[0.0, 0.25, 0.75, 1.0]]]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(Upsample::times(0).build().is_err());
        let layer = Upsample::times(usize::MAX).build().unwrap();
        let message = |shape: &[usize]| {
            let x = Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
            let error = layer.forward(&x, &mut Pass::eval()).unwrap_err();
            error.to_string()
        };
        assert!(message(&[1, 2, 2]).contains("too large"));
        assert!(message(&[2]).contains("must have shape [n, channels, height, width]"));
    }
}

//! Pools whose windows are cut so that the output has a given size.

use crate::axes::{Axes, check_positive, sample_axes};
use candle_core::Tensor;
use cortical_neuron::{Description, Layer, Pass, Result, product};
use cortical_tensor::ops;

/// An adaptive pool: its documentation, its name, how many axes it has, and its operation.
macro_rules! adaptive {
    ($(#[$doc:meta])* $name:ident, $axes:literal, $run:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name {
            output_size: [Option<usize>; $axes],
        }

        impl $name {
            /// A pool with outputs of this size along each axis; one number counts for all.
            ///
            /// # Errors
            /// [`Error::Option`](cortical_neuron::Error::Option) for a size of 0.
            pub fn new(output_size: impl Into<Axes<$axes>>) -> Result<Self> {
                Self::keeping(output_size.into().0.map(Some))
            }

            /// As [`Self::new`], with `None` where an axis keeps its size.
            ///
            /// # Errors
            /// As [`Self::new`].
            pub fn keeping(output_size: [Option<usize>; $axes]) -> Result<Self> {
                for size in output_size.into_iter().flatten() {
                    check_positive("output_size", &[size])?;
                }
                Ok(Self { output_size })
            }

            /// The size along each axis of an input whose last axes are these.
            fn size(&self, dims: &[usize]) -> [usize; $axes] {
                let first = dims.len().saturating_sub($axes);
                let own = |i: usize| dims.get(first + i).copied().unwrap_or(1);
                std::array::from_fn(|i| self.output_size[i].unwrap_or_else(|| own(i)))
            }
        }

        impl Layer for $name {
            fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
                let run: fn(&Tensor, [usize; $axes]) -> cortical_tensor::Result<Tensor> = $run;
                Ok(run(x, self.size(x.dims()))?)
            }

            fn describe(&self, sample: &[usize]) -> Result<Description> {
                adapted::<$axes>(stringify!($name), sample, self.size(sample))
            }
        }
    };
}

adaptive! {
    /// The mean of windows cut so that the output has a given length, PyTorch's `nn.AdaptiveAvgPool1d`; see
    /// [`ops::adaptive_avg_pool1d`].
    ///
    /// No parameters; each output reads its share of its channel.
    ///
    /// # Shapes
    /// - input: `[n, channels, length]`, or without `n`; output: `[n, channels, output_size]`
    ///
    /// # Source
    /// Lin, Chen and Yan, "Network in network" (2013), section 3.2, for a size of 1.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use cortical_conv::AdaptiveAvgPool1d;
    /// use cortical_neuron::{Layer, Pass};
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let x = Tensor::new(&[[1.0_f32, 3.0, 5.0, 7.0]], &Device::Cpu)?;
    /// let y = AdaptiveAvgPool1d::new(2)?.forward(&x, &mut Pass::eval())?;
    /// assert_eq!(y.to_vec2::<f32>()?, [[2.0, 6.0]]);
    /// # Ok(())
    /// # }
    /// ```
    AdaptiveAvgPool1d, 1, |x, [size]| ops::adaptive_avg_pool1d(x, size)
}

adaptive! {
    /// The mean of windows cut so that the output has a given height and width, PyTorch's `nn.AdaptiveAvgPool2d`; a
    /// size of 1 is the mean of each channel. See [`ops::adaptive_avg_pool2d`].
    ///
    /// No parameters; each output reads its share of its channel.
    ///
    /// # Shapes
    /// - input: `[n, channels, height, width]`, or without `n`; output: `[n, channels, output_size[0], output_size[1]]`
    ///
    /// # Source
    /// Lin, Chen and Yan, "Network in network" (2013), section 3.2, for a size of 1.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use cortical_conv::AdaptiveAvgPool2d;
    /// use cortical_neuron::{Layer, Pass};
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let x = Tensor::new(&[[[1.0_f32, 3.0], [5.0, 7.0]]], &Device::Cpu)?;
    /// let y = AdaptiveAvgPool2d::new(1)?.forward(&x, &mut Pass::eval())?;
    /// assert_eq!(y.to_vec3::<f32>()?, [[[4.0]]]);
    /// # Ok(())
    /// # }
    /// ```
    AdaptiveAvgPool2d, 2, |x, size| ops::adaptive_avg_pool2d(x, size)
}

adaptive! {
    /// As [`AdaptiveAvgPool2d`] over depth, height and width, PyTorch's `nn.AdaptiveAvgPool3d`.
    ///
    /// No parameters; each output reads its share of its channel.
    ///
    /// # Shapes
    /// - input: `[n, channels, depth, height, width]`, or without `n`; output: the same with `output_size` along the
    ///   axes
    ///
    /// # Source
    /// As for [`AdaptiveAvgPool2d`].
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cortical_conv::AdaptiveAvgPool3d;
    /// use cortical_neuron::{Layer, Pass};
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let x = Tensor::ones((1, 2, 4, 4, 4), DType::F32, &Device::Cpu)?;
    /// let pool = AdaptiveAvgPool3d::keeping([Some(2), None, Some(1)])?;
    /// assert_eq!(pool.forward(&x, &mut Pass::eval())?.dims(), [1, 2, 2, 4, 1]);
    /// # Ok(())
    /// # }
    /// ```
    AdaptiveAvgPool3d, 3, |x, size| ops::adaptive_avg_pool3d(x, size)
}

adaptive! {
    /// The maximum of windows cut so that the output has a given length, PyTorch's `nn.AdaptiveMaxPool1d`; see
    /// [`ops::adaptive_max_pool1d`].
    ///
    /// No parameters; each output reads its share of its channel.
    ///
    /// # Shapes
    /// - input: `[n, channels, length]`, or without `n`; output: `[n, channels, output_size]`
    ///
    /// # Source
    /// He et al., "Spatial pyramid pooling in deep convolutional networks for visual recognition" (2014).
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use cortical_conv::AdaptiveMaxPool1d;
    /// use cortical_neuron::{Layer, Pass};
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let x = Tensor::new(&[[1.0_f32, 3.0, 7.0, 5.0]], &Device::Cpu)?;
    /// let y = AdaptiveMaxPool1d::new(2)?.forward(&x, &mut Pass::eval())?;
    /// assert_eq!(y.to_vec2::<f32>()?, [[3.0, 7.0]]);
    /// # Ok(())
    /// # }
    /// ```
    AdaptiveMaxPool1d, 1, |x, [size]| ops::adaptive_max_pool1d(x, size)
}

adaptive! {
    /// As [`AdaptiveMaxPool1d`] over height and width, PyTorch's `nn.AdaptiveMaxPool2d`.
    ///
    /// No parameters; each output reads its share of its channel.
    ///
    /// # Shapes
    /// - input: `[n, channels, height, width]`, or without `n`; output: `[n, channels, output_size[0], output_size[1]]`
    ///
    /// # Source
    /// As for [`AdaptiveMaxPool1d`].
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use cortical_conv::AdaptiveMaxPool2d;
    /// use cortical_neuron::{Layer, Pass};
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let x = Tensor::new(&[[[1.0_f32, 3.0], [5.0, 7.0]]], &Device::Cpu)?;
    /// let y = AdaptiveMaxPool2d::new(1)?.forward(&x, &mut Pass::eval())?;
    /// assert_eq!(y.to_vec3::<f32>()?, [[[7.0]]]);
    /// # Ok(())
    /// # }
    /// ```
    AdaptiveMaxPool2d, 2, |x, size| ops::adaptive_max_pool2d(x, size)
}

adaptive! {
    /// As [`AdaptiveMaxPool1d`] over depth, height and width, PyTorch's `nn.AdaptiveMaxPool3d`.
    ///
    /// No parameters; each output reads its share of its channel.
    ///
    /// # Shapes
    /// - input: `[n, channels, depth, height, width]`, or without `n`; output: the same with `output_size` along the
    ///   axes
    ///
    /// # Source
    /// As for [`AdaptiveMaxPool1d`].
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cortical_conv::AdaptiveMaxPool3d;
    /// use cortical_neuron::{Layer, Pass};
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let x = Tensor::ones((1, 2, 4, 4, 4), DType::F32, &Device::Cpu)?;
    /// assert_eq!(AdaptiveMaxPool3d::new(2)?.forward(&x, &mut Pass::eval())?.dims(), [1, 2, 2, 2, 2]);
    /// # Ok(())
    /// # }
    /// ```
    AdaptiveMaxPool3d, 3, |x, size| ops::adaptive_max_pool3d(x, size)
}

/// An adaptive pool in numbers.
fn adapted<const AXES: usize>(
    kind: &'static str,
    sample: &[usize],
    size: [usize; AXES],
) -> Result<Description> {
    let axes = sample_axes::<AXES>("adaptive pool", None, sample)?;
    let mut output = vec![sample[0]];
    output.extend(size);
    let reads = "each output reads its share of its channel, without weights";
    // Windows begin at ⌊o · n / s⌋ and end before ⌈(o + 1) · n / s⌉. Those that would end between two elements, all but
    // gcd(n, s) of them, reach one element into the next window; so they cover n + s − gcd(n, s) elements, however many
    // they are.
    let each: [usize; AXES] = std::array::from_fn(|i| {
        let shared = gcd(axes[i], size[i]);
        axes[i].saturating_add(size[i] - shared)
    });
    let connections = product(&[sample[0]]).saturating_mul(product(&each));
    Ok(Description::new(kind, "", &output)
        .reads(reads)
        .costs(connections, 0))
}

/// The greatest common divisor; the other number where one is 0.
fn gcd(a: usize, b: usize) -> usize {
    match b {
        0 => a,
        _ => gcd(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_windows_cover_is_counted_without_going_through_them() {
        for len in 1..12 {
            for size in 1..12 {
                let window = |o: usize| ((o + 1) * len).div_ceil(size) - o * len / size;
                let all: usize = (0..size).map(window).sum();
                let described = adapted::<1>("AdaptiveAvgPool1d", &[3, len], [size]).unwrap();
                assert_eq!(described.connections, 3 * all as u64, "{len} in {size}");
            }
        }
        let huge = adapted::<1>("AdaptiveAvgPool1d", &[1, 3], [usize::MAX]).unwrap();
        assert_eq!(huge.output, [1, usize::MAX]);
    }
}

//! Pools: the maximum or the mean of each window of each channel.

use crate::axes::{Axes, check_positive, sample_axes, span, windows};
use candle_core::Tensor;
use cortical_neuron::{Description, Layer, Pass, Result, product, wrong_sample};
use cortical_tensor::ops::{self, AvgPoolOptions, MaxPoolOptions};

/// The options of a [`MaxPool`].
#[derive(Clone, Copy, Debug)]
pub struct MaxPoolConfig<const AXES: usize>(MaxPoolOptions<AXES>);

impl<const AXES: usize> MaxPoolConfig<AXES> {
    /// Distance between neighbouring windows; the kernel's size by default.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Axes<AXES>>) -> Self {
        self.0.stride = stride.into().0;
        self
    }

    /// Padding on both sides, which never wins; at most half of what the kernel spans.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Axes<AXES>>) -> Self {
        self.0.padding = padding.into().0;
        self
    }

    /// Distance between neighbouring taps, 1 by default.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Axes<AXES>>) -> Self {
        self.0.dilation = dilation.into().0;
        self
    }

    /// Whether a last window may hang over the end of the input; it may not by default.
    #[must_use]
    pub fn ceil_mode(mut self, ceil_mode: bool) -> Self {
        self.0.ceil_mode = ceil_mode;
        self
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// [`Error::Option`](cortical_neuron::Error::Option) for a 0 that must not be one.
    pub fn build(self) -> Result<MaxPool<AXES>> {
        check_positive("kernel_size", &self.0.kernel_size)?;
        check_positive("stride", &self.0.stride)?;
        check_positive("dilation", &self.0.dilation)?;
        Ok(MaxPool { options: self.0 })
    }
}

/// `y[p] = max_t x[p · stride + t · dilation − padding]`, PyTorch's `nn.MaxPool1d`, `2d` and `3d`; see
/// [`ops::max_pool`].
///
/// No parameters, no multiplication: each output reads a window of its channel.
///
/// # Shapes
/// - input: `[n, channels, …]` with `AXES` axes behind, or without `n`
/// - output: the same, with `⌊(in + 2 · padding − dilation · (kernel_size − 1) − 1) / stride⌋ + 1` along each axis, or
///   ⌈…⌉ in ceil mode
///
/// # Source
/// Yamaguchi et al., "A neural network for speaker-independent isolated word recognition" (1990).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_conv::MaxPool1d;
/// use cortical_neuron::{Layer, Pass};
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::new(&[[1.0_f32, 3.0, 2.0, 0.0]], &Device::Cpu)?;
/// let y = MaxPool1d::config(2).build()?.forward(&x, &mut Pass::eval())?;
/// assert_eq!(y.to_vec2::<f32>()?, [[3.0, 2.0]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct MaxPool<const AXES: usize> {
    options: MaxPoolOptions<AXES>,
}

/// A max pool over one axis.
pub type MaxPool1d = MaxPool<1>;
/// A max pool over height and width.
pub type MaxPool2d = MaxPool<2>;
/// A max pool over depth, height and width.
pub type MaxPool3d = MaxPool<3>;

impl<const AXES: usize> MaxPool<AXES> {
    /// The options of a pool with windows of `kernel_size`, side by side.
    #[must_use]
    pub fn config(kernel_size: impl Into<Axes<AXES>>) -> MaxPoolConfig<AXES> {
        MaxPoolConfig(MaxPoolOptions::new(kernel_size.into().0))
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &MaxPoolOptions<AXES> {
        &self.options
    }
}

impl<const AXES: usize> Layer for MaxPool<AXES> {
    fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
        Ok(ops::max_pool(x, &self.options)?)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let o = &self.options;
        let reach = std::array::from_fn(|i| span(o.kernel_size[i], o.dilation[i]));
        pooled(
            "MaxPool",
            sample,
            reach,
            (o.kernel_size, o.stride, o.padding, o.ceil_mode),
        )
    }
}

/// The options of an [`AvgPool`].
#[derive(Clone, Copy, Debug)]
pub struct AvgPoolConfig<const AXES: usize>(AvgPoolOptions<AXES>);

impl<const AXES: usize> AvgPoolConfig<AXES> {
    /// Distance between neighbouring windows; the kernel's size by default.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Axes<AXES>>) -> Self {
        self.0.stride = stride.into().0;
        self
    }

    /// Zeros on both sides; at most half of the kernel.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Axes<AXES>>) -> Self {
        self.0.padding = padding.into().0;
        self
    }

    /// Whether a last window may hang over the end of the input; it may not by default.
    #[must_use]
    pub fn ceil_mode(mut self, ceil_mode: bool) -> Self {
        self.0.ceil_mode = ceil_mode;
        self
    }

    /// Whether the zeros of the padding count in the divisor; they do by default.
    #[must_use]
    pub fn count_include_pad(mut self, count_include_pad: bool) -> Self {
        self.0.count_include_pad = count_include_pad;
        self
    }

    /// What to divide by instead of the number of elements.
    #[must_use]
    pub fn divisor_override(mut self, divisor: usize) -> Self {
        self.0.divisor_override = Some(divisor);
        self
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// [`Error::Option`](cortical_neuron::Error::Option) for a 0 that must not be one.
    pub fn build(self) -> Result<AvgPool<AXES>> {
        check_positive("kernel_size", &self.0.kernel_size)?;
        check_positive("stride", &self.0.stride)?;
        check_positive("divisor_override", self.0.divisor_override.as_slice())?;
        Ok(AvgPool { options: self.0 })
    }
}

/// `y[p] = Σ_t x[p · stride + t − padding] / divisor`, PyTorch's `nn.AvgPool1d`, `2d` and `3d`; see [`ops::avg_pool`].
///
/// No parameters: each output reads a window of its channel.
///
/// # Shapes
/// - input: `[n, channels, …]` with `AXES` axes behind, or without `n`
/// - output: the same, with `⌊(in + 2 · padding − kernel_size) / stride⌋ + 1` along each axis, or ⌈…⌉ in ceil mode
///
/// # Source
/// LeCun et al. 1998, *Gradient-based learning applied to document recognition*, section II.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_conv::AvgPool1d;
/// use cortical_neuron::{Layer, Pass};
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::new(&[[1.0_f32, 3.0, 2.0, 0.0]], &Device::Cpu)?;
/// let y = AvgPool1d::config(2).build()?.forward(&x, &mut Pass::eval())?;
/// assert_eq!(y.to_vec2::<f32>()?, [[2.0, 1.0]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AvgPool<const AXES: usize> {
    options: AvgPoolOptions<AXES>,
}

/// An average pool over one axis.
pub type AvgPool1d = AvgPool<1>;
/// An average pool over height and width.
pub type AvgPool2d = AvgPool<2>;
/// An average pool over depth, height and width.
pub type AvgPool3d = AvgPool<3>;

impl<const AXES: usize> AvgPool<AXES> {
    /// The options of a pool with windows of `kernel_size`, side by side.
    #[must_use]
    pub fn config(kernel_size: impl Into<Axes<AXES>>) -> AvgPoolConfig<AXES> {
        AvgPoolConfig(AvgPoolOptions::new(kernel_size.into().0))
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> &AvgPoolOptions<AXES> {
        &self.options
    }
}

impl<const AXES: usize> Layer for AvgPool<AXES> {
    fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
        Ok(ops::avg_pool(x, &self.options)?)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let o = &self.options;
        let windows = (o.kernel_size, o.stride, o.padding, o.ceil_mode);
        pooled("AvgPool", sample, o.kernel_size, windows)
    }
}

/// A pool in numbers.
fn pooled<const AXES: usize>(
    kind: &'static str,
    sample: &[usize],
    reach: [usize; AXES],
    (kernel_size, stride, padding, ceil): ([usize; AXES], [usize; AXES], [usize; AXES], bool),
) -> Result<Description> {
    let axes = sample_axes::<AXES>("pool", None, sample)?;
    let mut output = vec![sample[0]];
    for i in 0..AXES {
        let Some(n) = windows(axes[i], [padding[i]; 2], reach[i], stride[i], ceil) else {
            let expected = format!(
                "at least {} elements along axis {i}, padding counted",
                reach[i]
            );
            return Err(wrong_sample("pool", expected, sample));
        };
        output.push(n);
    }
    let taps = product(&kernel_size);
    let reads =
        format!("each output reads a window of {taps} places in its channel, without weights");
    let connections = product(&output).saturating_mul(taps);
    Ok(Description::new(kind, "", &output)
        .reads(reads)
        .costs(connections, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn dims(layer: &impl Layer, shape: &[usize]) -> Vec<usize> {
        let x = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let y = layer.forward(&x, &mut Pass::eval()).unwrap();
        // What the description says is what comes out.
        let sample = if shape.len() == y.rank() && shape.first() == Some(&2) {
            &shape[1..]
        } else {
            shape
        };
        let described = layer.describe(sample).unwrap().output;
        assert!(y.dims().ends_with(&described), "{described:?}");
        y.dims().to_vec()
    }

    #[test]
    fn options_reach_the_operations() {
        let max = MaxPool2d::config([3, 2])
            .stride(2)
            .padding(1)
            .dilation([1, 2]);
        assert_eq!(dims(&max.build().unwrap(), &[2, 3, 8, 9]), [2, 3, 4, 5]);
        let max = MaxPool1d::config(2).ceil_mode(true).build().unwrap();
        assert_eq!(dims(&max, &[2, 3, 5]), [2, 3, 3]);
        let avg = AvgPool2d::config(3).stride([2, 1]).padding([1, 0]);
        assert_eq!(dims(&avg.build().unwrap(), &[2, 3, 8, 9]), [2, 3, 4, 7]);
        let avg = AvgPool1d::config(2)
            .ceil_mode(true)
            .count_include_pad(false);
        let avg = avg.divisor_override(3).build().unwrap();
        assert_eq!(avg.options().divisor_override, Some(3));
        assert!(!avg.options().count_include_pad);
        assert_eq!(dims(&avg, &[3, 5]), [3, 3]);
        let max = MaxPool3d::config([1, 2, 3]).padding([0, 1, 0]);
        assert_eq!(
            dims(&max.build().unwrap(), &[2, 3, 4, 5, 6]),
            [2, 3, 4, 3, 2]
        );
        let avg = AvgPool3d::config(2).build().unwrap();
        assert_eq!(dims(&avg, &[3, 4, 5, 6]), [3, 2, 2, 3]);
    }

    #[test]
    fn zeros_are_refused_when_the_layer_is_made() {
        assert_eq!(
            MaxPool2d::config([0, 2]).build().unwrap_err().to_string(),
            "kernel_size must be at least 1, but is [0, 2]"
        );
        assert!(AvgPool1d::config(2).stride(0).build().is_err());
        assert!(AvgPool1d::config(2).divisor_override(0).build().is_err());
        assert!(crate::AdaptiveAvgPool2d::new([1, 0]).is_err());
    }
}

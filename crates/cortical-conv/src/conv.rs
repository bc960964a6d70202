//! Convolutions: a neuron for each channel, slid over the input.

use crate::axes::{
    Axes, Padding, PaddingMode, check_positive, per_group, positions, sample_axes, span, windows,
};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{
    Affine, Description, Error, Layer, Param, Pass, Place, Result, View, product, wrong_sample,
};
use cortical_tensor::ops::{self, ConvOptions, MaxPoolOptions};

/// The options of a [`Conv`].
#[derive(Clone, Copy, Debug)]
pub struct ConvConfig<const AXES: usize> {
    in_channels: usize,
    out_channels: usize,
    kernel_size: [usize; AXES],
    stride: [usize; AXES],
    padding: Padding<AXES>,
    padding_mode: PaddingMode,
    dilation: [usize; AXES],
    groups: usize,
    bias: bool,
    activation: Activation,
    max_pool: Option<MaxPoolOptions<2>>,
}

impl<const AXES: usize> ConvConfig<AXES> {
    /// Distance between neighbouring windows, 1 by default.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Axes<AXES>>) -> Self {
        self.stride = stride.into().0;
        self
    }

    /// Zeros around the input, none by default; [`Padding::Same`] keeps its size.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Padding<AXES>>) -> Self {
        self.padding = padding.into();
        self
    }

    /// What stands in the padding; zeros by default.
    #[must_use]
    pub fn padding_mode(mut self, mode: PaddingMode) -> Self {
        self.padding_mode = mode;
        self
    }

    /// Distance between neighbouring taps of the kernel, 1 by default.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Axes<AXES>>) -> Self {
        self.dilation = dilation.into().0;
        self
    }

    /// Into how many groups the channels fall that know nothing of each other, 1 by default; as many as input channels
    /// make the convolution depthwise.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Whether each channel has a bias; it has by default.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// What each neuron does with its weighted sum; nothing by default.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::Option`] for a 0 that must not be one, groups that do not divide the channels, or `Same` padding with a
    /// stride; [`Error::NameTaken`] when the place is taken, [`Error::TooLarge`].
    pub fn build(self, scope: &impl Place) -> Result<Conv<AXES>> {
        let scope = &scope.place();
        check_positive("kernel_size", &self.kernel_size)?;
        check_positive("stride", &self.stride)?;
        check_positive("dilation", &self.dilation)?;
        let per_group_in = per_group("in_channels", self.in_channels, self.groups)?;
        per_group("out_channels", self.out_channels, self.groups)?;
        let padding = (self.padding).resolve(self.kernel_size, self.stride, self.dilation)?;
        let mut shape = vec![self.out_channels, per_group_in];
        shape.extend(self.kernel_size);
        let neurons = Affine::build(scope, &shape, self.bias, self.activation)?;
        // What is padded by other elements than zeros is padded before the convolution.
        let (around, padding) = match self.padding_mode {
            PaddingMode::Zeros => ([[0; 2]; AXES], padding),
            _ => (padding, [[0; 2]; AXES]),
        };
        let options = ConvOptions {
            stride: self.stride,
            padding,
            dilation: self.dilation,
            groups: self.groups,
            activation: self.activation,
        };
        Ok(Conv {
            neurons,
            config: self,
            options,
            around,
        })
    }
}

impl ConvConfig<2> {
    /// A max pool on top, with windows of `kernel_size` side by side, in one operation with the convolution: what is
    /// pooled away is never stored.
    #[must_use]
    pub fn max_pool(self, kernel_size: impl Into<Axes<2>>) -> Self {
        self.max_pool_with(MaxPoolOptions::new(kernel_size.into().0))
    }

    /// As [`Self::max_pool`] with all of a pool's options.
    #[must_use]
    pub fn max_pool_with(mut self, options: MaxPoolOptions<2>) -> Self {
        self.max_pool = Some(options);
        self
    }
}

/// `y[n, o, p] = activation(b[o] + Σ_{c, t} w[o, c, t] · x[n, c, p · stride + t · dilation − padding])`, PyTorch's
/// `nn.Conv1d`, `nn.Conv2d` and `nn.Conv3d` with activation and max pool fused.
///
/// # Shapes
/// - input: `[n, in_channels, …]` with `AXES` axes behind, or without `n`
/// - `weight`: `[out_channels, in_channels / groups, …kernel_size]`, `bias`: `[out_channels]`, both from
///   U(−1/√fan_in, 1/√fan_in) with fan_in = in_channels / groups · kernel elements
/// - output: `[n, out_channels, …]` with `⌊(in + padding − dilation · (kernel_size − 1) − 1) / stride⌋ + 1` along each
///   axis, padding counted on both sides; pooled if asked for
///
/// Each neuron reads a window; the neurons of an output channel share one set of weights,
/// `out · in / groups · kernel + out` parameters in all, which every window multiplies with again.
///
/// # Source
/// LeCun et al. 1998, *Gradient-based learning applied to document recognition*, section II.
///
/// A neuron that answers to vertical edges, dark on the left and light on the right, and to nothing else:
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_conv::Conv2d;
/// use cortical_neuron::{Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let edges = Conv2d::config(1, 1, 3).bias(false).build(&params.at("edges"))?;
/// let detector = Tensor::new(&[[[[-1.0_f32, 0.0, 1.0], [-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]]]], &Device::Cpu)?;
/// params.set("edges.weight", &detector)?;
/// let upright = Tensor::new(&[[[[0.0_f32, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]]], &Device::Cpu)?;
/// let lying = upright.transpose(2, 3)?;
/// let answer = |x: &Tensor| edges.forward(x, &mut Pass::eval())?.flatten_all()?.to_vec1::<f32>();
/// assert_eq!(answer(&upright)?, [3.0]); // a vertical edge
/// assert_eq!(answer(&lying)?, [0.0]); // a horizontal one
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Conv<const AXES: usize> {
    neurons: Affine,
    config: ConvConfig<AXES>,
    options: ConvOptions<AXES>,
    /// Padding by other elements than zeros.
    around: [[usize; 2]; AXES],
}

/// A convolution over one axis: `[n, channels, length]`.
pub type Conv1d = Conv<1>;
/// A convolution over height and width: `[n, channels, height, width]`.
pub type Conv2d = Conv<2>;
/// A convolution over depth, height and width: `[n, channels, depth, height, width]`.
pub type Conv3d = Conv<3>;

impl<const AXES: usize> Conv<AXES> {
    /// The options of a convolution from `in_channels` to `out_channels`.
    #[must_use]
    pub fn config(
        in_channels: usize,
        out_channels: usize,
        kernel_size: impl Into<Axes<AXES>>,
    ) -> ConvConfig<AXES> {
        ConvConfig {
            in_channels,
            out_channels,
            kernel_size: kernel_size.into().0,
            stride: [1; AXES],
            padding: Padding::Both([0; AXES]),
            padding_mode: PaddingMode::Zeros,
            dilation: [1; AXES],
            groups: 1,
            bias: true,
            activation: Activation::Identity,
            max_pool: None,
        }
    }

    /// Channels of the input.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.config.in_channels
    }

    /// Channels of the output.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.config.out_channels
    }

    /// Stride, padding, dilation, groups and activation.
    #[must_use]
    pub fn options(&self) -> &ConvOptions<AXES> {
        &self.options
    }

    /// The max pool on top, if there is one.
    #[must_use]
    pub fn max_pool(&self) -> Option<&MaxPoolOptions<2>> {
        self.config.max_pool.as_ref()
    }

    /// The weights, `[out_channels, in_channels / groups, …kernel_size]`.
    #[must_use]
    pub fn weight(&self) -> &Param {
        self.neurons.weight()
    }

    /// The biases, `[out_channels]`.
    #[must_use]
    pub fn bias(&self) -> Option<&Param> {
        self.neurons.bias()
    }
}

impl<const AXES: usize> Layer for Conv<AXES> {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let (weight, bias) = self.neurons.inputs(pass);
        let named = |e: Error| e.in_layer(self.neurons.name());
        let padded;
        let x = match self.around == [[0; 2]; AXES] || x.rank() <= AXES {
            true => x,
            false => {
                padded = self
                    .config
                    .padding_mode
                    .pad(x, &self.around)
                    .map_err(named)?;
                &padded
            }
        };
        let is_fused =
            self.config.max_pool.is_some() || self.options.activation != Activation::Identity;
        if is_fused && pass.wants(View::Modules) {
            let mut options = self.options;
            options.activation = Activation::Identity;
            let sums = ops::conv(x, weight, bias, &options).map_err(|e| named(Error::from(e)))?;
            let sums = pass.observe(self.neurons.name(), sums)?;
            let y = ops::activate(&sums, self.options.activation)?;
            return Ok(match &self.config.max_pool {
                Some(pool) => ops::max_pool2d(&y, pool)?,
                None => y,
            });
        }
        let y = match &self.config.max_pool {
            Some(pool) => {
                // Only the configuration of two axes sets a pool.
                let options = ConvOptions {
                    stride: two(self.options.stride),
                    padding: two(self.options.padding),
                    dilation: two(self.options.dilation),
                    groups: self.options.groups,
                    activation: self.options.activation,
                };
                ops::conv2d_max_pool(x, weight, bias, &options, pool)
            }
            None => ops::conv(x, weight, bias, &self.options),
        };
        let y = y.map_err(|e| named(Error::from(e)))?;
        pass.observe(self.neurons.name(), y)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let config = &self.config;
        let axes = sample_axes::<AXES>("conv", Some(config.in_channels), sample)
            .map_err(|e| e.in_layer(self.neurons.name()))?;
        let (mut places, mut output) = (Vec::new(), vec![config.out_channels]);
        for (i, len) in axes.into_iter().enumerate() {
            let [zeros, around] = [self.options.padding[i], self.around[i]];
            let padding = [zeros[0] + around[0], zeros[1] + around[1]];
            let reach = span(config.kernel_size[i], config.dilation[i]);
            let Some(n) = windows(len, padding, reach, config.stride[i], false) else {
                let expected = format!("at least {reach} elements along axis {i}, padding counted");
                return Err(wrong_sample("conv", expected, sample).in_layer(self.neurons.name()));
            };
            places.push(n);
            output.push(match &config.max_pool {
                Some(p) => {
                    let reach = span(p.kernel_size[i], p.dilation[i]);
                    windows(n, [p.padding[i]; 2], reach, p.stride[i], p.ceil_mode).unwrap_or(0)
                }
                None => n,
            });
        }
        let weight = self.weight();
        let taps: usize = config.kernel_size.iter().product();
        let per_group = weight.dims()[1];
        let bias = self
            .bias()
            .map_or(String::new(), |b| format!(" + {}", b.count()));
        let words = if bias.is_empty() { "" } else { " + out" };
        let formula = format!(
            "out·(in / groups)·kernel{words} = {}·{per_group}·{taps}{bias}",
            config.out_channels
        );
        // The activation's sums, or the winners of a pool, a byte each.
        let own = Description::new("Conv", self.neurons.name(), &output)
            .channels_first()
            .activation(config.activation);
        let own = match &config.max_pool {
            Some(_) => own.keeping([product(&output).div_ceil(4)]),
            None => own.keeping_sums_of(self.options.activation),
        };
        own
            .reads(format!(
                "each neuron reads a window of {taps} places in {per_group} channels; those of a channel share their weights"
            ))
            .parameters([weight].into_iter().chain(self.bias()), formula)
            .uses(weight, positions(&places))
    }
}

/// An array of two, where the type does not know it.
fn two<T: Copy, const AXES: usize>(each: [T; AXES]) -> [T; 2] {
    [each[0], each[AXES - 1]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use cortical_neuron::Params;
    use cortical_tensor::{Seed, ops::max_pool2d};

    fn params() -> Params {
        Params::new(&Device::Cpu, Seed(1))
    }

    fn input(shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        let values: Vec<f32> = (0..n)
            .map(|i| ((i * 37 % 101) as f32) / 50.0 - 1.0)
            .collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn options_reach_the_operation_and_weights_have_pytorch_s_names_shapes_and_bounds() {
        let params = params();
        let layer = Conv2d::config(4, 6, [3, 2])
            .stride([2, 1])
            .padding([1, 0])
            .dilation([1, 2])
            .groups(2)
            .build(&params.at("conv1"))
            .unwrap();
        let y = layer
            .forward(&input(&[5, 4, 9, 8]), &mut Pass::eval())
            .unwrap();
        assert_eq!(y.dims(), [5, 6, 5, 6]);
        let names: Vec<String> = params.all().iter().map(|p| p.name().to_string()).collect();
        assert_eq!(names, ["conv1.weight", "conv1.bias"]);
        let weight = params.get("conv1.weight").unwrap();
        assert_eq!(weight.dims(), [6, 2, 3, 2]);
        let largest = weight
            .tensor()
            .abs()
            .unwrap()
            .flatten_all()
            .unwrap()
            .max(0)
            .unwrap();
        let largest = largest.to_scalar::<f32>().unwrap();
        assert!(
            largest <= 1.0 / 12.0_f32.sqrt() && largest > 0.25,
            "{largest}"
        );
    }

    #[test]
    fn same_padding_keeps_the_size_of_every_axis() {
        let params = params();
        let layer = Conv3d::config(2, 3, [2, 3, 4])
            .dilation([3, 2, 1])
            .padding(Padding::Same)
            .build(&params.at("c"))
            .unwrap();
        assert_eq!(layer.options().padding, [[1, 2], [2, 2], [1, 2]]);
        let y = layer
            .forward(&input(&[1, 2, 4, 5, 6]), &mut Pass::eval())
            .unwrap();
        assert_eq!(y.dims(), [1, 3, 4, 5, 6]);
    }

    #[test]
    fn a_fused_pool_is_a_pool_behind() {
        let params = params();
        let config = Conv2d::config(2, 5, 3).activation(Activation::Relu);
        let fused = config.max_pool(2).build(&params.at("fused")).unwrap();
        let plain = config.build(&params.at("plain")).unwrap();
        for name in ["weight", "bias"] {
            let value = params.get(&format!("fused.{name}")).unwrap();
            params
                .set(&format!("plain.{name}"), value.tensor())
                .unwrap();
        }
        let x = input(&[3, 2, 8, 9]);
        let y = fused.forward(&x, &mut Pass::eval()).unwrap();
        let apart = plain.forward(&x, &mut Pass::eval()).unwrap();
        let want = max_pool2d(&apart, &MaxPoolOptions::new([2, 2])).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(y.dims(), [3, 5, 3, 3]);
        assert_eq!(flat(&y), flat(&want));
    }

    #[test]
    fn gradients_land_in_the_parameters() {
        let params = params();
        let layer = Conv1d::config(2, 3, 3).build(&params.at("c")).unwrap();
        let mut rng = params.rng("test");
        let y = layer
            .forward(&input(&[2, 2, 5]), &mut Pass::train(&mut rng))
            .unwrap();
        params.backward(&y.sum_all().unwrap()).unwrap();
        let bias = layer.bias().unwrap().grad().unwrap();
        assert_eq!(bias.to_vec1::<f32>().unwrap(), [6.0; 3]);
        assert_eq!(layer.weight().grad().unwrap().dims(), [3, 2, 3]);
    }

    #[test]
    fn what_cannot_be_is_refused_when_the_layer_is_made() {
        let message =
            |config: ConvConfig<2>| config.build(&params().at("c")).unwrap_err().to_string();
        let config = Conv2d::config(4, 6, 3);
        assert_eq!(
            message(config.stride([1, 0])),
            "stride must be at least 1, but is [1, 0]"
        );
        assert_eq!(
            message(config.groups(4)),
            "out_channels must be a multiple of groups, but is 6 with 4 groups"
        );
        assert_eq!(
            message(config.groups(0)),
            "groups must be at least 1, but is [0]"
        );
        assert_eq!(
            message(config.padding(Padding::Same).stride(2)),
            "stride must be 1 along each axis when the padding is `Same`, but is [2, 2]"
        );
        assert!(message(Conv2d::config(1 << 40, 1 << 40, 3)).contains("too large"));
        let params = params();
        let layer = config.build(&params.at("conv1")).unwrap();
        let x = Tensor::zeros((1, 4, 2, 2), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(
            layer
                .forward(&x, &mut Pass::eval())
                .unwrap_err()
                .to_string(),
            "in layer \"conv1\": conv2d: the kernel spans 3 elements but the padded input has only 2; use a smaller kernel or dilation, or more padding"
        );
    }
}

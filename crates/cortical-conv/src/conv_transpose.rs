//! Transposed convolutions: each input spread over a window of the output.

use crate::axes::{Axes, check_positive, per_group, positions, sample_axes, span};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Description, Error, Init, Layer, Param, Pass, Place, Result, View};
use cortical_tensor::ops::{self, ConvTransposeOptions};

/// The options of a [`ConvTranspose`].
#[derive(Clone, Copy, Debug)]
pub struct ConvTransposeConfig<const AXES: usize> {
    in_channels: usize,
    out_channels: usize,
    kernel_size: [usize; AXES],
    bias: bool,
    options: ConvTransposeOptions<AXES>,
}

impl<const AXES: usize> ConvTransposeConfig<AXES> {
    /// Distance between the outputs of neighbouring inputs, 1 by default.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Axes<AXES>>) -> Self {
        self.options.stride = stride.into().0;
        self
    }

    /// Elements cut from both ends of the output, none by default.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Axes<AXES>>) -> Self {
        self.options.padding = padding.into().0;
        self
    }

    /// Elements added to the end of the output, none by default; smaller than stride or dilation.
    #[must_use]
    pub fn output_padding(mut self, output_padding: impl Into<Axes<AXES>>) -> Self {
        self.options.output_padding = output_padding.into().0;
        self
    }

    /// Distance between neighbouring taps of the kernel, 1 by default.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Axes<AXES>>) -> Self {
        self.options.dilation = dilation.into().0;
        self
    }

    /// Into how many groups the channels fall that know nothing of each other, 1 by default.
    #[must_use]
    pub fn groups(mut self, groups: usize) -> Self {
        self.options.groups = groups;
        self
    }

    /// Whether each channel has a bias; it has by default.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// What becomes of the weighted sums; nothing by default.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.options.activation = activation;
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::Option`] for a 0 that must not be one, an output padding that is too large, or groups that do not
    /// divide the channels; [`Error::NameTaken`] when the place is taken, [`Error::TooLarge`].
    pub fn build(self, scope: &impl Place) -> Result<ConvTranspose<AXES>> {
        let scope = &scope.place();
        let options = self.options;
        check_positive("kernel_size", &self.kernel_size)?;
        check_positive("stride", &options.stride)?;
        check_positive("dilation", &options.dilation)?;
        for i in 0..AXES {
            if options.output_padding[i] >= options.stride[i].max(options.dilation[i]) {
                return Err(Error::Option {
                    option: "output_padding",
                    expected: "smaller than stride or dilation along each axis",
                    got: format!("{:?}", options.output_padding),
                });
            }
        }
        per_group("in_channels", self.in_channels, options.groups)?;
        let per_group_out = per_group("out_channels", self.out_channels, options.groups)?;
        let mut shape = vec![self.in_channels, per_group_out];
        shape.extend(self.kernel_size);
        // PyTorch takes the weight's second dimension for the fan-in here too, although it counts outputs.
        let weight = scope.param("weight", &shape, Init::KAIMING_UNIFORM)?;
        let fan_in = shape[1..].iter().product();
        let bias = (self.bias)
            .then(|| scope.param("bias", &[self.out_channels], Init::bias(fan_in)))
            .transpose()?;
        Ok(ConvTranspose {
            weight,
            bias,
            config: self,
            name: scope.path().to_string(),
        })
    }
}

/// `y[n, o, p · stride + t · dilation − padding] += w[c, o, t] · x[n, c, p]`, then bias and activation: PyTorch's
/// `nn.ConvTranspose1d`, `nn.ConvTranspose2d` and `nn.ConvTranspose3d` with the activation fused.
///
/// Each input is spread over a window of outputs, weighted by the kernel; `in · out / groups · kernel + out`
/// parameters, which every input multiplies with again.
///
/// # Shapes
/// - input: `[n, in_channels, …]` with `AXES` axes behind, or without `n`
/// - `weight`: `[in_channels, out_channels / groups, …kernel_size]`, `bias`: `[out_channels]`, both from
///   U(−1/√f, 1/√f) with f = out_channels / groups · kernel elements
/// - output: `[n, out_channels, …]` with
///   `(in − 1) · stride − 2 · padding + dilation · (kernel_size − 1) + output_padding + 1` along each axis
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_conv::ConvTranspose1d;
/// use cortical_neuron::{Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let up = ConvTranspose1d::config(1, 1, 2).stride(2).bias(false).build(&params.at("up"))?;
/// params.set("up.weight", &Tensor::new(&[[[1.0_f32, 10.0]]], &Device::Cpu)?)?;
/// let x = Tensor::new(&[[[1.0_f32, 2.0]]], &Device::Cpu)?;
/// let y = up.forward(&x, &mut Pass::eval())?;
/// assert_eq!(y.to_vec3::<f32>()?, [[[1.0, 10.0, 2.0, 20.0]]]);
/// # Ok(())
/// # }
/// ```
///
/// # Source
/// Zeiler et al. 2010, *Deconvolutional networks*; Dumoulin and Visin 2016, *A guide to convolution arithmetic*,
/// chapter 4.
#[derive(Clone, Debug)]
pub struct ConvTranspose<const AXES: usize> {
    weight: Param,
    bias: Option<Param>,
    config: ConvTransposeConfig<AXES>,
    name: String,
}

/// A transposed convolution over one axis: `[n, channels, length]`.
pub type ConvTranspose1d = ConvTranspose<1>;
/// A transposed convolution over height and width: `[n, channels, height, width]`.
pub type ConvTranspose2d = ConvTranspose<2>;
/// A transposed convolution over depth, height and width: `[n, channels, depth, height, width]`.
pub type ConvTranspose3d = ConvTranspose<3>;

impl<const AXES: usize> ConvTranspose<AXES> {
    /// The options of a transposed convolution from `in_channels` to `out_channels`.
    #[must_use]
    pub fn config(
        in_channels: usize,
        out_channels: usize,
        kernel_size: impl Into<Axes<AXES>>,
    ) -> ConvTransposeConfig<AXES> {
        ConvTransposeConfig {
            in_channels,
            out_channels,
            kernel_size: kernel_size.into().0,
            bias: true,
            options: ConvTransposeOptions::default(),
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

    /// Stride, padding, output padding, dilation, groups and activation.
    #[must_use]
    pub fn options(&self) -> &ConvTransposeOptions<AXES> {
        &self.config.options
    }

    /// The weights, `[in_channels, out_channels / groups, …kernel_size]`.
    #[must_use]
    pub fn weight(&self) -> &Param {
        &self.weight
    }

    /// The biases, `[out_channels]`.
    #[must_use]
    pub fn bias(&self) -> Option<&Param> {
        self.bias.as_ref()
    }
}

impl<const AXES: usize> Layer for ConvTranspose<AXES> {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let weight = self.weight.input(pass);
        let bias = self.bias.as_ref().map(|bias| bias.input(pass));
        let mut options = *self.options();
        let activation = options.activation;
        let is_apart = activation != Activation::Identity && pass.wants(View::Modules);
        if is_apart {
            options.activation = Activation::Identity;
        }
        let y = ops::conv_transpose(x, weight, bias, &options);
        let y = y.map_err(|e| Error::from(e).in_layer(&self.name))?;
        let y = pass.observe(&self.name, y)?;
        match is_apart {
            true => Ok(ops::activate(&y, activation)?),
            false => Ok(y),
        }
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let (config, options) = (&self.config, &self.config.options);
        let axes = sample_axes::<AXES>("conv_transpose", Some(config.in_channels), sample)
            .map_err(|e| e.in_layer(&self.name))?;
        let mut output = vec![config.out_channels];
        for (i, len) in axes.iter().enumerate() {
            let reach = span(config.kernel_size[i], options.dilation[i]);
            let whole = len.saturating_sub(1).saturating_mul(options.stride[i]);
            let whole = whole
                .saturating_add(reach)
                .saturating_add(options.output_padding[i]);
            output.push(whole.saturating_sub(options.padding[i].saturating_mul(2)));
        }
        let taps: usize = config.kernel_size.iter().product();
        let bias = self
            .bias
            .as_ref()
            .map_or(String::new(), |b| format!(" + {}", b.count()));
        let words = if bias.is_empty() { "" } else { " + out" };
        let formula = format!(
            "in·(out / groups)·kernel{words} = {}·{}·{taps}{bias}",
            config.in_channels,
            self.weight.dims()[1]
        );
        Description::new("ConvTranspose", &self.name, &output)
            .channels_first()
            .activation(options.activation)
            .reads(format!(
                "each input is spread over a window of {taps} places"
            ))
            .keeping_sums_of(options.activation)
            .parameters([&self.weight].into_iter().chain(&self.bias), formula)
            .uses(&self.weight, positions(&axes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use cortical_neuron::Params;
    use cortical_tensor::Seed;

    #[test]
    fn options_reach_the_operation_and_parameters_have_pytorch_s_names_and_shapes() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let layer = ConvTranspose2d::config(4, 6, 3)
            .stride(2)
            .padding([1, 0])
            .output_padding([1, 0])
            .groups(2)
            .build(&params.at("up"))
            .unwrap();
        let x = Tensor::zeros((5, 4, 4, 4), DType::F32, &Device::Cpu).unwrap();
        let y = layer.forward(&x, &mut Pass::eval()).unwrap();
        assert_eq!(y.dims(), [5, 6, 8, 9]);
        assert_eq!(params.get("up.weight").unwrap().dims(), [4, 3, 3, 3]);
        assert_eq!(params.get("up.bias").unwrap().dims(), [6]);
    }

    #[test]
    fn what_cannot_be_is_refused_when_the_layer_is_made() {
        let build = |config: ConvTransposeConfig<1>| {
            let params = Params::new(&Device::Cpu, Seed(1));
            config.build(&params.at("up")).unwrap_err().to_string()
        };
        let config = ConvTranspose1d::config(4, 6, 3);
        assert_eq!(
            build(config.output_padding(1)),
            "output_padding must be smaller than stride or dilation along each axis, but is [1]"
        );
        assert!(build(config.groups(3)).contains("in_channels must be a multiple of groups"));
        assert!(build(config.stride(0)).contains("stride must be at least 1"));
    }
}

//! Layer norm and RMS norm.

use super::Affine;
use crate::description::wrong_sample;
use crate::{Description, Error, Layer, Param, Pass, Place, Result};
use candle_core::{DType, Tensor};
use cortical_tensor::{Input, ops};

/// The options of a [`LayerNorm`].
#[derive(Clone, Debug)]
pub struct LayerNormConfig {
    shape: Vec<usize>,
    eps: f64,
    affine: bool,
    bias: bool,
}

impl LayerNormConfig {
    /// What is added to the variance; 1e-5 by default.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Whether there are a scale and a shift; there are by default.
    #[must_use]
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }

    /// Whether there is a shift beside the scale; there is by default.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::TooLarge`].
    pub fn build(self, scope: &impl Place) -> Result<LayerNorm> {
        let scope = &scope.place();
        let affine = Affine::build(scope, &self.shape, self.affine, self.affine && self.bias)?;
        Ok(LayerNorm {
            affine,
            name: scope.path().to_string(),
            config: self,
        })
    }
}

/// `y = (x − μ) / √(σ² + eps) · weight + bias` over the trailing dimensions, PyTorch's `nn.LayerNorm`.
///
/// # Shapes
/// - input and output: `[…, normalized_shape]`
/// - `weight`, `bias`: `normalized_shape`, ones and zeros at first: two parameters for each element of a row
///
/// # Source
/// Ba, Kiros and Hinton, "Layer normalization" (2016).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::{Layer, LayerNorm, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let norm = LayerNorm::config(&[2]).eps(0.0).build(&params.at("norm"))?;
/// let x = Tensor::new(&[[1.0_f32, 3.0]], &Device::Cpu)?;
/// assert_eq!(norm.forward(&x, &mut Pass::eval())?.to_vec2::<f32>()?, [[-1.0, 1.0]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct LayerNorm {
    affine: Affine,
    name: String,
    config: LayerNormConfig,
}

impl LayerNorm {
    /// The options of a layer that normalises over these trailing dimensions.
    #[must_use]
    pub fn config(normalized_shape: &[usize]) -> LayerNormConfig {
        LayerNormConfig {
            shape: normalized_shape.to_vec(),
            eps: 1e-5,
            affine: true,
            bias: true,
        }
    }
}

impl Layer for LayerNorm {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let [weight, bias] = self.affine.inputs(pass);
        let y = ops::layer_norm(x, &self.config.shape, weight, bias, self.config.eps)
            .map_err(|e| Error::from(e).in_layer(&self.name))?;
        pass.observe(&self.name, y)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        if !sample.ends_with(&self.config.shape) {
            return Err(wrong_sample(
                "norm",
                format!("[…] ending in {:?}", self.config.shape),
                sample,
            ));
        }
        let reads = "each output reads its row for the moments, and itself";
        Ok(self
            .affine
            .described("LayerNorm", &self.name, sample, reads))
    }
}

/// The options of an [`RmsNorm`].
#[derive(Clone, Debug)]
pub struct RmsNormConfig {
    shape: Vec<usize>,
    eps: f64,
    affine: bool,
    plus_one: bool,
}

impl RmsNormConfig {
    /// What is added to the mean square; 1e-5 by default, as Llama has it.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Whether there is a scale; there is by default.
    #[must_use]
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }

    /// Whether the scale is one more than `weight`, which then begins at zero, as Gemma has it; it is `weight` by
    /// default.
    #[must_use]
    pub fn plus_one(mut self, plus_one: bool) -> Self {
        self.plus_one = plus_one;
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::TooLarge`].
    pub fn build(self, scope: &impl Place) -> Result<RmsNorm> {
        let scope = &scope.place();
        let first = if self.plus_one { 0.0 } else { 1.0 };
        let weight = self.affine.then_some(first);
        let affine = Affine::build_from(scope, &self.shape, weight, false)?;
        Ok(RmsNorm {
            affine,
            name: scope.path().to_string(),
            config: self,
        })
    }
}

/// `y = x / √(mean(x²) + eps) · weight` over the trailing dimensions, PyTorch's `nn.RMSNorm`.
///
/// # Shapes
/// - input and output: `[…, normalized_shape]`
/// - `weight`: `normalized_shape`, ones at first: a parameter for each element of a row
///
/// # Source
/// Zhang and Sennrich, "Root mean square layer normalization" (2019).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::{Layer, Params, Pass, RmsNorm};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let norm = RmsNorm::config(&[2]).eps(0.0).build(&params.at("norm"))?;
/// let x = Tensor::new(&[[1.0_f32, 7.0]], &Device::Cpu)?; // mean square 25
/// assert_eq!(norm.forward(&x, &mut Pass::eval())?.to_vec2::<f32>()?, [[0.2, 1.4]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RmsNorm {
    affine: Affine,
    name: String,
    config: RmsNormConfig,
}

impl RmsNorm {
    /// The options of a layer that normalises over these trailing dimensions.
    #[must_use]
    pub fn config(normalized_shape: &[usize]) -> RmsNormConfig {
        RmsNormConfig {
            shape: normalized_shape.to_vec(),
            eps: 1e-5,
            affine: true,
            plus_one: false,
        }
    }

    /// The parameter of the scale, `normalized_shape`, if there is one.
    #[must_use]
    pub fn weight(&self) -> Option<&Param> {
        self.affine.weight.as_ref()
    }

    /// Whether the scale is one more than its parameter.
    #[must_use]
    pub fn is_plus_one(&self) -> bool {
        self.config.plus_one
    }

    /// What is added to the mean square.
    #[must_use]
    pub fn eps(&self) -> f64 {
        self.config.eps
    }

    /// The place in the model, for errors and observers.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn run(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let (shape, eps) = (&self.config.shape, self.config.eps);
        let Some(weight) = self.affine.weight.as_ref().filter(|_| self.config.plus_one) else {
            let [weight, _] = self.affine.inputs(pass);
            return Ok(ops::rms_norm(x, shape, weight, eps)?);
        };
        // A sum with a parameter is none itself: its gradient goes the ordinary way through candle's graph. Where
        // weights have 16 bits, the sum would lose most of them.
        let wide = match x.dtype() {
            DType::BF16 | DType::F16 => DType::F32,
            other => other,
        };
        let scale = weight.tracked(pass).to_dtype(wide)?.affine(1.0, 1.0)?;
        let y = ops::rms_norm(&x.to_dtype(wide)?, shape, Some(Input::from(&scale)), eps)?;
        Ok(y.to_dtype(x.dtype())?)
    }
}

impl Layer for RmsNorm {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let y = self.run(x, pass).map_err(|e| e.in_layer(&self.name))?;
        pass.observe(&self.name, y)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        if !sample.ends_with(&self.config.shape) {
            return Err(wrong_sample(
                "norm",
                format!("[…] ending in {:?}", self.config.shape),
                sample,
            ));
        }
        let reads = "each output reads its row for the moments, and itself";
        Ok(self.affine.described("RmsNorm", &self.name, sample, reads))
    }
}

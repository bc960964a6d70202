//! Group norm.

use super::{Affine, check_channels};
use crate::{Description, Error, Layer, Pass, Place, Result};
use candle_core::Tensor;
use cortical_tensor::ops;

/// The options of a [`GroupNorm`].
#[derive(Clone, Copy, Debug)]
pub struct GroupNormConfig {
    groups: usize,
    channels: usize,
    eps: f64,
    affine: bool,
}

impl GroupNormConfig {
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

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::Option`] when the groups do not divide the channels, [`Error::NameTaken`], [`Error::TooLarge`].
    pub fn build(self, scope: &impl Place) -> Result<GroupNorm> {
        let scope = &scope.place();
        if self.groups == 0 || !self.channels.is_multiple_of(self.groups) {
            let (expected, got) = ("a divisor of the channels", self.groups.to_string());
            return Err(Error::Option {
                option: "num_groups",
                expected,
                got,
            });
        }
        let affine = Affine::build(scope, &[self.channels], self.affine, self.affine)?;
        Ok(GroupNorm {
            affine,
            name: scope.path().to_string(),
            config: self,
        })
    }
}

/// `y = (x − μ) / √(σ² + eps) · weight + bias` with the moments of each group of channels in each sample, PyTorch's
/// `nn.GroupNorm`.
///
/// # Shapes
/// - input and output: `[n, channels, …]`
/// - `weight`, `bias`: `[channels]`, ones and zeros at first: `2 · channels` parameters
///
/// # Source
/// Wu and He, "Group normalization" (2018).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::{GroupNorm, Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let norm = GroupNorm::config(1, 2).eps(0.0).build(&params.at("norm"))?;
/// let x = Tensor::new(&[[1.0_f32, 3.0]], &Device::Cpu)?;
/// assert_eq!(norm.forward(&x, &mut Pass::eval())?.to_vec2::<f32>()?, [[-1.0, 1.0]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GroupNorm {
    affine: Affine,
    name: String,
    config: GroupNormConfig,
}

impl GroupNorm {
    /// The options of a layer with so many groups and channels.
    #[must_use]
    pub fn config(groups: usize, channels: usize) -> GroupNormConfig {
        GroupNormConfig {
            groups,
            channels,
            eps: 1e-5,
            affine: true,
        }
    }
}

impl Layer for GroupNorm {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let [weight, bias] = self.affine.inputs(pass);
        let y = check_channels("group_norm", x, self.config.channels)
            .and_then(|()| {
                let (groups, eps) = (self.config.groups, self.config.eps);
                Ok(ops::group_norm(x, groups, weight, bias, eps)?)
            })
            .map_err(|e| e.in_layer(&self.name))?;
        pass.observe(&self.name, y)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let reads = "each output reads its group of channels for the moments, and itself";
        self.affine.describe(
            "GroupNorm",
            &self.name,
            sample,
            (0, self.config.channels),
            reads,
        )
    }
}

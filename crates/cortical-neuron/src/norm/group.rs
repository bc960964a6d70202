//! Group norm and instance norm.

use super::Affine;
use crate::{Error, Layer, Pass, Result, Scope};
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
    pub fn build(self, scope: &Scope) -> Result<GroupNorm> {
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
/// - `weight`, `bias`: `[channels]`
///
/// # Source
/// Wu and He, "Group normalization" (2018).
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
        let y = ops::group_norm(x, self.config.groups, weight, bias, self.config.eps)
            .map_err(|e| Error::from(e).in_layer(&self.name))?;
        pass.observe(&self.name, &y);
        Ok(y)
    }
}

/// The options of an [`InstanceNorm`].
#[derive(Clone, Copy, Debug)]
pub struct InstanceNormConfig(GroupNormConfig);

impl InstanceNormConfig {
    /// What is added to the variance; 1e-5 by default.
    #[must_use]
    pub fn eps(self, eps: f64) -> Self {
        Self(self.0.eps(eps))
    }

    /// Whether there are a scale and a shift; there are none by default.
    #[must_use]
    pub fn affine(self, affine: bool) -> Self {
        Self(self.0.affine(affine))
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::Option`] for no channels, [`Error::NameTaken`], [`Error::TooLarge`].
    pub fn build(self, scope: &Scope) -> Result<InstanceNorm> {
        Ok(InstanceNorm(self.0.build(scope)?))
    }
}

/// Each channel of each sample normalised by itself, PyTorch's `nn.InstanceNorm1d`, `2d` and `3d` without running averages.
///
/// # Shapes
/// - input and output: `[n, channels, …]`
/// - `weight`, `bias`: `[channels]`, if asked for
///
/// # Source
/// Ulyanov et al., "Instance normalization" (2016).
#[derive(Clone, Debug)]
pub struct InstanceNorm(GroupNorm);

impl InstanceNorm {
    /// The options of a layer for inputs of so many channels.
    #[must_use]
    pub fn config(channels: usize) -> InstanceNormConfig {
        InstanceNormConfig(GroupNorm::config(channels, channels).affine(false))
    }
}

impl Layer for InstanceNorm {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.0.forward(x, pass)
    }
}

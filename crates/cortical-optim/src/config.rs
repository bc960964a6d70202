//! The choice of an optimizer as data.

use crate::{
    AdadeltaConfig, AdagradConfig, AdamConfig, AdamWConfig, AdamaxConfig, Engine, Group,
    NAdamConfig, Optimizer, RAdamConfig, Result, RmsPropConfig, SgdConfig,
};
use cortical_neuron::Params;
use serde::{Deserialize, Serialize};

/// An algorithm with its hyperparameters, as a recipe holds it: `{ name = "adamw", lr = 3e-4 }`. PyTorch's class names will do as well. Fields that are left out have PyTorch's
/// defaults, unknown ones are refused.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
#[non_exhaustive]
pub enum OptimizerConfig {
    /// [`AdamW`](crate::AdamW)
    #[serde(alias = "AdamW")]
    AdamW(AdamWConfig),
    /// [`Adam`](crate::Adam)
    #[serde(alias = "Adam")]
    Adam(AdamConfig),
    /// [`Sgd`](crate::Sgd)
    #[serde(alias = "SGD")]
    Sgd(SgdConfig),
    /// [`RmsProp`](crate::RmsProp)
    #[serde(alias = "RMSprop")]
    RmsProp(RmsPropConfig),
    /// [`Adagrad`](crate::Adagrad)
    #[serde(alias = "Adagrad")]
    Adagrad(AdagradConfig),
    /// [`Adadelta`](crate::Adadelta)
    #[serde(alias = "Adadelta")]
    Adadelta(AdadeltaConfig),
    /// [`Adamax`](crate::Adamax)
    #[serde(alias = "Adamax")]
    Adamax(AdamaxConfig),
    /// [`NAdam`](crate::NAdam)
    #[serde(alias = "NAdam")]
    NAdam(NAdamConfig),
    /// [`RAdam`](crate::RAdam)
    #[serde(alias = "RAdam")]
    RAdam(RAdamConfig),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::AdamW(AdamWConfig::default())
    }
}

impl OptimizerConfig {
    /// The optimizer over these parameters.
    ///
    /// # Errors
    /// As [`Engine::with_groups`].
    pub fn build(&self, params: &Params, groups: Vec<Group>) -> Result<Box<dyn Optimizer>> {
        Ok(match *self {
            Self::AdamW(config) => Box::new(Engine::with_groups(params, config, groups)?),
            Self::Adam(config) => Box::new(Engine::with_groups(params, config, groups)?),
            Self::Sgd(config) => Box::new(Engine::with_groups(params, config, groups)?),
            Self::RmsProp(config) => Box::new(Engine::with_groups(params, config, groups)?),
            Self::Adagrad(config) => Box::new(Engine::with_groups(params, config, groups)?),
            Self::Adadelta(config) => Box::new(Engine::with_groups(params, config, groups)?),
            Self::Adamax(config) => Box::new(Engine::with_groups(params, config, groups)?),
            Self::NAdam(config) => Box::new(Engine::with_groups(params, config, groups)?),
            Self::RAdam(config) => Box::new(Engine::with_groups(params, config, groups)?),
        })
    }
}

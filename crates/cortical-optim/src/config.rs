//! The choice of an optimizer as data.

use crate::algorithm::Algorithm;
use crate::{
    AdadeltaConfig, AdagradConfig, AdamConfig, AdamWConfig, AdamaxConfig, Engine, Group,
    LambConfig, LionConfig, MuonConfig, NAdamConfig, Optimizer, RAdamConfig, Result, RmsPropConfig,
    SgdConfig,
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
    /// [`Lion`](crate::Lion)
    #[serde(alias = "Lion")]
    Lion(LionConfig),
    /// [`Muon`](crate::Muon)
    #[serde(alias = "Muon")]
    Muon(MuonConfig),
    /// [`Lamb`](crate::Lamb)
    #[serde(alias = "LAMB")]
    Lamb(LambConfig),
}

/// The same for the configuration of every algorithm, whose types differ.
macro_rules! each_config {
    ($choice:expr, $config:pat => $body:expr) => {
        match $choice {
            OptimizerConfig::AdamW($config) => $body,
            OptimizerConfig::Adam($config) => $body,
            OptimizerConfig::Sgd($config) => $body,
            OptimizerConfig::RmsProp($config) => $body,
            OptimizerConfig::Adagrad($config) => $body,
            OptimizerConfig::Adadelta($config) => $body,
            OptimizerConfig::Adamax($config) => $body,
            OptimizerConfig::NAdam($config) => $body,
            OptimizerConfig::RAdam($config) => $body,
            OptimizerConfig::Lion($config) => $body,
            OptimizerConfig::Muon($config) => $body,
            OptimizerConfig::Lamb($config) => $body,
        }
    };
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::AdamW(AdamWConfig::default())
    }
}

impl OptimizerConfig {
    /// The name in a recipe.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AdamW(_) => "adamw",
            Self::Adam(_) => "adam",
            Self::Sgd(_) => "sgd",
            Self::RmsProp(_) => "rmsprop",
            Self::Adagrad(_) => "adagrad",
            Self::Adadelta(_) => "adadelta",
            Self::Adamax(_) => "adamax",
            Self::NAdam(_) => "nadam",
            Self::RAdam(_) => "radam",
            Self::Lion(_) => "lion",
            Self::Muon(_) => "muon",
            Self::Lamb(_) => "lamb",
        }
    }

    /// The base learning rate.
    #[must_use]
    pub fn lr(&self) -> f64 {
        each_config!(*self, mut config => *config.rates().lr)
    }

    /// Checks the hyperparameters.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`](crate::Error::Hyperparameter).
    pub fn validate(&self) -> Result<()> {
        each_config!(*self, config => config.validate())
    }

    /// The optimizer over these parameters.
    ///
    /// # Errors
    /// As [`Engine::with_groups`].
    pub fn build(&self, params: &Params, groups: Vec<Group>) -> Result<Box<dyn Optimizer>> {
        each_config!(*self, config => Ok(Box::new(Engine::with_groups(params, config, groups)?)))
    }
}

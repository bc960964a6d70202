//! The choice of an optimizer as data.

use crate::algorithm::Algorithm;
use crate::{
    AdadeltaConfig, AdagradConfig, AdamConfig, AdamWConfig, AdamaxConfig, AsgdConfig, Engine,
    Group, LambConfig, LionConfig, MuonConfig, NAdamConfig, Optimizer, RAdamConfig, Result,
    RmsPropConfig, SgdConfig,
};
use cortical_neuron::Params;
use cortical_settings::{OneOf, one_of};
use serde::{Deserialize, Serialize};

/// The table of optimizers: the name in a recipe, PyTorch's name, the variant and its configuration. It makes the
/// choice with all its methods; another optimizer is another line.
macro_rules! optimizers {
    ($( $name:literal | $torch:literal => $variant:ident ( $config:ty ), )+) => {
        one_of! {
            /// An algorithm with its hyperparameters, as a recipe holds it: `kind = "adamw", lr = 3e-4`. PyTorch's
            /// class names will do as well. Fields that are left out have PyTorch's defaults, unknown ones are refused.
            #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
            #[serde(tag = "name")]
            #[non_exhaustive]
            pub enum OptimizerConfig: "optimizer" {
                $(
                    #[doc = concat!("[`", stringify!($variant), "`](crate::", stringify!($variant), ")")]
                    #[serde(rename = $name, alias = $torch)]
                    $name | $torch => $variant($config),
                )+
            }
        }

        impl OptimizerConfig {
            /// The base learning rate.
            #[must_use]
            pub fn lr(&self) -> f64 {
                match *self { $( Self::$variant(mut config) => *config.rates().lr, )+ }
            }

            /// Checks the hyperparameters.
            ///
            /// # Errors
            /// [`Error::Hyperparameter`](crate::Error::Hyperparameter).
            pub fn validate(&self) -> Result<()> {
                match self { $( Self::$variant(config) => config.validate(), )+ }
            }

            /// How many numbers it keeps for each element of a parameter of this shape.
            #[must_use]
            pub fn state_count(&self, dims: &[usize]) -> usize {
                match self { $( Self::$variant(config) => config.state_names(dims).len(), )+ }
            }

            /// The optimizer over these parameters.
            ///
            /// # Errors
            /// As [`Engine::with_groups`].
            pub fn build(&self, params: &Params, groups: Vec<Group>) -> Result<Box<dyn Optimizer>> {
                match *self {
                    $( Self::$variant(config) => Ok(Box::new(Engine::with_groups(params, config, groups)?)), )+
                }
            }

            /// The algorithm of this name with PyTorch's defaults; `None` for a name that no optimizer has.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $( $name | $torch => Some(Self::$variant(<$config>::default())), )+
                    _ => None,
                }
            }
        }
    };
}

optimizers! {
    "adamw" | "AdamW" => AdamW(AdamWConfig),
    "sgd" | "SGD" => Sgd(SgdConfig),
    "adam" | "Adam" => Adam(AdamConfig),
    "nadam" | "NAdam" => NAdam(NAdamConfig),
    "radam" | "RAdam" => RAdam(RAdamConfig),
    "adamax" | "Adamax" => Adamax(AdamaxConfig),
    "adagrad" | "Adagrad" => Adagrad(AdagradConfig),
    "adadelta" | "Adadelta" => Adadelta(AdadeltaConfig),
    "rmsprop" | "RMSprop" => RmsProp(RmsPropConfig),
    "lion" | "Lion" => Lion(LionConfig),
    "muon" | "Muon" => Muon(MuonConfig),
    "lamb" | "LAMB" => Lamb(LambConfig),
    "asgd" | "ASGD" => Asgd(AsgdConfig),
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
        self.kind()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_settings::Settings;

    fn read(text: &str, base: Option<&OptimizerConfig>) -> Result<OptimizerConfig, String> {
        let table = text.parse().unwrap();
        OptimizerConfig::read("optim", &table, base).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_reads_back_what_it_writes_and_is_valid() {
        for kind in OptimizerConfig::kinds() {
            let config = OptimizerConfig::named(kind).unwrap();
            assert_eq!(config.kind(), kind);
            assert!(config.state_count(&[2, 2]) <= 3, "{kind}");
            config.validate().unwrap();
            let table = config.to_table();
            assert_eq!(OptimizerConfig::read("optim", &table, None), Ok(config));
            assert!(
                config
                    .lines("")
                    .iter()
                    .skip(1)
                    .all(|line| line.is_default && !line.remark.is_empty())
            );
        }
        assert_eq!(OptimizerConfig::named("adamv"), None);
        assert_eq!(MuonConfig::FIELDS.len(), 9);
    }

    #[test]
    fn a_table_counts_over_its_base_and_mistakes_name_the_field() {
        let base = read("kind = \"AdamW\"\nlr = 0.5", None).unwrap();
        let over = read("eps = 1", Some(&base)).unwrap();
        assert_eq!((over.lr(), over.kind()), (0.5, "adamw"));
        // Another kind begins with its own defaults.
        assert_eq!(read("kind = \"sgd\"", Some(&base)).unwrap().lr(), 1e-3);
        for (text, want) in [
            (
                "kind = \"adamv\"",
                "optim.kind: there is no optimizer \"adamv\"; did you mean \"adamw\"?",
            ),
            (
                "lrr = 1",
                "there is no field optim.lrr; did you mean optim.lr?",
            ),
            (
                "eps = -1",
                "optim.eps: expected a number from 0 up, found -1",
            ),
            (
                "betas = [0.9, 1]",
                "optim.betas: expected two shares from 0 to below 1, found [0.9, 1.0]",
            ),
            (
                "kind = \"sgd\"\nnesterov = true",
                "optim.momentum: expected above 0 with Nesterov's momentum, found 0",
            ),
            (
                "kind = \"muon\"\nothers = { eps = -1 }",
                "optim.others.eps: expected a number from 0 up, found -1",
            ),
            (
                "kind = \"muon\"\nadjust_lr_fn = \"no\"",
                "optim.adjust_lr_fn: there is no way to adjust the learning rate \"no\"; known: original, match_rms_adamw, \
                 spectral_unclamped",
            ),
        ] {
            assert_eq!(read(text, Some(&base)).unwrap_err(), want, "{text}");
        }
    }
}

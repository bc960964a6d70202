//! `dropout`, `dropout1d`, `dropout2d`, `dropout3d`, `alpha_dropout`, `feature_alpha_dropout`

use cortical_neuron::{
    AlphaDropout as AlphaDropoutLayer, Dropout as DropoutLayer, Dropout1d, Dropout2d, Dropout3d,
    FeatureAlphaDropout,
};
use cortical_settings::{Rule, rule, settings};

use super::{AnyLayer, LayerKind, Site, Width, Widths};
use crate::error::Result;

const EXAMPLE: &str = "a probability such as 0.25";

/// A probability below 1.
pub(crate) fn probability() -> Rule<f64> {
    rule("a probability from 0 to below 1", |p: &f64| {
        (0.0..1.0).contains(p)
    })
}

settings! {
    /// How much is dropped.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct Probability {
        p: f64, "the probability that a value is dropped", probability();
    }
}

/// Some values set to zero while training.
pub(super) struct Dropout;

impl LayerKind for Dropout {
    const KIND: &'static str = "dropout";
    const SUMMARY: &'static str = "some values set to zero while training";
    const SHORT: &'static str = "p";
    const EXAMPLE: &'static str = EXAMPLE;
    type Settings = Probability;

    fn build(settings: &Probability, site: &Site<'_>) -> Result<AnyLayer> {
        Ok(Box::new(DropoutLayer::new(settings.p, site.scope())?))
    }

    fn widths(_: &Probability, _: &Site<'_>, input: &Width, _: &mut Widths) -> Result<Width> {
        Ok(input.clone())
    }
}

/// Some channels set to zero while training.
pub(super) struct ChannelDropout<const AXES: usize>;

impl<const AXES: usize> LayerKind for ChannelDropout<AXES> {
    const KIND: &'static str = ["dropout1d", "dropout2d", "dropout3d"][AXES - 1];
    const SUMMARY: &'static str = "some channels set to zero while training";
    const SHORT: &'static str = "p";
    const EXAMPLE: &'static str = EXAMPLE;
    type Settings = Probability;

    fn build(settings: &Probability, site: &Site<'_>) -> Result<AnyLayer> {
        site.channels(AXES)?;
        let (p, scope) = (settings.p, site.scope());
        Ok(match AXES {
            1 => Box::new(Dropout1d::new(p, scope)?),
            2 => Box::new(Dropout2d::new(p, scope)?),
            _ => Box::new(Dropout3d::new(p, scope)?),
        })
    }

    fn widths(_: &Probability, _: &Site<'_>, input: &Width, _: &mut Widths) -> Result<Width> {
        Ok(input.clone())
    }
}

/// Dropout that keeps mean and variance, for SELU: of values or of whole channels.
pub(super) struct AlphaDropout<const CHANNELS: bool>;

impl<const CHANNELS: bool> LayerKind for AlphaDropout<CHANNELS> {
    const KIND: &'static str = ["alpha_dropout", "feature_alpha_dropout"][CHANNELS as usize];
    const SUMMARY: &'static str = [
        "dropout that keeps mean and variance, for SELU",
        "dropout of whole channels that keeps mean and variance, for SELU",
    ][CHANNELS as usize];
    const SHORT: &'static str = "p";
    const EXAMPLE: &'static str = EXAMPLE;
    type Settings = Probability;

    fn build(settings: &Probability, site: &Site<'_>) -> Result<AnyLayer> {
        let (p, scope) = (settings.p, site.scope());
        Ok(match CHANNELS {
            false => Box::new(AlphaDropoutLayer::new(p, scope)?),
            true => Box::new(FeatureAlphaDropout::new(p, scope)?),
        })
    }

    fn widths(_: &Probability, _: &Site<'_>, input: &Width, _: &mut Widths) -> Result<Width> {
        Ok(input.clone())
    }
}

//! `activation`, `prelu`, `rrelu`, `glu`, `softmax`, `log_softmax`, `softmin`

use cortical_kernels::activation::Activation;
use cortical_neuron::{
    Glu as GluLayer, PRelu as PReluLayer, RRelu as RReluLayer, Softmax as SoftmaxLayer,
};
use cortical_settings::{Broken, at_least, settings};
use toml::Value;

use super::{AnyLayer, LayerKind, Shapes, Site, Width, Widths};
use crate::activations::ActivationSetting;
use crate::error::Result;

settings! {
    /// Which function.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct ActivateSettings {
        activation: ActivationSetting, "the function";
    }
}

/// A function of each value.
pub(super) struct Activate;

impl LayerKind for Activate {
    const KIND: &'static str = "activation";
    const SUMMARY: &'static str = "a function of each value";
    const SHORT: &'static str = "activation";
    const EXAMPLE: &'static str = "text in quotes";
    type Settings = ActivateSettings;

    fn is_short(value: &Value) -> bool {
        // The short form may be a table itself: `{ activation = { leaky_relu = 0.2 } }`.
        let settings = value.as_table();
        !settings.is_some_and(|table| {
            table.is_empty() || table.contains_key(Self::SHORT) || table.contains_key("name")
        })
    }

    fn build(settings: &ActivateSettings, _: &Site<'_>) -> Result<AnyLayer> {
        Ok(Box::new(settings.activation.0))
    }

    fn widths(_: &ActivateSettings, _: &Site<'_>, input: &Width, _: &mut Widths) -> Result<Width> {
        Ok(input.clone())
    }
}

settings! {
    /// The settings of a PReLU.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct PReluSettings {
        num_parameters: usize = 1, "1, or the number of channels for a slope of each", at_least(1);
        init: f64 = 0.25, "the slopes at first";
    }
}

/// ReLU with learned slopes for negative numbers.
pub(super) struct PRelu;

impl LayerKind for PRelu {
    const KIND: &'static str = "prelu";
    const SUMMARY: &'static str = "ReLU with learned slopes for negative numbers";
    const PREFIX: &'static str = "prelu";
    const SHORT: &'static str = "num_parameters";
    const EXAMPLE: &'static str = "settings such as { num_parameters = 32, init = 0.25 }";
    type Settings = PReluSettings;

    fn build(settings: &PReluSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let (slopes, channels) = (settings.num_parameters, site.input()[0]);
        if slopes != 1 && slopes != channels {
            let expected =
                format!("[{slopes}, …], as there is a slope for each of {slopes} channels");
            return Err(site.wrong_input(
                expected,
                "set num_parameters to 1 or to the number of channels",
            ));
        }
        Ok(Box::new(PReluLayer::new(
            slopes,
            settings.init,
            site.scope(),
        )?))
    }

    fn widths(
        settings: &PReluSettings,
        site: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        match (settings.num_parameters, input.axis()) {
            (1, _) => {}
            (_, 0) => all.follows(site, &["weight"], 0, input),
            _ => all.fix(input),
        }
        Ok(input.clone())
    }

    fn narrow(settings: &mut PReluSettings, place: &str, shapes: Shapes<'_>) -> Result<()> {
        let slopes = shapes.length(place, "weight", 0);
        settings.num_parameters = slopes.unwrap_or(settings.num_parameters);
        Ok(())
    }
}

settings! {
    /// The settings of an RReLU.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct RReluSettings {
        lower: f64 = 0.125, "the smallest slope";
        upper: f64 = 1.0 / 3.0, "the largest slope";
    }
    check = |s| (s.lower > s.upper).then(|| Broken::new("lower", "at most upper", s.lower));
}

/// ReLU with random slopes for negative numbers.
pub(super) struct RRelu;

impl LayerKind for RRelu {
    const KIND: &'static str = "rrelu";
    const SUMMARY: &'static str =
        "ReLU with slopes for negative numbers that are random while training";
    const EXAMPLE: &'static str = "settings such as { lower = 0.1, upper = 0.3 }";
    type Settings = RReluSettings;

    fn build(settings: &RReluSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let (lower, upper) = (settings.lower, settings.upper);
        Ok(Box::new(RReluLayer::new(lower, upper, site.scope())?))
    }

    fn widths(_: &RReluSettings, _: &Site<'_>, input: &Width, _: &mut Widths) -> Result<Width> {
        Ok(input.clone())
    }
}

settings! {
    /// The settings of a gated linear unit.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct GluSettings {
        dim: i64 = -1, "the dimension one half of which gates the other, the batch being 0";
        gate: ActivationSetting = ActivationSetting(Activation::Sigmoid), "what the gate does with it";
    }
}

/// One half of a dimension gates the other.
pub(super) struct Glu;

impl LayerKind for Glu {
    const KIND: &'static str = "glu";
    const SUMMARY: &'static str = "one half of a dimension lets the other through";
    const SHORT: &'static str = "dim";
    const EXAMPLE: &'static str = "a dimension, or { dim = 1, gate = \"silu\" }";
    type Settings = GluSettings;

    fn build(settings: &GluSettings, site: &Site<'_>) -> Result<AnyLayer> {
        site.check_dimension(settings.dim)?;
        Ok(Box::new(GluLayer::new(settings.dim).gate(settings.gate.0)))
    }
}

settings! {
    /// Along which dimension.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct Along {
        dim: i64 = -1, "the dimension whose shares add up to 1, the batch being 0";
    }
}

/// What becomes of scores.
pub(super) const SHARES: usize = 0;
pub(super) const LOGARITHMS: usize = 1;
pub(super) const OF_NEGATED: usize = 2;

/// Scores as shares, or the logarithms of those, or shares of the negated scores.
pub(super) struct Softmax<const OF: usize>;

impl<const OF: usize> LayerKind for Softmax<OF> {
    const KIND: &'static str = ["softmax", "log_softmax", "softmin"][OF];
    const SUMMARY: &'static str = [
        "scores as shares that add up to 1",
        "the logarithms of the shares that softmax gives",
        "the softmax of the negated scores",
    ][OF];
    const SHORT: &'static str = "dim";
    const EXAMPLE: &'static str = "a dimension such as -1";
    type Settings = Along;

    fn build(settings: &Along, site: &Site<'_>) -> Result<AnyLayer> {
        site.check_dimension(settings.dim)?;
        let layer = [SoftmaxLayer::new, SoftmaxLayer::log, SoftmaxLayer::min][OF];
        Ok(Box::new(layer(settings.dim)))
    }

    fn widths(_: &Along, _: &Site<'_>, input: &Width, all: &mut Widths) -> Result<Width> {
        Ok(all.kept(input))
    }
}

//! `batch_norm`, `layer_norm`, `group_norm`, `instance_norm`, `rms_norm`

use cortical_neuron::{
    BatchNorm as BatchNormLayer, GroupNorm as GroupNormLayer, InstanceNorm as InstanceNormLayer,
    LayerNorm as LayerNormLayer, RmsNorm as RmsNormLayer,
};
use cortical_settings::{at_least, positive, settings, share};

use super::{AnyLayer, LayerKind, Site, Width, Widths};
use crate::activations::ActivationSetting;
use crate::error::Result;

settings! {
    /// The settings of a batch norm.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct BatchNormSettings {
        pub(super) activation: ActivationSetting = ActivationSetting::default(), "what is done to each value afterwards";
        eps: f64 = 1e-5, "what is added to the variance", positive();
        momentum: f64 = 0.1, "how far the running averages move towards each batch", share();
        affine: bool = true, "whether there are a scale and a shift for each channel";
        track_running_stats: bool = true, "whether running averages are kept, for evaluation";
    }
}

/// Each channel brought to mean 0 and variance 1 over the batch.
pub(super) struct BatchNorm;

impl BatchNorm {
    /// The layer, with this activation in the place of its own.
    pub(super) fn make(
        settings: &BatchNormSettings,
        activation: ActivationSetting,
        site: &Site<'_>,
    ) -> Result<BatchNormLayer> {
        let config = BatchNormLayer::config(site.trailing(site.input().len())?[0])
            .activation(activation.0)
            .eps(settings.eps)
            .momentum(Some(settings.momentum))
            .affine(settings.affine)
            .track_running_stats(settings.track_running_stats);
        Ok(config.build(site.scope())?)
    }
}

impl LayerKind for BatchNorm {
    const KIND: &'static str = "batch_norm";
    const SUMMARY: &'static str = "each channel brought to mean 0 and variance 1 over the batch";
    const PREFIX: &'static str = "bn";
    const EXAMPLE: &'static str = "settings such as { activation = \"relu\" }";
    const LATER: &'static [&'static str] = &["eps", "momentum", "affine", "track_running_stats"];
    type Settings = BatchNormSettings;

    fn build(settings: &BatchNormSettings, site: &Site<'_>) -> Result<AnyLayer> {
        Ok(Box::new(Self::make(settings, settings.activation, site)?))
    }

    fn widths(
        settings: &BatchNormSettings,
        site: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        if input.axis() != 0 {
            return Ok(all.kept(input));
        }
        Ok(of_channels(
            site,
            input,
            all,
            settings.affine,
            settings.track_running_stats,
        ))
    }
}

settings! {
    /// The settings of a layer norm.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct LayerNormSettings {
        axes: usize = 1, "how many axes at the end are normalised together", at_least(1);
        eps: f64 = 1e-5, "what is added to the variance", positive();
        affine: bool = true, "whether there are a scale and a shift for each element";
        bias: bool = true, "whether there is a shift beside the scale";
    }
}

/// The last axes of each sample brought to mean 0 and variance 1.
pub(super) struct LayerNorm;

impl LayerKind for LayerNorm {
    const KIND: &'static str = "layer_norm";
    const SUMMARY: &'static str = "the last axes of each sample brought to mean 0 and variance 1";
    const PREFIX: &'static str = "ln";
    const EXAMPLE: &'static str = "settings such as { axes = 1, eps = 1e-5 }";
    type Settings = LayerNormSettings;

    fn build(settings: &LayerNormSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let config = LayerNormLayer::config(site.trailing(settings.axes)?)
            .eps(settings.eps)
            .affine(settings.affine)
            .bias(settings.bias);
        Ok(Box::new(config.build(site.scope())?))
    }

    fn widths(
        _: &LayerNormSettings,
        _: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        Ok(all.kept(input))
    }
}

settings! {
    /// The settings of an RMS norm.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct RmsNormSettings {
        axes: usize = 1, "how many axes at the end are normalised together", at_least(1);
        eps: f64 = 1e-5, "what is added to the mean square", positive();
        affine: bool = true, "whether there is a scale for each element";
    }
}

/// The last axes of each sample brought to mean square 1.
pub(super) struct RmsNorm;

impl LayerKind for RmsNorm {
    const KIND: &'static str = "rms_norm";
    const SUMMARY: &'static str = "the last axes of each sample brought to mean square 1";
    const PREFIX: &'static str = "rms";
    const EXAMPLE: &'static str = "settings such as { axes = 1, eps = 1e-5 }";
    type Settings = RmsNormSettings;

    fn build(settings: &RmsNormSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let config = RmsNormLayer::config(site.trailing(settings.axes)?)
            .eps(settings.eps)
            .affine(settings.affine);
        Ok(Box::new(config.build(site.scope())?))
    }

    fn widths(_: &RmsNormSettings, _: &Site<'_>, input: &Width, all: &mut Widths) -> Result<Width> {
        Ok(all.kept(input))
    }
}

settings! {
    /// The settings of a group norm.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct GroupNormSettings {
        num_groups: usize, "groups of channels that are normalised together", at_least(1);
        eps: f64 = 1e-5, "what is added to the variance", positive();
        affine: bool = true, "whether there are a scale and a shift for each channel";
    }
}

/// Groups of channels of each sample brought to mean 0 and variance 1.
pub(super) struct GroupNorm;

impl LayerKind for GroupNorm {
    const KIND: &'static str = "group_norm";
    const SUMMARY: &'static str =
        "groups of channels of each sample brought to mean 0 and variance 1";
    const PREFIX: &'static str = "gn";
    const SHORT: &'static str = "num_groups";
    const EXAMPLE: &'static str = "a number of groups, or { num_groups = 4, affine = false }";
    type Settings = GroupNormSettings;

    fn build(settings: &GroupNormSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let channels = site.trailing(site.input().len())?[0];
        let config = GroupNormLayer::config(settings.num_groups, channels)
            .eps(settings.eps)
            .affine(settings.affine);
        Ok(Box::new(config.build(site.scope())?))
    }

    fn widths(
        _: &GroupNormSettings,
        _: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        Ok(all.kept(input))
    }
}

settings! {
    /// The settings of an instance norm.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct InstanceNormSettings {
        eps: f64 = 1e-5, "what is added to the variance", positive();
        momentum: f64 = 0.1, "how far the running averages move towards each batch", share();
        affine: bool = false, "whether there are a scale and a shift for each channel";
        track_running_stats: bool = false, "whether running averages are kept, for evaluation";
    }
}

/// Each channel of each sample brought to mean 0 and variance 1.
pub(super) struct InstanceNorm;

impl LayerKind for InstanceNorm {
    const KIND: &'static str = "instance_norm";
    const SUMMARY: &'static str = "each channel of each sample brought to mean 0 and variance 1";
    const PREFIX: &'static str = "in";
    const EXAMPLE: &'static str = "settings such as { affine = true }";
    type Settings = InstanceNormSettings;

    fn build(settings: &InstanceNormSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let [channels, _, ..] = *site.input() else {
            return Err(site.wrong_input("[channels, …] with axes behind", Self::ADVICE));
        };
        let config = InstanceNormLayer::config(channels)
            .eps(settings.eps)
            .momentum(Some(settings.momentum))
            .affine(settings.affine)
            .track_running_stats(settings.track_running_stats);
        Ok(Box::new(config.build(site.scope())?))
    }

    fn widths(
        settings: &InstanceNormSettings,
        site: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        if (input.axis(), input.each()) != (0, 1) {
            return Ok(all.kept(input));
        }
        Ok(of_channels(
            site,
            input,
            all,
            settings.affine,
            settings.track_running_stats,
        ))
    }
}

/// What a norm of channels keeps of each goes with the channel: scale and shift, running mean and variance.
fn of_channels(
    site: &Site<'_>,
    input: &Width,
    all: &mut Widths,
    affine: bool,
    tracks: bool,
) -> Width {
    if affine {
        all.follows(site, &["weight", "bias"], 0, input);
    }
    if tracks {
        all.follows(site, &["running_mean", "running_var"], 0, input);
    }
    input.clone()
}

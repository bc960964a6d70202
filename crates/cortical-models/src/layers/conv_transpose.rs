//! `conv_transpose1d`, `conv_transpose2d`, `conv_transpose3d`

use cortical_conv::ConvTranspose as ConvTransposeLayer;
use cortical_settings::{Broken, at_least, settings};

use super::per_axis::{PerAxis, check_axes, positive_sizes};
use super::{AnyLayer, LayerKind, Shapes, Site, Width, Widths};
use crate::activations::ActivationSetting;
use crate::error::Result;

settings! {
    /// The settings of a transposed convolution.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct ConvTransposeSettings {
        out_channels: usize, "number of channels of the output", at_least(1);
        kernel_size: PerAxis<usize>, "size of a filter along each axis", positive_sizes();
        stride: PerAxis<usize> = PerAxis::all(1), "steps between the outputs of neighbouring inputs", positive_sizes();
        padding: PerAxis<usize> = PerAxis::all(0), "elements cut from each edge of the output";
        output_padding: PerAxis<usize> = PerAxis::all(0), "elements added to the end of the output";
        dilation: PerAxis<usize> = PerAxis::all(1), "steps between neighbouring outputs of a filter", positive_sizes();
        groups: usize = 1, "groups of channels that know nothing of each other", at_least(1);
        bias: bool = true, "whether there is a bias for each channel";
        activation: ActivationSetting = ActivationSetting::default(), "what becomes of the sums";
    }
}

/// A transposed convolution over so many axes.
pub(super) struct ConvTranspose<const AXES: usize>;

impl<const AXES: usize> LayerKind for ConvTranspose<AXES> {
    const KIND: &'static str =
        ["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"][AXES - 1];
    const SUMMARY: &'static str = [
        "a transposed convolution over [channels, length]",
        "a transposed convolution over [channels, height, width]",
        "a transposed convolution over [channels, depth, height, width]",
    ][AXES - 1];
    const PREFIX: &'static str = "deconv";
    const EXAMPLE: &'static str =
        "settings such as { out_channels = 32, kernel_size = 2, stride = 2 }";
    const ADVICE: &'static str = "use less padding or a larger window";
    type Settings = ConvTransposeSettings;

    fn broken(settings: &ConvTransposeSettings) -> Option<Broken> {
        let fields = [
            ("kernel_size", Some(&settings.kernel_size)),
            ("stride", Some(&settings.stride)),
            ("padding", Some(&settings.padding)),
            ("output_padding", Some(&settings.output_padding)),
            ("dilation", Some(&settings.dilation)),
        ];
        check_axes(AXES, &fields)
    }

    fn build(settings: &ConvTransposeSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let channels = site.channels(AXES)?;
        let kernel_size: [usize; AXES] = settings.kernel_size.each();
        let config = ConvTransposeLayer::config(channels, settings.out_channels, kernel_size)
            .stride(settings.stride.each::<AXES>())
            .padding(settings.padding.each::<AXES>())
            .output_padding(settings.output_padding.each::<AXES>())
            .dilation(settings.dilation.each::<AXES>())
            .groups(settings.groups)
            .bias(settings.bias)
            .activation(settings.activation.0);
        Ok(Box::new(config.build(site.scope())?))
    }

    fn widths(
        settings: &ConvTransposeSettings,
        site: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        let neurons = all.neurons(settings.out_channels);
        if settings.groups == 1 && input.axis() == 0 {
            all.reads(site, &["weight"], 0, input);
            all.makes(site, &["weight"], 1, &neurons);
            if settings.bias {
                all.makes(site, &["bias"], 0, &neurons);
            }
        } else {
            all.fix(input);
            all.fix(&neurons);
        }
        Ok(neurons)
    }

    fn narrow(settings: &mut ConvTransposeSettings, place: &str, shapes: Shapes<'_>) -> Result<()> {
        if let (Some(channels), 1) = (shapes.length(place, "weight", 1), settings.groups) {
            settings.out_channels = channels;
        }
        Ok(())
    }
}

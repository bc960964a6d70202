//! `conv1d`, `conv2d`, `conv3d`

use cortical_conv::{Conv as ConvLayer, ConvConfig, Padding, PaddingMode};
use cortical_settings::{Broken, at_least, choice, settings};

use super::per_axis::{PerAxis, Surround, check_axes, positive_sizes};
use super::{AnyLayer, LayerKind, Shapes, Site, Width, Widths};
use crate::activations::ActivationSetting;
use crate::error::Result;

choice! {
    /// What stands in the padding.
    #[derive(Debug)]
    pub(super) enum Edges: "padding mode" {
        Zeros = "zeros",
        Reflect = "reflect",
        Replicate = "replicate",
        Circular = "circular",
    }
}

settings! {
    /// The settings of a convolution.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct ConvSettings {
        out_channels: usize, "number of filters", at_least(1);
        kernel_size: PerAxis<usize>, "size of a filter along each axis", positive_sizes();
        stride: PerAxis<usize> = PerAxis::all(1), "steps between neighbouring outputs", positive_sizes();
        padding: Surround = Surround::Both(PerAxis::all(0)), "elements added at each edge, or \"same\" to keep the size";
        padding_mode: Edges = Edges::Zeros, "zeros, reflect, replicate or circular";
        dilation: PerAxis<usize> = PerAxis::all(1), "steps between neighbouring inputs of a filter", positive_sizes();
        groups: usize = 1, "groups of channels that know nothing of each other", at_least(1);
        bias: bool = true, "whether there is a bias for each filter";
        activation: ActivationSetting = ActivationSetting::default(), "what each neuron does with its sum";
        max_pool: Option<usize>, "size of the max pooling that follows, in the same operation", at_least(1).optional();
    }
    check = |s| (s.padding == Surround::Same && s.stride.given().iter().any(|n| *n != 1)).then(|| {
        Broken::new("padding", "numbers where the stride is not 1", "\"same\"")
    });
}

/// A convolution over so many axes.
pub(super) struct Conv<const AXES: usize>;

impl<const AXES: usize> LayerKind for Conv<AXES>
where
    ConvConfig<AXES>: Pooled,
{
    const KIND: &'static str = ["conv1d", "conv2d", "conv3d"][AXES - 1];
    const SUMMARY: &'static str = [
        "a convolution over [channels, length]",
        "a convolution over [channels, height, width]",
        "a convolution over [channels, depth, height, width]",
    ][AXES - 1];
    const PREFIX: &'static str = "conv";
    const EXAMPLE: &'static str = "settings such as { out_channels = 32, kernel_size = 3 }";
    const ADVICE: &'static str = "use a smaller window, more padding or fewer pools before it";
    const LATER: &'static [&'static str] = &["padding_mode", "dilation", "groups"];
    type Settings = ConvSettings;

    fn broken(settings: &ConvSettings) -> Option<Broken> {
        if let (Some(size), true) = (settings.max_pool, AXES != 2) {
            return Some(Broken::new(
                "max_pool",
                "none, as only conv2d has a pool of its own",
                size,
            ));
        }
        let fields = [
            ("kernel_size", Some(&settings.kernel_size)),
            ("stride", Some(&settings.stride)),
            ("padding", settings.padding.sizes()),
            ("dilation", Some(&settings.dilation)),
        ];
        check_axes(AXES, &fields)
    }

    fn build(settings: &ConvSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let channels = site.channels(AXES)?;
        let kernel_size: [usize; AXES] = settings.kernel_size.each();
        let padding = match &settings.padding {
            Surround::Both(sizes) => Padding::Both(sizes.each::<AXES>()),
            Surround::Same => Padding::Same,
        };
        if let Some(expected) = short_of_padding(settings, site.trailing(AXES)?) {
            return Err(site.wrong_input(expected, Self::ADVICE));
        }
        let mode = match settings.padding_mode {
            Edges::Zeros => PaddingMode::Zeros,
            Edges::Reflect => PaddingMode::Reflect,
            Edges::Replicate => PaddingMode::Replicate,
            Edges::Circular => PaddingMode::Circular,
        };
        let config = ConvLayer::config(channels, settings.out_channels, kernel_size)
            .stride(settings.stride.each::<AXES>())
            .padding(padding)
            .padding_mode(mode)
            .dilation(settings.dilation.each::<AXES>())
            .groups(settings.groups)
            .bias(settings.bias)
            .activation(settings.activation.0)
            .pooled(settings.max_pool);
        Ok(Box::new(config.build(site.scope())?))
    }

    fn widths(
        settings: &ConvSettings,
        site: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        let tensors: &[&str] = if settings.bias {
            &["weight", "bias"]
        } else {
            &["weight"]
        };
        let channels = site.channels(AXES)?;
        if (input.axis(), input.each()) == (0, 1) && is_depthwise(settings, channels) {
            all.follows(site, tensors, 0, input);
            return Ok(input.clone());
        }
        let neurons = all.neurons(settings.out_channels);
        all.makes(site, tensors, 0, &neurons);
        match settings.groups {
            1 if input.axis() == 0 => all.reads(site, &["weight"], 1, input),
            1 => all.fix(input),
            // Each group reads channels of its own: as many have to stay in each.
            _ => {
                all.fix(input);
                all.fix(&neurons);
            }
        }
        Ok(neurons)
    }

    fn narrow(settings: &mut ConvSettings, place: &str, shapes: Shapes<'_>) -> Result<()> {
        if let Some(channels) = shapes.length(place, "weight", 0) {
            if settings.groups == settings.out_channels && settings.groups > 1 {
                settings.groups = channels;
            }
            settings.out_channels = channels;
        }
        Ok(())
    }
}

/// Whether each channel has a filter of its own and no filter another channel.
fn is_depthwise(settings: &ConvSettings, channels: usize) -> bool {
    settings.groups > 1 && settings.groups == channels && settings.out_channels == channels
}

/// What is expected of axes that are too short to stand in their own padding.
fn short_of_padding(settings: &ConvSettings, axes: &[usize]) -> Option<&'static str> {
    let at = |sizes: &PerAxis<usize>, i: usize| {
        let given = sizes.given();
        given.get(i).copied().unwrap_or(given[0])
    };
    let padding = |i: usize| match &settings.padding {
        Surround::Both(sizes) => at(sizes, i),
        Surround::Same => {
            let reach =
                (at(&settings.kernel_size, i) - 1).saturating_mul(at(&settings.dilation, i));
            reach.div_ceil(2)
        }
    };
    let mut axes = axes.iter().enumerate();
    match settings.padding_mode {
        Edges::Reflect if axes.any(|(i, len)| padding(i) >= *len) => {
            Some("axes longer than their padding, as it is reflected")
        }
        Edges::Circular if axes.any(|(i, len)| padding(i) > *len) => {
            Some("axes at least as long as their padding, as it is the other end")
        }
        _ => None,
    }
}

/// A convolution that may have a max pool of its own.
pub(super) trait Pooled {
    /// The same with such a pool, where there can be one.
    #[must_use]
    fn pooled(self, size: Option<usize>) -> Self;
}

impl Pooled for ConvConfig<1> {
    fn pooled(self, _: Option<usize>) -> Self {
        self
    }
}

impl Pooled for ConvConfig<2> {
    fn pooled(self, size: Option<usize>) -> Self {
        match size {
            Some(size) => self.max_pool(size),
            None => self,
        }
    }
}

impl Pooled for ConvConfig<3> {
    fn pooled(self, _: Option<usize>) -> Self {
        self
    }
}

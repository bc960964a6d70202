//! Pools: `max_pool2d`, `avg_pool2d`, `adaptive_avg_pool2d`, `global_avg_pool` and their kin.

use cortical_conv::{
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool1d, AdaptiveMaxPool2d,
    AdaptiveMaxPool3d, AvgPool as AvgPoolLayer, MaxPool as MaxPoolLayer,
};
use cortical_neuron::{Flatten, Sequential};
use cortical_settings::{Broken, at_least, settings};

use super::per_axis::{PerAxis, check_axes, positive_sizes};
use super::{AnyLayer, LayerKind, Site, Width, Widths};
use crate::error::Result;

const WINDOW: &str = "use a smaller window, more padding or fewer pools before it";
const EXAMPLE: &str = "a size, or { kernel_size = 2, stride = 2 }";

settings! {
    /// The settings of a max pool.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct MaxPoolSettings {
        kernel_size: PerAxis<usize>, "size of a window along each axis", positive_sizes();
        stride: Option<PerAxis<usize>>, "steps between neighbouring windows; as large as a window by default", positive_sizes().optional();
        padding: PerAxis<usize> = PerAxis::all(0), "elements around the input, which never win";
        dilation: PerAxis<usize> = PerAxis::all(1), "steps between neighbouring inputs of a window", positive_sizes();
        ceil_mode: bool = false, "whether a last window may hang over the end";
    }
}

/// What is wrong with windows: sizes that are not for so many axes, or padding that reaches further than half of a
/// window, from which no input would be seen.
fn broken_window<const AXES: usize>(
    kernel_size: &PerAxis<usize>,
    stride: Option<&PerAxis<usize>>,
    padding: &PerAxis<usize>,
    dilation: Option<&PerAxis<usize>>,
) -> Option<Broken> {
    let fields = [
        ("kernel_size", Some(kernel_size)),
        ("stride", stride),
        ("padding", Some(padding)),
        ("dilation", dilation),
    ];
    check_axes(AXES, &fields).or_else(|| {
        let (kernel_size, padding) = (kernel_size.each::<AXES>(), padding.each::<AXES>());
        let dilation = dilation.map_or([1; AXES], PerAxis::each);
        (0..AXES).find_map(|i| {
            let span = (kernel_size[i] - 1)
                .saturating_mul(dilation[i])
                .saturating_add(1);
            let half = span / 2;
            let expected = || format!("at most {half}, half of the window");
            (padding[i] > half).then(|| Broken::new("padding", expected(), padding[i]))
        })
    })
}

/// A max pool over so many axes.
pub(super) struct MaxPool<const AXES: usize>;

impl<const AXES: usize> LayerKind for MaxPool<AXES> {
    const KIND: &'static str = ["max_pool1d", "max_pool2d", "max_pool3d"][AXES - 1];
    const SUMMARY: &'static str = [
        "the largest value of each window of [channels, length]",
        "the largest value of each window of [channels, height, width]",
        "the largest value of each window of [channels, depth, height, width]",
    ][AXES - 1];
    const SHORT: &'static str = "kernel_size";
    const EXAMPLE: &'static str = EXAMPLE;
    const ADVICE: &'static str = WINDOW;
    const LATER: &'static [&'static str] = &["padding", "dilation", "ceil_mode"];
    type Settings = MaxPoolSettings;

    fn complete(settings: &mut MaxPoolSettings) {
        settings
            .stride
            .get_or_insert_with(|| settings.kernel_size.clone());
    }

    fn broken(settings: &MaxPoolSettings) -> Option<Broken> {
        broken_window::<AXES>(
            &settings.kernel_size,
            settings.stride.as_ref(),
            &settings.padding,
            Some(&settings.dilation),
        )
    }

    fn build(settings: &MaxPoolSettings, site: &Site<'_>) -> Result<AnyLayer> {
        site.channels(AXES)?;
        let stride = settings.stride.as_ref().unwrap_or(&settings.kernel_size);
        let config = MaxPoolLayer::<AXES>::config(settings.kernel_size.each::<AXES>())
            .stride(stride.each::<AXES>())
            .padding(settings.padding.each::<AXES>())
            .dilation(settings.dilation.each::<AXES>())
            .ceil_mode(settings.ceil_mode);
        Ok(Box::new(config.build()?))
    }

    fn widths(_: &MaxPoolSettings, _: &Site<'_>, input: &Width, all: &mut Widths) -> Result<Width> {
        Ok(all.channels(input))
    }
}

settings! {
    /// The settings of an average pool.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct AvgPoolSettings {
        kernel_size: PerAxis<usize>, "size of a window along each axis", positive_sizes();
        stride: Option<PerAxis<usize>>, "steps between neighbouring windows; as large as a window by default", positive_sizes().optional();
        padding: PerAxis<usize> = PerAxis::all(0), "zeros around the input";
        ceil_mode: bool = false, "whether a last window may hang over the end";
        count_include_pad: bool = true, "whether the zeros around the input count in the mean";
        divisor_override: Option<usize>, "what to divide by instead of the number of elements", at_least(1).optional();
    }
}

/// An average pool over so many axes.
pub(super) struct AvgPool<const AXES: usize>;

impl<const AXES: usize> LayerKind for AvgPool<AXES> {
    const KIND: &'static str = ["avg_pool1d", "avg_pool2d", "avg_pool3d"][AXES - 1];
    const SUMMARY: &'static str = [
        "the mean of each window of [channels, length]",
        "the mean of each window of [channels, height, width]",
        "the mean of each window of [channels, depth, height, width]",
    ][AXES - 1];
    const SHORT: &'static str = "kernel_size";
    const EXAMPLE: &'static str = EXAMPLE;
    const ADVICE: &'static str = WINDOW;
    type Settings = AvgPoolSettings;

    fn complete(settings: &mut AvgPoolSettings) {
        settings
            .stride
            .get_or_insert_with(|| settings.kernel_size.clone());
    }

    fn broken(settings: &AvgPoolSettings) -> Option<Broken> {
        broken_window::<AXES>(
            &settings.kernel_size,
            settings.stride.as_ref(),
            &settings.padding,
            None,
        )
    }

    fn build(settings: &AvgPoolSettings, site: &Site<'_>) -> Result<AnyLayer> {
        site.channels(AXES)?;
        let stride = settings.stride.as_ref().unwrap_or(&settings.kernel_size);
        let mut config = AvgPoolLayer::<AXES>::config(settings.kernel_size.each::<AXES>())
            .stride(stride.each::<AXES>())
            .padding(settings.padding.each::<AXES>())
            .ceil_mode(settings.ceil_mode)
            .count_include_pad(settings.count_include_pad);
        if let Some(divisor) = settings.divisor_override {
            config = config.divisor_override(divisor);
        }
        Ok(Box::new(config.build()?))
    }

    fn widths(_: &AvgPoolSettings, _: &Site<'_>, input: &Width, all: &mut Widths) -> Result<Width> {
        Ok(all.channels(input))
    }
}

settings! {
    /// The settings of a pool whose windows are cut so that the output has a given size.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct AdaptiveSettings {
        output_size: PerAxis<usize>, "size of the output along each axis", positive_sizes();
    }
}

/// What a pool makes of a window.
pub(super) const AVG: bool = false;
pub(super) const MAX: bool = true;

/// An adaptive pool over so many axes.
pub(super) struct AdaptivePool<const AXES: usize, const OF: bool>;

impl<const AXES: usize, const OF: bool> LayerKind for AdaptivePool<AXES, OF> {
    const KIND: &'static str = [
        [
            "adaptive_avg_pool1d",
            "adaptive_avg_pool2d",
            "adaptive_avg_pool3d",
        ],
        [
            "adaptive_max_pool1d",
            "adaptive_max_pool2d",
            "adaptive_max_pool3d",
        ],
    ][OF as usize][AXES - 1];
    const SUMMARY: &'static str = [
        "the mean of windows cut so that the output has a given size",
        "the largest value of windows cut so that the output has a given size",
    ][OF as usize];
    const SHORT: &'static str = "output_size";
    const EXAMPLE: &'static str = "the size of the output, one number or one for each axis";
    type Settings = AdaptiveSettings;

    fn broken(settings: &AdaptiveSettings) -> Option<Broken> {
        check_axes(AXES, &[("output_size", Some(&settings.output_size))])
    }

    fn build(settings: &AdaptiveSettings, site: &Site<'_>) -> Result<AnyLayer> {
        site.channels(AXES)?;
        adaptive::<OF>(AXES, settings.output_size.each())
    }

    fn widths(
        _: &AdaptiveSettings,
        _: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        Ok(all.channels(input))
    }
}

/// The adaptive pool over so many axes, of these sizes.
fn adaptive<const OF: bool>(axes: usize, [a, b, c]: [usize; 3]) -> Result<AnyLayer> {
    Ok(match (OF, axes) {
        (AVG, 1) => Box::new(AdaptiveAvgPool1d::new(a)?),
        (AVG, 2) => Box::new(AdaptiveAvgPool2d::new([a, b])?),
        (AVG, _) => Box::new(AdaptiveAvgPool3d::new([a, b, c])?),
        (MAX, 1) => Box::new(AdaptiveMaxPool1d::new(a)?),
        (MAX, 2) => Box::new(AdaptiveMaxPool2d::new([a, b])?),
        (MAX, _) => Box::new(AdaptiveMaxPool3d::new([a, b, c])?),
    })
}

settings! {
    /// No settings.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct Nothing {}
}

/// A pool over all axes behind the channels, with its output in one row.
pub(super) struct GlobalPool<const OF: bool>;

impl<const OF: bool> LayerKind for GlobalPool<OF> {
    const KIND: &'static str = ["global_avg_pool", "global_max_pool"][OF as usize];
    const SUMMARY: &'static str = [
        "the mean of each channel, in a row",
        "the largest value of each channel, in a row",
    ][OF as usize];
    const EXAMPLE: &'static str = "no settings";
    type Settings = Nothing;

    fn build(_: &Nothing, site: &Site<'_>) -> Result<AnyLayer> {
        let axes = site.input().len().saturating_sub(1);
        if !(1..=3).contains(&axes) {
            let advice =
                "it pools all axes behind the channels, of which there must be one to three";
            return Err(site.wrong_input("[channels, …]", advice));
        }
        let row = Sequential::new(site.scope()).push(adaptive::<OF>(axes, [1; 3])?);
        Ok(Box::new(row.push(Flatten::default())))
    }

    fn widths(_: &Nothing, _: &Site<'_>, input: &Width, all: &mut Widths) -> Result<Width> {
        Ok(all.channels(input))
    }
}

//! `upsample`, `pixel_shuffle`, `pixel_unshuffle`

use cortical_conv::{PixelShuffle as PixelShuffleLayer, PixelUnshuffle, Upsample as UpsampleLayer};
use cortical_settings::{Broken, at_least, choice, rule, settings};
use cortical_tensor::ops::Interpolation;

use super::per_axis::{PerAxis, positive_sizes};
use super::{AnyLayer, LayerKind, Site};
use crate::error::Result;

choice! {
    /// How an element comes from those around its place.
    #[derive(Debug)]
    pub(super) enum Mode: "mode" {
        Nearest = "nearest",
        NearestExact = "nearest-exact",
        Linear = "linear" | "bilinear" | "trilinear",
        Cubic = "bicubic" | "cubic",
        Area = "area",
    }
}

settings! {
    /// The settings of an interpolation.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct UpsampleSettings {
        scale_factor: Option<PerAxis<f64>>, "how much larger the output is along each axis",
            rule("numbers above 0", |all: &PerAxis<f64>| all.given().iter().all(|x| *x > 0.0)).optional();
        size: Option<PerAxis<usize>>, "the output's size along each axis, in place of a factor", positive_sizes().optional();
        mode: Mode = Mode::Nearest, "nearest, nearest-exact, linear, bicubic or area";
        align_corners: bool = false, "whether the centres of the corners fall together";
    }
    check = |s| (s.scale_factor.is_some() == s.size.is_some()).then(|| {
        Broken::new("scale_factor", "either it or a size", if s.size.is_some() { "both" } else { "none" })
    });
}

/// Planes of another size.
pub(super) struct Upsample;

impl LayerKind for Upsample {
    const KIND: &'static str = "upsample";
    const SUMMARY: &'static str = "the axes behind the channels brought to another size";
    const SHORT: &'static str = "scale_factor";
    const EXAMPLE: &'static str = "a factor such as 2, or { size = [8, 8], mode = \"linear\" }";
    type Settings = UpsampleSettings;

    fn build(settings: &UpsampleSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let axes = site.input().len().saturating_sub(1);
        let given = (settings.size.as_ref().map(|size| size.given().len()))
            .or(settings
                .scale_factor
                .as_ref()
                .map(|factor| factor.given().len()))
            .unwrap_or(1);
        let fits = (1..=3).contains(&axes) && [1, axes].contains(&given);
        if !fits || (settings.mode == Mode::Cubic && axes != 2) {
            let advice = "give one number, or one for each axis behind the channels; bicubic is for pictures";
            return Err(site.wrong_input("[channels, …] with one to three axes behind", advice));
        }
        let config = match (&settings.size, &settings.scale_factor) {
            (Some(size), _) => UpsampleLayer::to(size.given()),
            (None, factor) => UpsampleLayer::times(factor.as_ref().map_or(&[1.0], PerAxis::given)),
        };
        let (align_corners, antialias) = (settings.align_corners, false);
        let mode = match settings.mode {
            Mode::Nearest => Interpolation::Nearest,
            Mode::NearestExact => Interpolation::NearestExact,
            Mode::Linear => Interpolation::Linear {
                align_corners,
                antialias,
            },
            Mode::Cubic => Interpolation::Cubic {
                align_corners,
                antialias,
            },
            Mode::Area => Interpolation::Area,
        };
        Ok(Box::new(config.mode(mode).build()?))
    }
}

settings! {
    /// By how much.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct Factor {
        factor: usize, "by how much the sides change", at_least(1);
    }
}

/// Channels laid out as pixels or, backward, pixels as channels.
pub(super) struct PixelShuffle<const BACKWARD: bool>;

impl<const BACKWARD: bool> LayerKind for PixelShuffle<BACKWARD> {
    const KIND: &'static str = ["pixel_shuffle", "pixel_unshuffle"][BACKWARD as usize];
    const SUMMARY: &'static str = [
        "channels laid out as pixels of larger pictures",
        "pixels laid out as channels of smaller pictures",
    ][BACKWARD as usize];
    const SHORT: &'static str = "factor";
    const EXAMPLE: &'static str = "a factor such as 2";
    type Settings = Factor;

    fn build(settings: &Factor, site: &Site<'_>) -> Result<AnyLayer> {
        site.channels(2)?;
        Ok(match BACKWARD {
            false => Box::new(PixelShuffleLayer::new(settings.factor)?),
            true => Box::new(PixelUnshuffle::new(settings.factor)?),
        })
    }
}

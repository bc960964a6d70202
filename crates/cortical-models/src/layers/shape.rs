//! `flatten`, `unflatten`, `permute`, `identity`

use cortical_neuron::{
    Flatten as FlattenLayer, Identity as IdentityLayer, Permute as PermuteLayer,
    Unflatten as UnflattenLayer,
};
use cortical_settings::{rule, settings};

use super::pool::Nothing;
use super::{AnyLayer, LayerKind, Site, Width, Widths};
use crate::error::Result;

settings! {
    /// Which dimensions become one.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct FlattenSettings {
        start_dim: i64 = 1, "the first of the dimensions that become one, the batch being 0";
        end_dim: i64 = -1, "the last of them";
    }
}

/// Several dimensions as one.
pub(super) struct Flatten;

impl LayerKind for Flatten {
    const KIND: &'static str = "flatten";
    const SUMMARY: &'static str =
        "a sample's values, or those of some of its dimensions, in one row";
    const EXAMPLE: &'static str = "settings such as { start_dim = 2 }";
    const LATER: &'static [&'static str] = &["start_dim", "end_dim"];
    type Settings = FlattenSettings;

    fn build(settings: &FlattenSettings, site: &Site<'_>) -> Result<AnyLayer> {
        site.check_dimension(settings.start_dim)?;
        site.check_dimension(settings.end_dim)?;
        Ok(Box::new(FlattenLayer::new(
            settings.start_dim,
            settings.end_dim,
        )))
    }

    fn widths(
        settings: &FlattenSettings,
        site: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        let axes = site.input().len();
        let to_end = settings.end_dim == -1 || usize::try_from(settings.end_dim) == Ok(axes);
        if input.axis() != 0 || settings.start_dim != 1 || !to_end {
            all.fix(input);
            return Ok(all.unknown());
        }
        Ok(input.times(site.input()[1..].iter().product()))
    }
}

settings! {
    /// What one dimension becomes.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct UnflattenSettings {
        dim: i64 = 1, "the dimension that becomes several, the batch being 0";
        sizes: Vec<i64>, "the sizes it becomes, one of which may be -1",
            rule("at least one size, each at least 1, or -1 for one of them", |sizes: &Vec<i64>| {
                !sizes.is_empty() && sizes.iter().all(|n| *n >= 1 || *n == -1)
            });
    }
}

/// One dimension as several.
pub(super) struct Unflatten;

impl LayerKind for Unflatten {
    const KIND: &'static str = "unflatten";
    const SUMMARY: &'static str = "one dimension as several";
    const SHORT: &'static str = "sizes";
    const EXAMPLE: &'static str = "a list of sizes, or { dim = 1, sizes = [1, 8, 8] }";
    type Settings = UnflattenSettings;

    fn build(settings: &UnflattenSettings, site: &Site<'_>) -> Result<AnyLayer> {
        site.check_dimension(settings.dim)?;
        Ok(Box::new(UnflattenLayer::new(settings.dim, &settings.sizes)))
    }
}

settings! {
    /// The new order of dimensions.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct PermuteSettings {
        dims: Vec<usize>, "each dimension once, in the new order, the batch being 0 and staying in front";
    }
}

/// Dimensions in another order.
pub(super) struct Permute;

impl LayerKind for Permute {
    const KIND: &'static str = "permute";
    const SUMMARY: &'static str =
        "dimensions in another order: [2, 1] makes [length, channels] of [channels, length]";
    const SHORT: &'static str = "dims";
    const EXAMPLE: &'static str = "a list such as [2, 1]";
    type Settings = PermuteSettings;

    fn build(settings: &PermuteSettings, _: &Site<'_>) -> Result<AnyLayer> {
        Ok(Box::new(PermuteLayer::new(&settings.dims)?))
    }

    fn widths(
        settings: &PermuteSettings,
        _: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        let from = input.axis() + 1;
        match settings.dims.iter().position(|dim| *dim == from) {
            Some(axis) if !settings.dims.contains(&0) => Ok(input.along(axis)),
            _ => {
                all.fix(input);
                Ok(all.unknown())
            }
        }
    }
}

/// Nothing at all.
pub(super) struct Identity;

impl LayerKind for Identity {
    const KIND: &'static str = "identity";
    const SUMMARY: &'static str = "nothing: the output is the input";
    const EXAMPLE: &'static str = "no settings";
    type Settings = Nothing;

    fn build(_: &Nothing, _: &Site<'_>) -> Result<AnyLayer> {
        Ok(Box::new(IdentityLayer))
    }

    fn widths(_: &Nothing, _: &Site<'_>, input: &Width, _: &mut Widths) -> Result<Width> {
        Ok(input.clone())
    }
}

//! Options with a value for each axis.

use candle_core::Tensor;
use cortical_neuron::{Error, Result, product, wrong_sample};
use cortical_tensor::ops::{self, PadMode};

/// A value for each of `AXES` axes: one number for all, or an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axes<const AXES: usize>(pub [usize; AXES]);

impl<const AXES: usize> From<usize> for Axes<AXES> {
    fn from(all: usize) -> Self {
        Self([all; AXES])
    }
}

impl<const AXES: usize> From<[usize; AXES]> for Axes<AXES> {
    fn from(each: [usize; AXES]) -> Self {
        Self(each)
    }
}

/// What stands in the padding around an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PaddingMode {
    /// Zeros.
    #[default]
    Zeros,
    /// The input mirrored at its edge, whose element is not repeated: `c b | a b c | b a`.
    Reflect,
    /// The element at the edge, again and again: `a a | a b c | c c`.
    Replicate,
    /// The other end of the input: `b c | a b c | a b`.
    Circular,
}

impl PaddingMode {
    /// `x` with so many further elements along the last axes.
    pub(crate) fn pad(self, x: &Tensor, sides: &[[usize; 2]]) -> Result<Tensor> {
        let mode = match self {
            Self::Zeros => PadMode::Constant(0.0),
            Self::Reflect => PadMode::Reflect,
            Self::Replicate => PadMode::Replicate,
            Self::Circular => PadMode::Circular,
        };
        Ok(ops::pad(x, sides, mode)?)
    }
}

/// What surrounds the input of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Padding<const AXES: usize> {
    /// So many zeros on both sides of each axis.
    Both([usize; AXES]),
    /// So many zeros in front of and behind each axis.
    Sides([[usize; 2]; AXES]),
    /// As many zeros as keep the size, the odd one behind; for a stride of 1.
    Same,
}

impl<const AXES: usize> From<usize> for Padding<AXES> {
    fn from(all: usize) -> Self {
        Self::Both([all; AXES])
    }
}

impl<const AXES: usize> From<[usize; AXES]> for Padding<AXES> {
    fn from(each: [usize; AXES]) -> Self {
        Self::Both(each)
    }
}

impl<const AXES: usize> Padding<AXES> {
    /// The zeros on both sides of each axis.
    pub(crate) fn resolve(
        self,
        kernel_size: [usize; AXES],
        stride: [usize; AXES],
        dilation: [usize; AXES],
    ) -> Result<[[usize; 2]; AXES]> {
        match self {
            Self::Both(each) => Ok(each.map(|n| [n, n])),
            Self::Sides(sides) => Ok(sides),
            Self::Same if stride != [1; AXES] => Err(Error::Option {
                option: "stride",
                expected: "1 along each axis when the padding is `Same`",
                got: format!("{stride:?}"),
            }),
            Self::Same => Ok(std::array::from_fn(|i| {
                // The convolution itself refuses spans beyond `usize`.
                let total = (kernel_size[i].saturating_sub(1)).saturating_mul(dilation[i]);
                [total / 2, total - total / 2]
            })),
        }
    }
}

/// Checks that an option is at least 1 along each axis.
pub(crate) fn check_positive(option: &'static str, values: &[usize]) -> Result<()> {
    if values.contains(&0) {
        return Err(Error::Option {
            option,
            expected: "at least 1",
            got: format!("{values:?}"),
        });
    }
    Ok(())
}

/// Checks that groups divide a number of channels, and returns the channels of one.
pub(crate) fn per_group(option: &'static str, channels: usize, groups: usize) -> Result<usize> {
    check_positive("groups", &[groups])?;
    if !channels.is_multiple_of(groups) {
        return Err(Error::Option {
            option,
            expected: "a multiple of groups",
            got: format!("{channels} with {groups} groups"),
        });
    }
    Ok(channels / groups)
}

/// The channels and axes of a sample, which must have as many as a layer reads.
pub(crate) fn sample_axes<const AXES: usize>(
    op: &'static str,
    channels: Option<usize>,
    sample: &[usize],
) -> Result<[usize; AXES]> {
    let axes = sample.split_first().and_then(|(first, rest)| {
        let fits = channels.is_none_or(|channels| channels == *first);
        rest.try_into().ok().filter(|_| fits)
    });
    axes.ok_or_else(|| {
        let channels = channels.map_or("channels".to_string(), |c| c.to_string());
        wrong_sample(
            op,
            format!("[{channels}, …] with {AXES} axes behind"),
            sample,
        )
    })
}

/// How many outputs windows have along an axis, no further than `usize` goes; none where not one fits.
pub(crate) fn windows(
    len: usize,
    padding: [usize; 2],
    span: usize,
    stride: usize,
    ceil: bool,
) -> Option<usize> {
    let before_end = len.saturating_add(padding[0]);
    let room = before_end.saturating_add(padding[1]).checked_sub(span)?;
    let mut windows = (room / stride).saturating_add(1);
    // A last window that hangs over must begin inside the input or the padding before it.
    if ceil && !room.is_multiple_of(stride) && windows.saturating_mul(stride) < before_end {
        windows += 1;
    }
    Some(windows)
}

/// What a kernel spans along an axis.
pub(crate) fn span(kernel_size: usize, dilation: usize) -> usize {
    kernel_size
        .saturating_sub(1)
        .saturating_mul(dilation)
        .saturating_add(1)
}

/// How many positions a shape has, as a number of uses.
pub(crate) fn positions(axes: &[usize]) -> usize {
    usize::try_from(product(axes)).unwrap_or(usize::MAX)
}

//! Options with a value for each axis.

use cortical_neuron::{Error, Result};

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

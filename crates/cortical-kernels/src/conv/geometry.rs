//! The shape of a convolution, checked once with arithmetic that cannot overflow.
//!
//! There are always three axes, depth, height and width; a convolution over fewer uses [`Axis::UNUSED`] in front.

use std::fmt;

/// One spatial axis of a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Elements of the input along this axis.
    pub input: usize,
    /// Taps of the kernel.
    pub kernel: usize,
    /// Distance between neighbouring windows.
    pub stride: usize,
    /// Zeros in front of and behind the input.
    pub padding: [usize; 2],
    /// Distance between neighbouring taps.
    pub dilation: usize,
}

impl Axis {
    /// An axis of length one that nothing slides along.
    pub const UNUSED: Self = Self {
        input: 1,
        kernel: 1,
        stride: 1,
        padding: [0, 0],
        dilation: 1,
    };

    /// How many elements a window spans, from its first tap to its last.
    ///
    /// # Errors
    /// A kernel or dilation of zero, or a span beyond `usize`.
    pub fn span(&self) -> Result<usize, GeometryError> {
        self.check_nonzero()?;
        (self.kernel - 1)
            .checked_mul(self.dilation)
            .and_then(|reach| reach.checked_add(1))
            .ok_or(GeometryError::TooLarge { what: "kernel" })
    }

    /// Elements of the input with its padding.
    ///
    /// # Errors
    /// A sum beyond `usize`.
    pub fn padded(&self) -> Result<usize, GeometryError> {
        self.input
            .checked_add(self.padding[0])
            .and_then(|n| n.checked_add(self.padding[1]))
            .ok_or(GeometryError::TooLarge {
                what: "padded input",
            })
    }

    /// How many windows fit: ⌊(padded − span) / stride⌋ + 1.
    ///
    /// # Errors
    /// A zero among kernel, stride and dilation, a kernel that spans more than the padded input, or an overflow.
    pub fn output(&self) -> Result<usize, GeometryError> {
        let (span, padded) = (self.span()?, self.padded()?);
        if span > padded {
            return Err(GeometryError::KernelTooLarge { span, padded });
        }
        Ok((padded - span) / self.stride + 1)
    }

    fn check_nonzero(&self) -> Result<(), GeometryError> {
        for (what, value) in [
            ("kernel_size", self.kernel),
            ("stride", self.stride),
            ("dilation", self.dilation),
        ] {
            if value == 0 {
                return Err(GeometryError::Zero { what });
            }
        }
        Ok(())
    }
}

/// One axis of a transposed convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransposedAxis {
    /// Elements of the input along this axis.
    pub input: usize,
    /// Taps of the kernel.
    pub kernel: usize,
    /// Distance between the outputs of neighbouring inputs.
    pub stride: usize,
    /// Elements cut from both ends of the output.
    pub padding: usize,
    /// Elements added to the end of the output, which distinguishes sizes that a stride would map to one.
    pub output_padding: usize,
    /// Distance between neighbouring taps.
    pub dilation: usize,
}

impl TransposedAxis {
    /// An axis of length one that nothing slides along.
    pub const UNUSED: Self = Self {
        input: 1,
        kernel: 1,
        stride: 1,
        padding: 0,
        output_padding: 0,
        dilation: 1,
    };

    /// (input − 1) · stride − 2 · padding + dilation · (kernel − 1) + output_padding + 1
    ///
    /// # Errors
    /// A zero among input, kernel, stride and dilation; an output padding of at least stride and dilation; an output
    /// that is empty or beyond `usize`.
    pub fn output(&self) -> Result<usize, GeometryError> {
        let adjoint = Axis {
            input: self.input,
            kernel: self.kernel,
            stride: self.stride,
            padding: [self.padding; 2],
            dilation: self.dilation,
        };
        let span = adjoint.span()?;
        if self.input == 0 {
            return Err(GeometryError::Zero {
                what: "an axis of the input",
            });
        }
        if self.output_padding >= self.stride.max(self.dilation) {
            return Err(GeometryError::OutputPadding {
                output_padding: self.output_padding,
                stride: self.stride,
                dilation: self.dilation,
            });
        }
        let too_large = GeometryError::TooLarge { what: "output" };
        let padded = (self.input - 1)
            .checked_mul(self.stride)
            .and_then(|n| n.checked_add(span))
            .and_then(|n| n.checked_add(self.output_padding))
            .ok_or(too_large)?;
        let cut = self.padding.checked_mul(2).ok_or(too_large)?;
        match padded.checked_sub(cut) {
            Some(output) if output > 0 => Ok(output),
            _ => Err(GeometryError::NothingLeft {
                output: padded,
                cut,
            }),
        }
    }
}

/// Why a window cannot slide over an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GeometryError {
    /// A kernel, stride, dilation or group count of zero.
    Zero {
        /// Which one.
        what: &'static str,
    },
    /// The kernel, with its dilation, spans more than the padded input.
    KernelTooLarge {
        /// Elements from the first tap to the last.
        span: usize,
        /// Elements of the padded input.
        padded: usize,
    },
    /// The number of groups does not divide a number of channels.
    Groups {
        /// How many groups were asked for.
        groups: usize,
        /// Which channels: `in_channels` or `out_channels`.
        what: &'static str,
        /// How many there are.
        channels: usize,
    },
    /// Max pooling's padding may be at most half of what its kernel spans, so that no window sees padding alone.
    Padding {
        /// The larger padding of the axis.
        padding: usize,
        /// Elements from the first tap to the last.
        span: usize,
    },
    /// A transposed convolution's output padding must be smaller than its stride or its dilation.
    OutputPadding {
        /// What was asked for.
        output_padding: usize,
        /// The stride of the axis.
        stride: usize,
        /// The dilation of the axis.
        dilation: usize,
    },
    /// A transposed convolution's padding cuts away its whole output.
    NothingLeft {
        /// Elements before the cut.
        output: usize,
        /// Elements to cut.
        cut: usize,
    },
    /// A tensor would have more elements than an address space has bytes.
    TooLarge {
        /// Which one.
        what: &'static str,
    },
}

impl fmt::Display for GeometryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero { what } => write!(f, "{what} is 0; it must be at least 1"),
            Self::KernelTooLarge { span, padded } => write!(
                f,
                "the kernel spans {span} elements but the padded input has only {padded}; \
                 use a smaller kernel or dilation, or more padding"
            ),
            Self::Groups {
                groups,
                what,
                channels,
            } => write!(
                f,
                "{groups} groups do not divide {what} = {channels}; choose a divisor"
            ),
            Self::Padding { padding, span } => write!(
                f,
                "padding {padding} is more than half of the kernel's span of {span}; \
                 a max pool's window must see the input"
            ),
            Self::OutputPadding {
                output_padding,
                stride,
                dilation,
            } => write!(
                f,
                "output_padding {output_padding} must be smaller than the stride {stride} or the dilation {dilation}"
            ),
            Self::NothingLeft { output, cut } => write!(
                f,
                "padding cuts {cut} of the {output} output elements; use less padding"
            ),
            Self::TooLarge { what } => write!(
                f,
                "the {what} would have more elements than memory can address; use smaller sizes"
            ),
        }
    }
}

impl std::error::Error for GeometryError {}

/// A checked convolution: every count below was computed without overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    batch: usize,
    in_channels: usize,
    out_channels: usize,
    groups: usize,
    axes: [Axis; 3],
    output: [usize; 3],
}

impl Geometry {
    /// Checks a convolution of `batch` inputs over depth, height and width.
    ///
    /// # Errors
    /// As [`Axis::output`] for each axis; groups of zero or that do not divide both numbers of channels; any tensor
    /// (input, padded input, weight, columns, output) of more than `isize::MAX / 8` elements.
    pub fn new(
        batch: usize,
        in_channels: usize,
        out_channels: usize,
        groups: usize,
        axes: [Axis; 3],
    ) -> Result<Self, GeometryError> {
        if groups == 0 {
            return Err(GeometryError::Zero { what: "groups" });
        }
        for (what, channels) in [("in_channels", in_channels), ("out_channels", out_channels)] {
            if !channels.is_multiple_of(groups) {
                return Err(GeometryError::Groups {
                    groups,
                    what,
                    channels,
                });
            }
        }
        let mut output = [0; 3];
        let mut padded = [0; 3];
        for (i, axis) in axes.iter().enumerate() {
            output[i] = axis.output()?;
            padded[i] = axis.padded()?;
        }
        let [depth, height, width] = axes;
        let kernel = [depth.kernel, height.kernel, width.kernel];
        let per_group = in_channels / groups;
        // A stride may need up to stride − 1 more elements a row than the padding says, hence the room of a stride.
        let room = |i: usize| padded[i].saturating_add(axes[i].stride.min(padded[i]));
        count("input", &[batch, in_channels, depth.input])
            .and_then(|n| count("input", &[n, height.input, width.input]))?;
        count("padded input", &[in_channels, room(0), room(1), room(2)])?;
        let taps = count("kernel", &kernel)?;
        count("weight", &[out_channels, per_group, taps])?;
        let pixels = count("output", &output)?;
        count("output", &[batch, out_channels, pixels])?;
        count("columns", &[per_group, taps, pixels])?;
        Ok(Self {
            batch,
            in_channels,
            out_channels,
            groups,
            axes,
            output,
        })
    }

    /// The convolution whose adjoint is a transposed convolution from `in_channels` to `out_channels`: it leads from
    /// the transposed convolution's output back to its input.
    ///
    /// # Errors
    /// As [`Self::new`] and [`TransposedAxis::output`].
    pub fn transposed(
        batch: usize,
        in_channels: usize,
        out_channels: usize,
        groups: usize,
        axes: [TransposedAxis; 3],
    ) -> Result<Self, GeometryError> {
        let mut adjoint = [Axis::UNUSED; 3];
        for (adjoint, axis) in adjoint.iter_mut().zip(&axes) {
            *adjoint = Axis {
                input: axis.output()?,
                kernel: axis.kernel,
                stride: axis.stride,
                padding: [axis.padding; 2],
                dilation: axis.dilation,
            };
        }
        let g = Self::new(batch, out_channels, in_channels, groups, adjoint).map_err(
            // Seen from the transposed convolution the channels have each other's names.
            |error| match error {
                GeometryError::Groups {
                    groups,
                    what,
                    channels,
                } => GeometryError::Groups {
                    groups,
                    what: if what == "in_channels" {
                        "out_channels"
                    } else {
                        "in_channels"
                    },
                    channels,
                },
                other => other,
            },
        )?;
        // With an output padding beyond the stride, more windows would fit than there are inputs.
        let output = std::array::from_fn(|i| g.output[i].min(axes[i].input));
        Ok(g.with_output(output))
    }

    /// The same convolution with the last windows of each axis left out.
    ///
    /// # Panics
    /// If it does not have as many windows.
    #[must_use]
    pub fn with_output(self, output: [usize; 3]) -> Self {
        assert!(
            output.iter().zip(&self.output).all(|(new, old)| new <= old),
            "fewer windows than there are"
        );
        Self { output, ..self }
    }

    /// Number of inputs.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch
    }
    /// Channels of the input.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.in_channels
    }
    /// Channels of the output.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.out_channels
    }
    /// Number of groups.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups
    }
    /// Depth, height and width.
    #[must_use]
    pub fn axes(&self) -> [Axis; 3] {
        self.axes
    }
    /// Output sizes over depth, height and width.
    #[must_use]
    pub fn output(&self) -> [usize; 3] {
        self.output
    }
    /// Output elements of one channel of one image.
    #[must_use]
    pub fn out_pixels(&self) -> usize {
        self.output.iter().product()
    }
    /// Input elements of one channel of one image.
    #[must_use]
    pub fn in_pixels(&self) -> usize {
        self.axes.iter().map(|axis| axis.input).product()
    }
    /// Taps of the kernel over all axes.
    #[must_use]
    pub fn taps(&self) -> usize {
        self.axes.iter().map(|axis| axis.kernel).product()
    }
    /// Input channels that one output channel reads.
    #[must_use]
    pub fn in_per_group(&self) -> usize {
        self.in_channels / self.groups
    }
    /// Output channels of one group.
    #[must_use]
    pub fn out_per_group(&self) -> usize {
        self.out_channels / self.groups
    }
    /// Numbers that one output element is a weighted sum of.
    #[must_use]
    pub fn fan_in(&self) -> usize {
        self.in_per_group() * self.taps()
    }
    /// Elements of the whole input.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.batch * self.in_channels * self.in_pixels()
    }
    /// Elements of the whole output.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.batch * self.out_channels * self.out_pixels()
    }
    /// Elements of the weight.
    #[must_use]
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.fan_in()
    }
}

/// The product of `sizes`, at most what `f64` elements of it could be addressed.
pub(crate) fn count(what: &'static str, sizes: &[usize]) -> Result<usize, GeometryError> {
    const LIMIT: usize = isize::MAX as usize / 8;
    // A zero anywhere makes the tensor empty, but a tensor of the other sizes must still be addressable.
    let product = sizes
        .iter()
        .try_fold(1_usize, |n, &size| n.checked_mul(size.max(1)));
    match product {
        Some(n) if n <= LIMIT => Ok(sizes.iter().product()),
        _ => Err(GeometryError::TooLarge { what }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(input: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Axis {
        Axis {
            input,
            kernel,
            stride,
            padding: [padding, padding],
            dilation,
        }
    }

    #[test]
    fn outputs_follow_the_formula() {
        assert_eq!(axis(28, 3, 1, 0, 1).output(), Ok(26));
        assert_eq!(axis(32, 3, 2, 1, 1).output(), Ok(16));
        assert_eq!(axis(7, 3, 1, 0, 3).output(), Ok(1));
        assert_eq!(axis(0, 1, 1, 1, 1).output(), Ok(2));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let zero = |what| Err(GeometryError::Zero { what });
        assert_eq!(axis(5, 0, 1, 0, 1).output(), zero("kernel_size"));
        assert_eq!(axis(5, 1, 0, 0, 1).output(), zero("stride"));
        assert_eq!(axis(5, 1, 1, 0, 0).output(), zero("dilation"));
        let large = Err(GeometryError::KernelTooLarge { span: 7, padded: 6 });
        assert_eq!(axis(6, 4, 1, 0, 2).output(), large);
        let too_large = |r: Result<usize, _>| matches!(r, Err(GeometryError::TooLarge { .. }));
        assert!(too_large(axis(6, usize::MAX, 1, 0, 2).output()));
        assert!(too_large(axis(6, 1, 1, usize::MAX, 1).output()));
        let unused = Axis::UNUSED;
        let big = axis(1 << 33, 1, 1, 0, 1);
        let new = |batch, channels, groups, axis| {
            Geometry::new(batch, channels, channels, groups, [unused, axis, axis])
        };
        assert!(matches!(
            new(1, 1, 1, big),
            Err(GeometryError::TooLarge { .. })
        ));
        let small = axis(4, 1, 1, 0, 1);
        assert_eq!(
            new(1, 3, 2, small).unwrap_err().to_string(),
            "2 groups do not divide in_channels = 3; choose a divisor"
        );
        assert_eq!(
            new(1, 3, 0, small),
            Err(GeometryError::Zero { what: "groups" })
        );
        assert_eq!(new(0, 4, 2, small).unwrap().output_len(), 0);
    }
}

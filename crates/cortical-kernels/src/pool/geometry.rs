//! The shape of a pool, checked once.

use crate::conv::{Axis, GeometryError, count};

/// A checked pool over height and width; a pool over one axis uses [`Axis::UNUSED`] as its height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    planes: usize,
    axes: [Axis; 2],
    output: [usize; 2],
}

impl Geometry {
    /// Checks a pool over `planes` planes. With `ceil_mode` the last window of an axis may hang over its end, as long
    /// as it starts in the input or in the padding before it.
    ///
    /// # Errors
    /// As [`Axis::output`]; padding on one side of more than half of the kernel's span; an input or output of more than
    /// `isize::MAX / 8` elements.
    pub fn new(planes: usize, axes: [Axis; 2], ceil_mode: bool) -> Result<Self, GeometryError> {
        let mut output = [0; 2];
        for (output, axis) in output.iter_mut().zip(&axes) {
            let (span, padding) = (axis.span()?, axis.padding[0].max(axis.padding[1]));
            if padding > span / 2 {
                return Err(GeometryError::Padding { padding, span });
            }
            *output = axis.output()?;
            let rest = (axis.padded()? - span) % axis.stride;
            // One more window, unless it would start in the padding behind the input.
            if ceil_mode && rest > 0 && *output * axis.stride < axis.input + axis.padding[0] {
                *output += 1;
            }
        }
        count("input", &[planes, axes[0].input, axes[1].input])?;
        count("output", &[planes, output[0], output[1]])?;
        Ok(Self {
            planes,
            axes,
            output,
        })
    }

    /// Number of planes.
    #[must_use]
    pub fn planes(&self) -> usize {
        self.planes
    }
    /// Height and width.
    #[must_use]
    pub fn axes(&self) -> [Axis; 2] {
        self.axes
    }
    /// Output height and width.
    #[must_use]
    pub fn output(&self) -> [usize; 2] {
        self.output
    }
    /// Taps of a window.
    #[must_use]
    pub fn taps(&self) -> usize {
        self.axes[0].kernel * self.axes[1].kernel
    }
    /// Elements of an input plane.
    #[must_use]
    pub fn in_pixels(&self) -> usize {
        self.axes[0].input * self.axes[1].input
    }
    /// Elements of an output plane.
    #[must_use]
    pub fn out_pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }
    /// Elements of the whole input.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.planes * self.in_pixels()
    }
    /// Elements of the whole output.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.planes * self.out_pixels()
    }

    /// How many planes make one task: a function of the shape alone.
    pub(super) fn planes_per_task(&self) -> usize {
        crate::parallel::rows_per_task(self.in_pixels().max(self.out_pixels()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceil_mode_adds_a_window_only_where_it_sees_the_input() {
        let output = |input, kernel, stride, padding, ceil_mode| {
            let axis = Axis {
                input,
                kernel,
                stride,
                padding: [padding, padding],
                dilation: 1,
            };
            Geometry::new(1, [Axis::UNUSED, axis], ceil_mode).map(|g| g.output()[1])
        };
        assert_eq!(output(5, 2, 2, 0, false), Ok(2));
        assert_eq!(output(5, 2, 2, 0, true), Ok(3));
        assert_eq!(output(4, 2, 2, 0, true), Ok(2));
        // A fourth window would start at 3 · 3 − 1, the first zero behind the input.
        assert_eq!(output(8, 2, 3, 1, true), Ok(3));
        let padding = Err(GeometryError::Padding {
            padding: 2,
            span: 3,
        });
        assert_eq!(output(8, 3, 3, 2, false), padding);
    }
}

//! Which edges a filter answers to.

use std::f64::consts::PI;

/// The edges that a filter answers to most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orientation {
    /// The direction of the edges in degrees: 0 lies, 90 stands, and 45 rises to the right.
    pub degrees: f64,
    /// How much of the filter's answer is to edges in that direction: 1 all of it, 0 none more than in others.
    pub strength: f64,
}

/// From where on a filter is said to prefer a direction.
const CLEAR: f64 = 0.2;
/// Waves along each axis at which a filter is asked.
const WAVES: usize = 16;

impl Orientation {
    /// The orientation of a filter's weights, channels after one another.
    ///
    /// The answers of a filter to waves of all lengths and directions are its Fourier transform; the directions of the
    /// waves are averaged, weighed by the power of the answer, as angles that are the same after half a turn. An edge
    /// stands across the wave that it is made of. Constant pictures do not count. `None` for filters of one row and
    /// column, and of none that differ.
    pub(super) fn of(weights: &[f32], [channels, height, width]: [usize; 3]) -> Option<Self> {
        if channels * height * width != weights.len() || height * width < 2 {
            return None;
        }
        let (mut all, mut even, mut odd) = (0.0, 0.0, 0.0);
        let wave = |at: usize| 2.0 * PI * (at as f64 / WAVES as f64 - 0.5);
        for (i, j) in (0..WAVES * WAVES).map(|at| (at / WAVES, at % WAVES)) {
            let (fy, fx) = (wave(i), wave(j));
            // All directions alike: waves within a circle, and not the constant one.
            let length = fx.hypot(fy);
            if !(1e-9..=PI).contains(&length) {
                continue;
            }
            let mut power = 0.0;
            for plane in weights.chunks_exact(height * width) {
                let (mut re, mut im) = (0.0, 0.0);
                for (at, weight) in plane.iter().enumerate() {
                    let phase = fy * (at / width) as f64 + fx * (at % width) as f64;
                    re += f64::from(*weight) * phase.cos();
                    im += f64::from(*weight) * phase.sin();
                }
                power += re * re + im * im;
            }
            let twice = 2.0 * fy.atan2(fx);
            all += power;
            even += power * twice.cos();
            odd += power * twice.sin();
        }
        if !(all > 0.0 && all.is_finite()) {
            return None;
        }
        // Rows count downwards, angles upwards; the edge stands across the wave.
        let wave = odd.atan2(even) / 2.0;
        let degrees = (90.0 - wave.to_degrees()).rem_euclid(180.0);
        Some(Self {
            degrees,
            strength: even.hypot(odd) / all,
        })
    }

    /// The direction in a word: `vertical`, `horizontal`, `diagonal /`, `diagonal \` or, where no direction stands out,
    /// `none`.
    #[must_use]
    pub fn name(self) -> &'static str {
        if self.strength < CLEAR {
            return "none";
        }
        match self.degrees {
            d if (22.5..67.5).contains(&d) => "diagonal /",
            d if (67.5..112.5).contains(&d) => "vertical",
            d if (112.5..157.5).contains(&d) => "diagonal \\",
            _ => "horizontal",
        }
    }
}

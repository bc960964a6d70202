//! How values are spread.

use std::fmt::Write;

use crate::axis::Axis;
use crate::line::open;
use crate::text::number;

/// Values counted in bins of equal width.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    title: String,
    low: f64,
    high: f64,
    counts: Vec<u64>,
    /// Non-finite values, and how the others lie.
    broken: u64,
    mean: f64,
    std: f64,
}

impl Histogram {
    /// Counts values in so many bins (1 at least) from the lowest to the highest.
    #[must_use]
    pub fn new(title: &str, values: &[f32], bins: usize) -> Self {
        let finite = || {
            values
                .iter()
                .map(|x| f64::from(*x))
                .filter(|x| x.is_finite())
        };
        let count = finite().count();
        let low = finite().fold(f64::INFINITY, f64::min);
        let high = finite().fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = match count {
            0 => (0.0, 1.0),
            _ if low == high => (low - 0.5, high + 0.5),
            _ => (low, high),
        };
        let mean = finite().sum::<f64>() / count.max(1) as f64;
        let squares = finite().map(|x| (x - mean).powi(2)).sum::<f64>();
        let bins = bins.max(1);
        let mut counts = vec![0; bins];
        for x in finite() {
            let bin = ((x - low) / (high - low) * bins as f64) as usize;
            counts[bin.min(bins - 1)] += 1;
        }
        Self {
            title: title.to_owned(),
            low,
            high,
            counts,
            broken: (values.len() - count) as u64,
            mean,
            std: (squares / count.max(1) as f64).sqrt(),
        }
    }

    /// How many values each bin has.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The chart.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let x = Axis::over([self.low, self.high].into_iter(), false, (24.0, 496.0));
        let most = self.counts.iter().max().copied().unwrap_or(0).max(1) as f64;
        let mut svg = open(&self.title);
        let width = 472.0 / self.counts.len() as f64;
        for (i, count) in self.counts.iter().enumerate() {
            let height = *count as f64 / most * 206.0;
            let _ = write!(
                svg,
                "<rect class=\"bar\" x=\"{:.2}\" y=\"{:.1}\" width=\"{:.2}\" height=\"{height:.1}\"><title>{count}</title></rect>",
                24.0 + i as f64 * width,
                260.0 - height,
                (width - 1.0).max(0.5),
            );
        }
        svg.push_str("<line class=\"axis\" x1=\"24\" x2=\"496\" y1=\"260\" y2=\"260\"/>");
        for tick in x.ticks() {
            if let Some(at) = x.place(tick) {
                let _ = write!(
                    svg,
                    "<text class=\"tick\" x=\"{at:.1}\" y=\"277\">{}</text>",
                    number(tick)
                );
            }
        }
        let mut remark = format!("mean {}, deviation {}", number(self.mean), number(self.std));
        if self.broken > 0 {
            let _ = write!(remark, ", {} are non-finite", self.broken);
        }
        let _ = write!(
            svg,
            "<text class=\"legend end\" x=\"496\" y=\"38\">{remark}</text></svg>"
        );
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::tests::assert_well_formed;

    #[test]
    fn every_value_is_in_one_bin_and_broken_ones_are_said() {
        let histogram = Histogram::new("w", &[0.0, 0.1, 0.9, 1.0, f32::NAN], 2);
        assert_eq!(histogram.counts(), [2, 2]);
        let svg = histogram.to_svg();
        assert!(svg.contains("mean 0.5, ") && svg.contains("1 are non-finite"));
        assert_well_formed(&svg);
    }

    #[test]
    fn nothing_and_one_value_have_a_histogram() {
        for values in [&[][..], &[3.0], &[f32::INFINITY], &[f32::MIN, f32::MAX]] {
            let svg = Histogram::new("w", values, 0).to_svg();
            assert_well_formed(&svg);
            assert!(!svg.contains("NaN"), "{svg}");
        }
    }
}

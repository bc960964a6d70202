//! Points: one number against another.

use std::fmt::Write;

use crate::axis::Axis;
use crate::line::{ROOM, SIZE, draw_grid, open};

/// A chart of points, with the line on which both numbers are the same.
///
/// ```
/// use cortical_report::Scatter;
/// let svg = Scatter::new("Predictions", "true", [(1.0, 1.5), (2.0, 1.75)]).to_svg();
/// assert_eq!(svg.matches("<circle").count(), 2);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Scatter {
    title: String,
    x_label: String,
    points: Vec<(f64, f64)>,
}

/// Points that are drawn at most; of more, evenly spread ones.
const POINTS: usize = 2000;

impl Scatter {
    /// A chart of these points. A non-finite one is left out.
    #[must_use]
    pub fn new(title: &str, x_label: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let points = points.into_iter();
        Self {
            title: title.to_owned(),
            x_label: x_label.to_owned(),
            points: points
                .filter(|(x, y)| x.is_finite() && y.is_finite())
                .collect(),
        }
    }

    /// The chart.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let (left, right, top, bottom) = ROOM;
        let both = || self.points.iter().flat_map(|(x, y)| [*x, *y]);
        let x = Axis::over(both(), false, (left, SIZE.0 - right)).rounded();
        let y = Axis::over(both(), false, (SIZE.1 - bottom, top)).rounded();
        let mut svg = open(&self.title);
        draw_grid(&mut svg, (&x, &y), &self.x_label, false);
        let ends = both().fold(None, |ends: Option<(f64, f64)>, x| {
            let (low, high) = ends.unwrap_or((x, x));
            Some((low.min(x), high.max(x)))
        });
        if let Some((low, high)) = ends {
            let place = |at: f64| Some((x.place(at)?, y.place(at)?));
            if let (Some(from), Some(to)) = (place(low), place(high)) {
                let _ = write!(
                    svg,
                    "<line class=\"axis\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>",
                    from.0, from.1, to.0, to.1
                );
            }
        }
        let every = self.points.len().div_ceil(POINTS).max(1);
        for (a, b) in self.points.iter().step_by(every) {
            if let (Some(a), Some(b)) = (x.place(*a), y.place(*b)) {
                let _ = write!(
                    svg,
                    "<circle class=\"dot\" cx=\"{a:.1}\" cy=\"{b:.1}\" r=\"2.5\"/>"
                );
            }
        }
        if self.points.is_empty() {
            let (x, y) = (SIZE.0 / 2.0, SIZE.1 / 2.0);
            let _ = write!(
                svg,
                "<text class=\"none\" x=\"{x}\" y=\"{y}\">no figures</text>"
            );
        }
        svg.push_str("</svg>");
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_on_axes_of_one_range_and_many_are_thinned() {
        let svg = Scatter::new("a<b", "true", [(0.0, 10.0), (10.0, 0.0), (f64::NAN, 1.0)]).to_svg();
        assert!(svg.contains("a&lt;b") && svg.matches("<circle").count() == 2);
        // Both ends of both axes: 0 to 10.
        assert!(
            svg.contains("cx=\"58.0\" cy=\"40.0\"") && svg.contains("cx=\"506.0\" cy=\"260.0\""),
            "{svg}"
        );
        let many = Scatter::new("", "", (0..5001).map(|i| (f64::from(i), 0.0))).to_svg();
        assert_eq!(many.matches("<circle").count(), 1667);
        for points in [vec![], vec![(f64::INFINITY, 0.0)], vec![(1e308, -1e308)]] {
            let svg = Scatter::new("", "", points).to_svg();
            assert!(svg.ends_with("</svg>") && !svg.contains("NaN"), "{svg}");
        }
    }
}

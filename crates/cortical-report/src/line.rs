//! Curves.

use std::fmt::Write;

use crate::axis::Axis;
use crate::text::{escape, number};

/// One curve: its name, and its points from left to right.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    name: String,
    points: Vec<(f64, f64)>,
    /// Drawn faintly, as the raw values behind a smoothed curve.
    is_faint: bool,
}

impl Series {
    /// A curve through these points. A non-finite point makes a gap.
    #[must_use]
    pub fn new(name: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self {
            name: name.to_owned(),
            points: points.into_iter().collect(),
            is_faint: false,
        }
    }

    /// The same, drawn faintly and left out of the legend.
    #[must_use]
    pub fn faint(self) -> Self {
        Self {
            is_faint: true,
            ..self
        }
    }

    /// The running mean of the curve, in which a point `n` points ago counts `keep`ⁿ as much as the last.
    #[must_use]
    pub fn smoothed(&self, keep: f64) -> Self {
        let (mut sum, mut weight) = (0.0, 0.0);
        let points = self.points.iter().map(|&(x, y)| {
            if y.is_finite() {
                (sum, weight) = (keep * sum + y, keep * weight + 1.0);
            }
            (x, if weight > 0.0 { sum / weight } else { y })
        });
        Self {
            name: self.name.clone(),
            points: points.collect(),
            is_faint: false,
        }
    }

    /// Whether there is anything to draw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self
            .points
            .iter()
            .any(|(x, y)| x.is_finite() && y.is_finite())
    }
}

/// A chart of curves.
#[derive(Clone, Debug)]
pub struct LineChart {
    title: String,
    x_label: String,
    series: Vec<Series>,
    log_y: bool,
    percent: bool,
}

/// The size of a chart, and the room around its curves: left, right, top, bottom.
pub(crate) const SIZE: (f64, f64) = (520.0, 300.0);
pub(crate) const ROOM: (f64, f64, f64, f64) = (58.0, 14.0, 40.0, 40.0);
/// Points of one curve that are drawn at most; of more, each segment shows its lowest and its highest.
const POINTS: usize = 1200;

impl LineChart {
    /// An empty chart.
    #[must_use]
    pub fn new(title: &str, x_label: &str) -> Self {
        Self {
            title: title.to_owned(),
            x_label: x_label.to_owned(),
            series: Vec::new(),
            log_y: false,
            percent: false,
        }
    }

    /// One more curve.
    #[must_use]
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// Powers of ten upwards.
    #[must_use]
    pub fn log_y(self) -> Self {
        Self {
            log_y: true,
            ..self
        }
    }

    /// Shares, shown as per cent.
    #[must_use]
    pub fn percent(self) -> Self {
        Self {
            percent: true,
            ..self
        }
    }

    /// The chart.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let (left, right, top, bottom) = ROOM;
        let numbers = |f: fn(&(f64, f64)) -> f64| {
            self.series.iter().flat_map(move |s| s.points.iter().map(f))
        };
        let x = Axis::over(numbers(|p| p.0), false, (left, SIZE.0 - right));
        let mut y = Axis::over(numbers(|p| p.1), self.log_y, (SIZE.1 - bottom, top)).rounded();
        if self.percent && numbers(|p| p.1).all(|y| y.is_nan() || (0.0..=1.0).contains(&y)) {
            y = y.within(0.0, 1.0);
        }
        let mut svg = open(&self.title);
        draw_grid(&mut svg, (&x, &y), &self.x_label, self.percent);
        let mut color = 0;
        for series in &self.series {
            let class = if series.is_faint { "faint" } else { "curve" };
            for path in paths(&series.points, &x, &y) {
                let _ = write!(svg, "<path class=\"{class} c{color}\" d=\"{path}\"/>");
            }
            color = if series.is_faint {
                color
            } else {
                (color + 1) % 6
            };
        }
        self.draw_legend(&mut svg);
        if self.series.iter().all(Series::is_empty) {
            let (x, y) = (SIZE.0 / 2.0, SIZE.1 / 2.0);
            let _ = write!(
                svg,
                "<text class=\"none\" x=\"{x}\" y=\"{y}\">no figures</text>"
            );
        }
        svg.push_str("</svg>");
        svg
    }

    /// Names in the colours of their curves, at the top on the right.
    fn draw_legend(&self, svg: &mut String) {
        let shown: Vec<&Series> = self.series.iter().filter(|s| !s.is_faint).collect();
        if shown.len() < 2 {
            return;
        }
        let mut at = SIZE.0 - ROOM.1;
        for (color, series) in shown.iter().enumerate().rev() {
            let _ = write!(
                svg,
                "<text class=\"legend end\" x=\"{at:.1}\" y=\"20\">{}</text>",
                escape(&series.name)
            );
            // About the width of the name.
            at -= 6.6 * series.name.chars().count() as f64 + 8.0;
            let _ = write!(
                svg,
                "<line class=\"curve c{}\" x1=\"{:.1}\" x2=\"{at:.1}\" y1=\"16\" y2=\"16\"/>",
                color % 6,
                at - 14.0
            );
            at -= 26.0;
        }
    }
}

/// Ticks with lines across, and what lies along the bottom.
pub(crate) fn draw_grid(svg: &mut String, (x, y): (&Axis, &Axis), x_label: &str, percent: bool) {
    let (left, right, _, bottom) = ROOM;
    let floor = SIZE.1 - bottom;
    for tick in y.ticks() {
        let Some(at) = y.place(tick) else { continue };
        let label = if percent {
            format!("{} %", number(tick * 100.0))
        } else {
            number(tick)
        };
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
            SIZE.0 - right,
            left - 8.0,
            at + 3.5,
        );
    }
    for tick in x.ticks() {
        let Some(at) = x.place(tick) else { continue };
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{floor}\" y2=\"{:.1}\"/><text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
            floor + 4.0,
            floor + 17.0,
            number(tick),
        );
    }
    let _ = write!(
        svg,
        "<line class=\"axis\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{floor}\" y2=\"{floor}\"/><text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        SIZE.0 - right,
        SIZE.0 - right,
        SIZE.1 - 6.0,
        escape(x_label),
    );
}

/// The beginning of a chart, with its title.
pub(crate) fn open(title: &str) -> String {
    let (width, height) = SIZE;
    format!(
        "<svg class=\"chart\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\"><text class=\"title\" x=\"14\" y=\"20\">{title}</text>",
        title = escape(title)
    )
}

/// The segments of a curve without gaps. A point alone becomes a dot, which a round line end draws.
fn paths(points: &[(f64, f64)], x: &Axis, y: &Axis) -> Vec<String> {
    let placed: Vec<Option<(f64, f64)>> = points
        .iter()
        .map(|&(px, py)| Some((x.place(px)?, y.place(py)?)))
        .collect();
    let segments = placed
        .split(Option::is_none)
        .filter(|part| !part.is_empty());
    segments
        .map(|part| {
            let part: Vec<(f64, f64)> = part.iter().flatten().copied().collect();
            let mut path = String::new();
            for (i, (px, py)) in thinned(&part).into_iter().enumerate() {
                let _ = write!(path, "{}{px:.1} {py:.1}", if i == 0 { "M" } else { "L" });
            }
            if part.len() == 1 {
                path.push_str("h.01");
            }
            path
        })
        .collect()
}

/// As many points as can be seen: of each segment its lowest and its highest, in order, so that no spike is lost.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    let mut kept = Vec::with_capacity(POINTS + 2);
    kept.push(points[0]);
    for part in points.chunks(points.len().div_ceil(POINTS / 2)) {
        let by_y = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        if let (Some(low), Some(high)) = (part.iter().min_by(by_y), part.iter().max_by(by_y)) {
            let (first, second) = if low.0 <= high.0 {
                (low, high)
            } else {
                (high, low)
            };
            kept.extend([*first, *second]);
        }
    }
    kept.extend(points.last());
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::tests::assert_well_formed;
    use proptest::prelude::*;

    fn chart(points: Vec<(f64, f64)>) -> String {
        let series = Series::new("a <b>", points);
        let smooth = series.smoothed(0.9);
        LineChart::new("Loss & more", "step")
            .series(series.faint())
            .series(smooth.clone())
            .series(Series {
                name: "other".to_owned(),
                ..smooth
            })
            .to_svg()
    }

    #[test]
    fn gaps_split_a_curve_and_a_lonely_point_is_a_dot() {
        let svg = LineChart::new("t", "x")
            .series(Series::new(
                "a",
                [(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0)],
            ))
            .to_svg();
        assert_eq!(svg.matches("<path").count(), 2);
        assert!(svg.contains("h.01"));
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn no_figures_are_said_to_be_none() {
        assert!(LineChart::new("t", "x").to_svg().contains("no figures"));
        assert!(chart(vec![(f64::NAN, 1.0)]).contains("no figures"));
    }

    #[test]
    fn a_spike_among_many_points_is_drawn() {
        let mut points: Vec<(f64, f64)> = (0..50_000).map(|i| (f64::from(i), 0.0)).collect();
        points[31_234].1 = 9.0;
        let kept = thinned(&points);
        assert!(kept.len() <= POINTS + 2 && kept.iter().any(|p| p.1 == 9.0));
        assert!(kept.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn a_running_mean_forgets_and_passes_over_gaps() {
        let smooth = Series::new("a", [(0.0, 2.0), (1.0, f64::NAN), (2.0, 4.0)]).smoothed(0.5);
        let y: Vec<f64> = smooth.points.iter().map(|p| p.1).collect();
        assert_eq!(y, [2.0, 2.0, 10.0 / 3.0]);
    }

    proptest! {
        #[test]
        fn whatever_the_numbers_the_chart_is_well_formed(points in prop::collection::vec(any::<(f64, f64)>(), 0..40)) {
            let svg = chart(points);
            assert_well_formed(&svg);
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
    }
}

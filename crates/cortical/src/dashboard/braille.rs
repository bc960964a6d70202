//! Curves out of braille characters, which have two columns of four dots each.

/// The dots of a character by their place: `DOTS[row][column]`.
const DOTS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// Plots curves from 0 to `end` in so many columns and rows. All share the height; the first is drawn as the mean of
/// each dot's segment.
pub(super) fn plot(
    curves: &[Vec<(f64, f64)>],
    end: f64,
    columns: usize,
    rows: usize,
) -> Vec<String> {
    let (width, height) = (2 * columns, 4 * rows);
    let means: Vec<Vec<Option<f64>>> = curves.iter().map(|c| means(c, end, width)).collect();
    let figures = || means.iter().flatten().flatten().copied();
    let low = figures().fold(f64::INFINITY, f64::min);
    let high = figures().fold(f64::NEG_INFINITY, f64::max);
    let mut cells = vec![vec![0_u32; columns]; rows];
    let span = if high > low { high - low } else { 1.0 };
    for curve in &means {
        let mut last: Option<usize> = None;
        for (x, figure) in curve.iter().enumerate() {
            let Some(figure) = figure else { continue };
            let share = ((figure - low) / span).clamp(0.0, 1.0);
            let y = ((1.0 - share) * (height - 1) as f64).round() as usize;
            // A line from the last dot's height to this one.
            let from = last.unwrap_or(y);
            for y in from.min(y)..=from.max(y) {
                cells[y / 4][x / 2] |= DOTS[y % 4][x % 2];
            }
            last = Some(y);
        }
    }
    let character = |dots: &u32| char::from_u32(0x2800 + dots).unwrap_or(' ');
    cells
        .iter()
        .map(|row| row.iter().map(character).collect())
        .collect()
}

/// The mean of the figures in each segment, `None` where there are none.
fn means(curve: &[(f64, f64)], end: f64, width: usize) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0.0); width];
    for (x, figure) in curve.iter().filter(|(_, figure)| figure.is_finite()) {
        let at = (x / end.max(1.0) * width as f64) as usize;
        let (sum, count) = &mut sums[at.min(width - 1)];
        (*sum, *count) = (*sum + figure, *count + 1.0);
    }
    let mean = |(sum, count): (f64, f64)| (count > 0.0).then(|| sum / count);
    sums.into_iter().map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rising_line_goes_from_the_lower_left_to_the_upper_right() {
        let line: Vec<(f64, f64)> = (0..8).map(|i| (f64::from(i), f64::from(i))).collect();
        let rows = plot(&[line], 8.0, 4, 2);
        assert_eq!(rows, ["⠀⠀⣠⠞", "⣠⠞⠁⠀"]);
    }

    #[test]
    fn nothing_and_what_is_no_number_leave_the_paper_empty() {
        for curve in [vec![], vec![(1.0, f64::NAN)], vec![(1.0, f64::INFINITY)]] {
            assert_eq!(plot(&[curve], 4.0, 2, 1), ["⠀⠀"]);
        }
        assert_eq!(plot(&[vec![(0.0, 5.0)]], 0.0, 1, 1), ["⡀"]);
    }
}

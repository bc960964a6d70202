//! A table of counts as colours.

use std::fmt::Write;

use crate::text::{escape, number};

/// Room for the line that explains rows and columns.
const LEGEND: f64 = 310.0;

/// A square table of counts, rows what is true and columns what was said: a confusion matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    names: Vec<String>,
    counts: Vec<Vec<u64>>,
}

impl Matrix {
    /// A name and a row of counts for each class; short rows are filled with zeros.
    #[must_use]
    pub fn new(names: &[String], counts: &[Vec<u64>]) -> Self {
        let n = names.len();
        let row = |i: usize| {
            let mut row = counts.get(i).cloned().unwrap_or_default();
            row.resize(n, 0);
            row
        };
        Self {
            names: names.to_vec(),
            counts: (0..n).map(row).collect(),
        }
    }

    /// The chart. Each row is coloured by the shares of its own sum, so that rare classes are seen as well.
    #[must_use]
    pub fn to_svg(&self) -> String {
        let n = self.names.len();
        let longest = self
            .names
            .iter()
            .map(|name| name.chars().count().min(16))
            .max();
        let left = 16.0 + 7.0 * longest.unwrap_or(0) as f64;
        let side = (560.0 / n.max(1) as f64).clamp(10.0, 52.0);
        let top = left.min(120.0) + 10.0;
        // The line below the table has its length whatever the table's.
        let width = (left + side * n as f64 + 10.0).max(LEGEND);
        let height = top + side * n as f64 + 26.0;
        // A small table is not blown up to the width of the page.
        let most = (width * 1.3).min(720.0);
        let mut svg = format!(
            "<svg class=\"matrix\" style=\"max-width:{most:.0}px\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"confusion matrix\">"
        );
        for (i, row) in self.counts.iter().enumerate() {
            // Shares of a sum of reals: counts from a file may be of any size.
            let whole = row.iter().map(|count| *count as f64).sum::<f64>().max(1.0);
            let name = escape(&shortened(&self.names[i]));
            let y = top + side * i as f64;
            let x = left + side * i as f64 + side / 2.0;
            let _ = write!(
                svg,
                "<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{name}</text><text class=\"tick start\" transform=\"translate({:.1} {:.1}) rotate(-60)\">{name}</text>",
                left - 6.0,
                y + side / 2.0 + 4.0,
                x + 3.0,
                top - 6.0,
            );
            for (j, count) in row.iter().enumerate() {
                let share = *count as f64 / whole;
                let kind = if i == j { "hit" } else { "miss" };
                let at = left + side * j as f64;
                let full = escape(&format!(
                    "{} taken for {}: {count} ({} %)",
                    self.names[i],
                    self.names[j],
                    number(100.0 * share)
                ));
                let _ = write!(
                    svg,
                    "<g><title>{full}</title><rect class=\"cell\" x=\"{at:.1}\" y=\"{y:.1}\" width=\"{side:.1}\" height=\"{side:.1}\"/><rect class=\"{kind}\" x=\"{at:.1}\" y=\"{y:.1}\" width=\"{side:.1}\" height=\"{side:.1}\" opacity=\"{:.3}\"/>",
                    // The root makes few mistakes among many samples visible.
                    if i == j { share * 0.9 } else { share.sqrt() },
                );
                if *count > 0 && side >= 22.0 {
                    let class = if share > 0.55 {
                        "count strong"
                    } else {
                        "count"
                    };
                    let _ = write!(
                        svg,
                        "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                        at + side / 2.0,
                        y + side / 2.0 + 4.0,
                        number(*count as f64)
                    );
                }
                svg.push_str("</g>");
            }
        }
        let _ = write!(
            svg,
            "<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">rows: what it is, columns: what it was taken for</text></svg>",
            width - 10.0,
            height - 6.0
        );
        svg
    }
}

/// A name that fits beside the table.
fn shortened(name: &str) -> String {
    if name.chars().count() <= 16 {
        return name.to_owned();
    }
    name.chars().take(15).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::tests::assert_well_formed;

    #[test]
    fn a_small_table_stays_small_and_its_legend_whole() {
        let names = ["no", "yes"].map(str::to_owned);
        let svg = Matrix::new(&names, &[vec![3, 1], vec![0, 4]]).to_svg();
        assert!(svg.contains("viewBox=\"0 0 310 "), "{svg}");
        assert!(svg.contains("max-width:403px"), "{svg}");
    }

    #[test]
    fn counts_stand_in_their_cells() {
        let names = [
            "cat".to_owned(),
            "a very long name of a dog & more".to_owned(),
        ];
        let svg = Matrix::new(&names, &[vec![8, 2], vec![1]]).to_svg();
        assert_well_formed(&svg);
        assert!(svg.contains("cat taken for a very long name of a dog &amp; more: 2 (20 %)"));
        assert!(svg.contains("a very long nam…"));
        assert_well_formed(&Matrix::new(&[], &[]).to_svg());
        let full = Matrix::new(&names, &[vec![u64::MAX, u64::MAX]]).to_svg();
        assert!(full.contains("(50 %)"), "{full}");
    }
}

//! Values that a table lacks: what stands in their place, with statistics of the training samples.

use std::cmp::Ordering;

use cortical_settings::choice;

use crate::column::{Column, ColumnKind};
use crate::error::{Error, Result, SampleDefect};
use crate::inputs::Inputs;

choice! {
    /// What becomes of a value that a table lacks.
    #[derive(Debug, Default)]
    #[non_exhaustive]
    pub enum Missing: "treatment of missing values" {
        /// It is an error, which says where.
        #[default]
        Refuse = "refuse",
        /// A number is the mean of its column in the part to learn from, a category the most frequent one.
        Mean = "mean",
        /// A number is the median of its column, a category the most frequent one.
        Median = "median",
        /// Both are the most frequent value of their column.
        MostFrequent = "most_frequent",
        /// A category is one of its own; a number is refused.
        Category = "category",
        /// The row is left out.
        Drop = "drop",
    }
}

impl Missing {
    /// Whether a value is put in the place of one that is missing, by the other samples.
    pub(crate) fn fills(self) -> bool {
        matches!(self, Self::Mean | Self::Median | Self::MostFrequent)
    }
}

/// What stands for a missing value, for each value of a sample; nothing where missing values are not filled.
///
/// # Errors
/// [`SampleDefect::EmptyColumn`] for a column that has no value at all.
pub(crate) fn fit(missing: Missing, train: &Inputs) -> Result<Vec<f64>> {
    if !missing.fills() {
        return Ok(Vec::new());
    }
    let features = train.preprocess().features();
    let columns = train.preprocess().columns();
    let mut fill = Vec::with_capacity(features);
    let plain = Column {
        name: None,
        kind: ColumnKind::Number,
    };
    // A table of numbers without names keeps no columns.
    let all: Vec<(usize, &Column)> = match columns {
        [] => (0..features).map(|index| (index, &plain)).collect(),
        columns => columns.iter().enumerate().collect(),
    };
    for (index, column) in all {
        let width = column.width();
        let start = fill.len();
        let empty = || {
            Error::Sample(SampleDefect::EmptyColumn {
                column: column.title(index),
            })
        };
        if let ColumnKind::OneHot(_) = column.kind {
            let mut counts = vec![0_usize; width];
            for row in 0..train.len() {
                let values = &train.scaled_row(row, 1.0)?[start..start + width];
                if let Some(at) = values.iter().position(|share| *share == 1.0) {
                    counts[at] += 1;
                }
            }
            let most = counts.iter().copied().max().unwrap_or(0);
            let at = counts.iter().position(|count| *count == most && most > 0);
            let at = at.ok_or_else(empty)?;
            fill.extend((0..width).map(|category| f64::from(u8::from(category == at))));
            continue;
        }
        for at in start..start + width {
            let mut values = Vec::with_capacity(train.len());
            for row in 0..train.len() {
                values.extend(Some(train.scaled_row(row, 1.0)?[at]).filter(|x| !x.is_nan()));
            }
            values.sort_by(f64::total_cmp);
            fill.push(middle(missing, &values).ok_or_else(empty)?);
        }
    }
    Ok(fill)
}

/// The mean, median or most frequent of sorted numbers; of equally frequent ones the lowest.
fn middle(missing: Missing, sorted: &[f64]) -> Option<f64> {
    let (first, count) = (sorted.first()?, sorted.len());
    Some(match missing {
        Missing::Median => {
            let (low, high) = (sorted[(count - 1) / 2], sorted[count / 2]);
            low / 2.0 + high / 2.0
        }
        Missing::MostFrequent => {
            let runs = sorted.chunk_by(|a, b| a == b);
            // The later one of equals is what `max_by` gives.
            let longest = runs.max_by(|a, b| match a.len().cmp(&b.len()) {
                Ordering::Equal => b[0].total_cmp(&a[0]),
                other => other,
            });
            longest.map_or(*first, |run| run[0])
        }
        _ => {
            first
                + sorted
                    .iter()
                    .map(|x| (x - first) / count as f64)
                    .sum::<f64>()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_as_it_is_called() {
        let sorted = [1.0, 1.0, 2.0, 4.0, 4.0, 9.0];
        let of = |missing| middle(missing, &sorted).unwrap();
        assert_eq!(of(Missing::Mean), 3.5);
        assert_eq!(of(Missing::Median), 3.0);
        assert_eq!(of(Missing::MostFrequent), 1.0);
        assert_eq!(middle(Missing::Median, &sorted[..5]), Some(2.0));
        assert_eq!(middle(Missing::Mean, &[]), None);
    }
}

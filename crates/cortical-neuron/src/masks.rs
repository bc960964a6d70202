//! Masks by importance: which weights stay connected when a share of them is pruned.
//!
//! Plain arithmetic on scores, one for each weight: the larger, the longer it stays. What a score is (a magnitude, a
//! movement, a magnitude times what it reads) is for the caller to say. The same scores give the same masks: of equal
//! ones the first stay.

use std::cmp::Ordering;

/// So many weights of each so many stay, such as 2 of 4, which sparse tensor cores ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    keep: usize,
    of: usize,
}

impl Pattern {
    /// `keep` of each `of` weights in a row of inputs; `None` unless `0 < keep < of`.
    ///
    /// ```
    /// use cortical_neuron::Pattern;
    /// let pattern = Pattern::new(2, 4).expect("fewer than there are");
    /// assert_eq!(pattern.mask(&[0.1, 0.9, 0.5, 0.3, 7.0, 6.0], 6), [0, 1, 1, 0, 1, 1]);
    /// assert_eq!(Pattern::new(4, 4), None);
    /// ```
    #[must_use]
    pub fn new(keep: usize, of: usize) -> Option<Self> {
        (0 < keep && keep < of).then_some(Self { keep, of })
    }

    /// `"2:4"` as a pattern.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (keep, of) = text.split_once(':')?;
        Self::new(keep.parse().ok()?, of.parse().ok()?)
    }

    /// The share of weights that it prunes, where rows are made of whole groups.
    #[must_use]
    pub fn sparsity(self) -> f64 {
        1.0 - self.keep as f64 / self.of as f64
    }

    /// The mask of a matrix whose rows are so long: 1 for what stays. The end of a row that is shorter than a group
    /// stays as it is.
    #[must_use]
    pub fn mask(self, scores: &[f32], row: usize) -> Vec<u8> {
        let mut mask = vec![1; scores.len()];
        for start in (0..scores.len()).step_by(row.max(1)) {
            let end = scores.len().min(start + row.max(1));
            for first in (start..end).step_by(self.of) {
                if first + self.of <= end {
                    let group = first..first + self.of;
                    let kept = largest([&scores[group.clone()]], self.keep);
                    mask[group].copy_from_slice(&kept[0]);
                }
            }
        }
        mask
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.keep, self.of)
    }
}

/// The masks of some tensors that are ranked together, of which so many weights stay: those with the largest scores.
///
/// # Shapes
/// - `scores`: a slice for each tensor; a score that is NaN counts as the smallest
/// - result: as many masks of as many elements, 1 for what stays and 0 for what is pruned
///
/// ```
/// use cortical_neuron::largest;
/// assert_eq!(largest([&[0.5, 0.1][..], &[0.3]], 2), [vec![1, 0], vec![1]]);
/// ```
#[must_use]
pub fn largest<'s>(scores: impl IntoIterator<Item = &'s [f32]>, keep: usize) -> Vec<Vec<u8>> {
    let scores: Vec<&[f32]> = scores.into_iter().collect();
    let count: usize = scores.iter().map(|scores| scores.len()).sum();
    let prune = count.saturating_sub(keep);
    let mut masks: Vec<Vec<u8>> = scores.iter().map(|scores| vec![1; scores.len()]).collect();
    if prune == 0 {
        return masks;
    }
    let mut all: Vec<f32> = Vec::with_capacity(count);
    all.extend(scores.iter().flat_map(|scores| scores.iter().map(plain)));
    // The smallest that stays, and how many of its equals go with those below it.
    let (below, threshold, _) = all.select_nth_unstable_by(prune - 1, by_value);
    let threshold = *threshold;
    let smaller = below.iter().filter(|score| **score < threshold).count();
    let mut equals = prune - smaller;
    // The last of equals go first.
    for (scores, mask) in scores.iter().zip(&mut masks).rev() {
        for (score, stays) in scores.iter().zip(mask.iter_mut()).rev() {
            let score = plain(score);
            if score < threshold {
                *stays = 0;
            } else if score == threshold && equals > 0 {
                *stays = 0;
                equals -= 1;
            }
        }
    }
    masks
}

/// The mask of a matrix of which each row is ranked by itself: of every `row` weights the same share is pruned.
#[must_use]
pub fn largest_of_rows(scores: &[f32], row: usize, sparsity: f64) -> Vec<u8> {
    let rows = scores.chunks(row.max(1));
    rows.flat_map(|scores| largest([scores], kept(scores.len(), sparsity)).remove(0))
        .collect()
}

/// How many of so many weights stay when this share of them is pruned: the nearest whole number.
#[must_use]
pub fn kept(count: usize, sparsity: f64) -> usize {
    let pruned = (count as f64 * sparsity.clamp(0.0, 1.0)).round();
    count - (pruned as usize).min(count)
}

/// A score that can be compared with any other.
fn plain(score: &f32) -> f32 {
    if score.is_nan() {
        f32::NEG_INFINITY
    } else {
        *score
    }
}

fn by_value(a: &f32, b: &f32) -> Ordering {
    a.partial_cmp(b).unwrap_or(Ordering::Equal)
}

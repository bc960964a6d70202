//! Scores that are gathered batch by batch: of classes, and of numbers.

use serde::{Deserialize, Serialize};

/// Scores of a classifier, gathered batch by batch: loss, accuracy, top-k, precision, recall, F1, area under the ROC
/// curve.
///
/// ```
/// use cortical_train::Classification;
/// let mut scores = Classification::new(2);
/// scores.add(&[&[2.0, 0.0], &[0.0, 1.0], &[3.0, 0.0]], &[0, 1, 1], 1.5);
/// assert_eq!((scores.accuracy(), scores.confusion()[1][0]), (2.0 / 3.0, 1));
/// assert_eq!(scores.recall(1), Some(0.5));
/// ```
#[derive(Clone, Debug)]
pub struct Classification {
    classes: usize,
    samples: u64,
    /// The sum of the samples' losses.
    loss: f64,
    counts: Vec<ClassCount>,
    /// Empty with many classes.
    confusion: Vec<Vec<u64>>,
    /// How often the right class was the first, second, third … choice.
    ranks: Vec<u64>,
    /// For each class, the probability of each sample and whether it belongs to it; empty with many classes.
    curves: Vec<Vec<(f32, bool)>>,
}

/// The most classes of which each pair is counted and each has its ROC curve: what is kept must not grow with their
/// square, nor with samples times classes.
const PAIRED_CLASSES: usize = 256;

/// How often a class was there, and how often it was chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClassCount {
    /// Samples of the class.
    pub samples: u64,
    /// Those of them that were recognised.
    pub right: u64,
    /// Samples that were taken for it.
    pub taken: u64,
}

impl Classification {
    /// No samples yet.
    #[must_use]
    pub fn new(classes: usize) -> Self {
        let paired = if classes <= PAIRED_CLASSES {
            classes
        } else {
            0
        };
        Self {
            classes,
            samples: 0,
            loss: 0.0,
            counts: vec![ClassCount::default(); classes],
            confusion: vec![vec![0; paired]; paired],
            ranks: vec![0; classes],
            curves: vec![Vec::new(); paired],
        }
    }

    /// Adds some samples: a score for each class (logits), the label, and the mean of their losses.
    ///
    /// Of equal scores the first class is chosen, and one that is NaN never is. Labels that are no class are left out.
    pub fn add<R: AsRef<[f32]>>(&mut self, logits: &[R], labels: &[u32], mean_loss: f64) {
        let mut added = 0;
        for (row, &label) in logits.iter().zip(labels) {
            let (row, label) = (row.as_ref(), label as usize);
            if label >= self.classes || row.len() != self.classes {
                continue;
            }
            added += 1;
            let before = |class: usize| {
                let (a, b) = (row[class], row[label]);
                class != label
                    && (a > b || (b.is_nan() && !a.is_nan()) || (a == b && class < label))
            };
            let rank = (0..self.classes).filter(|class| before(*class)).count();
            self.ranks[rank] += 1;
            let chosen = choice(row);
            self.counts[label].samples += 1;
            self.counts[label].right += u64::from(label == chosen);
            self.counts[chosen].taken += 1;
            if let Some(row) = self.confusion.get_mut(label) {
                row[chosen] += 1;
            }
            // Of many classes there are no curves, and what they cost counts.
            if self.curves.is_empty() {
                continue;
            }
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = row.iter().map(|x| (x - max).exp()).sum();
            for (class, curve) in self.curves.iter_mut().enumerate() {
                curve.push(((row[class] - max).exp() / sum, class == label));
            }
        }
        self.samples += added;
        self.loss += mean_loss * added as f64;
    }

    /// How many samples there were.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The mean loss, in nats; NaN without samples.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss / self.samples as f64
    }

    /// `e^loss`: among how many equally probable classes the network seems to choose.
    #[must_use]
    pub fn perplexity(&self) -> f64 {
        self.loss().exp()
    }

    /// The share of the samples whose class was the first choice.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.top_k(1)
    }

    /// The share of the samples whose class was among the first `k` choices.
    #[must_use]
    pub fn top_k(&self, k: usize) -> f64 {
        let hits: u64 = self.ranks.iter().take(k).sum();
        hits as f64 / self.samples as f64
    }

    /// How often each class was there and was chosen.
    #[must_use]
    pub fn counts(&self) -> &[ClassCount] {
        &self.counts
    }

    /// `confusion[t][p]`: how many samples of class `t` were taken for class `p`. Empty with more than 256 classes.
    #[must_use]
    pub fn confusion(&self) -> &[Vec<u64>] {
        &self.confusion
    }

    /// The share of a class's samples that was recognised; `None` without samples.
    #[must_use]
    pub fn recall(&self, class: usize) -> Option<f64> {
        let count = self.counts[class];
        share(count.right, count.samples)
    }

    /// The share of the samples taken for a class that belong to it; `None` if none was.
    #[must_use]
    pub fn precision(&self, class: usize) -> Option<f64> {
        let count = self.counts[class];
        share(count.right, count.taken)
    }

    /// The harmonic mean of precision and recall, 0 if both are, `None` for a class that neither occurs nor was chosen.
    #[must_use]
    pub fn f1(&self, class: usize) -> Option<f64> {
        let count = self.counts[class];
        // 2 · right / (samples + taken) is the same mean without its divisions by zero.
        share(2 * count.right, count.samples + count.taken)
    }

    /// The mean of the classes' F1, over those that have one.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        mean((0..self.classes).filter_map(|class| self.f1(class)))
    }

    /// The area under a class's ROC curve: how probably a sample of it has a higher probability than one of the others,
    /// ties counting half. `None` unless there are both, and with more than 256 classes.
    ///
    /// # Source
    /// Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve"
    /// (1982).
    #[must_use]
    pub fn auroc(&self, class: usize) -> Option<f64> {
        let mut curve = self.curves.get(class)?.clone();
        curve.sort_by(|a, b| a.0.total_cmp(&b.0));
        let own = curve.iter().filter(|(_, own)| *own).count() as f64;
        let others = curve.len() as f64 - own;
        if own == 0.0 || others == 0.0 {
            return None;
        }
        // The sum of the ranks of its samples; equal probabilities share the mean of their ranks.
        let (mut ranks, mut done) = (0.0, 0.0);
        for ties in curve.chunk_by(|a, b| a.0 == b.0) {
            let middle = done + (ties.len() as f64 + 1.0) / 2.0;
            ranks += middle * ties.iter().filter(|(_, own)| *own).count() as f64;
            done += ties.len() as f64;
        }
        Some((ranks - own * (own + 1.0) / 2.0) / (own * others))
    }

    /// The mean of the classes' areas, each against all others, over those that have one; of two classes they are the
    /// same.
    #[must_use]
    pub fn macro_auroc(&self) -> Option<f64> {
        let areas: Vec<f64> = (0..self.classes).filter_map(|c| self.auroc(c)).collect();
        (!areas.is_empty()).then(|| rounded(mean(areas.into_iter())))
    }
}

/// A figure with nine decimals: a parser of JSON reads as many back exactly, and all 17 digits of a double only nearly.
pub(crate) fn rounded(figure: f64) -> f64 {
    (figure * 1e9).round() / 1e9
}

/// The class with the highest score; the first of equals, and never one whose score is NaN.
pub(crate) fn choice(row: &[f32]) -> usize {
    let mut best = 0;
    for (class, score) in row.iter().enumerate() {
        if *score > row[best] || row[best].is_nan() {
            best = class;
        }
    }
    best
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn mean(figures: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = figures.fold((0.0, 0.0), |(s, n), x| (s + x, n + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

/// Scores of predicted numbers, gathered batch by batch: mean absolute and squared errors, and how much of the variance
/// is explained.
///
/// ```
/// use cortical_train::Regression;
/// let mut scores = Regression::default();
/// scores.add(&[1.0, 2.0], &[1.0, 4.0]);
/// assert_eq!((scores.mae(), scores.rmse(), scores.r2()), (1.0, 2.0_f64.sqrt(), 1.0 - 4.0 / 4.5));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Regression {
    samples: f64,
    absolute: f64,
    square: f64,
    /// Mean of the targets, and the sum of their squared distances from it.
    mean: f64,
    spread: f64,
}

impl Regression {
    /// Adds some predictions with what they should have been.
    ///
    /// # Source
    /// Welford, "Note on a method for calculating corrected sums of squares and products" (1962), for the variance of
    /// the targets.
    pub fn add(&mut self, predictions: &[f64], targets: &[f64]) {
        for (p, y) in predictions.iter().zip(targets) {
            self.samples += 1.0;
            self.absolute += (p - y).abs();
            self.square += (p - y).powi(2);
            let away = y - self.mean;
            self.mean += away / self.samples;
            self.spread += away * (y - self.mean);
        }
    }

    /// The mean of `|prediction − target|`.
    #[must_use]
    pub fn mae(&self) -> f64 {
        self.absolute / self.samples
    }

    /// The root of the mean of `(prediction − target)²`.
    #[must_use]
    pub fn rmse(&self) -> f64 {
        (self.square / self.samples).sqrt()
    }

    /// R², the share of the targets' variance that the predictions explain: `1 − Σ (p − y)² / Σ (y − ȳ)²`. Below 0 they
    /// are worse than the mean.
    #[must_use]
    pub fn r2(&self) -> f64 {
        1.0 - self.square / self.spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_give_top_k_and_ties_go_to_the_first() {
        let mut scores = Classification::new(3);
        scores.add(
            &[
                [3.0, 2.0, 1.0],
                [1.0, 1.0, 0.0],
                [0.0, 5.0, 5.0],
                [f32::NAN, 0.0, 1.0],
            ],
            &[2, 1, 2, 0],
            0.5,
        );
        assert_eq!([1, 2, 3].map(|k| scores.top_k(k)), [0.0, 0.5, 1.0]);
        assert_eq!(scores.confusion(), [[0, 0, 1], [1, 0, 0], [1, 1, 0]]);
        assert_eq!(scores.loss(), 0.5);
    }

    #[test]
    fn many_classes_take_no_square_of_memory() {
        let classes = 20_000;
        let mut scores = Classification::new(classes);
        let mut row = vec![0.0_f32; classes];
        row[7] = 1.0;
        scores.add(&[&row[..], &row], &[7, 9], 0.5);
        assert!(scores.confusion().is_empty() && scores.macro_auroc().is_none());
        assert_eq!(scores.accuracy(), 0.5);
        assert_eq!(
            (scores.recall(7), scores.precision(7)),
            (Some(1.0), Some(0.5))
        );
        assert_eq!(scores.recall(9), Some(0.0));
        assert_eq!(scores.counts()[7].taken, 2);
    }

    #[test]
    fn precision_recall_and_f1_come_from_the_confusion() {
        let mut scores = Classification::new(3);
        // Three of class 0, of which one is taken for class 1; two of class 1; class 2 never occurs.
        let rows = [
            [1.0, 0.0, 0.0],
            [1.0, 0.0, 0.0],
            [0.0, 1.0, 0.0],
            [0.0, 1.0, 0.0],
            [0.0, 1.0, 0.0],
        ];
        scores.add(&rows, &[0, 0, 0, 1, 1], 0.0);
        assert_eq!(
            (scores.precision(0), scores.recall(0)),
            (Some(1.0), Some(2.0 / 3.0))
        );
        assert_eq!(
            (scores.precision(1), scores.recall(1)),
            (Some(2.0 / 3.0), Some(1.0))
        );
        assert_eq!(scores.f1(0), Some(0.8));
        assert_eq!(
            (scores.precision(2), scores.recall(2), scores.f1(2)),
            (None, None, None)
        );
        assert!((scores.macro_f1() - 0.8).abs() < 1e-12);
    }

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        let mut scores = Classification::new(2);
        let logit = [0.1_f32, 0.4, 0.35, 0.8, 0.4];
        let rows: Vec<[f32; 2]> = logit.iter().map(|x| [0.0, *x]).collect();
        let labels = [0, 0, 1, 1, 1];
        // Batch by batch as well as at once.
        scores.add(&rows[..2], &labels[..2], 0.0);
        scores.add(&rows[2..], &labels[2..], 0.0);
        // Of six pairs four are in order, one ties, one is not.
        assert!((scores.auroc(1).unwrap() - 4.5 / 6.0).abs() < 1e-12);
        assert!((scores.macro_auroc().unwrap() - 0.75).abs() < 1e-9);
        let mut one = Classification::new(2);
        one.add(&rows, &[1; 5], 0.0);
        assert_eq!((one.auroc(0), one.macro_auroc()), (None, None));
    }

    #[test]
    fn numbers_far_from_zero_keep_their_variance() {
        let mut scores = Regression::default();
        let targets: Vec<f64> = (0..100).map(|i| 1e9 + f64::from(i)).collect();
        for part in targets.chunks(7) {
            let predictions: Vec<f64> = part.iter().map(|y| y + 0.5).collect();
            scores.add(&predictions, part);
        }
        assert!((scores.mae() - 0.5).abs() < 1e-12 && (scores.rmse() - 0.5).abs() < 1e-12);
        assert!(
            (scores.r2() - (1.0 - 25.0 / 83_325.0)).abs() < 1e-6,
            "{}",
            scores.r2()
        );
    }
}

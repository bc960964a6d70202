//! Holding out a part of the samples, every class in proportion: for testing, and of what is left for validation.

use std::collections::BTreeMap;

use cortical_tensor::{Rng, Seed};

use crate::dataset::{Dataset, Splits};
use crate::error::{Error, Result, SplitDefect};

/// The random stream that draws the test part.
const TEST_STREAM: &str = "split";
/// The random stream that draws the validation part: one of its own, so that the test part is the same with and without
/// one.
const VALID_STREAM: &str = "valid";

/// The rows of each part, as [`split_rows`] gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The rows to learn from.
    pub train: Vec<usize>,
    /// The rows that training is watched on; empty for a fraction of 0.
    pub valid: Vec<usize>,
    /// The rows of the last measurement; empty for a fraction of 0.
    pub test: Vec<usize>,
}

/// Holds out `test_fraction` of the samples, drawn by the stream `"split"` of `seed`.
///
/// Every class gives its share: `floor(n · fraction)` of its samples, and the samples still missing to the rounded
/// total come from the classes with the largest remainders. A class always keeps one sample for training. Both parts
/// keep the order of the samples. There is no validation part; [`Splits::with_validation`] cuts one off.
///
/// # Errors
/// A fraction outside 0..1; too few samples for both parts to get one.
///
/// ```
/// use cortical_data::{digits, split};
/// use cortical_tensor::Seed;
/// let splits = split(&digits()?, 0.2, Seed(1))?;
/// assert_eq!((splits.train.len(), splits.test.len()), (1438, 359));
/// # Ok::<(), cortical_data::Error>(())
/// ```
pub fn split(dataset: &Dataset, test_fraction: f64, seed: Seed) -> Result<Splits> {
    if test_fraction == 0.0 {
        return Err(Error::Split(SplitDefect::TestFraction {
            found: test_fraction,
        }));
    }
    let rows = split_rows(&dataset.strata(), test_fraction, 0.0, seed)?;
    Ok(Splits {
        train: dataset.select(&rows.train)?,
        valid: None,
        test: dataset.select(&rows.test)?,
    })
}

/// As [`split`] and [`Splits::with_validation`], of samples of any kind: the rows of each part, in their order, of
/// samples with these labels.
///
/// `test_fraction` is a share of all samples, `valid_fraction` one of those that are left. A part with the fraction 0
/// is empty.
///
/// # Errors
/// A fraction below 0, or of 1 and more; too few samples for every part to get one.
///
/// ```
/// use cortical_data::split_rows;
/// use cortical_tensor::Seed;
/// let rows = split_rows(&[0, 0, 0, 1, 1, 1], 0.34, 0.5, Seed(1))?;
/// assert_eq!((rows.train.len(), rows.valid.len(), rows.test.len()), (2, 2, 2));
/// let same = split_rows(&[0, 0, 0, 1, 1, 1], 0.34, 0.0, Seed(1))?;
/// assert_eq!((same.test, same.train.len()), (rows.test, 4));
/// # Ok::<(), cortical_data::Error>(())
/// ```
pub fn split_rows(
    labels: &[u32],
    test_fraction: f64,
    valid_fraction: f64,
    seed: Seed,
) -> Result<Rows> {
    let all: Vec<usize> = (0..labels.len()).collect();
    let (rest, test) = match test_fraction {
        0.0 => (all, Vec::new()),
        found if !(found > 0.0 && found < 1.0) => {
            return Err(Error::Split(SplitDefect::TestFraction { found }));
        }
        share => {
            let (rest, test) = hold_out(&all, labels, share, Rng::new(seed, TEST_STREAM));
            if rest.is_empty() || test.is_empty() {
                return Err(Error::Split(SplitDefect::EmptyTest {
                    samples: labels.len(),
                    classes: count_classes(labels),
                    train: rest.len(),
                    test: test.len(),
                }));
            }
            (rest, test)
        }
    };
    let (train, valid) = hold_out_valid(rest, labels, valid_fraction, seed)?;
    Ok(Rows { train, valid, test })
}

impl Splits {
    /// Cuts `fraction` of the training samples off for validation, every class in proportion as in [`split`], drawn by
    /// the stream `"valid"` of `seed`; 0 for none. A validation part that is already there stays as it is.
    ///
    /// The test part and the order of the samples stay the same.
    ///
    /// # Errors
    /// A fraction below 0, or of 1 and more; too few samples for both parts to get one.
    ///
    /// ```
    /// use cortical_data::{digits, split};
    /// use cortical_tensor::Seed;
    /// let splits = split(&digits()?, 0.2, Seed(1))?.with_validation(0.1, Seed(1))?;
    /// let valid = splits.valid.as_ref().map(|valid| valid.len());
    /// assert_eq!((splits.train.len(), valid, splits.test.len()), (1294, Some(144), 359));
    /// # Ok::<(), cortical_data::Error>(())
    /// ```
    pub fn with_validation(self, fraction: f64, seed: Seed) -> Result<Self> {
        if self.valid.is_some() || fraction == 0.0 {
            return Ok(self);
        }
        let labels = self.train.strata();
        let all = (0..labels.len()).collect();
        let (train, valid) = hold_out_valid(all, &labels, fraction, seed)?;
        Ok(Self {
            train: self.train.select(&train)?,
            valid: Some(self.train.select(&valid)?),
            test: self.test,
        })
    }
}

/// Which of these rows stay for training and which are for validation.
fn hold_out_valid(
    rows: Vec<usize>,
    labels: &[u32],
    fraction: f64,
    seed: Seed,
) -> Result<(Vec<usize>, Vec<usize>)> {
    if fraction == 0.0 {
        return Ok((rows, Vec::new()));
    }
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(Error::Split(SplitDefect::ValidFraction { found: fraction }));
    }
    let (train, valid) = hold_out(&rows, labels, fraction, Rng::new(seed, VALID_STREAM));
    if train.is_empty() || valid.is_empty() {
        let labels: Vec<u32> = rows.iter().map(|&row| labels[row]).collect();
        return Err(Error::Split(SplitDefect::EmptyValidation {
            samples: rows.len(),
            classes: count_classes(&labels),
            train: train.len(),
            valid: valid.len(),
        }));
    }
    Ok((train, valid))
}

fn count_classes(labels: &[u32]) -> usize {
    labels
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .len()
}

/// Those of `rows` that stay and those that are held out, each sorted; `labels` are those of all samples.
fn hold_out(
    rows: &[usize],
    labels: &[u32],
    fraction: f64,
    mut rng: Rng,
) -> (Vec<usize>, Vec<usize>) {
    // A map, as a label may be any number.
    let mut by_class: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for &row in rows {
        by_class.entry(labels[row]).or_default().push(row);
    }
    let counts: Vec<usize> = by_class.values().map(Vec::len).collect();
    let quotas = quotas(&counts, fraction);
    let (mut kept, mut held) = (Vec::new(), Vec::new());
    for (mut rows, quota) in by_class.into_values().zip(quotas) {
        rng.shuffle(&mut rows);
        held.extend_from_slice(&rows[..quota]);
        kept.extend_from_slice(&rows[quota..]);
    }
    kept.sort_unstable();
    held.sort_unstable();
    (kept, held)
}

/// Part `fold` of a cross-validation: the samples are dealt into `folds` parts, every class in turn, of which this one
/// is tested on and the others are learned from.
///
/// Every sample is tested on in exactly one fold; the dealing is drawn by the stream `"folds"` of `seed`. A validation
/// part is cut off what is learned from: [`Splits::with_validation`].
///
/// # Errors
/// [`SplitDefect::Folds`] for fewer than 2 folds, more than samples, or a fold that is none of them.
///
/// ```
/// use cortical_data::{fold, iris};
/// use cortical_tensor::Seed;
/// let splits = fold(&iris()?, 5, 0, Seed(1))?;
/// assert_eq!(splits.test.class_counts(), [10, 10, 10]);
/// # Ok::<(), cortical_data::Error>(())
/// ```
pub fn fold(dataset: &Dataset, folds: usize, fold: usize, seed: Seed) -> Result<Splits> {
    let samples = dataset.len();
    if folds < 2 || folds > samples || fold >= folds {
        return Err(Error::Split(SplitDefect::Folds {
            folds,
            fold,
            samples,
        }));
    }
    let mut order: Vec<usize> = (0..samples).collect();
    Rng::new(seed, "folds").shuffle(&mut order);
    // Stable, so that each class keeps its random order; then they are dealt one by one.
    let strata = dataset.strata();
    order.sort_by_key(|&row| strata[row]);
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (i, row) in order.into_iter().enumerate() {
        if i % folds == fold {
            test.push(row);
        } else {
            train.push(row);
        }
    }
    train.sort_unstable();
    test.sort_unstable();
    Ok(Splits {
        train: dataset.select(&train)?,
        valid: None,
        test: dataset.select(&test)?,
    })
}

/// How many samples each class gives to the part that is held out, by the method of the largest remainder.
fn quotas(counts: &[usize], fraction: f64) -> Vec<usize> {
    let total = (counts.iter().sum::<usize>() as f64 * fraction).round() as usize;
    let mut quotas: Vec<usize> = counts
        .iter()
        .map(|&n| (n as f64 * fraction) as usize)
        .collect();
    let remainder = |class: usize| counts[class] as f64 * fraction - quotas[class] as f64;
    let mut order: Vec<usize> = (0..counts.len()).collect();
    // The sort is stable, so that equal remainders go to the first class.
    order.sort_by(|&a, &b| remainder(b).total_cmp(&remainder(a)));
    let mut missing = total.saturating_sub(quotas.iter().sum());
    for class in order {
        if missing > 0 && quotas[class] + 1 < counts[class] {
            quotas[class] += 1;
            missing -= 1;
        }
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::Inputs;
    use proptest::prelude::*;

    #[test]
    fn every_sample_is_tested_on_in_one_fold() {
        let labels = (0..23).map(|i| i % 5).collect();
        let all = dataset(labels);
        let mut seen: Vec<f32> = Vec::new();
        for part in 0..4 {
            let splits = fold(&all, 4, part, Seed(1)).unwrap();
            assert_eq!(splits.train.len() + splits.test.len(), 23);
            let counts = splits.test.class_counts();
            assert!(counts.iter().all(|n| (1..=2).contains(n)), "{counts:?}");
            for row in 0..splits.test.len() {
                seen.extend(splits.test.inputs().raw_row(row).unwrap());
            }
        }
        seen.sort_by(f32::total_cmp);
        assert!(seen.into_iter().eq((0..23).map(|i| i as f32)));
        for (folds, part) in [(1, 0), (24, 0), (4, 4)] {
            let error = fold(&all, folds, part, Seed(1)).unwrap_err();
            assert!(
                matches!(error, Error::Split(SplitDefect::Folds { .. })),
                "{error}"
            );
        }
    }

    fn dataset(labels: Vec<u32>) -> Dataset {
        let values = (0..labels.len()).map(|i| i as f32).collect();
        let classes = (0..5).map(|c| c.to_string()).collect();
        Dataset::new(Inputs::new(values, &[1]).unwrap(), labels, classes).unwrap()
    }

    fn raw(dataset: &Dataset) -> Vec<usize> {
        (0..dataset.len())
            .map(|row| dataset.inputs().raw_row(row).unwrap()[0] as usize)
            .collect()
    }

    #[test]
    fn the_seed_decides_the_split() {
        let all = dataset((0..100).map(|i| i % 5).collect());
        let test = |seed| raw(&split(&all, 0.2, Seed(seed)).unwrap().test);
        assert_eq!(test(1), test(1));
        assert_ne!(test(1), test(2));
        assert_eq!(
            split(&all, 0.2, Seed(1)).unwrap().test.class_counts(),
            [4; 5]
        );
    }

    #[test]
    fn what_rounding_leaves_goes_to_the_largest_remainders() {
        assert_eq!(quotas(&[7, 8], 0.2), [1, 2]);
        assert_eq!(quotas(&[8, 7], 0.2), [2, 1]);
        assert_eq!(quotas(&[7, 7, 7], 0.2), [2, 1, 1]);
        assert_eq!(quotas(&[1, 1, 1, 1, 1, 5], 0.5), [0, 0, 0, 0, 0, 3]);
    }

    #[test]
    fn both_parts_keep_the_order_of_the_samples() {
        let splits = split(&dataset((0..100).map(|i| i % 5).collect()), 0.2, Seed(1)).unwrap();
        assert!(raw(&splits.train).is_sorted());
        assert!(raw(&splits.test).is_sorted());
    }

    #[test]
    fn a_split_that_cannot_be_is_refused() {
        let check = |labels: &[u32], fraction: f64, text: &str| {
            let error = split(&dataset(labels.to_vec()), fraction, Seed(1)).unwrap_err();
            assert_eq!(error.to_string(), text);
        };
        for fraction in [0.0, 1.0, -0.5] {
            let text = format!("expected a test fraction above 0 and below 1, found {fraction}");
            check(&[0, 0, 1], fraction, &text);
        }
        check(
            &[0, 0, 1],
            f64::NAN,
            "expected a test fraction above 0 and below 1, found NaN",
        );
        check(
            &[0, 1, 2],
            0.5,
            "expected at least one sample for training and one for testing, but 3 samples in 3 classes leave 3 and 0; add samples or change the test fraction",
        );
        check(
            &[],
            0.5,
            "expected at least one sample for training and one for testing, but 0 samples in 0 classes leave 0 and 0; add samples or change the test fraction",
        );
    }

    #[test]
    fn a_validation_part_comes_out_of_the_training_part_and_the_test_part_stays() {
        let all = dataset((0..200).map(|i| i % 5).collect());
        let two = split(&all, 0.2, Seed(1)).unwrap();
        let none = two.clone().with_validation(0.0, Seed(1)).unwrap();
        assert!(none.valid.is_none());
        assert_eq!(raw(&none.train), raw(&two.train));
        let three = two.clone().with_validation(0.25, Seed(1)).unwrap();
        let valid = three.valid.clone().unwrap();
        assert_eq!(raw(&three.test), raw(&two.test));
        assert_eq!(valid.class_counts(), [8; 5]);
        assert!(raw(&valid).is_sorted() && raw(&three.train).is_sorted());
        let mut rows = [raw(&three.train), raw(&valid)].concat();
        rows.sort_unstable();
        assert_eq!(rows, raw(&two.train));
        // The same draw where only the rows are asked for; another seed draws others; a part that is there is kept.
        let rows = split_rows(all.labels(), 0.2, 0.25, Seed(1)).unwrap();
        assert_eq!(
            [rows.train, rows.valid, rows.test],
            [raw(&three.train), raw(&valid), raw(&three.test)]
        );
        let other = two.with_validation(0.25, Seed(2)).unwrap();
        assert_ne!(raw(&other.valid.unwrap()), raw(&valid));
        let kept = three.with_validation(0.5, Seed(3)).unwrap();
        assert_eq!(raw(&kept.valid.unwrap()), raw(&valid));
    }

    #[test]
    fn a_validation_part_that_cannot_be_is_refused() {
        let check = |labels: &[u32], fraction: f64, text: &str| {
            let rows = split_rows(labels, 0.0, fraction, Seed(1));
            assert_eq!(rows.unwrap_err().to_string(), text);
        };
        for fraction in [1.0, -0.5, f64::NAN] {
            let text = format!(
                "expected a validation fraction of at least 0 and below 1, found {fraction}"
            );
            check(&[0, 0, 1], fraction, &text);
        }
        check(
            &[0, 1, 2],
            0.5,
            "expected at least one sample for training and one for validation, but 3 samples in 3 classes leave 3 and 0; add samples or change the validation fraction",
        );
        // What is left over by the test part is what counts.
        let few = split_rows(&[0, 0, 1, 1], 0.5, 0.5, Seed(1)).unwrap_err();
        assert_eq!(
            few.to_string(),
            "expected at least one sample for training and one for validation, but 2 samples in 2 classes leave 2 and 0; add samples or change the validation fraction"
        );
    }

    #[test]
    fn the_parts_of_a_seed_stay_what_they_are() {
        let labels: Vec<u32> = (0..20).map(|i| i % 2).collect();
        for (fraction, valid) in [(0.0, &[][..]), (0.25, &[3, 6, 7, 14][..])] {
            let rows = split_rows(&labels, 0.2, fraction, Seed(0)).unwrap();
            assert_eq!(rows.test, [5, 8, 15, 16]);
            assert_eq!(rows.valid, valid);
        }
    }

    proptest! {
        #[test]
        fn every_sample_is_on_one_side_and_every_class_in_proportion(
            labels in prop::collection::vec(0u32..5, 10..200),
            fraction in 0.05f64..0.95,
        ) {
            let all = dataset(labels);
            let Ok(splits) = split(&all, fraction, Seed(9)) else { return Ok(()) };
            let mut rows = raw(&splits.train);
            rows.extend(raw(&splits.test));
            rows.sort_unstable();
            prop_assert!(rows.into_iter().eq(0..all.len()));
            let counts = all.class_counts().into_iter().zip(splits.test.class_counts());
            for (class, (n, held_out)) in counts.enumerate() {
                let share = n as f64 * fraction;
                prop_assert!((held_out as f64 - share).abs() <= 1.0, "class {class}: {held_out} of {n}");
                prop_assert!(n == 0 || held_out < n, "class {class} has nothing to learn from");
            }
        }
    }
}

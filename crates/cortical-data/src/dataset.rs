//! Samples with a class each, or with numbers to predict.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::about::About;
use crate::error::{Error, Result, SampleDefect, list};
use crate::inputs::Inputs;
use crate::preprocess::Preprocess;
use crate::targets::{TargetScale, Targets};

/// Labelled samples, read-only and cheap to clone: each has a class, or numbers to predict.
///
/// ```
/// use cortical_data::{Dataset, Inputs};
/// let inputs = Inputs::new(vec![0.1, 0.9, 0.2], &[1])?;
/// let dataset = Dataset::new(inputs, vec![0, 1, 0], vec!["low".into(), "high".into()])?;
/// assert_eq!(dataset.class_counts(), [2, 1]);
/// # Ok::<(), cortical_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dataset {
    inputs: Inputs,
    /// The class of each sample; none where numbers are predicted.
    labels: Arc<[u32]>,
    classes: Arc<[String]>,
    /// Whether the classes are called by their numbers for want of names.
    numbered: bool,
    /// The numbers of each sample; `None` where classes are.
    targets: Option<Targets>,
    about: Arc<About>,
}

/// What is learned from, what training is watched on, and what is tested on; all preprocessed alike.
///
/// ```
/// use cortical_data::{open, OpenOptions};
/// let splits = open("iris", &OpenOptions { valid_fraction: 0.25, ..Default::default() })?;
/// let valid = splits.valid.as_ref().map(|valid| valid.len());
/// assert_eq!((splits.train.len(), valid, splits.test.len()), (90, Some(30), 30));
/// # Ok::<(), cortical_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Splits {
    /// The samples to learn from.
    pub train: Dataset,
    /// The samples that choices are made by while training goes on, such as when to stop; `None` where none were asked
    /// for.
    pub valid: Option<Dataset>,
    /// The samples of the last measurement, which no choice has seen.
    pub test: Dataset,
}

impl Splits {
    /// All parts with `preprocess` instead of whatever they went through so far.
    ///
    /// # Errors
    /// Preprocessing made for samples of another shape.
    pub fn preprocessed(&self, preprocess: &Preprocess) -> Result<Self> {
        self.map(|part| part.preprocessed(preprocess))
    }

    /// All parts with their values seen as samples of another shape; preprocessing starts as the identity again.
    ///
    /// # Errors
    /// A shape with another number of values.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Self> {
        self.map(|part| part.reshaped(shape))
    }

    /// How the files of the data set were understood.
    #[must_use]
    pub fn about(&self) -> &About {
        self.train.about()
    }

    /// The bytes that the samples of all parts take in memory; values that parts share count once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let storage = self.parts().map(|(_, part)| part.inputs().storage());
        let unique: std::collections::BTreeMap<usize, u64> = storage.collect();
        let labels = self.parts().map(|(_, part)| {
            let numbers = part.targets().map_or(0, Targets::bytes);
            numbers + size_of_val(part.labels()) as u64
        });
        unique
            .into_values()
            .chain(labels)
            .fold(0, u64::saturating_add)
    }

    /// Every part that there is, with what it is called.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &Dataset)> {
        let valid = self.valid.as_ref().map(|valid| ("valid", valid));
        [("train", &self.train)]
            .into_iter()
            .chain(valid)
            .chain([("test", &self.test)])
    }

    /// Every part changed.
    pub(crate) fn map(&self, change: impl Fn(&Dataset) -> Result<Dataset>) -> Result<Self> {
        Ok(Self {
            train: change(&self.train)?,
            valid: self.valid.as_ref().map(&change).transpose()?,
            test: change(&self.test)?,
        })
    }
}

impl Dataset {
    /// Samples, a label for each, and the classes that the labels number.
    ///
    /// # Errors
    /// Another number of labels than of samples; a label that is no class.
    pub fn new(inputs: Inputs, labels: Vec<u32>, classes: Vec<String>) -> Result<Self> {
        if labels.len() != inputs.len() {
            return Err(Error::Sample(SampleDefect::LabelCount {
                expected: inputs.len(),
                found: labels.len(),
            }));
        }
        if let Some(row) = labels.iter().position(|&y| y as usize >= classes.len()) {
            return Err(Error::Sample(SampleDefect::LabelRange {
                row,
                expected: classes.len(),
                found: labels[row],
            }));
        }
        Ok(Self {
            inputs,
            labels: labels.into(),
            classes: classes.into(),
            numbered: false,
            targets: None,
            about: Arc::default(),
        })
    }

    /// Samples with numbers to predict.
    ///
    /// # Errors
    /// Numbers of another number of samples.
    ///
    /// ```
    /// use cortical_data::{Dataset, Inputs, Targets};
    /// let inputs = Inputs::new(vec![0.1, 0.9], &[1])?;
    /// let data = Dataset::of_numbers(inputs, Targets::new(vec![12.0, 15.5], vec!["price".into()])?)?;
    /// assert!(data.classes().is_empty());
    /// assert_eq!(data.targets().map(|targets| targets.row(1)), Some(&[15.5][..]));
    /// # Ok::<(), cortical_data::Error>(())
    /// ```
    pub fn of_numbers(inputs: Inputs, targets: Targets) -> Result<Self> {
        if targets.len() != inputs.len() {
            return Err(Error::Sample(SampleDefect::LabelCount {
                expected: inputs.len(),
                found: targets.len(),
            }));
        }
        Ok(Self {
            inputs,
            labels: Arc::default(),
            classes: Arc::default(),
            numbered: false,
            targets: Some(targets),
            about: Arc::default(),
        })
    }

    /// The numbers to predict; `None` where samples have classes.
    #[must_use]
    pub fn targets(&self) -> Option<&Targets> {
        self.targets.as_ref()
    }

    /// The same samples with their numbers learned on this scale.
    ///
    /// # Errors
    /// Samples with classes; a scale of other targets.
    pub fn scaled(&self, scale: &TargetScale) -> Result<Self> {
        let Some(targets) = &self.targets else {
            return Err(Error::Sample(SampleDefect::OtherTarget {
                expected: "numbers to predict",
                found: "classes",
            }));
        };
        Ok(Self {
            targets: Some(targets.scaled(scale)?),
            ..self.clone()
        })
    }

    /// By what each sample is divided in proportion: its class, and nothing where numbers are predicted.
    pub(crate) fn strata(&self) -> Cow<'_, [u32]> {
        match &self.targets {
            None => Cow::Borrowed(&self.labels),
            Some(_) => Cow::Owned(vec![0; self.len()]),
        }
    }

    /// How the files that the samples come from were understood.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    pub(crate) fn with_about(self, about: About) -> Self {
        Self {
            about: about.into(),
            ..self
        }
    }

    /// Says that the classes have no names: their numbers stand for them, as in IDX files.
    pub(crate) fn with_numbered_classes(self) -> Self {
        Self {
            numbered: true,
            ..self
        }
    }

    /// Whether the classes have names, by which they are the same as those of other data; false where the files only
    /// number them.
    #[must_use]
    pub fn names_classes(&self) -> bool {
        !self.numbered
    }

    /// The same samples as members of these classes, such as those that a model knows: by their names, whatever their
    /// order and whether all of them occur. Letters in another case are a note of [`Dataset::about`]. Where the files
    /// only number classes, the numbers count.
    ///
    /// # Errors
    /// [`SampleDefect::OtherClasses`] where a class is none of these.
    ///
    /// ```
    /// use cortical_data::{Dataset, Inputs};
    /// let inputs = Inputs::new(vec![0.1, 0.9], &[1])?;
    /// let data = Dataset::new(inputs, vec![0, 1], vec!["cat".into(), "dog".into()])?;
    /// let known = ["bird", "dog", "cat"].map(String::from);
    /// assert_eq!(data.in_classes(&known)?.labels(), [2, 1]);
    /// assert!(data.in_classes(&["dog".into(), "fox".into()]).is_err());
    /// # Ok::<(), cortical_data::Error>(())
    /// ```
    pub fn in_classes(&self, known: &[String]) -> Result<Self> {
        if self.targets.is_some() {
            return Err(Error::Sample(SampleDefect::OtherTarget {
                expected: "classes",
                found: "numbers to predict",
            }));
        }
        if *self.classes == *known {
            return Ok(self.clone());
        }
        let mut notes = Vec::new();
        let number_of: Option<Vec<u32>> = match self.numbered {
            true => (self.classes.len() <= known.len())
                .then(|| (0..self.classes.len() as u32).collect()),
            false => {
                let places = Places::new(known);
                let classes = self.classes.iter();
                let found: Option<Vec<u32>> = classes.map(|name| places.find(name)).collect();
                // Two names that differ in their case are two classes.
                found.filter(|found| {
                    let different: HashSet<&u32> = found.iter().collect();
                    different.len() == found.len()
                })
            }
        };
        let Some(number_of) = number_of else {
            return Err(Error::other_classes(known, &self.classes));
        };
        if !self.numbered {
            let pairs = self.classes.iter().zip(&number_of);
            let pairs = pairs.map(|(name, number)| (name, &known[*number as usize]));
            let other: Vec<String> = pairs
                .filter(|(name, known)| name != known)
                .map(|(name, known)| format!("{name} as {known}"))
                .collect();
            if !other.is_empty() {
                notes.push(format!("classes in another case taken: {}", list(&other)));
            }
        }
        let labels = self.labels.iter();
        let mut about = (*self.about).clone();
        about.notes.extend(notes);
        Ok(Self {
            labels: labels.map(|&label| number_of[label as usize]).collect(),
            classes: known.into(),
            numbered: false,
            about: about.into(),
            ..self.clone()
        })
    }

    /// The samples without their labels.
    #[must_use]
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The class of each sample, as an index into [`Dataset::classes`]; empty where numbers are predicted.
    #[must_use]
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The names of the classes; empty where numbers are predicted.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inputs.is_empty()
    }

    /// The shape of one sample.
    #[must_use]
    pub fn input_shape(&self) -> &[usize] {
        self.inputs.shape()
    }

    /// What every sample goes through on its way into a tensor; to be saved with the model.
    #[must_use]
    pub fn preprocess(&self) -> &Preprocess {
        self.inputs.preprocess()
    }

    /// How many samples each class has.
    #[must_use]
    pub fn class_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for &label in self.labels.iter() {
            counts[label as usize] += 1;
        }
        counts
    }

    /// The same raw samples with `preprocess` instead of whatever they went through so far.
    ///
    /// # Errors
    /// Preprocessing made for samples of another shape.
    pub fn preprocessed(&self, preprocess: &Preprocess) -> Result<Self> {
        Ok(Self {
            inputs: self.inputs.preprocessed(preprocess)?,
            ..self.clone()
        })
    }

    /// The same values seen as samples of another shape; preprocessing starts as the identity again.
    ///
    /// # Errors
    /// A shape with another number of values.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Self> {
        Ok(Self {
            inputs: self.inputs.reshaped(shape)?,
            ..self.clone()
        })
    }

    /// The samples `rows`, in that order, of the same classes; the values are shared, not copied.
    ///
    /// # Errors
    /// A row that does not exist.
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        let inputs = self.inputs.select(rows)?;
        let has_classes = self.targets.is_none();
        let labelled = rows.iter().filter(|_| has_classes);
        Ok(Self {
            inputs,
            labels: labelled.map(|&row| self.labels[row]).collect(),
            targets: self.targets.as_ref().map(|targets| targets.select(rows)),
            ..self.clone()
        })
    }

    /// The labels of `rows` as a tensor, or their numbers on the scale on which they are learned.
    ///
    /// # Shapes
    /// Returns `[rows]`, `u32`; of numbers `[rows, targets]`, `f32`.
    ///
    /// # Errors
    /// A row that does not exist; the device's own errors.
    pub(crate) fn label_tensor(
        &self,
        rows: impl IntoIterator<Item = usize>,
        device: &Device,
    ) -> Result<Tensor> {
        if let Some(targets) = &self.targets {
            return targets.tensor(rows, device);
        }
        let labels = rows
            .into_iter()
            .map(|row| {
                self.labels
                    .get(row)
                    .copied()
                    .ok_or(Error::Sample(SampleDefect::RowRange {
                        expected: self.len(),
                        found: row,
                    }))
            })
            .collect::<Result<Vec<u32>>>()?;
        let count = labels.len();
        Ok(Tensor::from_vec(labels, count, device)?)
    }
}

/// Where the names of classes are, as they are written or else in letters of any case.
struct Places<'a> {
    exact: HashMap<&'a str, u32>,
    /// `None` for names that only their case tells apart.
    folded: HashMap<String, Option<u32>>,
}

impl<'a> Places<'a> {
    fn new(names: &'a [String]) -> Self {
        let mut folded: HashMap<String, Option<u32>> = HashMap::new();
        for (name, number) in names.iter().zip(0..) {
            let place = folded.entry(name.to_lowercase());
            place.and_modify(|one| *one = None).or_insert(Some(number));
        }
        let exact = names.iter().map(String::as_str).zip(0..).collect();
        Self { exact, folded }
    }

    fn find(&self, name: &str) -> Option<u32> {
        let exact = self.exact.get(name).copied();
        exact.or_else(|| self.folded.get(&name.to_lowercase()).copied().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_must_fit_samples_and_classes() {
        let build = |labels: Vec<u32>| {
            let inputs = Inputs::new(vec![0.0; 3], &[1]).unwrap();
            Dataset::new(inputs, labels, vec!["a".into(), "b".into()]).map(|d| d.len())
        };
        assert_eq!(build(vec![0, 1, 1]).unwrap(), 3);
        assert_eq!(
            build(vec![0, 1]).unwrap_err().to_string(),
            "expected 3 labels, one for each sample, found 2"
        );
        assert_eq!(
            build(vec![0, 1, 2]).unwrap_err().to_string(),
            "sample 2: expected a label below 2, found 2"
        );
    }

    #[test]
    fn classes_are_known_again_by_their_names() {
        let names = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>();
        let of = |classes: &[&str]| {
            let inputs = Inputs::new(vec![0.0; 2], &[1]).unwrap();
            Dataset::new(inputs, vec![0, 1], names(classes)).unwrap()
        };
        let check = |classes: &[&str], known: &[&str], want: [u32; 2], note: Option<&str>| {
            let found = of(classes).in_classes(&names(known)).unwrap();
            assert_eq!(found.labels(), want, "{classes:?}");
            assert_eq!(found.classes(), known);
            let notes = &found.about().notes;
            assert_eq!(notes.first().map(String::as_str), note, "{classes:?}");
        };
        check(&["dn", "up"], &["dn", "up"], [0, 1], None);
        check(&["a", "c"], &["c", "b", "a"], [2, 0], None);
        let note = "classes in another case taken: Up as up";
        check(&["Up", "dn"], &["dn", "up"], [1, 0], Some(note));
        // Where both are known, the case tells them apart.
        check(&["Up", "up"], &["up", "dn", "Up"], [2, 0], None);
        for (classes, known) in [
            (&["apple", "zebra"], &["dn", "up"][..]),
            (&["UP", "dn"], &["dn", "Up", "up"]),
            (&["UP", "Up"], &["dn", "up"]),
        ] {
            let error = of(classes).in_classes(&names(known)).unwrap_err();
            let message = format!(
                "expected the classes {}, found {}; classes are known by their names",
                known.join(", "),
                classes.join(", ")
            );
            assert_eq!(error.to_string(), message);
        }
        // Numbers instead of names say only which place a class has.
        let numbered = of(&["0", "1"]).with_numbered_classes();
        let found = numbered.in_classes(&names(&["T-shirt", "Trouser", "Bag"]));
        assert_eq!(found.unwrap().labels(), [0, 1]);
        assert!(numbered.in_classes(&names(&["one"])).is_err());
        assert!(of(&["0", "1"]).in_classes(&names(&["a", "b"])).is_err());
    }

    #[test]
    fn a_selection_keeps_samples_and_labels_together() {
        let inputs = Inputs::new(vec![10.0, 11.0, 12.0], &[1]).unwrap();
        let all = Dataset::new(inputs, vec![0, 1, 1], vec!["a".into(), "b".into()]).unwrap();
        let some = all.select(&[2, 0]).unwrap();
        let x = some.inputs().tensor(0..2, &Device::Cpu).unwrap();
        let y = some.label_tensor(0..2, &Device::Cpu).unwrap();
        assert_eq!(x.to_vec2::<f32>().unwrap(), [[12.0], [10.0]]);
        assert_eq!(y.to_vec1::<u32>().unwrap(), [1, 0]);
        assert!(some.label_tensor(0..3, &Device::Cpu).is_err());
        assert!(all.select(&[3]).is_err());
    }
}

//! A trained model of classes of texts: predictions and tests.

use std::path::Path;

use cortical_data::csv::{TextOptions, read_texts};
use cortical_models::language::{LoadOptions, TextClassifier, Weights, read_classes};
use cortical_text::Tokenizer;

use crate::evaluate::Evaluation;
use crate::model_file::{Prediction, prediction};
use crate::recipe::ClassifyRecipe;
use crate::task::{LabelledTexts, evaluation, scores, tokens};
use crate::{Error, Result, RunPaths};

/// Texts at a time where no recipe says how many.
const BATCH: usize = 16;
/// Tokens of a text that are read at most where no recipe says so.
const MOST: usize = 512;

/// A language model that recognises classes of texts: the folder of a run with `[classify]`, or one that transformers
/// wrote.
///
/// ```no_run
/// use cortical_train::TextModel;
/// let model = TextModel::open("runs/reviews-001".as_ref())?.expect("a model of classes");
/// let found = model.predict(&["I would buy it again."])?;
/// println!("{} ({:.2})", model.classes()[found[0].class], found[0].probability);
/// # Ok::<(), cortical_train::Error>(())
/// ```
#[derive(Debug)]
pub struct TextModel {
    classifier: TextClassifier,
    tokenizer: Tokenizer,
    classes: Vec<String>,
    /// Tokens of a text that are read at most, and texts at a time.
    most: usize,
    batch: usize,
    /// The columns that it was trained on.
    columns: ClassifyRecipe,
}

impl TextModel {
    /// Opens the model in a folder; `None` if the folder has none, or one of another kind.
    ///
    /// # Errors
    /// A model, a tokenizer or a recipe that cannot be read; [`Error::NotFinished`].
    pub fn open(folder: &Path) -> Result<Option<Self>> {
        let Some(classes) = read_classes(folder)? else {
            return Ok(None);
        };
        let paths = RunPaths::new(folder);
        let recipe = match paths.is_run() {
            true => Some(paths.read_finished()?.0),
            false => None,
        };
        let text = recipe.as_ref().and_then(|recipe| recipe.text().ok());
        let options = LoadOptions {
            weights: Weights::Single,
            ..LoadOptions::default()
        };
        let (classifier, _) = TextClassifier::open(folder, classes.len(), &options)?;
        let positions = classifier.model().config().table_positions();
        let most = text.map_or(MOST, |text| text.train.block);
        let batch = recipe
            .as_ref()
            .map_or(BATCH, |recipe| recipe.train.batch_size);
        Ok(Some(Self {
            classifier,
            tokenizer: Tokenizer::open(folder).map_err(Error::text)?,
            classes,
            most: positions.map_or(most, |positions| most.min(positions)),
            batch,
            columns: text
                .and_then(|text| text.classify.clone())
                .unwrap_or_default(),
        }))
    }

    /// The names of the classes.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The network, from tokens to scores.
    #[must_use]
    pub fn classifier(&self) -> &TextClassifier {
        &self.classifier
    }

    /// The tokens that the model reads of a text.
    ///
    /// # Errors
    /// A text that the tokenizer makes nothing of.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        tokens(&self.tokenizer, text, self.most)
    }

    /// The texts that the run in the folder held out, and their classes; `None` if it held out none, or the folder is
    /// no run.
    ///
    /// # Errors
    /// A recipe or a table that cannot be read.
    pub fn held_out(&self, folder: &Path) -> Result<Option<(Vec<String>, Vec<u32>)>> {
        let paths = RunPaths::new(folder);
        if !paths.is_run() {
            return Ok(None);
        }
        let recipe = paths.read_recipe()?;
        let test = LabelledTexts::open(&recipe, recipe.text()?)?.test;
        Ok((!test.texts.is_empty()).then_some((test.texts, test.labels)))
    }

    /// How a table of texts is read: the columns that the model was trained on, and its classes.
    #[must_use]
    pub fn options(&self) -> TextOptions {
        TextOptions {
            text: self.columns.text.clone(),
            label: self.columns.label.clone(),
            classes: Some(self.classes.clone()),
            ..TextOptions::default()
        }
    }

    /// What the model takes each text for.
    ///
    /// # Errors
    /// A text that the tokenizer makes nothing of.
    pub fn predict(&self, texts: &[impl AsRef<str>]) -> Result<Vec<Prediction>> {
        let scores = self.scores(texts)?;
        Ok(scores.iter().map(|row| prediction(row)).collect())
    }

    /// Tests on all labelled texts of a table.
    ///
    /// # Errors
    /// As [`read_texts`](cortical_data::csv::read_texts) and [`TextModel::predict`]; [`Error::NoLabels`].
    pub fn evaluate(&self, path: &Path, options: &TextOptions) -> Result<Evaluation> {
        let read = read_texts(path, options)?;
        let labels: Option<Vec<u32>> = read.labels.and_then(|all| all.into_iter().collect());
        let labels = labels.ok_or_else(|| Error::NoLabels {
            path: path.to_owned(),
        })?;
        evaluation(&self.scores(&read.texts)?, &labels, &self.classes)
    }

    fn scores(&self, texts: &[impl AsRef<str>]) -> Result<Vec<Vec<f32>>> {
        let each = texts.iter();
        let ids: Vec<Vec<u32>> = each
            .map(|text| self.tokens(text.as_ref()))
            .collect::<Result<_>>()?;
        let ids: Vec<&[u32]> = ids.iter().map(|ids| &ids[..]).collect();
        scores(&self.classifier, &ids, self.batch)
    }
}

//! The task that labelled texts teach: classes of whole texts.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use cortical_data::csv::{TextOptions, read_texts};
use cortical_data::split_rows;
use cortical_models::language::{LanguageConfig, TextClassifier};
use cortical_neuron::loss::cross_entropy;
use cortical_neuron::{Params, Pass};
use cortical_tensor::{Rng, Seed};
use cortical_text::Tokenizer;

use super::observe::{Material, TextMistake};
use super::task::{Task, Tested};
use crate::evaluate::{Evaluation, rounded};
use crate::folder::RunPaths;
use crate::model_file::prediction;
use crate::recipe::{ClassifyRecipe, LanguageRecipe};
use crate::scores::Classification;
use crate::{Error, Result};

/// Texts in `report.json` at most, and characters of each.
const MISTAKES: usize = 12;
const SHOWN: usize = 240;

/// Texts with a class each.
#[derive(Clone, Debug, Default)]
pub(super) struct Labelled {
    pub(super) texts: Vec<String>,
    pub(super) labels: Vec<u32>,
}

/// The labelled texts of a recipe.
#[derive(Clone, Debug)]
pub(super) struct Examples {
    pub(super) classes: Vec<String>,
    pub(super) train: Labelled,
    pub(super) test: Labelled,
}

impl Examples {
    /// Reads the table that the recipe names; the share that is held out is drawn from its seed.
    pub(super) fn open(recipe: &LanguageRecipe, classify: &ClassifyRecipe) -> Result<Self> {
        let options = TextOptions {
            text: classify.text.clone(),
            label: classify.label.clone(),
            ..TextOptions::default()
        };
        let read = read_texts(Path::new(&recipe.data.name), &options)?;
        let labels = read.labels.unwrap_or_default();
        let rows = split_rows(&labels, recipe.data.test_fraction, 0.0, Seed(recipe.seed))?;
        let part = |rows: Vec<usize>| Labelled {
            texts: rows.iter().map(|row| read.texts[*row].clone()).collect(),
            labels: rows.iter().map(|row| labels[*row]).collect(),
        };
        Ok(Self {
            classes: read.classes,
            train: part(rows.train),
            test: part(rows.test),
        })
    }
}

/// The tokens of a text: of one that is too long the first ones, and those that stand behind any text.
///
/// # Errors
/// [`Error::NoTokens`] where the tokenizer makes nothing of it.
pub(super) fn tokens(tokenizer: &Tokenizer, text: &str, most: usize) -> Result<Vec<u32>> {
    let mut ids = tokenizer.encode(text).map_err(Error::text)?;
    if ids.is_empty() {
        let text = shortened(text);
        return Err(Error::NoTokens { text });
    }
    if ids.len() > most {
        // BERT's [SEP] belongs to a text however short it is.
        let around = tokenizer.encode("").map_err(Error::text)?;
        let pairs = ids.iter().rev().zip(around.iter().rev());
        let behind = pairs.take_while(|(a, b)| a == b).count().min(most);
        let end = ids.split_off(ids.len() - behind);
        ids.truncate(most - behind);
        ids.extend(end);
    }
    Ok(ids)
}

/// The beginning of a text.
fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// A model that learns to tell texts apart.
#[derive(Debug)]
pub(super) struct Classes<'r> {
    recipe: &'r LanguageRecipe,
    classifier: TextClassifier,
    tokenizer: Tokenizer,
    examples: Examples,
    train: Vec<Vec<u32>>,
    test: Vec<Vec<u32>>,
    /// The order of the texts in an epoch.
    order: (u64, Vec<usize>),
}

impl<'r> Classes<'r> {
    pub(super) fn new(
        recipe: &'r LanguageRecipe,
        classifier: TextClassifier,
        tokenizer: Tokenizer,
        examples: Examples,
    ) -> Result<Self> {
        let all = |part: &Labelled| -> Result<Vec<Vec<u32>>> {
            let texts = part.texts.iter();
            texts
                .map(|text| tokens(&tokenizer, text, recipe.train.block))
                .collect()
        };
        let (train, test) = (all(&examples.train)?, all(&examples.test)?);
        let every = train.iter().chain(&test).flatten();
        super::task::check(every, classifier.model().config(), recipe.train.block)?;
        let mut task = Self {
            recipe,
            classifier,
            tokenizer,
            examples,
            train,
            test,
            order: (0, Vec::new()),
        };
        task.order = (0, task.order_of(0));
        Ok(task)
    }

    fn order_of(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        let mut rng = Rng::new(Seed(self.recipe.seed), &format!("texts of epoch {epoch}"));
        rng.shuffle(&mut order);
        order
    }

    /// The text at a place of the endless row of all epochs.
    fn at(&mut self, place: u64) -> usize {
        let texts = self.train.len() as u64;
        let epoch = place / texts;
        if self.order.0 != epoch {
            self.order = (epoch, self.order_of(epoch));
        }
        self.order.1[(place % texts) as usize]
    }
}

impl Task for Classes<'_> {
    fn config(&self) -> &LanguageConfig {
        self.classifier.model().config()
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn material(&self) -> Material {
        Material::Texts {
            train: self.train.len(),
            test: self.test.len(),
            classes: self.classifier.classes(),
        }
    }

    fn steps_of_epoch(&self, batches: u64) -> u64 {
        let of_step = self.recipe.train.batch_size as u64 * batches;
        (self.train.len() as u64).div_ceil(of_step)
    }

    fn loss(
        &mut self,
        number: u64,
        _draws: &mut Rng,
        pass: &mut Pass<'_>,
    ) -> Result<(Tensor, usize)> {
        let batch = self.recipe.train.batch_size as u64;
        let first = number * batch;
        let rows: Vec<usize> = (first..first + batch).map(|place| self.at(place)).collect();
        let texts: Vec<Vec<u32>> = rows.iter().map(|row| self.train[*row].clone()).collect();
        let labels: Vec<u32> = rows
            .iter()
            .map(|row| self.examples.train.labels[*row])
            .collect();
        let logits = self.classifier.logits(&texts, pass)?.to_dtype(DType::F32)?;
        let loss = cross_entropy(&logits, &Tensor::new(labels, &Device::Cpu)?)?;
        Ok((loss, texts.iter().map(Vec::len).sum()))
    }

    fn test(&self) -> Result<Tested> {
        let (count, limit) = (self.test.len(), self.recipe.train.eval_blocks);
        if count == 0 {
            return Ok(Tested::default());
        }
        let some = if limit == 0 { count } else { limit.min(count) };
        let rows: Vec<usize> = (0..some).map(|i| i * count / some).collect();
        let texts: Vec<&[u32]> = rows.iter().map(|row| &self.test[*row][..]).collect();
        let labels: Vec<u32> = rows
            .iter()
            .map(|row| self.examples.test.labels[*row])
            .collect();
        let scores = scores(&self.classifier, &texts, self.recipe.train.batch_size)?;
        let classes = evaluation(&scores, &labels, &self.examples.classes)?;
        let mut wrong: Vec<TextMistake> = Vec::new();
        for ((row, label), scores) in rows.iter().zip(labels).zip(&scores) {
            let found = prediction(scores);
            if found.class != label as usize {
                let own = found.probabilities[label as usize];
                wrong.push(TextMistake {
                    text: shortened(&self.examples.test.texts[*row]),
                    label: self.examples.classes[label as usize].clone(),
                    prediction: self.examples.classes[found.class].clone(),
                    probability: rounded(found.probability),
                    loss: rounded(-own.max(1e-45).ln()),
                });
            }
        }
        wrong.sort_by(|a, b| b.loss.total_cmp(&a.loss));
        wrong.truncate(MISTAKES);
        Ok(Tested {
            loss: Some(classes.loss),
            classes: Some(classes),
            mistakes: wrong,
            ..Tested::default()
        })
    }

    fn description(&self) -> Option<String> {
        self.config().to_classifier_json(&self.examples.classes)
    }

    fn save(&self, paths: &RunPaths, params: &Params) -> Result<()> {
        let tensors = self.classifier.tensors(params)?;
        // Others look for this word in the files of PyTorch's models.
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        Ok(cortical_io::save_tensors(
            paths.model(),
            &tensors,
            &metadata,
        )?)
    }
}

/// The scores of texts, a batch at a time.
pub(super) fn scores(
    classifier: &TextClassifier,
    texts: &[&[u32]],
    batch: usize,
) -> Result<Vec<Vec<f32>>> {
    let mut all = Vec::with_capacity(texts.len());
    for part in texts.chunks(batch.max(1)) {
        let part: Vec<Vec<u32>> = part.iter().map(|text| text.to_vec()).collect();
        let logits = classifier.logits(&part, &mut Pass::eval())?;
        all.extend(logits.to_dtype(DType::F32)?.to_vec2::<f32>()?);
    }
    Ok(all)
}

/// How well scores tell classes apart.
pub(super) fn evaluation(
    scores: &[Vec<f32>],
    labels: &[u32],
    classes: &[String],
) -> Result<Evaluation> {
    let mut gathered = Classification::new(classes.len());
    let logits: Vec<f32> = scores.iter().flatten().copied().collect();
    let logits = Tensor::from_vec(logits, (scores.len(), classes.len()), &Device::Cpu)?;
    let loss = cross_entropy(&logits, &Tensor::new(labels, &Device::Cpu)?)?;
    gathered.add(scores, labels, f64::from(loss.to_scalar::<f32>()?));
    Ok(Evaluation::new(&gathered, classes))
}

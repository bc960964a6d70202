//! Classes of whole texts, which a table of texts and labels shows.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use cortical_data::csv::{TextOptions, read_texts};
use cortical_data::{Position, split_rows};
use cortical_models::language::{self, LanguageConfig, LoadOptions, TextClassifier};
use cortical_neuron::loss::cross_entropy;
use cortical_neuron::{Params, Pass};
use cortical_tensor::{Rng, Seed};
use cortical_text::Tokenizer;

use super::text::{Origin, check, describe, save_changes, tokenizer, train_changes_only};
use super::{Batch, Batches, Part, Task, number, smoothed};
use crate::evaluate::{Evaluation, right};
use crate::folder::RunPaths;
use crate::measured::{Measured, TextMistake};
use crate::model_file::prediction;
use crate::observe::DataSize;
use crate::recipe::{Recipe, TextRecipe};
use crate::scores::{Classification, rounded};
use crate::{Error, Result, guard};

/// Texts in `report.json` at most, and characters of each.
const MISTAKES: usize = 12;
const SHOWN: usize = 240;

/// Texts with a class each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labelled {
    pub(crate) texts: Vec<String>,
    pub(crate) labels: Vec<u32>,
}

/// The labelled texts of a recipe.
#[derive(Clone, Debug)]
pub(crate) struct LabelledTexts {
    classes: Vec<String>,
    train: Labelled,
    valid: Labelled,
    pub(crate) test: Labelled,
}

impl LabelledTexts {
    /// Reads the table that the recipe names; the shares that are held out are drawn from its seed.
    pub(crate) fn open(recipe: &Recipe, text: &TextRecipe) -> Result<Self> {
        let classify = text.classify.clone().unwrap_or_default();
        let options = TextOptions {
            text: classify.text,
            label: classify.label,
            ..TextOptions::default()
        };
        let read = read_texts(Path::new(&recipe.data.name), &options)?;
        // Every row has one, as none may lack here.
        let labels: Vec<u32> = read.labels.into_iter().flatten().flatten().collect();
        let data = &recipe.data;
        let seed = Seed(text.data.split_seed.unwrap_or(recipe.seed));
        let rows = split_rows(&labels, data.test_fraction, data.valid_fraction, seed)?;
        let part = |rows: Vec<usize>| Labelled {
            texts: rows.iter().map(|row| read.texts[*row].clone()).collect(),
            labels: rows.iter().map(|row| labels[*row]).collect(),
        };
        Ok(Self {
            train: part(rows.train),
            valid: part(rows.valid),
            test: part(rows.test),
            classes: read.classes,
        })
    }
}

/// The tokens of a text: of one that is too long the first ones, and those that stand behind any text.
///
/// # Errors
/// [`Error::NoTokens`] where the tokenizer makes nothing of it.
pub(crate) fn tokens(tokenizer: &Tokenizer, text: &str, most: usize) -> Result<Vec<u32>> {
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

/// A part of the texts as tokens.
struct Encoded {
    labelled: Labelled,
    tokens: Vec<Vec<u32>>,
}

/// A model that learns classes of texts.
pub(crate) struct TextClasses<'r> {
    recipe: &'r Recipe,
    text: &'r TextRecipe,
    classifier: TextClassifier,
    tokenizer: Tokenizer,
    classes: Vec<String>,
    train: Encoded,
    valid: Encoded,
    test: Encoded,
    /// An epoch, and the order of the texts in it.
    order: (u64, Vec<usize>),
    batches: Batches,
}

/// Some texts with their labels.
pub(crate) struct Texts {
    position: Position,
    tokens: Vec<Vec<u32>>,
    labels: Vec<u32>,
}

impl Batch for Texts {
    fn position(&self) -> Position {
        self.position
    }

    fn samples(&self) -> usize {
        self.labels.len()
    }

    fn units(&self) -> usize {
        self.tokens.iter().map(Vec::len).sum()
    }
}

impl<'r> Task<'r> for TextClasses<'r> {
    type Batch = Texts;

    fn open(recipe: &'r Recipe, finished: Option<&RunPaths>) -> Result<(Self, Params)> {
        let text = recipe.text()?;
        let origin = Origin::new(recipe, text, finished)?;
        let LabelledTexts {
            classes,
            train,
            valid,
            test,
        } = LabelledTexts::open(recipe, text)?;
        let (name, own) = origin.tokenizer()?;
        let tokenizer = tokenizer(name, own, &train.texts)?;
        let (classifier, params) = match origin.drawn(&tokenizer) {
            Some((config, params)) => (
                TextClassifier::build(&config, classes.len(), &params)?,
                params,
            ),
            None => {
                // Other classes need another head.
                let own = language::read_classes(origin.path())?;
                let new_head = own.as_ref().is_some_and(|own| *own != classes);
                if let Some(own) = own.filter(|_| new_head && finished.is_some()) {
                    return Err(cortical_data::Error::other_classes(&own, &classes).into());
                }
                let options = LoadOptions {
                    new_head,
                    ..origin.options()
                };
                TextClassifier::open(origin.path(), classes.len(), &options)?
            }
        };
        let block = text.train.block;
        let encode = |labelled: Labelled| -> Result<Encoded> {
            let texts = labelled.texts.iter();
            let ids: Result<_> = texts.map(|text| tokens(&tokenizer, text, block)).collect();
            Ok(Encoded {
                tokens: ids?,
                labelled,
            })
        };
        let (train, valid, test) = (encode(train)?, encode(valid)?, encode(test)?);
        let all = [&train, &valid, &test].map(|part| part.tokens.iter().flatten());
        check(
            all.into_iter().flatten(),
            classifier.model().config(),
            block,
        )?;
        if finished.is_none() {
            train_changes_only(text, classifier.model().config(), &params)?;
        }
        let mut task = Self {
            order: (0, Vec::new()),
            batches: Batches::new(&recipe.train, train.tokens.len(), recipe.train.batch_size),
            recipe,
            text,
            classifier,
            tokenizer,
            classes,
            train,
            valid,
            test,
        };
        task.order.1 = task.order_of(0);
        Ok((task, params))
    }

    fn data_size(&self) -> DataSize {
        DataSize {
            unit: self.recipe.kind().unit(),
            train: self.train.tokens.len(),
            valid: self.valid.tokens.len(),
            test: self.test.tokens.len(),
            classes: Some(self.classes.len()),
            targets: 0,
            shape: Vec::new(),
            understood: Vec::new(),
        }
    }

    fn model(&self) -> String {
        self.config().model_type().to_owned()
    }

    fn batches_per_epoch(&self) -> u64 {
        self.batches.per_epoch()
    }

    fn position(&self) -> Position {
        self.batches.position()
    }

    fn seek(&mut self, position: Position, _: Option<&Rng>) -> Result<()> {
        self.batches.seek(position);
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Texts> {
        let (number, position) = self.batches.take();
        let batch = self.recipe.train.batch_size as u64;
        // A batch may begin with the last texts of one round and end with the first of the next.
        let number = match self.recipe.train.overfit_batches {
            0 => number,
            _ => position.batch,
        };
        let first = number * batch;
        let rows: Vec<usize> = (first..first + batch).map(|place| self.at(place)).collect();
        let train = &self.train;
        Ok(Texts {
            position,
            tokens: rows.iter().map(|row| train.tokens[*row].clone()).collect(),
            labels: rows.iter().map(|row| train.labelled.labels[*row]).collect(),
        })
    }

    fn loss(&mut self, batch: &Texts, rng: &mut Rng) -> Result<(Tensor, Option<f64>)> {
        let logits = self.logits(batch, &mut Pass::train(rng))?;
        let labels = Tensor::new(&batch.labels[..], &Device::Cpu)?;
        let loss = smoothed(&logits, &labels, self.text.train.label_smoothing, None)?;
        Ok((loss, Some(right(&logits, &batch.labels)?)))
    }

    fn evaluate(&self, part: Part) -> Result<Option<Measured>> {
        let part = match part {
            Part::Valid => &self.valid,
            Part::Test => &self.test,
        };
        let (count, limit) = (part.tokens.len(), self.text.train.eval_blocks);
        if count == 0 {
            return Ok(None);
        }
        let some = if limit == 0 { count } else { limit.min(count) };
        let rows: Vec<usize> = (0..some).map(|i| i * count / some).collect();
        let texts: Vec<&[u32]> = rows.iter().map(|row| &part.tokens[*row][..]).collect();
        let labels: Vec<u32> = rows.iter().map(|row| part.labelled.labels[*row]).collect();
        let scores = scores(&self.classifier, &texts, self.recipe.train.batch_size)?;
        Ok(Some(Measured {
            mistakes: self.mistakes(part, &rows, &scores),
            ..evaluation(&scores, &labels, &self.classes)?.into()
        }))
    }

    fn non_finite(&self, batch: &Texts, rng: Option<&Rng>) -> Result<Option<String>> {
        guard::broken_output(rng, |pass| self.logits(batch, pass))
    }

    fn describe(&self, paths: &RunPaths) -> Result<()> {
        let config = self.config().to_classifier_json(&self.classes);
        describe(paths, config, &self.tokenizer)
    }

    fn save_weights(&self, path: &Path, params: &Params) -> Result<()> {
        let tensors = self.classifier.tensors(params)?;
        // Others look for this word in the files of PyTorch's models.
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        Ok(cortical_io::save_tensors(path, &tensors, &metadata)?)
    }

    fn save(&self, paths: &RunPaths, params: &Params) -> Result<()> {
        match save_changes(paths, self.text, self.config(), params)? {
            true => Ok(()),
            false => self.save_weights(&paths.model(), params),
        }
    }
}

impl TextClasses<'_> {
    fn config(&self) -> &LanguageConfig {
        self.classifier.model().config()
    }

    fn logits(&self, batch: &Texts, pass: &mut Pass<'_>) -> Result<Tensor> {
        let logits = self.classifier.logits(&batch.tokens, pass)?;
        Ok(logits.to_dtype(DType::F32)?)
    }

    fn order_of(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.train.tokens.len()).collect();
        let mut rng = Rng::new(Seed(self.recipe.seed), &format!("texts of epoch {epoch}"));
        rng.shuffle(&mut order);
        order
    }

    /// The text at a place of the endless row of all rounds.
    fn at(&mut self, place: u64) -> usize {
        let texts = self.train.tokens.len() as u64;
        let epoch = place / texts;
        if self.order.0 != epoch {
            self.order = (epoch, self.order_of(epoch));
        }
        self.order.1[(place % texts) as usize]
    }

    /// The texts that the model is most wrong about.
    fn mistakes(&self, part: &Encoded, rows: &[usize], scores: &[Vec<f32>]) -> Vec<TextMistake> {
        let mut wrong: Vec<TextMistake> = Vec::new();
        for (row, scores) in rows.iter().zip(scores) {
            let (found, label) = (prediction(scores), part.labelled.labels[*row] as usize);
            if found.class != label {
                let own = found.probabilities[label];
                wrong.push(TextMistake {
                    text: shortened(&part.labelled.texts[*row]),
                    label: self.classes[label].clone(),
                    prediction: self.classes[found.class].clone(),
                    probability: rounded(found.probability),
                    loss: rounded(-own.max(1e-45).ln()),
                });
            }
        }
        wrong.sort_by(|a, b| b.loss.total_cmp(&a.loss));
        wrong.truncate(MISTAKES);
        wrong
    }
}

/// The scores of texts, a batch at a time.
pub(crate) fn scores(
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

/// How well scores fit classes.
pub(crate) fn evaluation(
    scores: &[Vec<f32>],
    labels: &[u32],
    classes: &[String],
) -> Result<Evaluation> {
    let mut gathered = Classification::new(classes.len());
    let logits: Vec<f32> = scores.iter().flatten().copied().collect();
    let logits = Tensor::from_vec(logits, (scores.len(), classes.len()), &Device::Cpu)?;
    let loss = cross_entropy(&logits, &Tensor::new(labels, &Device::Cpu)?)?;
    gathered.add(scores, labels, number(&loss)?);
    Ok(Evaluation::new(&gathered, classes))
}

//! A pretrained model that serves a second task: classes of whole texts.

use super::{Head, LanguageConfig, LanguageModel, LoadOptions, Loaded, open};
use crate::error::{Error, Result};
use candle_core::{Device, Tensor};
use cortical_neuron::{Init, Params, Pass, Projection};
use std::collections::BTreeMap;
use std::path::Path;

/// A language model whose head over tokens gave way to one over classes. Everything below the head is what pretraining left there, so that few
/// labelled texts are enough: what a text is made of the model knows already.
///
/// A decoder is asked at the last token, which alone has seen the whole text; BERT at the first, through its pooler where it has one. The head
/// has the name that transformers gives it: `score` for decoders, `classifier` for BERT.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_models::language::{TextClassifier, preset};
/// use cortical_neuron::{Params, Pass, loss::cross_entropy};
/// use cortical_tensor::Seed;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = preset("llama-tiny").expect("a preset").config;
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let classifier = TextClassifier::build(&config, 2, &params)?; // or `open`, to begin from pretrained weights
/// let texts = [&b"Call me Ishmael."[..], b"A day."].map(|text| text.iter().copied().map(u32::from).collect::<Vec<_>>());
///
/// let mut rng = params.rng("pass");
/// let logits = classifier.logits(&texts, &mut Pass::train(&mut rng))?; // [2 texts, 2 classes]
/// params.backward(&cross_entropy(&logits, &Tensor::new(&[1_u32, 0], &Device::Cpu)?)?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TextClassifier {
    model: LanguageModel,
    head: Projection,
}

impl TextClassifier {
    /// A classifier with weights of its own, drawn from the store's seed.
    ///
    /// # Errors
    /// A name that is taken in `params`, sizes that do not fit.
    pub fn build(config: &LanguageConfig, classes: usize, params: &Params) -> Result<Self> {
        let model = LanguageModel::build_as(config, config.prefix(), Head::None, params)?;
        Self::on(model, classes, params)
    }

    /// The pretrained model in a folder or GGUF file with a head for so many classes: that of the folder, if it has one, else a new one. The parameters,
    /// those of the head among them, are in [`Loaded::params`]; low-rank changes are made where `options` say so.
    ///
    /// # Errors
    /// As [`open`]; a head in the folder that has another number of classes.
    pub fn open(
        path: impl AsRef<Path>,
        classes: usize,
        options: &LoadOptions,
    ) -> Result<(Self, Params)> {
        let options = LoadOptions {
            headless: true,
            ..options.clone()
        };
        let Loaded { model, params, .. } = open(path, &options)?;
        Ok((Self::on(model, classes, &params)?, params))
    }

    fn on(model: LanguageModel, classes: usize, params: &Params) -> Result<Self> {
        let is_bert = matches!(model.config(), LanguageConfig::Bert(_));
        let init = Init::Normal {
            mean: 0.0,
            std: 0.02,
        };
        let head = Projection::config(model.config().hidden_size(), classes)
            .bias(is_bert)
            .init(init)
            .build(&params.at(if is_bert { "classifier" } else { "score" }))?;
        Ok(Self { model, head })
    }

    /// The model below the head.
    #[must_use]
    pub fn model(&self) -> &LanguageModel {
        &self.model
    }

    /// How many classes there are.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.head.outputs()
    }

    /// The scores `[texts, classes]` of texts of any lengths. Those of one length go through the model together; there is no padding.
    ///
    /// # Errors
    /// [`Error::NoTokens`] for no text and for an empty one, [`Error::TooLong`], and what an operation refuses.
    pub fn logits(&self, texts: &[Vec<u32>], pass: &mut Pass<'_>) -> Result<Tensor> {
        if texts.iter().any(Vec::is_empty) || texts.is_empty() {
            return Err(Error::NoTokens {
                got: vec![texts.len(), 0],
            });
        }
        let mut by_length: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, text) in texts.iter().enumerate() {
            by_length.entry(text.len()).or_default().push(at);
        }
        let (mut rows, mut order) = (Vec::new(), Vec::new());
        for (length, group) in by_length {
            let ids: Vec<u32> = group.iter().flat_map(|at| texts[*at].clone()).collect();
            let ids = Tensor::from_vec(ids, (group.len(), length), &Device::Cpu)?;
            rows.push(self.summary(&ids, pass)?);
            order.extend(group);
        }
        // Back to the order in which the texts came.
        let mut place = vec![0_u32; order.len()];
        for (row, at) in (0_u32..).zip(order) {
            place[at] = row;
        }
        let place = Tensor::new(place, &Device::Cpu)?;
        let all = Tensor::cat(&rows, 0)?.index_select(&place, 0)?;
        Ok(self.head.apply(&all, pass)?)
    }

    /// What the model makes of whole texts: `[batch, hidden_size]`.
    fn summary(&self, ids: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let hidden = self.model.hidden(ids, None, pass)?;
        if let Some(pooled) = self.model.pooled(&hidden, pass)? {
            return Ok(pooled);
        }
        let row = match self.model.config() {
            LanguageConfig::Bert(_) => 0,
            _ => ids.dim(1)? - 1,
        };
        Ok(hidden.narrow(1, row, 1)?.squeeze(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_neuron::Adapters;
    use cortical_neuron::loss::cross_entropy;
    use std::path::PathBuf;

    fn fixture(name: &str) -> PathBuf {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        fixtures.join(name)
    }

    fn numbers(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Texts of two kinds and several lengths.
    fn texts() -> (Vec<Vec<u32>>, Tensor) {
        let texts = vec![vec![3, 4, 5], vec![9, 8], vec![3, 5, 4, 3], vec![8, 9, 8]];
        let labels = Tensor::new(&[0_u32, 1, 0, 1], &Device::Cpu).unwrap();
        (texts, labels)
    }

    #[test]
    fn pretrained_weights_learn_a_second_task() {
        for name in ["llama-grouped-tied", "llama", "gpt2", "qwen2", "bert"] {
            for adapted in [false, true] {
                let target = match name {
                    "gpt2" => "c_attn",
                    "bert" => "query",
                    _ => "q_proj",
                };
                let options = LoadOptions {
                    adapters: adapted.then(|| Adapters {
                        rank: 2,
                        alpha: 4.0,
                        targets: vec![target.to_owned()],
                        dora: false,
                    }),
                    ..Default::default()
                };
                let (classifier, params) =
                    TextClassifier::open(fixture(name), 2, &options).unwrap();
                if adapted {
                    for param in params.all() {
                        let name = param.name();
                        let is_new = name.contains("lora_")
                            || name.starts_with("score")
                            || name.starts_with("classifier");
                        param.set_trainable(is_new);
                    }
                }
                let (texts, labels) = texts();
                let mut rng = params.rng("pass");
                let mut losses = Vec::new();
                for _ in 0..30 {
                    let mut pass = Pass::train(&mut rng);
                    let logits = classifier.logits(&texts, &mut pass).unwrap();
                    let loss = cross_entropy(&logits, &labels).unwrap();
                    losses.push(loss.to_scalar::<f32>().unwrap());
                    params.backward(&loss).unwrap();
                    for param in params.trainable() {
                        let step = param.grad().unwrap().affine(-0.1, 0.0).unwrap();
                        param.set(&(param.tensor() + step).unwrap()).unwrap();
                    }
                    params.zero_grad();
                }
                let best = losses.iter().copied().fold(f32::INFINITY, f32::min);
                assert!(best < losses[0] * 0.95, "{name} {adapted} {losses:?}");
            }
        }
    }

    #[test]
    fn the_order_of_texts_and_what_stands_beside_them_change_nothing() {
        let (classifier, _) =
            TextClassifier::open(fixture("bert"), 3, &LoadOptions::default()).unwrap();
        assert_eq!(classifier.classes(), 3);
        let (texts, _) = texts();
        let mut pass = Pass::eval();
        let all = classifier.logits(&texts, &mut pass).unwrap();
        for (at, text) in texts.iter().enumerate() {
            let alone = classifier
                .logits(std::slice::from_ref(text), &mut pass)
                .unwrap();
            let row = all.narrow(0, at, 1).unwrap();
            for (a, b) in numbers(&row).iter().zip(numbers(&alone)) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
        for wrong in [vec![], vec![vec![1], vec![]]] {
            let error = classifier.logits(&wrong, &mut pass).unwrap_err();
            assert!(matches!(error, Error::NoTokens { .. }));
        }
    }
}

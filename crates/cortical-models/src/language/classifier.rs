//! A pretrained model that serves a second task: classes of whole texts.

use super::adapter::{CONFIG as ADAPTER_CONFIG, load_head, merged_tensors};
use super::class_head::{full_name, is_head};
use super::config::LanguageConfig;
use super::head::Head;
use super::load::{Loaded, open};
use super::model::LanguageModel;
use super::source::LoadOptions;
use crate::error::{Error, Result};
use candle_core::{Device, Tensor};
use cortical_dense::Linear;
use cortical_neuron::{Init, Params, Pass};
use std::path::Path;

/// A language model whose head over tokens gave way to one over classes. Everything below the head is what pretraining
/// left there, so that few labelled texts are enough: what a text is made of the model knows already.
///
/// A decoder is asked at the last token, which alone has seen the whole text; BERT at the first, through its pooler
/// where it has one. The head has the name that transformers gives it: `score` for decoders, `classifier` for BERT.
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
/// let ids = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
/// let texts = ["Call me Ishmael.", "A day."].map(ids);
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
    head: Linear,
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

    /// The pretrained model in a folder or GGUF file with a head for so many classes: that of the folder, if it has
    /// one, else a new one. The parameters, those of the head among them, are in [`Loaded::params`]; low-rank changes
    /// are made where `options` say so.
    ///
    /// # Errors
    /// As [`open`]; a head in the folder that has another number of classes, unless [`LoadOptions::new_head`] draws
    /// one.
    pub fn open(
        path: impl AsRef<Path>,
        classes: usize,
        options: &LoadOptions,
    ) -> Result<(Self, Params)> {
        let options = LoadOptions {
            headless: true,
            ..options.clone()
        };
        let path = path.as_ref();
        let Loaded { model, params, .. } = open(path, &options)?;
        let classifier = Self::on(model, classes, &params)?;
        if !options.new_head && path.join(ADAPTER_CONFIG).is_file() {
            load_head(path, &params)?;
        }
        Ok((classifier, params))
    }

    fn on(model: LanguageModel, classes: usize, params: &Params) -> Result<Self> {
        let (name, bias) = model.config().inner().names().classifier;
        let init = Init::Normal {
            mean: 0.0,
            std: 0.02,
        };
        let head = Linear::config(model.config().hidden_size(), classes)
            .bias(bias)
            .init(init)
            .build(&params.at(name))?;
        Ok(Self { model, head })
    }

    /// The model below the head.
    #[must_use]
    pub fn model(&self) -> &LanguageModel {
        &self.model
    }

    /// Whether a parameter of this name belongs to the head: what is trained beside low-rank changes.
    #[must_use]
    pub fn is_head(name: &str) -> bool {
        is_head(name)
    }

    /// How many classes there are.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.head.out_features()
    }

    /// The scores `[texts, classes]` of texts of any lengths.
    ///
    /// Texts of like lengths go through the model together. In a decoder the shorter ones are followed by the tokens of
    /// nothing, which no token before them sees; BERT would see them, and some rotary positions depend on the length,
    /// so that such texts wait for others of their length.
    ///
    /// # Errors
    /// [`Error::NoTokens`] for no text and for an empty one, [`Error::TooLong`], and what an operation refuses.
    pub fn logits(&self, texts: &[Vec<u32>], pass: &mut Pass<'_>) -> Result<Tensor> {
        if texts.iter().any(Vec::is_empty) || texts.is_empty() {
            return Err(Error::NoTokens {
                got: vec![texts.len(), 0],
            });
        }
        let mut rows = Vec::new();
        // Where in the rows each text is.
        let mut place = vec![0_u32; texts.len()];
        let mut count = 0;
        for group in self.groups(texts) {
            rows.push(self.summary(&group, texts, pass)?);
            for at in group {
                place[at] = count;
                count += 1;
            }
        }
        let place = Tensor::new(place, &Device::Cpu)?;
        let all = Tensor::cat(&rows, 0)?.index_select(&place, 0)?;
        Ok(self.head.apply(&all, pass)?)
    }

    /// Texts that go through the model together, the longest first.
    fn groups(&self, texts: &[Vec<u32>]) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(texts[*at].len()));
        let pads = self.model.config().inner().pads();
        let fits = |long: usize, short: usize| match pads {
            // At most a quarter of the work may be for nothing.
            true => long - short <= long / 4,
            false => long == short,
        };
        let same = |a: &usize, b: &usize| fits(texts[*a].len(), texts[*b].len());
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for at in order {
            match groups.last_mut() {
                Some(group) if same(&group[0], &at) => group.push(at),
                _ => groups.push(vec![at]),
            }
        }
        groups
    }

    /// What the model makes of the texts of a group: `[texts, hidden_size]`.
    fn summary(&self, group: &[usize], texts: &[Vec<u32>], pass: &mut Pass<'_>) -> Result<Tensor> {
        let longest = texts[group[0]].len();
        let mut ids = Vec::with_capacity(group.len() * longest);
        for at in group {
            ids.extend(&texts[*at]);
            ids.resize(ids.len() + longest - texts[*at].len(), 0);
        }
        let ids = Tensor::from_vec(ids, (group.len(), longest), &Device::Cpu)?;
        let hidden = self.model.hidden(&ids, None, pass)?;
        if let Some(summary) = self.model.summary(&hidden, pass)? {
            return Ok(summary);
        }
        let last: Vec<u32> = (group.iter().zip(0_u32..))
            .map(|(at, row)| row * longest as u32 + texts[*at].len() as u32 - 1)
            .collect();
        let last = Tensor::new(last, &Device::Cpu)?;
        let all = hidden.reshape((group.len() * longest, ()))?;
        Ok(all.index_select(&last, 0)?)
    }

    /// The tensors by the names that transformers' classes for sequence classification have, low-rank changes made part
    /// of the weights: what a `model.safetensors` beside [`LanguageConfig::to_classifier_json`] holds.
    ///
    /// # Errors
    /// As [`merged_tensors`].
    pub fn tensors(&self, params: &Params) -> Result<Vec<(String, Tensor)>> {
        let config = self.model.config();
        let tensors = merged_tensors(&self.model, params)?;
        let named = |(name, tensor): (String, Tensor)| (full_name(config, &name), tensor);
        Ok(tensors.into_iter().map(named).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::class_head::read_classes;
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

    fn write(path: &Path, text: &str) {
        cortical_io::write_atomic(path, |file| file.write_all(text.as_bytes())).unwrap();
    }

    /// Texts of two kinds and several lengths.
    fn texts() -> (Vec<Vec<u32>>, Tensor) {
        let texts = vec![vec![3, 4, 5], vec![9, 8], vec![3, 5, 4, 3], vec![8, 9, 8]];
        let labels = Tensor::new(&[0_u32, 1, 0, 1], &Device::Cpu).unwrap();
        (texts, labels)
    }

    #[test]
    fn pretrained_weights_learn_a_second_task() {
        for name in [
            "llama-grouped-tied",
            "llama",
            "gpt2",
            "qwen2",
            "bert",
            "gemma3",
            "phi3",
            "olmo2",
            "smollm3",
        ] {
            for adapted in [false, true] {
                let target = match name {
                    "gpt2" => "c_attn",
                    "bert" => "query",
                    "phi3" => "qkv_proj",
                    _ => "q_proj",
                };
                let options = LoadOptions {
                    adapters: adapted.then(|| Adapters {
                        rank: 2,
                        alpha: 4.0,
                        targets: vec![target.to_owned()],
                        ..Adapters::default()
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
        for name in [
            "bert",
            "gpt2",
            "llama-grouped-tied",
            "mistral-window",
            "llama-dynamic-rope",
            "gemma2",
            "phi3-longrope",
            "smollm3",
        ] {
            stand_alone(name);
        }
    }

    fn stand_alone(name: &str) {
        let (classifier, _) =
            TextClassifier::open(fixture(name), 3, &LoadOptions::default()).unwrap();
        assert_eq!(classifier.classes(), 3);
        // Some go together, and some alone.
        let texts: Vec<Vec<u32>> = [5, 12, 1, 10, 6, 2, 12, 3]
            .map(|length| (3..3 + length).collect())
            .into();
        let mut pass = Pass::eval();
        let all = classifier.logits(&texts, &mut pass).unwrap();
        for (at, text) in texts.iter().enumerate() {
            let alone = classifier
                .logits(std::slice::from_ref(text), &mut pass)
                .unwrap();
            let row = all.narrow(0, at, 1).unwrap();
            for (a, b) in numbers(&row).iter().zip(numbers(&alone)) {
                assert!((a - b).abs() < 1e-5, "{name} {at} {a} {b}");
            }
        }
        for wrong in [vec![], vec![vec![1], vec![]]] {
            let error = classifier.logits(&wrong, &mut pass).unwrap_err();
            assert!(matches!(error, Error::NoTokens { .. }));
        }
    }

    #[test]
    fn what_was_saved_opens_with_its_classes() {
        for name in [
            "llama-grouped-tied",
            "gpt2",
            "qwen2",
            "bert",
            "gemma2",
            "gemma3",
            "phi3",
        ] {
            let (first, params) =
                TextClassifier::open(fixture(name), 2, &LoadOptions::default()).unwrap();
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(read_classes(folder.path()).unwrap(), None);
            let names = ["no".to_owned(), "yes".to_owned()];
            let config = first.model().config().to_classifier_json(&names).unwrap();
            write(&folder.path().join("config.json"), &config);
            let tensors = first.tensors(&params).unwrap();
            let file = folder.path().join("model.safetensors");
            cortical_io::save_tensors(file, &tensors, &Default::default()).unwrap();

            let classes = read_classes(folder.path()).unwrap().unwrap();
            assert_eq!(classes, names, "{name}");
            let options = LoadOptions::default();
            let (second, _) = TextClassifier::open(folder.path(), 2, &options).unwrap();
            let (texts, _) = texts();
            let [a, b] =
                [&first, &second].map(|c| numbers(&c.logits(&texts, &mut Pass::eval()).unwrap()));
            assert_eq!(a, b, "{name}");
            let error = TextClassifier::open(folder.path(), 3, &options).unwrap_err();
            assert!(error.to_string().contains("[2, "), "{error}");
            let options = LoadOptions {
                new_head: true,
                ..options
            };
            let (third, _) = TextClassifier::open(folder.path(), 3, &options).unwrap();
            assert_eq!(third.classes(), 3, "{name}");
        }
    }

    #[test]
    fn classes_that_are_not_numbered_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read = |labels: &str| {
            let text = format!(
                r#"{{"architectures": ["LlamaForSequenceClassification"], "id2label": {labels}}}"#
            );
            write(&folder.path().join("config.json"), &text);
            read_classes(folder.path()).map_err(|error| error.to_string())
        };
        assert_eq!(
            read(r#"{"1": "b", "0": "a"}"#).unwrap().unwrap(),
            ["a", "b"]
        );
        for wrong in [r#"{"1": "a"}"#, r#"{"0": 3}"#, "{}", "null", r#"["a"]"#] {
            let error = read(wrong).unwrap_err();
            assert!(
                error.contains("config.json: id2label is "),
                "{wrong}: {error}"
            );
        }
    }
}

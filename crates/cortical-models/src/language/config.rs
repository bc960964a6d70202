//! The configuration of a language model, whatever its architecture.

use super::architecture::Config;
use super::architectures;
use super::head::Head;
use super::json::{JsonFields, short};
use super::keys::Keys;
use super::parts::TensorSpec;
use super::widths::BlockGroups;
use crate::error::{Error, Result};
use cortical_io::GgufFile;
use serde_json::{Value, json};

/// What a language model is made of.
#[derive(Debug)]
pub struct LanguageConfig(Box<dyn Config>);

impl Clone for LanguageConfig {
    fn clone(&self) -> Self {
        Self(self.0.copy())
    }
}

impl PartialEq for LanguageConfig {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(&*other.0)
    }
}

impl LanguageConfig {
    pub(crate) fn of(config: Box<dyn Config>) -> Self {
        Self(config)
    }

    /// Reads a Hugging Face `config.json`.
    ///
    /// ```
    /// use cortical_models::language::LanguageConfig;
    /// let config = LanguageConfig::from_json(r#"{"model_type": "gpt2"}"#)?;
    /// assert_eq!(config.parameters(), Some(124_439_808));
    /// let error = LanguageConfig::from_json(r#"{"model_type": "llama", "logit_scale": 0.5}"#).unwrap_err();
    /// assert!(error.to_string().starts_with("logit_scale is 0.5"));
    /// # Ok::<(), cortical_models::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Json`], [`Error::ModelType`], [`Error::Config`], [`Error::UnsupportedConfig`],
    /// [`Error::UnknownConfig`].
    pub fn from_json(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|why| Error::Json { why })?;
        let Value::Object(map) = value else {
            return Err(Error::Config {
                field: "config.json".to_owned(),
                expected: "an object".to_owned(),
                got: short(&value),
            });
        };
        let mut fields = JsonFields::new("", map);
        for name in ["is_encoder_decoder", "tie_encoder_decoder"] {
            fields.only(name, &[false.into()])?;
        }
        for name in ["quantization_config", "cross_attention_hidden_size"] {
            fields.only(name, &[])?;
        }
        let kind = fields.text("model_type")?;
        let kind =
            kind.ok_or_else(|| fields.missing("model_type", "the name of an architecture"))?;
        let Some(architecture) = architectures::by_model_type(&kind) else {
            let supported = architectures::model_types();
            return Err(Error::ModelType {
                got: short(&kind.into()),
                supported,
                hint: None,
            });
        };
        let config = architecture.read(&mut fields)?;
        fields.finish(&kind)?;
        Ok(Self(config))
    }

    /// What a GGUF file's model is made of, and where its scores come from.
    pub(crate) fn from_gguf(file: &GgufFile) -> Result<(Self, Head)> {
        let (keys, name) = Keys::new(file);
        let head = match keys.has_tensor("output.weight") {
            true => Head::Own,
            false => Head::Tied,
        };
        keys.only("expert_count", 0.0)?;
        let architecture = architectures::by_gguf(name);
        let architecture =
            architecture.ok_or_else(|| keys.unsupported(&architectures::gguf_names()))?;
        let config = architecture.read_gguf(&keys, head)?;
        // What sees the whole text scores no tokens, whatever table it has.
        let head = match config.head() {
            Head::None => Head::None,
            Head::Own | Head::Tied => head,
        };
        Ok((Self(config), head))
    }

    /// The configuration as a Hugging Face `config.json`, or `None` where transformers has no name for its activation.
    ///
    /// ```
    /// use cortical_models::language::{LanguageConfig, preset};
    /// let config = preset("smollm2-135m").expect("a preset").config;
    /// let text = config.to_json().expect("a llama");
    /// assert_eq!(LanguageConfig::from_json(&text)?, config);
    /// # Ok::<(), cortical_models::Error>(())
    /// ```
    #[must_use]
    pub fn to_json(&self) -> Option<String> {
        Some(format!("{:#}\n", self.0.write()?))
    }

    /// As [`LanguageConfig::to_json`], of a model whose head scores these classes of texts, as transformers' classes
    /// for sequence classification have it.
    ///
    /// ```
    /// use cortical_models::language::preset;
    /// let config = preset("llama-tiny").expect("a preset").config;
    /// let classes = ["bad".to_owned(), "good".to_owned()];
    /// let text = config.to_classifier_json(&classes).expect("a llama");
    /// assert!(text.contains("LlamaForSequenceClassification"));
    /// ```
    #[must_use]
    pub fn to_classifier_json(&self, classes: &[String]) -> Option<String> {
        let mut value = self.0.write()?;
        let class = self.0.names().classifier_class;
        let numbered = classes.iter().enumerate();
        let names = numbered
            .clone()
            .map(|(i, name)| (i.to_string(), json!(name)));
        let numbers = numbered.map(|(i, name)| (name.clone(), json!(i)));
        value["architectures"] = json!([format!("{class}ForSequenceClassification")]);
        value["id2label"] = Value::Object(names.collect());
        value["label2id"] = Value::Object(numbers.collect());
        Some(format!("{value:#}\n"))
    }

    /// What the architecture says of itself.
    pub(crate) fn inner(&self) -> &dyn Config {
        &*self.0
    }

    /// The architecture's name in the GGUF files that are written.
    #[must_use]
    pub fn gguf_name(&self) -> Option<&'static str> {
        self.0.gguf_name()
    }

    /// The architecture's name, as `model_type` has it.
    #[must_use]
    pub fn model_type(&self) -> &'static str {
        self.0.names().model_type
    }

    /// How many tokens it knows.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.0.sizes().vocab
    }

    /// The same with another number of tokens: for a model that is to be trained from nothing with a tokenizer of its
    /// own.
    #[must_use]
    pub fn with_vocab_size(mut self, tokens: usize) -> Self {
        self.0.set_vocab_size(tokens);
        self
    }

    /// From now on the head has weights of its own.
    pub(crate) fn untie(&mut self) {
        self.0.untie();
    }

    /// The model's width.
    #[must_use]
    pub fn hidden_size(&self) -> usize {
        self.0.sizes().hidden
    }

    /// Blocks.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.0.sizes().layers
    }

    /// How many positions the model was made for; a table of positions ends there, rotary positions go on.
    #[must_use]
    pub fn max_positions(&self) -> usize {
        self.0.sizes().positions
    }

    /// The number of positions that there is a table for, if there is one.
    #[must_use]
    pub fn table_positions(&self) -> Option<usize> {
        let sizes = self.0.sizes();
        sizes.position_table.then_some(sizes.positions)
    }

    /// Bytes of the keys and values of so many positions in single precision, all blocks together; `None` when they
    /// cannot be counted.
    ///
    /// ```
    /// use cortical_models::language::preset;
    /// let config = preset("smollm2-135m").expect("a preset").config;
    /// // 30 blocks, keys and values of 3 heads of 64.
    /// assert_eq!(config.cache_bytes(1000), Some(30 * 2 * 3 * 64 * 4 * 1000));
    /// ```
    #[must_use]
    pub fn cache_bytes(&self, positions: usize) -> Option<usize> {
        let width = usize::try_from(self.cache_width()).ok()?;
        width.checked_mul(size_of::<f32>())?.checked_mul(positions)
    }

    /// Where the whole model has its scores from.
    #[must_use]
    pub fn head(&self) -> Head {
        self.0.head()
    }

    /// What stands before the names of all tensors but the head's.
    #[must_use]
    pub fn prefix(&self) -> &'static str {
        self.0.prefix()
    }

    /// Settles by the names in a model's files what the configuration leaves open: the prefix before them, and where
    /// scores come from.
    pub(crate) fn settle(&mut self, has: &dyn Fn(&str) -> bool) -> (&'static str, Head) {
        self.0.settle(has)
    }

    /// Heads and neurons of its blocks that can be removed, with the tensors that make and read them. `None` for an
    /// architecture that does not say it.
    ///
    /// ```
    /// use cortical_models::language::preset;
    /// let groups = preset("llama2-70b").expect("a preset").config.groups().expect("a llama");
    /// // 8 heads of keys and values, each of which 8 heads of 128 queries share.
    /// assert_eq!((groups.heads[0].count, groups.heads[0].slices[0].each), (8, 8 * 128));
    /// assert_eq!(groups.inner[79].slices[2].tensor, "model.layers.79.mlp.down_proj.weight");
    /// ```
    #[must_use]
    pub fn groups(&self) -> Option<BlockGroups> {
        let widths = self.0.widths()?;
        Some(widths.groups(self.prefix(), self.layers()))
    }

    /// The same with so many heads of keys and values in each block, each with as many queries as before, and so many
    /// neurons in its feed-forward part: for a model whose [`groups`](Self::groups) have lost some.
    #[must_use]
    pub fn narrowed(mut self, heads: usize, inner: usize) -> Self {
        self.0.narrow(heads, inner);
        self
    }

    /// Every tensor of the whole model, by the names of Hugging Face's files, in the order in which they are built.
    #[must_use]
    pub fn tensors(&self) -> Vec<TensorSpec> {
        self.tensors_as(self.prefix(), self.head())
    }

    pub(crate) fn tensors_as(&self, prefix: &str, head: Head) -> Vec<TensorSpec> {
        self.0.tensors(prefix, head)
    }

    /// How many parameters the whole model has: what "7B" counts. `None` when they cannot be counted.
    #[must_use]
    pub fn parameters(&self) -> Option<usize> {
        let tensors = self.tensors();
        let mut counts = tensors.iter().map(TensorSpec::count);
        counts.try_fold(0_usize, |sum, count| sum.checked_add(count?))
    }
}

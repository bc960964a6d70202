//! The fields of a `config.json` or `adapter_config.json`, none of which may go unread.

use crate::error::{Error, Result};
use cortical_io::printable;
use serde_json::{Map, Value};

/// Fields that change how a model is trained, stored or sampled from, but not what it computes.
const HARMLESS: &[&str] = &[
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_attn_implementation_internal",
    "_commit_hash",
    "_experts_implementation",
    "_flash_attn_2_enabled",
    "_from_model_config",
    "_model_name_or_path",
    "_name_or_path",
    "_num_labels",
    "architectures",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_implementation",
    "attn_pdrop",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cls_token_id",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "embedding_dropout",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "gradient_checkpointing_kwargs",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "initializer_range",
    "is_llama_config",
    "keys_to_ignore_at_inference",
    "label2id",
    "language",
    "length_penalty",
    "license",
    "mask_token_id",
    "max_length",
    "min_length",
    "mlp_dropout",
    "model_name",
    "model_type",
    "n_ctx",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_scores",
    "pad_token",
    "pad_token_id",
    "predict_special_tokens",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_dropout",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "tokenizer_name",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "trust_remote_code",
    "typical_p",
    "unk_token",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    "use_flash_attention",
    "use_flash_attn",
];

/// Fields of an `adapter_config.json` that say how changes were trained, or what a value is where something is on that
/// is refused.
pub(crate) const HARMLESS_OF_ADAPTERS: &[&str] = &[
    "auto_mapping",
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "task_type",
    "unsloth_fixed",
    "unsloth_version",
];

/// The fields of one JSON object, handed out one by one.
#[derive(Debug)]
pub(crate) struct JsonFields {
    prefix: String,
    fields: Map<String, Value>,
}

impl JsonFields {
    pub(crate) fn new(prefix: &str, fields: Map<String, Value>) -> Self {
        Self {
            prefix: prefix.to_owned(),
            fields,
        }
    }

    fn path(&self, name: &str) -> String {
        let name = printable(name, 60);
        match self.prefix.as_str() {
            "" => name,
            prefix => format!("{prefix}.{name}"),
        }
    }

    /// Whether the field is there, be it `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// Takes the field out; `null` counts as not there.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, expected: &str, got: &Value) -> Error {
        Error::Config {
            field: self.path(name),
            expected: expected.to_owned(),
            got: short(got),
        }
    }

    /// The field as `read` understands it.
    fn read<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        self.take(name)
            .map(|value| read(&value).ok_or_else(|| self.wrong(name, expected, &value)))
            .transpose()
    }

    /// The field as a list of what `read` understands.
    fn list<T>(
        &mut self,
        name: &str,
        expected: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        self.read(name, expected, |value| {
            value.as_array()?.iter().map(read).collect()
        })
    }

    /// A size: a whole number of at least 1.
    pub(crate) fn size(&mut self, name: &str) -> Result<Option<usize>> {
        self.read(name, "a whole number of at least 1", |value| {
            let size = value.as_u64().filter(|size| (1..=1 << 40).contains(size))?;
            usize::try_from(size).ok()
        })
    }

    /// A size, or what it is where it is not there.
    pub(crate) fn size_or(&mut self, name: &str, default: usize) -> Result<usize> {
        Ok(self.size(name)?.unwrap_or(default))
    }

    /// A whole number that may be 0.
    pub(crate) fn whole(&mut self, name: &str) -> Result<Option<usize>> {
        self.read(name, "a whole number, not negative", |value| {
            usize::try_from(value.as_u64()?).ok()
        })
    }

    /// A token's number, or none for null; what it is where it is not there. A negative one counts from the end in
    /// PyTorch and stands for none in files.
    pub(crate) fn token(&mut self, name: &str, default: Option<u32>) -> Result<Option<u32>> {
        if !self.has(name) {
            return Ok(default);
        }
        let token = self.read(name, "a token's number", |value| {
            let number = value.as_i64()?;
            Some(u32::try_from(number).ok())
        })?;
        Ok(token.flatten())
    }

    pub(crate) fn missing(&self, name: &str, expected: &'static str) -> Error {
        Error::MissingConfig {
            field: self.path(name),
            expected,
        }
    }

    /// A finite number above 0.
    pub(crate) fn positive(&mut self, name: &str) -> Result<Option<f64>> {
        self.read(name, "a number above 0", positive)
    }

    /// A list of finite numbers above 0.
    pub(crate) fn positives(&mut self, name: &str) -> Result<Option<Vec<f64>>> {
        self.list(name, "a list of numbers above 0", positive)
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        self.read(name, "true or false", Value::as_bool)
    }

    /// A list of yes and no, as 1 and 0 or in words.
    pub(crate) fn flags(&mut self, name: &str) -> Result<Option<Vec<bool>>> {
        self.list(name, "a list of 0 and 1", |x| match x.as_u64() {
            Some(number @ (0 | 1)) => Some(number == 1),
            _ => x.as_bool(),
        })
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.read(name, "text", text)
    }

    pub(crate) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        self.list(name, "a list of names", text)
    }

    pub(crate) fn table(&mut self, name: &str) -> Result<Option<Self>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Self::new(&self.path(name), fields))),
            Some(value) => Err(self.wrong(name, "an object", &value)),
        }
    }

    /// A field that must have one of these values, or not be there: others would change what the model computes.
    pub(crate) fn only(&mut self, name: &str, allowed: &[Value]) -> Result<()> {
        self.one_of(name, allowed).map(|_| ())
    }

    /// As [`JsonFields::only`], and which of the values it is.
    pub(crate) fn one_of(&mut self, name: &str, allowed: &[Value]) -> Result<Option<usize>> {
        let Some(got) = self.take(name) else {
            return Ok(None);
        };
        let found = allowed.iter().position(|value| *value == got);
        found.map(Some).ok_or_else(|| Error::UnsupportedConfig {
            field: self.path(name),
            got: short(&got),
            expected: allowed.iter().map(short).collect::<Vec<_>>().join(" or "),
        })
    }

    /// The names of all fields that are still there.
    pub(crate) fn names(&self) -> Vec<String> {
        self.fields.keys().cloned().collect()
    }

    /// Refuses what nobody has read, unless it is known to change nothing or says that something is not used.
    pub(crate) fn finish(self, model: &str) -> Result<()> {
        let harmless = |name: &str| HARMLESS.contains(&name) || name.starts_with("summary_");
        self.finish_but(model, harmless)
    }

    /// As [`JsonFields::finish`], with other fields that change nothing.
    pub(crate) fn finish_but(self, model: &str, harmless: impl Fn(&str) -> bool) -> Result<()> {
        let top = self.prefix.is_empty();
        let unread = self.fields.iter().find(|(name, value)| {
            let harmless = top && harmless(name.as_str());
            let unused = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(list) => list.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                _ => false,
            };
            !harmless && !unused
        });
        match unread {
            None => Ok(()),
            Some((name, value)) => Err(Error::UnknownConfig {
                field: self.path(name),
                got: short(value),
                model: model.to_owned(),
            }),
        }
    }
}

fn positive(value: &Value) -> Option<f64> {
    value.as_f64().filter(|x| x.is_finite() && *x > 0.0)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A value in a message.
pub(crate) fn short(value: &Value) -> String {
    printable(&value.to_string(), 60)
}

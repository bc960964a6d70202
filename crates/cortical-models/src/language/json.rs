//! The fields of a `config.json`, none of which may go unread.

use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// Fields that change how a model is trained, stored or sampled from, but not what it computes.
const HARMLESS: &[&str] = &[
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "_num_labels",
    "architectures",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_pdrop",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "hidden_dropout_prob",
    "id2label",
    "initializer_range",
    "is_llama_config",
    "keys_to_ignore_at_inference",
    "label2id",
    "language",
    "length_penalty",
    "max_length",
    "min_length",
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
    "pad_token_id",
    "predict_special_tokens",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "use_bfloat16",
    "use_cache",
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
        match self.prefix.as_str() {
            "" => name.to_owned(),
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

    /// A size: a whole number of at least 1.
    pub(crate) fn size(&mut self, name: &str) -> Result<Option<usize>> {
        self.take(name)
            .map(|value| {
                let size = value.as_u64().filter(|size| (1..=1 << 40).contains(size));
                size.and_then(|size| usize::try_from(size).ok())
                    .ok_or_else(|| self.wrong(name, "a whole number of at least 1", &value))
            })
            .transpose()
    }

    /// A size, or what it is where it is not there.
    pub(crate) fn size_or(&mut self, name: &str, default: usize) -> Result<usize> {
        Ok(self.size(name)?.unwrap_or(default))
    }

    /// A whole number that may be 0.
    pub(crate) fn whole(&mut self, name: &str) -> Result<Option<usize>> {
        self.take(name)
            .map(|value| {
                let whole = value.as_u64().and_then(|n| usize::try_from(n).ok());
                whole.ok_or_else(|| self.wrong(name, "a whole number, not negative", &value))
            })
            .transpose()
    }

    pub(crate) fn missing(&self, name: &str, expected: &'static str) -> Error {
        Error::MissingConfig {
            field: self.path(name),
            expected,
        }
    }

    /// A finite number above 0.
    pub(crate) fn positive(&mut self, name: &str) -> Result<Option<f64>> {
        self.take(name)
            .map(|value| {
                let number = value.as_f64().filter(|x| x.is_finite() && *x > 0.0);
                number.ok_or_else(|| self.wrong(name, "a number above 0", &value))
            })
            .transpose()
    }

    /// A list of finite numbers above 0.
    pub(crate) fn positives(&mut self, name: &str) -> Result<Option<Vec<f64>>> {
        self.take(name)
            .map(|value| {
                let number = |x: &Value| x.as_f64().filter(|x| x.is_finite() && *x > 0.0);
                let numbers = value
                    .as_array()
                    .and_then(|list| list.iter().map(number).collect());
                numbers.ok_or_else(|| self.wrong(name, "a list of numbers above 0", &value))
            })
            .transpose()
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        self.take(name)
            .map(|value| {
                let flag = value.as_bool();
                flag.ok_or_else(|| self.wrong(name, "true or false", &value))
            })
            .transpose()
    }

    /// A list of yes and no, as 1 and 0 or in words.
    pub(crate) fn flags(&mut self, name: &str) -> Result<Option<Vec<bool>>> {
        self.take(name)
            .map(|value| {
                let flag = |x: &Value| match x.as_u64() {
                    Some(number @ (0 | 1)) => Some(number == 1),
                    _ => x.as_bool(),
                };
                let flags = value
                    .as_array()
                    .and_then(|list| list.iter().map(flag).collect());
                flags.ok_or_else(|| self.wrong(name, "a list of 0 and 1", &value))
            })
            .transpose()
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>> {
        self.take(name)
            .map(|value| {
                let text = value.as_str().map(str::to_owned);
                text.ok_or_else(|| self.wrong(name, "text", &value))
            })
            .transpose()
    }

    pub(crate) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>> {
        self.take(name)
            .map(|value| {
                let text = |x: &Value| x.as_str().map(str::to_owned);
                let texts = value
                    .as_array()
                    .and_then(|list| list.iter().map(text).collect());
                texts.ok_or_else(|| self.wrong(name, "a list of names", &value))
            })
            .transpose()
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
        match self.take(name) {
            Some(got) if !allowed.contains(&got) => Err(Error::UnsupportedConfig {
                field: self.path(name),
                got: short(&got),
                expected: allowed.iter().map(short).collect::<Vec<_>>().join(" or "),
            }),
            _ => Ok(()),
        }
    }

    /// Refuses what nobody has read, unless it is known to change nothing or says that something is not used.
    pub(crate) fn finish(self, model: &str) -> Result<()> {
        let top = self.prefix.is_empty();
        let unread = self.fields.iter().find(|(name, value)| {
            let harmless =
                top && (HARMLESS.contains(&name.as_str()) || name.starts_with("summary_"));
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

/// A value in a message.
pub(crate) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

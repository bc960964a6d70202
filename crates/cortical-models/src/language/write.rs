//! Configurations as `config.json`, so that what is trained here is opened elsewhere.

use super::{BertConfig, DecoderConfig, Family, Gpt2Config, LanguageConfig, Scaling};
use cortical_kernels::activation::Activation;
use serde_json::{Value, json};

impl LanguageConfig {
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
        let value = match self {
            Self::Decoder(config) => decoder(config)?,
            Self::Gpt2(config) => gpt2(config)?,
            Self::Bert(config) => bert(config)?,
        };
        Some(format!("{value:#}\n"))
    }

    /// As [`LanguageConfig::to_json`], of a model whose head scores these classes of texts, as transformers' classes for sequence classification have it.
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
        let mut value: Value = serde_json::from_str(&self.to_json()?).ok()?;
        let class = match self {
            Self::Decoder(config) => class_of(config.family),
            Self::Gpt2(_) => "GPT2",
            Self::Bert(_) => "Bert",
        };
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
}

/// What the names of a family's classes in transformers begin with.
fn class_of(family: Family) -> &'static str {
    match family {
        Family::Llama => "Llama",
        Family::Mistral => "Mistral",
        Family::Qwen2 => "Qwen2",
        Family::Qwen3 => "Qwen3",
    }
}

/// The name that transformers has for an activation.
fn activation(activation: Activation) -> Option<&'static str> {
    Some(match activation {
        Activation::Silu => "silu",
        Activation::Gelu => "gelu",
        Activation::GeluTanh => "gelu_pytorch_tanh",
        Activation::Relu => "relu",
        Activation::Sigmoid => "sigmoid",
        Activation::Tanh => "tanh",
        Activation::Mish => "mish",
        Activation::Hardswish => "hardswish",
        Activation::Identity => "linear",
        _ => return None,
    })
}

fn scaling(scaling: &Scaling, theta: f64) -> Value {
    let mut value = match scaling {
        Scaling::None => json!({ "rope_type": "default" }),
        Scaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        Scaling::Dynamic { factor } => json!({ "rope_type": "dynamic", "factor": factor }),
        Scaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original,
        } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original,
        }),
        Scaling::Yarn {
            factor,
            attention_factor,
            beta_fast,
            beta_slow,
            original,
            truncate,
        } => json!({
            "rope_type": "yarn",
            "factor": factor,
            "attention_factor": attention_factor,
            "beta_fast": beta_fast,
            "beta_slow": beta_slow,
            "original_max_position_embeddings": original,
            "truncate": truncate,
        }),
        Scaling::LongRope {
            short,
            long,
            attention_factor,
            original,
        } => json!({
            "rope_type": "longrope",
            "short_factor": short,
            "long_factor": long,
            "attention_factor": attention_factor,
            "original_max_position_embeddings": original,
        }),
    };
    value["rope_theta"] = json!(theta);
    value
}

fn decoder(c: &DecoderConfig) -> Option<Value> {
    let mut value = json!({
        "architectures": [format!("{}ForCausalLM", class_of(c.family))],
        "model_type": c.family.name(),
        "vocab_size": c.vocab_size,
        "hidden_size": c.hidden_size,
        "intermediate_size": c.intermediate_size,
        "num_hidden_layers": c.num_layers,
        "num_attention_heads": c.num_heads,
        "num_key_value_heads": c.num_kv_heads,
        "head_dim": c.head_dim,
        "hidden_act": activation(c.activation)?,
        "rms_norm_eps": c.eps,
        "max_position_embeddings": c.rope.max_positions,
        "rope_parameters": scaling(&c.rope.scaling, c.rope.theta),
        "tie_word_embeddings": c.tied,
        "torch_dtype": "float32",
    });
    match c.family {
        Family::Llama => {
            value["attention_bias"] = json!(c.qkv_bias);
            value["mlp_bias"] = json!(c.mlp_bias);
        }
        Family::Mistral => value["sliding_window"] = json!(c.window),
        Family::Qwen2 | Family::Qwen3 => {
            value["use_sliding_window"] = json!(c.window.is_some());
            value["sliding_window"] = json!(c.window);
            let kind = |windowed: &bool| match windowed {
                true => "sliding_attention",
                false => "full_attention",
            };
            value["layer_types"] = c.windowed.iter().map(kind).collect();
            if c.family == Family::Qwen3 {
                value["attention_bias"] = json!(c.qkv_bias);
            }
        }
    }
    Some(value)
}

fn gpt2(c: &Gpt2Config) -> Option<Value> {
    let name = match c.activation {
        Activation::GeluTanh => "gelu_new",
        other => activation(other)?,
    };
    Some(json!({
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": c.vocab_size,
        "n_positions": c.n_positions,
        "n_embd": c.n_embd,
        "n_layer": c.n_layer,
        "n_head": c.n_head,
        "n_inner": c.n_inner,
        "activation_function": name,
        "layer_norm_epsilon": c.eps,
        "scale_attn_weights": c.scale_by_root,
        "scale_attn_by_inverse_layer_idx": c.scale_by_layer,
        "tie_word_embeddings": c.tied,
        "torch_dtype": "float32",
    }))
}

fn bert(c: &BertConfig) -> Option<Value> {
    Some(json!({
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": c.vocab_size,
        "hidden_size": c.hidden_size,
        "num_hidden_layers": c.num_layers,
        "num_attention_heads": c.num_heads,
        "intermediate_size": c.intermediate_size,
        "hidden_act": activation(c.activation)?,
        "layer_norm_eps": c.eps,
        "max_position_embeddings": c.max_positions,
        "type_vocab_size": c.type_vocab_size,
        "torch_dtype": "float32",
    }))
}

#[cfg(test)]
mod tests {
    use super::super::{LanguageConfig, presets};

    #[test]
    fn every_preset_comes_back_from_its_file() {
        for preset in presets() {
            let text = preset.config.to_json().unwrap();
            let back = LanguageConfig::from_json(&text).unwrap();
            assert_eq!(back, preset.config, "{}", preset.name);
        }
    }
}

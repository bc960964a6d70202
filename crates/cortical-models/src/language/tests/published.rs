//! Configurations as they were published, with fields of several years; and what is refused in them.

use crate::language::{LanguageConfig, preset};

fn same(name: &str, text: &str) {
    let config = LanguageConfig::from_json(text).unwrap();
    // A preset is drawn for tokens of one's own, none of which stands for padding.
    let config = config.clone().with_vocab_size(config.vocab_size());
    assert_eq!(config, preset(name).unwrap().config, "{name}");
}

const GEMMA2: &str = r#"{
    "architectures": ["Gemma2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "attn_logit_softcapping": 50.0, "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": 1,
    "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh",
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "initializer_range": 0.02,
    "intermediate_size": 9216, "max_position_embeddings": 8192, "model_type": "gemma2",
    "num_attention_heads": 8, "num_hidden_layers": 26, "num_key_value_heads": 4, "pad_token_id": 0,
    "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096,
    "torch_dtype": "float32", "transformers_version": "4.42.4", "use_cache": true, "vocab_size": 256000
}"#;

const GEMMA3: &str = r#"{
    "architectures": ["Gemma3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "attn_logit_softcapping": null, "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": [1, 106],
    "final_logit_softcapping": null, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152,
    "initializer_range": 0.02, "intermediate_size": 6912, "max_position_embeddings": 32768,
    "model_type": "gemma3_text", "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1,
    "pad_token_id": 0, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000,
    "rope_scaling": null, "rope_theta": 1000000, "sliding_window": 512, "sliding_window_pattern": 6,
    "torch_dtype": "bfloat16", "transformers_version": "4.50.0.dev0", "use_cache": true, "vocab_size": 262144
}"#;

const SMOLLM3: &str = r#"{
    "architectures": ["SmolLM3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": null,
    "eos_token_id": 128012, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
    "intermediate_size": 11008, "max_position_embeddings": 65536, "max_window_layers": 28, "mlp_bias": false,
    "model_type": "smollm3", "no_rope_layer_interval": 4, "num_attention_heads": 16, "num_hidden_layers": 36,
    "num_key_value_heads": 4, "pad_token_id": 128004, "pretraining_tp": 2, "rms_norm_eps": 1e-06,
    "rope_scaling": null, "rope_theta": 5000000.0, "sliding_window": null, "torch_dtype": "bfloat16",
    "transformers_version": "4.54.0.dev0", "use_cache": false, "use_sliding_window": false, "vocab_size": 128256
}"#;

/// The first Phi-3 of 128,000 positions, whose LongRope still has its first name.
fn phi3_long(rope: &str) -> String {
    let short: Vec<String> = (0..48).map(|i| format!("1.{i:02}")).collect();
    let long: Vec<String> = (0..48).map(|i| format!("{}.5", i + 1)).collect();
    format!(
        r#"{{"model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192, "num_attention_heads": 32,
        "num_hidden_layers": 32, "num_key_value_heads": 32, "max_position_embeddings": 131072,
        "original_max_position_embeddings": 4096, "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
        "rope_scaling": {{"type": "{rope}", "short_factor": [{}], "long_factor": [{}]}},
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attention_bias": false, "sliding_window": 262144,
        "tie_word_embeddings": false, "vocab_size": 32064}}"#,
        short.join(", "),
        long.join(", ")
    )
}

#[test]
fn published_configurations_are_the_presets() {
    same("gemma2-2b", GEMMA2);
    same("gemma3-1b", GEMMA3);
    same("smollm3-3b", SMOLLM3);
    let explicit = SMOLLM3.replace(
        r#""no_rope_layer_interval": 4"#,
        &format!(r#""no_rope_layers": [{}]"#, ["1, 1, 1, 0"; 9].join(", ")),
    );
    same("smollm3-3b", &explicit);
}

#[test]
fn names_of_longrope_are_one() {
    let read = |rope: &str| LanguageConfig::from_json(&phi3_long(rope)).unwrap();
    assert_eq!(read("su"), read("longrope"));
    assert_eq!(read("yarn"), read("longrope"));
    let back = LanguageConfig::from_json(&read("su").to_json().unwrap()).unwrap();
    assert_eq!(back, read("su"));
}

#[test]
fn what_would_change_the_mathematics_is_refused() {
    let error = |text: String| LanguageConfig::from_json(&text).unwrap_err().to_string();
    let more = |text: &str, field: &str| text.replacen('{', &format!("{{{field}, "), 1);
    for (text, message) in [
        (
            more(GEMMA3, r#""use_bidirectional_attention": true"#),
            "use_bidirectional_attention is true",
        ),
        (
            GEMMA3.replace(
                r#""attn_logit_softcapping": null"#,
                r#""attn_logit_softcapping": 50.0"#,
            ),
            "attn_logit_softcapping is 50.0",
        ),
        (
            GEMMA2.replace(
                r#""attn_logit_softcapping": 50.0"#,
                r#""attn_logit_softcapping": 0"#,
            ),
            "attn_logit_softcapping is 0, expected a number above 0",
        ),
        (
            more(GEMMA2, r#""layer_types": ["sliding_attention"]"#),
            "layer_types is 1 entries",
        ),
        (
            more(SMOLLM3, r#""no_rope_layers": [1, 0]"#),
            "no_rope_layers is 2 entries, expected one entry for each of 36 layers",
        ),
        (
            more(SMOLLM3, r#""no_rope_layers": [2]"#),
            "no_rope_layers is [2], expected a list of 0 and 1",
        ),
        (
            more(&phi3_long("su"), r#""full_attn_mod": 2"#),
            "full_attn_mod is 2",
        ),
        (
            more(&phi3_long("su"), r#""partial_rotary_factor": 1.5"#),
            "partial_rotary_factor is 1.5, expected at most 1",
        ),
        (
            more(&phi3_long("su"), r#""partial_rotary_factor": 0.75"#),
            "short_factor is 48 numbers, expected 36 numbers",
        ),
    ] {
        let error = error(text);
        assert!(error.contains(message), "{error}");
    }
}

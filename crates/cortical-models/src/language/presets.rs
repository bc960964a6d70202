//! The published sizes of well-known models.

use super::decoder::{DecoderConfig, Family};
use super::rope::{Rope, Scaling};
use super::{BertConfig, Gpt2Config, LanguageConfig};

/// A model by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// The name in lower case.
    pub name: &'static str,
    /// What it is made of.
    pub config: LanguageConfig,
}

/// The preset of this name.
#[must_use]
pub fn preset(name: &str) -> Option<Preset> {
    presets().into_iter().find(|preset| preset.name == name)
}

/// All presets, those of a family together.
#[must_use]
pub fn presets() -> Vec<Preset> {
    let mut all = Vec::new();
    let mut add = |name, config| all.push(Preset { name, config });
    let decoder = LanguageConfig::Decoder;
    add("llama-tiny", decoder(tiny()));
    add("llama-15m", decoder(fifteen()));
    add("llama2-7b", decoder(llama2([4096, 11_008], 32, [32, 32])));
    add("llama2-13b", decoder(llama2([5120, 13_824], 40, [40, 40])));
    add("llama2-70b", decoder(llama2([8192, 28_672], 80, [64, 8])));
    add("llama3-8b", decoder(llama3([4096, 14_336], 32, [32, 8])));
    add("llama3-70b", decoder(llama3([8192, 28_672], 80, [64, 8])));
    add(
        "llama3.1-8b",
        decoder(llama31([4096, 14_336], 32, [32, 8], 8.0)),
    );
    add("llama3.2-1b", decoder(llama32([2048, 8192], 16, [32, 8])));
    add("llama3.2-3b", decoder(llama32([3072, 8192], 28, [24, 8])));
    add("tinyllama", decoder(llama2([2048, 5632], 22, [32, 4])));
    add(
        "smollm2-135m",
        decoder(smollm2([576, 1536], 30, [9, 3], 100_000.0)),
    );
    add(
        "smollm2-360m",
        decoder(smollm2([960, 2560], 32, [15, 5], 100_000.0)),
    );
    add(
        "smollm2-1.7b",
        decoder(smollm2([2048, 8192], 24, [32, 32], 130_000.0)),
    );
    add("mistral-7b", decoder(mistral()));
    add(
        "qwen2-0.5b",
        decoder(qwen2(151_936, [896, 4864], 24, [14, 2], true)),
    );
    add(
        "qwen2-1.5b",
        decoder(qwen2(151_936, [1536, 8960], 28, [12, 2], true)),
    );
    add(
        "qwen2-7b",
        decoder(qwen2(152_064, [3584, 18_944], 28, [28, 4], false)),
    );
    add(
        "qwen3-0.6b",
        decoder(qwen3([1024, 3072], 28, [16, 8], true)),
    );
    add(
        "qwen3-8b",
        decoder(qwen3([4096, 12_288], 36, [32, 8], false)),
    );
    for (name, width, layers, heads) in [
        ("gpt2", 768, 12, 12),
        ("gpt2-medium", 1024, 24, 16),
        ("gpt2-large", 1280, 36, 20),
        ("gpt2-xl", 1600, 48, 25),
    ] {
        add(
            name,
            LanguageConfig::Gpt2(Gpt2Config::new(width, layers, heads)),
        );
    }
    add(
        "bert-base",
        LanguageConfig::Bert(BertConfig::new(768, 12, 12)),
    );
    add(
        "bert-large",
        LanguageConfig::Bert(BertConfig::new(1024, 24, 16)),
    );
    all
}

/// A model of about a million parameters that reads bytes.
fn tiny() -> DecoderConfig {
    let rope = Rope::plain(10_000.0, 256);
    let config = DecoderConfig::new(Family::Llama, 256, [160, 432], 3, [5, 5], rope);
    DecoderConfig {
        tied: true,
        ..config
    }
}

/// The model of fifteen million parameters that training speed is compared with.
fn fifteen() -> DecoderConfig {
    let rope = Rope::plain(10_000.0, 256);
    DecoderConfig::new(Family::Llama, 32_000, [288, 768], 6, [6, 6], rope)
}

fn llama2(widths: [usize; 2], layers: usize, heads: [usize; 2]) -> DecoderConfig {
    let positions = if layers == 22 { 2048 } else { 4096 };
    let rope = Rope::plain(10_000.0, positions);
    DecoderConfig::new(Family::Llama, 32_000, widths, layers, heads, rope)
}

fn llama3(widths: [usize; 2], layers: usize, heads: [usize; 2]) -> DecoderConfig {
    let rope = Rope::plain(500_000.0, 8192);
    DecoderConfig::new(Family::Llama, 128_256, widths, layers, heads, rope)
}

fn llama31(widths: [usize; 2], layers: usize, heads: [usize; 2], factor: f64) -> DecoderConfig {
    let scaling = Scaling::Llama3 {
        factor,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original: 8192,
    };
    let rope = Rope {
        theta: 500_000.0,
        scaling,
        max_positions: 131_072,
    };
    DecoderConfig {
        rope,
        ..llama3(widths, layers, heads)
    }
}

fn llama32(widths: [usize; 2], layers: usize, heads: [usize; 2]) -> DecoderConfig {
    let config = llama31(widths, layers, heads, 32.0);
    DecoderConfig {
        tied: true,
        head_dim: if widths[0] == 2048 { 64 } else { 128 },
        ..config
    }
}

fn smollm2(widths: [usize; 2], layers: usize, heads: [usize; 2], theta: f64) -> DecoderConfig {
    let rope = Rope::plain(theta, 8192);
    let config = DecoderConfig::new(Family::Llama, 49_152, widths, layers, heads, rope);
    DecoderConfig {
        tied: true,
        ..config
    }
}

fn mistral() -> DecoderConfig {
    let rope = Rope::plain(10_000.0, 32_768);
    let config = DecoderConfig::new(Family::Mistral, 32_000, [4096, 14_336], 32, [32, 8], rope);
    DecoderConfig {
        window: Some(4096),
        windowed: vec![true; 32],
        ..config
    }
}

fn qwen2(
    vocab: usize,
    widths: [usize; 2],
    layers: usize,
    heads: [usize; 2],
    tied: bool,
) -> DecoderConfig {
    let rope = Rope::plain(1_000_000.0, 131_072);
    let config = DecoderConfig::new(Family::Qwen2, vocab, widths, layers, heads, rope);
    DecoderConfig {
        tied,
        eps: 1e-6,
        ..config
    }
}

fn qwen3(widths: [usize; 2], layers: usize, heads: [usize; 2], tied: bool) -> DecoderConfig {
    let rope = Rope::plain(1_000_000.0, 40_960);
    let config = DecoderConfig::new(Family::Qwen3, 151_936, widths, layers, heads, rope);
    DecoderConfig {
        tied,
        eps: 1e-6,
        head_dim: 128,
        ..config
    }
}

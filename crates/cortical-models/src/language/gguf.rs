//! Language models as GGUF files describe and name them.

use super::decoder::{DecoderConfig, Family, check_layers};
use super::load::{Weights, pack, unreadable};
use super::rope::{Rope, Scaling};
use super::{Gpt2Config, Head, LanguageConfig};
use crate::error::{Error, Result};
use candle_core::{Device, Tensor};
use cortical_io::{GgufFile, GgufValue};
use cortical_kernels::packed::PackedMatrix;
use cortical_neuron::Source;
use std::sync::Arc;

/// The values of a file under the prefix of its architecture.
struct Keys<'a> {
    file: &'a GgufFile,
    prefix: String,
}

impl Keys<'_> {
    fn get(&self, key: &str) -> Option<&GgufValue> {
        self.file.value(&format!("{}.{key}", self.prefix))
    }

    fn wrong(&self, key: &str, expected: &str, got: Option<&GgufValue>) -> Error {
        Error::GgufKey {
            key: format!("{}.{key}", self.prefix),
            expected: expected.to_owned(),
            got: got.map_or("missing".to_owned(), ToString::to_string),
        }
    }

    fn size(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let size = value.as_u64().filter(|n| (1..=1 << 40).contains(n));
        let size = size.and_then(|n| usize::try_from(n).ok());
        size.map(Some)
            .ok_or_else(|| self.wrong(key, "a whole number of at least 1", Some(value)))
    }

    fn need(&self, key: &str) -> Result<usize> {
        self.size(key)?
            .ok_or_else(|| self.wrong(key, "a whole number of at least 1", None))
    }

    fn positive(&self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let number = value.as_f64().filter(|x| x.is_finite() && *x > 0.0);
        number
            .map(Some)
            .ok_or_else(|| self.wrong(key, "a number above 0", Some(value)))
    }

    /// Refuses a value other than the one that changes nothing.
    fn only(&self, key: &str, neutral: f64) -> Result<()> {
        match self.get(key) {
            Some(value) if value.as_f64() != Some(neutral) => Err(self.wrong(
                key,
                &format!("{neutral}, for others are not supported"),
                Some(value),
            )),
            _ => Ok(()),
        }
    }
}

/// What a file's model is made of, and where its scores come from.
pub(super) fn config(file: &GgufFile) -> Result<(LanguageConfig, Head)> {
    let name = "general.architecture";
    let architecture = file
        .value(name)
        .and_then(GgufValue::as_text)
        .unwrap_or_default();
    let keys = Keys {
        file,
        prefix: architecture.to_owned(),
    };
    let head = match file.info("output.weight") {
        Some(_) => Head::Own,
        None => Head::Tied,
    };
    keys.only("expert_count", 0.0)?;
    let config = match architecture {
        "llama" => LanguageConfig::Decoder(decoder(&keys, Family::Llama, head)?),
        "qwen2" => LanguageConfig::Decoder(decoder(&keys, Family::Qwen2, head)?),
        "qwen3" => LanguageConfig::Decoder(decoder(&keys, Family::Qwen3, head)?),
        "gpt2" => LanguageConfig::Gpt2(gpt2(&keys, head)?),
        _ => {
            return Err(Error::GgufKey {
                key: name.to_owned(),
                expected: "llama, qwen2, qwen3 or gpt2".to_owned(),
                got: format!("{architecture:?}"),
            });
        }
    };
    Ok((config, head))
}

/// Rows of the table of tokens.
fn vocabulary(file: &GgufFile) -> Result<usize> {
    let table = file.info("token_embd.weight");
    table
        .and_then(|table| table.shape().first().copied())
        .ok_or_else(|| Error::Tensors {
            origin: file.path().display().to_string(),
            differences: vec!["token_embd.weight is missing".to_owned()],
        })
}

fn decoder(keys: &Keys<'_>, family: Family, head: Head) -> Result<DecoderConfig> {
    let file = keys.file;
    let (hidden, inner) = (
        keys.need("embedding_length")?,
        keys.need("feed_forward_length")?,
    );
    let (layers, heads) = (
        keys.need("block_count")?,
        keys.need("attention.head_count")?,
    );
    let kv_heads = keys.size("attention.head_count_kv")?.unwrap_or(heads);
    check_layers(layers)?;
    if !heads.is_multiple_of(kv_heads) {
        let value = keys.get("attention.head_count_kv");
        return Err(keys.wrong(
            "attention.head_count_kv",
            &format!("a divisor of {heads}"),
            value,
        ));
    }
    let head_dim = match keys.size("attention.key_length")? {
        Some(dim) => dim,
        None if hidden.is_multiple_of(heads) => hidden / heads,
        None => {
            let value = keys.get("attention.head_count");
            return Err(keys.wrong(
                "attention.head_count",
                &format!("a divisor of {hidden}"),
                value,
            ));
        }
    };
    for key in ["attention.value_length", "rope.dimension_count"] {
        keys.only(key, head_dim as f64)?;
    }
    if !head_dim.is_multiple_of(2) {
        let value = keys.get("attention.key_length");
        return Err(keys.wrong("attention.key_length", "an even number", value));
    }
    for key in [
        "attention.logit_softcapping",
        "attention.scale",
        "logit_scale",
        "residual_scale",
        "embedding_scale",
    ] {
        keys.only(key, 0.0)?;
    }
    let rope = rope(keys, head_dim)?;
    let config = DecoderConfig::new(
        family,
        vocabulary(file)?,
        [hidden, inner],
        layers,
        [heads, kv_heads],
        rope,
    );
    let window = keys.size("attention.sliding_window")?;
    Ok(DecoderConfig {
        head_dim,
        eps: keys
            .positive("attention.layer_norm_rms_epsilon")?
            .unwrap_or(1e-6),
        qkv_bias: file.info("blk.0.attn_q.bias").is_some(),
        out_bias: file.info("blk.0.attn_output.bias").is_some(),
        mlp_bias: file.info("blk.0.ffn_gate.bias").is_some(),
        window,
        windowed: vec![window.is_some(); layers],
        tied: head == Head::Tied,
        ..config
    })
}

fn rope(keys: &Keys<'_>, head_dim: usize) -> Result<Rope> {
    let max_positions = keys.size("context_length")?.unwrap_or(2048);
    let theta = keys.positive("rope.freq_base")?.unwrap_or(10_000.0);
    let factor = keys.positive("rope.scaling.factor")?.unwrap_or(1.0);
    let original = keys
        .size("rope.scaling.original_context_length")?
        .unwrap_or(max_positions);
    let kind = keys.get("rope.scaling.type").and_then(GgufValue::as_text);
    let scaling = match kind.unwrap_or("none") {
        "none" => match frequency_factors(keys.file, head_dim)? {
            None => Scaling::None,
            Some(factors) => Scaling::LongRope {
                short: factors.clone(),
                long: factors,
                attention_factor: 1.0,
                original,
            },
        },
        "linear" => Scaling::Linear { factor },
        "yarn" => Scaling::Yarn {
            factor,
            attention_factor: keys.positive("rope.scaling.attn_factor")?.unwrap_or(1.0)
                * (1.0 + 0.1 * factor.max(1.0).ln()),
            beta_fast: 32.0,
            beta_slow: 1.0,
            original,
            truncate: true,
        },
        _ => {
            let value = keys.get("rope.scaling.type");
            return Err(keys.wrong("rope.scaling.type", "none, linear or yarn", value));
        }
    };
    Ok(Rope {
        theta,
        scaling,
        max_positions,
    })
}

/// What each frequency is divided by, as files of Llama 3.1 keep it.
fn frequency_factors(file: &GgufFile, head_dim: usize) -> Result<Option<Vec<f64>>> {
    let name = "rope_freqs.weight";
    let Some(info) = file.info(name) else {
        return Ok(None);
    };
    if info.shape() != [head_dim / 2] {
        return Err(Error::Tensors {
            origin: file.path().display().to_string(),
            differences: vec![format!(
                "{name} has shape {:?}, not [{}]",
                info.shape(),
                head_dim / 2
            )],
        });
    }
    let factors = file.load(name, &Device::Cpu)?.to_vec1::<f32>()?;
    Ok(Some(factors.into_iter().map(f64::from).collect()))
}

fn gpt2(keys: &Keys<'_>, head: Head) -> Result<Gpt2Config> {
    let (width, layers) = (keys.need("embedding_length")?, keys.need("block_count")?);
    let heads = keys.need("attention.head_count")?;
    check_layers(layers)?;
    if !width.is_multiple_of(heads) {
        let value = keys.get("attention.head_count");
        return Err(keys.wrong(
            "attention.head_count",
            &format!("a divisor of {width}"),
            value,
        ));
    }
    Ok(Gpt2Config {
        vocab_size: vocabulary(keys.file)?,
        n_positions: keys.need("context_length")?,
        n_inner: keys.size("feed_forward_length")?.unwrap_or(4 * width),
        eps: keys
            .positive("attention.layer_norm_epsilon")?
            .unwrap_or(1e-5),
        tied: head == Head::Tied,
        ..Gpt2Config::new(width, layers, heads)
    })
}

/// Parts of names: Hugging Face's and llama.cpp's.
const DECODER: &[(&str, &str)] = &[
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
    ("input_layernorm", "attn_norm"),
    ("post_attention_layernorm", "ffn_norm"),
];
const GPT2: &[(&str, &str)] = &[
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
    ("ln_1", "attn_norm"),
    ("ln_2", "ffn_norm"),
];
const OUTSIDE: &[(&str, &str)] = &[
    ("model.embed_tokens.weight", "token_embd.weight"),
    ("model.norm.weight", "output_norm.weight"),
    ("lm_head.weight", "output.weight"),
    ("transformer.wte.weight", "token_embd.weight"),
    ("transformer.wpe.weight", "position_embd.weight"),
    ("transformer.ln_f.weight", "output_norm.weight"),
    ("transformer.ln_f.bias", "output_norm.bias"),
];

/// llama.cpp's name of a tensor.
fn gguf_name(name: &str) -> Option<String> {
    if let Some((_, other)) = OUTSIDE.iter().find(|(known, _)| *known == name) {
        return Some((*other).to_owned());
    }
    let rest = name
        .strip_prefix("model.layers.")
        .or_else(|| name.strip_prefix("transformer.h."))?;
    let (layer, rest) = rest.split_once('.')?;
    let (place, kind) = rest.rsplit_once('.')?;
    let mut known = DECODER.iter().chain(GPT2);
    let (_, other) = known.find(|(known, _)| *known == place)?;
    Some(format!("blk.{layer}.{other}.{kind}"))
}

/// Compares what the configuration says with what the file has.
pub(super) fn check(file: &GgufFile, config: &LanguageConfig, head: Head) -> Result<()> {
    let mut differences = Vec::new();
    let mut known = vec!["rope_freqs.weight".to_owned()];
    for want in config.tensors_as(config.prefix(), head) {
        let Some(name) = gguf_name(&want.name) else {
            continue;
        };
        // Columns in Hugging Face's files are rows here.
        let turned = columns(&want.name) && want.shape.len() == 2;
        let mut shape = want.shape;
        if turned {
            shape.reverse();
        }
        match file.info(&name) {
            None => differences.push(format!("{name} {shape:?} is missing")),
            Some(info) if info.shape() != shape => differences.push(format!(
                "{name} has shape {:?}, the configuration says {shape:?}",
                info.shape()
            )),
            Some(_) => {}
        }
        known.push(name);
    }
    if head == Head::None {
        known.push("output.weight".to_owned());
    }
    known.sort();
    let unknown = file.tensors().iter().filter(|t| {
        known
            .binary_search_by(|k| k.as_str().cmp(t.name()))
            .is_err()
    });
    differences
        .extend(unknown.map(|t| format!("{} {:?} is not in the model", t.name(), t.shape())));
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::Tensors {
        origin: file.path().display().to_string(),
        differences,
    })
}

/// Whether weights of this name lie in columns in Hugging Face's files.
fn columns(name: &str) -> bool {
    name.starts_with("transformer.h.") && (name.contains(".attn.c_") || name.contains(".mlp.c_"))
}

/// Parameters from a GGUF file.
#[derive(Debug)]
pub(super) struct GgufSource {
    file: Arc<GgufFile>,
    weights: Weights,
    /// Heads of queries and of keys, whose rows llama.cpp puts in another order for Llama.
    heads: Option<[usize; 2]>,
}

impl GgufSource {
    pub(super) fn new(file: Arc<GgufFile>, config: &LanguageConfig, weights: Weights) -> Self {
        let heads = match config {
            LanguageConfig::Decoder(c) if c.family == Family::Llama => {
                Some([c.num_heads, c.num_kv_heads])
            }
            _ => None,
        };
        Self {
            file,
            weights,
            heads,
        }
    }

    /// Where each row of a tensor is in the file: Llama's queries and keys lie there with the two numbers of a rotated pair side by side.
    fn order(&self, name: &str, rows: usize) -> Option<impl Fn(usize) -> usize + use<>> {
        let heads = match self.heads? {
            [heads, _] if name.contains(".q_proj.") => heads,
            [_, heads] if name.contains(".k_proj.") => heads,
            _ => return None,
        };
        let dim = rows / heads;
        let half = dim / 2;
        Some(move |row: usize| {
            let (head, within) = (row / dim, row % dim);
            head * dim + 2 * (within % half) + within / half
        })
    }
}

impl Source for GgufSource {
    fn tensor(&self, name: &str, _shape: &[usize]) -> cortical_neuron::Result<Option<Tensor>> {
        let Some(other) = gguf_name(name).filter(|other| self.file.info(other).is_some()) else {
            return Ok(None);
        };
        let tensor = self
            .file
            .load(&other, &Device::Cpu)
            .map_err(unreadable(name))?;
        if columns(name) && tensor.rank() == 2 {
            return Ok(Some(tensor.t()?.contiguous()?));
        }
        let rows = tensor.dim(0)?;
        let Some(order) = self.order(name, rows) else {
            return Ok(Some(tensor));
        };
        let order: Vec<u32> = (0..rows).map(|row| order(row) as u32).collect();
        let order = Tensor::from_vec(order, rows, &Device::Cpu)?;
        Ok(Some(tensor.index_select(&order, 0)?))
    }

    fn packed(
        &self,
        name: &str,
        shape: &[usize],
    ) -> cortical_neuron::Result<Option<Arc<PackedMatrix>>> {
        match self.weights {
            Weights::Single | Weights::Half => return Ok(None),
            Weights::Packed(format) => {
                let stored = gguf_name(name).and_then(|other| self.file.info(&other));
                let same =
                    stored.is_some_and(|info| info.kind() == cortical_io::GgufType::Packed(format));
                if !same {
                    let tensor = self.tensor(name, shape)?;
                    return tensor.map(|tensor| pack(name, &tensor, format)).transpose();
                }
            }
            Weights::Stored => {}
        }
        let Some(other) = gguf_name(name).filter(|other| self.file.info(other).is_some()) else {
            return Ok(None);
        };
        let packed = self.file.packed(&other).map_err(unreadable(name))?;
        Ok(packed.map(|packed| match self.order(name, packed.rows()) {
            Some(order) => packed.reordered(order).into(),
            None => packed.into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_llama_cpps() {
        let name = |name: &str| gguf_name(name).unwrap();
        assert_eq!(
            name("model.layers.7.self_attn.q_proj.weight"),
            "blk.7.attn_q.weight"
        );
        assert_eq!(
            name("transformer.h.0.attn.c_attn.bias"),
            "blk.0.attn_qkv.bias"
        );
        assert_eq!(name("lm_head.weight"), "output.weight");
        assert_eq!(gguf_name("model.layers.7.self_attn.z_proj.weight"), None);
    }
}

//! A decoder's configuration from the keys of a GGUF file.

use super::super::head::Head;
use super::super::keys::Keys;
use super::super::parts::{activation_by_name, check_layers};
use super::super::rope::Rope;
use super::relative::{DecoderConfig, Relative};
use crate::error::Result;
use cortical_io::GgufValue;
use cortical_kernels::activation::Activation;

impl DecoderConfig {
    pub(crate) fn read_gguf(
        relative: &'static dyn Relative,
        keys: &Keys<'_>,
        head: Head,
    ) -> Result<Self> {
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
            let expected = format!("a divisor of {heads}");
            return Err(keys.wrong("attention.head_count_kv", &expected, value));
        }
        let head_dim = match keys.size("attention.key_length")? {
            Some(dim) => dim,
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                let value = keys.get("attention.head_count");
                let expected = format!("a divisor of {hidden}");
                return Err(keys.wrong("attention.head_count", &expected, value));
            }
        };
        keys.only("attention.value_length", head_dim as f64)?;
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
        let (defaults, form) = (relative.defaults(), relative.form());
        let rope = Rope::read_gguf(keys, head_dim, form.phi_rope)?;
        let qkv = match form.fused {
            true => "blk.0.attn_qkv.bias",
            false => "blk.0.attn_q.bias",
        };
        let mut config = Self {
            head_dim,
            activation: activation_by_name(defaults.activation.1).unwrap_or(Activation::Silu),
            eps: keys
                .positive("attention.layer_norm_rms_epsilon")?
                .unwrap_or(1e-6),
            qkv_bias: keys.has_tensor(qkv),
            out_bias: keys.has_tensor("blk.0.attn_output.bias"),
            mlp_bias: keys.has_tensor("blk.0.ffn_gate.bias"),
            attention_softcap: keys.positive("attn_logit_softcapping")?,
            logit_softcap: keys.positive("final_logit_softcapping")?,
            tied: head == Head::Tied,
            ..Self::new(
                relative,
                keys.vocabulary()?,
                [hidden, inner],
                layers,
                [heads, kv_heads],
                rope,
            )
        };
        relative.read_gguf(keys, &mut config)?;
        Ok(config)
    }
}

/// Reads the window of a GGUF file and which blocks have it: of so many in a row all but the last, where the file does
/// not say otherwise.
pub(crate) fn read_gguf_windows(
    keys: &Keys<'_>,
    config: &mut DecoderConfig,
    window: usize,
    period: usize,
) -> Result<()> {
    config.window = keys.size("attention.sliding_window")?.or(Some(window));
    let (name, layers) = ("attention.sliding_window_pattern", config.num_layers);
    let listed = keys.get(name).and_then(GgufValue::as_integers);
    config.windowed = match listed {
        Some(list) if list.len() == layers => list.iter().map(|has| *has != 0).collect(),
        Some(_) => {
            let expected = format!("a number or one entry for each of {layers} blocks");
            return Err(keys.wrong(name, &expected, keys.get(name)));
        }
        None => windows(layers, keys.size(name)?.unwrap_or(period)),
    };
    Ok(())
}

/// Windows for all blocks but the last of so many in a row.
pub(crate) fn windows(layers: usize, period: usize) -> Vec<bool> {
    (0..layers)
        .map(|layer| !(layer + 1).is_multiple_of(period))
        .collect()
}

//! `multi_head_attention`, `transformer_encoder_layer`, `grouped_query_attention`, `swiglu`, `decoder_block`

use cortical_attention::{
    DecoderBlock, GroupedQueryAttention, GroupedQueryAttentionConfig, MultiHeadAttention, Rotary,
    SwiGlu, TransformerEncoderLayer,
};
use cortical_kernels::rope::Pairs;
use cortical_settings::{at_least, positive, settings};

use super::dropout::probability;
use super::{AnyLayer, LayerKind, Shapes, Site, Width, Widths};
use crate::activations::ActivationSetting;
use crate::error::Result;
use cortical_kernels::activation::Activation;

settings! {
    /// The settings of self-attention.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct MultiHeadSettings {
        num_heads: usize, "heads, which divide the features of a step", at_least(1);
        bias: bool = true, "whether the projections have biases";
        dropout: f64 = 0.0, "of attention weights, while training", probability();
        causal: bool = false, "whether a step sees no later ones";
    }
}

/// Self-attention as PyTorch has it.
pub(super) struct MultiHead;

impl LayerKind for MultiHead {
    const KIND: &'static str = "multi_head_attention";
    const SUMMARY: &'static str = "self-attention over [steps, features]";
    const PREFIX: &'static str = "attn";
    const SHORT: &'static str = "num_heads";
    const EXAMPLE: &'static str = "a number of heads, or { num_heads = 4, causal = true }";
    type Settings = MultiHeadSettings;

    fn build(settings: &MultiHeadSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let [_, features] = site.sequence()?;
        let config = MultiHeadAttention::config(features, settings.num_heads)
            .bias(settings.bias)
            .dropout(settings.dropout)
            .causal(settings.causal);
        Ok(Box::new(config.build(site.scope())?))
    }
}

settings! {
    /// The settings of an encoder block.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct EncoderSettings {
        nhead: usize, "heads, which divide the features of a step", at_least(1);
        dim_feedforward: usize = 2048, "width between the two dense layers", at_least(1);
        dropout: f64 = 0.1, "while training", probability();
        activation: ActivationSetting = ActivationSetting(Activation::Relu), "between the two dense layers";
        layer_norm_eps: f64 = 1e-5, "what is added to the variance", positive();
        norm_first: bool = false, "whether norms stand before the parts instead of after them";
        causal: bool = false, "whether a step sees no later ones";
        bias: bool = true, "whether projections, dense layers and norms have biases";
    }
}

/// PyTorch's encoder block.
pub(super) struct EncoderLayer;

impl LayerKind for EncoderLayer {
    const KIND: &'static str = "transformer_encoder_layer";
    const SUMMARY: &'static str = "self-attention and two dense layers over [steps, features]";
    const PREFIX: &'static str = "encoder";
    const SHORT: &'static str = "nhead";
    const EXAMPLE: &'static str = "a number of heads, or { nhead = 4, dim_feedforward = 128 }";
    type Settings = EncoderSettings;

    fn build(settings: &EncoderSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let [_, features] = site.sequence()?;
        let config = TransformerEncoderLayer::config(features, settings.nhead)
            .dim_feedforward(settings.dim_feedforward)
            .dropout(settings.dropout)
            .activation(settings.activation.0)
            .layer_norm_eps(settings.layer_norm_eps)
            .norm_first(settings.norm_first)
            .causal(settings.causal)
            .bias(settings.bias);
        Ok(Box::new(config.build(site.scope())?))
    }
}

settings! {
    /// The settings of attention with shared heads of keys and values.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct GroupedSettings {
        num_heads: usize, "heads of queries, which divide the features of a step", at_least(1);
        num_kv_heads: Option<usize>, "heads of keys and values; as many as of queries by default", at_least(1).optional();
        bias: bool = false, "whether queries, keys and values have biases";
        causal: bool = true, "whether a step sees no later ones";
        window: Option<usize>, "how many steps one sees at most, with causal", at_least(1).optional();
        rope_theta: Option<f64>, "base of the rotary positions; none by default", positive().optional();
    }
}

/// The attention for an input.
fn grouped(settings: &GroupedSettings, site: &Site<'_>) -> Result<GroupedQueryAttentionConfig> {
    let ([_, features], heads) = (site.sequence()?, settings.num_heads);
    let mut config = GroupedQueryAttention::config(features, heads)
        .num_kv_heads(settings.num_kv_heads.unwrap_or(heads))
        .bias(settings.bias)
        .causal(settings.causal)
        .window(settings.window);
    if let Some(base) = settings.rope_theta {
        let dim = features / heads;
        if !features.is_multiple_of(heads) || !dim.is_multiple_of(2) {
            let expected =
                format!("[steps, features] with {heads} heads of an even number of features");
            return Err(site.wrong_input(expected, "rotary positions turn pairs of features"));
        }
        config = config.rotary(Rotary::new(dim, base, Pairs::Halves));
    }
    Ok(config)
}

/// Attention as Llama has it.
pub(super) struct GroupedQuery;

impl LayerKind for GroupedQuery {
    const KIND: &'static str = "grouped_query_attention";
    const SUMMARY: &'static str =
        "self-attention with shared heads of keys and values, and rotary positions";
    const PREFIX: &'static str = "attn";
    const SHORT: &'static str = "num_heads";
    const EXAMPLE: &'static str =
        "a number of heads, or { num_heads = 4, num_kv_heads = 2, rope_theta = 10000 }";
    type Settings = GroupedSettings;

    fn build(settings: &GroupedSettings, site: &Site<'_>) -> Result<AnyLayer> {
        Ok(Box::new(grouped(settings, site)?.build(site.scope())?))
    }
}

settings! {
    /// The settings of SwiGLU.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct SwigluSettings {
        intermediate_size: usize, "pairs of neurons between input and output", at_least(1);
        bias: bool = false, "whether the projections have biases";
        activation: ActivationSetting = ActivationSetting(Activation::Silu), "what the gate does with its sum";
    }
}

/// The feed-forward part of Llama's blocks.
pub(super) struct FeedForward;

impl LayerKind for FeedForward {
    const KIND: &'static str = "swiglu";
    const SUMMARY: &'static str =
        "gated pairs of neurons and a projection back, of a row or of each step";
    const PREFIX: &'static str = "mlp";
    const SHORT: &'static str = "intermediate_size";
    const EXAMPLE: &'static str = "a width, or { intermediate_size = 64, activation = \"gelu\" }";
    type Settings = SwigluSettings;

    fn build(settings: &SwigluSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let config = SwiGlu::config(site.features()?, settings.intermediate_size)
            .bias(settings.bias)
            .activation(settings.activation.0);
        Ok(Box::new(config.build(site.scope())?))
    }

    fn widths(
        settings: &SwigluSettings,
        site: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        let last = site.input().len() - 1;
        match input.axis() == last {
            true => all.reads(site, &["gate_proj.weight", "up_proj.weight"], 1, input),
            false => all.fix(input),
        }
        let pairs = all.neurons(settings.intermediate_size);
        all.makes(site, &["gate_proj.weight", "up_proj.weight"], 0, &pairs);
        all.reads(site, &["down_proj.weight"], 1, &pairs);
        let output = all.neurons(site.features()?);
        all.makes(site, &["down_proj.weight"], 0, &output);
        if settings.bias {
            all.makes(site, &["gate_proj.bias", "up_proj.bias"], 0, &pairs);
            all.makes(site, &["down_proj.bias"], 0, &output);
        }
        // As wide as what enters.
        let output = output.along(last);
        all.fix(&output);
        all.fix(input);
        Ok(output)
    }

    fn narrow(settings: &mut SwigluSettings, place: &str, shapes: Shapes<'_>) -> Result<()> {
        let pairs = shapes.length(place, "gate_proj.weight", 0);
        settings.intermediate_size = pairs.unwrap_or(settings.intermediate_size);
        Ok(())
    }
}

settings! {
    /// The settings of a block as Llama has it.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct DecoderSettings {
        num_heads: usize, "heads of queries, which divide the features of a step", at_least(1);
        intermediate_size: usize, "pairs of neurons of the feed-forward part", at_least(1);
        num_kv_heads: Option<usize>, "heads of keys and values; as many as of queries by default", at_least(1).optional();
        bias: bool = false, "whether queries, keys and values have biases";
        causal: bool = true, "whether a step sees no later ones";
        window: Option<usize>, "how many steps one sees at most, with causal", at_least(1).optional();
        rope_theta: f64 = 10_000.0, "base of the rotary positions", positive();
        eps: f64 = 1e-5, "of the norms", positive();
    }
}

/// A block as Llama has it.
pub(super) struct DecoderBlockKind;

impl LayerKind for DecoderBlockKind {
    const KIND: &'static str = "decoder_block";
    const SUMMARY: &'static str =
        "Llama's block: norm, attention with rotary positions, norm, SwiGLU";
    const PREFIX: &'static str = "block";
    const EXAMPLE: &'static str = "settings such as { num_heads = 4, intermediate_size = 64 }";
    type Settings = DecoderSettings;

    fn build(settings: &DecoderSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let [_, features] = site.sequence()?;
        let attention = GroupedSettings {
            num_heads: settings.num_heads,
            num_kv_heads: settings.num_kv_heads,
            bias: settings.bias,
            causal: settings.causal,
            window: settings.window,
            rope_theta: Some(settings.rope_theta),
        };
        let attention = grouped(&attention, site)?;
        let config = DecoderBlock::config(features, settings.intermediate_size, attention);
        Ok(Box::new(config.eps(settings.eps).build(site.scope())?))
    }
}

//! all-MiniLM-L6-v2: sentences as vectors, six blocks of BERT.

use super::{Agreement, ModelError, agree, load};
use candle_core::{D, DType, Device, Tensor};
use cortical_attention::{GroupedQueryAttention, TransformerEncoderLayer};
use cortical_io::TensorFile;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Embedding, Layer, LayerNorm, Params, Pass, Result, network};
use cortical_tensor::Seed;
use std::path::Path;

const WIDTH: usize = 384;
const BLOCKS: usize = 6;

network! {
    /// What a token begins as: the sum of three rows, normalised.
    struct Embeddings {
        word_embeddings: Embedding = Embedding::config(30_522, WIDTH),
        position_embeddings: Embedding = Embedding::config(512, WIDTH),
        token_type_embeddings: Embedding = Embedding::config(2, WIDTH),
        norm: LayerNorm = LayerNorm::config(&[WIDTH]).eps(1e-12),
    }
}

impl Embeddings {
    fn of(&self, ids: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let (_, tokens) = ids.dims2()?;
        let places = Tensor::arange(0_u32, tokens as u32, ids.device())?.unsqueeze(0)?;
        let words = self.word_embeddings.forward(ids, pass)?;
        let places = self.position_embeddings.forward(&places, pass)?;
        let kinds = self
            .token_type_embeddings
            .forward(&ids.zeros_like()?, pass)?;
        self.norm
            .forward(&words.broadcast_add(&places)?.add(&kinds)?, pass)
    }
}

/// Our name of a parameter, and the published names of its parts, one above the other.
fn published_names(name: &str) -> Vec<String> {
    let Some((block, rest)) = name.strip_prefix("blocks.").and_then(|n| n.split_once('.')) else {
        return vec![name.replace(".norm.", ".LayerNorm.")];
    };
    let parts: &[&str] = match rest {
        "self_attn.in_proj_weight" => &[
            "attention.self.query.weight",
            "attention.self.key.weight",
            "attention.self.value.weight",
        ],
        "self_attn.in_proj_bias" => &[
            "attention.self.query.bias",
            "attention.self.key.bias",
            "attention.self.value.bias",
        ],
        "self_attn.out_proj.weight" => &["attention.output.dense.weight"],
        "self_attn.out_proj.bias" => &["attention.output.dense.bias"],
        "norm1.weight" => &["attention.output.LayerNorm.weight"],
        "norm1.bias" => &["attention.output.LayerNorm.bias"],
        "linear1.weight" => &["intermediate.dense.weight"],
        "linear1.bias" => &["intermediate.dense.bias"],
        "linear2.weight" => &["output.dense.weight"],
        "linear2.bias" => &["output.dense.bias"],
        "norm2.weight" => &["output.LayerNorm.weight"],
        _ => &["output.LayerNorm.bias"],
    };
    let full = |part: &&str| format!("encoder.layer.{block}.{part}");
    parts.iter().map(full).collect()
}

pub(super) fn check(fixture: &Path, weights: &Path) -> Result<Vec<Agreement>, ModelError> {
    let params = Params::new(&Device::Cpu, Seed(0));
    let embeddings = Embeddings::build(&params.at("embeddings"))?;
    let block = |i: usize| {
        TransformerEncoderLayer::config(WIDTH, 12)
            .dim_feedforward(4 * WIDTH)
            .activation(Activation::Gelu)
            .layer_norm_eps(1e-12)
            .build(&params.at(&format!("blocks.{i}")))
    };
    let blocks = (0..BLOCKS).map(block).collect::<Result<Vec<_>>>()?;
    let file = TensorFile::open(weights)?;
    for param in params.all() {
        let names = published_names(param.name());
        let parts = names.iter().map(|name| load(&file, name));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        param.set(&Tensor::cat(&parts, 0)?)?;
    }
    let file = TensorFile::open(fixture)?;
    let ids = load(&file, "ids")?;
    let seen = load(&file, "seen")?;
    let keys = seen.to_dtype(DType::U8)?;
    let mut pass = Pass::eval();
    let mut x = embeddings.of(&ids, &mut pass)?;
    for block in &blocks {
        x = block.run_masked(&x, None, Some(&keys), &mut pass)?;
    }
    // The mean over the tokens that are there, of length 1.
    let share = seen.to_dtype(DType::F32)?.unsqueeze(2)?;
    let sum = x.broadcast_mul(&share)?.sum(1)?;
    let mean = sum.broadcast_div(&share.sum(1)?)?;
    let length = mean.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
    let got = mean.broadcast_div(&length)?;
    let want = load(&file, "embeddings")?;
    let one = |i: usize| {
        agree(
            format!("all-MiniLM-L6-v2, sentence {i}"),
            &got.get(i)?,
            &want.get(i)?,
        )
    };
    (0..got.dim(0)?).map(one).collect()
}

/// The first head of the first block: the projections of one head, and an output projection that hands its 32 numbers
/// on.
pub(super) fn check_head(fixture: &Path) -> Result<Vec<Agreement>, ModelError> {
    let file = TensorFile::open(fixture)?;
    let params = Params::new(&Device::Cpu, Seed(0));
    let config = GroupedQueryAttention::config(WIDTH, 1)
        .head_dim(32)
        .bias(true)
        .causal(false);
    let head = config.build(&params.root())?;
    for (ours, theirs) in [("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value")] {
        for part in ["weight", "bias"] {
            params.set(
                &format!("{ours}.{part}"),
                &load(&file, &format!("{theirs}.{part}"))?,
            )?;
        }
    }
    let identity = Tensor::eye(32, DType::F32, &Device::Cpu)?;
    let rest = Tensor::zeros((WIDTH - 32, 32), DType::F32, &Device::Cpu)?;
    params.set("o_proj.weight", &Tensor::cat(&[identity, rest], 0)?)?;
    let hidden = load(&file, "hidden")?.unsqueeze(0)?;
    let y = head.forward(&hidden, &mut Pass::eval())?;
    let got = y.get(0)?.narrow(1, 0, 32)?;
    Ok(vec![agree(
        "all-MiniLM-L6-v2, first head",
        &got,
        &load(&file, "context")?,
    )?])
}

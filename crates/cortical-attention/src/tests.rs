//! Names, caches against whole sequences, masks, and gradients that reach every parameter.

use crate::{
    Attend, Cache, DecoderBlock, GroupedQueryAttention, MultiHeadAttention, Rotary,
    TransformerEncoderLayer,
};
use candle_core::{DType, Device, Tensor};
use cortical_kernels::rope::Pairs;
use cortical_neuron::{Layer, Params, Pass};
use cortical_tensor::{Rng, Seed};

fn params() -> Params {
    Params::new(&Device::Cpu, Seed(1))
}

fn random(shape: &[usize]) -> Tensor {
    let mut rng = Rng::new(Seed(3), "x");
    let n = shape.iter().product();
    Tensor::from_vec(
        (0..n).map(|_| rng.normal() as f32).collect::<Vec<_>>(),
        shape,
        &Device::Cpu,
    )
    .unwrap()
}

fn assert_same(a: &Tensor, b: &Tensor) {
    assert_eq!(a.dims(), b.dims());
    let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (a, b) in numbers(a).iter().zip(numbers(b)) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

fn llama_block(p: &Params) -> DecoderBlock {
    let attention = GroupedQueryAttention::config(16, 4)
        .num_kv_heads(2)
        .rotary(Rotary::new(4, 1e4, Pairs::Halves));
    DecoderBlock::config(16, 24, attention)
        .build(&p.at("layers.0"))
        .unwrap()
}

#[test]
fn names_are_those_of_pytorch_and_of_llama() {
    let p = params();
    TransformerEncoderLayer::config(8, 2)
        .dim_feedforward(16)
        .build(&p.at("enc"))
        .unwrap();
    llama_block(&p);
    let mut names: Vec<String> = p.named_tensors().into_iter().map(|(n, _)| n).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "enc.linear1.bias",
            "enc.linear1.weight",
            "enc.linear2.bias",
            "enc.linear2.weight",
            "enc.norm1.bias",
            "enc.norm1.weight",
            "enc.norm2.bias",
            "enc.norm2.weight",
            "enc.self_attn.in_proj_bias",
            "enc.self_attn.in_proj_weight",
            "enc.self_attn.out_proj.bias",
            "enc.self_attn.out_proj.weight",
            "layers.0.input_layernorm.weight",
            "layers.0.mlp.down_proj.weight",
            "layers.0.mlp.gate_proj.weight",
            "layers.0.mlp.up_proj.weight",
            "layers.0.post_attention_layernorm.weight",
            "layers.0.self_attn.k_proj.weight",
            "layers.0.self_attn.o_proj.weight",
            "layers.0.self_attn.q_proj.weight",
            "layers.0.self_attn.v_proj.weight",
        ]
    );
}

#[test]
fn reading_with_a_cache_is_reading_at_once() {
    let p = params();
    let block = llama_block(&p);
    let x = random(&[2, 11, 16]);
    let whole = block.forward(&x, &mut Pass::eval()).unwrap();
    let mut cache = Cache::new();
    let mut parts = Vec::new();
    let mut first = 0;
    for rows in [4, 1, 1, 5] {
        let part = x.narrow(1, first, rows).unwrap();
        parts.push(
            block
                .run(&part, Some(&mut cache), &mut Pass::eval())
                .unwrap(),
        );
        first += rows;
        assert_eq!(cache.len(), first);
    }
    assert_same(&Tensor::cat(&parts, 1).unwrap(), &whole);
    // A cache cut back goes on from there.
    cache.truncate(4);
    let again = block
        .run(
            &x.narrow(1, 4, 1).unwrap(),
            Some(&mut cache),
            &mut Pass::eval(),
        )
        .unwrap();
    assert_same(&again, &whole.narrow(1, 4, 1).unwrap());
}

#[test]
fn a_cache_of_another_batch_is_refused() {
    let p = params();
    let block = llama_block(&p);
    let mut cache = Cache::new();
    block
        .run(&random(&[2, 3, 16]), Some(&mut cache), &mut Pass::eval())
        .unwrap();
    let error = block
        .run(&random(&[1, 1, 16]), Some(&mut cache), &mut Pass::eval())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "in layer \"layers.0.self_attn\": cache: keys must have shape [2, 1, 2, 4], as the cache holds, but has [1, 1, 2, 4]"
    );
}

#[test]
fn a_memory_that_is_the_input_makes_self_attention() {
    let p = params();
    let layer = MultiHeadAttention::config(8, 2).build(&p.at("a")).unwrap();
    let x = random(&[2, 5, 8]);
    let own = layer.forward(&x, &mut Pass::eval()).unwrap();
    let attend = Attend {
        memory: Some(&x),
        mask: None,
    };
    assert_same(&layer.attend(&x, attend, &mut Pass::eval()).unwrap(), &own);
    // Rows first is the same with two dimensions exchanged.
    let q = params();
    let rows_first = MultiHeadAttention::config(8, 2)
        .batch_first(false)
        .build(&q.at("a"))
        .unwrap();
    let y = rows_first
        .forward(&x.transpose(0, 1).unwrap(), &mut Pass::eval())
        .unwrap();
    assert_same(&y.transpose(0, 1).unwrap(), &own);
}

#[test]
fn a_mask_hides_keys_and_causal_hides_the_future() {
    let p = params();
    let layer = MultiHeadAttention::config(8, 2).build(&p.at("a")).unwrap();
    let x = random(&[1, 4, 8]);
    let mask = Tensor::new(&[1_u8, 1, 0, 0], &Device::Cpu)
        .unwrap()
        .reshape((1, 1, 1, 4))
        .unwrap();
    let masked = layer
        .attend(
            &x,
            Attend {
                memory: None,
                mask: Some(&mask),
            },
            &mut Pass::eval(),
        )
        .unwrap();
    let short = x.narrow(1, 0, 2).unwrap();
    let want = layer
        .attend(
            &x,
            Attend {
                memory: Some(&short),
                mask: None,
            },
            &mut Pass::eval(),
        )
        .unwrap();
    assert_same(&masked, &want);
    let q = params();
    let causal = MultiHeadAttention::config(8, 2)
        .causal(true)
        .build(&q.at("a"))
        .unwrap();
    let y = causal.forward(&x, &mut Pass::eval()).unwrap();
    let first = causal
        .forward(&x.narrow(1, 0, 3).unwrap(), &mut Pass::eval())
        .unwrap();
    assert_same(&y.narrow(1, 0, 3).unwrap(), &first);
}

#[test]
fn gradients_reach_every_parameter() {
    for norm_first in [false, true] {
        let p = params();
        let encoder = TransformerEncoderLayer::config(16, 2)
            .dim_feedforward(8)
            .norm_first(norm_first)
            .build(&p.at("enc"))
            .unwrap();
        let block = llama_block(&p);
        let mut rng = p.rng("pass");
        let mut pass = Pass::train(&mut rng);
        let x = encoder.forward(&random(&[2, 5, 16]), &mut pass).unwrap();
        let y = block.forward(&x, &mut pass).unwrap();
        p.backward(&y.sqr().unwrap().sum_all().unwrap()).unwrap();
    }
    let p = params();
    let cross = MultiHeadAttention::config(8, 2)
        .dropout(0.2)
        .build(&p.at("a"))
        .unwrap();
    let mut rng = p.rng("pass");
    let memory = random(&[2, 3, 8]);
    let attend = Attend {
        memory: Some(&memory),
        mask: None,
    };
    let y = cross
        .attend(&random(&[2, 5, 8]), attend, &mut Pass::train(&mut rng))
        .unwrap();
    p.backward(&y.sqr().unwrap().sum_all().unwrap()).unwrap();
}

#[test]
fn impossible_options_and_shapes_are_refused() {
    let p = params();
    let error = MultiHeadAttention::config(8, 3)
        .build(&p.at("a"))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "num_heads must be a divisor of embed_dim, but is 3"
    );
    let error = GroupedQueryAttention::config(8, 4)
        .num_kv_heads(3)
        .build(&p.at("b"))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "num_kv_heads must be a divisor of num_heads, but is 3"
    );
    let layer = MultiHeadAttention::config(8, 2).build(&p.at("c")).unwrap();
    let wrong = Tensor::zeros((2, 8), DType::F32, &Device::Cpu).unwrap();
    let error = layer
        .forward(&wrong, &mut Pass::eval())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "in layer \"c\": attention: x must have shape [batch, rows, 8], but has [2, 8]"
    );
}

//! Names, caches against whole sequences, masks, and gradients that reach every parameter.

use crate::{
    Attend, Cache, DecoderBlock, DecoderMasks, GroupedQueryAttention, Memory, MultiHeadAttention,
    Rotary, TextRows, TransformerDecoderLayer, TransformerEncoderLayer,
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
                .run(&part, Memory::Text(&mut cache), &mut Pass::eval())
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
            Memory::Text(&mut cache),
            &mut Pass::eval(),
        )
        .unwrap();
    assert_same(&again, &whole.narrow(1, 4, 1).unwrap());
}

#[test]
fn rows_of_several_texts_have_the_bits_of_each_alone() {
    let variants = |at: usize| {
        let attention = GroupedQueryAttention::config(16, 4).num_kv_heads(2);
        let rotary = Rotary::new(4, 10_000.0, Pairs::Halves);
        match at {
            0 => attention.rotary(rotary),
            1 => attention.rotary(rotary).window(Some(3)).softcap(Some(0.5)),
            2 => attention,
            // By the length of each text.
            _ => attention.rotary(Rotary::by_length(
                |len| vec![1.0 / len as f64, 0.5],
                Pairs::Halves,
            )),
        }
    };
    for variant in 0..4 {
        let layer = variants(variant).build(&params().at("a")).unwrap();
        let x = random(&[1, 40, 16]);
        // Each text reads a part of `x` before, and then some rows together with the others.
        let before = [0, 7, 2];
        let rows = [1, 1, 3];
        let read = |cache: &mut Cache, first: usize, count: usize| {
            let part = x.narrow(1, first, count).unwrap();
            layer.attend(&part, Memory::Text(cache), &mut Pass::eval())
        };
        let cache = |text: usize| {
            let mut cache = Cache::with_room(16);
            if before[text] > 0 {
                read(&mut cache, 10 * text, before[text]).unwrap();
            }
            cache
        };
        let mut caches = [cache(0), cache(1), cache(2)];
        let parts: Vec<Tensor> = (0..3)
            .map(|text| x.narrow(1, 10 * text + before[text], rows[text]).unwrap())
            .collect();
        let together = Tensor::cat(&parts, 1).unwrap();
        let mut texts: Vec<TextRows<'_>> = caches
            .iter_mut()
            .zip(rows)
            .map(|(cache, rows)| TextRows { cache, rows })
            .collect();
        let memory = Memory::Texts(&mut texts);
        let got = layer.attend(&together, memory, &mut Pass::eval()).unwrap();
        let mut at = 0;
        for text in 0..3 {
            let mut alone = cache(text);
            let want = match variant {
                // Keys turn with every row that comes.
                3 => read(&mut alone, 10 * text + before[text], rows[text]).unwrap(),
                _ => {
                    let rows = (0..rows[text])
                        .map(|row| read(&mut alone, 10 * text + before[text] + row, 1).unwrap());
                    Tensor::cat(&rows.collect::<Vec<_>>(), 1).unwrap()
                }
            };
            assert_same(&got.narrow(1, at, rows[text]).unwrap(), &want);
            assert_eq!(caches[text].len(), alone.len());
            at += rows[text];
        }
    }
}

#[test]
fn a_fork_has_memory_of_its_own() {
    let layer = GroupedQueryAttention::config(16, 4)
        .build(&params().at("a"))
        .unwrap();
    let x = random(&[1, 6, 16]);
    let read = |cache: &mut Cache, first: usize, count: usize| {
        let part = x.narrow(1, first, count).unwrap();
        let y = layer.attend(&part, Memory::Text(cache), &mut Pass::eval());
        y.unwrap()
    };
    let mut whole = Cache::with_room(8);
    read(&mut whole, 0, 5);
    let mut fork = whole.fork(3, 4).unwrap();
    assert_eq!(fork.len(), 3);
    // Other rows in the fork change nothing of what it comes from.
    read(&mut fork, 5, 1);
    let mut again = Cache::new();
    read(&mut again, 0, 5);
    assert_same(&read(&mut whole, 5, 1), &read(&mut again, 5, 1));
}

#[test]
fn a_cache_of_another_batch_is_refused() {
    let p = params();
    let block = llama_block(&p);
    let mut cache = Cache::new();
    block
        .run(
            &random(&[2, 3, 16]),
            Memory::Text(&mut cache),
            &mut Pass::eval(),
        )
        .unwrap();
    let error = block
        .run(
            &random(&[1, 1, 16]),
            Memory::Text(&mut cache),
            &mut Pass::eval(),
        )
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "in layer \"layers.0.self_attn\": cache: keys must have shape [2, 1, 2, 4], as the cache holds, but has [1, 1, 2, 4]"
    );
}

#[test]
fn a_cache_goes_on_in_buffers_that_it_is_given() {
    let (k, v) = (random(&[1, 5, 2, 4]), random(&[1, 5, 2, 4]));
    let more = random(&[1, 2, 2, 4]);
    let mut cache = Cache::of(k.clone(), v.copy().unwrap(), 3).unwrap();
    assert_eq!(
        (cache.len(), cache.held().unwrap().unwrap()[0].dims()),
        (3, &[1, 3, 2, 4][..])
    );
    cache.append(&more, &more).unwrap();
    let held = cache.held().unwrap().unwrap();
    let rows = |t: &Tensor, from: usize, n: usize| {
        let rows = t.narrow(1, from, n).unwrap().flatten_all().unwrap();
        rows.to_vec1::<f32>().unwrap()
    };
    assert_eq!(rows(&held[1], 0, 3), rows(&v, 0, 3));
    assert_eq!(rows(&held[1], 3, 2), rows(&more, 0, 2));
    // Nothing was copied: the buffer that was given away has the new positions.
    assert_eq!(rows(&k, 3, 2), rows(&more, 0, 2));
    for (k, v, len) in [
        (&[1, 5, 2, 4][..], &[1, 4, 2, 4][..], 3),
        (&[1, 5, 2, 4], &[1, 5, 2, 4], 6),
        (&[5, 2, 4], &[5, 2, 4], 2),
    ] {
        let error = Cache::of(random(k), random(v), len)
            .unwrap_err()
            .to_string();
        assert!(error.contains("cache: "), "{error}");
    }
}

#[test]
fn a_memory_that_is_the_input_makes_self_attention() {
    let p = params();
    let layer = MultiHeadAttention::config(8, 2).build(&p.at("a")).unwrap();
    let x = random(&[2, 5, 8]);
    let own = layer.forward(&x, &mut Pass::eval()).unwrap();
    let attend = Attend {
        memory: Some(&x),
        ..Attend::default()
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
                mask: Some(&mask),
                ..Attend::default()
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
                ..Attend::default()
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
        ..Attend::default()
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
    let wrong = Tensor::zeros((1, 2, 7), DType::F32, &Device::Cpu).unwrap();
    let error = layer
        .forward(&wrong, &mut Pass::eval())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "in layer \"c\": attention: x must have shape [batch, rows, 8], but has [1, 2, 7]"
    );
}

#[test]
fn weights_come_with_the_same_output_and_add_up_to_one() {
    let mask = Tensor::new(&[[0.0_f32, -1.0, 0.5, 0.0, 2.0]], &Device::Cpu).unwrap();
    let keys = Tensor::new(&[[1_u8, 1, 1, 0, 1], [1, 0, 1, 1, 1]], &Device::Cpu).unwrap();
    for (causal, bias_kv, zero_attn) in [
        (false, false, false),
        (true, false, false),
        (false, true, false),
        (true, true, true),
        (false, false, true),
    ] {
        let p = params();
        let layer = MultiHeadAttention::config(8, 2)
            .causal(causal)
            .bias_kv(bias_kv)
            .zero_attn(zero_attn)
            .kdim(6)
            .build(&p.at("a"))
            .unwrap();
        let (x, memory) = (random(&[2, 4, 8]), random(&[2, 5, 6]));
        let values = random(&[2, 5, 8]);
        let attend = Attend {
            memory: Some(&memory),
            values: Some(&values),
            mask: Some(&mask),
            key_mask: Some(&keys),
        };
        let y = layer.attend(&x, attend, &mut Pass::eval()).unwrap();
        for average in [true, false] {
            let weighed = layer.attend_weighed(&x, attend, average, &mut Pass::eval());
            let (other, weights) = weighed.unwrap();
            assert_same(&other, &y);
            let seen = 5 + usize::from(bias_kv) + usize::from(zero_attn);
            let heads: &[usize] = if average { &[] } else { &[2] };
            let shape = [&[2], heads, &[4, seen]].concat();
            assert_eq!(weights.dims(), shape);
            let sums = weights.sum(candle_core::D::Minus1).unwrap();
            assert_same(&sums, &sums.ones_like().unwrap());
        }
        let mut rng = p.rng("pass");
        let (y, weights) = layer
            .attend_weighed(&x, attend, true, &mut Pass::train(&mut rng))
            .unwrap();
        let loss = (y.sqr().unwrap().sum_all().unwrap()
            + weights.sqr().unwrap().sum_all().unwrap())
        .unwrap();
        p.backward(&loss).unwrap();
    }
}

#[test]
fn a_sequence_without_a_batch_is_a_batch_of_one() {
    let p = params();
    let layer = MultiHeadAttention::config(8, 2).build(&p.at("a")).unwrap();
    let x = random(&[1, 4, 8]);
    let one = layer
        .forward(&x.squeeze(0).unwrap(), &mut Pass::eval())
        .unwrap();
    let batch = layer.forward(&x, &mut Pass::eval()).unwrap();
    assert_same(&one, &batch.squeeze(0).unwrap());
}

#[test]
fn a_decoder_reads_its_memory_and_no_later_rows() {
    for norm_first in [true, false] {
        let p = params();
        let block = TransformerDecoderLayer::config(8, 2)
            .dim_feedforward(16)
            .norm_first(norm_first)
            .causal(true)
            .bias(false)
            .build(&p.at("dec"))
            .unwrap();
        let (target, memory) = (random(&[2, 5, 8]), random(&[2, 3, 8]));
        let masks = DecoderMasks::default();
        let whole = block
            .run(&target, &memory, masks, &mut Pass::eval())
            .unwrap();
        let first = target.narrow(1, 0, 2).unwrap();
        let first = block
            .run(&first, &memory, masks, &mut Pass::eval())
            .unwrap();
        assert_same(&whole.narrow(1, 0, 2).unwrap(), &first);
        let mut rng = p.rng("pass");
        let y = block
            .run(&target, &memory, masks, &mut Pass::train(&mut rng))
            .unwrap();
        p.backward(&y.sqr().unwrap().sum_all().unwrap()).unwrap();
        assert_eq!(block.describe(&[5, 8]).unwrap().parameters, p.count());
        assert!(p.all().iter().all(|p| !p.name().ends_with("bias")));
    }
}

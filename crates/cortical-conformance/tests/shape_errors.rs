//! What a user reads who gives a layer a tensor of the wrong shape: the layer's place, what was expected, what came,
//! and what to do.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use candle_core::{DType, Device, Tensor};
use cortical_attention::{
    GroupedQueryAttention, MultiHeadAttention, SwiGlu, TransformerEncoderLayer,
};
use cortical_conv::{Conv1d, Conv2d, Conv3d, ConvTranspose2d, MaxPool2d, Padding, PaddingMode};
use cortical_dense::{GatedUnit, Linear, Mlp};
use cortical_kernels::activation::Activation;
use cortical_neuron::{
    BatchNorm, Dropout2d, Embedding, Flatten, Glu, GroupNorm, InstanceNorm, Layer, LayerNorm,
    PRelu, Params, Pass, Residual, Result, RmsNorm, Scope, Sequential, Softmax, Unflatten,
};
use cortical_recurrent::{Gru, Lstm};
use cortical_tensor::Seed;

/// A layer, the shape of its input, and the text of the error.
type Row = (Box<dyn Layer>, &'static [usize], &'static str);

fn row<L: Layer + 'static>(layer: Result<L>, shape: &'static [usize], text: &'static str) -> Row {
    (Box::new(layer.unwrap()), shape, text)
}

fn dense(at: &dyn Fn(&str) -> Scope) -> Vec<Row> {
    vec![
        row(
            Linear::config(4, 3).build(&at("fc1")),
            &[2, 5],
            "in layer \"fc1\": linear: x must have shape […, 4], as the weight reads 4 inputs, but has [2, 5]",
        ),
        row(
            Mlp::config(&[4, 3]).build(&at("mlp")),
            &[2, 5],
            "in layer \"mlp.0\": linear: x must have shape […, 4], as the weight reads 4 inputs, but has [2, 5]",
        ),
        row(
            GatedUnit::config(4, 3, Activation::Silu).build(&at("glu")),
            &[2, 5],
            "in layer \"glu\": linear: x must have shape […, 4], as the weight reads 4 inputs, but has [2, 5]",
        ),
        row(
            Sequential::new(&at("net"))
                .push(MaxPool2d::config(2).build().unwrap())
                .then(|at| Linear::config(4, 3).build(at)),
            &[2, 5],
            "in layer \"net.0\": max_pool2d: x must have shape [n, channels, …] or [channels, …] with 2 axes behind, but has [2, 5]",
        ),
        row(
            Ok(Residual::new(
                Linear::config(5, 3).build(&at("branch")).unwrap(),
            )),
            &[2, 5],
            "residual: shortcut must have shape [2, 3], that of the layer's output (project it with `shortcut`), but has [2, 5]",
        ),
        row(
            Ok(Flatten::new(2, -1)),
            &[2, 5],
            "start_dim must be a dimension of the input, but is 2 for 2 dimensions",
        ),
        row(
            Ok(Unflatten::new(1, &[2, 2])),
            &[2, 5],
            "unflattened_size must be sizes whose product is the dimension, at most one of them -1, but is [2, 2] for 5",
        ),
        row(
            Ok(Softmax::new(3)),
            &[2, 5],
            "dim must be a dimension of the input, but is 3 for 2 dimensions",
        ),
        row(
            Ok(Glu::new(-1)),
            &[2, 5],
            "glu: x must have shape an even dimension 1, as one half gates the other, but has [2, 5]",
        ),
        row(
            PRelu::new(3, 0.25, &at("act")),
            &[2, 5],
            "in layer \"act\": prelu: x must have shape [n, 3, …], as there is a slope for each of 3 channels, but has [2, 5]",
        ),
    ]
}

fn norms(at: &dyn Fn(&str) -> Scope) -> Vec<Row> {
    vec![
        row(
            LayerNorm::config(&[4]).build(&at("ln")),
            &[2, 5],
            "in layer \"ln\": layer_norm: x must have shape […, 4], which is what is normalised, but has [2, 5]",
        ),
        row(
            RmsNorm::config(&[4]).build(&at("rms")),
            &[2, 5],
            "in layer \"rms\": rms_norm: x must have shape […, 4], which is what is normalised, but has [2, 5]",
        ),
        row(
            BatchNorm::config(4).build(&at("bn")),
            &[2, 5],
            "in layer \"bn\": batch_norm: x must have shape [n, 4, …], but has [2, 5]",
        ),
        row(
            GroupNorm::config(2, 4).build(&at("gn")),
            &[2, 5],
            "in layer \"gn\": group_norm: x must have shape [n, 4, …], but has [2, 5]",
        ),
        row(
            InstanceNorm::config(4).axes(2).build(&at("in")),
            &[2, 5],
            "in layer \"in\": instance_norm: x must have shape [n, 4, …] with 2 axes behind, or without n, but has [2, 5]",
        ),
        row(
            Dropout2d::new(0.5, &at("drop")),
            &[5],
            "in layer \"drop\": dropout2d: x must have shape 4 or 3 dimensions with channels first or behind the batch, but has [5]",
        ),
    ]
}

fn local(at: &dyn Fn(&str) -> Scope) -> Vec<Row> {
    vec![
        row(
            Conv1d::config(4, 3, 3).build(&at("conv1")),
            &[2, 5, 9],
            "in layer \"conv1\": conv1d: x must have shape […, 4, …], as the weight reads 4 channels in each of 1 groups, but has [2, 5, 9]",
        ),
        row(
            Conv2d::config(4, 3, 3).build(&at("conv2")),
            &[2, 4, 2, 9],
            "in layer \"conv2\": conv2d: the kernel spans 3 elements but the padded input has only 2; use a smaller kernel or dilation, or more padding",
        ),
        row(
            Conv2d::config(4, 3, 3).build(&at("conv2b")),
            &[2, 9],
            "in layer \"conv2b\": conv2d: x must have shape [n, channels, …] or [channels, …] with 2 axes behind, but has [2, 9]",
        ),
        row(
            Conv3d::config(4, 3, 3).build(&at("conv3")),
            &[2, 5, 9, 9, 9],
            "in layer \"conv3\": conv3d: x must have shape […, 4, …], as the weight reads 4 channels in each of 1 groups, but has [2, 5, 9, 9, 9]",
        ),
        row(
            Conv1d::config(1, 3, 3)
                .padding(Padding::Both([4]))
                .padding_mode(PaddingMode::Reflect)
                .build(&at("mirrored")),
            &[2, 1, 4],
            "in layer \"mirrored\": pad: sizes must be at most 3 on each side of an axis of 4 for Reflect, but is [4, 4]",
        ),
        row(
            ConvTranspose2d::config(4, 3, 3).build(&at("up")),
            &[2, 5, 9, 9],
            "in layer \"up\": conv_transpose2d: x must have shape […, 4, …], as the weight has so many rows, but has [2, 5, 9, 9]",
        ),
        row(
            MaxPool2d::config(3).build(),
            &[2, 1, 2, 9],
            "max_pool2d: the kernel spans 3 elements but the padded input has only 2; use a smaller kernel or dilation, or more padding",
        ),
    ]
}

fn sequences(at: &dyn Fn(&str) -> Scope) -> Vec<Row> {
    vec![
        row(
            Lstm::config(4, 3).build(&at("lstm")),
            &[2, 5, 7],
            "in layer \"lstm\": recurrent: x must have shape [steps, batch, 4], but has [2, 5, 7]",
        ),
        row(
            Gru::config(4, 3).batch_first(true).build(&at("gru")),
            &[5],
            "in layer \"gru\": recurrent: x must have shape [batch, steps, 4], but has [5]",
        ),
        row(
            MultiHeadAttention::config(8, 2).build(&at("attn")),
            &[2, 5, 7],
            "in layer \"attn\": attention: x must have shape [batch, rows, 8], but has [2, 5, 7]",
        ),
        row(
            GroupedQueryAttention::config(8, 2).build(&at("gqa")),
            &[5, 8],
            "in layer \"gqa\": attention: x must have shape [batch, rows, 8], but has [5, 8]",
        ),
        row(
            TransformerEncoderLayer::config(8, 2).build(&at("enc")),
            &[2, 5, 7],
            "in layer \"enc.self_attn\": attention: x must have shape [batch, rows, 8], but has [2, 5, 7]",
        ),
        row(
            SwiGlu::new(8, 4, &at("swiglu")),
            &[2, 7],
            "in layer \"swiglu\": linear: x must have shape […, 8], as the weight reads 8 inputs, but has [2, 7]",
        ),
        row(
            Embedding::config(8, 4).build(&at("wte")),
            &[2, 7],
            "in layer \"wte\": embedding: indices has dtype F32, expected u32, i64 or u8; convert it with `to_dtype`",
        ),
    ]
}

#[test]
fn errors_name_the_layer_what_it_expected_and_what_came() {
    let params = Params::new(&Device::Cpu, Seed(1));
    let at = |name: &str| params.at(name);
    let tables = [dense(&at), norms(&at), local(&at), sequences(&at)];
    let mut wrong = Vec::new();
    for (layer, shape, text) in tables.into_iter().flatten() {
        let x = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        // In training, as dropout says nothing in evaluation.
        let mut rng = params.rng("pass");
        let got = match layer.forward(&x, &mut Pass::train(&mut rng)) {
            Ok(y) => format!("no error for {shape:?}, but {:?}", y.dims()),
            Err(error) => error.to_string(),
        };
        if got != text {
            wrong.push(format!("{shape:?}:\n  got  {got}\n  want {text}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

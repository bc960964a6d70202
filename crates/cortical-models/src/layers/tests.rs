//! Every kind of layer: read, written, built, run forward and backward, and described.

use candle_core::{Device, Tensor};
use cortical_neuron::{Layer, Params, Pass};
use cortical_tensor::Seed;

use super::segment::Segment;
use super::*;

fn layer(text: &str) -> Result<LayerSpec, FieldError> {
    let table: Table = format!("x = {text}").parse().unwrap();
    LayerSpec::from_value("model.layers[0]", &table["x"])
}

/// Every kind in one or several forms, with the shape of a sample it reads.
const LAYERS: &[(&str, &[usize])] = &[
    (
        "{ conv1d = { out_channels = 4, kernel_size = 3, padding = \"same\", padding_mode = \"circular\" } }",
        &[2, 7],
    ),
    (
        "{ conv2d = { out_channels = 32, kernel_size = 3, activation = \"relu\", max_pool = 2, name = \"c\" } }",
        &[2, 6, 7],
    ),
    (
        "{ conv2d = { out_channels = 8, kernel_size = [5, 3], stride = [2, 1], padding = [2, 1], bias = false } }",
        &[4, 8, 8],
    ),
    (
        "{ conv2d = { out_channels = 4, kernel_size = 3, groups = 2, dilation = 2, padding = 2, padding_mode = \"reflect\" } }",
        &[2, 8, 8],
    ),
    (
        "{ conv3d = { out_channels = 2, kernel_size = [1, 2, 3], activation = { leaky_relu = 0.2 } } }",
        &[1, 3, 4, 5],
    ),
    (
        "{ conv_transpose1d = { out_channels = 3, kernel_size = 2, stride = 2 } }",
        &[2, 5],
    ),
    (
        "{ conv_transpose2d = { out_channels = 4, kernel_size = 3, stride = 2, padding = 1, output_padding = 1, groups = 2 } }",
        &[2, 4, 5],
    ),
    (
        "{ conv_transpose3d = { out_channels = 1, kernel_size = 2, bias = false } }",
        &[2, 2, 3, 2],
    ),
    ("{ max_pool1d = 2 }", &[3, 7]),
    (
        "{ max_pool2d = { kernel_size = 3, stride = 1, padding = 1 } }",
        &[2, 5, 6],
    ),
    ("{ max_pool2d = [2, 3] }", &[2, 5, 6]),
    (
        "{ max_pool3d = { kernel_size = 2, dilation = 2, ceil_mode = true } }",
        &[2, 4, 5, 6],
    ),
    (
        "{ avg_pool1d = { kernel_size = 3, padding = 1, count_include_pad = false } }",
        &[2, 7],
    ),
    (
        "{ avg_pool2d = { kernel_size = 2, ceil_mode = true, divisor_override = 3 } }",
        &[2, 5, 5],
    ),
    ("{ avg_pool3d = 2 }", &[1, 4, 4, 4]),
    ("{ adaptive_avg_pool1d = 3 }", &[2, 7]),
    ("{ adaptive_avg_pool2d = [2, 3] }", &[2, 5, 7]),
    ("{ adaptive_avg_pool3d = 1 }", &[2, 2, 3, 2]),
    ("{ adaptive_max_pool1d = 1 }", &[2, 7]),
    ("{ adaptive_max_pool2d = 2 }", &[2, 5, 7]),
    ("{ adaptive_max_pool3d = [1, 2, 1] }", &[2, 2, 3, 2]),
    ("\"global_avg_pool\"", &[3, 4, 5]),
    ("\"global_max_pool\"", &[3, 7]),
    ("{ upsample = 2 }", &[2, 3, 4]),
    (
        "{ upsample = { size = [5, 6], mode = \"bicubic\" } }",
        &[2, 3, 4],
    ),
    (
        "{ upsample = { scale_factor = 1.5, mode = \"linear\", align_corners = true } }",
        &[2, 4],
    ),
    ("{ pixel_shuffle = 2 }", &[8, 2, 3]),
    ("{ pixel_unshuffle = 2 }", &[2, 4, 6]),
    (
        "{ batch_norm = { name = \"norm\", activation = \"relu\" } }",
        &[3, 4],
    ),
    ("\"batch_norm\"", &[5]),
    (
        "{ batch_norm = { eps = 1e-3, momentum = 0.2, affine = false, track_running_stats = false } }",
        &[2, 3, 3],
    ),
    ("{ layer_norm = { axes = 2, bias = false } }", &[2, 3, 4]),
    ("{ rms_norm = { eps = 1e-6 } }", &[3, 4]),
    ("{ group_norm = 2 }", &[4, 3, 3]),
    (
        "{ instance_norm = { affine = true, track_running_stats = true } }",
        &[2, 3, 4],
    ),
    ("{ activation = \"tanh\" }", &[5]),
    ("{ activation = { hardtanh = [-2.0, 2.0] } }", &[5]),
    (
        "{ activation = { activation = \"gelu\", name = \"bend\" } }",
        &[5],
    ),
    ("\"prelu\"", &[3, 2]),
    ("{ prelu = 3 }", &[3, 2]),
    ("\"rrelu\"", &[4]),
    ("\"glu\"", &[3, 6]),
    ("{ glu = { dim = 1, gate = \"silu\" } }", &[4, 3]),
    ("{ glu = { dim = 1, gate = \"tanh\" } }", &[4, 3]),
    ("\"softmax\"", &[4]),
    ("{ log_softmax = 1 }", &[4, 3]),
    ("{ softmin = -2 }", &[4, 3]),
    ("{ dropout = 0.25 }", &[40]),
    ("{ dropout1d = 0.5 }", &[3, 4]),
    ("{ dropout2d = 0.5 }", &[3, 4, 4]),
    ("{ dropout3d = 0.5 }", &[3, 2, 2, 2]),
    ("{ alpha_dropout = 0.5 }", &[8]),
    ("{ feature_alpha_dropout = 0.5 }", &[3, 4]),
    ("\"flatten\"", &[2, 3, 4]),
    ("{ flatten = { start_dim = 2 } }", &[2, 3, 4]),
    ("{ unflatten = [2, -1] }", &[12]),
    ("{ unflatten = { dim = 2, sizes = [2, 3] } }", &[4, 6]),
    ("\"identity\"", &[3]),
    ("{ permute = [3, 1, 2] }", &[2, 3, 4]),
    (
        "{ embedding = { num_embeddings = 5, embedding_dim = 3, padding_idx = 0 } }",
        &[4],
    ),
    (
        "{ linear = { out_features = 128, activation = \"gelu\", name = \"head.fc\" } }",
        &[6],
    ),
    ("{ linear = 10 }", &[3, 6]),
    ("{ linear = \"classes\" }", &[6]),
    ("{ bilinear = 3 }", &[4]),
    (
        "{ gated_unit = { out_features = 3, gate = \"gelu\" } }",
        &[2, 4],
    ),
    (
        "{ rnn = { hidden_size = 3, nonlinearity = \"relu\" } }",
        &[4, 2],
    ),
    (
        "{ lstm = { hidden_size = 4, num_layers = 2, bidirectional = true, output = \"last\", dropout = 0.5 } }",
        &[5, 3],
    ),
    (
        "{ lstm = { hidden_size = 4, proj_size = 2, output = \"last\" } }",
        &[5, 3],
    ),
    ("{ gru = 3 }", &[4, 2]),
    (
        "{ multi_head_attention = { num_heads = 2, dropout = 0.1, causal = true } }",
        &[3, 4],
    ),
    (
        "{ transformer_encoder_layer = { nhead = 2, dim_feedforward = 8, norm_first = true } }",
        &[3, 4],
    ),
    (
        "{ grouped_query_attention = { num_heads = 4, num_kv_heads = 2, rope_theta = 10000.0 } }",
        &[3, 8],
    ),
    ("{ swiglu = 6 }", &[3, 4]),
    (
        "{ decoder_block = { num_heads = 2, intermediate_size = 6, window = 2 } }",
        &[3, 4],
    ),
    (
        "{ residual = [{ linear = 4 }, { activation = \"tanh\" }] }",
        &[4],
    ),
    (
        "{ residual = { layers = [{ conv2d = { out_channels = 4, kernel_size = 3, stride = 2, padding = 1 } }, \"batch_norm\"], shortcut = [{ conv2d = { out_channels = 4, kernel_size = 1, stride = 2 } }], activation = \"relu\" } }",
        &[2, 4, 4],
    ),
    (
        "{ sequential = { name = \"part\", layers = [{ linear = 3 }, \"prelu\"] } }",
        &[4],
    ),
];

#[test]
fn what_is_written_reads_back() {
    for (text, _) in LAYERS {
        let spec = layer(text).unwrap();
        let again = LayerSpec::from_value("x", &spec.to_value()).unwrap();
        assert_eq!(spec, again, "{text}");
        assert_eq!(spec.to_value(), again.to_value(), "{text}");
    }
}

/// The forms in which older versions wrote layers into model files stay the same, byte by byte.
#[test]
fn layers_of_older_versions_are_written_as_before() {
    let check = |text: &str, want: &str| {
        let value = layer(text).unwrap().to_value();
        assert_eq!(serde_json::to_string(&value).unwrap(), want);
        let read: Value = serde_json::from_str(want).unwrap();
        assert_eq!(
            LayerSpec::from_value("x", &read).unwrap(),
            layer(text).unwrap()
        );
    };
    check(
        "{ conv2d = { out_channels = 32, kernel_size = 3, name = \"conv1\" } }",
        r#"{"conv2d":{"activation":"identity","bias":true,"kernel_size":3,"name":"conv1","out_channels":32,"padding":0,"stride":1}}"#,
    );
    check(
        "{ conv2d = { out_channels = 8, kernel_size = 5, stride = 2, padding = 2, bias = false, activation = \"relu\", max_pool = 2 } }",
        r#"{"conv2d":{"activation":"relu","bias":false,"kernel_size":5,"max_pool":2,"out_channels":8,"padding":2,"stride":2}}"#,
    );
    check(
        "{ max_pool2d = 2 }",
        r#"{"max_pool2d":{"kernel_size":2,"stride":2}}"#,
    );
    check(
        "\"batch_norm\"",
        r#"{"batch_norm":{"activation":"identity"}}"#,
    );
    check("\"flatten\"", r#""flatten""#);
    check("{ flatten = {} }", r#""flatten""#);
    check("{ dropout = 0.25 }", r#"{"dropout":0.25}"#);
    check("{ activation = \"tanh\" }", r#"{"activation":"tanh"}"#);
    check(
        "{ linear = \"classes\" }",
        r#"{"linear":{"activation":"identity","bias":true,"out_features":"classes"}}"#,
    );
}

#[test]
fn every_kind_gives_what_it_says_and_every_parameter_a_gradient() {
    let mut open: Vec<&str> = Kinds::standard()
        .summaries()
        .map(|(name, _)| name)
        .collect();
    for (text, shape) in LAYERS {
        let spec = layer(text).unwrap();
        open.retain(|name| *name != spec.kind());
        let build = |params: &Params| {
            Segment::build(std::slice::from_ref(&spec), &params.root(), shape, 3).unwrap()
        };
        let params = Params::new(&Device::Cpu, Seed(1));
        let network = build(&params);

        let dry = Params::dry(usize::MAX);
        let planned = build(&dry);
        let named = |params: &Params| {
            let all = params.all().into_iter();
            all.map(|p| (p.name().to_owned(), p.dims().to_vec()))
                .collect::<Vec<_>>()
        };
        assert_eq!(named(&dry), named(&params), "{text}");
        let buffers = |params: &Params| {
            let all = params.buffers().into_iter();
            all.map(|b| (b.name().to_owned(), b.tensor().dims().to_vec()))
                .collect::<Vec<_>>()
        };
        assert_eq!(buffers(&dry), buffers(&params), "{text}");

        let n = 3 * shape.iter().product::<usize>();
        let is_index = spec.kind() == "embedding";
        let value = |i: usize| match is_index {
            true => (i % 5) as f32,
            false => (i as f32 * 0.7).sin(),
        };
        let values: Vec<f32> = (0..n).map(value).collect();
        let mut batch = vec![3];
        batch.extend(*shape);
        let x = Tensor::from_vec(values, batch, &Device::Cpu).unwrap();
        let x = candle_core::Var::from_tensor(&x).unwrap();
        let mut rng = params.rng("pass");
        let y = network.forward(&x, &mut Pass::train(&mut rng)).unwrap();
        assert_eq!(&y.dims()[1..], planned.output(), "{text}");
        let described = network.describe(shape).unwrap();
        assert_eq!(described.output, planned.output(), "{text}");
        assert_eq!(described.parameters, params.count(), "{text}");
        assert_eq!(described, planned.describe(shape).unwrap(), "{text}");

        // A weighted sum, so that what adds up to a constant (a softmax, a norm) has a gradient as well.
        let weights: Vec<f32> = (0..y.elem_count())
            .map(|i| (i as f32 * 1.3).cos())
            .collect();
        let weights = Tensor::from_vec(weights, y.dims(), &Device::Cpu).unwrap();
        let loss = (&y * weights).unwrap().sum_all().unwrap();
        if params.count() > 0 {
            params
                .backward(&loss)
                .unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        if !is_index {
            let gradients = loss.backward().unwrap();
            assert!(gradients.get(&x).is_some(), "{text}");
        }
        let y = network.forward(&x, &mut Pass::eval()).unwrap();
        assert_eq!(&y.dims()[1..], planned.output(), "{text}");
    }
    assert!(open.is_empty(), "no example of {open:?}");
}

#[test]
fn parameters_inside_layers_have_nested_names() {
    let names = |text: &str, shape: &[usize]| {
        let table: Table = format!("x = {text}").parse().unwrap();
        let layers = Kinds::standard().read_list("x", &table["x"]).unwrap();
        let params = Params::dry(usize::MAX);
        Segment::build(&layers, &params.root(), shape, 3).unwrap();
        let names: Vec<String> = params.all().iter().map(|p| p.name().to_owned()).collect();
        names.join(" ")
    };
    assert_eq!(
        names(
            "[{ residual = { layers = [{ conv1d = { out_channels = 4, kernel_size = 1, bias = false } }, \"batch_norm\"], shortcut = [{ conv1d = { out_channels = 4, kernel_size = 1, bias = false, name = \"0\" } }] } }, { residual = [\"layer_norm\"] }]",
            &[2, 3]
        ),
        "block1.conv1.weight block1.bn1.weight block1.bn1.bias block1.shortcut.0.weight block2.ln1.weight block2.ln1.bias"
    );
    assert_eq!(
        names(
            "[{ lstm = 2 }, { sequential = { name = \"head\", layers = [{ linear = 2 }, { linear = 3 }] } }]",
            &[2, 1]
        ),
        "lstm1.weight_ih_l0 lstm1.weight_hh_l0 lstm1.bias_ih_l0 lstm1.bias_hh_l0 head.fc1.weight head.fc1.bias head.fc2.weight head.fc2.bias"
    );
}

/// A block that ends with a batch norm adds in one pass what other blocks add afterwards.
#[test]
fn a_block_that_ends_with_a_batch_norm_is_the_block_in_parts() {
    let run = |end: &str| {
        let text = format!(
            "{{ residual = {{ layers = [{{ conv2d = {{ out_channels = 3, kernel_size = 3, padding = 1, bias = false }} }}, \"batch_norm\"{end}], shortcut = [{{ conv2d = {{ out_channels = 3, kernel_size = 1 }} }}], activation = \"relu\" }} }}"
        );
        let params = Params::new(&Device::Cpu, Seed(4));
        let block = layer(&text).unwrap();
        let block = Segment::build(&[block], &params.root(), &[2, 5, 5], 3).unwrap();
        let values: Vec<f32> = (0..200).map(|i| (i as f32 * 0.7).sin()).collect();
        let x = Tensor::from_vec(values, (4, 2, 5, 5), &Device::Cpu).unwrap();
        let mut all = Vec::new();
        let y = block
            .forward(&x, &mut Pass::train(&mut params.rng("p")))
            .unwrap();
        params
            .backward(&y.sqr().unwrap().sum_all().unwrap())
            .unwrap();
        all.push(y);
        all.push(block.forward(&x, &mut Pass::eval()).unwrap());
        all.extend(params.all().iter().map(|p| p.grad().unwrap()));
        all.extend(params.buffers().iter().map(|b| b.tensor()));
        let names: Vec<String> = params.all().iter().map(|p| p.name().to_owned()).collect();
        let costs = block.describe(&[2, 5, 5]).unwrap();
        let numbers = all.iter().flat_map(|t| {
            let t = t
                .to_dtype(candle_core::DType::F32)
                .unwrap()
                .flatten_all()
                .unwrap();
            t.to_vec1::<f32>().unwrap()
        });
        (names, costs.multiply_adds, numbers.collect::<Vec<f32>>())
    };
    let (fused, parts) = (run(""), run(", \"identity\""));
    assert_eq!((&fused.0, fused.1), (&parts.0, parts.1));
    assert_eq!(fused.2.len(), parts.2.len());
    for (fused, part) in fused.2.iter().zip(&parts.2) {
        assert!(
            (fused - part).abs() <= 1e-4 * part.abs().max(1.0),
            "{fused} is not {part}"
        );
    }
}

#[test]
fn an_embedding_reads_whole_numbers_only() {
    let spec = layer("{ embedding = { num_embeddings = 5, embedding_dim = 3 } }").unwrap();
    let params = Params::new(&Device::Cpu, Seed(1));
    let table = Segment::build(&[spec], &params.root(), &[2], 3).unwrap();
    let run = |values: [f32; 2]| {
        let x = Tensor::new(&[values], &Device::Cpu).unwrap();
        table
            .forward(&x, &mut Pass::eval())
            .map_err(|e| e.to_string())
    };
    assert_eq!(run([0.0, 4.0]).unwrap().dims(), [1, 2, 3]);
    for values in [[0.0, 0.5], [-1.0, 0.0], [f32::NAN, 0.0], [1e10, 0.0]] {
        let error = run(values).unwrap_err();
        assert!(
            error.contains("must be whole numbers that are not negative"),
            "{error}"
        );
    }
    let error = run([0.0, 5.0]).unwrap_err();
    assert!(
        error.ends_with("indices[1] is 5, but must be below 5"),
        "{error}"
    );
}

#[test]
fn a_list_has_a_longest_length() {
    let list = |n: usize| Value::Array(vec![Value::from("flatten"); n]);
    assert_eq!(
        Kinds::standard()
            .read_list("x", &list(2_000))
            .unwrap()
            .len(),
        2_000
    );
    let error = Kinds::standard().read_list("x", &list(2_001)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "x: expected at most 2000 layers, found 2001"
    );
}

#[test]
fn mistakes_are_named() {
    let check = |text: &str, want: &str| {
        assert_eq!(layer(text).unwrap_err().to_string(), want, "{text}");
    };
    check(
        "{ conv2 = { out_channels = 1, kernel_size = 1 } }",
        "model.layers[0]: there is no kind of layer \"conv2\"; did you mean \"conv2d\"?",
    );
    check(
        "{ conv2d = { out_channels = 1, kernel = 1 } }",
        "there is no field model.layers[0].conv2d.kernel; did you mean model.layers[0].conv2d.kernel_size?",
    );
    check(
        "{ conv2d = { out_channels = 1 } }",
        "model.layers[0].conv2d.kernel_size is missing; expected a whole number, not negative, or a list with one for each axis",
    );
    check(
        "{ conv2d = { out_channels = 1, kernel_size = 1, strid = 1 } }",
        "there is no field model.layers[0].conv2d.strid; did you mean model.layers[0].conv2d.stride?",
    );
    check(
        "{ conv2d = { out_channels = 0, kernel_size = 1 } }",
        "model.layers[0].conv2d.out_channels: expected at least 1, found 0",
    );
    check(
        "{ conv2d = { out_channels = 1, kernel_size = [3, 3, 3] } }",
        "model.layers[0].conv2d.kernel_size: expected one number, or 2 of them, found [3, 3, 3]",
    );
    check(
        "{ conv2d = { out_channels = 1, kernel_size = 3, stride = 2, padding = \"same\" } }",
        "model.layers[0].conv2d.padding: expected numbers where the stride is not 1, found \"same\"",
    );
    check(
        "{ conv1d = { out_channels = 1, kernel_size = 3, max_pool = 2 } }",
        "model.layers[0].conv1d.max_pool: expected none, as only conv2d has a pool of its own, found 2",
    );
    check(
        "{ max_pool2d = { kernel_size = 2, padding = 2 } }",
        "model.layers[0].max_pool2d.padding: expected at most 1, half of the window, found 2",
    );
    check(
        "{ max_pool2d = [2, -1] }",
        "model.layers[0].max_pool2d[1]: expected a whole number, not negative, found the number -1",
    );
    check(
        "{ max_pool2d = 0 }",
        "model.layers[0].max_pool2d: expected at least 1, found 0",
    );
    check(
        "{ max_pool2d = \"a\" }",
        "model.layers[0].max_pool2d: expected a size, or { kernel_size = 2, stride = 2 }, found the text \"a\"",
    );
    check(
        "{ linear = { out_features = \"class\" } }",
        "model.layers[0].linear.out_features: expected a whole number or \"classes\", found the text \"class\"",
    );
    check(
        "{ linear = { out_features = 2, activation = \"rellu\" } }",
        "model.layers[0].linear.activation: there is no activation \"rellu\"; did you mean \"relu\"?",
    );
    check(
        "{ linear = { out_features = 2, name = \"../x\" } }",
        "model.layers[0].linear.name: expected letters, digits and _, at most 100, in parts separated by dots, found \"../x\"",
    );
    check(
        "{ dropout = 1 }",
        "model.layers[0].dropout: expected a probability from 0 to below 1, found 1",
    );
    check(
        "{ dropout = \"a\" }",
        "model.layers[0].dropout: expected a probability such as 0.25, found the text \"a\"",
    );
    check(
        "{ activation = \"gleu\" }",
        "model.layers[0].activation: there is no activation \"gleu\"; did you mean \"gelu\"?",
    );
    check(
        "{ gru = { hidden_size = 2, proj_size = 1 } }",
        "model.layers[0].gru.proj_size: expected 0, as only an lstm is projected, found 1",
    );
    check(
        "{ lstm = { hidden_size = 2, num_layers = 1000000 } }",
        "model.layers[0].lstm.num_layers: expected from 1 to 1000, found 1000000",
    );
    check(
        "{ residual = { layers = [{ liner = 2 }] } }",
        "model.layers[0].residual.layers[0]: there is no kind of layer \"liner\"; did you mean \"linear\"?",
    );
    check(
        "{ residual = [\"flatten\", { linear = 0 }] }",
        "model.layers[0].residual[1].linear: expected at least 1, found 0",
    );
    check(
        "{ residual = { layers = [\"flatten\"], shortcuts = [] } }",
        "there is no field model.layers[0].residual.shortcuts; did you mean model.layers[0].residual.shortcut?",
    );
    check(
        "{ residual = { activation = \"relu\" } }",
        "model.layers[0].residual.layers is missing; expected a list, each element a layer such as \"flatten\" or { linear = { out_features = 10 } }",
    );
    check(
        "{ flatten = 3 }",
        "model.layers[0].flatten: expected settings such as { start_dim = 2 }, found the number 3",
    );
    check(
        "7",
        "model.layers[0]: expected a layer such as \"flatten\" or { linear = { out_features = 10 } }, found the number 7",
    );
    check(
        "{ a = 1, b = 2 }",
        "model.layers[0]: expected a layer such as \"flatten\" or { linear = { out_features = 10 } }, found the table { a = 1, b = 2 }",
    );
}

//! Shapes and sizes of the presets, and what is refused.

use super::*;
use crate::ModelSpec;
use toml::Table;

fn plan(layers: &str, input_shape: &[usize], classes: usize) -> Result<Plan> {
    let table: Table = format!("layers = {layers}").parse().unwrap();
    let spec = ModelSpec::read("model", &table)?;
    Plan::new(&spec.layers(), input_shape, classes)
}

#[test]
fn presets_have_the_shapes_and_sizes_they_are_known_for() {
    let check = |name: &str, input: &[usize], classes, parameters, shapes: &[&[usize]]| {
        let spec: ModelSpec = name.parse().unwrap();
        let plan = Plan::new(&spec.layers(), input, classes).unwrap();
        let got: Vec<_> = plan.layers().iter().map(|l| &l.output_shape[..]).collect();
        assert_eq!((plan.parameters(), &got[..]), (parameters, shapes));
    };
    check(
        "lenet",
        &[1, 28, 28],
        10,
        1_199_882,
        &[&[32, 26, 26], &[64, 12, 12], &[9216], &[128], &[10]],
    );
    check(
        "digits-cnn",
        &[1, 8, 8],
        10,
        43_050,
        &[
            &[32, 8, 8],
            &[32, 4, 4],
            &[512],
            &[512],
            &[64],
            &[64],
            &[10],
        ],
    );
    check("softmax", &[4], 3, 15, &[&[4], &[3]]);
    check(
        "mlp",
        &[1, 8, 8],
        10,
        64 * 64 + 64 + 650,
        &[&[64], &[64], &[10]],
    );
}

#[test]
fn names_are_given_in_order_where_the_recipe_gives_none() {
    let layers = "[{ conv2d = { out_channels = 2, kernel_size = 3 } }, \"flatten\", { linear = { out_features = 5, name = \"mid\" } }, { linear = \"classes\" }]";
    let plan = plan(layers, &[1, 5, 5], 4).unwrap();
    let names: Vec<_> = plan
        .layers()
        .iter()
        .flat_map(|l| l.name.as_deref())
        .collect();
    assert_eq!(names, ["conv1", "mid", "fc2"]);
}

#[test]
fn a_plan_reads_back_from_json() {
    for name in ["lenet", "digits-cnn", "mlp", "resnet20"] {
        let spec: ModelSpec = name.parse().unwrap();
        let plan = Plan::new(&spec.layers(), &[1, 28, 28], 10).unwrap();
        let again = Plan::from_json(&plan.to_json(), &[1, 28, 28], 10).unwrap();
        assert_eq!(plan, again);
    }
    let error = Plan::from_json("{", &[1], 1).unwrap_err().to_string();
    assert!(
        error.starts_with("the description of the network is damaged: "),
        "{error}"
    );
}

#[test]
fn a_layer_that_cannot_take_its_input_is_named() {
    let check = |layers: &str, input: &[usize], want: &str| {
        assert_eq!(plan(layers, input, 3).unwrap_err().to_string(), want);
    };
    check(
        "[{ linear = 3 }]",
        &[1, 8, 8],
        "layer 1 (linear fc1) expects [features] or [steps, features], but gets [1, 8, 8]; put \"flatten\" before it",
    );
    check(
        "[{ conv2d = { out_channels = 2, kernel_size = 3 } }]",
        &[4],
        "layer 1 (conv2d conv1) expects pictures [channels, height, width], but gets [4]; use linear layers, or give the data such a shape (data.input_shape)",
    );
    check(
        "[{ max_pool2d = 3 }, { max_pool2d = 3 }]",
        &[1, 8, 8],
        "layer 2 (max_pool2d) expects at least 3 elements along axis 0, padding counted, but gets [1, 2, 2]; use a smaller window, more padding or fewer pools before it",
    );
    check(
        "[{ linear = 3 }]",
        &[8, 4],
        "the network ends with shape [8, 3], but must end with one score for each of the 3 classes; put \"flatten\" or a pool before its last layer, which reads each step by itself",
    );
    check(
        "[{ group_norm = 3 }]",
        &[4, 5, 5],
        "layer 1 (group_norm gn1): num_groups must be a divisor of the channels, but is 3",
    );
    check(
        "[{ lstm = 4 }]",
        &[1, 8, 8],
        "layer 1 (lstm lstm1) expects sequences [steps, features], but gets [1, 8, 8]; give the data such a shape (data.input_shape), or bring it there with unflatten or permute",
    );
    check(
        "[{ residual = [{ linear = 5 }] }]",
        &[4],
        "layer 1 (residual block1) expects an input of shape [5], that of its layers' output, on the way past them, but gets [4]; give the block a shortcut whose layers change the shape in the same way",
    );
    check(
        "[{ residual = [\"flatten\", { max_pool2d = 2 }] }]",
        &[1, 8, 8],
        "layer 2 (max_pool2d) expects pictures [channels, height, width], but gets [64]; use linear layers, or give the data such a shape (data.input_shape)",
    );
    check(
        "[{ conv1d = { out_channels = 1, kernel_size = 1, padding = 3, padding_mode = \"reflect\" } }]",
        &[1, 3],
        "layer 1 (conv1d conv1) expects axes longer than their padding, as it is reflected, but gets [1, 3]; use a smaller window, more padding or fewer pools before it",
    );
    check(
        "[{ conv_transpose1d = { out_channels = 1, kernel_size = 2, padding = 9 } }]",
        &[1, 8],
        "layer 1 (conv_transpose1d deconv1) expects an input that is large enough for one output, but gets [1, 8]; use less padding or a larger window",
    );
    check(
        "[\"flatten\", { linear = 2 }]",
        &[4],
        "the network ends with shape [2], but must end with one score for each of the 3 classes; let its last layer be { linear = \"classes\" }",
    );
    check(
        "[{ linear = { out_features = 3, name = \"a\" } }, { linear = { out_features = 3, name = \"a\" } }]",
        &[4],
        "layers 1 and 2 are both called \"a\"; give one of them another name",
    );
    check(
        "[\"flatten\"]",
        &[4, 0],
        "the input shape [4, 0] has no value; expected sizes of at least 1",
    );
}
/// Sizes that a stranger may write: each is an error before anything is allocated, and at once.
#[test]
fn sizes_that_no_machine_holds_are_refused() {
    let largest = i64::MAX;
    let refused = |layer: &str, input: &[usize]| {
        let text = format!("layers = [{layer}, \"flatten\", {{ linear = \"classes\" }}]");
        let spec = ModelSpec::read("model", &text.parse().unwrap()).unwrap();
        let plan = Plan::within(&spec.layers(), input, 3, 8_000_000_000);
        plan.unwrap_err().to_string()
    };
    assert_eq!(
        refused("{ linear = 100000000000 }", &[64]),
        "with the 6400000000000 parameters of layer 1 (linear fc1) the network does not fit into this machine's 8000 MB of memory; choose smaller sizes"
    );
    assert_eq!(
        refused(
            "{ conv2d = { out_channels = 2, kernel_size = 3, padding = 50000 } }",
            &[1, 8, 8]
        ),
        "with the 20002400072 outputs of layer 1 (conv2d conv1) the network does not fit into this machine's 8000 MB of memory; choose smaller sizes"
    );
    assert_eq!(
        refused(&format!("{{ linear = {largest} }}"), &[4]),
        "layer 1 (linear fc1) is too large to address"
    );
    // No layer is too large, but all of them are.
    let many = ["{ linear = 30000 }"; 4].join(", ");
    assert_eq!(
        refused(&many, &[1]),
        "with the 900000000 parameters of layer 4 (linear fc4) the network does not fit into this machine's 8000 MB of memory; choose smaller sizes"
    );
    let (sequence, picture): (&[usize], &[usize]) = (&[8, 4], &[4, 8, 8]);
    for (layer, input) in [
        (
            "{ conv2d = { out_channels = 1, kernel_size = 1, padding = N } }",
            picture,
        ),
        (
            "{ conv2d = { out_channels = 1, kernel_size = N, padding = N } }",
            picture,
        ),
        (
            "{ conv2d = { out_channels = N, kernel_size = 1 } }",
            picture,
        ),
        (
            "{ conv2d = { out_channels = 1, kernel_size = 2, dilation = N } }",
            picture,
        ),
        (
            "{ conv2d = { out_channels = 1, kernel_size = 2, groups = N } }",
            picture,
        ),
        (
            "{ conv2d = { out_channels = 1, kernel_size = 1, max_pool = N } }",
            picture,
        ),
        (
            "{ conv1d = { out_channels = 1, kernel_size = 3, dilation = N, padding = \"same\", padding_mode = \"circular\" } }",
            sequence,
        ),
        (
            "{ conv_transpose2d = { out_channels = 1, kernel_size = 1, stride = N } }",
            picture,
        ),
        (
            "{ conv_transpose2d = { out_channels = 1, kernel_size = 2, dilation = N } }",
            picture,
        ),
        (
            "{ conv_transpose2d = { out_channels = 1, kernel_size = 1, padding = N } }",
            picture,
        ),
        ("{ max_pool2d = N }", picture),
        ("{ adaptive_avg_pool2d = N }", picture),
        ("{ adaptive_max_pool1d = N }", sequence),
        ("{ upsample = { size = N } }", picture),
        ("{ upsample = 1e300 }", picture),
        ("{ pixel_shuffle = N }", picture),
        ("{ pixel_unshuffle = N }", picture),
        ("{ unflatten = [N, N] }", picture),
        ("{ layer_norm = { axes = N } }", sequence),
        ("{ group_norm = N }", picture),
        ("{ prelu = N }", sequence),
        (
            "{ embedding = { num_embeddings = N, embedding_dim = 1 } }",
            sequence,
        ),
        (
            "{ embedding = { num_embeddings = 1, embedding_dim = 100000000000 } }",
            sequence,
        ),
        ("{ bilinear = N }", sequence),
        ("{ gated_unit = N }", sequence),
        ("{ swiglu = N }", sequence),
        ("{ lstm = N }", sequence),
        (
            "{ gru = { hidden_size = 100000, num_layers = 1000 } }",
            sequence,
        ),
        ("{ multi_head_attention = N }", sequence),
        (
            "{ transformer_encoder_layer = { nhead = 1, dim_feedforward = N } }",
            sequence,
        ),
        (
            "{ decoder_block = { num_heads = 1, intermediate_size = N } }",
            sequence,
        ),
        (
            "{ grouped_query_attention = { num_heads = 1, num_kv_heads = N } }",
            sequence,
        ),
    ] {
        let error = refused(&layer.replace('N', &largest.to_string()), input);
        assert!(error.contains("layer 1 ("), "{layer}: {error}");
    }
}

/// A window may be larger than all else, as long as the padding reaches its middle: what comes is a result or an error.
#[test]
fn the_largest_windows_neither_panic_nor_take_forever() {
    let (largest, half) = (i64::MAX, i64::MAX / 2);
    for kind in ["max_pool2d", "avg_pool2d"] {
        for stride in [1, largest] {
            let text = format!(
                "layers = [{{ {kind} = {{ kernel_size = {largest}, stride = {stride}, padding = {half}, ceil_mode = true }} }}, \"flatten\", {{ linear = \"classes\" }}]"
            );
            let spec = ModelSpec::read("model", &text.parse().unwrap()).unwrap();
            let Ok(plan) = Plan::new(&spec.layers(), &[1, 3, 3], 3) else {
                continue;
            };
            let params = Params::new(&candle_core::Device::Cpu, cortical_tensor::Seed(1));
            let network = crate::Network::build(&plan, &params).unwrap();
            let x = candle_core::Tensor::ones(
                (2, 1, 3, 3),
                candle_core::DType::F32,
                &candle_core::Device::Cpu,
            );
            let y = cortical_neuron::Layer::forward(
                &network,
                &x.unwrap(),
                &mut cortical_neuron::Pass::eval(),
            );
            if let Ok(y) = y {
                assert_eq!(y.dims(), [2, 3]);
            }
        }
    }
}

#[test]
fn resnet20_has_its_known_size() {
    let spec: ModelSpec = "resnet20".parse().unwrap();
    let plan = Plan::new(&spec.layers(), &[3, 32, 32], 10).unwrap();
    // The paper's network with projections where a stage begins: 269,722 without them, 2,752 for theirs.
    assert_eq!(plan.parameters(), 272_474);
    let shapes: Vec<_> = plan.layers().iter().map(|l| &l.output_shape[..]).collect();
    let stages = [[16, 32, 32]; 5]
        .into_iter()
        .chain([[32, 16, 16]; 3])
        .chain([[64, 8, 8]; 3]);
    let mut want: Vec<Vec<usize>> = stages.map(|shape| shape.to_vec()).collect();
    want.extend([vec![64], vec![10]]);
    assert_eq!(shapes, want);
    let names: Vec<_> = plan
        .layers()
        .iter()
        .flat_map(|l| l.name.as_deref())
        .collect();
    assert_eq!(
        names,
        [
            "conv1", "bn1", "layer1.0", "layer1.1", "layer1.2", "layer2.0", "layer2.1", "layer2.2",
            "layer3.0", "layer3.1", "layer3.2", "fc"
        ]
    );
    // As the literature counts them: those of the convolutions and of the dense layer.
    assert_eq!(plan.multiply_adds(), 40_813_184);
}

//! Neurons that do nothing are removed from networks of every kind, which say the same afterwards.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use cortical_models::{ModelSpec, Network, NeuronGroup, Plan, Role};
use cortical_neuron::{Layer, Params, Pass};
use cortical_prune::{Error, Importance, Share, keep, remove, shapes};
use cortical_tensor::{Rng, Seed};

fn plan(model: &str, input: &[usize]) -> Plan {
    let table = match model.contains('=') {
        true => model.parse().unwrap(),
        false => format!("kind = \"{model}\"").parse().unwrap(),
    };
    let spec = ModelSpec::read("model", &table).unwrap();
    Plan::new(&spec.layers(), input, 5).unwrap()
}

fn build(plan: &Plan) -> (Network, Params) {
    let params = Params::new(&Device::Cpu, Seed(3));
    (Network::build(plan, &params).unwrap(), params)
}

/// Every value differs from every other, running variances too, so that nothing is right by chance.
fn fill(params: &Params) -> BTreeMap<String, Tensor> {
    let mut tensors = BTreeMap::new();
    for (name, tensor) in params.named_tensors() {
        if tensor.dtype() != candle_core::DType::F32 {
            tensors.insert(name, tensor);
            continue;
        }
        let mut values = vec![0.0; tensor.elem_count()];
        let low = if name.ends_with("running_var") {
            0.5
        } else {
            -0.5
        };
        Rng::new(Seed(9), &name).fill_uniform(&mut values, low, low + 1.0);
        tensors.insert(
            name,
            Tensor::from_vec(values, tensor.dims(), &Device::Cpu).unwrap(),
        );
    }
    tensors
}

/// The tensors with zeros where neurons are made or on their way that do not stay.
fn silence(
    tensors: &BTreeMap<String, Tensor>,
    groups: &[NeuronGroup],
    kept: &[Vec<usize>],
) -> BTreeMap<String, Tensor> {
    let mut tensors = tensors.clone();
    for (group, kept) in groups.iter().zip(kept) {
        for slice in group
            .slices
            .iter()
            .filter(|slice| slice.role != Role::Reads)
        {
            if slice.tensor.ends_with("running_var") {
                continue;
            }
            let tensor = &tensors[&slice.tensor];
            let stays = (0..group.count * slice.each)
                .map(|at| f32::from(u8::from(kept.contains(&(at / slice.each)))));
            let mut dims = vec![1; tensor.rank()];
            dims[slice.axis] = group.count * slice.each;
            let mask = Tensor::from_iter(stays, &Device::Cpu)
                .unwrap()
                .reshape(dims)
                .unwrap();
            let silent = tensor.broadcast_mul(&mask).unwrap();
            tensors.insert(slice.tensor.clone(), silent);
        }
    }
    tensors
}

fn logits(
    network: &Network,
    params: &Params,
    tensors: &BTreeMap<String, Tensor>,
    x: &Tensor,
) -> Vec<f32> {
    for (name, tensor) in tensors {
        params.set(name, tensor).unwrap();
    }
    let y = network.forward(x, &mut Pass::eval()).unwrap();
    y.flatten_all().unwrap().to_vec1().unwrap()
}

/// Networks in which something can be removed, with how many groups of neurons may.
const NETWORKS: [(&str, &[usize], usize); 12] = [
    ("mlp", &[20], 1),
    ("lenet", &[1, 12, 12], 3),
    ("digits-cnn", &[1, 8, 8], 3),
    ("resnet20", &[3, 8, 8], 12),
    // A norm behind a flattened convolution, and one whose features are pooled away.
    (
        "layers = [{ conv2d = { out_channels = 6, kernel_size = 3 } }, { batch_norm = { activation = \"relu\" } }, { prelu = 6 }, { max_pool2d = 2 }, \"flatten\", \"batch_norm\", { activation = \"relu\" }, { linear = 7 }, { dropout = 0.5 }, { linear = \"classes\" }]",
        &[2, 8, 8],
        2,
    ),
    // Depthwise and pointwise convolutions.
    (
        "layers = [{ conv2d = { out_channels = 6, kernel_size = 1 } }, { conv2d = { out_channels = 6, kernel_size = 3, groups = 6, bias = false, padding = 1 } }, { batch_norm = { activation = \"relu\" } }, { conv2d = { out_channels = 9, kernel_size = 1 } }, \"global_max_pool\", { linear = \"classes\" }]",
        &[3, 6, 6],
        2,
    ),
    // Blocks inside blocks, with a shortcut of their own, and a transposed convolution.
    (
        "layers = [{ conv2d = { out_channels = 4, kernel_size = 3, padding = 1 } }, { residual = { activation = \"relu\", layers = [{ conv2d = { out_channels = 5, kernel_size = 3, padding = 1 } }, { residual = [{ conv2d = { out_channels = 5, kernel_size = 1 } }] }, { conv2d = { out_channels = 4, kernel_size = 1 } }, \"batch_norm\"] } }, { conv_transpose2d = { out_channels = 3, kernel_size = 2, stride = 2 } }, \"flatten\", { linear = \"classes\" }]",
        &[2, 5, 5],
        3,
    ),
    // Steps of a sequence, and pairs of neurons in a row.
    (
        "layers = [{ linear = 6 }, { activation = \"relu\" }, { linear = 8 }, { swiglu = 10 }, \"flatten\", { linear = \"classes\" }]",
        &[3, 4],
        2,
    ),
    // Channels that become the features of steps.
    (
        "layers = [{ conv1d = { out_channels = 6, kernel_size = 3 } }, { permute = [2, 1] }, { linear = 4 }, { avg_pool1d = 2 }, \"flatten\", { linear = \"classes\" }]",
        &[2, 9],
        1,
    ),
    (
        "layers = [{ sequential = { name = \"body\", layers = [{ linear = 6 }, { activation = \"relu\" }] } }, { linear = \"classes\" }]",
        &[7],
        1,
    ),
    (
        "layers = [{ conv2d = { out_channels = 6, kernel_size = 3 } }, { instance_norm = { affine = true } }, \"global_avg_pool\", { linear = \"classes\" }]",
        &[2, 6, 6],
        1,
    ),
    // A layer that does not say what it reads keeps what it reads.
    (
        "layers = [{ linear = 6 }, { layer_norm = {} }, { linear = 8 }, { linear = \"classes\" }]",
        &[4],
        1,
    ),
];

#[test]
fn what_does_nothing_can_go() {
    for (model, input, free) in NETWORKS {
        let plan = plan(model, input);
        let groups = plan.groups().unwrap();
        assert_eq!(
            groups.iter().filter(|group| !group.fixed).count(),
            free,
            "{model}: {groups:#?}"
        );
        let (network, params) = build(&plan);
        let tensors = fill(&params);
        for share in [Share::Each(0.5), Share::All(0.4), Share::Each(0.99)] {
            let kept = keep(&groups, &tensors, Importance::Random(5), share).unwrap();
            let silent = silence(&tensors, &groups, &kept);
            let cut = remove(&silent, &groups, &kept).unwrap();
            let smaller = plan.narrowed(&shapes(&cut)).unwrap();
            assert!(smaller.parameters() < plan.parameters(), "{model}");
            assert!(smaller.multiply_adds() < plan.multiply_adds(), "{model}");
            let (small, small_params) = build(&smaller);
            let mut values = vec![0.0; 3 * input.iter().product::<usize>()];
            Rng::new(Seed(1), "x").fill_normal(&mut values, 0.0, 1.0);
            let dims: Vec<usize> = [3].iter().chain(input).copied().collect();
            let x = Tensor::from_vec(values, dims, &Device::Cpu).unwrap();
            let want = logits(&network, &params, &silent, &x);
            let got = logits(&small, &small_params, &cut, &x);
            let scale = want.iter().fold(1.0_f32, |max, x| max.max(x.abs()));
            for (a, b) in want.iter().zip(&got) {
                assert!(
                    (a - b).abs() < 1e-4 * scale,
                    "{model} {share:?}: {want:?} {got:?}"
                );
            }
        }
    }
}

#[test]
fn the_smallest_neurons_go_and_groups_stay_together() {
    let plan = plan("lenet", &[1, 12, 12]);
    let groups = plan.groups().unwrap();
    let (_, params) = build(&plan);
    let mut tensors = fill(&params);
    // Neurons of ever smaller weights, in what makes them and in what reads them.
    for (name, axis) in [("conv2.weight", 0), ("fc1.weight", 1)] {
        let tensor = &tensors[name];
        let each = tensor.dims()[axis] / 64;
        let mut dims = vec![1; tensor.rank()];
        dims[axis] = tensor.dims()[axis];
        let sizes = (0..dims[axis]).map(|at| 0.9_f32.powi((at / each) as i32));
        let sizes = Tensor::from_iter(sizes, &Device::Cpu)
            .unwrap()
            .reshape(dims)
            .unwrap();
        tensors.insert(name.to_owned(), tensor.broadcast_mul(&sizes).unwrap());
    }
    let kept = keep(&groups, &tensors, Importance::Magnitude, Share::Each(0.5)).unwrap();
    let conv2 = groups
        .iter()
        .position(|group| group.makers() == ["conv2"])
        .unwrap();
    assert_eq!(kept[conv2], (0..32).collect::<Vec<_>>());
    let cut = shapes(&remove(&tensors, &groups, &kept).unwrap());
    assert_eq!(cut["conv1.weight"], [16, 1, 3, 3]);
    assert_eq!(cut["conv2.weight"], [32, 16, 3, 3]);
    assert_eq!(cut["fc1.weight"], [64, 32 * 4 * 4]);
    assert_eq!(cut["fc2.weight"], [5, 64]);
}

#[test]
fn a_network_without_neurons_of_its_own_is_refused() {
    let plan = plan("softmax", &[4]);
    let (_, params) = build(&plan);
    let groups = plan.groups().unwrap();
    let error = keep(
        &groups,
        &fill(&params),
        Importance::Magnitude,
        Share::Each(0.5),
    )
    .unwrap_err();
    assert!(matches!(error, Error::NoNeurons), "{error}");
}

//! A pruned weight stays exactly 0 under every optimizer, also with weight decay, with momentum from before, and in
//! averages.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use candle_core::{DType, Device, Tensor};
use cortical_neuron::{Init, Param, Params, Pass};
use cortical_optim::{Averaging, ModelEma, OptimizerConfig};
use cortical_tensor::{Seed, with_fallback};
use stand_in::loss;

/// What a dense layer would do; this crate's tests know no layers.
mod stand_in {
    use super::{DType, Device, Param, Params, Pass, Tensor};
    use cortical_kernels::activation::Activation::Identity;
    use cortical_tensor::ops;

    pub(crate) fn loss(params: &Params, weight: &Param) -> Tensor {
        let mut rng = params.rng("pass");
        let pass = Pass::train(&mut rng);
        let x = Tensor::ones((2, 3), DType::F32, &Device::Cpu).unwrap();
        let y = ops::linear(&x, weight.input(&pass), None, Identity).unwrap();
        (y - 1.0).unwrap().sqr().unwrap().sum_all().unwrap()
    }
}

/// PyTorch's names, each with options under which a weight moves without a gradient.
const OPTIMIZERS: [&str; 12] = [
    "name = 'SGD'\nlr = 0.1\nmomentum = 0.9\nweight_decay = 0.1",
    "name = 'SGD'\nlr = 0.1\nmomentum = 0.9\nnesterov = true",
    "name = 'Adam'\nlr = 0.1\nweight_decay = 0.1",
    "name = 'Adam'\nlr = 0.1\namsgrad = true",
    "name = 'AdamW'\nlr = 0.1\nweight_decay = 0.1",
    "name = 'RMSprop'\nlr = 0.1\nmomentum = 0.9\ncentered = true",
    "name = 'Adagrad'\nlr = 0.1\nweight_decay = 0.1",
    "name = 'Adadelta'\nlr = 1.0\nweight_decay = 0.1",
    "name = 'Adamax'\nlr = 0.1\nweight_decay = 0.1",
    "name = 'NAdam'\nlr = 0.1\nweight_decay = 0.1",
    "name = 'RAdam'\nlr = 0.1\nweight_decay = 0.1",
    "name = 'AdamW'\nlr = 0.1\nmaximize = true",
];

fn elements(param: &Param) -> Vec<f32> {
    param.tensor().flatten_all().unwrap().to_vec1().unwrap()
}

fn run(optimizer: &str) {
    let config: OptimizerConfig = toml::from_str(optimizer).unwrap();
    let params = Params::new(&Device::Cpu, Seed(1));
    let init = Init::Normal {
        mean: 0.0,
        std: 1.0,
    };
    let weight = params.root().param("weight", &[2, 3], init).unwrap();
    let mut steps = config.build(&params, Vec::new()).unwrap();
    let averaging = Averaging::Exponential {
        decay: 0.9,
        warmup: false,
    };
    let mut ema = ModelEma::new(&params, averaging).unwrap();
    let mut step = || {
        params.backward(&loss(&params, &weight)).unwrap();
        steps.step().unwrap();
        ema.update().unwrap();
    };
    // Momenta of all weights first, then some are pruned.
    step();
    step();
    let mask = Tensor::new(&[[1_u8, 0, 1], [0, 1, 1]], &Device::Cpu).unwrap();
    params.prune("weight", &mask).unwrap();
    let pruned = |values: &[f32]| [values[1].to_bits(), values[3].to_bits()];
    for _ in 0..5 {
        let before = elements(&weight);
        step();
        let after = elements(&weight);
        assert_eq!(pruned(&after), [0, 0], "{optimizer}: {after:?}");
        for connected in [0, 2, 4, 5] {
            assert_ne!(
                before[connected], after[connected],
                "{optimizer}: {connected} trains on"
            );
        }
    }
    let averaged = ema.named_tensors().unwrap();
    let averaged = averaged[0]
        .1
        .flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap();
    assert_eq!(pruned(&averaged), [0, 0], "{optimizer}, averaged");
    let inside = ema.during(|| elements(&weight)).unwrap();
    assert_eq!(
        pruned(&inside),
        [0, 0],
        "{optimizer}, averages in the network"
    );
    assert_eq!(weight.unpruned().unwrap(), 4);
    // Connected again, they begin at 0 and train.
    weight.unprune();
    params.backward(&loss(&params, &weight)).unwrap();
    assert!(
        weight
            .grad()
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap()[1]
            != 0.0
    );
}

#[test]
fn severed_weights_stay_zero_under_every_optimizer() {
    for optimizer in OPTIMIZERS {
        run(optimizer);
        with_fallback(|| run(optimizer));
    }
}

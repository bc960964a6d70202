//! AdamW in a plain candle program: the network is candle's, the gradients are candle's, only the steps are ours.
//!
//! A network of two layers learns the sine. Half-way its optimizer's state is put into a fresh optimizer, as a program
//! that was stopped would do, and training goes on as if nothing had happened.
//!
//! `cargo run -p cortical-optim --example adamw_in_candle`

use candle_core::{Device, Result, Tensor, Var};
use cortical_neuron::Params;
use cortical_optim::{AdamW, AdamWConfig, Group, Optimizer, Schedule};
use cortical_tensor::Seed;

/// Two layers in candle's own operations.
struct Net {
    w1: Var,
    b1: Var,
    w2: Var,
    b2: Var,
}

impl Net {
    /// Weights on a fixed grid, so that every run of this program prints the same numbers.
    fn new(hidden: usize) -> Result<Self> {
        let grid = |n: usize, scale: f32| -> Vec<f32> {
            (0..n).map(|i| scale * (i as f32 * 2.399).sin()).collect()
        };
        let cpu = &Device::Cpu;
        Ok(Self {
            w1: Var::from_vec(grid(hidden, 2.0), (1, hidden), cpu)?,
            b1: Var::from_vec(grid(hidden, 1.0), hidden, cpu)?,
            w2: Var::from_vec(grid(hidden, 0.2), (hidden, 1), cpu)?,
            b2: Var::from_vec(vec![0.0_f32], 1, cpu)?,
        })
    }

    /// `[n, 1]` to `[n, 1]`
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let hidden = x.matmul(&self.w1)?.broadcast_add(&self.b1)?.tanh()?;
        hidden.matmul(&self.w2)?.broadcast_add(&self.b2)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let net = Net::new(16)?;

    // Variables get names; the optimizer's state is saved under them.
    let params = Params::new(&Device::Cpu, Seed(0));
    for (name, var) in [
        ("fc1.weight", &net.w1),
        ("fc1.bias", &net.b1),
        ("fc2.weight", &net.w2),
        ("fc2.bias", &net.b2),
    ] {
        params.adopt(name, var.clone())?;
    }
    let config = AdamWConfig {
        lr: 0.02,
        weight_decay: 1e-3,
        ..Default::default()
    };
    let new_optimizer = || AdamW::with_groups(&params, config, vec![Group::without_decay()]);
    let mut optimizer = new_optimizer()?;
    let schedule = Schedule::Cosine {
        t_max: 600,
        eta_min: 0.0,
    };

    let points: Vec<f32> = (0..64).map(|i| i as f32 / 32.0 * 3.1 - 3.1).collect();
    let x = Tensor::from_vec(points, (64, 1), &Device::Cpu)?;
    let y = x.sin()?;
    for step in 0..600 {
        if step == 300 {
            // What a checkpoint would hold: tensors with PyTorch's names, such as `fc1.weight.exp_avg`.
            let state = optimizer.state()?;
            optimizer = new_optimizer()?;
            optimizer.load_state(&state)?;
        }
        let loss = (net.forward(&x)? - &y)?.sqr()?.mean_all()?;
        optimizer.set_lr(schedule.lr(step, config.lr))?;
        optimizer.step_with(&loss.backward()?)?;
        if step % 100 == 0 || step == 599 {
            println!("step {step:>3}  loss {:.6}", loss.to_scalar::<f32>()?);
        }
    }
    Ok(())
}

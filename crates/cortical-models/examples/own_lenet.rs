//! A LeNet of one's own: a struct of layers, trained for a few steps on pictures of stripes.
//!
//! `cargo run -p cortical-models --example own_lenet`

use candle_core::{D, Device, Tensor};
use cortical_conv::Conv2d;
use cortical_dense::Linear;
use cortical_kernels::activation::Activation::Relu;
use cortical_neuron::loss::cross_entropy;
use cortical_neuron::{Layer, Params, Pass, Result, network};
use cortical_optim::{AdamW, AdamWConfig, Optimizer};
use cortical_tensor::{Rng, Seed};

const CLASSES: [&str; 3] = ["lying", "standing", "diagonal"];
const SIZE: usize = 12;

network! {
    /// Two convolutions, the second pooled, and two dense layers. Parameters are called `conv1.weight`, `conv1.bias`,
    /// ….
    struct LeNet {
        conv1: Conv2d = Conv2d::config(1, 8, 3).activation(Relu),
        conv2: Conv2d = Conv2d::config(8, 16, 3).activation(Relu).max_pool(2),
        fc1: Linear = Linear::config(16 * 4 * 4, 32).activation(Relu),
        fc2: Linear = Linear::config(32, CLASSES.len()),
    }
}

impl Layer for LeNet {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let x = self.conv1.forward(x, pass)?; // [n, 8, 10, 10]
        let x = self.conv2.forward(&x, pass)?; // [n, 16, 4, 4]
        let x = self.fc1.forward(&x.flatten_from(1)?, pass)?; // [n, 32]
        self.fc2.forward(&x, pass) // [n, classes]
    }
}

/// Pictures `[n, 1, 12, 12]` of stripes in noise, and which way the stripes go.
fn pictures(n: usize, rng: &mut Rng) -> Result<(Tensor, Tensor)> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for i in 0..n {
        let class = i % CLASSES.len();
        let shift = 4.0 * rng.uniform();
        for (row, column) in (0..SIZE * SIZE).map(|at| (at / SIZE, at % SIZE)) {
            let along = [row, column, row + column][class] as f64;
            let stripe = (std::f64::consts::FRAC_PI_2 * (along + shift)).sin();
            pixels.push((stripe + 0.5 * rng.normal()) as f32);
        }
        labels.push(class as u32);
    }
    let pixels = Tensor::from_vec(pixels, (n, 1, SIZE, SIZE), &Device::Cpu)?;
    Ok((pixels, Tensor::new(labels, &Device::Cpu)?))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let params = Params::new(&Device::Cpu, Seed(1));
    let net = LeNet::build(&params.root())?;
    println!("{} parameters", params.count());
    let config = AdamWConfig {
        lr: 3e-3,
        ..Default::default()
    };
    let mut optimizer = AdamW::new(&params, config)?;
    let (mut data, mut rng) = (params.rng("pictures"), params.rng("pass"));
    for step in 1..=40 {
        let (x, labels) = pictures(24, &mut data)?;
        let scores = net.forward(&x, &mut Pass::train(&mut rng))?;
        let loss = cross_entropy(&scores, &labels)?;
        params.backward(&loss)?; // a parameter that got no gradient would be an error that names it
        optimizer.step()?;
        if step % 10 == 0 {
            println!("step {step}: loss {:.4}", loss.to_scalar::<f32>()?);
        }
    }

    let (x, labels) = pictures(300, &mut data)?;
    let said = net.forward(&x, &mut Pass::eval())?.argmax(D::Minus1)?;
    let (said, labels) = (said.to_vec1::<u32>()?, labels.to_vec1::<u32>()?);
    let right = said.iter().zip(&labels).filter(|(a, b)| a == b).count();
    println!("{right} of 300 new pictures are classified right");
    if right < 285 {
        return Err("it should have learnt to tell stripes by now".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}

//! Reading a neuron: what its weights say about its inputs, before and after it has learnt something.
//!
//! `cargo run -p cortical-dense --example neuron_weights`

use candle_core::{Device, Tensor};
use cortical_dense::Linear;
use cortical_neuron::{Layer, Params, Pass, Result};
use cortical_tensor::Seed;

/// What the neuron reads.
const INPUTS: [&str; 3] = ["sun", "rain", "weekday"];

/// Prints every connection of a layer's first neuron, and returns its weights and its bias.
fn read(layer: &Linear) -> Result<(Vec<f32>, f32)> {
    // `None` would be a quantized layer's, whose weights are no parameter.
    let weight = layer.weight().expect("weights in single precision");
    let weights = weight.tensor().get(0)?.to_vec1::<f32>()?;
    let bias = match layer.bias() {
        Some(bias) => bias.tensor().to_vec1::<f32>()?[0],
        None => 0.0,
    };
    for (input, w) in INPUTS.iter().zip(&weights) {
        let does = match *w {
            0.0 => "is pruned",
            w if w.abs() < 0.05 => "hardly matters",
            w if w > 0.0 => "excites",
            _ => "inhibits",
        };
        println!("  {input:8} {w:+.3}  {does}");
    }
    println!("  bias     {bias:+.3}");
    Ok((weights, bias))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let params = Params::new(&Device::Cpu, Seed(1));
    let neuron = Linear::config(INPUTS.len(), 1).build(&params.at("harvest"))?;
    println!("{}", neuron.describe(&[INPUTS.len()])?);
    println!("drawn at random:");
    read(&neuron)?;

    // 1. A harvest that is 2 · sun − rain + ½, whatever the weekday.
    let (mut data, mut rng) = (params.rng("data"), params.rng("pass"));
    for _ in 0..200 {
        let x: Vec<f32> = (0..32 * 3).map(|_| data.normal() as f32).collect();
        let y: Vec<f32> = x.chunks(3).map(|x| 2.0 * x[0] - x[1] + 0.5).collect();
        let x = Tensor::from_vec(x, (32, 3), &Device::Cpu)?;
        let y = Tensor::from_vec(y, (32, 1), &Device::Cpu)?;
        let error = (neuron.forward(&x, &mut Pass::train(&mut rng))? - y)?;
        params.backward(&error.sqr()?.mean_all()?)?;
        // Gradient descent by hand; `cortical-optim` has optimizers.
        for param in params.trainable() {
            let grad = param.grad().expect("backward leaves no parameter out");
            param.set(&(param.tensor() - (grad * 0.1)?)?)?;
        }
        params.zero_grad();
    }
    println!("after 200 steps:");
    let (weights, bias) = read(&neuron)?;

    // 2. Without the connection that does not matter.
    params.prune(
        "harvest.weight",
        &Tensor::new(&[[1_u8, 1, 0]], &Device::Cpu)?,
    )?;
    println!("without the weekday:");
    read(&neuron)?;

    let learnt = weights.iter().chain([&bias]).zip([2.0, -1.0, 0.0, 0.5]);
    match learnt
        .into_iter()
        .all(|(got, want)| (got - want).abs() < 1e-2)
    {
        true => Ok(()),
        false => Err(format!("it should have found the rule: {weights:?}, {bias}").into()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_runs() {
        super::main().unwrap();
    }
}

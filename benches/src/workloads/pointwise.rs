//! Single operations that are over once the numbers have passed: activations, softmax, layer norm.

use super::{Size, normal};
use crate::error::Result;
use crate::measure::{Cost, F32, Job, Output, Workload};
use candle_core::{D, Tensor, Var};
use cortical_kernels::activation::Activation;
use cortical_tensor::ops::{activate, layer_norm, softmax};
use cortical_tensor::{Backward, GradSlot, Input, Op};

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let side = size.pick(4096, 8);
    let (rows, width) = (size.pick(8192, 4), size.pick(768, 12));
    vec![
        one("softmax_4096x4096", side * side, move || {
            let x = normal("x", &[side, side])?;
            Ok(move || -> Result<Output> { Ok(softmax(&x, D::Minus1)?.into()) })
        }),
        activation("relu_16m", side * side, Activation::Relu),
        activation("gelu_erf_16m", side * side, Activation::Gelu),
        norm(rows, width),
    ]
}

/// An operation with as many numbers in as out.
fn one<J: Job + 'static>(
    name: &str,
    numbers: usize,
    build: impl FnOnce() -> Result<J> + Send + 'static,
) -> Workload {
    let moved = 2.0 * numbers as f64;
    Workload::new(name, (moved * F32 / 1e9, "GB/s"), build)
        .times(2, 9)
        .cost(Cost::moving(moved))
}

fn activation(name: &str, numbers: usize, activation: Activation) -> Workload {
    one(name, numbers, move || {
        let x = normal("x", &[numbers])?;
        Ok(move || -> Result<Output> { Ok(activate(&x, activation)?.into()) })
    })
}

fn norm(rows: usize, width: usize) -> Workload {
    let numbers = (rows * width) as f64;
    let name = "layernorm_8192x768_fwdbwd";
    Workload::new(name, (4.0 * numbers * F32 / 1e9, "GB/s"), move || {
        let x = Var::from_tensor(&normal("x", &[rows, width])?)?;
        let weight = Var::ones(width, x.dtype(), x.device())?;
        let bias = Var::zeros(width, x.dtype(), x.device())?;
        let slots = [(); 3].map(|()| GradSlot::new());
        let upstream = normal("upstream", &[rows, width])?;
        Ok(move || -> Result<Output> {
            let [of_x, of_weight, of_bias] = &slots;
            slots.iter().for_each(|slot| slot.set(None));
            let y = layer_norm(
                Input::with_slot(&x, of_x),
                &[width],
                Some(Input::with_slot(&weight, of_weight)),
                Some(Input::with_slot(&bias, of_bias)),
                1e-5,
            )?;
            weighted_sum(&y, &upstream)?.backward()?;
            let d_weight = of_weight.get();
            Ok(d_weight.map_or(Output::Number(f64::NAN), Output::Tensor))
        })
    })
    .times(2, 9)
    // Forward reads and writes; backward reads the input and the gradient and writes one.
    .cost(Cost::moving(5.0 * numbers))
}

/// Hands a gradient to whatever is below, as the rest of a network would; its own value is nobody's concern.
struct Upstream(Tensor);

impl Op for Upstream {
    fn name(&self) -> &'static str {
        "upstream"
    }

    fn backward(&self, _: &Backward<'_>) -> cortical_tensor::Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(self.0.clone())])
    }
}

/// Σ y · upstream, of which only the gradient is wanted.
fn weighted_sum(y: &Tensor, upstream: &Tensor) -> Result<Tensor> {
    let value = cortical_tensor::Output::new(vec![0.0_f32], ());
    let inputs = vec![Input::from(y).operand()?];
    Ok(cortical_tensor::apply_one(
        Upstream(upstream.clone()),
        inputs,
        value,
    )?)
}

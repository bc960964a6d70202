//! One step of AdamW over ten million parameters in fifty tensors.

use super::{Size, normal};
use crate::error::Result;
use crate::measure::{Cost, Job, Output, Workload};
use candle_core::{Device, Tensor, Var};
use cortical_neuron::Params;
use cortical_optim::{AdamW, AdamWConfig, Optimizer};
use cortical_tensor::Seed;

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let (tensors, numbers) = (size.pick(50, 3), size.pick(200_000, 20));
    let all = (tensors * numbers) as f64;
    let step = Workload::new("adamw_10m", (all / 1e6, "M parameters/s"), move || {
        Stepping::new(tensors, numbers)
    });
    vec![step.times(2, 15).cost(Cost::default().and_adamw(all))]
}

struct Stepping {
    params: Params,
    optimizer: AdamW,
    gradients: Vec<Tensor>,
}

impl Stepping {
    fn new(tensors: usize, numbers: usize) -> Result<Self> {
        let params = Params::new(&Device::Cpu, Seed(0));
        let mut gradients = Vec::with_capacity(tensors);
        for i in 0..tensors {
            let value = normal(&format!("parameter {i}"), &[numbers])?;
            params.adopt(&format!("p{i}"), Var::from_tensor(&value)?)?;
            gradients.push(normal(&format!("gradient {i}"), &[numbers])?);
        }
        let optimizer = AdamW::new(&params, AdamWConfig::default())?;
        Ok(Self {
            params,
            optimizer,
            gradients,
        })
    }
}

impl Job for Stepping {
    /// A step uses the gradients up.
    fn prepare(&mut self) -> Result<()> {
        for (param, gradient) in self.params.all().iter().zip(&self.gradients) {
            param.slot().set(Some(gradient.clone()));
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Output> {
        self.optimizer.step()?;
        let first = self.params.get("p0")?;
        Ok(Output::Tensor(first.tensor().clone()))
    }
}

//! The workloads: one name, one amount of work, the same in every library's program.
//!
//! Inputs are random, seeded, and of fixed shape, in `f32` unless the name says otherwise. A training step is forward,
//! loss, backward, AdamW (learning rate 1e-3, weight decay 0.01) and reading the loss back as a number. Each family has
//! a file, in which a network is written as somebody would write it who only has the crates' documentation.

mod cnn;
mod conv;
mod files;
mod gemm;
mod llama;
mod lstm;
mod mlp;
mod optimizer;
mod pointwise;
mod resnet;
mod training;

use crate::error::{Error, Result};
use crate::measure::Workload;
use candle_core::{Device, Tensor};
use cortical_tensor::{Rng, Seed};

/// How much work there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// What is compared.
    Full,
    /// The same code on a few numbers, for tests.
    Tiny,
}

impl Size {
    /// A dimension: this many, or a few in tests.
    pub(crate) fn pick(self, full: usize, tiny: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Tiny => tiny,
        }
    }
}

/// Every workload, in the order of the tables.
#[must_use]
pub fn all(size: Size) -> Vec<Workload> {
    let families = [
        gemm::workloads,
        mlp::workloads,
        cnn::workloads,
        conv::workloads,
        resnet::workloads,
        lstm::workloads,
        llama::workloads,
        pointwise::workloads,
        optimizer::workloads,
        files::workloads,
    ];
    let workloads = families.iter().flat_map(|family| family(size));
    match size {
        Size::Full => workloads.collect(),
        Size::Tiny => workloads.map(|workload| workload.times(1, 1)).collect(),
    }
}

/// Those of `workloads` whose names contain one of `names`; all of them if there are no names.
///
/// # Errors
/// [`Error::UnknownName`] for a name that picks nothing.
pub fn chosen(workloads: Vec<Workload>, names: &[String]) -> Result<Vec<Workload>> {
    let picks = |workload: &Workload, name: &String| workload.name().contains(name.as_str());
    if let Some(got) = names
        .iter()
        .find(|name| !workloads.iter().any(|workload| picks(workload, name)))
    {
        return Err(Error::UnknownName {
            got: got.clone(),
            known: workloads.iter().map(|w| w.name().to_owned()).collect(),
        });
    }
    let wanted = |workload: &Workload| names.is_empty() || names.iter().any(|n| picks(workload, n));
    Ok(workloads.into_iter().filter(wanted).collect())
}

/// Samples of the standard normal distribution, the same ones for the same name.
pub(crate) fn normal(name: &str, shape: &[usize]) -> Result<Tensor> {
    let mut values = vec![0.0; shape.iter().product()];
    Rng::new(Seed(0), name).fill_normal(&mut values, 0.0, 1.0);
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// Numbers below `classes`, the same ones for the same name.
pub(crate) fn classes(name: &str, classes: usize, shape: &[usize]) -> Result<Tensor> {
    let mut rng = Rng::new(Seed(0), name);
    let count = shape.iter().product();
    let values: Vec<u32> = (0..count)
        .map(|_| rng.below(classes as u64) as u32)
        .collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

//! Whether a model computes what another implementation of it does, layer by layer.
//!
//! The reference is a safetensors file that `docs/dump.py` makes of a PyTorch model: `input`, `loss_weight`, `output`
//! and `output.NAME` of every module, `grad.NAME` of every parameter, of the loss `Σ output · loss_weight`. Each layer
//! is computed twice: as the model goes, and *alone*, from what the reference's layers before it have given. Alone,
//! errors do not add up over layers: the tolerance can be narrow, and every layer at fault is seen, not only the first.

mod names;
mod observe;
mod open;
mod reference;

pub use open::Verifiable;
pub use reference::Reference;

use crate::error::Result;
use candle_core::{DType, Tensor};
use cortical_neuron::Pass;
use names::Names;
use observe::{Comparer, Distance};
use std::collections::BTreeSet;

/// How far a layer may be from the reference: the norm of the difference by that of the reference.
pub const TOLERANCE: f64 = 1e-5;
/// How many times as far gradients may be, whose errors add up over layers.
pub const GRADIENT_FACTOR: f64 = 10.0;
/// The share of the largest gradient below which elements of another one do not count as its size: some gradients are 0
/// but for what rounding leaves, such as that of the keys' biases, which the softmax does not see.
const SMALL_GRADIENT: f64 = 1e-2;

/// A layer, or a parameter by its gradient, beside the reference's.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// The layer or parameter, by the model's name for it.
    pub name: String,
    /// `‖ours − reference‖ / ‖reference‖`; infinite where the shapes differ or only one of both is finite. Elements of
    /// a gradient count as at least a hundredth of those of the largest one, which rounding errors are relative to.
    pub error: f64,
    /// Of a layer, the same as the model goes, with the errors of all layers before it; of a gradient the same again.
    pub so_far: f64,
    /// Both shapes, where they differ: ours, and the reference's.
    pub shapes: Option<[Vec<usize>; 2]>,
}

/// What departs first.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Departure {
    /// The output of a layer, computed from what the reference's layers before it have given.
    Forward {
        /// The layer.
        layer: String,
        /// The layer that was compared before it and agrees: the fault lies in `layer` or between the two.
        behind: Option<String>,
    },
    /// The output of the model, though every layer agrees: the fault lies behind the last of them.
    Output {
        /// The last layer that was compared.
        behind: Option<String>,
    },
    /// The gradient of a parameter, though all outputs agree.
    Gradient {
        /// The parameter whose gradient departs first on the way back.
        parameter: String,
        /// The parameter that was compared before it on the way back and agrees: the fault lies in the backward pass
        /// between the two.
        ahead: Option<String>,
    },
}

/// What a comparison has found.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    /// How far outputs may be from the reference; gradients [`GRADIENT_FACTOR`] times as far.
    pub tolerance: f64,
    /// The layers that both have, in the order in which they compute.
    pub layers: Vec<Compared>,
    /// The output of the model as it goes.
    pub output: Option<Compared>,
    /// The parameters whose gradients both have, in the order of the way back.
    pub gradients: Vec<Compared>,
    /// What departs first; `None` if nothing does.
    pub departure: Option<Departure>,
    /// Modules of the reference that have no output here: containers and functions, or layers that are missing.
    pub missing_layers: Vec<String>,
    /// Layers here that the reference has no output of.
    pub extra_layers: Vec<String>,
    /// Parameters of the reference that are not here.
    pub missing_parameters: Vec<String>,
    /// Parameters here that the reference has no gradient of.
    pub extra_parameters: Vec<String>,
    /// What a reader should know.
    pub remarks: Vec<String>,
}

impl Verification {
    /// Whether the model does what the reference does: nothing departs, and no parameter is missing or extra.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.departure.is_none()
            && self.missing_parameters.is_empty()
            && self.extra_parameters.is_empty()
    }

    /// Whether a layer's error is too large.
    #[must_use]
    pub fn departs(&self, layer: &Compared) -> bool {
        exceeds(layer.error, self.tolerance)
    }

    /// Whether a gradient's error is too large.
    #[must_use]
    pub fn gradient_departs(&self, gradient: &Compared) -> bool {
        exceeds(gradient.error, self.tolerance * GRADIENT_FACTOR)
    }
}

/// Whether an error is too large; one that is not a number is.
fn exceeds(error: f64, tolerance: f64) -> bool {
    error.is_nan() || error > tolerance
}

/// Compares a model with a reference.
///
/// # Errors
/// An input that the model does not take, tensors that cannot be read.
pub fn verify(model: &Verifiable, reference: &Reference, tolerance: f64) -> Result<Verification> {
    let params = model.params();
    let names = Names::new(reference, params);
    let mut remarks = Vec::new();
    remarks.extend(names.remark());
    let input = reference.input()?;
    let mut free = Comparer::new(reference, &names, false);
    let output = model.forward(&input, &mut Pass::eval().observed_by(&mut free))?;
    let (free, extra) = free.finish()?;
    let mut alone = Comparer::new(reference, &names, true);
    let pass = Pass::eval().tracked();
    let scores = model.forward(&input, &mut pass.observed_by(&mut alone))?;
    let (mut layers, _) = alone.finish()?;
    for layer in &mut layers {
        let so_far = free.iter().find(|other| other.name == layer.name);
        layer.so_far = so_far.map_or(f64::NAN, |other| other.error);
    }
    // As it goes, and behind the last layer alone.
    let compared = |ours: &Tensor, theirs: &Tensor| -> Result<Compared> {
        let distance = Distance::new(ours, theirs)?;
        Ok(Compared {
            name: "output".to_owned(),
            error: distance.relative(0.0),
            so_far: distance.relative(0.0),
            shapes: distance.shapes,
        })
    };
    let output = match reference.output()? {
        None => None,
        Some(theirs) => Some(Compared {
            so_far: compared(&output, &theirs)?.error,
            ..compared(&scores, &theirs)?
        }),
    };
    let mut gradients = Vec::new();
    if let Some(weight) = reference.loss_weight()? {
        if weight.dims() == scores.dims() {
            let weight = weight.to_dtype(scores.dtype())?;
            let loss = (&scores * &weight)?.sum_all()?;
            params.zero_grad();
            params.backward_partial(&loss)?;
            let mut distances = Vec::new();
            for param in params.all().into_iter().rev() {
                let Some(theirs) = reference.gradient(&names.theirs(param.name()))? else {
                    continue;
                };
                let ours = match param.grad() {
                    Some(grad) => grad,
                    None => param.tensor().zeros_like()?,
                };
                distances.push((param.name().to_owned(), Distance::new(&ours, &theirs)?));
            }
            let sizes = distances.iter().map(|(_, distance)| distance.scale());
            let floor = SMALL_GRADIENT * sizes.fold(0.0, f64::max);
            gradients.extend(distances.into_iter().map(|(name, distance)| Compared {
                name,
                error: distance.relative(floor),
                so_far: distance.relative(floor),
                shapes: distance.shapes,
            }));
            params.zero_grad();
        } else {
            remarks.push(format!(
                "gradients are not compared: loss_weight has shape {:?}, and the model's output {:?}",
                weight.dims(),
                scores.dims()
            ));
        }
    }
    let seen: BTreeSet<String> = layers
        .iter()
        .map(|layer| names.theirs(&layer.name))
        .collect();
    let own: BTreeSet<String> = params
        .all()
        .iter()
        .map(|param| names.theirs(param.name()))
        .collect();
    let modules = reference.modules().filter(|name| !seen.contains(*name));
    let parameters = reference.parameters().filter(|name| !own.contains(*name));
    let theirs: BTreeSet<&str> = reference.parameters().collect();
    let has_gradients = !theirs.is_empty();
    let extra_parameters = params
        .all()
        .into_iter()
        .map(|param| param.name().to_owned());
    let extra_parameters =
        extra_parameters.filter(|name| has_gradients && !theirs.contains(&names.theirs(name)[..]));
    let mut found = Verification {
        tolerance,
        missing_layers: modules.map(str::to_owned).collect(),
        extra_layers: extra,
        missing_parameters: parameters.map(str::to_owned).collect(),
        extra_parameters: extra_parameters.collect(),
        layers,
        output,
        gradients,
        departure: None,
        remarks,
    };
    if found.layers.is_empty() {
        found.remarks.push(
            "no layer of the model has a name that the reference has: only outputs and gradients could be compared"
                .to_owned(),
        );
    }
    found.departure = departure(&found);
    Ok(found)
}

/// What departs first: on the way there, and if nothing does, on the way back.
fn departure(found: &Verification) -> Option<Departure> {
    let name = |at: Option<usize>, all: &[Compared]| {
        at.and_then(|at| all.get(at))
            .map(|compared| compared.name.clone())
    };
    let layers = &found.layers;
    if let Some(at) = layers.iter().position(|layer| found.departs(layer)) {
        return Some(Departure::Forward {
            layer: layers[at].name.clone(),
            behind: name(at.checked_sub(1), layers),
        });
    }
    if found
        .output
        .as_ref()
        .is_some_and(|output| found.departs(output))
    {
        return Some(Departure::Output {
            behind: name(layers.len().checked_sub(1), layers),
        });
    }
    let gradients = &found.gradients;
    let at = gradients
        .iter()
        .position(|gradient| found.gradient_departs(gradient))?;
    Some(Departure::Gradient {
        parameter: gradients[at].name.clone(),
        ahead: name(at.checked_sub(1), gradients),
    })
}

/// A tensor in double precision, flat.
fn flat(tensor: &Tensor) -> candle_core::Result<Vec<f64>> {
    tensor
        .detach()
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1()
}

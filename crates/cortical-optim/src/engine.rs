//! What all optimizers share: groups, steps, gradients that are missing, state by name.

use crate::algorithm::{Algorithm, Step, check};
use crate::buffer::{Buffer, has_master, state_dtype};
use crate::clip::{Norm, check_max_norm};
use crate::state::Reader;
use crate::{Error, Group, MissingGradient, Optimizer, Result, update};
use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};
use cortical_kernels::optimizer::clip;
use cortical_kernels::{isa, parallel};
use cortical_neuron::{Param, Params};
use std::collections::{HashMap, HashSet};

/// An optimizer: an [`Algorithm`] applied to the parameters of a network.
///
/// [`AdamW`](crate::AdamW), [`Sgd`](crate::Sgd) and the others are names for it.
///
/// Parameters in half precision have a copy in single precision among their states, `master_param`, which is what the
/// steps move: the parameter is that copy, rounded, so small steps add up. A parameter that was set to other values is
/// copied anew.
#[derive(Debug)]
pub struct Engine<A> {
    params: Params,
    entries: Vec<Entry>,
    groups: Vec<GroupRates<A>>,
    lr: f64,
    /// In place of the groups' own momenta, where a schedule moves it.
    momentum: Option<f64>,
    missing: MissingGradient,
}

/// The hyperparameters of one group, with the factor of the learning rate.
#[derive(Debug)]
struct GroupRates<A> {
    algorithm: A,
    lr_scale: f64,
}

/// A parameter and its state.
#[derive(Debug)]
struct Entry {
    param: Param,
    group: usize,
    /// Steps made so far.
    steps: u64,
    /// The product of their scheduled momenta.
    momentum_product: f64,
    /// Empty before the first step.
    buffers: Vec<Buffer>,
    /// The gradient of the step that is being made, and what became of the step.
    grad: Option<Tensor>,
    outcome: Result<()>,
}

/// The states' names that every optimizer has, and that those with a scheduled momentum have.
const STEP: &str = "step";
const MOMENTUM_PRODUCT: &str = "mu_product";
/// The name of the copy in single precision, the last state of a parameter in half precision.
const MASTER: &str = "master_param";

impl<A: Algorithm> Engine<A> {
    /// An optimizer over all parameters, in one group.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`], [`Error::DType`], [`Error::SharedVariable`].
    pub fn new(params: &Params, config: A) -> Result<Self> {
        Self::with_groups(params, config, Vec::new())
    }

    /// An optimizer in which the parameters of each group have hyperparameters of their own.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::EmptyGroup`].
    pub fn with_groups(params: &Params, mut config: A, groups: Vec<Group>) -> Result<Self> {
        config.validate()?;
        let all = params.all();
        check_variables(&all)?;
        let lr = *config.rates().lr;
        // The last one is of those that no group picks.
        let mut rates = Vec::with_capacity(groups.len() + 1);
        for group in &groups {
            let (lr_scale, weight_decay) = group.overrides()?;
            let mut algorithm = config.clone();
            if let Some(weight_decay) = weight_decay {
                *algorithm.rates().weight_decay = weight_decay;
            }
            rates.push(GroupRates {
                algorithm,
                lr_scale,
            });
        }
        rates.push(GroupRates {
            algorithm: config,
            lr_scale: 1.0,
        });
        let group_of = |param: &Param| groups.iter().position(|group| group.holds(param));
        let entries: Vec<Entry> = all
            .into_iter()
            .map(|param| Entry {
                group: group_of(&param).unwrap_or(groups.len()),
                param,
                steps: 0,
                momentum_product: 1.0,
                buffers: Vec::new(),
                grad: None,
                outcome: Ok(()),
            })
            .collect();
        for entry in &entries {
            let accepts = rates[entry.group].algorithm.accepts(entry.param.dims());
            if entry.param.is_trainable() && !accepts {
                return Err(Error::Shape {
                    algorithm: A::NAME,
                    name: entry.param.name().to_string(),
                    got: entry.param.dims().to_vec(),
                });
            }
        }
        for (i, group) in groups.iter().enumerate() {
            if entries.iter().all(|entry| entry.group != i) {
                return Err(Error::EmptyGroup {
                    group: group.name().to_string(),
                    count: entries.len(),
                });
            }
        }
        Ok(Self {
            params: params.clone(),
            entries,
            groups: rates,
            lr,
            momentum: None,
            missing: MissingGradient::default(),
        })
    }

    /// Takes the gradients in, checked and ready for the update, or none of them.
    fn take_gradients(&mut self, grad_of: impl Fn(&Param) -> Option<Tensor>) -> Result<()> {
        self.check_complete()?;
        let mut missing = Vec::new();
        let mut grads = Vec::with_capacity(self.entries.len());
        let variables: HashSet<usize> = self
            .entries
            .iter()
            .map(|entry| storage_address(entry.param.var()))
            .collect();
        for Entry { param, .. } in &self.entries {
            let grad = if param.is_trainable() {
                grad_of(param)
            } else {
                None
            };
            if param.is_trainable() && grad.is_none() {
                missing.push(param.name().to_string());
            }
            grads.push(match grad {
                Some(grad) => Some(ready(param, &grad, &variables)?),
                None => None,
            });
        }
        if !missing.is_empty() && self.missing == MissingGradient::Refuse {
            return Err(Error::MissingGradient { names: missing });
        }
        for (entry, grad) in self.entries.iter_mut().zip(grads) {
            entry.grad = grad;
        }
        Ok(())
    }

    /// Empties the slots of the gradients that were taken in.
    fn empty_slots(&self) {
        for entry in self.entries.iter().filter(|entry| entry.grad.is_some()) {
            entry.param.slot().set(None);
        }
    }

    /// Refuses parameters that were made after this optimizer.
    fn check_complete(&self) -> Result<()> {
        let all = self.params.all();
        if all.len() == self.entries.len() {
            return Ok(());
        }
        let new = all.iter().skip(self.entries.len());
        Err(Error::NewParameters {
            names: new.map(|p| p.name().to_string()).collect(),
        })
    }

    /// Moves every parameter whose gradient was taken in, along its gradient times `grad_scale`.
    fn move_all(&mut self, grad_scale: f64) -> Result<()> {
        let algorithms: Vec<A> = self
            .groups
            .iter()
            .map(|group| {
                let mut algorithm = group.algorithm.clone();
                *algorithm.rates().lr = self.lr * group.lr_scale;
                if let (Some(set), Some(momentum)) = (self.momentum, algorithm.rates().momentum) {
                    *momentum = set;
                }
                algorithm
            })
            .collect();
        let fallback = cortical_tensor::is_fallback(self.params.device());
        let isa = isa::current();
        let advance = |entry: &mut Entry| {
            if let Some(grad) = entry.grad.take() {
                let algorithm = &algorithms[entry.group];
                // The limit on instruction sets belongs to the calling thread and is handed on.
                entry.outcome = isa::limited_to(isa, || {
                    entry.advance(algorithm, (&grad, grad_scale), fallback)
                });
            }
        };
        let elements: usize = self.entries.iter().map(|entry| entry.param.count()).sum();
        if fallback || elements <= parallel::TASK_ELEMENTS {
            self.entries.iter_mut().for_each(advance);
        } else {
            parallel::chunks_mut(&mut self.entries, 1, |_, entries| {
                entries.iter_mut().for_each(advance);
            });
        }
        self.entries
            .iter_mut()
            .try_for_each(|entry| std::mem::replace(&mut entry.outcome, Ok(())))
    }
}

impl Entry {
    /// One step of this parameter.
    fn advance<A: Algorithm>(
        &mut self,
        algorithm: &A,
        (grad, grad_scale): (&Tensor, f64),
        fallback: bool,
    ) -> Result<()> {
        let var = self.param.var();
        if self.buffers.is_empty() {
            let states = algorithm.state_names(var.dims()).len();
            let (len, value) = (var.elem_count(), algorithm.initial_state());
            self.buffers = vec![Buffer::filled(var.dtype(), len, value); states];
            if has_master(var.dtype()) {
                self.buffers.push(master_of(&self.param)?);
            }
        }
        let t = self.steps.saturating_add(1);
        let step = Step {
            t,
            momentum_product: self.momentum_product,
            grad_scale,
        };
        let (param, buffers) = (&self.param, &mut self.buffers);
        let moved = param.update(|var| {
            let run = if fallback {
                update::fallback
            } else {
                update::fused
            };
            Ok(run(algorithm, step, var, grad, buffers))
        })?;
        moved?;
        self.steps = t;
        self.momentum_product *= algorithm.scheduled_momentum(t).unwrap_or(1.0);
        Ok(())
    }
}

impl<A: Algorithm> Optimizer for Engine<A> {
    fn name(&self) -> &'static str {
        A::NAME
    }

    fn step(&mut self) -> Result<()> {
        self.take_gradients(Param::grad)?;
        self.empty_slots();
        self.move_all(1.0)
    }

    fn step_clipped(&mut self, max_norm: f64, norm: Norm) -> Result<f64> {
        check_max_norm("step_clipped", max_norm)?;
        self.take_gradients(Param::grad)?;
        let grads = self.entries.iter().filter_map(|entry| {
            let grad = entry.grad.as_ref()?;
            Some((entry.param.name(), grad))
        });
        let total = norm.of(grads)?;
        self.empty_slots();
        self.move_all(clip::coefficient(total, max_norm))?;
        Ok(total)
    }

    fn step_scaled(&mut self, scale: f64) -> Result<()> {
        check(A::NAME, "scale", "a finite number", true, scale)?;
        self.take_gradients(Param::grad)?;
        self.empty_slots();
        self.move_all(scale)
    }

    fn step_with(&mut self, grads: &GradStore) -> Result<()> {
        self.take_gradients(|param| grads.get(param.var()).cloned())?;
        self.move_all(1.0)
    }

    fn lr(&self) -> f64 {
        self.lr
    }

    fn set_lr(&mut self, lr: f64) -> Result<()> {
        check(A::NAME, "lr", "a number from 0 up", lr >= 0.0, lr)?;
        self.lr = lr;
        Ok(())
    }

    fn set_momentum(&mut self, momentum: f64) -> Result<()> {
        let expected = "at least 0 and below 1";
        let holds = (0.0..1.0).contains(&momentum);
        check(A::NAME, "momentum", expected, holds, momentum)?;
        for group in &mut self.groups {
            let Some(own) = group.algorithm.rates().momentum else {
                return Err(Error::NoMomentum { algorithm: A::NAME });
            };
            // A rule that has none keeps no state for it.
            let expected = "above 0 where a schedule moves it";
            check(A::NAME, "momentum", expected, *own > 0.0, *own)?;
        }
        self.momentum = Some(momentum);
        Ok(())
    }

    fn set_missing_gradient(&mut self, policy: MissingGradient) {
        self.missing = policy;
    }

    fn steps(&self) -> u64 {
        let steps = self.entries.iter().map(|entry| entry.steps);
        steps.max().unwrap_or(0)
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut state = Vec::new();
        for entry in &self.entries {
            let algorithm = &self.groups[entry.group].algorithm;
            let (param, device) = (&entry.param, self.params.device());
            let mut push = |name: &str, tensor| state.push((named(param, name), tensor));
            let steps = i64::try_from(entry.steps).unwrap_or(i64::MAX);
            push(STEP, Tensor::new(steps, &candle_core::Device::Cpu)?);
            let mut names = algorithm.state_names(param.dims());
            names.push(MASTER);
            for (name, buffer) in names.iter().zip(&entry.buffers) {
                push(name, buffer.to_tensor(param.dims(), device)?);
            }
            if algorithm.scheduled_momentum(1).is_some() && entry.steps > 0 {
                let product = Tensor::new(entry.momentum_product, &candle_core::Device::Cpu)?;
                push(MOMENTUM_PRODUCT, product);
            }
        }
        Ok(state)
    }

    fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        let mut reader = Reader::new(state);
        let mut loaded = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            let algorithm = &self.groups[entry.group].algorithm;
            loaded.push(read_entry(&mut reader, algorithm, &entry.param)?);
        }
        reader.finish()?;
        for (entry, loaded) in self.entries.iter_mut().zip(loaded) {
            (entry.steps, entry.momentum_product, entry.buffers) = loaded;
        }
        Ok(())
    }
}

/// Steps, product of momenta and states of one parameter; what does not fit is noted by the reader.
fn read_entry<A: Algorithm>(
    reader: &mut Reader<'_>,
    algorithm: &A,
    param: &Param,
) -> Result<(u64, f64, Vec<Buffer>)> {
    let steps = reader.count(named(param, STEP))?;
    if steps == Some(0) {
        return Ok((0, 1.0, Vec::new()));
    }
    let dtype = state_dtype(param.dtype());
    let mut buffers = Vec::new();
    for name in algorithm.state_names(param.dims()) {
        if let Some(tensor) = reader.take(named(param, name), param.dims(), dtype) {
            let tensor = tensor.detach().to_device(param.var().device())?;
            buffers.push(Buffer::Tensor(tensor));
        }
    }
    if has_master(param.dtype()) {
        // States from before there were copies have none.
        buffers.push(
            match reader.take_if_there(named(param, MASTER), param.dims(), dtype) {
                Some(tensor) => Buffer::Tensor(tensor.detach().to_device(param.var().device())?),
                None => master_of(param)?,
            },
        );
    }
    let mut product = 1.0;
    if algorithm.scheduled_momentum(1).is_some()
        && let Some(tensor) = reader.take(named(param, MOMENTUM_PRODUCT), &[], DType::F64)
    {
        product = tensor.to_scalar()?;
    }
    // Without a count the reader refuses the whole state at its end.
    Ok((steps.unwrap_or(0), product, buffers))
}

/// A copy of a parameter in single precision.
fn master_of(param: &Param) -> Result<Buffer> {
    Ok(Buffer::Tensor(param.tensor().to_dtype(DType::F32)?.copy()?))
}

/// The name of a parameter's state.
fn named(param: &Param, state: &str) -> String {
    format!("{}.{state}", param.name())
}

/// Where a tensor's storage lies, which tells tensors that share it.
fn storage_address(tensor: &Tensor) -> usize {
    let (storage, _) = tensor.storage_and_layout();
    std::ptr::from_ref(&*storage).addr()
}

/// Refuses variables that cannot be trained and those that are there twice.
fn check_variables(params: &[Param]) -> Result<()> {
    let mut names = HashMap::new();
    for param in params {
        let got = param.dtype();
        if !matches!(got, DType::F32 | DType::F64 | DType::F16 | DType::BF16) {
            let name = param.name().to_string();
            return Err(Error::DType { name, got });
        }
        if let Some(first) = names.insert(storage_address(param.var()), param.name()) {
            return Err(Error::SharedVariable {
                first: first.to_string(),
                second: param.name().to_string(),
            });
        }
    }
    Ok(())
}

/// The gradient as an update needs it: of the parameter's shape and dtype, contiguous, and not in the storage of a
/// variable, which changes while it is read.
fn ready(param: &Param, grad: &Tensor, variables: &HashSet<usize>) -> Result<Tensor> {
    if grad.dims() != param.dims() || grad.dtype() != param.dtype() {
        let describe = |dims: &[usize], dtype: DType| format!("{dims:?} {dtype:?}");
        return Err(Error::Gradient {
            name: param.name().to_string(),
            expected: describe(param.dims(), param.dtype()),
            got: describe(grad.dims(), grad.dtype()),
        });
    }
    let grad = grad.contiguous()?;
    if variables.contains(&storage_address(&grad)) {
        return Ok(grad.copy()?);
    }
    Ok(grad)
}

#[cfg(test)]
mod tests;

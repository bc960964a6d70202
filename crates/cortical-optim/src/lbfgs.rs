//! L-BFGS: for small problems without noise, where a step may ask for the loss more than once.

mod search;

use crate::algorithm::{check, not_negative};
use crate::state::Reader;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use cortical_neuron::{Param, Params};
use search::{Point, strong_wolfe};
use serde::{Deserialize, Serialize};

/// How [`Lbfgs`] finds the length of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineSearch {
    /// Not at all: the learning rate is the length.
    #[default]
    Fixed,
    /// By bracketing and cubic interpolation until the strong Wolfe conditions hold.
    StrongWolfe,
}

/// Hyperparameters of [`Lbfgs`]; the defaults are PyTorch's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LbfgsConfig {
    /// Length of a step, or the first guess of a line search, 1.
    pub lr: f64,
    /// Directions taken in one call of [`Lbfgs::step`], 20.
    pub max_iter: u64,
    /// Evaluations of the loss in one call; 5/4 of `max_iter` when absent.
    pub max_eval: Option<u64>,
    /// A largest gradient at which a call ends, 1e-7.
    pub tolerance_grad: f64,
    /// A change of the loss or of the parameters at which a call ends, 1e-9.
    pub tolerance_change: f64,
    /// How many past steps are remembered, 100.
    pub history_size: usize,
    /// How the length of a step is found.
    pub line_search_fn: LineSearch,
    /// Whether to climb instead of descend.
    pub maximize: bool,
}

impl Default for LbfgsConfig {
    fn default() -> Self {
        Self {
            lr: 1.0,
            max_iter: 20,
            max_eval: None,
            tolerance_grad: 1e-7,
            tolerance_change: 1e-9,
            history_size: 100,
            line_search_fn: LineSearch::Fixed,
            maximize: false,
        }
    }
}

/// What one step left behind: the change of the gradient, the move, and the inverse of their product.
#[derive(Clone, Debug)]
struct Memory {
    d_gradient: Vec<f64>,
    step: Vec<f64>,
    rho: f64,
}

/// What the steps so far have built up.
#[derive(Clone, Debug, Default)]
struct Past {
    iterations: u64,
    evaluations: u64,
    direction: Vec<f64>,
    length: f64,
    memory: Vec<Memory>,
    h_diag: f64,
    gradient: Vec<f64>,
    loss: f64,
}

/// L-BFGS: Newton's method with an inverse Hessian built from the last steps.
///
/// ```text
/// s = pₜ − pₜ₋₁,  y = gₜ − gₜ₋₁,  ρ = 1 / yᵀs        (remembered where yᵀs > 10⁻¹⁰)
/// q ← −g;  for the memories from new to old:  α = ρ sᵀq,  q ← q − α y
/// d ← (yᵀs / yᵀy) q;  from old to new:  d ← d + s (α − ρ yᵀd)
/// p ← p + t d
/// ```
///
/// It moves all trainable parameters as one vector, kept in double precision, and needs the loss of the same data each
/// time it asks. It keeps `2 · history_size` vectors of all parameters, so it is for small problems.
///
/// # Source
/// Liu and Nocedal, "On the limited memory BFGS method for large scale optimization" (1989); Nocedal and Wright,
/// "Numerical optimization" (2006), algorithms 3.5, 3.6, 7.4 and 7.5.
///
/// # Example
/// ```
/// # use candle_core::{Device, Var};
/// # use cortical_neuron::Params;
/// # use cortical_tensor::Seed;
/// use cortical_optim::{Lbfgs, LbfgsConfig};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let x = Var::new(&[3.0_f64, -2.0], &Device::Cpu)?;
/// let params = Params::new(&Device::Cpu, Seed(0));
/// params.adopt("x", x.clone())?;
/// let mut optimizer = Lbfgs::new(&params, LbfgsConfig::default())?;
/// optimizer.step(|| -> Result<f64, Box<dyn std::error::Error>> {
///     let loss = x.affine(1.0, -1.0)?.sqr()?.sum_all()?;
///     params.backward(&loss)?;
///     Ok(loss.to_scalar()?)
/// })?;
/// assert!((x.to_vec1::<f64>()?[0] - 1.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Lbfgs {
    params: Params,
    config: LbfgsConfig,
    past: Past,
}

const NAME: &str = "LBFGS";

impl Lbfgs {
    /// An optimizer over all parameters that are trainable when it steps.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`].
    pub fn new(params: &Params, config: LbfgsConfig) -> Result<Self> {
        not_negative(
            NAME,
            &[
                ("lr", config.lr),
                ("tolerance_grad", config.tolerance_grad),
                ("tolerance_change", config.tolerance_change),
            ],
        )?;
        let history = config.history_size as f64;
        check(
            NAME,
            "history_size",
            "at least 1",
            config.history_size > 0,
            history,
        )?;
        Ok(Self {
            params: params.clone(),
            config,
            past: Past::default(),
        })
    }

    /// Up to `max_iter` directions. `closure` computes the loss at the parameters as they are and calls
    /// `params.backward`; the slots are emptied before each call. Returns the loss before the first move.
    ///
    /// # Errors
    /// The closure's; [`Error::MissingGradient`] if it left a trainable parameter without one. The parameters are then
    /// where the last evaluation was.
    pub fn step<E: From<Error>>(
        &mut self,
        mut closure: impl FnMut() -> Result<f64, E>,
    ) -> Result<f64, E> {
        let config = self.config;
        let max_eval = config.max_eval.unwrap_or(config.max_iter * 5 / 4);
        let trained = self.params.trainable();
        let (first_loss, mut gradient) = self.evaluate(&trained, &mut closure)?;
        let sign = if config.maximize { -1.0 } else { 1.0 };
        let mut loss = sign * first_loss;
        let mut evaluations = 1;
        if largest(&gradient) <= config.tolerance_grad {
            return Ok(first_loss);
        }
        for iteration in 1..=config.max_iter {
            self.past.iterations += 1;
            self.find_direction(&gradient);
            let (direction, last_loss) = (self.past.direction.clone(), loss);
            (self.past.gradient, self.past.loss) = (gradient.clone(), loss);
            let first = self.past.iterations == 1;
            let sum: f64 = gradient.iter().map(|g| g.abs()).sum();
            let scale = if first { (1.0 / sum).min(1.0) } else { 1.0 };
            self.past.length = scale * config.lr;
            let slope = dot(&gradient, &direction);
            if slope > -config.tolerance_change {
                break;
            }
            let mut new_evaluations = 0;
            if config.line_search_fn == LineSearch::StrongWolfe {
                let start = read(&trained)?;
                let here = Point {
                    loss,
                    gradient: gradient.clone(),
                    slope,
                };
                let budget = max_eval.saturating_sub(evaluations);
                let limits = (budget, config.tolerance_change, largest(&direction));
                let found = strong_wolfe(here, self.past.length, limits, |length| {
                    write(&trained, &start, length, &direction)?;
                    let (loss, gradient) = self.evaluate(&trained, &mut closure)?;
                    let slope = dot(&gradient, &direction);
                    Ok::<_, E>(Point {
                        loss: sign * loss,
                        gradient,
                        slope,
                    })
                })?;
                write(&trained, &start, found.length, &direction)?;
                (self.past.length, new_evaluations) = (found.length, found.evaluations);
                (loss, gradient) = (found.point.loss, found.point.gradient);
            } else {
                write(&trained, &read(&trained)?, self.past.length, &direction)?;
                // After the last move nobody asks any more.
                if iteration != config.max_iter {
                    let evaluated = self.evaluate(&trained, &mut closure)?;
                    (loss, gradient) = (sign * evaluated.0, evaluated.1);
                    new_evaluations = 1;
                }
            }
            evaluations += new_evaluations;
            self.past.evaluations += new_evaluations;
            if evaluations >= max_eval
                || largest(&gradient) <= config.tolerance_grad
                || largest(&direction) * self.past.length.abs() <= config.tolerance_change
                || (loss - last_loss).abs() < config.tolerance_change
            {
                break;
            }
        }
        self.past.evaluations += 1;
        Ok(first_loss)
    }

    /// The loss and all gradients in one row, turned to descend.
    fn evaluate<E: From<Error>>(
        &self,
        trained: &[Param],
        closure: &mut impl FnMut() -> Result<f64, E>,
    ) -> Result<(f64, Vec<f64>), E> {
        self.params.zero_grad();
        let loss = closure()?;
        let mut all = Vec::new();
        let mut missing = Vec::new();
        for param in trained {
            match param.grad() {
                Some(grad) => all.extend(flat(&grad)?),
                None => missing.push(param.name().to_string()),
            }
        }
        if !missing.is_empty() {
            return Err(Error::MissingGradient { names: missing }.into());
        }
        if self.config.maximize {
            all.iter_mut().for_each(|g| *g = -*g);
        }
        Ok((loss, all))
    }

    /// The direction from here, with the last step remembered first.
    fn find_direction(&mut self, gradient: &[f64]) {
        let past = &mut self.past;
        let down: Vec<f64> = gradient.iter().map(|g| -g).collect();
        // A network that was frozen or thawed meanwhile is another problem.
        if past.iterations == 1 || past.gradient.len() != gradient.len() {
            past.iterations = 1;
            (past.direction, past.h_diag) = (down, 1.0);
            past.memory.clear();
            return;
        }
        let pairs = gradient.iter().zip(&past.gradient);
        let y: Vec<f64> = pairs.map(|(new, old)| new - old).collect();
        let s: Vec<f64> = past.direction.iter().map(|d| d * past.length).collect();
        let ys = dot(&y, &s);
        if ys > 1e-10 {
            if past.memory.len() == self.config.history_size {
                past.memory.remove(0);
            }
            past.h_diag = ys / dot(&y, &y);
            past.memory.push(Memory {
                d_gradient: y,
                step: s,
                rho: 1.0 / ys,
            });
        }
        let mut q = down;
        let mut alphas = Vec::with_capacity(past.memory.len());
        for memory in past.memory.iter().rev() {
            let alpha = dot(&memory.step, &q) * memory.rho;
            add_scaled(&mut q, -alpha, &memory.d_gradient);
            alphas.push(alpha);
        }
        q.iter_mut().for_each(|q| *q *= past.h_diag);
        for (memory, alpha) in past.memory.iter().zip(alphas.into_iter().rev()) {
            let beta = dot(&memory.d_gradient, &q) * memory.rho;
            add_scaled(&mut q, alpha - beta, &memory.step);
        }
        past.direction = q;
    }

    /// How often the loss was asked for.
    #[must_use]
    pub fn evaluations(&self) -> u64 {
        self.past.evaluations
    }

    /// Everything that the next steps depend on but the parameters, under PyTorch's names: `n_iter`, `func_evals`, and
    /// from the first step on `d`, `t`, `H_diag`, `prev_flat_grad`, `prev_loss`, `ro` and the matrices `old_dirs` and
    /// `old_stps`, a row a memory.
    ///
    /// # Errors
    /// candle's, when a tensor cannot be made.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let past = &self.past;
        let cpu = &Device::Cpu;
        let count = |n: u64| Tensor::new(i64::try_from(n).unwrap_or(i64::MAX), cpu);
        let mut state = vec![
            ("n_iter", count(past.iterations)?),
            ("func_evals", count(past.evaluations)?),
        ];
        if past.iterations > 0 {
            let rows = |part: fn(&Memory) -> &Vec<f64>| {
                let all: Vec<f64> = past.memory.iter().flat_map(part).copied().collect();
                Tensor::from_vec(all, (past.memory.len(), past.gradient.len()), cpu)
            };
            let rho: Vec<f64> = past.memory.iter().map(|m| m.rho).collect();
            state.extend([
                ("d", Tensor::new(&past.direction[..], cpu)?),
                ("t", Tensor::new(past.length, cpu)?),
                ("H_diag", Tensor::new(past.h_diag, cpu)?),
                ("prev_flat_grad", Tensor::new(&past.gradient[..], cpu)?),
                ("prev_loss", Tensor::new(past.loss, cpu)?),
                ("old_dirs", rows(|m| &m.d_gradient)?),
                ("old_stps", rows(|m| &m.step)?),
                ("ro", Tensor::new(&rho[..], cpu)?),
            ]);
        }
        let named = state.into_iter().map(|(name, t)| (name.to_string(), t));
        Ok(named.collect())
    }

    /// Puts the state back, whole or not at all.
    ///
    /// # Errors
    /// [`Error::State`] lists everything that is missing, unknown or of another shape or dtype.
    pub fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        let mut reader = Reader::new(state);
        let iterations = reader.count("n_iter".to_string())?.unwrap_or(0);
        let evaluations = reader.count("func_evals".to_string())?.unwrap_or(0);
        let mut past = Past {
            iterations,
            evaluations,
            ..Past::default()
        };
        if iterations > 0 {
            let n = self.params.trainable().iter().map(Param::count).sum();
            let rho = state.iter().find(|(name, _)| name == "ro");
            let memories = rho.map_or(0, |(_, rho)| rho.elem_count());
            let mut take = |name: &str, dims: &[usize]| -> Result<Vec<f64>> {
                let tensor = reader.take(name.to_string(), dims, DType::F64);
                tensor.map_or(Ok(Vec::new()), |t| Ok(t.flatten_all()?.to_vec1()?))
            };
            past.direction = take("d", &[n])?;
            past.length = take("t", &[])?.first().copied().unwrap_or(0.0);
            past.h_diag = take("H_diag", &[])?.first().copied().unwrap_or(1.0);
            past.gradient = take("prev_flat_grad", &[n])?;
            past.loss = take("prev_loss", &[])?.first().copied().unwrap_or(0.0);
            let d_gradients = take("old_dirs", &[memories, n])?;
            let steps = take("old_stps", &[memories, n])?;
            let rho = take("ro", &[memories])?;
            let row = |all: &[f64], i: usize| all.get(i * n..(i + 1) * n).map(<[f64]>::to_vec);
            past.memory = rho
                .into_iter()
                .enumerate()
                .filter_map(|(i, rho)| {
                    Some(Memory {
                        d_gradient: row(&d_gradients, i)?,
                        step: row(&steps, i)?,
                        rho,
                    })
                })
                .collect();
        }
        reader.finish()?;
        self.past = past;
        Ok(())
    }
}

fn flat(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor
        .detach()
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1()?)
}

/// All parameters in one row.
fn read(params: &[Param]) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for param in params {
        all.extend(flat(param.tensor())?);
    }
    Ok(all)
}

/// Puts `start + length · direction` into the parameters.
fn write(params: &[Param], start: &[f64], length: f64, direction: &[f64]) -> Result<()> {
    let mut from = 0;
    for param in params {
        let range = from..from + param.count();
        let pairs = start[range.clone()].iter().zip(&direction[range.clone()]);
        let moved: Vec<f64> = pairs.map(|(x, d)| x + length * d).collect();
        let moved = Tensor::from_vec(moved, param.dims(), param.var().device())?;
        let moved = moved.to_dtype(param.dtype())?;
        param.update(|var| Ok(var.set(&moved)))??;
        from = range.end;
    }
    Ok(())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `x ← x + scale · y`
fn add_scaled(x: &mut [f64], scale: f64, y: &[f64]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += scale * y;
    }
}

/// The largest magnitude.
fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |max: f64, x| max.max(x.abs()))
}

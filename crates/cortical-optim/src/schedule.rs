//! Learning rate schedules: pure functions of the step, so that resuming needs nothing but the step.
//!
//! [`Schedule::lr`] gives the learning rate in force at a step, counted from 0. A schedule is plain data that a recipe can hold;
//! the same names and numbers as in PyTorch give the same learning rates.
//!
//! ```
//! use cortical_optim::Schedule;
//! let schedule = Schedule::WarmupCosine { warmup_steps: 10, total_steps: 110, min_factor: 0.0 };
//! schedule.validate().unwrap();
//! assert_eq!(schedule.lr(0, 1.0), 0.1);
//! assert_eq!(schedule.lr(9, 1.0), 1.0);
//! assert_eq!(schedule.lr(60, 1.0), 0.5);
//! assert_eq!(schedule.lr(110, 1.0), 0.0);
//! ```

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How the learning rate follows the step `t = 0, 1, 2 …` from the base learning rate `η`.
///
/// In a recipe the variant is the field `name`: `{ name = "cosine", t_max = 100 }`; PyTorch's class names will do as well. Fields that may be left out have PyTorch's
/// defaults, but for [`Constant`](Self::Constant), which then is constant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Schedule {
    /// `η`, or with `total_iters` above 0: `η · factor` before that step. PyTorch's `ConstantLR`.
    #[serde(alias = "ConstantLR")]
    Constant {
        /// Share of the base learning rate in force at first, 0 to 1.
        #[serde(default = "one")]
        factor: f64,
        /// Steps for which it is in force.
        #[serde(default)]
        total_iters: u64,
    },
    /// No schedule: always `η`.
    #[default]
    None,
    /// `η · gamma^⌊t / step_size⌋`. PyTorch's `StepLR`.
    #[serde(alias = "StepLR")]
    Step {
        /// Steps between two falls, at least 1.
        step_size: u64,
        /// Factor of a fall.
        #[serde(default = "tenth")]
        gamma: f64,
    },
    /// `η · gamma^(number of milestones ≤ t)`. PyTorch's `MultiStepLR`.
    #[serde(alias = "MultiStepLR")]
    MultiStep {
        /// Steps at which the learning rate falls, in any order; one named twice counts twice.
        milestones: Vec<u64>,
        /// Factor of a fall.
        #[serde(default = "tenth")]
        gamma: f64,
    },
    /// `η · gamma^t`. PyTorch's `ExponentialLR`.
    #[serde(alias = "ExponentialLR")]
    Exponential {
        /// Factor of each step.
        gamma: f64,
    },
    /// `eta_min + (η − eta_min) (1 + cos(π t / t_max)) / 2`, which rises again after `t_max`. PyTorch's `CosineAnnealingLR`.
    ///
    /// # Source
    /// Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), equation 5.
    #[serde(alias = "CosineAnnealingLR")]
    Cosine {
        /// Steps from the highest to the lowest learning rate, at least 1.
        #[serde(alias = "T_max")]
        t_max: u64,
        /// The lowest learning rate.
        #[serde(default)]
        eta_min: f64,
    },
    /// Half a cosine from `η` to `eta_min`, again and again from the top: the first takes `t_0` steps, each next one `t_mult` times as many.
    /// PyTorch's `CosineAnnealingWarmRestarts`.
    ///
    /// # Source
    /// Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), section 3.
    #[serde(alias = "CosineAnnealingWarmRestarts")]
    CosineRestarts {
        /// Steps to the first restart, at least 1.
        #[serde(alias = "T_0")]
        t_0: u64,
        /// How many times longer each way is than the one before, at least 1.
        #[serde(alias = "T_mult", default = "once")]
        t_mult: u64,
        /// The lowest learning rate.
        #[serde(default)]
        eta_min: f64,
    },
    /// `η (start_factor + (end_factor − start_factor) min(t, total_iters) / total_iters)`. PyTorch's `LinearLR`.
    #[serde(alias = "LinearLR")]
    Linear {
        /// Share of the base learning rate at step 0, above 0 and at most 1.
        #[serde(default = "third")]
        start_factor: f64,
        /// Share from step `total_iters` on, 0 to 1.
        #[serde(default = "one")]
        end_factor: f64,
        /// Steps of the way, at least 1.
        #[serde(default = "five")]
        total_iters: u64,
    },
    /// `η (1 − min(t, total_iters) / total_iters)^power`. PyTorch's `PolynomialLR`.
    #[serde(alias = "PolynomialLR")]
    Polynomial {
        /// Steps to zero, at least 1.
        #[serde(default = "five")]
        total_iters: u64,
        /// Shape of the way; 1 is a straight line.
        #[serde(default = "one")]
        power: f64,
    },
    /// Up from `max_lr / div_factor` to `max_lr`, then down to the start divided by `final_div_factor`; the base learning rate plays no part.
    /// PyTorch's `OneCycleLR` without its cycle of the momentum. After `total_steps` the last learning rate stays.
    ///
    /// # Source
    /// Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates" (2018).
    #[serde(alias = "OneCycleLR")]
    OneCycle {
        /// The highest learning rate.
        max_lr: f64,
        /// Steps of the whole cycle, at least 1.
        total_steps: u64,
        /// Share of the cycle in which the learning rate rises, 0 to 1.
        #[serde(default = "three_tenths")]
        pct_start: f64,
        /// The shape of both ways.
        #[serde(default)]
        anneal_strategy: Anneal,
        /// By what the highest learning rate is divided to give the first.
        #[serde(default = "twenty_five")]
        div_factor: f64,
        /// By what the first learning rate is divided to give the last.
        #[serde(default = "ten_thousand")]
        final_div_factor: f64,
        /// Whether to come down as slowly as up before the last descent.
        #[serde(default)]
        three_phase: bool,
    },
    /// `η (t + 1) / warmup_steps` while `t < warmup_steps`, then half a cosine from `η` to `η · min_factor` at `total_steps`, where it stays.
    WarmupCosine {
        /// Steps of the rise; the last of them has the base learning rate.
        warmup_steps: u64,
        /// Step at which the lowest learning rate is reached, above `warmup_steps`.
        total_steps: u64,
        /// Share of the base learning rate at the end.
        #[serde(default)]
        min_factor: f64,
    },
    /// One schedule after another, each counting its own steps from 0. PyTorch's `SequentialLR`.
    #[serde(alias = "SequentialLR")]
    Sequential {
        /// The schedules in order.
        schedules: Vec<Schedule>,
        /// The steps at which the second, third … begin: ascending, one less than schedules.
        milestones: Vec<u64>,
    },
}

/// The shape of the way between two learning rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cos,
    /// A straight line.
    Linear,
}

impl Anneal {
    fn between(self, start: f64, end: f64, share: f64) -> f64 {
        match self {
            Self::Cos => end + (start - end) / 2.0 * (1.0 + (PI * share).cos()),
            Self::Linear => start + (end - start) * share,
        }
    }
}

// serde takes the defaults of fields as functions.
fn one() -> f64 {
    1.0
}
fn tenth() -> f64 {
    0.1
}
fn third() -> f64 {
    1.0 / 3.0
}
fn three_tenths() -> f64 {
    0.3
}
fn twenty_five() -> f64 {
    25.0
}
fn ten_thousand() -> f64 {
    1e4
}
fn once() -> u64 {
    1
}
fn five() -> u64 {
    5
}

/// `done / whole`, 1 from the end on and where there is no way at all.
fn share(done: u64, whole: u64) -> f64 {
    if done >= whole {
        1.0
    } else {
        done as f64 / whole as f64
    }
}

/// How many steps of the present way are done and how many it has, when the first way has `t_0` and each next one
/// `t_mult` times as many.
fn since_restart(step: u64, t_0: u64, t_mult: u64) -> (u64, u64) {
    let mut whole = t_0.max(1);
    if t_mult <= 1 {
        return (step % whole, whole);
    }
    let mut done = step;
    while done >= whole {
        done -= whole;
        whole = whole.saturating_mul(t_mult);
    }
    (done, whole)
}

impl Schedule {
    /// The learning rate in force at `step`, counted from 0, for the base learning rate `base_lr`.
    ///
    /// A schedule that [`validate`](Self::validate) refuses gives some number, and no panic.
    #[must_use]
    pub fn lr(&self, step: u64, base_lr: f64) -> f64 {
        let t = step as f64;
        match self {
            Self::None => base_lr,
            Self::Constant {
                factor,
                total_iters,
            } => {
                if step < *total_iters {
                    base_lr * factor
                } else {
                    base_lr
                }
            }
            Self::Step { step_size, gamma } => {
                base_lr * gamma.powf((step / (*step_size).max(1)) as f64)
            }
            Self::MultiStep { milestones, gamma } => {
                let passed = milestones.iter().filter(|m| **m <= step).count();
                base_lr * gamma.powf(passed as f64)
            }
            Self::Exponential { gamma } => base_lr * gamma.powf(t),
            Self::Cosine { t_max, eta_min } => {
                // The argument is folded into one period, where a cosine of large numbers would lose digits.
                let t_max = (*t_max).max(1);
                let phase = (step % t_max.saturating_mul(2)) as f64 / t_max as f64;
                eta_min + (base_lr - eta_min) * (1.0 + (PI * phase).cos()) / 2.0
            }
            Self::CosineRestarts {
                t_0,
                t_mult,
                eta_min,
            } => {
                let (done, whole) = since_restart(step, *t_0, *t_mult);
                Anneal::Cos.between(base_lr, *eta_min, done as f64 / whole as f64)
            }
            Self::Linear {
                start_factor,
                end_factor,
                total_iters,
            } => base_lr * (start_factor + (end_factor - start_factor) * share(step, *total_iters)),
            Self::Polynomial { total_iters, power } => {
                base_lr * (1.0 - share(step, *total_iters)).powf(*power)
            }
            Self::OneCycle { .. } => self.one_cycle(t),
            Self::WarmupCosine {
                warmup_steps,
                total_steps,
                min_factor,
            } => {
                if step < *warmup_steps {
                    return base_lr * (t + 1.0) / *warmup_steps as f64;
                }
                let way = total_steps.saturating_sub(*warmup_steps);
                let share = share(step - warmup_steps, way);
                Anneal::Cos.between(base_lr, base_lr * min_factor, share)
            }
            Self::Sequential {
                schedules,
                milestones,
            } => {
                let i = milestones.iter().take_while(|m| **m <= step).count();
                let began = if i == 0 { 0 } else { milestones[i - 1] };
                schedules
                    .get(i)
                    .map_or(base_lr, |s| s.lr(step - began, base_lr))
            }
        }
    }

    fn one_cycle(&self, t: f64) -> f64 {
        let Self::OneCycle {
            max_lr,
            total_steps,
            pct_start,
            anneal_strategy,
            div_factor,
            final_div_factor,
            three_phase,
        } = self
        else {
            unreachable!("called for this variant only")
        };
        let first = max_lr / div_factor;
        let total = *total_steps as f64;
        let top = pct_start * total - 1.0;
        let last = (total - 1.0, first / final_div_factor);
        // Where each phase ends and with which learning rate; the first phase starts at step 0 with `first`.
        let phases = if *three_phase {
            vec![(top, *max_lr), (2.0 * pct_start * total - 2.0, first), last]
        } else {
            vec![(top, *max_lr), last]
        };
        let (mut begin, mut from) = (0.0, first);
        for (end, to) in phases {
            if t <= end {
                let share = if end > begin {
                    (t - begin) / (end - begin)
                } else {
                    1.0
                };
                return anneal_strategy.between(from, to, share);
            }
            (begin, from) = (end, to);
        }
        last.1
    }

    /// Checks that the numbers make a schedule.
    ///
    /// # Errors
    /// [`Error::Schedule`] names the field, its range and the value that came.
    pub fn validate(&self) -> Result<()> {
        let check = |holds: bool, field, expected, got: &dyn std::fmt::Display| {
            if holds {
                Ok(())
            } else {
                let got = got.to_string();
                Err(Error::Schedule {
                    field,
                    expected,
                    got,
                })
            }
        };
        let at_least_1 = |field, n: &u64| check(*n > 0, field, "at least 1", n);
        let positive =
            |field, x: &f64| check(*x > 0.0 && x.is_finite(), field, "a number above 0", x);
        let not_negative =
            |field, x: &f64| check(*x >= 0.0 && x.is_finite(), field, "a number from 0 up", x);
        let unit = |field, x: &f64| check((0.0..=1.0).contains(x), field, "from 0 to 1", x);
        match self {
            Self::None => Ok(()),
            Self::Constant { factor, .. } => unit("factor", factor),
            Self::Step { step_size, gamma } => {
                at_least_1("step_size", step_size)?;
                positive("gamma", gamma)
            }
            Self::MultiStep { gamma, .. } | Self::Exponential { gamma } => positive("gamma", gamma),
            Self::Cosine { t_max, eta_min } => {
                at_least_1("t_max", t_max)?;
                not_negative("eta_min", eta_min)
            }
            Self::CosineRestarts {
                t_0,
                t_mult,
                eta_min,
            } => {
                at_least_1("t_0", t_0)?;
                at_least_1("t_mult", t_mult)?;
                not_negative("eta_min", eta_min)
            }
            Self::Linear {
                start_factor,
                end_factor,
                total_iters,
            } => {
                positive("start_factor", start_factor)?;
                unit("start_factor", start_factor)?;
                unit("end_factor", end_factor)?;
                at_least_1("total_iters", total_iters)
            }
            Self::Polynomial { total_iters, power } => {
                at_least_1("total_iters", total_iters)?;
                not_negative("power", power)
            }
            Self::OneCycle {
                max_lr,
                total_steps,
                pct_start,
                div_factor,
                final_div_factor,
                three_phase,
                ..
            } => {
                positive("max_lr", max_lr)?;
                at_least_1("total_steps", total_steps)?;
                unit("pct_start", pct_start)?;
                positive("div_factor", div_factor)?;
                positive("final_div_factor", final_div_factor)?;
                check(
                    !three_phase || *pct_start <= 0.5,
                    "pct_start",
                    "at most 0.5 with three phases",
                    pct_start,
                )
            }
            Self::WarmupCosine {
                warmup_steps,
                total_steps,
                min_factor,
            } => {
                check(
                    total_steps > warmup_steps,
                    "total_steps",
                    "above warmup_steps",
                    total_steps,
                )?;
                unit("min_factor", min_factor)
            }
            Self::Sequential {
                schedules,
                milestones,
            } => {
                check(
                    schedules.len() == milestones.len().saturating_add(1),
                    "milestones",
                    "one fewer than schedules",
                    &milestones.len(),
                )?;
                for pair in milestones.windows(2) {
                    check(pair[0] < pair[1], "milestones", "ascending", &pair[1])?;
                }
                schedules.iter().try_for_each(Self::validate)
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Learning rate schedules: pure functions of the step, so that resuming needs nothing but the step.
//!
//! [`Schedule::lr`] gives the learning rate in force at a step, counted from 0. A schedule is plain data that a recipe
//! can hold; the same names and numbers as in PyTorch give the same learning rates.
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

mod chained;
mod checks;
mod table;
mod value;

use crate::algorithm::{from_zero, unit};
use cortical_settings::{Rule, at_least, choice, rule};
use serde::{Deserialize, Serialize};
use table::schedules;

schedules! {
    /// `η · factor` before the step `total_iters`, or for ever if that is 0; then `η`. PyTorch's `ConstantLR`.
    "constant" | "ConstantLR" => Constant {
        /// Share of the base learning rate in force at first, 0 to 1.
        factor: f64 = 1.0, "share of the base learning rate at first", unit();
        /// Steps for which it is in force; 0 for all.
        total_iters: u64 = 0, "steps for which it is in force; 0 for all";
    },
    /// No schedule: always `η`.
    #[default]
    "none" => None,
    /// `η · gamma^⌊t / step_size⌋`. PyTorch's `StepLR`.
    "step" | "StepLR" => Step {
        /// Steps between two falls, at least 1.
        step_size: u64, "steps between two falls", at_least(1);
        /// Factor of a fall.
        gamma: f64 = 0.1, "factor of a fall", above_zero();
    },
    /// `η · gamma^(number of milestones ≤ t)`. PyTorch's `MultiStepLR`.
    "multi_step" | "MultiStepLR" => MultiStep {
        /// Steps at which the learning rate falls, in any order; one named twice counts twice.
        milestones: Vec<u64>, "steps at which something changes";
        /// Factor of a fall.
        gamma: f64 = 0.1, "factor of a fall", above_zero();
    },
    /// `η · gamma^t`. PyTorch's `ExponentialLR`.
    "exponential" | "ExponentialLR" => Exponential {
        /// Factor of each step.
        gamma: f64, "factor of a fall", above_zero();
    },
    /// `eta_min + (η − eta_min) (1 + cos(π t / t_max)) / 2`, which rises again after `t_max`. PyTorch's
    /// `CosineAnnealingLR`.
    ///
    /// # Source
    /// Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), equation 5.
    "cosine" | "CosineAnnealingLR" => Cosine {
        /// Steps from the highest to the lowest learning rate, at least 1.
        t_max: u64, "steps from the highest to the lowest learning rate", at_least(1);
        /// The lowest learning rate.
        eta_min: f64 = 0.0, "the lowest learning rate", from_zero();
    },
    /// Half a cosine from `η` to `eta_min`, again and again from the top: the first takes `t_0` steps, each next one
    /// `t_mult` times as many. PyTorch's `CosineAnnealingWarmRestarts`.
    ///
    /// # Source
    /// Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), section 3.
    "cosine_restarts" | "CosineAnnealingWarmRestarts" => CosineRestarts {
        /// Steps to the first restart, at least 1.
        t_0: u64, "steps to the first restart", at_least(1);
        /// How many times longer each way is than the one before, at least 1.
        t_mult: u64 = 1, "how many times longer each way is than the one before", at_least(1);
        /// The lowest learning rate.
        eta_min: f64 = 0.0, "the lowest learning rate", from_zero();
    },
    /// `η (start_factor + (end_factor − start_factor) min(t, total_iters) / total_iters)`. PyTorch's `LinearLR`.
    "linear" | "LinearLR" => Linear {
        /// Share of the base learning rate at step 0, above 0 and at most 1.
        start_factor: f64 = 1.0 / 3.0, "share of lr at first", above_zero(), unit();
        /// Share from step `total_iters` on, 0 to 1.
        end_factor: f64 = 1.0, "share of lr at the end", unit();
        /// Steps of the way, at least 1.
        total_iters: u64 = 5, "steps of the way", at_least(1);
    },
    /// `η (1 − min(t, total_iters) / total_iters)^power`. PyTorch's `PolynomialLR`.
    "polynomial" | "PolynomialLR" => Polynomial {
        /// Steps to zero, at least 1.
        total_iters: u64 = 5, "steps of the way", at_least(1);
        /// Shape of the way; 1 is a straight line.
        power: f64 = 1.0, "shape of the way; 1 is a straight line", from_zero();
    },
    /// Up from `max_lr / div_factor` to `max_lr`, then down to the start divided by `final_div_factor`; the base
    /// learning rate plays no part. The [momentum](Self::momentum) falls while the learning rate rises. PyTorch's
    /// `OneCycleLR`; after the last step the last learning rate stays.
    ///
    /// # Source
    /// Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates" (2018).
    "one_cycle" | "OneCycleLR" => OneCycle {
        /// The highest learning rate.
        max_lr: f64, "the highest learning rate", above_zero();
        /// Steps of the whole cycle, at least 1; 0 for `epochs · steps_per_epoch`.
        total_steps: u64 = 0, "steps of the whole way";
        /// Epochs of the whole cycle, where `total_steps` is 0.
        epochs: u64 = 0, "epochs of the cycle, where total_steps is 0";
        /// Steps of an epoch, where `total_steps` is 0.
        steps_per_epoch: u64 = 0, "steps of an epoch, where total_steps is 0";
        /// Share of the cycle in which the learning rate rises, 0 to 1.
        pct_start: f64 = 0.3, "share of the cycle that rises", unit();
        /// The shape of both ways.
        anneal_strategy: Anneal = Anneal::Cos, "cos, linear or sqrt: the shape of both ways";
        /// By what the highest learning rate is divided to give the first.
        div_factor: f64 = 25.0, "max_lr / first learning rate", above_zero();
        /// By what the first learning rate is divided to give the last.
        final_div_factor: f64 = 1e4, "first / last learning rate", above_zero();
        /// Whether to come down as slowly as up before the last descent.
        three_phase: bool = false, "true: down as slowly as up, then the last descent";
        /// Whether the momentum moves as well.
        cycle_momentum: bool = true, "true: the momentum moves as well";
        /// The momentum at the highest learning rate.
        base_momentum: f64 = 0.85, "the momentum at the highest learning rate", below_one();
        /// The momentum at the lowest learning rate.
        max_momentum: f64 = 0.95, "the momentum at the lowest learning rate", below_one();
    } check = checks::one_cycle;,
    /// Up and down between two learning rates for ever. PyTorch's `CyclicLR`; the base learning rate plays no part.
    ///
    /// # Source
    /// Smith, "Cyclical learning rates for training neural networks" (2017), section 3.
    "cyclic" | "CyclicLR" => Cyclic {
        /// The lowest learning rate.
        base_lr: f64, "the lowest learning rate", from_zero();
        /// The highest one, of the first cycle at least.
        max_lr: f64, "the highest learning rate", from_zero();
        /// Steps up, at least 1.
        step_size_up: u64 = 2000, "steps up", at_least(1);
        /// Steps down; as many as up when absent.
        step_size_down: Option<u64>, "steps down; as many as up when absent";
        /// How the height changes from cycle to cycle.
        mode: Cycle = Cycle::Triangular, "triangular, triangular2 or exp_range: how the height changes";
        /// Factor of each step in the mode `exp_range`.
        gamma: f64 = 1.0, "factor of a fall", above_zero();
        /// Whether the momentum moves as well, the other way.
        cycle_momentum: bool = true, "true: the momentum moves as well";
        /// The momentum at the highest learning rate.
        base_momentum: f64 = 0.8, "the momentum at the highest learning rate", below_one();
        /// The momentum at the lowest learning rate.
        max_momentum: f64 = 0.9, "the momentum at the lowest learning rate", below_one();
    },
    /// `η (t + 1) / warmup_steps` while `t < warmup_steps`, then half a cosine from `η` to `η · min_factor` at
    /// `total_steps`, where it stays.
    "warmup_cosine" => WarmupCosine {
        /// Steps of the rise; the last of them has the base learning rate.
        warmup_steps: u64, "steps of the rise";
        /// Step at which the lowest learning rate is reached, above `warmup_steps`.
        total_steps: u64, "steps of the whole way";
        /// Share of the base learning rate at the end.
        min_factor: f64 = 0.0, "share of lr at the end", unit();
    } check = checks::warmup_cosine;,
    /// `η (t + 1) / warmup_steps` while `t < warmup_steps`, then `η` for `stable_steps`, then down to `η · min_factor`
    /// in `decay_steps`, where it stays.
    ///
    /// # Source
    /// Hu et al., "MiniCPM: unveiling the potential of small language models with scalable training strategies" (2024),
    /// section 4; the shape `sqrt` is from Hägele et al., "Scaling laws and compute-optimal training beyond fixed
    /// training durations" (2024), section 3.
    "warmup_stable_decay" => WarmupStableDecay {
        /// Steps of the rise; the last of them has the base learning rate.
        warmup_steps: u64, "steps of the rise";
        /// Steps at the base learning rate.
        stable_steps: u64, "steps at the base learning rate";
        /// Steps of the fall, at least 1.
        decay_steps: u64, "steps of the fall", at_least(1);
        /// Share of the base learning rate at the end.
        min_factor: f64 = 0.0, "share of lr at the end", unit();
        /// The shape of the fall.
        decay: Anneal = Anneal::Linear, "cos, linear or sqrt: the shape of the fall";
    },
    /// `(t + 1) / warmup_steps` of whatever `then` begins with while `t < warmup_steps`, then that schedule from its
    /// step 0.
    "warmup" => Warmup {
        /// Steps of the rise; the last of them has the first learning rate of `then`.
        warmup_steps: u64, "steps of the rise";
        /// What follows.
        then: Box<Schedule>, "the schedule that follows";
    } check = |warmup| warmup.then.broken();,
    /// Several schedules at once, each of which changes what the others have left. PyTorch's `ChainedScheduler`:
    /// schedules that scale the learning rate multiply; one that sets it (one-cycle, cyclic, cosine with restarts)
    /// leaves to those behind it what they change in this very step.
    ///
    /// A cosine with a floor, or past its half period, takes time that grows with the step.
    "chained" | "ChainedScheduler" => Chained {
        /// The schedules.
        schedules: Vec<Schedule>, "the schedules";
    } check = checks::chained;,
    /// One schedule after another, each counting its own steps from 0. PyTorch's `SequentialLR`; as there, the first
    /// learning rate of a one-cycle schedule among them takes the place of the base learning rate, for the first of all
    /// and for those behind it.
    "sequential" | "SequentialLR" => Sequential {
        /// The schedules in order.
        schedules: Vec<Schedule>, "the schedules";
        /// The steps at which the second, third … begin: ascending, one less than schedules.
        milestones: Vec<u64>, "steps at which something changes";
    } check = checks::sequential;,
}

/// `x > 0`, finite
fn above_zero() -> Rule<f64> {
    rule("a number above 0", |x: &f64| *x > 0.0 && x.is_finite())
}

/// `0 ≤ x < 1`
fn below_one() -> Rule<f64> {
    rule("from 0 to below 1", |x: &f64| (0.0..1.0).contains(x))
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
    /// `1 − √share`: fast at first.
    Sqrt,
}

/// How the height of a [`Cyclic`](Schedule::Cyclic) schedule changes from cycle to cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cycle {
    /// Not at all.
    #[default]
    Triangular,
    /// It halves.
    Triangular2,
    /// It is multiplied by `gamma` at each step.
    ExpRange,
}

choice!(for Anneal: "shape" { Cos = "cos", Linear = "linear", Sqrt = "sqrt", });
choice!(for Cycle: "mode" { Triangular = "triangular", Triangular2 = "triangular2", ExpRange = "exp_range", });

#[cfg(test)]
mod tests;

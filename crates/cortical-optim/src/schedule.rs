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

mod chained;
mod validate;
mod value;

use serde::{Deserialize, Serialize};

/// How the learning rate follows the step `t = 0, 1, 2 …` from the base learning rate `η`.
///
/// In a recipe the variant is the field `name`: `{ name = "cosine", t_max = 100 }`; PyTorch's class names will do as well. Fields that may be left out have PyTorch's
/// defaults, but for [`Constant`](Self::Constant), which then is constant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Schedule {
    /// `η · factor` before the step `total_iters`, or for ever if that is 0; then `η`. PyTorch's `ConstantLR`.
    #[serde(alias = "ConstantLR")]
    Constant {
        /// Share of the base learning rate in force at first, 0 to 1.
        #[serde(default = "one")]
        factor: f64,
        /// Steps for which it is in force; 0 for all.
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
    /// The [momentum](Self::momentum) falls while the learning rate rises. PyTorch's `OneCycleLR`; after the last step the last learning rate stays.
    ///
    /// # Source
    /// Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates" (2018).
    #[serde(alias = "OneCycleLR")]
    OneCycle {
        /// The highest learning rate.
        max_lr: f64,
        /// Steps of the whole cycle, at least 1; 0 for `epochs · steps_per_epoch`.
        #[serde(default)]
        total_steps: u64,
        /// Epochs of the whole cycle, where `total_steps` is 0.
        #[serde(default)]
        epochs: u64,
        /// Steps of an epoch, where `total_steps` is 0.
        #[serde(default)]
        steps_per_epoch: u64,
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
        /// Whether the momentum moves as well.
        #[serde(default = "yes")]
        cycle_momentum: bool,
        /// The momentum at the highest learning rate.
        #[serde(default = "base_momentum_of_one_cycle")]
        base_momentum: f64,
        /// The momentum at the lowest learning rate.
        #[serde(default = "max_momentum_of_one_cycle")]
        max_momentum: f64,
    },
    /// Up and down between two learning rates for ever. PyTorch's `CyclicLR`; the base learning rate plays no part.
    ///
    /// # Source
    /// Smith, "Cyclical learning rates for training neural networks" (2017), section 3.
    #[serde(alias = "CyclicLR")]
    Cyclic {
        /// The lowest learning rate.
        base_lr: f64,
        /// The highest one, of the first cycle at least.
        max_lr: f64,
        /// Steps up, at least 1.
        #[serde(default = "two_thousand")]
        step_size_up: u64,
        /// Steps down; as many as up when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step_size_down: Option<u64>,
        /// How the height changes from cycle to cycle.
        #[serde(default)]
        mode: Cycle,
        /// Factor of each step in the mode `exp_range`.
        #[serde(default = "one")]
        gamma: f64,
        /// Whether the momentum moves as well, the other way.
        #[serde(default = "yes")]
        cycle_momentum: bool,
        /// The momentum at the highest learning rate.
        #[serde(default = "base_momentum_of_cyclic")]
        base_momentum: f64,
        /// The momentum at the lowest learning rate.
        #[serde(default = "max_momentum_of_cyclic")]
        max_momentum: f64,
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
    /// `η (t + 1) / warmup_steps` while `t < warmup_steps`, then `η` for `stable_steps`, then down to `η · min_factor` in `decay_steps`, where it stays.
    ///
    /// # Source
    /// Hu et al., "MiniCPM: unveiling the potential of small language models with scalable training strategies" (2024), section 4; the shape `sqrt`
    /// is from Hägele et al., "Scaling laws and compute-optimal training beyond fixed training durations" (2024), section 3.
    WarmupStableDecay {
        /// Steps of the rise; the last of them has the base learning rate.
        warmup_steps: u64,
        /// Steps at the base learning rate.
        stable_steps: u64,
        /// Steps of the fall, at least 1.
        decay_steps: u64,
        /// Share of the base learning rate at the end.
        #[serde(default)]
        min_factor: f64,
        /// The shape of the fall.
        #[serde(default = "straight")]
        decay: Anneal,
    },
    /// `(t + 1) / warmup_steps` of whatever `then` begins with while `t < warmup_steps`, then that schedule from its step 0.
    Warmup {
        /// Steps of the rise; the last of them has the first learning rate of `then`.
        warmup_steps: u64,
        /// What follows.
        then: Box<Schedule>,
    },
    /// Several schedules at once, each of which changes what the others have left. PyTorch's `ChainedScheduler`: schedules that scale the learning
    /// rate multiply; one that sets it (one-cycle, cyclic, cosine with restarts) leaves to those behind it what they change in this very step.
    ///
    /// A cosine with a floor, or past its half period, takes time that grows with the step.
    #[serde(alias = "ChainedScheduler")]
    Chained {
        /// The schedules.
        #[serde(alias = "schedulers")]
        schedules: Vec<Schedule>,
    },
    /// One schedule after another, each counting its own steps from 0. PyTorch's `SequentialLR`; as there, the first learning rate of a one-cycle
    /// schedule among them takes the place of the base learning rate, for the first of all and for those behind it.
    #[serde(alias = "SequentialLR")]
    Sequential {
        /// The schedules in order.
        #[serde(alias = "schedulers")]
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
fn yes() -> bool {
    true
}
fn straight() -> Anneal {
    Anneal::Linear
}
fn base_momentum_of_one_cycle() -> f64 {
    0.85
}
fn max_momentum_of_one_cycle() -> f64 {
    0.95
}
fn base_momentum_of_cyclic() -> f64 {
    0.8
}
fn max_momentum_of_cyclic() -> f64 {
    0.9
}
fn two_thousand() -> u64 {
    2000
}
fn once() -> u64 {
    1
}
fn five() -> u64 {
    5
}

#[cfg(test)]
mod tests;

//! What a schedule gives at a step.

use super::{Anneal, Cycle, Schedule, chained};
use std::f64::consts::PI;

impl Anneal {
    fn between(self, start: f64, end: f64, share: f64) -> f64 {
        match self {
            Self::Cos => end + (start - end) / 2.0 * (1.0 + (PI * share).cos()),
            Self::Linear => start + (end - start) * share,
            Self::Sqrt => end + (start - end) * (1.0 - share.sqrt()),
        }
    }
}

/// `done / whole`, 1 from the end on and where there is no way at all.
fn share(done: u64, whole: u64) -> f64 {
    if done >= whole {
        1.0
    } else {
        done as f64 / whole as f64
    }
}

/// The steps of a one-cycle schedule, given or as epochs.
pub(super) fn one_cycle_steps(total_steps: u64, epochs: u64, steps_per_epoch: u64) -> u64 {
    if total_steps > 0 {
        total_steps
    } else {
        epochs.saturating_mul(steps_per_epoch)
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
                if step < *total_iters || *total_iters == 0 {
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
            Self::OneCycle {
                max_lr,
                div_factor,
                final_div_factor,
                ..
            } => {
                let first = max_lr / div_factor;
                self.one_cycle(step, [first, *max_lr, first / final_div_factor])
            }
            Self::Cyclic {
                base_lr, max_lr, ..
            } => self.cyclic(step, *base_lr, *max_lr),
            Self::WarmupStableDecay {
                warmup_steps,
                stable_steps,
                decay_steps,
                min_factor,
                decay,
            } => {
                if step < *warmup_steps {
                    return base_lr * (t + 1.0) / *warmup_steps as f64;
                }
                let fallen = (step - warmup_steps).saturating_sub(*stable_steps);
                decay.between(base_lr, base_lr * min_factor, share(fallen, *decay_steps))
            }
            Self::Warmup { warmup_steps, then } => {
                if step < *warmup_steps {
                    then.lr(0, base_lr) * (t + 1.0) / *warmup_steps as f64
                } else {
                    then.lr(step - warmup_steps, base_lr)
                }
            }
            Self::Chained { schedules } => chained::lr(schedules, step, base_lr),
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
            Self::Sequential { .. } => self.at(step).map_or(base_lr, |(schedule, step)| {
                schedule.lr(step, self.base_of(schedule, base_lr))
            }),
        }
    }

    /// The momentum in force at `step`, for schedules that move it.
    #[must_use]
    pub fn momentum(&self, step: u64) -> Option<f64> {
        match self {
            Self::OneCycle {
                cycle_momentum: true,
                base_momentum,
                max_momentum,
                ..
            } => Some(self.one_cycle(step, [*max_momentum, *base_momentum, *max_momentum])),
            Self::Cyclic {
                cycle_momentum: true,
                base_momentum,
                max_momentum,
                ..
            } => Some(self.cyclic(step, *max_momentum, *base_momentum)),
            Self::Warmup { warmup_steps, then } => {
                then.momentum(step.saturating_sub(*warmup_steps))
            }
            Self::Sequential { .. } => self
                .at(step)
                .and_then(|(schedule, step)| schedule.momentum(step)),
            _ => None,
        }
    }

    /// The schedule of a sequence that is in force at `step`, and its own step.
    fn at(&self, step: u64) -> Option<(&Self, u64)> {
        let Self::Sequential {
            schedules,
            milestones,
        } = self
        else {
            return None;
        };
        let i = milestones.iter().take_while(|m| **m <= step).count();
        let began = if i == 0 { 0 } else { milestones[i - 1] };
        schedules.get(i).map(|schedule| (schedule, step - began))
    }

    /// The base learning rate of a member of a sequence: a one-cycle schedule changes it for those that are made after
    /// it, and for the first.
    fn base_of(&self, member: &Self, base_lr: f64) -> f64 {
        let Self::Sequential { schedules, .. } = self else {
            return base_lr;
        };
        let is_first = schedules
            .first()
            .is_some_and(|first| std::ptr::eq(first, member));
        let before = schedules
            .iter()
            .take_while(|schedule| is_first || !std::ptr::eq(*schedule, member));
        before.fold(base_lr, |base_lr, schedule| match schedule {
            Self::OneCycle {
                max_lr, div_factor, ..
            } => max_lr / div_factor,
            _ => base_lr,
        })
    }

    /// The way of a one-cycle schedule through its first, highest and last value.
    fn one_cycle(&self, step: u64, [first, top, last]: [f64; 3]) -> f64 {
        let Self::OneCycle {
            total_steps,
            epochs,
            steps_per_epoch,
            pct_start,
            anneal_strategy,
            three_phase,
            ..
        } = self
        else {
            unreachable!("called for this variant only")
        };
        let total = one_cycle_steps(*total_steps, *epochs, *steps_per_epoch) as f64;
        let (t, rise) = (step as f64, pct_start * total - 1.0);
        let last = (total - 1.0, last);
        // Where each phase ends and with which value; the first phase starts at step 0.
        let phases = if *three_phase {
            vec![(rise, top), (2.0 * pct_start * total - 2.0, first), last]
        } else {
            vec![(rise, top), last]
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

    /// The way of a cyclic schedule from `low` to `high` and back.
    fn cyclic(&self, step: u64, low: f64, high: f64) -> f64 {
        let Self::Cyclic {
            step_size_up,
            step_size_down,
            mode,
            gamma,
            ..
        } = self
        else {
            unreachable!("called for this variant only")
        };
        let up = (*step_size_up).max(1);
        let whole = up.saturating_add(step_size_down.unwrap_or(up)).max(1);
        let (cycle, done) = (step / whole, step % whole);
        let height = if done <= up {
            done as f64 / up as f64
        } else {
            (whole - done) as f64 / (whole - up) as f64
        };
        let scale = match mode {
            Cycle::Triangular => 1.0,
            Cycle::Triangular2 => 0.5_f64.powf(cycle as f64),
            Cycle::ExpRange => gamma.powf(step as f64),
        };
        low + (high - low) * height * scale
    }

    /// Whether the learning rate is the base learning rate times a factor that does not depend on it.
    pub(super) fn scales(&self) -> bool {
        match self {
            Self::Cosine { eta_min, .. } | Self::CosineRestarts { eta_min, .. } => *eta_min == 0.0,
            Self::OneCycle { .. } | Self::Cyclic { .. } => false,
            Self::Warmup { then, .. } => then.scales(),
            Self::Sequential { schedules, .. } | Self::Chained { schedules } => {
                schedules.iter().all(Self::scales)
            }
            _ => true,
        }
    }
}

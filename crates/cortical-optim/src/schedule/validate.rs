//! Which numbers make a schedule.

use super::Schedule;
use super::value::one_cycle_steps;
use crate::{Error, Result};

impl Schedule {
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
        let below_1 = |field, x: &f64| check((0.0..1.0).contains(x), field, "from 0 to below 1", x);
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
                epochs,
                steps_per_epoch,
                pct_start,
                div_factor,
                final_div_factor,
                three_phase,
                base_momentum,
                max_momentum,
                ..
            } => {
                positive("max_lr", max_lr)?;
                let steps = one_cycle_steps(*total_steps, *epochs, *steps_per_epoch);
                at_least_1("total_steps", &steps)?;
                unit("pct_start", pct_start)?;
                below_1("base_momentum", base_momentum)?;
                below_1("max_momentum", max_momentum)?;
                positive("div_factor", div_factor)?;
                positive("final_div_factor", final_div_factor)?;
                check(
                    !three_phase || *pct_start <= 0.5,
                    "pct_start",
                    "at most 0.5 with three phases",
                    pct_start,
                )
            }
            Self::Cyclic {
                base_lr,
                max_lr,
                step_size_up,
                gamma,
                base_momentum,
                max_momentum,
                ..
            } => {
                not_negative("base_lr", base_lr)?;
                not_negative("max_lr", max_lr)?;
                at_least_1("step_size_up", step_size_up)?;
                positive("gamma", gamma)?;
                below_1("base_momentum", base_momentum)?;
                below_1("max_momentum", max_momentum)
            }
            Self::WarmupStableDecay {
                decay_steps,
                min_factor,
                ..
            } => {
                at_least_1("decay_steps", decay_steps)?;
                unit("min_factor", min_factor)
            }
            Self::Warmup { then, .. } => then.validate(),
            Self::Chained { schedules } => {
                let cosine = |s: &Self| matches!(s, Self::Cosine { .. });
                let known = |s: &Self| s.scales() || s.sets() || cosine(s);
                let expected = "schedules without others that set the learning rate inside";
                check(
                    schedules.iter().all(known),
                    "schedules",
                    expected,
                    &"one with such",
                )?;
                schedules.iter().try_for_each(Self::validate)
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

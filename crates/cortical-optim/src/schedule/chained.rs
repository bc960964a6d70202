//! Several schedules at once: each changes what the others have left of the learning rate.

use super::Schedule;
use std::f64::consts::PI;

/// The learning rate of PyTorch's `ChainedScheduler` at a step: at each step, one schedule after another makes its move
/// from the learning rate as it is.
///
/// Schedules that scale make a product. One that sets the learning rate makes all earlier moves void. A cosine adds,
/// from its second half period on or with a floor; only then all steps up to this one are gone through.
pub(super) fn lr(schedules: &[Schedule], step: u64, base_lr: f64) -> f64 {
    let walk = |lr: f64, step: u64| {
        let members = schedules.iter();
        members.fold(lr, |lr, member| member.moved(step, lr, base_lr))
    };
    let adds = |member: &Schedule| match member {
        Schedule::Cosine { t_max, eta_min } => *eta_min != 0.0 || step > *t_max,
        _ => false,
    };
    if schedules.iter().any(Schedule::sets) {
        walk(base_lr, step)
    } else if schedules.iter().any(adds) {
        (0..=step).fold(base_lr, walk)
    } else {
        schedules
            .iter()
            .fold(base_lr, |lr, member| member.lr(step, lr))
    }
}

impl Schedule {
    /// Whether it gives each step's learning rate by itself, whatever it was before.
    pub(super) fn sets(&self) -> bool {
        matches!(
            self,
            Self::OneCycle { .. } | Self::Cyclic { .. } | Self::CosineRestarts { .. }
        )
    }

    /// The learning rate at `step` if it is `lr` a step before.
    fn moved(&self, step: u64, lr: f64, base_lr: f64) -> f64 {
        if self.sets() {
            return self.lr(step, base_lr);
        }
        let Some(before) = step.checked_sub(1) else {
            return match self {
                Self::Cosine { .. } => lr,
                _ => lr * self.lr(0, 1.0),
            };
        };
        if let Self::Cosine { t_max, eta_min } = self {
            let t_max = (*t_max).max(1);
            let phase = |step: u64| (PI * (step % (2 * t_max)) as f64 / t_max as f64).cos();
            return if before % (2 * t_max) == t_max {
                // From the floor a ratio leads nowhere.
                lr + (base_lr - eta_min) * (1.0 - (PI / t_max as f64).cos()) / 2.0
            } else {
                eta_min + (lr - eta_min) * (1.0 + phase(step)) / (1.0 + phase(before))
            };
        }
        let (now, before) = (self.lr(step, 1.0), self.lr(before, 1.0));
        if before == 0.0 || now == before {
            lr
        } else {
            lr * (now / before)
        }
    }
}

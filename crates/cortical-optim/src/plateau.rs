//! A learning rate that falls when a metric stops getting better.

use crate::algorithm::from_zero;
use crate::{Error, Result};
use cortical_settings::{Broken, Settings, choice, rule, settings};
use serde::{Deserialize, Serialize};

/// Which way a metric gets better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Smaller is better, as for a loss.
    #[default]
    Min,
    /// Larger is better, as for an accuracy.
    Max,
}

/// What counts as better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// By a share of the best value.
    #[default]
    Rel,
    /// By an amount.
    Abs,
}

choice!(for Mode: "way to get better" { Min = "min", Max = "max", });
choice!(for Threshold: "kind of threshold" { Rel = "rel", Abs = "abs", });

settings! {
    /// How a [`Plateau`] lowers the learning rate; names and defaults are those of PyTorch's `ReduceLROnPlateau`.
    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    pub struct PlateauConfig {
        /// Which way the metric gets better.
        pub mode: Mode = Mode::Min, "min or max: which way the metric gets better";
        /// By what the learning rate is multiplied, at least 0 and below 1; 0.1.
        pub factor: f64 = 0.1, "factor of a fall", rule("from 0 to below 1", |x: &f64| (0.0..1.0).contains(x));
        /// How many metrics in a row may fail to be better, 10.
        pub patience: u64 = 10, "metrics in a row that may fail to be better";
        /// By how much a metric must be better than the best, 1e-4.
        pub threshold: f64 = 1e-4, "by how much a metric must be better than the best", from_zero();
        /// Whether that is a share or an amount.
        pub threshold_mode: Threshold = Threshold::Rel, "rel or abs: a share of the best, or an amount";
        /// How many metrics after a fall are not judged, 0.
        pub cooldown: u64 = 0, "metrics after a fall that are not judged";
        /// The lowest learning rate, 0.
        pub min_lr: f64 = 0.0, "the lowest learning rate", from_zero();
        /// The smallest fall that is carried out, 1e-8.
        pub eps: f64 = 1e-8, "the smallest fall that is carried out", from_zero();
    }
}

/// A learning rate that falls when a metric has stopped getting better: the one schedule that is no function of the
/// step.
///
/// All that it remembers is [plain data](PlateauState), for checkpoints.
///
/// ```
/// use cortical_optim::{Plateau, PlateauConfig};
/// let mut plateau = Plateau::new(PlateauConfig { patience: 1, factor: 0.5, ..Default::default() }, 0.1)?;
/// for (loss, lr) in [(1.0, 0.1), (0.9, 0.1), (0.9, 0.1), (0.9, 0.05)] {
///     assert_eq!(plateau.observe(loss), lr);
/// }
/// # Ok::<(), cortical_optim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plateau {
    config: PlateauConfig,
    state: PlateauState,
}

/// What a [`Plateau`] remembers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlateauState {
    /// The learning rate in force.
    pub lr: f64,
    /// The best metric so far; `None` before the first.
    pub best: Option<f64>,
    /// Metrics in a row that were not better.
    pub bad: u64,
    /// Metrics left that are not judged.
    pub cooldown: u64,
}

impl Plateau {
    /// Begins with the learning rate `lr`.
    ///
    /// # Errors
    /// [`Error::Schedule`] names a field that is outside its range.
    pub fn new(config: PlateauConfig, lr: f64) -> Result<Self> {
        if let Some(broken) = config.broken() {
            return Err(Error::schedule(broken));
        }
        let rule = from_zero();
        if !rule.holds(&lr) {
            return Err(Error::schedule(Broken::new("lr", rule.expected(), lr)));
        }
        Ok(Self {
            config,
            state: PlateauState {
                lr,
                best: None,
                bad: 0,
                cooldown: 0,
            },
        })
    }

    /// Takes a metric in, and returns the learning rate from now on. NaN is not better.
    pub fn observe(&mut self, metric: f64) -> f64 {
        let (config, state) = (&self.config, &mut self.state);
        if is_better(config, metric, state.best) {
            (state.best, state.bad) = (Some(metric), 0);
        } else {
            state.bad += 1;
        }
        if state.cooldown > 0 {
            (state.cooldown, state.bad) = (state.cooldown - 1, 0);
        }
        if state.bad > config.patience {
            let lower = (state.lr * config.factor).max(config.min_lr);
            if state.lr - lower > config.eps {
                state.lr = lower;
            }
            (state.cooldown, state.bad) = (config.cooldown, 0);
        }
        state.lr
    }

    /// The learning rate in force.
    #[must_use]
    pub fn lr(&self) -> f64 {
        self.state.lr
    }

    /// What it remembers, for a checkpoint.
    #[must_use]
    pub fn state(&self) -> PlateauState {
        self.state
    }

    /// Goes on from a state that was saved.
    pub fn restore(&mut self, state: PlateauState) {
        self.state = state;
    }
}

fn is_better(config: &PlateauConfig, metric: f64, best: Option<f64>) -> bool {
    let Some(best) = best else {
        return !metric.is_nan();
    };
    let by = config.threshold;
    match (config.mode, config.threshold_mode) {
        (Mode::Min, Threshold::Rel) => metric < best * (1.0 - by),
        (Mode::Min, Threshold::Abs) => metric < best - by,
        (Mode::Max, Threshold::Rel) => metric > best * (1.0 + by),
        (Mode::Max, Threshold::Abs) => metric > best + by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(config: PlateauConfig, metrics: &[f64]) -> Vec<f64> {
        let mut plateau = Plateau::new(config, 1.0).unwrap();
        metrics.iter().map(|m| plateau.observe(*m)).collect()
    }

    #[test]
    fn cooldown_is_not_judged_and_the_floor_holds() {
        let config = PlateauConfig {
            factor: 0.5,
            patience: 0,
            cooldown: 2,
            min_lr: 0.3,
            ..PlateauConfig::default()
        };
        let want = [1.0, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3];
        assert_eq!(rates(config, &[1.0; 8]), want);
    }

    #[test]
    fn a_metric_of_nan_is_not_better() {
        let config = PlateauConfig {
            patience: 0,
            mode: Mode::Max,
            ..PlateauConfig::default()
        };
        assert_eq!(rates(config, &[f64::NAN, 0.5, 0.5]), [0.1, 0.1, 0.1 * 0.1]);
    }

    #[test]
    fn a_saved_state_goes_on_alike() {
        let config = PlateauConfig {
            patience: 1,
            ..PlateauConfig::default()
        };
        let mut straight = Plateau::new(config, 1.0).unwrap();
        straight.observe(1.0);
        straight.observe(1.0);
        let saved = toml::to_string(&straight.state()).unwrap();
        let mut resumed = Plateau::new(config, 1.0).unwrap();
        resumed.restore(toml::from_str(&saved).unwrap());
        for _ in 0..5 {
            assert_eq!(resumed.observe(1.0), straight.observe(1.0));
        }
    }

    #[test]
    fn a_factor_of_one_would_never_fall() {
        let config = PlateauConfig {
            factor: 1.0,
            ..PlateauConfig::default()
        };
        assert_eq!(
            Plateau::new(config, 1.0).unwrap_err().to_string(),
            "schedule: factor must be from 0 to below 1, but is 1"
        );
    }
}

//! The table `[schedule]`: schedules that fit the length of a run.

use cortical_models::fields::Fields;
use cortical_optim::{PlateauConfig, Schedule};
use cortical_settings::{FieldError, Line, Setting, nearest, show};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// How the learning rate follows the steps of a run, whatever its length.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ScheduleRecipe {
    /// Always the base learning rate, after the warm-up.
    Constant {
        /// Steps of the rise from 0.
        warmup_steps: u64,
    },
    /// Half a cosine from the base learning rate to the end of the run, after the warm-up.
    Cosine {
        /// Steps of the rise from 0.
        warmup_steps: u64,
        /// Share of the base learning rate at the end.
        min_factor: f64,
    },
    /// A straight line from the base learning rate to the end of the run.
    Linear {
        /// Share of the base learning rate at the end.
        min_factor: f64,
    },
    /// Up from a twenty-fifth of the base learning rate, then down to nearly nothing (Smith and Topin 2018).
    OneCycle {
        /// Share of the run in which the learning rate rises.
        pct_start: f64,
    },
    /// Falls by a factor every so many steps.
    Step {
        /// Steps between two falls.
        step_size: u64,
        /// Factor of a fall.
        gamma: f64,
    },
    /// Any other schedule of `cortical-optim`, with its own fields.
    Given(Schedule),
    /// Falls when the monitored test figure has stopped getting better.
    Plateau(PlateauConfig),
}

const KINDS: [&str; 15] = [
    "constant",
    "cosine",
    "linear",
    "one-cycle",
    "step",
    "plateau",
    "chained",
    "cosine_restarts",
    "cyclic",
    "exponential",
    "multi_step",
    "polynomial",
    "sequential",
    "warmup",
    "warmup_stable_decay",
];

/// A schedule's name in a recipe, and its other fields.
fn given_fields(schedule: &Schedule) -> (&'static str, Table) {
    let mut table = to_table(schedule);
    let name = table.remove("name");
    let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
    let known = KINDS.iter().find(|kind| **kind == name);
    (known.copied().unwrap_or("chained"), table)
}

impl ScheduleRecipe {
    /// The name in `schedule.kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Constant { .. } => "constant",
            Self::Cosine { .. } => "cosine",
            Self::Linear { .. } => "linear",
            Self::OneCycle { .. } => "one-cycle",
            Self::Step { .. } => "step",
            Self::Given(schedule) => given_fields(schedule).0,
            Self::Plateau(_) => "plateau",
        }
    }

    /// The schedule of a run of `total_steps` steps with this base learning rate.
    ///
    /// # Errors
    /// A warm-up that is not shorter than the run.
    pub fn over(&self, total_steps: u64, base_lr: f64) -> Result<Schedule, FieldError> {
        let warmup = match *self {
            Self::Constant { warmup_steps } | Self::Cosine { warmup_steps, .. } => warmup_steps,
            _ => 0,
        };
        if warmup > 0 && warmup >= total_steps {
            return Err(FieldError::Range {
                path: "schedule.warmup_steps".to_owned(),
                expected: format!("fewer than the {total_steps} steps of the run"),
                found: warmup.to_string(),
            });
        }
        Ok(match *self {
            Self::Constant { warmup_steps: 0 } => Schedule::None,
            Self::Constant { warmup_steps } => Schedule::Linear {
                start_factor: 1.0 / warmup_steps as f64,
                end_factor: 1.0,
                total_iters: warmup_steps,
            },
            Self::Cosine {
                warmup_steps,
                min_factor,
            } => Schedule::WarmupCosine {
                warmup_steps,
                total_steps,
                min_factor,
            },
            Self::Linear { min_factor } => Schedule::Linear {
                start_factor: 1.0,
                end_factor: min_factor,
                total_iters: total_steps,
            },
            Self::OneCycle { pct_start } => Schedule::OneCycle {
                max_lr: base_lr,
                total_steps,
                epochs: 0,
                steps_per_epoch: 0,
                pct_start,
                anneal_strategy: cortical_optim::Anneal::default(),
                div_factor: 25.0,
                final_div_factor: 1e4,
                three_phase: false,
                cycle_momentum: false,
                base_momentum: 0.85,
                max_momentum: 0.95,
            },
            Self::Step { step_size, gamma } => Schedule::Step { step_size, gamma },
            Self::Given(ref schedule) => schedule.clone(),
            // What falls is the base learning rate itself.
            Self::Plateau(_) => Schedule::None,
        })
    }

    pub(super) fn read(
        mut fields: Fields<'_>,
        table: &Table,
        base: &Self,
    ) -> Result<Self, FieldError> {
        let kind: String = fields.or("kind", base.kind().to_owned())?;
        let kind = fields.choose("kind", "schedule", &kind, &KINDS.map(|kind| (kind, kind)))?;
        if KINDS[..5].iter().all(|own| *own != kind) {
            return read_given(table, kind, base);
        }
        let base = if base.kind() == kind {
            Some(base)
        } else {
            None
        };
        let share = "a share from 0 to 1";
        let schedule = match kind {
            "constant" => {
                let warmup = match base {
                    Some(Self::Constant { warmup_steps }) => *warmup_steps,
                    _ => 0,
                };
                Self::Constant {
                    warmup_steps: fields.or("warmup_steps", warmup)?,
                }
            }
            "cosine" => {
                let (warmup, factor) = match base {
                    Some(Self::Cosine {
                        warmup_steps,
                        min_factor,
                    }) => (*warmup_steps, *min_factor),
                    _ => (0, 0.0),
                };
                let warmup_steps = fields.or("warmup_steps", warmup)?;
                let min_factor = fields.or("min_factor", factor)?;
                fields.check(
                    "min_factor",
                    (0.0..=1.0).contains(&min_factor),
                    share,
                    min_factor,
                )?;
                Self::Cosine {
                    warmup_steps,
                    min_factor,
                }
            }
            "linear" => {
                let factor = match base {
                    Some(Self::Linear { min_factor }) => *min_factor,
                    _ => 0.0,
                };
                let min_factor = fields.or("min_factor", factor)?;
                fields.check(
                    "min_factor",
                    (0.0..=1.0).contains(&min_factor),
                    share,
                    min_factor,
                )?;
                Self::Linear { min_factor }
            }
            "one-cycle" => {
                let share_start = match base {
                    Some(Self::OneCycle { pct_start }) => *pct_start,
                    _ => 0.3,
                };
                let pct_start = fields.or("pct_start", share_start)?;
                fields.check(
                    "pct_start",
                    (0.0..=1.0).contains(&pct_start),
                    share,
                    pct_start,
                )?;
                Self::OneCycle { pct_start }
            }
            _ => {
                let (size, factor) = match base {
                    Some(Self::Step { step_size, gamma }) => (Some(*step_size), *gamma),
                    _ => (None, 0.1),
                };
                let step_size = match size {
                    Some(size) => fields.or("step_size", size)?,
                    None => fields.required("step_size")?,
                };
                fields.check("step_size", step_size >= 1, "at least 1", step_size)?;
                let gamma = fields.or("gamma", factor)?;
                fields.check(
                    "gamma",
                    gamma > 0.0 && gamma <= 1.0,
                    "a factor above 0, at most 1",
                    gamma,
                )?;
                Self::Step { step_size, gamma }
            }
        };
        fields.finish()?;
        Ok(schedule)
    }

    /// The fields as a recipe shows them.
    pub(super) fn lines(&self) -> Vec<Line> {
        let fields = self.to_fields().into_iter();
        fields
            .map(|(name, value, remark)| Line {
                name,
                value: Some(value),
                remark,
                is_default: false,
            })
            .collect()
    }

    fn to_fields(&self) -> Vec<(&'static str, Value, &'static str)> {
        let steps = |n: u64| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        let mut fields = vec![(
            "kind",
            Value::from(self.kind()),
            "constant, cosine, linear, one-cycle, step, plateau, ...",
        )];
        match *self {
            Self::Constant { warmup_steps } => {
                fields.push((
                    "warmup_steps",
                    steps(warmup_steps),
                    "steps of the rise from 0",
                ));
            }
            Self::Cosine {
                warmup_steps,
                min_factor,
            } => {
                fields.push((
                    "warmup_steps",
                    steps(warmup_steps),
                    "steps of the rise from 0",
                ));
                fields.push((
                    "min_factor",
                    Value::from(min_factor),
                    "share of lr at the end",
                ));
            }
            Self::Linear { min_factor } => {
                fields.push((
                    "min_factor",
                    Value::from(min_factor),
                    "share of lr at the end",
                ));
            }
            Self::OneCycle { pct_start } => {
                fields.push((
                    "pct_start",
                    Value::from(pct_start),
                    "share of the run that rises",
                ));
            }
            Self::Step { step_size, gamma } => {
                fields.push(("step_size", steps(step_size), "steps between two falls"));
                fields.push(("gamma", Value::from(gamma), "factor of a fall"));
            }
            Self::Given(ref schedule) => {
                let (_, table) = given_fields(schedule);
                fields.extend(named(table));
            }
            Self::Plateau(ref config) => fields.extend(named(to_table(config))),
        }
        fields
    }
}

/// The fields of a schedule by their names as constants.
fn named(table: Table) -> impl Iterator<Item = (&'static str, Value, &'static str)> {
    table.into_iter().filter_map(|(name, value)| {
        let name = GIVEN.iter().find(|known| **known == name)?;
        Some((*name, value, ""))
    })
}

/// The fields that schedules of `cortical-optim` have.
const GIVEN: [&str; 34] = [
    "anneal_strategy",
    "base_lr",
    "base_momentum",
    "cooldown",
    "cycle_momentum",
    "decay",
    "decay_steps",
    "eps",
    "eta_min",
    "factor",
    "gamma",
    "max_lr",
    "max_momentum",
    "milestones",
    "min_factor",
    "min_lr",
    "mode",
    "patience",
    "power",
    "schedules",
    "stable_steps",
    "step_size",
    "step_size_down",
    "step_size_up",
    "t_0",
    "t_max",
    "t_mult",
    "then",
    "threshold",
    "threshold_mode",
    "total_iters",
    "total_steps",
    "warmup_steps",
    "start_factor",
];

/// Reads a schedule of `cortical-optim` by its own fields.
fn read_given(
    table: &Table,
    kind: &'static str,
    base: &ScheduleRecipe,
) -> Result<ScheduleRecipe, FieldError> {
    let mut merged = match base {
        _ if base.kind() != kind => Table::new(),
        ScheduleRecipe::Given(schedule) => given_fields(schedule).1,
        ScheduleRecipe::Plateau(config) => to_table(config),
        _ => Table::new(),
    };
    merged.extend(table.clone());
    merged.remove("kind");
    let serde = |why: toml::de::Error| from_serde("schedule", why.message());
    let range = |error: cortical_optim::Error| match error {
        cortical_optim::Error::Schedule {
            field,
            expected,
            got,
        } => FieldError::Range {
            path: format!("schedule.{field}"),
            expected: expected.to_owned(),
            found: got,
        },
        other => FieldError::Range {
            path: "schedule".to_owned(),
            expected: "a schedule".to_owned(),
            found: other.to_string(),
        },
    };
    if kind == "plateau" {
        let config = PlateauConfig::deserialize(Value::Table(merged)).map_err(serde)?;
        cortical_optim::Plateau::new(config, 1.0).map_err(range)?;
        return Ok(ScheduleRecipe::Plateau(config));
    }
    merged.insert("name".to_owned(), kind.into());
    let schedule = Schedule::deserialize(Value::Table(merged)).map_err(serde)?;
    schedule.validate().map_err(range)?;
    Ok(ScheduleRecipe::Given(schedule))
}

/// A value as TOML has it. Settings are numbers, texts, lists and tables, which always fit.
pub(super) fn to_table(value: &impl Serialize) -> Table {
    Table::try_from(value).expect("settings are numbers, texts, lists and tables")
}

/// A field that nobody knows.
pub(super) fn unknown<'a>(
    path: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> FieldError {
    FieldError::Unknown {
        path: format!("{path}.{name}"),
        nearest: nearest(name, known.clone()).map(|near| format!("{path}.{near}")),
        known: known.map(str::to_owned).collect(),
    }
}

/// A value that is not what its field holds.
pub(super) fn wrong_type(
    path: &str,
    value: &Value,
    default: Option<&Value>,
    why: &str,
) -> FieldError {
    let expected = match default {
        Some(Value::Integer(_)) => u64::expected(),
        Some(Value::Float(_)) => f64::expected(),
        Some(Value::Boolean(_)) => bool::expected(),
        // serde knows better: `unknown variant ..., expected one of ...`.
        _ => match why.split_once("expected ") {
            Some((_, expected)) => expected.replace('`', "\""),
            None => why.to_owned(),
        },
    };
    FieldError::Type {
        path: path.to_owned(),
        expected,
        found: show(value),
    }
}

/// What serde says about a table that it could not read, as an error about one of its fields.
pub(super) fn from_serde(path: &str, why: &str) -> FieldError {
    let quoted: Vec<&str> = why.split('`').skip(1).step_by(2).collect();
    let after = |start: &str| why.starts_with(start);
    match quoted.split_first() {
        Some((name, known)) if after("unknown field") => unknown(path, name, known.iter().copied()),
        Some((name, _)) if after("missing field") => FieldError::Missing {
            path: format!("{path}.{name}"),
            expected: "a value".to_owned(),
        },
        _ => FieldError::Range {
            path: path.to_owned(),
            expected: "settings that can be read".to_owned(),
            found: why.trim().to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_is_valid_over_a_run() {
        for recipe in [
            ScheduleRecipe::Constant { warmup_steps: 0 },
            ScheduleRecipe::Constant { warmup_steps: 3 },
            ScheduleRecipe::Cosine {
                warmup_steps: 0,
                min_factor: 0.0,
            },
            ScheduleRecipe::Cosine {
                warmup_steps: 4,
                min_factor: 0.1,
            },
            ScheduleRecipe::Linear { min_factor: 0.0 },
            ScheduleRecipe::OneCycle { pct_start: 0.3 },
            ScheduleRecipe::Step {
                step_size: 2,
                gamma: 0.5,
            },
        ] {
            let schedule = recipe.over(10, 1.0).unwrap();
            schedule.validate().unwrap();
            let highest = (0..10)
                .map(|step| schedule.lr(step, 1.0))
                .fold(0.0, f64::max);
            assert!((highest - 1.0).abs() < 1e-9, "{recipe:?}: {highest}");
        }
    }

    #[test]
    fn a_warm_up_longer_than_the_run_is_refused() {
        let recipe = ScheduleRecipe::Constant { warmup_steps: 10 };
        assert_eq!(
            recipe.over(10, 1.0).unwrap_err().to_string(),
            "schedule.warmup_steps: expected fewer than the 10 steps of the run, found 10"
        );
    }
}

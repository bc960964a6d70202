//! The table `[schedule]`: schedules that fit the length of a run, and any other of `cortical-optim`.

use cortical_optim::{Anneal, PlateauConfig, Schedule};
use cortical_settings::{
    FieldError, Line, OneOf, Setting, Table, Value, at_least, choose, join, one_of, rule, settings,
    share,
};

settings! {
    /// Always the base learning rate, after the warm-up.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ConstantRun {
        /// Steps of the rise from 0.
        pub warmup_steps: u64 = 0, "steps of the rise from 0";
    }
}

settings! {
    /// Half a cosine from the base learning rate to the end of the run, after the warm-up.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct CosineRun {
        /// Steps of the rise from 0.
        pub warmup_steps: u64 = 0, "steps of the rise from 0";
        /// Share of the base learning rate at the end.
        pub min_factor: f64 = 0.0, "share of lr at the end", share();
    }
}

settings! {
    /// A straight line from the base learning rate to the end of the run.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct LinearRun {
        /// Share of the base learning rate at the end.
        pub min_factor: f64 = 0.0, "share of lr at the end", share();
    }
}

settings! {
    /// Up from a twenty-fifth of the base learning rate, then down to nearly nothing (Smith and Topin 2018).
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct OneCycleRun {
        /// Share of the run in which the learning rate rises.
        pub pct_start: f64 = 0.3, "share of the run that rises", share();
    }
}

settings! {
    /// Falls by a factor every so many steps.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct StepRun {
        /// Steps between two falls.
        pub step_size: u64, "steps between two falls", at_least(1);
        /// Factor of a fall.
        pub gamma: f64 = 0.1, "factor of a fall",
            rule("a factor above 0, at most 1", |gamma: &f64| *gamma > 0.0 && *gamma <= 1.0);
    }
}

one_of! {
    /// How the learning rate follows the steps of a run, whatever its length.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub enum RunSchedule: "schedule" {
        /// Always the base learning rate, after the warm-up.
        "constant" => Constant(ConstantRun),
        /// Half a cosine to the end of the run, after the warm-up.
        "cosine" => Cosine(CosineRun),
        /// A straight line to the end of the run.
        "linear" => Linear(LinearRun),
        /// Up, then down to nearly nothing.
        "one-cycle" => OneCycle(OneCycleRun),
        /// Falls by a factor every so many steps.
        "step" => Step(StepRun),
        /// Falls when the monitored figure has stopped getting better.
        "plateau" => Plateau(PlateauConfig),
    }
}

/// The table `[schedule]`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ScheduleRecipe {
    /// A schedule that fits the length of the run.
    Run(RunSchedule),
    /// Any other schedule of `cortical-optim`, with its own fields.
    Given(Schedule),
}

/// The path of the table.
const PATH: &str = "schedule";

impl ScheduleRecipe {
    /// Half a cosine, after a warm-up.
    pub(super) fn cosine(warmup_steps: u64, min_factor: f64) -> Self {
        Self::Run(RunSchedule::Cosine(CosineRun {
            warmup_steps,
            min_factor,
        }))
    }

    /// The name in `schedule.kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Run(schedule) => schedule.kind(),
            Self::Given(schedule) => schedule.kind(),
        }
    }

    /// The plateau, if that is what it is.
    #[must_use]
    pub fn plateau(&self) -> Option<PlateauConfig> {
        match self {
            Self::Run(RunSchedule::Plateau(config)) => Some(*config),
            _ => None,
        }
    }

    /// The schedule of a run of `total_steps` steps with this base learning rate.
    ///
    /// # Errors
    /// A warm-up that is not shorter than the run.
    pub fn over(&self, total_steps: u64, base_lr: f64) -> Result<Schedule, FieldError> {
        let schedule = match self {
            Self::Given(schedule) => return Ok(schedule.clone()),
            Self::Run(schedule) => schedule,
        };
        let warmup = match schedule {
            RunSchedule::Constant(run) => run.warmup_steps,
            RunSchedule::Cosine(run) => run.warmup_steps,
            _ => 0,
        };
        if warmup > 0 && warmup >= total_steps {
            return Err(FieldError::Range {
                path: join(PATH, "warmup_steps"),
                expected: format!("fewer than the {total_steps} steps of the run"),
                found: warmup.to_string(),
            });
        }
        Ok(match *schedule {
            RunSchedule::Constant(_) if warmup == 0 => Schedule::None,
            RunSchedule::Constant(_) => Schedule::Linear {
                start_factor: 1.0 / warmup as f64,
                end_factor: 1.0,
                total_iters: warmup,
            },
            RunSchedule::Cosine(run) => Schedule::WarmupCosine {
                warmup_steps: warmup,
                total_steps,
                min_factor: run.min_factor,
            },
            RunSchedule::Linear(run) => Schedule::Linear {
                start_factor: 1.0,
                end_factor: run.min_factor,
                total_iters: total_steps,
            },
            RunSchedule::OneCycle(run) => Schedule::OneCycle {
                max_lr: base_lr,
                total_steps,
                epochs: 0,
                steps_per_epoch: 0,
                pct_start: run.pct_start,
                anneal_strategy: Anneal::default(),
                div_factor: 25.0,
                final_div_factor: 1e4,
                three_phase: false,
                cycle_momentum: false,
                base_momentum: 0.85,
                max_momentum: 0.95,
            },
            RunSchedule::Step(run) => Schedule::Step {
                step_size: run.step_size,
                gamma: run.gamma,
            },
            // What falls is the base learning rate itself.
            RunSchedule::Plateau(_) => Schedule::None,
        })
    }

    /// Reads the table; what it does not say is as in `base`, if that is of the same kind.
    pub(super) fn read(table: &Table, base: &Self) -> Result<Self, FieldError> {
        let kind = match table.get("kind") {
            Some(kind) => String::from_value(&join(PATH, "kind"), kind)?,
            None => base.kind().to_owned(),
        };
        // Of two schedules of one name the one that fits the run is meant.
        let known: Vec<(&str, bool)> = RunSchedule::kinds()
            .map(|kind| (kind, true))
            .chain(Schedule::kinds().map(|kind| (kind, false)))
            .collect();
        let fits_run = choose(&join(PATH, "kind"), RunSchedule::WHAT, &kind, &known)?;
        let mut whole = table.clone();
        whole.insert("kind".to_owned(), Value::from(kind));
        match (fits_run, base) {
            (true, Self::Run(base)) => RunSchedule::read(PATH, &whole, Some(base)).map(Self::Run),
            (true, Self::Given(_)) => RunSchedule::read(PATH, &whole, None).map(Self::Run),
            (false, Self::Given(base)) => Schedule::read(PATH, &whole, Some(base)).map(Self::Given),
            (false, Self::Run(_)) => Schedule::read(PATH, &whole, None).map(Self::Given),
        }
    }

    /// The fields as a recipe shows them.
    pub(super) fn lines(&self) -> Vec<Line> {
        const REMARK: &str = "constant, cosine, linear, one-cycle, step, plateau, ...";
        match self {
            Self::Run(schedule) => schedule.lines(REMARK),
            Self::Given(schedule) => schedule.lines(REMARK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ScheduleRecipe {
        let base = ScheduleRecipe::cosine(0, 0.0);
        ScheduleRecipe::read(&text.parse().unwrap(), &base).unwrap()
    }

    #[test]
    fn every_schedule_is_valid_over_a_run() {
        for text in [
            "kind = \"constant\"",
            "kind = \"constant\"\nwarmup_steps = 3",
            "kind = \"cosine\"",
            "warmup_steps = 4\nmin_factor = 0.1",
            "kind = \"linear\"",
            "kind = \"one-cycle\"",
            "kind = \"step\"\nstep_size = 2\ngamma = 0.5",
            "kind = \"exponential\"\ngamma = 0.9",
        ] {
            let schedule = read(text).over(10, 1.0).unwrap();
            schedule.validate().unwrap();
            let highest = (0..10)
                .map(|step| schedule.lr(step, 1.0))
                .fold(0.0, f64::max);
            assert!((highest - 1.0).abs() < 1e-9, "{text}: {highest}");
        }
    }

    #[test]
    fn a_warm_up_longer_than_the_run_is_refused() {
        let recipe = read("kind = \"constant\"\nwarmup_steps = 10");
        assert_eq!(
            recipe.over(10, 1.0).unwrap_err().to_string(),
            "schedule.warmup_steps: expected fewer than the 10 steps of the run, found 10"
        );
    }
}

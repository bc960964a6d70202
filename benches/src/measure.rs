//! How a job is timed: warm-up steps, then turns of repeated ones of which the median counts.

use crate::error::{Error, Result};
use candle_core::{DType, Tensor};
use cortical_kernels::isa;
use cortical_kernels::parallel::keep_spinning;
use cortical_kernels::roofline::Roofline;
use serde_json::{Value, json};
use std::time::Instant;

/// Work that is done again and again.
pub trait Job {
    /// What has to be done before each step and does not count.
    ///
    /// # Errors
    /// Whatever the work refuses.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// One step. Giving its output back to the system counts as a part of it, as it does in the other libraries'
    /// programs.
    ///
    /// # Errors
    /// Whatever the work refuses.
    fn step(&mut self) -> Result<Output>;
}

impl<F: FnMut() -> Result<Output>> Job for F {
    fn step(&mut self) -> Result<Output> {
        self()
    }
}

/// Who says how many steps are made next: a program that is compared with another takes turns with it.
pub trait Turns {
    /// How many steps the next turn has, given how many milliseconds each of the last turn took; `None` ends the run.
    /// The first call, which nothing was timed before, comes when the job is built and warm.
    fn next(&mut self, last: &[f64]) -> Option<usize>;
}

/// One turn of so many steps.
struct AtOnce(Option<usize>);

impl Turns for AtOnce {
    fn next(&mut self, _: &[f64]) -> Option<usize> {
        self.0.take()
    }
}

/// What a step computed.
#[derive(Debug)]
pub enum Output {
    /// A number, such as a loss.
    Number(f64),
    /// A tensor, such as logits.
    Tensor(Tensor),
}

impl Output {
    /// The output as one number that is the same whenever the work is.
    ///
    /// # Errors
    /// candle's, when the tensor cannot be read.
    pub fn checksum(&self) -> Result<f64> {
        match self {
            Self::Number(x) => Ok(*x),
            Self::Tensor(t) => {
                let values: Vec<f32> = t.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
                Ok(values.iter().map(|&x| f64::from(x)).sum())
            }
        }
    }
}

impl From<Tensor> for Output {
    fn from(tensor: Tensor) -> Self {
        Self::Tensor(tensor)
    }
}

/// What a step cannot do without, in operations and in bytes: no program for it is faster than the machine allows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Floating-point operations, a multiply-add counting as two.
    pub operations: f64,
    /// Bytes that are moved in passes that do little arithmetic.
    pub bytes: f64,
    /// How many bytes such a pass goes over: whether they can stay in a cache from step to step.
    pub working_set: f64,
}

/// Bytes of an `f32`.
pub const F32: f64 = size_of::<f32>() as f64;

impl Cost {
    /// Work that is arithmetic.
    #[must_use]
    pub fn operations(operations: f64) -> Self {
        Self {
            operations,
            ..Self::default()
        }
    }

    /// Work that moves so many numbers of `f32`, all of them different ones.
    #[must_use]
    pub fn moving(numbers: f64) -> Self {
        Self::default().and_moving(numbers)
    }

    /// As before, and so many numbers of `f32` are moved besides.
    #[must_use]
    pub fn and_moving(self, numbers: f64) -> Self {
        let bytes = numbers * F32;
        Self {
            bytes,
            working_set: bytes,
            ..self
        }
    }

    /// As before, and AdamW moves so many parameters: it reads each with its gradient and two averages, and writes all
    /// but the gradient.
    #[must_use]
    pub fn and_adamw(self, parameters: f64) -> Self {
        Self {
            bytes: 7.0 * parameters * F32,
            working_set: 4.0 * parameters * F32,
            ..self
        }
    }

    /// The least time that the machine allows, and which of its limits takes the larger part.
    #[must_use]
    pub fn floor(&self, roofline: &Roofline) -> (f64, &'static str) {
        let arithmetic = roofline.floor_ms(self.operations, 0.0, 0.0);
        let movement = roofline.floor_ms(0.0, self.bytes, self.working_set);
        let bound = if arithmetic >= movement {
            "compute"
        } else {
            "memory"
        };
        (arithmetic + movement, bound)
    }
}

/// Builds a job when its turn comes.
type Build = Box<dyn FnOnce() -> Result<Box<dyn Job>> + Send>;

/// A job with its name and how it is to be measured.
pub struct Workload {
    name: String,
    warm_ups: usize,
    repeats: usize,
    parts: usize,
    items: f64,
    unit: &'static str,
    cost: Cost,
    build: Build,
}

impl Workload {
    /// A workload whose steps each deal with `items` units, rated in `unit` (items a second).
    pub fn new<J: Job + 'static>(
        name: impl Into<String>,
        (items, unit): (f64, &'static str),
        build: impl FnOnce() -> Result<J> + Send + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            warm_ups: 1,
            repeats: 1,
            parts: 1,
            items,
            unit,
            cost: Cost::default(),
            build: Box::new(|| Ok(Box::new(build()?))),
        }
    }

    /// How many steps come before those that count, at least one, and how many count.
    #[must_use]
    pub fn times(mut self, warm_ups: usize, repeats: usize) -> Self {
        (self.warm_ups, self.repeats) = (warm_ups.max(1), repeats.max(1));
        self
    }

    /// Of how many equal parts a step consists; the reported time is that of one.
    #[must_use]
    pub fn parts(mut self, parts: usize) -> Self {
        self.parts = parts.max(1);
        self
    }

    /// What a step cannot do without.
    #[must_use]
    pub fn cost(mut self, cost: Cost) -> Self {
        self.cost = cost;
        self
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs the workload in the current pool of threads, all steps at once.
    ///
    /// The checksum is that of the first step, so it does not depend on how often the step is repeated.
    ///
    /// # Errors
    /// Whatever the work refuses, and [`Error::Checksum`] when it computes nonsense.
    pub fn run(self) -> Result<Row> {
        let mut once = AtOnce(Some(self.repeats));
        self.run_in_turns(&mut once)
    }

    /// As [`Workload::run`], as many steps as `turns` say.
    ///
    /// # Errors
    /// Those of [`Workload::run`], and [`Error::NoSteps`] where there was no turn.
    pub fn run_in_turns(self, turns: &mut dyn Turns) -> Result<Row> {
        // As a loop over steps would be written by somebody in a hurry; PyTorch's threads keep spinning between steps
        // by themselves.
        keep_spinning(|| self.measured(turns))
    }

    fn measured(self, turns: &mut dyn Turns) -> Result<Row> {
        let mut job = (self.build)()?;
        job.prepare()?;
        let checksum = job.step()?.checksum()?;
        if !checksum.is_finite() {
            return Err(Error::Checksum {
                bench: self.name,
                got: checksum,
            });
        }
        for _ in 1..self.warm_ups {
            job.prepare()?;
            job.step()?;
        }
        let (mut all, mut last) = (Vec::new(), Vec::new());
        while let Some(steps) = turns.next(&last) {
            last.clear();
            for _ in 0..steps {
                job.prepare()?;
                let start = Instant::now();
                drop(job.step()?);
                last.push(start.elapsed().as_secs_f64() * 1e3 / self.parts as f64);
            }
            all.extend_from_slice(&last);
        }
        all.sort_by(f64::total_cmp);
        let Some(ms) = all.get(all.len() / 2).copied() else {
            return Err(Error::NoSteps { bench: self.name });
        };
        Ok(Row {
            bench: self.name,
            ms,
            rate: self.items / (ms * self.parts as f64) * 1e3,
            unit: self.unit,
            checksum,
            threads: rayon::current_num_threads(),
            cost: self.cost,
            parts: self.parts,
            peak_rss_mb: peak_rss_mb(),
        })
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The workload's name.
    pub bench: String,
    /// The median of the steps' times.
    pub ms: f64,
    /// How many units a second that is.
    pub rate: f64,
    /// The unit of the rate.
    pub unit: &'static str,
    /// The output of the first step as one number.
    pub checksum: f64,
    /// How many threads there were.
    pub threads: usize,
    /// What a step cannot do without.
    pub cost: Cost,
    /// Of how many equal parts a step consists.
    pub parts: usize,
    /// The most memory that the process had had when the workload was done, where the system tells.
    pub peak_rss_mb: Option<f64>,
}

impl Row {
    /// The line that is printed: keys that every program has (`peer`, `bench`, `ms`, `rate`, `unit`) and ours besides,
    /// among them the share of the machine's limits that was reached.
    #[must_use]
    pub fn to_json(&self, roofline: &Roofline) -> Value {
        let (step_ms, bound) = self.cost.floor(roofline);
        let roofline_ms = step_ms / self.parts as f64;
        json!({
            "peer": "cortical",
            "bench": self.bench,
            "ms": rounded(self.ms, 4),
            "rate": rounded(self.rate, 1),
            "unit": self.unit,
            "checksum": self.checksum,
            "threads": self.threads,
            "isa": isa::current().name(),
            "bound": bound,
            "roofline_ms": rounded(roofline_ms, 4),
            "roofline_share": rounded(roofline_ms / self.ms, 3),
            "peak_gflops": rounded(roofline.gflops, 1),
            "cache_gb_s": rounded(roofline.cache_gb_s, 1),
            "memory_gb_s": rounded(roofline.memory_gb_s, 1),
            "peak_rss_mb": self.peak_rss_mb.map(|mb| rounded(mb, 1)),
        })
    }
}

fn rounded(x: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (x * scale).round() / scale
}

/// The most memory that this process has had so far, where Linux tells.
#[must_use]
pub fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

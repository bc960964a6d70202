//! Neurons removed until a network is as fast as it is to be, by what this machine measures.
//!
//! First a table: how long the whole network takes when one group of neurons is narrower, for eight widths of each
//! group. A width that is no faster than a larger one is struck out, as it would cost accuracy for nothing; so widths
//! land where kernels are fast. Then one group after the other is narrowed by a step of its table: the one that saves
//! the most time for what its neurons are worth. A step after which the network measures no faster is taken back.

use std::collections::BTreeMap;
use std::time::Duration;

use candle_core::{Device, Tensor};
use cortical_models::{Network, NeuronGroup, Plan};
use cortical_neuron::{Params, largest};
use cortical_tensor::Seed;

use crate::remove::{remove, shapes};
use crate::{Error, Result, timing};

/// How fast a network is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// A forward pass takes so many milliseconds at most.
    Milliseconds(f64),
    /// It is so many times as fast as before.
    Speedup(f64),
}

/// The time of the whole network with one group narrower.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Timed {
    /// The layers that make the group's neurons.
    pub layers: Vec<String>,
    /// How many neurons it has.
    pub width: usize,
    /// Median milliseconds.
    pub ms: f64,
    /// Whether it is faster than every larger width.
    pub pays: bool,
}

/// What a search has found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The neurons of each group that stay.
    pub(crate) kept: Vec<Vec<usize>>,
    pub(crate) table: Vec<Timed>,
    /// Steps that were taken, and those that were taken back.
    pub(crate) steps: (usize, usize),
}

/// The widths of a group that pay, from the largest, with the share of the whole network's time.
type Ladder = Vec<(usize, f64)>;

/// Widths of a group in the table.
const WIDTHS: usize = 8;

/// How long a comparison in the table, and one of a step, is repeated.
const TABLE_TIME: Duration = Duration::from_millis(60);
const STEP_TIME: Duration = Duration::from_millis(250);

/// The network that a search narrows.
pub(crate) struct Search<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) groups: &'a [NeuronGroup],
    pub(crate) tensors: &'a BTreeMap<String, Tensor>,
    /// What each neuron of each group is worth.
    pub(crate) scores: &'a [Vec<f32>],
    /// Samples at a time.
    pub(crate) batch: usize,
}

impl Search<'_> {
    /// Narrows until the target is reached.
    ///
    /// # Errors
    /// [`Error::NoNeurons`]; [`Error::Unreached`] with the fastest network that was found.
    pub(crate) fn run(&self, target: Target) -> Result<Found> {
        if self.groups.iter().all(|group| group.fixed) {
            return Err(Error::NoNeurons);
        }
        let mut widths: Vec<usize> = self.groups.iter().map(|group| group.count).collect();
        let whole = self.network(&widths)?;
        let (table, mut ladders) = self.table(&whole)?;
        let (mut current, mut steps) = (self.network(&widths)?, (0, 0));
        let mut best = 1.0;
        loop {
            let [before, now] = self.compare([&whole, &current], STEP_TIME)?;
            best = f64::max(best, before / now);
            let reached = match target {
                Target::Milliseconds(ms) => now <= ms,
                Target::Speedup(times) => before / now >= times,
            };
            if reached {
                let kept = self.kept(&widths);
                return Ok(Found { kept, table, steps });
            }
            let Some((group, width)) = self.next(&ladders, &widths) else {
                return Err(Error::Unreached {
                    batch: self.batch,
                    ms: now,
                    speedup: best,
                });
            };
            let mut narrower = widths.clone();
            narrower[group] = width;
            let candidate = self.network(&narrower)?;
            let [now, then] = self.compare([&current, &candidate], STEP_TIME)?;
            if then < now {
                (widths, current) = (narrower, candidate);
                steps.0 += 1;
            } else {
                ladders[group].retain(|(other, _)| *other != width);
                steps.1 += 1;
            }
        }
    }

    /// The times of all widths, and of each group the widths that pay, from the largest, with the share of the time of
    /// the whole network.
    fn table(&self, whole: &Built) -> Result<(Vec<Timed>, Vec<Ladder>)> {
        let (mut table, mut ladders) = (Vec::new(), Vec::new());
        for (g, group) in self.groups.iter().enumerate() {
            let mut ladder = vec![(group.count, 1.0)];
            if !group.fixed {
                let widths = (1..WIDTHS)
                    .rev()
                    .map(|part| (group.count * part).div_ceil(WIDTHS));
                let mut widths: Vec<usize> = widths.filter(|width| *width < group.count).collect();
                widths.dedup();
                for width in widths {
                    let mut all: Vec<usize> = self.groups.iter().map(|group| group.count).collect();
                    all[g] = width;
                    let narrower = self.network(&all)?;
                    let [before, ms] = self.compare([whole, &narrower], TABLE_TIME)?;
                    let share = ms / before;
                    let pays = ladder.iter().all(|(_, other)| share < *other);
                    if pays {
                        ladder.push((width, share));
                    }
                    table.push(Timed {
                        layers: group.makers().into_iter().map(str::to_owned).collect(),
                        width,
                        ms,
                        pays,
                    });
                }
            }
            ladders.push(ladder);
        }
        Ok((table, ladders))
    }

    /// The step that saves the most time for what is lost.
    fn next(&self, ladders: &[Ladder], widths: &[usize]) -> Option<(usize, usize)> {
        let mut best: Option<(f64, usize, usize)> = None;
        for (group, ladder) in ladders.iter().enumerate() {
            let narrower = ladder.iter().find(|(width, _)| *width < widths[group]);
            // The table knows the width unless it was struck out meanwhile.
            let own = ladder
                .iter()
                .rev()
                .find(|(width, _)| *width >= widths[group]);
            let (Some((width, share)), Some((_, own))) = (narrower, own) else {
                continue;
            };
            let worth = |width: usize| self.worth(group, width);
            let lost = (worth(widths[group]) - worth(*width)).max(f64::MIN_POSITIVE);
            let gain = (own - share) / lost;
            if best.is_none_or(|(other, ..)| gain > other) {
                best = Some((gain, group, *width));
            }
        }
        best.map(|(_, group, width)| (group, width))
    }

    /// The share of a group's worth that its best neurons have.
    fn worth(&self, group: usize, width: usize) -> f64 {
        let mut scores = self.scores[group].clone();
        scores.sort_by(|a, b| b.total_cmp(a));
        let sum = |scores: &[f32]| scores.iter().map(|score| f64::from(*score)).sum::<f64>();
        sum(&scores[..width]) / sum(&scores).max(f64::MIN_POSITIVE)
    }

    /// The best neurons of each group.
    fn kept(&self, widths: &[usize]) -> Vec<Vec<usize>> {
        let best = |(scores, width): (&Vec<f32>, &usize)| {
            let mask = largest([&scores[..]], *width).remove(0);
            (0..scores.len())
                .filter(|neuron| mask[*neuron] == 1)
                .collect()
        };
        self.scores.iter().zip(widths).map(best).collect()
    }

    fn network(&self, widths: &[usize]) -> Result<Built> {
        let tensors = remove(self.tensors, self.groups, &self.kept(widths))?;
        let plan = self.plan.narrowed(&shapes(&tensors))?;
        let params = Params::new(&Device::Cpu, Seed(0));
        let network = Network::build(&plan, &params)?;
        for (name, tensor) in &tensors {
            params.set(name, tensor)?;
        }
        Ok(Built(network))
    }

    fn compare(&self, networks: [&Built; 2], patience: Duration) -> Result<[f64; 2]> {
        let shape = self.plan.input_shape();
        let networks = networks.map(|built| (&built.0, shape));
        let times = timing::milliseconds(&networks, self.batch, patience)?;
        Ok([times[0], times[1]])
    }
}

/// A network with its parameters.
struct Built(Network);

//! Which neurons matter.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use cortical_models::{NeuronGroup, Slice};
use cortical_neuron::{kept, largest};
use cortical_tensor::{Rng, Seed};

use crate::remove::check;
use crate::{Error, Result};

/// What makes a neuron important.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Importance {
    /// The size of what makes it, scales it and reads it: for every weight tensor the sum of squares of the neuron's
    /// slice, divided by the mean over the neurons of the group, summed over the tensors.
    ///
    /// # Source
    /// As the group norm of Fang et al., "DepGraph: towards any structural pruning" (2023), section 3.3, with each
    /// tensor counting alike.
    #[default]
    Magnitude,
    /// Chance, drawn from this seed: the control.
    Random(u64),
}

/// How many neurons go.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Share {
    /// The same share of each group.
    Each(f64),
    /// This share of all neurons, those that matter least wherever they are; an eighth of each group stays.
    All(f64),
}

/// The least share of a group that stays when neurons are ranked across groups.
const LEAST: f64 = 0.125;

/// The neurons of each group that stay, in their order. A group that has to stay keeps all, every other one at least
/// one.
///
/// # Errors
/// [`Error::NoNeurons`] where every group has to stay; [`Error::Slice`] for tensors that are not as wide as the groups
/// say.
pub fn keep(
    groups: &[NeuronGroup],
    tensors: &BTreeMap<String, Tensor>,
    importance: Importance,
    share: Share,
) -> Result<Vec<Vec<usize>>> {
    if groups.iter().all(|group| group.fixed) {
        return Err(Error::NoNeurons);
    }
    let scores = scores(groups, tensors, importance)?;
    Ok(choose(groups, &scores, share))
}

/// The neurons of each group that stay by their scores.
pub(crate) fn choose(groups: &[NeuronGroup], scores: &[Vec<f32>], share: Share) -> Vec<Vec<usize>> {
    let masks: Vec<Vec<u8>> = match share {
        Share::Each(share) => scores
            .iter()
            .map(|scores| largest([&scores[..]], kept(scores.len(), share).max(1)).remove(0))
            .collect(),
        Share::All(share) => {
            let free = || groups.iter().zip(scores).filter(|(group, _)| !group.fixed);
            let count = free().map(|(_, scores)| scores.len()).sum();
            // The best of each group are out of the question.
            let bounded = free().map(|(_, scores)| {
                let least = kept(scores.len(), 1.0 - LEAST).max(1);
                let best = largest([&scores[..]], least).remove(0);
                let bound =
                    |(score, best): (&f32, u8)| if best == 1 { f32::INFINITY } else { *score };
                scores.iter().zip(best).map(bound).collect()
            });
            let bounded: Vec<Vec<f32>> = bounded.collect();
            let mut masks =
                largest(bounded.iter().map(Vec::as_slice), kept(count, share)).into_iter();
            let each = groups.iter().zip(scores);
            each.map(|(group, scores)| match group.fixed {
                true => vec![1; scores.len()],
                false => masks.next().unwrap_or_default(),
            })
            .collect()
        }
    };
    let chosen = |(group, mask): (&NeuronGroup, Vec<u8>)| match group.fixed {
        true => (0..group.count).collect(),
        false => (0..group.count)
            .filter(|neuron| mask[*neuron] == 1)
            .collect(),
    };
    groups.iter().zip(masks).map(chosen).collect()
}

/// How important each neuron of each group is; the mean is the same in all groups.
pub(crate) fn scores(
    groups: &[NeuronGroup],
    tensors: &BTreeMap<String, Tensor>,
    importance: Importance,
) -> Result<Vec<Vec<f32>>> {
    let score = |(i, group): (usize, &NeuronGroup)| match importance {
        // Nobody asks.
        _ if group.fixed => Ok(vec![0.0; group.count]),
        Importance::Magnitude => magnitudes(group, tensors),
        Importance::Random(seed) => {
            let mut rng = Rng::new(Seed(seed), &format!("neurons of group {i}"));
            Ok((0..group.count).map(|_| rng.uniform() as f32).collect())
        }
    };
    groups.iter().enumerate().map(score).collect()
}

fn magnitudes(group: &NeuronGroup, tensors: &BTreeMap<String, Tensor>) -> Result<Vec<f32>> {
    let mut sums = vec![0.0_f64; group.count];
    let weights = group
        .slices
        .iter()
        .filter(|slice| slice.tensor.ends_with(".weight"));
    let mut parts = 0.0;
    for slice in weights {
        let squares = squares(slice, check(slice, group.count, tensors)?, group.count)?;
        let mean = squares.iter().sum::<f64>() / group.count as f64;
        if mean > 0.0 {
            parts += 1.0;
            for (sum, square) in sums.iter_mut().zip(squares) {
                *sum += square / mean;
            }
        }
    }
    Ok(sums
        .into_iter()
        .map(|sum| (sum / f64::max(parts, 1.0)) as f32)
        .collect())
}

/// The sum of squares of each neuron's slice.
fn squares(slice: &Slice, tensor: &Tensor, neurons: usize) -> Result<Vec<f64>> {
    let squares = tensor.to_dtype(DType::F64)?.sqr()?;
    let axis = slice.axis;
    let rest: Vec<usize> = (0..squares.rank()).filter(|other| *other != axis).collect();
    let along = squares.sum(rest)?.to_vec1::<f64>()?;
    let own = along.iter().skip(slice.from).take(neurons * slice.each);
    let along: Vec<f64> = own.copied().collect();
    let each = along.chunks(slice.each.max(1));
    Ok(each.map(|part| part.iter().sum()).collect())
}

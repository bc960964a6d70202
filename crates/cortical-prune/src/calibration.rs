//! What linear layers read of a text, and weights pruned by it: Wanda.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use cortical_dense::{Layout, Linear};
use cortical_models::language::LanguageModel;
use cortical_models::{NeuronGroup, Role};
use cortical_neuron::{InputObserver, Pass, Pattern, kept, largest, largest_of_rows};
use cortical_tensor::{Rng, Seed};

use crate::remove::check;
use crate::{Error, Result};

/// How many weights go.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Amount {
    /// This share of each neuron's weights.
    OfRow(f64),
    /// This share of each layer's weights.
    OfLayer(f64),
    /// All but so many of each so many.
    Pattern(Pattern),
}

/// What makes a weight important.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum By {
    /// Its magnitude.
    #[default]
    Magnitude,
    /// Chance: the control.
    Random,
    /// Its magnitude times the norm of what it reads.
    Wanda,
}

/// Which weights of a language model become 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ranked {
    /// What makes a weight important.
    pub by: By,
    /// How many go.
    pub amount: Amount,
}

impl Ranked {
    /// Whether a text has to be read for it.
    pub(crate) fn needs_inputs(self) -> bool {
        self.by == By::Wanda
    }
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Magnitude => "by magnitude",
            Self::Random => "at random",
            Self::Wanda => "by magnitude times the norm of what they read (Wanda)",
        })
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |share: &f64| (share * 1e4).round() / 100.0;
        match self {
            Self::OfRow(share) => write!(f, "{} % of each row", percent(share)),
            Self::OfLayer(share) => write!(f, "{} % of each layer", percent(share)),
            Self::Pattern(pattern) => write!(f, "all but {pattern}"),
        }
    }
}

/// Prunes linear layers.
///
/// The score of a weight is `|w_ij| · ‖x_j‖₂`, the norm over all tokens of the calibration text, and each row of a
/// layer loses the same share. All layers of a block are ranked by what they read while the block is whole and the
/// blocks before it are pruned.
///
/// # Source
/// Sun et al., "A simple and effective pruning approach for large language models" (Wanda, 2023).
pub(crate) struct Pruning<'a> {
    layers: BTreeMap<&'a str, &'a Linear>,
    ranked: Ranked,
    seed: u64,
}

impl<'a> Pruning<'a> {
    pub(crate) fn new(layers: &[&'a Linear], ranked: Ranked, seed: u64) -> Self {
        let layers = layers.iter().map(|layer| (layer.name(), *layer));
        Self {
            layers: layers.collect(),
            ranked,
            seed,
        }
    }

    /// Prunes every layer, by its weights alone.
    pub(crate) fn all(&self) -> Result<()> {
        self.layers
            .values()
            .try_for_each(|layer| self.prune(layer, None))
    }

    /// Prunes block by block, by the weights and by what they read of `ids`.
    pub(crate) fn calibrated(mut self, model: &LanguageModel, ids: &Tensor) -> Result<()> {
        model.block_by_block(ids, |block| {
            let inputs = Inputs::default();
            block.run(&mut Pass::eval().read_by(&inputs))?;
            for (name, squares) in inputs.0.into_inner() {
                if let Some(layer) = self.layers.remove(&name[..]) {
                    let norms: Vec<f32> = squares.iter().map(|sum| sum.sqrt() as f32).collect();
                    self.prune(layer, Some(&norms))?;
                }
            }
            Ok::<_, Error>(block.run(&mut Pass::eval())?)
        })?;
        match self.layers.first_key_value() {
            None => Ok(()),
            Some((name, _)) => Err(Error::Unread {
                layer: (*name).to_owned(),
            }),
        }
    }

    fn prune(&self, layer: &Linear, norms: Option<&[f32]>) -> Result<()> {
        let Some(weight) = layer.weight() else {
            return Err(Error::Unread {
                layer: layer.name().to_owned(),
            });
        };
        let by_columns = layer.layout() == Layout::Columns;
        let as_rows = |tensor: &Tensor| match by_columns {
            true => tensor.t()?.contiguous(),
            false => Ok(tensor.clone()),
        };
        let rows = as_rows(weight.tensor())?;
        let (out, input) = rows.dims2()?;
        let mut scores = match self.ranked.by {
            By::Random => {
                let mut rng = Rng::new(Seed(self.seed), &format!("prune {}", weight.name()));
                (0..out * input).map(|_| rng.uniform() as f32).collect()
            }
            _ => rows
                .to_dtype(DType::F32)?
                .abs()?
                .flatten_all()?
                .to_vec1::<f32>()?,
        };
        if let Some(norms) = norms {
            for row in scores.chunks_mut(input) {
                row.iter_mut()
                    .zip(norms)
                    .for_each(|(score, norm)| *score *= norm);
            }
        }
        let mask = match self.ranked.amount {
            Amount::OfRow(share) => largest_of_rows(&scores, input, share),
            Amount::OfLayer(share) => largest([&scores[..]], kept(scores.len(), share)).remove(0),
            Amount::Pattern(pattern) => pattern.mask(&scores, input),
        };
        let mask = Tensor::from_vec(mask, (out, input), weight.tensor().device())?;
        let mask = if by_columns {
            mask.t()?.contiguous()?
        } else {
            mask
        };
        Ok(weight.prune(&mask)?)
    }
}

/// The sum of squares of each feature `[…, features]`.
fn squares(x: &Tensor) -> candle_core::Result<Vec<f64>> {
    let rows = x
        .to_dtype(DType::F32)?
        .flatten_to(x.rank().saturating_sub(2))?;
    let mut sums = vec![0.0_f64; rows.dim(1)?];
    let features = sums.len().max(1);
    for row in rows.flatten_all()?.to_vec1::<f32>()?.chunks(features) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += f64::from(*x) * f64::from(*x);
        }
    }
    Ok(sums)
}

/// What each linear layer has read: the sum of squares of each of its inputs.
#[derive(Default)]
pub(crate) struct Inputs(RefCell<BTreeMap<String, Vec<f64>>>);

impl InputObserver for Inputs {
    fn input(&self, layer: &str, x: &Tensor) -> cortical_neuron::Result<()> {
        let squares = squares(x)?;
        let mut all = self.0.borrow_mut();
        let sums = all
            .entry(layer.to_owned())
            .or_insert_with(|| vec![0.0; squares.len()]);
        sums.iter_mut()
            .zip(squares)
            .for_each(|(sum, square)| *sum += square);
        Ok(())
    }
}

impl Inputs {
    /// How much of what follows depends on each neuron: the sum over what reads it of `|w_ij| · ‖x_j‖₂`.
    pub(crate) fn scores(
        &self,
        groups: &[NeuronGroup],
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<Vec<Vec<f32>>> {
        let all = self.0.borrow();
        let mut scores = Vec::new();
        for group in groups {
            let mut sums = vec![0.0; group.count];
            for slice in group
                .slices
                .iter()
                .filter(|slice| slice.role == Role::Reads)
            {
                let weights = check(slice, group.count, tensors)?;
                let layer = slice.tensor.trim_end_matches(".weight");
                let inputs = all.get(layer);
                let inputs = inputs.ok_or_else(|| Error::Unread {
                    layer: layer.to_owned(),
                })?;
                let sizes = weights
                    .to_dtype(DType::F64)?
                    .abs()?
                    .sum(1 - slice.axis)?
                    .to_vec1::<f64>()?;
                for (neuron, sum) in sums.iter_mut().enumerate() {
                    let first = slice.from + neuron * slice.each;
                    let own = first..first + slice.each;
                    *sum += own.map(|at| sizes[at] * inputs[at].sqrt()).sum::<f64>();
                }
            }
            scores.push(sums.into_iter().map(|sum| sum as f32).collect());
        }
        Ok(scores)
    }
}

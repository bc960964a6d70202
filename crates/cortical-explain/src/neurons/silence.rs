//! What is lost without a neuron: zeros in its place, the same way for every kind of layer.

use super::collect::UNITS;
use super::subject::Subject;
use super::unit::{Effect, LayerSurvey};
use crate::error::Result;
use candle_core::{DType, Device, Tensor};
use cortical_neuron::{Observer, Pass, View};
use std::ops::Range;

/// Puts zeros in the place of some neurons of a layer.
pub(super) struct Silencer {
    layer: String,
    units: Range<usize>,
    channels_first: bool,
}

impl Silencer {
    pub(super) fn new(layer: &str, units: Range<usize>, channels_first: bool) -> Self {
        Self {
            layer: layer.to_owned(),
            units,
            channels_first,
        }
    }

    /// Nothing is silenced: the other side of a comparison, computed in the same order.
    pub(super) fn none() -> Self {
        Self::new("", 0..0, false)
    }

    fn silence(&self, output: &Tensor) -> candle_core::Result<Tensor> {
        let axis = match self.channels_first {
            true => 1,
            false => output.rank().saturating_sub(1),
        };
        let units = output.dim(axis)?;
        let keep: Vec<f32> = (0..units)
            .map(|unit| f32::from(u8::from(!self.units.contains(&unit))))
            .collect();
        let mut shape = vec![1; output.rank()];
        shape[axis] = units;
        let keep = Tensor::from_vec(keep, shape, &Device::Cpu)?.to_dtype(output.dtype())?;
        // Not by a product: what is infinite is silenced too.
        let keep = keep.broadcast_as(output.shape())?;
        keep.ne(0.0)?.where_cond(output, &output.zeros_like()?)
    }
}

impl Observer for Silencer {
    fn activation(&mut self, _: &str, _: &Tensor) {}

    fn wants(&self, view: View) -> bool {
        view == View::Replacements || (view == View::Units && self.layer.ends_with(UNITS))
    }

    fn replacement(
        &mut self,
        layer: &str,
        output: &Tensor,
    ) -> cortical_neuron::Result<Option<Tensor>> {
        if layer != self.layer {
            return Ok(None);
        }
        Ok(Some(self.silence(output)?))
    }
}

/// Remembers what one layer gives.
struct Recorder<'a> {
    layer: &'a str,
    output: Option<Tensor>,
}

impl Observer for Recorder<'_> {
    fn activation(&mut self, layer: &str, output: &Tensor) {
        if layer == self.layer {
            self.output = Some(output.clone());
        }
    }
}

/// Sums over inputs.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    loss: f64,
    right: Vec<u64>,
    inputs: Vec<u64>,
}

/// Means over inputs.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    pub(super) loss: f64,
    pub(super) accuracy: f64,
    pub(super) recall: Vec<Option<f64>>,
}

impl Scores {
    pub(super) fn new(classes: usize) -> Self {
        Self {
            loss: 0.0,
            right: vec![0; classes],
            inputs: vec![0; classes],
        }
    }

    /// Adds the scores of some inputs.
    ///
    /// # Errors
    /// Scores that cannot be read.
    pub(super) fn add(&mut self, logits: &Tensor, rows: &[usize], labels: &[u32]) -> Result<()> {
        let logits = logits.detach().to_dtype(DType::F32)?.to_vec2::<f32>()?;
        for (scores, row) in logits.iter().zip(rows) {
            let label = labels[*row] as usize;
            let (Some(own), Some(inputs)) = (scores.get(label), self.inputs.get_mut(label)) else {
                continue;
            };
            *inputs += 1;
            let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = scores.iter().map(|s| f64::from(s - most).exp()).sum();
            self.loss += sum.ln() - f64::from(own - most);
            let first = scores.iter().position(|score| *score == most);
            self.right[label] += u64::from(first == Some(label));
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> Measured {
        let inputs = self.inputs.iter().sum::<u64>().max(1) as f64;
        let share =
            |(right, inputs): (&u64, &u64)| (*inputs > 0).then(|| *right as f64 / *inputs as f64);
        Measured {
            loss: self.loss / inputs,
            accuracy: self.right.iter().sum::<u64>() as f64 / inputs,
            recall: self.right.iter().zip(&self.inputs).map(share).collect(),
        }
    }
}

/// A model with all its neurons, over some inputs.
pub(super) struct Baseline<'a> {
    subject: &'a dyn Subject,
    batches: Vec<Vec<usize>>,
    measured: Measured,
}

impl<'a> Baseline<'a> {
    pub(super) fn new(subject: &'a dyn Subject, rows: &[usize]) -> Result<Self> {
        let mut baseline = Self {
            subject,
            batches: subject.batches(rows),
            measured: Scores::new(0).finish(),
        };
        baseline.measured = baseline.without(&mut Silencer::none())?;
        Ok(baseline)
    }

    fn scores(&self) -> Scores {
        Scores::new(self.subject.classes().len())
    }

    /// What the model reaches without some neurons.
    fn without(&self, silencer: &mut Silencer) -> Result<Measured> {
        let mut scores = self.scores();
        for batch in &self.batches {
            let mut pass = Pass::eval().observed_by(silencer);
            let logits = self.subject.forward(batch, &mut pass)?;
            scores.add(&logits, batch, self.subject.labels())?;
        }
        Ok(scores.finish())
    }

    fn effect(&self, without: &Measured) -> Effect {
        let with = &self.measured;
        let change = |(after, before): (&Option<f64>, &Option<f64>)| Some((*after)? - (*before)?);
        Effect {
            loss: without.loss - with.loss,
            accuracy: Some(without.accuracy - with.accuracy),
            recall: without
                .recall
                .iter()
                .zip(&with.recall)
                .map(change)
                .collect(),
        }
    }

    /// Takes away each neuron of a layer. What comes before it is computed once, where the model can go on behind it.
    ///
    /// # Errors
    /// Of the model.
    pub(super) fn effects(&self, layer: &mut LayerSurvey) -> Result<()> {
        let recorded = self.recorded(&layer.name)?;
        for unit in &mut layer.units {
            let (at, first) = (unit.index, layer.channels_first);
            let mut silencer = Silencer::new(&layer.name, at..at + 1, first);
            let measured = match &recorded {
                None => self.without(&mut silencer)?,
                Some(outputs) => {
                    let mut scores = self.scores();
                    for (batch, output) in self.batches.iter().zip(outputs) {
                        let silent = silencer.silence(output)?;
                        let behind = self.subject.forward_behind(&layer.name, &silent);
                        // It was there when the outputs were recorded.
                        let Some(logits) = behind.transpose()? else {
                            continue;
                        };
                        scores.add(&logits, batch, self.subject.labels())?;
                    }
                    scores.finish()
                }
            };
            unit.silenced = Some(self.effect(&measured));
        }
        Ok(())
    }

    /// What the layer gives for each batch; `None` where the model cannot go on from there.
    fn recorded(&self, layer: &str) -> Result<Option<Vec<Tensor>>> {
        let mut outputs = Vec::with_capacity(self.batches.len());
        for batch in &self.batches {
            let mut recorder = Recorder {
                layer,
                output: None,
            };
            self.subject
                .forward(batch, &mut Pass::eval().observed_by(&mut recorder))?;
            let Some(output) = recorder.output else {
                return Ok(None);
            };
            if outputs.is_empty() && self.subject.forward_behind(layer, &output).is_none() {
                return Ok(None);
            }
            outputs.push(output);
        }
        Ok(Some(outputs))
    }
}

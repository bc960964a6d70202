//! Sequences of different lengths in one batch.
//!
//! Sorted by length, the longest first, the sequences that still run at a step are the first rows of the batch. Between
//! two lengths their number stays the same, so a segment of time is one operation; as many operations as there are
//! different lengths make up a layer.

use crate::rnn_layer::{LayerState, RnnLayer};
use candle_core::{DType, Tensor};
use cortical_neuron::{Pass, Result};
use cortical_tensor::Error;

/// A batch's lengths, the longest first.
#[derive(Clone, Debug)]
pub(crate) struct Lengths {
    sorted: Vec<usize>,
    /// Where each sorted sequence stood, and where each one stands now.
    order: Tensor,
    back: Tensor,
}

/// A segment of time in which the same sequences run: from a step to another, with so many of them.
type Segment = (usize, usize, usize);

impl Lengths {
    /// Checks lengths against a batch and its steps.
    pub(crate) fn new(lengths: &[usize], batch: usize, steps: usize, x: &Tensor) -> Result<Self> {
        let wrong = |expected: String, got: String| {
            let (op, option) = ("recurrent", "lengths");
            Error::Option {
                op,
                option,
                expected,
                got,
            }
        };
        if lengths.len() != batch {
            let expected = format!("one for each of {batch} sequences");
            return Err(wrong(expected, format!("{} of them", lengths.len())).into());
        }
        if let Some(length) = lengths.iter().find(|n| !(1..=steps).contains(*n)) {
            return Err(wrong(format!("from 1 to {steps} steps"), length.to_string()).into());
        }
        let mut order: Vec<u32> = (0..batch as u32).collect();
        order.sort_by_key(|i| std::cmp::Reverse(lengths[*i as usize]));
        let mut back = vec![0_u32; batch];
        for (now, was) in order.iter().enumerate() {
            back[*was as usize] = now as u32;
        }
        let sorted = order.iter().map(|i| lengths[*i as usize]).collect();
        Ok(Self {
            sorted,
            order: Tensor::new(order, x.device())?,
            back: Tensor::new(back, x.device())?,
        })
    }

    /// Rows of the batch dimension, the longest sequence first.
    pub(crate) fn sort(&self, t: &Tensor, batch_dim: usize) -> Result<Tensor> {
        Ok(t.contiguous()?.index_select(&self.order, batch_dim)?)
    }

    /// Rows of the batch dimension as they were.
    pub(crate) fn unsort(&self, t: &Tensor, batch_dim: usize) -> Result<Tensor> {
        Ok(t.contiguous()?.index_select(&self.back, batch_dim)?)
    }

    fn segments(&self) -> Vec<Segment> {
        let mut segments = Vec::new();
        let (mut from, mut active) = (0, self.sorted.len());
        while active > 0 {
            let to = self.sorted[active - 1];
            if to > from {
                segments.push((from, to, active));
            }
            from = to;
            active = self.sorted.iter().filter(|n| **n > to).count();
        }
        segments
    }

    /// Runs one layer in one direction over sorted sequences; steps behind a sequence's end are zeros.
    pub(crate) fn run(
        &self,
        layer: &RnnLayer,
        x: &Tensor,
        state: &LayerState,
        batch_first: bool,
        pass: &Pass<'_>,
    ) -> Result<(Tensor, LayerState)> {
        let (time, rows) = (usize::from(batch_first), usize::from(!batch_first));
        let (batch, steps) = (self.sorted.len(), x.dim(time)?);
        let segment = |(from, to, active): Segment| -> Result<Tensor> {
            Ok(x.narrow(rows, 0, active)?.narrow(time, from, to - from)?)
        };
        let segments = self.segments();
        let mut outputs = Vec::with_capacity(segments.len() + 1);
        let end = if layer.reverse {
            // From the end: shorter sequences join with their first state where they end.
            let mut now: Option<LayerState> = None;
            for s in segments.iter().rev() {
                let running = now.as_ref().map_or(Ok(0), |m| m.h.dim(0))?;
                let joining = state.rows(running, s.2 - running)?;
                let start = LayerState::cat(&now.into_iter().chain([joining]).collect::<Vec<_>>())?;
                let (shown, after) = layer.run(&segment(*s)?, &start, batch_first, pass)?;
                outputs.push(padded(&shown, rows, batch)?);
                now = Some(after);
            }
            outputs.reverse();
            now.unwrap_or_else(|| state.clone())
        } else {
            // From the front: sequences that end leave with what they know.
            let (mut now, mut ended) = (state.clone(), Vec::new());
            for s in &segments {
                let start = now.rows(0, s.2)?;
                let (shown, after) = layer.run(&segment(*s)?, &start, batch_first, pass)?;
                outputs.push(padded(&shown, rows, batch)?);
                let left = self.sorted.iter().filter(|n| **n > s.1).count();
                ended.push(after.rows(left, s.2 - left)?);
                now = after;
            }
            ended.reverse();
            if ended.is_empty() {
                state.clone()
            } else {
                LayerState::cat(&ended)?
            }
        };
        let longest = self.sorted.first().copied().unwrap_or(0);
        if longest < steps || outputs.is_empty() {
            let mut dims = x.dims().to_vec();
            dims[time] = steps - longest;
            dims[2] = end.h.dim(1)?;
            outputs.push(Tensor::zeros(dims, x.dtype(), x.device())?);
        }
        Ok((Tensor::cat(&outputs, time)?, end))
    }
}

/// Zeros for the rows of the batch that have ended.
fn padded(shown: &Tensor, rows: usize, batch: usize) -> Result<Tensor> {
    let active = shown.dim(rows)?;
    if active == batch {
        return Ok(shown.clone());
    }
    let mut dims = shown.dims().to_vec();
    dims[rows] = batch - active;
    let rest = Tensor::zeros(dims, shown.dtype(), shown.device())?;
    Ok(Tensor::cat(&[shown, &rest], rows)?)
}

/// Lengths from a tensor of whole numbers, as data loaders hold them.
pub(crate) fn read(lengths: &Tensor) -> Result<Vec<usize>> {
    let numbers = lengths
        .flatten_all()?
        .to_dtype(DType::I64)?
        .to_vec1::<i64>()?;
    // What is negative is refused as 0 is.
    Ok(numbers
        .into_iter()
        .map(|n| usize::try_from(n).unwrap_or(0))
        .collect())
}

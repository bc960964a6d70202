//! One layer in one direction.

use crate::RecurrentConfig;
use candle_core::{D, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::recurrent::Cell;
use cortical_neuron::{Init, Param, Pass, Result, Scope};
use cortical_tensor::Error;
use cortical_tensor::ops::{self, RecurrentWeights, Time};

/// As many steps of a projected layer as one backward pass may have: each is a dozen operations, and candle's backward
/// pass recurses through all of them.
const PROJECTED_STEPS_MAX: usize = 500;

/// The parameters of one layer in one direction.
#[derive(Clone, Debug)]
pub(crate) struct RnnLayer {
    w_ih: Param,
    w_hh: Param,
    b_ih: Option<Param>,
    b_hh: Option<Param>,
    w_hr: Option<Param>,
    cell: Cell,
    hidden: usize,
    pub(crate) reverse: bool,
}

/// What a layer knows before and after a segment of time: `h`, and `c` of an LSTM, each `[batch, size]`.
#[derive(Clone, Debug)]
pub(crate) struct LayerState {
    pub(crate) h: Tensor,
    pub(crate) c: Option<Tensor>,
}

impl LayerState {
    /// These rows of the batch.
    pub(crate) fn rows(&self, first: usize, rows: usize) -> Result<Self> {
        Ok(Self {
            h: self.h.narrow(0, first, rows)?,
            c: self
                .c
                .as_ref()
                .map(|c| c.narrow(0, first, rows))
                .transpose()?,
        })
    }

    /// Rows of several, one after the other.
    pub(crate) fn cat(parts: &[Self]) -> Result<Self> {
        let of = |part: fn(&Self) -> Option<&Tensor>| -> Result<Option<Tensor>> {
            let parts: Vec<&Tensor> = parts.iter().filter_map(part).collect();
            Ok(match parts[..] {
                [] => None,
                [one] => Some(one.clone()),
                _ => Some(Tensor::cat(&parts, 0)?),
            })
        };
        let h = of(|m| Some(&m.h))?.expect("every part has one");
        let c = of(|m| m.c.as_ref())?;
        Ok(Self { h, c })
    }
}

impl RnnLayer {
    pub(crate) fn build(
        config: &RecurrentConfig,
        scope: &Scope,
        layer: usize,
        reverse: bool,
    ) -> Result<Self> {
        let directions = 1 + usize::from(config.bidirectional);
        let shown = config.output();
        let input = if layer == 0 {
            Some(config.input)
        } else {
            shown.checked_mul(directions)
        };
        // A product that overflows is refused by `param`, which multiplies the shape with care.
        let (input, width) = (
            input.unwrap_or(usize::MAX),
            config.hidden.saturating_mul(config.cell.gates()),
        );
        let init = Init::bias(config.hidden);
        let suffix = if reverse { "_reverse" } else { "" };
        let make = |name: &str, shape: &[usize]| {
            scope.param(&format!("{name}_l{layer}{suffix}"), shape, init)
        };
        let bias = |name: &str| config.bias.then(|| make(name, &[width])).transpose();
        Ok(Self {
            w_ih: make("weight_ih", &[width, input])?,
            w_hh: make("weight_hh", &[width, shown])?,
            b_ih: bias("bias_ih")?,
            b_hh: bias("bias_hh")?,
            w_hr: (config.projection > 0)
                .then(|| make("weight_hr", &[shown, config.hidden]))
                .transpose()?,
            cell: config.cell,
            hidden: config.hidden,
            reverse,
        })
    }

    /// Every parameter.
    pub(crate) fn params(&self) -> impl Iterator<Item = &Param> {
        let biases = self.b_ih.iter().chain(&self.b_hh);
        [&self.w_ih, &self.w_hh]
            .into_iter()
            .chain(biases)
            .chain(&self.w_hr)
    }

    /// The weights, which every step multiplies with.
    pub(crate) fn weights(&self) -> impl Iterator<Item = &Param> {
        [&self.w_ih, &self.w_hh].into_iter().chain(&self.w_hr)
    }

    /// A state of zeros.
    pub(crate) fn zeros(&self, batch: usize, x: &Tensor) -> Result<LayerState> {
        let zeros = |size: usize| Tensor::zeros((batch, size), x.dtype(), x.device());
        let c = (self.cell == Cell::Lstm).then(|| zeros(self.hidden));
        Ok(LayerState {
            h: zeros(self.w_hh.dims()[1])?,
            c: c.transpose()?,
        })
    }

    /// Runs over a segment of time from a state; returns what the neurons showed at each step, and what they know
    /// afterwards.
    pub(crate) fn run(
        &self,
        x: &Tensor,
        state: &LayerState,
        batch_first: bool,
        pass: &Pass<'_>,
    ) -> Result<(Tensor, LayerState)> {
        if let Some(projection) = &self.w_hr {
            return self.run_projected(projection, x, state, batch_first, pass);
        }
        let weights = RecurrentWeights {
            w_ih: self.w_ih.input(pass),
            w_hh: self.w_hh.input(pass),
            b_ih: self.b_ih.as_ref().map(|b| b.input(pass)),
            b_hh: self.b_hh.as_ref().map(|b| b.input(pass)),
        };
        let time = Time {
            batch_first,
            reverse: self.reverse,
        };
        let c_0 = state.c.as_ref().map(Into::into);
        let r = ops::recurrent(self.cell, x, &state.h, c_0, weights, time)?;
        Ok((r.output, LayerState { h: r.h, c: r.c }))
    }

    /// An LSTM whose outputs are projected before the next step reads them: step by step, for the kernel has no such
    /// product inside.
    fn run_projected(
        &self,
        projection: &Param,
        x: &Tensor,
        state: &LayerState,
        batch_first: bool,
        pass: &Pass<'_>,
    ) -> Result<(Tensor, LayerState)> {
        let time = usize::from(batch_first);
        let steps = x.dim(time)?;
        if steps > PROJECTED_STEPS_MAX && (pass.wants_gradients() || x.track_op()) {
            return Err(Error::Option {
                op: "recurrent",
                option: "steps",
                expected: format!(
                    "at most {PROJECTED_STEPS_MAX} with proj_size in training, as it runs step by step (cut the sequence and hand the state on)"
                ),
                got: steps.to_string(),
            }
            .into());
        }
        let from_input = ops::linear(
            x,
            self.w_ih.input(pass),
            self.b_ih.as_ref().map(|b| b.input(pass)),
            Activation::Identity,
        )?;
        let mut h = state.h.clone();
        let mut c = state.c.clone().expect("projections belong to LSTMs");
        let mut shown = Vec::with_capacity(steps);
        for step in 0..steps {
            let at = if self.reverse { steps - 1 - step } else { step };
            let from_state = ops::linear(
                &h,
                self.w_hh.input(pass),
                self.b_hh.as_ref().map(|b| b.input(pass)),
                Activation::Identity,
            )?;
            let sums = (from_input.narrow(time, at, 1)?.squeeze(time)? + from_state)?;
            let gate = |i: usize, activation| {
                ops::activate(
                    &sums.narrow(D::Minus1, i * self.hidden, self.hidden)?,
                    activation,
                )
            };
            let (keep, take) = (gate(1, Activation::Sigmoid)?, gate(0, Activation::Sigmoid)?);
            c = ((keep * c)? + (take * gate(2, Activation::Tanh)?)?)?;
            let full = (gate(3, Activation::Sigmoid)? * ops::activate(&c, Activation::Tanh)?)?;
            h = ops::linear(&full, projection.input(pass), None, Activation::Identity)?;
            shown.push(h.clone());
        }
        if self.reverse {
            shown.reverse();
        }
        let output = if shown.is_empty() {
            let mut dims = x.dims().to_vec();
            dims[2] = h.dim(1)?;
            Tensor::zeros(dims, x.dtype(), x.device())?
        } else {
            Tensor::stack(&shown, time)?
        };
        Ok((output, LayerState { h, c: Some(c) }))
    }
}

//! RNN, LSTM or GRU neurons, in layers and directions.

use crate::RecurrentConfig;
use crate::packed::{self, Lengths};
use crate::rnn_layer::{LayerState, RnnLayer};
use candle_core::{D, Tensor};
use cortical_kernels::recurrent::Cell;
use cortical_neuron::{
    Description, Dropout, Error, Layer, Pass, Place, Result, Scope, product, wrong_sample,
};

/// What neurons remember: `h` and, for an LSTM, the cells `c`, each `[layers · directions, batch, size]`; without the
/// batch where the input has none.
#[derive(Clone, Debug)]
pub struct State {
    /// The last output of each neuron.
    pub h: Tensor,
    /// The cell state of an LSTM.
    pub c: Option<Tensor>,
}

/// What a run over a sequence returns.
#[derive(Clone, Debug)]
pub struct Run {
    /// The last layer's states at every step, both directions side by side.
    pub output: Tensor,
    /// Every layer's state after its last step.
    pub state: State,
}

/// Recurrent layers over a sequence.
///
/// With a step's input x, the state h of the step before and `s_k = W_ih,k x + b_ih,k + W_hh,k h + b_hh,k` for each of
/// the sums k of a neuron:
///
/// - RNN: `h' = tanh(s)`, or ReLU in the place of tanh
/// - LSTM: `c' = σ(s_f) ⊙ c + σ(s_i) ⊙ tanh(s_g)`, `h' = σ(s_o) ⊙ tanh(c')`
/// - GRU: `n = tanh(W_ih,n x + b_ih,n + σ(s_r) ⊙ (W_hh,n h + b_hh,n))`, `h' = (1 − σ(s_z)) ⊙ n + σ(s_z) ⊙ h`
///
/// A neuron reads the step's input (the layer below, in the layers above) and what all neurons of its layer showed at
/// the step before. Its weights are the same at every step. Each layer and direction has `G·h·in + G·h·h + 2·G·h`
/// parameters and `G·h·(in + h)` multiply-adds a step, where G is the number of sums in a neuron.
///
/// # Shapes
/// - input: `[steps, batch, input_size]`, or `[batch, steps, input_size]` with `batch_first`; or `[steps, input_size]`
/// - output: the same with `hidden_size` (`proj_size`, if there is one), twice that in both directions
/// - `weight_ih_lK`: `[G · hidden_size, input]`, `weight_hh_lK`: `[G · hidden_size, hidden_size]`, `bias_ih_lK`,
///   `bias_hh_lK`: `[G · hidden_size]`, with `_reverse` after the name for the other direction; all from
///   U(−1/√hidden_size, 1/√hidden_size); G = 1 (RNN), 4 (LSTM: i, f, g, o), 3 (GRU: r, z, n); with a projection
///   `weight_hr_lK`: `[proj_size, hidden_size]`, and `proj_size` in the place of the second `hidden_size` of
///   `weight_hh_lK`
///
/// # Source
/// Elman (1990); Hochreiter and Schmidhuber (1997); Schuster and Paliwal (1997), both directions; Cho et al. (2014);
/// Sak et al. (2014), projections.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_neuron::{Params, Pass};
/// use cortical_recurrent::Gru;
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let gru = Gru::config(3, 4).batch_first(true).bidirectional(true).build(&params.at("gru"))?;
/// let x = Tensor::ones((2, 5, 3), DType::F32, &Device::Cpu)?;
/// let run = gru.run_packed(&x, &[5, 2], None, &mut Pass::eval())?; // the second sequence has two steps
/// assert_eq!(run.output.dims(), [2, 5, 8]);
/// assert_eq!(run.output.get(1)?.get(2)?.to_vec1::<f32>()?, [0.0; 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// Layer after layer, direction after direction.
    layers: Vec<RnnLayer>,
    dropout: Dropout,
    name: String,
    config: RecurrentConfig,
}

impl RecurrentConfig {
    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::Option`] for no layers, no hidden size, a projection that is none, or an impossible dropout,
    /// [`Error::NameTaken`], [`Error::TooLarge`].
    pub fn build(self, scope: &impl Place) -> Result<Recurrent> {
        let scope = &scope.place();
        Recurrent::build(self, scope)
    }
}

impl Recurrent {
    fn build(config: RecurrentConfig, scope: &Scope) -> Result<Self> {
        let refused = |option, expected, got: usize| {
            let got = got.to_string();
            Err(Error::Option {
                option,
                expected,
                got,
            })
        };
        if config.layers == 0 {
            return refused("num_layers", "at least 1", 0);
        }
        if config.hidden == 0 {
            return refused("hidden_size", "at least 1", 0);
        }
        if config.projection > 0 && config.cell != Cell::Lstm {
            return refused(
                "proj_size",
                "0 for RNN and GRU: only an LSTM is projected",
                config.projection,
            );
        }
        if config.projection >= config.hidden && config.projection > 0 {
            return refused("proj_size", "smaller than hidden_size", config.projection);
        }
        let directions: &[bool] = if config.bidirectional {
            &[false, true]
        } else {
            &[false]
        };
        let layers = (0..config.layers)
            .flat_map(|layer| directions.iter().map(move |reverse| (layer, *reverse)))
            .map(|(layer, reverse)| RnnLayer::build(&config, scope, layer, reverse))
            .collect::<Result<_>>()?;
        let dropout = Dropout::new(config.dropout, &scope.at("dropout"))?;
        Ok(Self {
            layers,
            dropout,
            name: scope.path().to_string(),
            config,
        })
    }

    /// Which neurons these are.
    #[must_use]
    pub fn cell(&self) -> Cell {
        self.config.cell
    }

    /// How many numbers a step has.
    #[must_use]
    pub fn input_size(&self) -> usize {
        self.config.input
    }

    /// How many numbers each direction of a layer remembers.
    #[must_use]
    pub fn hidden_size(&self) -> usize {
        self.config.hidden
    }

    /// Runs over a sequence from a state, or from zeros.
    ///
    /// # Errors
    /// When the input or the state does not fit; the error says in which layer.
    pub fn run(&self, x: &Tensor, state: Option<&State>, pass: &mut Pass<'_>) -> Result<Run> {
        self.named(|| self.run_any(x, None, state, pass))
    }

    /// Runs over sequences of different lengths, each from its first step to its own last (from its last to its first
    /// in the other direction), as PyTorch does with a packed sequence. The output is 0 behind the end of a sequence,
    /// and the state is the one after its last step.
    ///
    /// # Shapes
    /// As [`Recurrent::run`] with a batch; `lengths`: one for each sequence, in any order
    ///
    /// # Errors
    /// As [`Recurrent::run`], and for a length of 0 or beyond the steps.
    pub fn run_packed(
        &self,
        x: &Tensor,
        lengths: &[usize],
        state: Option<&State>,
        pass: &mut Pass<'_>,
    ) -> Result<Run> {
        self.named(|| self.run_any(x, Some(lengths), state, pass))
    }

    /// As [`Recurrent::run_packed`] with lengths in a tensor of whole numbers.
    ///
    /// # Errors
    /// As [`Recurrent::run_packed`].
    pub fn run_packed_by(
        &self,
        x: &Tensor,
        lengths: &Tensor,
        state: Option<&State>,
        pass: &mut Pass<'_>,
    ) -> Result<Run> {
        self.run_packed(x, &packed::read(lengths)?, state, pass)
    }

    fn named(&self, run: impl FnOnce() -> Result<Run>) -> Result<Run> {
        run().map_err(|e| e.in_layer(&self.name))
    }

    fn run_any(
        &self,
        x: &Tensor,
        lengths: Option<&[usize]>,
        state: Option<&State>,
        pass: &mut Pass<'_>,
    ) -> Result<Run> {
        // One sequence without a batch is a batch of one; the state's batch is its second dimension.
        if x.rank() == 2 && lengths.is_none() {
            let dim = usize::from(!self.config.batch_first);
            let lone = |t: &Tensor| {
                if t.rank() == 2 {
                    t.unsqueeze(1)
                } else {
                    Ok(t.clone())
                }
            };
            let state = state
                .map(|s| -> Result<State> {
                    let c = s.c.as_ref().map(lone).transpose()?;
                    Ok(State { h: lone(&s.h)?, c })
                })
                .transpose()?;
            let run = self.run_layers(&x.unsqueeze(dim)?, None, state.as_ref(), pass)?;
            let c = run.state.c.map(|c| c.squeeze(1)).transpose()?;
            let (output, h) = (run.output.squeeze(dim)?, run.state.h.squeeze(1)?);
            return Ok(Run {
                output: pass.observe(&self.name, output)?,
                state: State { h, c },
            });
        }
        let mut run = self.run_layers(x, lengths, state, pass)?;
        run.output = pass.observe(&self.name, run.output)?;
        Ok(run)
    }

    fn run_layers(
        &self,
        x: &Tensor,
        lengths: Option<&[usize]>,
        state: Option<&State>,
        pass: &mut Pass<'_>,
    ) -> Result<Run> {
        let (batch_first, layers) = (self.config.batch_first, self.config.layers);
        let directions = self.layers.len() / layers;
        let (batch, steps) = self.batch_and_steps(x)?;
        if let Some(state) = state {
            self.check_state(state, batch)?;
        }
        let lengths = lengths
            .map(|lengths| Lengths::new(lengths, batch, steps, x))
            .transpose()?;
        let rows = usize::from(!batch_first);
        let mut input = match &lengths {
            Some(lengths) => lengths.sort(x, rows)?,
            None => x.clone(),
        };
        let mut ends = Vec::with_capacity(self.layers.len());
        for layer in 0..layers {
            if layer > 0 {
                input = self.dropout.forward(&input, pass)?;
            }
            let mut outputs = Vec::with_capacity(directions);
            for at in layer * directions..(layer + 1) * directions {
                let one = &self.layers[at];
                let start = self.start(at, state, lengths.as_ref(), batch, x)?;
                let (output, end) = match &lengths {
                    Some(lengths) => lengths.run(one, &input, &start, batch_first, pass)?,
                    None => one.run(&input, &start, batch_first, pass)?,
                };
                outputs.push(output);
                ends.push(end);
            }
            input = match outputs.len() {
                1 => outputs.remove(0),
                _ => Tensor::cat(&outputs, D::Minus1)?,
            };
        }
        let stacked = |parts: Vec<&Tensor>| -> Result<Tensor> {
            let all = Tensor::stack(&parts, 0)?;
            match &lengths {
                Some(lengths) => lengths.unsort(&all, 1),
                None => Ok(all),
            }
        };
        let h = stacked(ends.iter().map(|end| &end.h).collect())?;
        let c: Vec<&Tensor> = ends.iter().filter_map(|end| end.c.as_ref()).collect();
        let c = if c.is_empty() {
            None
        } else {
            Some(stacked(c)?)
        };
        let output = match &lengths {
            Some(lengths) => lengths.unsort(&input, rows)?,
            None => input,
        };
        Ok(Run {
            output,
            state: State { h, c },
        })
    }

    /// What a layer in a direction begins with.
    fn start(
        &self,
        at: usize,
        state: Option<&State>,
        lengths: Option<&Lengths>,
        batch: usize,
        x: &Tensor,
    ) -> Result<LayerState> {
        let Some(state) = state else {
            return self.layers[at].zeros(batch, x);
        };
        let of = |t: &Tensor| match lengths {
            Some(lengths) => lengths.sort(&t.get(at)?, 0),
            None => Ok(t.get(at)?),
        };
        Ok(LayerState {
            h: of(&state.h)?,
            c: state.c.as_ref().map(of).transpose()?,
        })
    }

    fn batch_and_steps(&self, x: &Tensor) -> Result<(usize, usize)> {
        let batch_first = self.config.batch_first;
        match *x.dims() {
            [batch, steps, input] if batch_first && input == self.config.input => {
                Ok((batch, steps))
            }
            [steps, batch, input] if !batch_first && input == self.config.input => {
                Ok((batch, steps))
            }
            _ => {
                let expected = if batch_first {
                    format!("[batch, steps, {}]", self.config.input)
                } else {
                    format!("[steps, batch, {}]", self.config.input)
                };
                let (op, argument, got) = ("recurrent", "x", x.dims().to_vec());
                Err(cortical_tensor::Error::Shape {
                    op,
                    argument,
                    expected,
                    got,
                }
                .into())
            }
        }
    }

    fn check_state(&self, state: &State, batch: usize) -> Result<()> {
        let (hidden, shown) = (self.config.hidden, self.config.output());
        for (argument, t, size) in [
            ("state.h", Some(&state.h), shown),
            ("state.c", state.c.as_ref(), hidden),
        ] {
            let expected = [self.layers.len(), batch, size];
            if let Some(t) = t.filter(|t| t.dims() != expected) {
                let (op, expected, got) = ("recurrent", format!("{expected:?}"), t.dims().to_vec());
                return Err(cortical_tensor::Error::Shape {
                    op,
                    argument,
                    expected,
                    got,
                }
                .into());
            }
        }
        Ok(())
    }
}

impl Layer for Recurrent {
    /// The last layer's states at every step, from a state of zeros.
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        Ok(self.run(x, None, pass)?.output)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let (input, hidden) = (self.config.input, self.config.hidden);
        let &[steps, _] = sample else {
            let expected = format!("[steps, {input}]");
            return Err(wrong_sample("recurrent", expected, sample).in_layer(&self.name));
        };
        if sample[1] != input {
            let expected = format!("[steps, {input}]");
            return Err(wrong_sample("recurrent", expected, sample).in_layer(&self.name));
        }
        let kind = match self.config.cell {
            Cell::Lstm => "LSTM",
            Cell::Gru => "GRU",
            _ => "RNN",
        };
        let (gates, directions) = (
            self.config.cell.gates(),
            1 + usize::from(self.config.bidirectional),
        );
        let biases = if self.config.bias {
            format!(" + 2·{gates}·h")
        } else {
            String::new()
        };
        let projected = if self.config.projection > 0 {
            " + proj·h"
        } else {
            ""
        };
        let shown = if self.config.projection > 0 {
            "proj"
        } else {
            "h"
        };
        let formula = format!(
            "for each of {} layers and {directions} directions {gates}·h·in + {gates}·h·{shown}{biases}{projected} with h = {hidden}, in = {input} at first",
            self.config.layers
        );
        let output = [steps, self.config.output().saturating_mul(directions)];
        let reads = "each neuron reads the step's input and its layer's step before, with the same weights at every step";
        let mut description = Description::new(kind, &self.name, &output)
            .reads(reads)
            .parameters(self.layers.iter().flat_map(RnnLayer::params), formula);
        // Of each layer and direction the gates, the cell's states and the output once more, and of all but the last
        // their outputs.
        let states = product(&[steps, hidden]);
        let of_layer = [states.saturating_mul(product(&[gates])), states, states];
        let inner = self.layers.len().saturating_sub(directions);
        let inner = std::iter::repeat_n(states, inner);
        let all = std::iter::repeat_n(of_layer, self.layers.len()).flatten();
        description = description.keeping(all.chain(inner));
        for weight in self.layers.iter().flat_map(RnnLayer::weights) {
            description = description.uses(weight, steps)?;
        }
        Ok(description)
    }
}

//! RNN, LSTM or GRU neurons, in layers and directions.

use crate::RecurrentConfig;
use candle_core::{D, Tensor};
use cortical_kernels::recurrent::Cell;
use cortical_neuron::{Dropout, Error, Init, Layer, Param, Pass, Result, Scope};
use cortical_tensor::ops::{self, RecurrentWeights, Time};

/// What neurons remember: `h` and, for an LSTM, the cells `c`, each `[layers · directions, batch, hidden]`.
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

/// One layer in one direction.
#[derive(Clone, Debug)]
struct Neurons {
    w_ih: Param,
    w_hh: Param,
    b_ih: Option<Param>,
    b_hh: Option<Param>,
    reverse: bool,
}

impl Neurons {
    fn build(config: &RecurrentConfig, scope: &Scope, layer: usize, reverse: bool) -> Result<Self> {
        let directions = 1 + usize::from(config.bidirectional);
        let input = if layer == 0 {
            Some(config.input)
        } else {
            config.hidden.checked_mul(directions)
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
            w_hh: make("weight_hh", &[width, config.hidden])?,
            b_ih: bias("bias_ih")?,
            b_hh: bias("bias_hh")?,
            reverse,
        })
    }

    fn weights(&self, pass: &Pass<'_>) -> RecurrentWeights<'_> {
        RecurrentWeights {
            w_ih: self.w_ih.input(pass),
            w_hh: self.w_hh.input(pass),
            b_ih: self.b_ih.as_ref().map(|b| b.input(pass)),
            b_hh: self.b_hh.as_ref().map(|b| b.input(pass)),
        }
    }
}

/// Recurrent layers over a sequence; the equations stand at [`cortical_kernels::recurrent`].
///
/// # Shapes
/// - input: `[steps, batch, input_size]`, or `[batch, steps, input_size]` with `batch_first`
/// - output: the same with `hidden_size`, twice that in both directions
/// - `weight_ih_lK`: `[G · hidden_size, input]`, `weight_hh_lK`: `[G · hidden_size, hidden_size]`, `bias_ih_lK`, `bias_hh_lK`:
///   `[G · hidden_size]`, with `_reverse` after the name for the other direction; all from U(−1/√hidden_size, 1/√hidden_size);
///   G = 1 (RNN), 4 (LSTM: i, f, g, o), 3 (GRU: r, z, n)
///
/// # Source
/// Elman (1990); Hochreiter and Schmidhuber (1997); Schuster and Paliwal (1997), both directions; Cho et al. (2014).
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// Layer after layer, direction after direction.
    neurons: Vec<Neurons>,
    dropout: Dropout,
    name: String,
    config: RecurrentConfig,
}

impl Recurrent {
    pub(crate) fn build(config: RecurrentConfig, scope: &Scope) -> Result<Self> {
        if config.layers == 0 {
            let (expected, got) = ("at least 1", "0".to_string());
            return Err(Error::Option {
                option: "num_layers",
                expected,
                got,
            });
        }
        let directions: &[bool] = if config.bidirectional {
            &[false, true]
        } else {
            &[false]
        };
        let neurons = (0..config.layers)
            .flat_map(|layer| directions.iter().map(move |reverse| (layer, *reverse)))
            .map(|(layer, reverse)| Neurons::build(&config, scope, layer, reverse))
            .collect::<Result<_>>()?;
        let dropout = Dropout::new(config.dropout, &scope.at("dropout"))?;
        Ok(Self {
            neurons,
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
        let run = self
            .run_layers(x, state, pass)
            .map_err(|e| e.in_layer(&self.name))?;
        pass.observe(&self.name, &run.output);
        Ok(run)
    }

    fn run_layers(&self, x: &Tensor, state: Option<&State>, pass: &mut Pass<'_>) -> Result<Run> {
        let RecurrentConfig {
            cell,
            hidden,
            batch_first,
            layers,
            ..
        } = self.config;
        let directions = self.neurons.len() / layers;
        let batch = match *x.dims() {
            [batch, _, _] if batch_first => batch,
            [_, batch, _] => batch,
            _ => {
                let expected = if batch_first {
                    "[batch, steps, input]"
                } else {
                    "[steps, batch, input]"
                };
                let (op, argument, got) = ("recurrent", "x", x.dims().to_vec());
                return Err(cortical_tensor::Error::Shape {
                    op,
                    argument,
                    expected: expected.to_string(),
                    got,
                }
                .into());
            }
        };
        if let Some(state) = state {
            self.check_state(state, batch)?;
        }
        let zeros = Tensor::zeros((batch, hidden), x.dtype(), x.device())?;
        let first = |t: Option<&Tensor>, at: usize| t.map_or(Ok(zeros.clone()), |t| t.get(at));
        let mut input = x.clone();
        let (mut h, mut c) = (Vec::new(), Vec::new());
        for layer in 0..layers {
            if layer > 0 {
                input = self.dropout.forward(&input, pass)?;
            }
            let mut outputs = Vec::with_capacity(directions);
            for direction in 0..directions {
                let at = layer * directions + direction;
                let neurons = &self.neurons[at];
                let h_0 = first(state.map(|s| &s.h), at)?;
                let c_0 = match cell {
                    Cell::Lstm => Some(first(state.and_then(|s| s.c.as_ref()), at)?),
                    _ => None,
                };
                let time = Time {
                    batch_first,
                    reverse: neurons.reverse,
                };
                let c_0 = c_0.as_ref().map(Into::into);
                let r = ops::recurrent(cell, &input, &h_0, c_0, neurons.weights(pass), time)?;
                outputs.push(r.output);
                h.push(r.h);
                c.extend(r.c);
            }
            input = match outputs.len() {
                1 => outputs.remove(0),
                _ => Tensor::cat(&outputs, D::Minus1)?,
            };
        }
        let c = if c.is_empty() {
            None
        } else {
            Some(Tensor::stack(&c, 0)?)
        };
        Ok(Run {
            output: input,
            state: State {
                h: Tensor::stack(&h, 0)?,
                c,
            },
        })
    }

    fn check_state(&self, state: &State, batch: usize) -> Result<()> {
        let expected = [self.neurons.len(), batch, self.config.hidden];
        for (argument, t) in [("state.h", Some(&state.h)), ("state.c", state.c.as_ref())] {
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
}

#[cfg(test)]
mod tests {
    use crate::{Gru, Lstm, RecurrentConfig, Rnn, State};
    use candle_core::{D, DType, Device, Tensor};
    use cortical_neuron::{Layer, Params, Pass};
    use cortical_tensor::{Rng, Seed};

    fn params() -> Params {
        Params::new(&Device::Cpu, Seed(1))
    }

    fn x(shape: (usize, usize, usize)) -> Tensor {
        let mut rng = Rng::new(Seed(3), "x");
        let n = shape.0 * shape.1 * shape.2;
        Tensor::from_vec(
            (0..n).map(|_| rng.normal() as f32).collect::<Vec<_>>(),
            shape,
            &Device::Cpu,
        )
        .unwrap()
    }

    fn numbers(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn names_and_shapes_are_pytorchs() {
        let p = params();
        Gru::config(3, 4)
            .num_layers(2)
            .bidirectional(true)
            .build(&p.at("gru"))
            .unwrap();
        let names: Vec<(String, Vec<usize>)> = p
            .named_tensors()
            .into_iter()
            .map(|(n, t)| (n, t.dims().to_vec()))
            .collect();
        assert_eq!(names.len(), 16);
        assert_eq!(names[0], ("gru.weight_ih_l0".to_string(), vec![12, 3]));
        assert_eq!(
            names[5],
            ("gru.weight_hh_l0_reverse".to_string(), vec![12, 4])
        );
        assert_eq!(names[8], ("gru.weight_ih_l1".to_string(), vec![12, 8]));
        assert_eq!(names[15], ("gru.bias_hh_l1_reverse".to_string(), vec![12]));
    }

    fn kinds() -> [RecurrentConfig; 4] {
        [
            Rnn::config(3, 4),
            Rnn::config(3, 4).relu(),
            Lstm::config(3, 4),
            Gru::config(3, 4),
        ]
    }

    #[test]
    fn a_sequence_in_two_parts_is_the_sequence() {
        for config in kinds() {
            let p = params();
            let layer = config
                .num_layers(2)
                .batch_first(true)
                .build(&p.at("r"))
                .unwrap();
            let x = x((2, 6, 3));
            let whole = layer.run(&x, None, &mut Pass::eval()).unwrap();
            let part = |from, len, state: Option<&State>| {
                layer
                    .run(&x.narrow(1, from, len).unwrap(), state, &mut Pass::eval())
                    .unwrap()
            };
            let first = part(0, 4, None);
            let second = part(4, 2, Some(&first.state));
            let joined = Tensor::cat(&[first.output, second.output], 1).unwrap();
            for (a, b) in numbers(&joined).iter().zip(numbers(&whole.output)) {
                assert!((a - b).abs() < 1e-6);
            }
            assert_eq!(second.state.h.dims(), [2, 2, 4]);
        }
    }

    #[test]
    fn the_other_direction_reads_from_the_end() {
        let p = params();
        let both = Lstm::config(3, 4)
            .bidirectional(true)
            .build(&p.at("both"))
            .unwrap();
        let q = params();
        let one = Lstm::config(3, 4).build(&q.at("one")).unwrap();
        for name in ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"] {
            let value = p.get(&format!("both.{name}_reverse")).unwrap();
            q.set(&format!("one.{name}"), value.tensor()).unwrap();
        }
        let x = x((5, 2, 3));
        let got = both.forward(&x, &mut Pass::eval()).unwrap();
        assert_eq!(got.dims(), [5, 2, 8]);
        let turned = x.flip(&[0]).unwrap();
        let want = one
            .forward(&turned, &mut Pass::eval())
            .unwrap()
            .flip(&[0])
            .unwrap();
        assert_eq!(
            numbers(&got.narrow(D::Minus1, 4, 4).unwrap()),
            numbers(&want)
        );
    }

    #[test]
    fn gradients_reach_every_parameter_also_through_dropout() {
        for config in kinds() {
            let p = params();
            let layer = config
                .num_layers(2)
                .bidirectional(true)
                .dropout(0.3)
                .build(&p.at("r"))
                .unwrap();
            let mut rng = p.rng("pass");
            let y = layer
                .forward(&x((4, 3, 3)), &mut Pass::train(&mut rng))
                .unwrap();
            p.backward(&y.sqr().unwrap().sum_all().unwrap()).unwrap();
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        let p = params();
        assert!(Lstm::config(3, 4).num_layers(0).build(&p.at("a")).is_err());
        let lstm = Lstm::config(3, 4).build(&p.at("lstm")).unwrap();
        let text = |x: &Tensor, s: Option<&State>| {
            lstm.run(x, s, &mut Pass::eval()).unwrap_err().to_string()
        };
        let wrong = Tensor::zeros((5, 2, 7), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(
            text(&wrong, None),
            "in layer \"lstm\": recurrent: w_ih must have shape [16, 7], but has [16, 3]"
        );
        let h = Tensor::zeros((1, 3, 4), DType::F32, &Device::Cpu).unwrap();
        let state = State {
            c: Some(h.clone()),
            h,
        };
        assert!(text(&x((5, 2, 3)), Some(&state)).contains("state.h must have shape [1, 2, 4]"));
    }
}

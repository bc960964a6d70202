//! Recurrent layers over whole sequences, each as one operation.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply};
use crate::ops::activation::activate_fallback;
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, widen, wrong_shape};
use crate::shape::checked_count;
use crate::{Error, Input, Result, is_fallback, tally, values};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_kernels::buffer::unspecified;
use cortical_kernels::recurrent::{
    self as kernel, Cell, Finals, Saved, Sequence, Upstream, Weights,
};

const NAME: &str = "recurrent";

/// PyTorch's parameters of one layer in one direction; `G` is 1 for RNN, 4 for LSTM (order i, f, g, o), 3 for GRU
/// (order r, z, n).
#[derive(Clone, Copy, Debug)]
pub struct RecurrentWeights<'a> {
    /// `[G · hidden, input]`
    pub w_ih: Input<'a>,
    /// `[G · hidden, hidden]`
    pub w_hh: Input<'a>,
    /// `[G · hidden]`
    pub b_ih: Option<Input<'a>>,
    /// `[G · hidden]`
    pub b_hh: Option<Input<'a>>,
}

/// The order of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time {
    /// Whether sequences are `[batch, steps, …]`, otherwise `[steps, batch, …]`.
    pub batch_first: bool,
    /// Whether time runs from the last step to the first.
    pub reverse: bool,
}

/// What [`recurrent`] returns.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// The state of every step, in the order of the input.
    pub output: Tensor,
    /// The state after the last step, `[batch, hidden]`.
    pub h: Tensor,
    /// The cell state after the last step, `[batch, hidden]`, of an LSTM.
    pub c: Option<Tensor>,
}

/// Runs RNN, LSTM or GRU neurons over a sequence; see [`kernel`] for the equations.
///
/// # Shapes
/// - `x`: `[batch, steps, input]` or `[steps, batch, input]`, as `time` says
/// - `h_0`: `[batch, hidden]`; `c_0`: the same, for an LSTM and for nothing else
/// - `weights`: see [`RecurrentWeights`]
/// - `output`: as `x` with `hidden` for `input`
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`], [`Error::Device`] when the arguments do not fit together; [`Error::Option`] when
/// `c_0` is missing for an LSTM or given to another cell.
///
/// # Source
/// Hochreiter and Schmidhuber (1997); Cho et al. (2014).
pub fn recurrent<'a>(
    cell: Cell,
    x: impl Into<Input<'a>>,
    h_0: impl Into<Input<'a>>,
    c_0: Option<Input<'a>>,
    weights: RecurrentWeights<'a>,
    time: Time,
) -> Result<Recurrent> {
    let (x, h_0) = (x.into(), h_0.into());
    let sequence = check(
        cell,
        x.tensor(),
        h_0.tensor(),
        c_0.map(|c| c.tensor()),
        &weights,
        time,
    )?;
    let inputs = [
        Some(x),
        Some(h_0),
        c_0,
        Some(weights.w_ih),
        Some(weights.w_hh),
        weights.b_ih,
        weights.b_hh,
    ];
    run(cell, sequence, inputs)
}

/// x, h_0, c_0, w_ih, w_hh, b_ih, b_hh.
type Inputs<'a> = [Option<Input<'a>>; 7];

fn run(cell: Cell, sequence: Sequence, inputs: Inputs<'_>) -> Result<Recurrent> {
    let x = inputs[0].expect("`x` is an argument").tensor();
    if is_half(x.dtype()) {
        let wide = widen(&inputs)?;
        let inputs = std::array::from_fn(|i| wide[i].as_ref().map(Into::into));
        let r = run(cell, sequence, inputs)?;
        return Ok(Recurrent {
            output: r.output.to_dtype(x.dtype())?,
            h: r.h.to_dtype(x.dtype())?,
            c: r.c.map(|c| c.to_dtype(x.dtype())).transpose()?,
        });
    }
    let s = sequence;
    let row = s.input.saturating_add(s.hidden);
    tally::count(&[s.steps, s.batch, cell.gates(), s.hidden, row]);
    if is_fallback(x.device()) {
        return Ok(fallback(
            cell,
            sequence,
            inputs.map(|i| i.map(|i| i.tensor())),
        )?);
    }
    by_dtype!(NAME, "x", x, T => forward::<T>(cell, sequence, inputs))
}

fn check(
    cell: Cell,
    x: &Tensor,
    h_0: &Tensor,
    c_0: Option<&Tensor>,
    weights: &RecurrentWeights<'_>,
    time: Time,
) -> Result<Sequence> {
    check_float(NAME, "x", x)?;
    let &[first, second, input] = x.dims() else {
        let expected = if time.batch_first {
            "[batch, steps, input]"
        } else {
            "[steps, batch, input]"
        };
        return Err(wrong_shape(NAME, "x", expected, x));
    };
    let (batch, steps) = if time.batch_first {
        (first, second)
    } else {
        (second, first)
    };
    let expect = |argument: &'static str, t: &Tensor, shape: &[usize]| {
        check_alike(NAME, x, argument, t)?;
        if t.dims() == shape {
            Ok(())
        } else {
            Err(wrong_shape(NAME, argument, format!("{shape:?}"), t))
        }
    };
    let &[_, hidden] = h_0.dims() else {
        return Err(wrong_shape(NAME, "h_0", format!("[{batch}, hidden]"), h_0));
    };
    expect("h_0", h_0, &[batch, hidden])?;
    if c_0.is_some() != (cell == Cell::Lstm) {
        let expected = if cell == Cell::Lstm {
            "given to an LSTM"
        } else {
            "given to an LSTM only"
        };
        let (expected, got) = (
            expected.to_string(),
            if c_0.is_some() { "given" } else { "missing" }.to_string(),
        );
        return Err(Error::Option {
            op: NAME,
            option: "c_0",
            expected,
            got,
        });
    }
    if let Some(c_0) = c_0 {
        expect("c_0", c_0, &[batch, hidden])?;
    }
    let width = checked_count(NAME, &[cell.gates(), hidden])?;
    checked_count(NAME, &[steps, batch, width])?;
    checked_count(NAME, &[steps, batch, input])?;
    expect("w_ih", weights.w_ih.tensor(), &[width, input])?;
    expect("w_hh", weights.w_hh.tensor(), &[width, hidden])?;
    for (argument, bias) in [("b_ih", weights.b_ih), ("b_hh", weights.b_hh)] {
        if let Some(bias) = bias {
            expect(argument, bias.tensor(), &[width])?;
        }
    }
    let Time {
        batch_first,
        reverse,
    } = time;
    Ok(Sequence {
        steps,
        batch,
        input,
        hidden,
        batch_first,
        reverse,
    })
}

struct Fused<T> {
    cell: Cell,
    sequence: Sequence,
    /// Which of the seven arguments there are.
    has: [bool; 7],
    saved: Saved<T>,
    /// The output again: an operation with several outputs keeps what it needs itself.
    y: Vec<T>,
}

impl<T> Fused<T> {
    /// Where argument `i` of the seven stands among those that there are.
    fn position(&self, i: usize) -> Option<usize> {
        self.has[i].then(|| self.has[..i].iter().filter(|h| **h).count())
    }
}

fn forward<T: Element>(cell: Cell, sequence: Sequence, inputs: Inputs<'_>) -> Result<Recurrent> {
    let has = inputs.map(|i| i.is_some());
    let operands = inputs
        .into_iter()
        .flatten()
        .map(Input::operand)
        .collect::<candle_core::Result<Vec<_>>>()?;
    let Sequence {
        steps,
        batch,
        hidden,
        ..
    } = sequence;
    let mut y = unspecified::<T>(steps * batch * hidden);
    let mut h = unspecified::<T>(batch * hidden);
    let mut c = unspecified::<T>(if cell == Cell::Lstm {
        batch * hidden
    } else {
        0
    });
    let mut op = Fused {
        cell,
        sequence,
        has,
        saved: Saved::default(),
        y: Vec::new(),
    };
    {
        let arguments: Vec<_> = operands
            .iter()
            .map(|o| values::<T>(o.tensor()))
            .collect::<Result<_>>()?;
        let at = |i: usize| op.position(i).map(|i| &*arguments[i]);
        let always = |i: usize| at(i).expect("an argument that is always there");
        let weights = Weights {
            w_ih: always(3),
            w_hh: always(4),
            b_ih: at(5),
            b_hh: at(6),
        };
        let finals = Finals {
            h: &mut h,
            c: (cell == Cell::Lstm).then_some(&mut c[..]),
        };
        op.saved = kernel::forward(
            cell,
            sequence,
            always(0),
            weights,
            always(1),
            at(2),
            &mut y,
            finals,
        );
    }
    if operands.iter().any(crate::Operand::wants_gradient) {
        op.y = y.clone();
    } else {
        op.saved = Saved::default();
    }
    let shape = if sequence.batch_first {
        (batch, steps, hidden)
    } else {
        (steps, batch, hidden)
    };
    let mut outputs = vec![Output::new(y, shape), Output::new(h, (batch, hidden))];
    if cell == Cell::Lstm {
        outputs.push(Output::new(c, (batch, hidden)));
    }
    let mut outputs = apply(op, operands, outputs)?.into_iter();
    let mut next = || outputs.next().expect("as many tensors out as outputs in");
    let (output, h) = (next(), next());
    let c = (cell == Cell::Lstm).then(next);
    Ok(Recurrent { output, h, c })
}

impl<T: Element> Op for Fused<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let count = self.has.iter().filter(|h| **h).count();
        let arguments: Vec<_> = (0..count)
            .map(|i| values::<T>(pass.input(i)))
            .collect::<Result<_>>()?;
        let at = |i: usize| self.position(i).map(|i| &*arguments[i]);
        let always = |i: usize| at(i).expect("an argument that is always there");
        let weights = Weights {
            w_ih: always(3),
            w_hh: always(4),
            b_ih: at(5),
            b_hh: at(6),
        };
        let (d_y, d_h) = (
            values::<T>(pass.d_output(0))?,
            values::<T>(pass.d_output(1))?,
        );
        let d_c = (self.cell == Cell::Lstm)
            .then(|| values::<T>(pass.d_output(2)))
            .transpose()?;
        let upstream = Upstream {
            d_y: &d_y,
            d_h_n: Some(&d_h),
            d_c_n: d_c.as_deref(),
        };
        let g = kernel::backward(
            self.cell,
            self.sequence,
            always(0),
            weights,
            always(1),
            at(2),
            &self.y,
            &self.saved,
            upstream,
        );
        let mut out = Vec::with_capacity(count);
        for (i, d) in [g.x, g.h_0, g.c_0, g.w_ih, g.w_hh, g.b_ih, g.b_hh]
            .into_iter()
            .enumerate()
        {
            if let Some(at) = self.position(i) {
                out.push(if pass.wants(at) {
                    Some(tensor(d, pass.input(at).shape())?)
                } else {
                    None
                });
            }
        }
        Ok(out)
    }
}

/// The same from candle's operations, a step at a time.
fn fallback(
    cell: Cell,
    sequence: Sequence,
    inputs: [Option<&Tensor>; 7],
) -> candle_core::Result<Recurrent> {
    let [Some(x), Some(h_0), c_0, Some(w_ih), Some(w_hh), b_ih, b_hh] = inputs else {
        unreachable!("x, h_0 and the weights are always there")
    };
    let Sequence {
        steps,
        batch,
        input,
        hidden,
        batch_first,
        reverse,
    } = sequence;
    if batch == 0 {
        // candle cannot copy a part of a tensor without elements.
        let output = match batch_first {
            true => (0, steps, hidden),
            false => (steps, 0, hidden),
        };
        return Ok(Recurrent {
            output: Tensor::zeros(output, x.dtype(), x.device())?,
            h: h_0.clone(),
            c: c_0.cloned(),
        });
    }
    let width = cell.gates() * hidden;
    let weighted = |x: &Tensor, w: &Tensor, b: Option<&Tensor>, n: usize| {
        let sum = if n == 0 || batch * width == 0 {
            Tensor::zeros((batch, width), x.dtype(), x.device())?
        } else {
            x.contiguous()?.matmul(&w.t()?.contiguous()?)?
        };
        b.map_or(Ok(sum.clone()), |b| sum.broadcast_add(b))
    };
    let time = usize::from(batch_first);
    let sigmoid = |x: &Tensor| activate_fallback(Activation::Sigmoid, x);
    let (mut h, mut c) = (h_0.clone(), c_0.cloned());
    let mut outputs = Vec::with_capacity(steps);
    for order in 0..steps {
        let t = if reverse { steps - 1 - order } else { order };
        let of_input = weighted(&x.narrow(time, t, 1)?.squeeze(time)?, w_ih, b_ih, input)?;
        let of_state = weighted(&h, w_hh, b_hh, hidden)?;
        let part = |x: &Tensor, g: usize| x.narrow(1, g * hidden, hidden);
        let gate = |g: usize| part(&of_input, g)? + part(&of_state, g)?;
        h = match cell {
            Cell::RnnTanh => gate(0)?.tanh()?,
            Cell::RnnRelu => activate_fallback(Activation::Relu, &gate(0)?)?,
            Cell::Lstm => {
                let before = c.as_ref().expect("`check` saw an LSTM's cell state");
                let next = ((sigmoid(&gate(1)?)? * before)?
                    + (sigmoid(&gate(0)?)? * gate(2)?.tanh()?)?)?;
                let h = (sigmoid(&gate(3)?)? * next.tanh()?)?;
                c = Some(next);
                h
            }
            Cell::Gru => {
                let (r, z) = (sigmoid(&gate(0)?)?, sigmoid(&gate(1)?)?);
                let n = (part(&of_input, 2)? + (r * part(&of_state, 2)?)?)?.tanh()?;
                (&n + (z * (h - &n)?)?)?
            }
        };
        outputs.push(h.clone());
    }
    if reverse {
        outputs.reverse();
    }
    let output = if outputs.is_empty() {
        let shape = if batch_first {
            (batch, 0, hidden)
        } else {
            (0, batch, hidden)
        };
        Tensor::zeros(shape, x.dtype(), x.device())?
    } else {
        Tensor::stack(&outputs, time)?
    };
    Ok(Recurrent { output, h, c })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, random};

    const CELLS: [Cell; 4] = [Cell::RnnTanh, Cell::RnnRelu, Cell::Lstm, Cell::Gru];

    /// x, h_0, the weights and biases, and c_0 last.
    fn arguments(cell: Cell, time: Time, [steps, batch, input, hidden]: [usize; 4]) -> Vec<Tensor> {
        let x = if time.batch_first {
            [batch, steps, input]
        } else {
            [steps, batch, input]
        };
        let width = cell.gates() * hidden;
        vec![
            random(&x, "x"),
            random(&[batch, hidden], "h"),
            random(&[width, input], "w_ih"),
            random(&[width, hidden], "w_hh"),
            random(&[width], "b_ih"),
            random(&[width], "b_hh"),
            random(&[batch, hidden], "c"),
        ]
    }

    fn call(cell: Cell, t: &[Tensor], time: Time, bias: bool) -> Result<Recurrent> {
        let weights = RecurrentWeights {
            w_ih: (&t[2]).into(),
            w_hh: (&t[3]).into(),
            b_ih: bias.then_some((&t[4]).into()),
            b_hh: bias.then_some((&t[5]).into()),
        };
        let c_0 = (cell == Cell::Lstm).then(|| (&t[6]).into());
        recurrent(cell, &t[0], &t[1], c_0, weights, time)
    }

    #[test]
    fn gradients_through_every_output() {
        for cell in CELLS {
            for (batch_first, reverse) in [(false, false), (true, true), (true, false)] {
                let time = Time {
                    batch_first,
                    reverse,
                };
                let args = arguments(cell, time, [3, 2, 2, 3]);
                for bias in [true, false] {
                    check(&args, |t| Ok(call(cell, t, time, bias)?.output));
                }
                check(&args, |t| Ok(call(cell, t, time, true)?.h));
                // Both outputs in one loss, one of them twice.
                check(&args, |t| {
                    let r = call(cell, t, time, true)?;
                    let h = (&r.h * &r.h)?;
                    let last = r.c.map_or(Ok(h.clone()), |c| c * h)?;
                    Ok(r.output.sum(usize::from(batch_first))?.mul(&last)?)
                });
            }
        }
    }

    #[test]
    fn gradients_of_empty_single_and_strided_inputs() {
        for cell in CELLS {
            let time = Time {
                batch_first: true,
                reverse: false,
            };
            for sizes in [[0, 2, 2, 3], [2, 0, 2, 3], [2, 2, 0, 3], [1, 1, 1, 1]] {
                check(&arguments(cell, time, sizes), |t| {
                    Ok(call(cell, t, time, true)?.output)
                });
            }
            let mut args = arguments(cell, Time::default(), [3, 2, 2, 3]);
            args[0] = args[0].transpose(0, 1).unwrap();
            check(&args, |t| Ok(call(cell, t, time, true)?.output));
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        let time = Time::default();
        let args = arguments(Cell::Gru, time, [3, 2, 2, 3]);
        let text = |cell, args: &[Tensor]| call(cell, args, time, true).unwrap_err().to_string();
        assert_eq!(
            text(Cell::RnnTanh, &args),
            "recurrent: w_ih must have shape [3, 2], but has [9, 2]"
        );
        let weights = RecurrentWeights {
            w_ih: (&args[2]).into(),
            w_hh: (&args[3]).into(),
            b_ih: None,
            b_hh: None,
        };
        let missing = recurrent(Cell::Lstm, &args[0], &args[1], None, weights, time).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "recurrent: c_0 must be given to an LSTM, but is missing"
        );
        let mut flat = args.clone();
        flat[0] = random(&[3, 2], "x");
        assert!(text(Cell::Gru, &flat).contains("[steps, batch, input]"));
    }
}

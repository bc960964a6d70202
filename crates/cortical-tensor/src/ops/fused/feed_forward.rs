//! The feed-forward sublayer of a block.

use super::sublayer::{
    Normed, Sublayer, add, check_norm, input_gradient, operands, project, weight_gradient,
};
use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, check_float, is_half, wrong_shape};
use crate::ops::{gated, linear, linear_dims, rms_norm};
use crate::{Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::buffer::unspecified;
use cortical_kernels::gated as kernel;
use cortical_kernels::matmul::Write;

const NAME: &str = "feed_forward";

/// The parameters and options of [`feed_forward`].
#[derive(Clone, Copy, Debug)]
pub struct FeedForward<'a> {
    /// The weight of the RMS norm, `[hidden]`.
    pub norm: Input<'a>,
    /// `[width, hidden]`
    pub gate: Input<'a>,
    /// `[width, hidden]`
    pub up: Input<'a>,
    /// `[hidden, width]`
    pub down: Input<'a>,
    /// Added to the norm's mean square.
    pub eps: f64,
    /// The function of the gate.
    pub activation: Activation,
    /// Whether somebody wants to see the norm and the branch; it changes no bit of the output.
    pub shows: bool,
}

/// `y = x + W_down (f(W_gate n) ⊙ W_up n)` with `n = rms_norm(x)`: [`rms_norm`], [`linear`] and [`gated`] as one
/// operation.
///
/// # Shapes
/// - `x` and the output: `[…, hidden]`
/// - the parameters: see [`FeedForward`]
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape), [`Error::DType`](crate::Error::DType) or
/// [`Error::Device`](crate::Error::Device) when the arguments do not fit together;
/// [`Error::Option`](crate::Error::Option) when `eps` is negative.
///
/// # Source
/// Shazeer, "GLU variants improve transformer" (2020); Touvron et al., "LLaMA" (2023).
pub fn feed_forward<'a>(x: impl Into<Input<'a>>, sublayer: FeedForward<'a>) -> Result<Sublayer> {
    fn inner(x: Input<'_>, sublayer: FeedForward<'_>) -> Result<Sublayer> {
        let t = x.tensor();
        check_float(NAME, "x", t)?;
        check_norm(NAME, t, sublayer.norm.tensor(), sublayer.eps)?;
        let [_, _, width] = linear_dims(t, sublayer.gate.tensor(), None)?;
        linear_dims(t, sublayer.up.tensor(), None)?;
        for (argument, weight, shape) in [
            (
                "up",
                sublayer.up.tensor(),
                sublayer.gate.tensor().dims().to_vec(),
            ),
            (
                "down",
                sublayer.down.tensor(),
                vec![t.dims()[t.rank() - 1], width],
            ),
        ] {
            crate::ops::prepare::check_alike(NAME, t, argument, weight)?;
            if weight.dims() != shape {
                return Err(wrong_shape(NAME, argument, format!("{shape:?}"), weight));
            }
        }
        if is_half(t.dtype()) {
            // In `f32`, rounded once.
            let wide = |t: &Tensor| t.to_dtype(DType::F32);
            let [norm, gate, up, down] = [sublayer.norm, sublayer.gate, sublayer.up, sublayer.down]
                .map(|w| wide(w.tensor()));
            let (norm, gate, up, down) = (norm?, gate?, up?, down?);
            let wide_sublayer = FeedForward {
                norm: (&norm).into(),
                gate: (&gate).into(),
                up: (&up).into(),
                down: (&down).into(),
                ..sublayer
            };
            return feed_forward(&wide(t)?, wide_sublayer)?.to_dtype(t.dtype());
        }
        if is_fallback(t.device()) {
            return fine(t, sublayer);
        }
        by_dtype!(NAME, "x", t, T => forward::<T>(x, sublayer))
    }
    inner(x.into(), sublayer)
}

/// The same from the operations that it joins.
fn fine(x: &Tensor, sublayer: FeedForward<'_>) -> Result<Sublayer> {
    let normed = rms_norm(
        x,
        sublayer.norm.tensor().dims(),
        Some(sublayer.norm),
        sublayer.eps,
    )?;
    let project = |weight| linear(&normed, weight, None, Activation::Identity);
    let hidden = gated(
        &project(sublayer.gate)?,
        &project(sublayer.up)?,
        sublayer.activation,
    )?;
    let branch = linear(&hidden, sublayer.down, None, Activation::Identity)?;
    Ok(Sublayer {
        output: (x + &branch)?,
        normed: sublayer.shows.then(|| normed.detach()),
        branch: sublayer.shows.then(|| branch.detach()),
    })
}

struct Fused<T> {
    activation: Activation,
    normed: Normed<T>,
    gate: Vec<T>,
    up: Vec<T>,
    hidden: Vec<T>,
}

fn forward<T: Element>(x: Input<'_>, sublayer: FeedForward<'_>) -> Result<Sublayer> {
    let operands = operands(&[
        Some(x),
        Some(sublayer.norm),
        Some(sublayer.gate),
        Some(sublayer.up),
        Some(sublayer.down),
    ])?;
    let shape = operands[0].tensor().shape().clone();
    let (op, y, branch) = {
        let x = values::<T>(operands[0].tensor())?;
        let normed = Normed::new(&x, &values::<T>(operands[1].tensor())?, sublayer.eps);
        let gate = project(&normed.y, &operands[2], None)?;
        let up = project(&normed.y, &operands[3], None)?;
        let mut hidden = unspecified(gate.len());
        kernel::forward(sublayer.activation, &gate, &up, &mut hidden);
        let mut y = project(&hidden, &operands[4], None)?;
        let branch = sublayer
            .shows
            .then(|| tensor(y.clone(), &shape))
            .transpose()?;
        add(&mut y, &x);
        let op = Fused {
            activation: sublayer.activation,
            normed,
            gate,
            up,
            hidden,
        };
        (op, y, branch)
    };
    let normed = sublayer
        .shows
        .then(|| tensor(op.normed.y.clone(), &shape))
        .transpose()?;
    Ok(Sublayer {
        output: apply_one(op, operands, Output::new(y, shape))?,
        normed,
        branch,
    })
}

impl<T: Element> Op for Fused<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let d_y = values::<T>(pass.d_output(0))?;
        // 1. Through the last product to gate and value.
        let d_down = weight_gradient(pass, 4, &d_y, &self.hidden)?;
        let mut d_hidden = unspecified(self.hidden.len());
        input_gradient(pass, 4, &d_y, &mut d_hidden, Write::Replace)?;
        let (mut d_gate, mut d_up) = (unspecified(d_hidden.len()), unspecified(d_hidden.len()));
        kernel::backward(
            self.activation,
            &self.gate,
            &self.up,
            &d_hidden,
            &mut d_gate,
            &mut d_up,
        );
        // 2. Through both first products to the norm.
        let d_gate_weight = weight_gradient(pass, 2, &d_gate, &self.normed.y)?;
        let d_up_weight = weight_gradient(pass, 3, &d_up, &self.normed.y)?;
        let mut d_normed = unspecified(self.normed.y.len());
        input_gradient(pass, 2, &d_gate, &mut d_normed, Write::Replace)?;
        input_gradient(pass, 3, &d_up, &mut d_normed, Write::Add)?;
        let [d_x, d_norm] = self.normed.backward(pass, &d_normed)?;
        Ok(vec![d_x, d_norm, d_gate_weight, d_up_weight, d_down])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, random, same};
    use crate::with_fallback;
    use candle_core::DType;

    fn parts(t: &[Tensor], activation: Activation) -> FeedForward<'_> {
        FeedForward {
            norm: (&t[1]).into(),
            gate: (&t[2]).into(),
            up: (&t[3]).into(),
            down: (&t[4]).into(),
            eps: 1e-5,
            activation,
            shows: false,
        }
    }

    fn inputs(shape: &[usize], width: usize) -> Vec<Tensor> {
        let hidden = shape[shape.len() - 1];
        let names = ["norm", "gate", "up", "down"];
        let shapes = [
            vec![hidden],
            vec![width, hidden],
            vec![width, hidden],
            vec![hidden, width],
        ];
        let weights = names
            .iter()
            .zip(shapes)
            .map(|(name, shape)| random(&shape, name));
        std::iter::once(random(shape, "x")).chain(weights).collect()
    }

    #[test]
    fn values_and_gradients_are_those_of_the_fine_operations() {
        for kind in [Activation::Silu, Activation::Gelu, Activation::Sigmoid] {
            for (shape, width) in [
                (&[5, 3][..], 4),
                (&[2, 3, 4], 6),
                (&[1, 1], 1),
                (&[0, 3], 4),
                (&[3], 2),
            ] {
                let inputs = inputs(shape, width);
                check(&inputs, |t| Ok(feed_forward(&t[0], parts(t, kind))?.output));
                let one = feed_forward(&inputs[0], parts(&inputs, kind))
                    .unwrap()
                    .output;
                same(
                    &one,
                    &fine(&inputs[0], parts(&inputs, kind)).unwrap().output,
                    1e-12,
                );
            }
        }
        let mut strided = inputs(&[4, 3], 5);
        strided[0] = random(&[3, 4], "x").t().unwrap();
        strided[2] = random(&[3, 5], "gate").t().unwrap();
        check(&strided, |t| {
            Ok(feed_forward(&t[0], parts(t, Activation::Silu))?.output)
        });
    }

    #[test]
    fn showing_the_inside_changes_nothing() {
        let inputs = inputs(&[6, 8], 12);
        let single: Vec<Tensor> = inputs
            .iter()
            .map(|t| t.to_dtype(DType::F32).unwrap())
            .collect();
        for t in [&inputs, &single] {
            let hidden = feed_forward(&t[0], parts(t, Activation::Silu)).unwrap();
            let shows = FeedForward {
                shows: true,
                ..parts(t, Activation::Silu)
            };
            let shown = feed_forward(&t[0], shows).unwrap();
            same(&hidden.output, &shown.output, 0.0);
            let fallback = with_fallback(|| feed_forward(&t[0], shows)).unwrap();
            for (one, other) in [
                (&shown.normed, &fallback.normed),
                (&shown.branch, &fallback.branch),
            ] {
                same(one.as_ref().unwrap(), other.as_ref().unwrap(), 1e-4);
            }
            assert!(hidden.normed.is_none() && hidden.branch.is_none());
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        let mut t = inputs(&[2, 3], 4);
        t[4] = random(&[4, 3], "down");
        let error = feed_forward(&t[0], parts(&t, Activation::Silu))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "feed_forward: down must have shape [3, 4], but has [4, 3]"
        );
    }
}

//! The sublayer as one operation: kernels one after another, forward and backward.

use super::super::sublayer::{
    Normed, Sublayer, add, input_gradient, operands, project, weight_gradient,
};
use super::{AttentionSublayer, NAME, SublayerRotary};
use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::attention::count_products;
use crate::{Input, Result, values};
use candle_core::Tensor;
use cortical_kernels::attention::{
    self as kernel, Gradients, Heads, HeadsMut, Options, Sizes, Strides,
};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::linear as neurons;
use cortical_kernels::matmul::Write;
use cortical_kernels::real::Real;
use cortical_kernels::rope::{Pairs, Rotation, Turn};
use cortical_kernels::softmax::Shift;

struct Fused<T> {
    sizes: Sizes,
    causal: bool,
    has_bias: bool,
    angles: Option<(Tensor, Tensor, Pairs)>,
    normed: Normed<T>,
    /// Queries and keys as they were rotated, and values.
    qkv: [Vec<T>; 3],
    mixed: Vec<T>,
    shifts: Vec<Shift<T>>,
}

/// Inputs: x, the norm, the three weights, the output's weight, the three biases.
const WEIGHTS: usize = 2;
const OUT: usize = 5;
const BIASES: usize = 6;

/// The whole sublayer, forward; what its backward pass needs is kept.
pub(super) fn forward<T: Element>(
    x: Input<'_>,
    sublayer: AttentionSublayer<'_>,
    sizes: Sizes,
) -> Result<Sublayer> {
    let [q, k, v] = sublayer.qkv;
    let bias = |at: usize| sublayer.bias.map(|bias| bias[at]);
    let first = [
        Some(x),
        Some(sublayer.norm),
        Some(q),
        Some(k),
        Some(v),
        Some(sublayer.out),
    ];
    let operands = operands(&[&first[..], &[bias(0), bias(1), bias(2)]].concat())?;
    let shape = operands[0].tensor().shape().clone();
    let angles = match sublayer.rotary {
        Some(SublayerRotary { cos, sin, pairs }) => Some((
            cos.detach().contiguous()?,
            sin.detach().contiguous()?,
            pairs,
        )),
        None => None,
    };
    let (op, y, branch) = {
        let x = values::<T>(operands[0].tensor())?;
        let normed = Normed::new(&x, &values::<T>(operands[1].tensor())?, sublayer.eps);
        let made = |at: usize| {
            project(
                &normed.y,
                &operands[WEIGHTS + at],
                operands.get(BIASES + at),
            )
        };
        let mut op = Fused {
            sizes,
            causal: sublayer.causal,
            has_bias: sublayer.bias.is_some(),
            angles,
            qkv: [made(0)?, made(1)?, made(2)?],
            mixed: unspecified(sizes.batch * sizes.queries * sizes.heads * sizes.dim),
            shifts: vec![Shift::default(); sizes.batch * sizes.heads * sizes.queries],
            normed,
        };
        let [mut q, mut k, v] = std::mem::take(&mut op.qkv);
        op.turn(Turn::Forward, &mut q, sizes.heads)?;
        op.turn(Turn::Forward, &mut k, sizes.kv_heads)?;
        op.qkv = [q, k, v];
        op.mix();
        let mut y = project(&op.mixed, &operands[OUT], None)?;
        let branch = sublayer
            .shows
            .then(|| tensor(y.clone(), &shape))
            .transpose()?;
        add(&mut y, &x);
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

impl<T: Element> Fused<T> {
    /// Rotates queries or keys, if there are angles.
    fn turn(&self, turn: Turn, x: &mut [T], heads: usize) -> Result<()> {
        let Some((cos, sin, pairs)) = &self.angles else {
            return Ok(());
        };
        let rotation = Rotation {
            pairs: *pairs,
            cos: &values::<T>(cos)?,
            sin: &values::<T>(sin)?,
            positions: self.sizes.queries,
            inner: heads,
            head: self.sizes.dim,
            rotary: 2 * cos.dims()[1],
        };
        rotation.apply_in_place(turn, x);
        Ok(())
    }

    fn options(&self) -> Options<'static, T> {
        Options {
            scale: <T as Real>::from_f64(1.0 / (self.sizes.dim as f64).sqrt()),
            softcap: None,
            causal: self.causal.then_some(0),
            mask: None,
            dropout: None,
        }
    }

    /// Where the heads of queries, and where those of keys and values are.
    fn strides(&self) -> [Strides; 2] {
        let s = self.sizes;
        [s.heads, s.kv_heads].map(|heads| Strides::heads_inside(heads, s.queries, s.dim))
    }

    fn heads(&self) -> [Heads<'_, T>; 3] {
        let [of_q, of_kv] = self.strides();
        let view = |at: usize, strides| Heads {
            data: &self.qkv[at],
            strides,
        };
        [view(0, of_q), view(1, of_kv), view(2, of_kv)]
    }

    /// Attention itself.
    fn mix(&mut self) {
        let (mut mixed, mut shifts) = (
            std::mem::take(&mut self.mixed),
            std::mem::take(&mut self.shifts),
        );
        count_products(self.sizes, self.options().causal, None);
        let [q, k, v] = self.heads();
        let output = HeadsMut {
            data: &mut mixed,
            strides: self.strides()[0],
        };
        kernel::forward(self.sizes, q, k, v, self.options(), output, &mut shifts);
        (self.mixed, self.shifts) = (mixed, shifts);
    }

    /// The gradients of queries, keys and values before their rotation.
    fn unmix(&self, d_mixed: &[T]) -> Result<[Vec<T>; 3]> {
        let [of_q, of_kv] = self.strides();
        let [mut d_q, mut d_k, mut d_v] = [0, 1, 2].map(|at| unspecified(self.qkv[at].len()));
        let view = |data, strides| Heads { data, strides };
        fn part<T>(data: &mut [T], strides: Strides) -> HeadsMut<'_, T> {
            HeadsMut { data, strides }
        }
        kernel::backward(
            self.sizes,
            self.heads(),
            self.options(),
            view(&self.mixed, of_q),
            &self.shifts,
            view(d_mixed, of_q),
            Gradients {
                d_q: part(&mut d_q, of_q),
                d_k: part(&mut d_k, of_kv),
                d_v: part(&mut d_v, of_kv),
            },
        );
        self.turn(Turn::Backward, &mut d_q, self.sizes.heads)?;
        self.turn(Turn::Backward, &mut d_k, self.sizes.kv_heads)?;
        Ok([d_q, d_k, d_v])
    }
}

impl<T: Element> Op for Fused<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let d_y = values::<T>(pass.d_output(0))?;
        // 1. Through the output's product and attention.
        let d_out = weight_gradient(pass, OUT, &d_y, &self.mixed)?;
        let mut d_mixed = unspecified(self.mixed.len());
        input_gradient(pass, OUT, &d_y, &mut d_mixed, Write::Replace)?;
        let d_qkv = self.unmix(&d_mixed)?;
        // 2. Through the three products to the norm.
        let mut d_normed = unspecified(self.normed.y.len());
        let (mut d_weights, mut d_biases) = (Vec::new(), Vec::new());
        for (at, d) in d_qkv.iter().enumerate() {
            d_weights.push(weight_gradient(pass, WEIGHTS + at, d, &self.normed.y)?);
            let write = if at == 0 { Write::Replace } else { Write::Add };
            input_gradient(pass, WEIGHTS + at, d, &mut d_normed, write)?;
            if self.has_bias {
                let wanted = pass.wants(BIASES + at);
                d_biases.push(
                    wanted
                        .then(|| bias_gradient(d, pass.input(BIASES + at)))
                        .transpose()?,
                );
            }
        }
        let [d_x, d_norm] = self.normed.backward(pass, &d_normed)?;
        let mut grads = vec![d_x, d_norm];
        grads.append(&mut d_weights);
        grads.push(d_out);
        grads.append(&mut d_biases);
        Ok(grads)
    }
}

fn bias_gradient<T: Element>(d: &[T], bias: &Tensor) -> Result<Tensor> {
    let mut d_b = unspecified(bias.elem_count());
    neurons::bias_gradient(d, &mut d_b);
    tensor(d_b, bias.shape())
}

//! The attention sublayer of a block.

use super::sublayer::{
    Normed, Sublayer, add, check_norm, input_gradient, operands, project, weight_gradient,
};
use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, wrong_shape};
use crate::ops::{Attention, HeadOrder, attention, linear, linear_dims, rms_norm, rotary};
use crate::shape::checked_count;
use crate::{Error, Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::attention::{
    self as kernel, Gradients, Heads, HeadsMut, Options, Sizes, Strides,
};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::linear as neurons;
use cortical_kernels::matmul::Write;
use cortical_kernels::real::Real;
use cortical_kernels::rope::{Pairs, Rotation, Turn};

const NAME: &str = "attention_sublayer";

/// The parameters and options of [`attention_sublayer`].
#[derive(Clone, Copy, Debug)]
pub struct AttentionSublayer<'a> {
    /// The weight of the RMS norm, `[hidden]`.
    pub norm: Input<'a>,
    /// The weights of queries, keys and values: `[heads · dim, hidden]`, then twice `[kv_heads · dim, hidden]`.
    pub qkv: [Input<'a>; 3],
    /// Their biases, all or none.
    pub bias: Option<[Input<'a>; 3]>,
    /// `[hidden, heads · dim]`
    pub out: Input<'a>,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values, a divisor of `heads`.
    pub kv_heads: usize,
    /// The rotation of queries and keys.
    pub rotary: Option<SublayerRotary<'a>>,
    /// Whether a query sees no later keys.
    pub causal: bool,
    /// Added to the norm's mean square.
    pub eps: f64,
    /// Whether somebody wants to see the norm and the branch; it changes no bit of the output.
    pub shows: bool,
}

/// The angles of [`rotary`], constants.
#[derive(Clone, Copy, Debug)]
pub struct SublayerRotary<'a> {
    /// `[rows, pairs]`
    pub cos: &'a Tensor,
    /// `[rows, pairs]`
    pub sin: &'a Tensor,
    /// Which elements make a pair.
    pub pairs: Pairs,
}

/// `y = x + W_o attention(W_q n, W_k n, W_v n)` with `n = rms_norm(x)`, queries and keys rotated: [`rms_norm`],
/// [`linear`], [`rotary`] and [`attention`] as one operation over whole sequences.
///
/// # Shapes
/// - `x` and the output: `[batch, rows, hidden]`
/// - the parameters: see [`AttentionSublayer`]
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`] or [`Error::Device`] when the arguments do not fit together; [`Error::Option`]
/// for numbers of heads that do not divide one another or a negative `eps`.
///
/// # Source
/// Ainslie et al., "GQA" (2023); Touvron et al., "LLaMA" (2023).
pub fn attention_sublayer<'a>(
    x: impl Into<Input<'a>>,
    sublayer: AttentionSublayer<'a>,
) -> Result<Sublayer> {
    let x = x.into();
    let t = x.tensor();
    let sizes = check(t, &sublayer)?;
    if is_half(t.dtype()) {
        return widened(t, sublayer);
    }
    if is_fallback(t.device()) || t.elem_count() == 0 || sizes.dim == 0 {
        return fine(t, sublayer, sizes);
    }
    by_dtype!(NAME, "x", t, T => forward::<T>(x, sublayer, sizes))
}

fn check(x: &Tensor, sublayer: &AttentionSublayer<'_>) -> Result<Sizes> {
    check_float(NAME, "x", x)?;
    let &[batch, rows, hidden] = x.dims() else {
        return Err(wrong_shape(NAME, "x", "[batch, rows, hidden]", x));
    };
    check_norm(NAME, x, sublayer.norm.tensor(), sublayer.eps)?;
    let (heads, kv_heads) = (sublayer.heads, sublayer.kv_heads);
    let [_, _, width] = linear_dims(x, sublayer.qkv[0].tensor(), None)?;
    let option = |option, expected: String, got: usize| Error::Option {
        op: NAME,
        option,
        expected,
        got: got.to_string(),
    };
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(option(
            "heads",
            format!("a divisor of the queries' {width} elements"),
            heads,
        ));
    }
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        return Err(option(
            "kv_heads",
            format!("a divisor of {heads} heads"),
            kv_heads,
        ));
    }
    let dim = width / heads;
    let kv_width = kv_heads * dim;
    let expect = |argument: &'static str, t: &Tensor, shape: &[usize]| {
        check_alike(NAME, x, argument, t)?;
        if t.dims() == shape {
            Ok(())
        } else {
            Err(wrong_shape(NAME, argument, format!("{shape:?}"), t))
        }
    };
    expect(
        "keys' weight",
        sublayer.qkv[1].tensor(),
        &[kv_width, hidden],
    )?;
    expect(
        "values' weight",
        sublayer.qkv[2].tensor(),
        &[kv_width, hidden],
    )?;
    expect("out", sublayer.out.tensor(), &[hidden, width])?;
    for (bias, width) in sublayer
        .bias
        .iter()
        .flatten()
        .zip([width, kv_width, kv_width])
    {
        expect("bias", bias.tensor(), &[width])?;
    }
    if let Some(SublayerRotary { cos, sin, .. }) = sublayer.rotary {
        match cos.dims() {
            &[angles, pairs] if angles == rows && pairs <= dim / 2 => {}
            _ => {
                let expected = format!("[{rows}, pairs] with at most {} pairs", dim / 2);
                return Err(wrong_shape(NAME, "cos", expected, cos));
            }
        }
        expect("cos", cos, cos.dims())?;
        expect("sin", sin, cos.dims())?;
    }
    checked_count(NAME, &[batch, rows, width.max(hidden)])?;
    Ok(Sizes {
        batch,
        heads,
        kv_heads,
        queries: rows,
        keys: rows,
        dim,
        value_dim: dim,
    })
}

/// The same in `f32`, rounded once.
fn widened(x: &Tensor, sublayer: AttentionSublayer<'_>) -> Result<Sublayer> {
    let wide = |t: &Tensor| t.to_dtype(DType::F32);
    let [q, k, v] = sublayer.qkv.map(|w| wide(w.tensor()));
    let (q, k, v) = (q?, k?, v?);
    let biases = match sublayer.bias {
        Some([q, k, v]) => Some([wide(q.tensor())?, wide(k.tensor())?, wide(v.tensor())?]),
        None => None,
    };
    let angles = match sublayer.rotary {
        Some(SublayerRotary { cos, sin, pairs }) => Some((wide(cos)?, wide(sin)?, pairs)),
        None => None,
    };
    let (norm, out) = (wide(sublayer.norm.tensor())?, wide(sublayer.out.tensor())?);
    let made = attention_sublayer(
        &wide(x)?,
        AttentionSublayer {
            norm: (&norm).into(),
            qkv: [(&q).into(), (&k).into(), (&v).into()],
            bias: biases.as_ref().map(|b| b.each_ref().map(Into::into)),
            out: (&out).into(),
            rotary: angles
                .as_ref()
                .map(|&(ref cos, ref sin, pairs)| SublayerRotary { cos, sin, pairs }),
            ..sublayer
        },
    )?;
    made.to_dtype(x.dtype())
}

/// The same from the operations that it joins.
fn fine(x: &Tensor, sublayer: AttentionSublayer<'_>, sizes: Sizes) -> Result<Sublayer> {
    let normed = rms_norm(
        x,
        sublayer.norm.tensor().dims(),
        Some(sublayer.norm),
        sublayer.eps,
    )?;
    let headed = |at: usize, heads: usize| -> Result<Tensor> {
        let bias = sublayer.bias.map(|bias| bias[at]);
        let y = linear(&normed, sublayer.qkv[at], bias, Activation::Identity)?;
        Ok(y.reshape((sizes.batch, sizes.queries, heads, sizes.dim))?)
    };
    let turned = |t: Tensor| match sublayer.rotary {
        Some(SublayerRotary { cos, sin, pairs }) => rotary(&t, cos, sin, pairs, HeadOrder::Inside),
        None => Ok(t),
    };
    let q = turned(headed(0, sizes.heads)?)?;
    let k = turned(headed(1, sizes.kv_heads)?)?;
    let v = headed(2, sizes.kv_heads)?;
    let options = Attention {
        causal: sublayer.causal.then_some(0),
        order: HeadOrder::Inside,
        ..Default::default()
    };
    let mixed = attention(&q, &k, &v, options)?.flatten_from(2)?;
    let branch = linear(&mixed, sublayer.out, None, Activation::Identity)?;
    Ok(Sublayer {
        output: (x + &branch)?,
        normed: sublayer.shows.then(|| normed.detach()),
        branch: sublayer.shows.then(|| branch.detach()),
    })
}

struct Fused<T> {
    sizes: Sizes,
    causal: bool,
    has_bias: bool,
    angles: Option<(Tensor, Tensor, Pairs)>,
    normed: Normed<T>,
    /// Queries and keys as they were rotated, and values.
    qkv: [Vec<T>; 3],
    mixed: Vec<T>,
    lse: Vec<T>,
}

/// Inputs: x, the norm, the three weights, the output's weight, the three biases.
const WEIGHTS: usize = 2;
const OUT: usize = 5;
const BIASES: usize = 6;

fn forward<T: Element>(
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
            lse: unspecified(sizes.batch * sizes.heads * sizes.queries),
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
        let (mut mixed, mut lse) = (
            std::mem::take(&mut self.mixed),
            std::mem::take(&mut self.lse),
        );
        let [q, k, v] = self.heads();
        let output = HeadsMut {
            data: &mut mixed,
            strides: self.strides()[0],
        };
        kernel::forward(self.sizes, q, k, v, self.options(), output, &mut lse);
        (self.mixed, self.lse) = (mixed, lse);
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
            &self.lse,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::rotary_angles;
    use crate::ops::testing::{check, random, same};
    use crate::with_fallback;
    use candle_core::{DType, Device};

    /// Heads of queries, heads of keys, elements of a head, elements of a row.
    type Shape = [usize; 4];

    fn inputs(x: &[usize], [heads, kv_heads, dim, hidden]: Shape, bias: bool) -> Vec<Tensor> {
        let (width, kv_width) = (heads * dim, kv_heads * dim);
        let mut shapes = vec![
            ("x", x.to_vec()),
            ("norm", vec![hidden]),
            ("q", vec![width, hidden]),
            ("k", vec![kv_width, hidden]),
            ("v", vec![kv_width, hidden]),
            ("o", vec![hidden, width]),
        ];
        if bias {
            shapes.extend([
                ("b_q", vec![width]),
                ("b_k", vec![kv_width]),
                ("b_v", vec![kv_width]),
            ]);
        }
        shapes
            .iter()
            .map(|(name, shape)| random(shape, name))
            .collect()
    }

    fn parts<'a>(
        t: &'a [Tensor],
        shape: Shape,
        rotary: Option<SublayerRotary<'a>>,
        causal: bool,
    ) -> AttentionSublayer<'a> {
        AttentionSublayer {
            norm: (&t[1]).into(),
            qkv: [(&t[2]).into(), (&t[3]).into(), (&t[4]).into()],
            bias: t.get(6).map(|b| [b.into(), (&t[7]).into(), (&t[8]).into()]),
            out: (&t[5]).into(),
            heads: shape[0],
            kv_heads: shape[1],
            rotary,
            causal,
            eps: 1e-5,
            shows: false,
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_the_fine_operations() {
        for (x, shape) in [
            ([2, 4, 3], [2, 1, 2, 3]),
            ([1, 5, 4], [4, 2, 2, 4]),
            ([1, 1, 2], [1, 1, 4, 2]),
            ([0, 3, 2], [1, 1, 2, 2]),
            ([2, 0, 2], [1, 1, 2, 2]),
        ] {
            let (cos, sin) = rotary_angles(0..x[1], &[1.0], DType::F64, &Device::Cpu).unwrap();
            for (turned, causal, bias) in [
                (true, true, false),
                (false, false, true),
                (true, false, true),
            ] {
                let pairs = if causal {
                    Pairs::Halves
                } else {
                    Pairs::Neighbours
                };
                let rotary = turned.then_some(SublayerRotary {
                    cos: &cos,
                    sin: &sin,
                    pairs,
                });
                let t = inputs(&x, shape, bias);
                check(&t, |t| {
                    Ok(attention_sublayer(&t[0], parts(t, shape, rotary, causal))?.output)
                });
                let sublayer = parts(&t, shape, rotary, causal);
                let sizes = super::check(&t[0], &sublayer).unwrap();
                let one = attention_sublayer(&t[0], sublayer).unwrap().output;
                same(&one, &fine(&t[0], sublayer, sizes).unwrap().output, 1e-12);
            }
        }
        let shape = [2, 2, 2, 3];
        let mut strided = inputs(&[2, 4, 3], shape, false);
        strided[0] = random(&[4, 2, 3], "x").transpose(0, 1).unwrap();
        strided[5] = random(&[4, 3], "o").t().unwrap();
        check(&strided, |t| {
            Ok(attention_sublayer(&t[0], parts(t, shape, None, true))?.output)
        });
    }

    #[test]
    fn showing_the_inside_changes_nothing() {
        let shape = [2, 1, 4, 6];
        let t = inputs(&[2, 5, 6], shape, true);
        let sublayer = parts(&t, shape, None, true);
        let shows = AttentionSublayer {
            shows: true,
            ..sublayer
        };
        let (hidden, shown) = (
            attention_sublayer(&t[0], sublayer).unwrap(),
            attention_sublayer(&t[0], shows).unwrap(),
        );
        same(&hidden.output, &shown.output, 0.0);
        let fallback = with_fallback(|| attention_sublayer(&t[0], shows)).unwrap();
        for (one, other) in [
            (&shown.normed, &fallback.normed),
            (&shown.branch, &fallback.branch),
        ] {
            same(one.as_ref().unwrap(), other.as_ref().unwrap(), 1e-9);
        }
        assert!(hidden.normed.is_none() && hidden.branch.is_none());
    }

    #[test]
    fn errors_say_what_was_expected() {
        let shape = [2, 1, 2, 3];
        let t = inputs(&[2, 4, 3], shape, false);
        let message = |sublayer| attention_sublayer(&t[0], sublayer).unwrap_err().to_string();
        let sublayer = parts(&t, shape, None, true);
        let error = message(AttentionSublayer {
            kv_heads: 3,
            ..sublayer
        });
        assert_eq!(
            error,
            "attention_sublayer: kv_heads must be a divisor of 2 heads, but is 3"
        );
        let error = message(AttentionSublayer {
            kv_heads: 2,
            ..sublayer
        });
        assert_eq!(
            error,
            "attention_sublayer: keys' weight must have shape [4, 3], but has [2, 3]"
        );
        let (cos, sin) = rotary_angles(0..3, &[1.0], DType::F64, &Device::Cpu).unwrap();
        let rotary = Some(SublayerRotary {
            cos: &cos,
            sin: &sin,
            pairs: Pairs::Halves,
        });
        let error = message(AttentionSublayer { rotary, ..sublayer });
        assert_eq!(
            error,
            "attention_sublayer: cos must have shape [4, pairs] with at most 1 pairs, but has [3, 1]"
        );
    }
}

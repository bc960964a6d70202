//! The attention sublayer of a block.

mod fused;

use super::sublayer::{Sublayer, check_norm};
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, wrong_shape};
use crate::ops::{Attention, HeadOrder, attention, linear, linear_dims, rms_norm, rotary};
use crate::shape::checked_count;
use crate::{Error, Input, Result, is_fallback};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::attention::Sizes;
use cortical_kernels::rope::Pairs;

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
    fn inner(x: Input<'_>, sublayer: AttentionSublayer<'_>) -> Result<Sublayer> {
        let t = x.tensor();
        let sizes = check(t, &sublayer)?;
        if is_half(t.dtype()) {
            return widened(t, sublayer);
        }
        if is_fallback(t.device()) || t.elem_count() == 0 || sizes.dim == 0 {
            return fine(t, sublayer, sizes);
        }
        by_dtype!(NAME, "x", t, T => fused::forward::<T>(x, sublayer, sizes))
    }
    inner(x.into(), sublayer)
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

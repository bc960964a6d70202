//! Scaled dot-product attention.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::activation::activate_fallback;
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, wrong_shape};
use crate::ops::rotary::HeadOrder;
use crate::ops::softmax;
use crate::shape::checked_count;
use crate::{Error, Input, Result, Rng, is_fallback, tally, values};
use candle_core::{D, DType, Device, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::attention::{
    self as kernel, Dropout, Gradients, Heads, HeadsMut, Mask, MaskValues, Options, Sizes, Strides,
};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::real::Real;
use cortical_kernels::softmax::Shift;

mod rows;

pub use rows::{SeenKeys, attention_rows};

const NAME: &str = "attention";

/// What attention does besides the products; `Attention::default()` is plain.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attention<'a> {
    /// The factor of the scores; `1 / √dim` by default.
    pub scale: Option<f64>,
    /// What scaled scores are softly kept below, `softcap · tanh(score / softcap)`, before any mask; not at all by
    /// default.
    pub softcap: Option<f64>,
    /// With `Some(offset)`, query `i` sees keys `0..=i + offset`: 0 for a whole sequence, the number of keys that came
    /// before the first query where a cache holds them.
    pub causal: Option<usize>,
    /// `[batch or 1, heads or 1, queries or 1, keys]`: of u8, not 0 where a query may attend; of the queries' dtype,
    /// added to the scaled scores. It is a constant: no gradient flows to it.
    pub mask: Option<&'a Tensor>,
    /// The probability with which a weight is dropped, and the key of the random stream.
    pub dropout: Option<Dropout>,
    /// Whether heads stand outside or inside of rows, in all of q, k, v and the result.
    pub order: HeadOrder,
}

/// Dropout of attention weights with a stream from `rng`, or none for `p = 0`.
///
/// # Errors
/// [`Error::Option`] when `p` is not in `[0, 1)`.
pub fn attention_dropout(p: f64, rng: &mut Rng) -> Result<Option<Dropout>> {
    if !(0.0..1.0).contains(&p) {
        let (expected, got) = ("a probability below 1".to_string(), p.to_string());
        return Err(Error::Option {
            op: NAME,
            option: "dropout",
            expected,
            got,
        });
    }
    let word = rng.next_u64();
    Ok((p > 0.0).then_some(Dropout {
        key: [word as u32, (word >> 32) as u32],
        p,
    }))
}

/// `softmax(scale · q kᵀ + mask) v` for each head, with a soft cap on the scores if asked for, without ever holding all
/// scores. A query that may attend to nothing gets zeros.
///
/// # Shapes
/// - `q`: `[batch, heads, queries, dim]`
/// - `k`: `[batch, kv_heads, keys, dim]`, `kv_heads` a divisor of `heads`: neighbouring query heads share one
/// - `v`: `[batch, kv_heads, keys, value_dim]`
/// - result: `[batch, heads, queries, value_dim]`
///
/// With [`HeadOrder::Inside`] the second and third dimensions are exchanged in all four.
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`] or [`Error::Device`] when the arguments do not fit together.
///
/// # Source
/// Vaswani et al., "Attention is all you need" (2017); Dao et al., "FlashAttention" (2022); Gemma Team, "Gemma 2"
/// (2024).
pub fn attention<'a>(
    q: impl Into<Input<'a>>,
    k: impl Into<Input<'a>>,
    v: impl Into<Input<'a>>,
    options: Attention<'_>,
) -> Result<Tensor> {
    fn inner(q: Input<'_>, k: Input<'_>, v: Input<'_>, options: Attention<'_>) -> Result<Tensor> {
        let sizes = check([q.tensor(), k.tensor(), v.tensor()], &options)?;
        let dtype = q.tensor().dtype();
        if is_half(dtype) {
            let [q, k, v] = [q, k, v].map(|t| t.tensor().to_dtype(DType::F32));
            let mask = match options.mask {
                Some(mask) if is_half(mask.dtype()) => Some(mask.to_dtype(DType::F32)?),
                Some(mask) => Some(mask.clone()),
                None => None,
            };
            let options = Attention {
                mask: mask.as_ref(),
                ..options
            };
            return Ok(attention(&q?, &k?, &v?, options)?.to_dtype(dtype)?);
        }
        count_products(sizes, options.causal, options.mask);
        if is_fallback(q.tensor().device()) {
            return fallback(sizes, [q, k, v].map(|t| t.tensor()), &options);
        }
        by_dtype!(NAME, "q", q.tensor(), T => forward::<T>(sizes, [q, k, v], options))
    }
    inner(q.into(), k.into(), v.into(), options)
}

/// Counts the products of scores and of values, for pairs of a query and a key that it sees: those before it where it
/// is causal, and those that a mask of u8 keeps.
pub(super) fn count_products(sizes: Sizes, causal: Option<usize>, mask: Option<&Tensor>) {
    if !tally::is_counting() {
        return;
    }
    let seen = |query: usize| match causal {
        Some(offset) => sizes
            .keys
            .min(query.saturating_add(offset).saturating_add(1)),
        None => sizes.keys,
    };
    let kept = mask.filter(|mask| mask.dtype() == DType::U8);
    let kept = kept.and_then(|mask| {
        let whole = (sizes.batch, sizes.heads, sizes.queries, sizes.keys);
        let values = mask.broadcast_as(whole).ok()?.flatten_all().ok()?;
        values.to_vec1::<u8>().ok()
    });
    let (pairs, times) = match kept {
        Some(kept) => {
            let rows = kept.chunks(sizes.keys.max(1)).enumerate();
            let seen = rows.map(|(row, keys)| {
                let keys = keys.iter().take(seen(row % sizes.queries));
                keys.filter(|keep| **keep != 0).count()
            });
            (seen.sum(), [1, 1])
        }
        None => {
            let of_head: usize = (0..sizes.queries).map(seen).sum();
            (of_head, [sizes.batch, sizes.heads])
        }
    };
    let [batch, heads] = times;
    tally::count(&[pairs, batch, heads, sizes.dim]);
    tally::count(&[pairs, batch, heads, sizes.value_dim]);
}

/// `[batch, heads, rows, dim]` in either order.
fn dims4(argument: &'static str, t: &Tensor, order: HeadOrder) -> Result<[usize; 4]> {
    match (t.dims(), order) {
        (&[b, h, r, d], HeadOrder::Outside) | (&[b, r, h, d], HeadOrder::Inside) => {
            Ok([b, h, r, d])
        }
        (_, HeadOrder::Outside) => Err(wrong_shape(NAME, argument, "[batch, heads, rows, dim]", t)),
        (_, HeadOrder::Inside) => Err(wrong_shape(NAME, argument, "[batch, rows, heads, dim]", t)),
    }
}

/// The factor of the scores of heads with so many elements, where the soft cap is one.
fn checked_scale(options: &Attention<'_>, dim: usize) -> Result<f64> {
    if let Some(got) = options
        .softcap
        .filter(|cap| !(*cap > 0.0 && cap.is_finite()))
    {
        let (expected, got) = ("a finite number above 0".to_string(), got.to_string());
        return Err(Error::Option {
            op: NAME,
            option: "softcap",
            expected,
            got,
        });
    }
    Ok(options.scale.unwrap_or(1.0 / (dim as f64).sqrt()))
}

fn check([q, k, v]: [&Tensor; 3], options: &Attention<'_>) -> Result<Sizes> {
    check_float(NAME, "q", q)?;
    check_alike(NAME, q, "k", k)?;
    check_alike(NAME, q, "v", v)?;
    checked_scale(options, 1)?;
    let order = options.order;
    let [batch, heads, queries, dim] = dims4("q", q, order)?;
    let [k_batch, kv_heads, keys, k_dim] = dims4("k", k, order)?;
    let [v_batch, v_heads, v_keys, value_dim] = dims4("v", v, order)?;
    if k_batch != batch || k_dim != dim {
        let expected = format!("batch {batch} and dim {dim}, as q has");
        return Err(wrong_shape(NAME, "k", expected, k));
    }
    if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        let expected = format!("a divisor of q's {heads} heads");
        return Err(wrong_shape(NAME, "k", expected, k));
    }
    if (v_batch, v_heads, v_keys) != (batch, kv_heads, keys) {
        let expected = format!("batch {batch}, {kv_heads} heads and {keys} rows, as k has");
        return Err(wrong_shape(NAME, "v", expected, v));
    }
    for shape in [
        [batch, heads, queries, value_dim],
        [batch, heads, queries, dim],
        [batch, heads, keys, dim],
    ] {
        checked_count(NAME, &shape)?;
    }
    if let Some(mask) = options.mask {
        if mask.dtype() != DType::U8 {
            check_alike(NAME, q, "mask", mask)?;
        }
        let fits = |got: usize, want: usize| got == want || got == 1;
        let fit = matches!(mask.dims(), &[b, h, i, j] if fits(b, batch) && fits(h, heads) && fits(i, queries) && j == keys);
        if !fit {
            let expected = format!("[{batch} or 1, {heads} or 1, {queries} or 1, {keys}]");
            return Err(wrong_shape(NAME, "mask", expected, mask));
        }
    }
    Ok(Sizes {
        batch,
        heads,
        kv_heads,
        queries,
        keys,
        dim,
        value_dim,
    })
}

fn strides(order: HeadOrder, heads: usize, rows: usize, dim: usize) -> Strides {
    match order {
        HeadOrder::Outside => Strides::heads_outside(heads, rows, dim),
        HeadOrder::Inside => Strides::heads_inside(heads, rows, dim),
    }
}

struct Fused<T> {
    sizes: Sizes,
    order: HeadOrder,
    scale: f64,
    softcap: Option<f64>,
    causal: Option<usize>,
    dropout: Option<Dropout>,
    mask: Option<Tensor>,
    shifts: Vec<Shift<T>>,
}

impl<T: Element> Fused<T> {
    /// Calls `f` with the kernel's options, which borrow the mask.
    fn with_options<R>(&self, f: impl FnOnce(Options<'_, T>) -> R) -> Result<R> {
        let options = |mask| Options {
            scale: <T as Real>::from_f64(self.scale),
            softcap: self.softcap.map(<T as Real>::from_f64),
            causal: self.causal,
            mask,
            dropout: self.dropout,
        };
        let Some(mask) = &self.mask else {
            return Ok(f(options(None)));
        };
        let &[b, h, i, j] = mask.dims() else {
            unreachable!("`check` saw four dimensions")
        };
        let step = |size: usize, stride: usize| if size == 1 { 0 } else { stride };
        let strides = Strides {
            batch: step(b, h * i * j),
            head: step(h, i * j),
            row: step(i, j),
        };
        if mask.dtype() == DType::U8 {
            let keep = values::<u8>(mask)?;
            Ok(f(options(Some(Mask {
                values: MaskValues::Keep(&keep),
                strides,
            }))))
        } else {
            let add = values::<T>(mask)?;
            Ok(f(options(Some(Mask {
                values: MaskValues::Add(&add),
                strides,
            }))))
        }
    }

    fn strides(&self) -> [Strides; 4] {
        let s = self.sizes;
        [
            strides(self.order, s.heads, s.queries, s.dim),
            strides(self.order, s.kv_heads, s.keys, s.dim),
            strides(self.order, s.kv_heads, s.keys, s.value_dim),
            strides(self.order, s.heads, s.queries, s.value_dim),
        ]
    }
}

fn forward<T: Element>(
    sizes: Sizes,
    inputs: [Input<'_>; 3],
    options: Attention<'_>,
) -> Result<Tensor> {
    let operands = inputs
        .into_iter()
        .map(Input::operand)
        .collect::<candle_core::Result<Vec<_>>>()?;
    let order = options.order;
    let mut op = Fused::<T> {
        sizes,
        order,
        scale: checked_scale(&options, sizes.dim)?,
        softcap: options.softcap,
        causal: options.causal,
        dropout: options.dropout,
        mask: options.mask.map(|m| m.detach().contiguous()).transpose()?,
        shifts: Vec::new(),
    };
    let mut y = unspecified::<T>(sizes.batch * sizes.heads * sizes.queries * sizes.value_dim);
    let mut shifts = vec![Shift::default(); sizes.batch * sizes.heads * sizes.queries];
    {
        let [q, k, v] = [0, 1, 2].map(|i| values::<T>(operands[i].tensor()));
        let (q, k, v) = (q?, k?, v?);
        let [sq, sk, sv, so] = op.strides();
        let view = |data, strides| Heads { data, strides };
        op.with_options(|options| {
            let out = HeadsMut {
                data: &mut y,
                strides: so,
            };
            kernel::forward(
                sizes,
                view(&q, sq),
                view(&k, sk),
                view(&v, sv),
                options,
                out,
                &mut shifts,
            );
        })?;
    }
    op.shifts = shifts;
    let (b, h, r, d) = (sizes.batch, sizes.heads, sizes.queries, sizes.value_dim);
    let shape = if order == HeadOrder::Outside {
        (b, h, r, d)
    } else {
        (b, r, h, d)
    };
    apply_one(op, operands, Output::new(y, shape))
}

impl<T: Element> Op for Fused<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let [sq, sk, sv, so] = self.strides();
        let [q, k, v] = [0, 1, 2].map(|i| values::<T>(pass.input(i)));
        let (q, k, v) = (q?, k?, v?);
        let (y, d_y) = (values::<T>(pass.output())?, values::<T>(pass.d_output(0))?);
        let (mut d_q, mut d_k, mut d_v) = (
            unspecified::<T>(q.len()),
            unspecified::<T>(k.len()),
            unspecified::<T>(v.len()),
        );
        let view = |data, strides| Heads { data, strides };
        self.with_options(|options| {
            let gradients = Gradients {
                d_q: HeadsMut {
                    data: &mut d_q,
                    strides: sq,
                },
                d_k: HeadsMut {
                    data: &mut d_k,
                    strides: sk,
                },
                d_v: HeadsMut {
                    data: &mut d_v,
                    strides: sv,
                },
            };
            let inputs = [view(&q, sq), view(&k, sk), view(&v, sv)];
            kernel::backward(
                self.sizes,
                inputs,
                options,
                view(&y, so),
                &self.shifts,
                view(&d_y, so),
                gradients,
            );
        })?;
        let shape = |i: usize| pass.input(i).shape();
        Ok(vec![
            Some(tensor(d_q, shape(0))?),
            Some(tensor(d_k, shape(1))?),
            Some(tensor(d_v, shape(2))?),
        ])
    }
}

/// The weights of [`attention`], how much each query looks at each key: all of them at once, so that memory grows with
/// the square of the length. They are for looking at: no gradient flows through them.
///
/// # Shapes
/// - `q`, `k`: as those of [`attention`]
/// - result: `[batch, heads, queries, keys]`, each row with the sum 1, or 0 where a query may attend to nothing
///
/// # Errors
/// As [`attention`].
pub fn attention_weights(q: &Tensor, k: &Tensor, options: Attention<'_>) -> Result<Tensor> {
    let (q, k) = (q.detach(), k.detach());
    let sizes = check([&q, &k, &k], &options)?;
    let wide = match is_half(q.dtype()) {
        true => DType::F32,
        false => q.dtype(),
    };
    // Values that are one column a key, 1 for its own and 0 for all others, make the result of each query its weights.
    let keys = Tensor::eye(sizes.keys, wide, q.device())?;
    let (batch, heads, keys_count) = (sizes.batch, sizes.kv_heads, sizes.keys);
    let values = match options.order {
        HeadOrder::Outside => keys.broadcast_as((batch, heads, keys_count, keys_count))?,
        HeadOrder::Inside => {
            let keys = keys.unsqueeze(1)?.unsqueeze(0)?;
            keys.broadcast_as((batch, keys_count, heads, keys_count))?
        }
    };
    let mask = match options.mask {
        Some(mask) if is_half(mask.dtype()) => Some(mask.to_dtype(wide)?),
        Some(mask) => Some(mask.clone()),
        None => None,
    };
    let options = Attention {
        mask: mask.as_ref(),
        dropout: None,
        ..options
    };
    let (q, k) = (q.to_dtype(wide)?, k.to_dtype(wide)?);
    let weights = attention(&q, &k, &values.contiguous()?, options)?;
    Ok(match options.order {
        HeadOrder::Outside => weights,
        HeadOrder::Inside => weights.transpose(1, 2)?.contiguous()?,
    })
}

/// The same from candle's operations, with all scores at once.
fn fallback(sizes: Sizes, qkv: [&Tensor; 3], options: &Attention<'_>) -> Result<Tensor> {
    let Sizes {
        batch,
        heads,
        kv_heads,
        queries,
        keys,
        dim,
        value_dim,
    } = sizes;
    let order = options.order;
    // candle cannot copy a transposed tensor without elements.
    let swap = |t: &Tensor| match t.elem_count() {
        0 => {
            let &[a, b, c, d] = t.dims() else {
                unreachable!("`check` saw four axes")
            };
            Tensor::zeros((a, c, b, d), t.dtype(), t.device())
        }
        _ => t.transpose(1, 2)?.contiguous(),
    };
    let outside = |t: &Tensor| match order {
        HeadOrder::Outside => t.contiguous(),
        HeadOrder::Inside => swap(t),
    };
    let [q, k, v] = qkv.map(outside);
    let (q, k, v) = (q?, k?, v?);
    let (dtype, device) = (q.dtype(), q.device().clone());
    let inside = |t: Tensor| match order {
        HeadOrder::Outside => Ok(t),
        HeadOrder::Inside => swap(&t),
    };
    if batch * heads * queries * keys * dim * value_dim == 0 {
        // Without elements to multiply every sum is empty.
        if dim > 0 || batch * heads * queries * keys * value_dim == 0 {
            return Ok(inside(Tensor::zeros(
                (batch, heads, queries, value_dim),
                dtype,
                &device,
            )?)?);
        }
    }
    let repeat = |t: &Tensor, d: usize| {
        let group = heads / kv_heads;
        t.reshape((batch, kv_heads, 1, keys, d))?
            .broadcast_as((batch, kv_heads, group, keys, d))?
            .reshape((batch, heads, keys, d))
    };
    let (k, v) = (repeat(&k, dim)?, repeat(&v, value_dim)?);
    let scale = options.scale.unwrap_or(1.0 / (dim as f64).sqrt());
    let shape = (batch, heads, queries, keys);
    let scores = if dim == 0 {
        Tensor::zeros(shape, dtype, &device)?
    } else {
        (q.matmul(&k.t()?.contiguous()?)? * scale)?
    };
    let scores = match options.softcap {
        None => scores,
        Some(cap) => (activate_fallback(Activation::Tanh, &(scores / cap)?)? * cap)?,
    };
    let (add, keep) = masks(sizes, options, dtype, &device)?;
    let weights = softmax(&scores.broadcast_add(&add)?, D::Minus1)?;
    let weights = weights.broadcast_mul(&keep)?;
    let weights = match options.dropout {
        None => weights,
        Some(dropout) => {
            let factors = kernel::dropout_factors(dropout, batch * heads * queries, keys);
            (weights * Tensor::from_vec(factors, shape, &device)?.to_dtype(dtype)?)?
        }
    };
    Ok(inside(weights.matmul(&v.contiguous()?)?)?)
}

/// What is added to the scores and what the weights are multiplied by: −∞ for what is hidden, but nothing to a query
/// that sees nothing, so that it meets no difference of infinities, and then a zero.
fn masks(
    sizes: Sizes,
    options: &Attention<'_>,
    dtype: DType,
    device: &Device,
) -> Result<(Tensor, Tensor)> {
    let Sizes { queries, keys, .. } = sizes;
    let seen = (0..queries).flat_map(|i| {
        let limit = options
            .causal
            .map_or(keys, |offset| i.saturating_add(offset).saturating_add(1));
        (0..keys).map(move |j| f64::from(u8::from(j < limit)))
    });
    let mut keep = Tensor::from_vec(seen.collect::<Vec<f64>>(), (1, 1, queries, keys), device)?
        .to_dtype(dtype)?;
    let mut add = keep.zeros_like()?;
    if let Some(mask) = options.mask {
        let mask = mask.detach();
        if mask.dtype() == DType::U8 {
            keep = keep.broadcast_mul(&mask.ne(0_u8)?.to_dtype(dtype)?)?;
        } else {
            let shown = mask.ne(f64::NEG_INFINITY)?;
            keep = keep.broadcast_mul(&shown.to_dtype(dtype)?)?;
            add = add.broadcast_add(&shown.where_cond(&mask, &mask.zeros_like()?)?)?;
        }
    }
    if keys == 0 {
        return Ok((add, keep));
    }
    let sees_some = keep.max_keepdim(D::Minus1)?;
    let is_hidden = keep.affine(-1.0, 1.0)?.broadcast_mul(&sees_some)?.ne(0.0)?;
    let nothing = keep.zeros_like()?;
    let hide = is_hidden.where_cond(&nothing.affine(1.0, f64::NEG_INFINITY)?, &nothing)?;
    Ok((add.broadcast_add(&hide)?, keep))
}

#[cfg(test)]
mod tests;

//! Losses of distances and margins: a few candle operations each.

use super::{check_at_least, check_same, reduce, widened};
use crate::ops::Reduction;
use crate::ops::cross_entropy::read_labels;
use crate::ops::prepare::{check_alike, check_float, wrong_shape};
use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// max(0, x) that lets the gradient through at 0 and keeps NaN, as PyTorch's `clamp_min` does.
fn hinge(x: &Tensor) -> candle_core::Result<Tensor> {
    let rest = x.lt(0.0)?.where_cond(&x.zeros_like()?, x)?.detach();
    x.ge(0.0)?.where_cond(x, &rest)
}

/// `l = x` where the target is not −1, plus `max(0, margin − x)` where it is not 1, reduced.
///
/// # Shapes
/// - `x`, `target`: any, the same; targets are ±1
/// - result: scalar, or that of `x` for [`Reduction::None`]
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`], [`Error::Device`] when the arguments differ.
pub fn hinge_embedding_loss(
    x: &Tensor,
    target: &Tensor,
    margin: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    check_same("hinge_embedding_loss", x, "target", target)?;
    widened([x, target], |[x, t]| {
        let zeros = x.zeros_like()?;
        let gap = x.affine(-1.0, margin)?;
        // Unlike the other hinges, PyTorch's has no gradient at 0 here.
        let gap = gap.eq(0.0)?.where_cond(&zeros, &hinge(&gap)?)?;
        let dissimilar = t.ne(1.0)?.where_cond(&gap, &zeros)?;
        let similar = t.ne(-1.0)?.where_cond(x, &zeros)?;
        reduce(&(dissimilar + similar)?, reduction)
    })
}

/// `l = max(0, −t (x₁ − x₂) + margin)`: `x1` should rank above `x2` where the target is 1, below where it is −1;
/// reduced.
///
/// # Shapes
/// - `x1`, `x2`, `target`: any, the same
/// - result: scalar, or that of `x1` for [`Reduction::None`]
///
/// # Errors
/// As [`hinge_embedding_loss`].
pub fn margin_ranking_loss(
    x1: &Tensor,
    x2: &Tensor,
    target: &Tensor,
    margin: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    check_same("margin_ranking_loss", x1, "x2", x2)?;
    check_same("margin_ranking_loss", x1, "target", target)?;
    widened([x1, x2, target], |[x1, x2, t]| {
        let each = hinge(&(t * (x1 - x2)?)?.affine(-1.0, margin)?)?;
        reduce(&each, reduction)
    })
}

/// `l = 1 − cos(x₁, x₂)` where the target is 1, `max(0, cos(x₁, x₂) − margin)` where it is −1, reduced.
///
/// # Shapes
/// - `x1`, `x2`: `[n, d]` or `[d]`, the same
/// - `target`: `[n]`, or a scalar for `[d]`; of the dtype of `x1`
/// - result: scalar, or that of `target` for [`Reduction::None`]
///
/// # Errors
/// As [`hinge_embedding_loss`].
pub fn cosine_embedding_loss(
    x1: &Tensor,
    x2: &Tensor,
    target: &Tensor,
    margin: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    let name = "cosine_embedding_loss";
    check_same(name, x1, "x2", x2)?;
    check_alike(name, x1, "target", target)?;
    let Some((_, rows)) = x1.dims().split_last().filter(|(_, rows)| rows.len() < 2) else {
        return Err(wrong_shape(name, "x1", "[n, d] or [d]", x1));
    };
    if target.dims() != rows {
        let expected = format!("{rows:?}, one for each row of x1");
        return Err(wrong_shape(name, "target", expected, target));
    }
    /// Keeps the length of a vector of zeros from dividing.
    const EPS: f64 = 1e-12;
    widened([x1, x2, target], |[x1, x2, t]| {
        let last = x1.rank() - 1;
        let dot = |a: &Tensor, b: &Tensor| (a * b)?.sum(last);
        let lengths = ((dot(x1, x1)? + EPS)? * (dot(x2, x2)? + EPS)?)?.sqrt()?;
        let cosine = (dot(x1, x2)? / lengths)?;
        let zeros = cosine.zeros_like()?;
        let alike = t.eq(1.0)?.where_cond(&cosine.affine(-1.0, 1.0)?, &zeros)?;
        let unlike = t
            .eq(-1.0)?
            .where_cond(&hinge(&(&cosine - margin)?)?, &zeros)?;
        reduce(&(alike + unlike)?, reduction)
    })
}

/// The options of [`triplet_margin_loss`], with PyTorch's names and defaults.
#[derive(Clone, Copy, Debug)]
pub struct TripletMargin {
    /// How much further than the positive the negative should be.
    pub margin: f64,
    /// The norm of the distance.
    pub p: f64,
    /// Added to every difference, so that a distance of zero has a gradient.
    pub eps: f64,
    /// Whether the negative's distance is the smaller of those from the anchor and from the positive.
    pub swap: bool,
    /// What becomes of the rows' losses.
    pub reduction: Reduction,
}

impl Default for TripletMargin {
    fn default() -> Self {
        Self {
            margin: 1.0,
            p: 2.0,
            eps: 1e-6,
            swap: false,
            reduction: Reduction::Mean,
        }
    }
}

/// `l = max(0, d(a, p) − d(a, n) + margin)` with `d(x, y) = ‖x − y + ε‖ₚ` along the last dimension, reduced.
///
/// # Shapes
/// - `anchor`, `positive`, `negative`: `[…, d]`, the same
/// - result: scalar, or `[…]` for [`Reduction::None`]
///
/// # Errors
/// As [`hinge_embedding_loss`]; [`Error::Option`] for a norm below 1 or a negative `eps`.
///
/// # Source
/// Balntas et al., "Learning local feature descriptors with triplets and shallow convolutional neural networks" (2016).
pub fn triplet_margin_loss(
    anchor: &Tensor,
    positive: &Tensor,
    negative: &Tensor,
    options: &TripletMargin,
) -> Result<Tensor> {
    let name = "triplet_margin_loss";
    check_same(name, anchor, "positive", positive)?;
    check_same(name, anchor, "negative", negative)?;
    check_at_least(name, "p", 1.0, options.p)?;
    check_at_least(name, "eps", 0.0, options.eps)?;
    let Some(last) = anchor.rank().checked_sub(1) else {
        return Err(wrong_shape(name, "anchor", "[…, d]", anchor));
    };
    widened([anchor, positive, negative], |[a, p, n]| {
        let distance = |x: &Tensor, y: &Tensor| {
            let d = ((x - y)? + options.eps)?;
            if options.p == 2.0 {
                return d.sqr()?.sum(last)?.sqrt();
            }
            let absolute = (&d * d.sign()?.detach())?;
            if options.p == 1.0 {
                return absolute.sum(last);
            }
            absolute.powf(options.p)?.sum(last)?.powf(1.0 / options.p)
        };
        let mut far = distance(a, n)?;
        if options.swap {
            let other = distance(p, n)?;
            far = far.lt(&other)?.where_cond(&far, &other)?;
        }
        reduce(
            &hinge(&((distance(a, p)? - far)? + options.margin)?)?,
            options.reduction,
        )
    })
}

/// `l = 1/C Σ_{c≠y} w_y max(0, margin − x_y + x_c)ᵖ` for each row and its class `y`, reduced.
///
/// # Shapes
/// - `x`: `[n, classes]`
/// - `labels`: `[n]` of `u32` or `i64`
/// - `weight`: `[classes]`
/// - result: scalar, or `[n]` for [`Reduction::None`]
///
/// # Errors
/// As [`hinge_embedding_loss`]; [`Error::Option`] unless `p` is 1 or 2, [`Error::Index`] for a label that is no class.
pub fn multi_margin_loss(
    x: &Tensor,
    labels: &Tensor,
    p: u32,
    margin: f64,
    weight: Option<&Tensor>,
    reduction: Reduction,
) -> Result<Tensor> {
    let name = "multi_margin_loss";
    check_float(name, "x", x)?;
    let &[n, cols] = x.dims() else {
        return Err(wrong_shape(name, "x", "[n, classes]", x));
    };
    if labels.dims() != [n] {
        return Err(wrong_shape(
            name,
            "labels",
            format!("[{n}], a class for each row"),
            labels,
        ));
    }
    if !matches!(labels.dtype(), DType::U32 | DType::I64) {
        return Err(Error::DType {
            op: name,
            argument: "labels",
            expected: "u32 or i64 (u8 cannot count classes)",
            got: labels.dtype(),
        });
    }
    if !matches!(p, 1 | 2) {
        return Err(Error::Option {
            op: name,
            option: "p",
            expected: "1 or 2".to_string(),
            got: p.to_string(),
        });
    }
    let ones = Tensor::ones(cols, x.dtype(), x.device())?;
    let weight = weight.unwrap_or(&ones);
    check_alike(name, x, "weight", weight)?;
    if weight.dims() != [cols] {
        return Err(wrong_shape(
            name,
            "weight",
            format!("[{cols}], one for each class"),
            weight,
        ));
    }
    let classes = read_labels(name, labels, cols, None)?;
    // Chosen and not multiplied by 0 and 1, which would make NaN of what is infinite beside it.
    let is_own: Vec<u8> = classes
        .iter()
        .flat_map(|class| (0..cols).map(move |c| u8::from(*class as usize == c)))
        .collect();
    let is_own = Tensor::from_vec(is_own, (n, cols), x.device())?;
    let classes = Tensor::from_vec(classes, (n, 1), x.device())?;
    widened([x, weight], |[x, weight]| {
        let own = x.contiguous()?.gather(&classes, 1)?;
        let row_weight = weight
            .index_select(&classes.flatten_all()?, 0)?
            .unsqueeze(1)?;
        let gap = x.broadcast_sub(&own)?.affine(1.0, margin)?;
        let gap = gap.gt(0.0)?.where_cond(&gap, &gap.zeros_like()?)?;
        let gap = if p == 2 { gap.sqr()? } else { gap };
        let others = is_own.where_cond(&gap.zeros_like()?, &gap.broadcast_mul(&row_weight)?)?;
        reduce(&(others.sum(1)? / cols as f64)?, reduction)
    })
}

/// The options of [`triplet_margin_with_distance_loss`], with PyTorch's names and defaults.
#[derive(Clone, Copy, Debug)]
pub struct TripletMarginWithDistance {
    /// How much further than the positive the negative should be.
    pub margin: f64,
    /// Whether the negative's distance is the smaller of those from the anchor and from the positive.
    pub swap: bool,
    /// What becomes of the distances' losses.
    pub reduction: Reduction,
}

impl Default for TripletMarginWithDistance {
    fn default() -> Self {
        Self {
            margin: 1.0,
            swap: false,
            reduction: Reduction::Mean,
        }
    }
}

/// `l = max(0, d(a, p) − d(a, n) + margin)` with a distance of your own, reduced.
///
/// # Shapes
/// - `anchor`, `positive`, `negative`: what `distance` takes, the same
/// - result: scalar, or what `distance` gives for [`Reduction::None`]
///
/// # Errors
/// As [`hinge_embedding_loss`], and what `distance` returns.
pub fn triplet_margin_with_distance_loss(
    anchor: &Tensor,
    positive: &Tensor,
    negative: &Tensor,
    distance: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    options: &TripletMarginWithDistance,
) -> Result<Tensor> {
    let name = "triplet_margin_with_distance_loss";
    check_same(name, anchor, "positive", positive)?;
    check_same(name, anchor, "negative", negative)?;
    widened([anchor, positive, negative], |[a, p, n]| {
        let (near, mut far) = (distance(a, p)?, distance(a, n)?);
        check_same(name, &near, "distance of the negative", &far)?;
        if options.swap {
            let other = distance(p, n)?;
            far = far.lt(&other)?.where_cond(&far, &other)?;
        }
        reduce(
            &hinge(&((near - far)? + options.margin)?)?,
            options.reduction,
        )
    })
}

/// `l = 1/C Σ_{j ∈ Y} Σ_{i ∉ Y} max(0, 1 − (x_j − x_i))` for each row and the set `Y` of its classes, reduced.
///
/// # Shapes
/// - `x`: `[n, classes]` or `[classes]`
/// - `labels`: that of `x`, of `i64`: a row's classes, and behind them −1, after which nothing counts
/// - result: scalar, or `[n]` for [`Reduction::None`] (a scalar for a single row)
///
/// # Errors
/// As [`hinge_embedding_loss`]; [`Error::Index`] for a label that is no class.
pub fn multi_label_margin_loss(
    x: &Tensor,
    labels: &Tensor,
    reduction: Reduction,
) -> Result<Tensor> {
    let name = "multi_label_margin_loss";
    check_float(name, "x", x)?;
    let (n, cols) = match *x.dims() {
        [cols] => (1, cols),
        [n, cols] => (n, cols),
        _ => return Err(wrong_shape(name, "x", "[n, classes] or [classes]", x)),
    };
    if labels.dims() != x.dims() {
        let expected = format!("{:?}, that of x", x.dims());
        return Err(wrong_shape(name, "labels", expected, labels));
    }
    if labels.dtype() != DType::I64 {
        return Err(Error::DType {
            op: name,
            argument: "labels",
            expected: "i64, as −1 ends a row",
            got: labels.dtype(),
        });
    }
    let pairs = crate::shape::checked_count(name, &[n, cols, cols])?;
    let labels = labels.flatten_all()?.to_vec1::<i64>()?;
    // How often each class is named, and whether it is not.
    let (mut named, mut others) = (vec![0.0_f64; n * cols], vec![1.0_f64; n * cols]);
    for (at, &got) in labels.iter().enumerate() {
        let row = at / cols * cols;
        if labels[row..=at].contains(&-1) {
            continue;
        }
        let class = usize::try_from(got).ok().filter(|class| *class < cols);
        let class = class.ok_or(Error::Index {
            op: name,
            argument: "labels",
            at,
            got,
            below: cols,
        })?;
        named[row + class] += 1.0;
        others[row + class] = 0.0;
    }
    widened([x], |[x]| {
        let weights = |values: Vec<f64>, shape: (usize, usize, usize)| {
            Tensor::from_vec(values, shape, x.device())?.to_dtype(x.dtype())
        };
        let (named, others) = (
            weights(named, (n, cols, 1))?,
            weights(others, (n, 1, cols))?,
        );
        let each = if pairs == 0 {
            Tensor::zeros(n, x.dtype(), x.device())?
        } else {
            let rows = (x.contiguous()?).reshape((n, cols))?;
            let gap = rows.unsqueeze(2)?.broadcast_sub(&rows.unsqueeze(1)?)?;
            let cost = hinge(&gap.affine(-1.0, 1.0)?)?;
            let cost = cost.broadcast_mul(&named)?.broadcast_mul(&others)?;
            (cost.sum((1, 2))? / cols as f64)?
        };
        let loss = reduce(&each, reduction)?;
        match (reduction, x.rank()) {
            (Reduction::None, 1) => Ok(loss.squeeze(0)?),
            _ => Ok(loss),
        }
    })
}

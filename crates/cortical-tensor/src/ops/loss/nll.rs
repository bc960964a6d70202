//! The negative log-likelihood of classes.

use crate::element::{Element, tensor, zeros};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::Reduction;
use crate::ops::cross_entropy::read_labels;
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, wrong_shape};
use crate::{Error, Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::loss::{LEFT_OUT, nll_backward, nll_forward};
use cortical_kernels::real::Real;

const NAME: &str = "nll_loss";

/// The options of [`nll_loss`], with PyTorch's names and defaults.
#[derive(Clone, Debug, Default)]
pub struct Nll {
    /// A weight for each class, `[classes]`.
    pub weight: Option<Tensor>,
    /// Rows with this label are left out.
    pub ignore_index: Option<i64>,
    /// What becomes of the rows' losses; the mean is weighted by the classes' weights.
    pub reduction: Reduction,
}

/// `l = −w_c x_c` for the logarithms `x` of each row's probabilities and its class `c`, reduced.
///
/// With [`log_softmax`](crate::ops::log_softmax) before it this is [`cross_entropy`](crate::ops::cross_entropy), in two
/// steps.
///
/// # Shapes
/// - `x`: `[n, classes]` or `[n, classes, d₁, …]`
/// - `labels`: `[n]` or `[n, d₁, …]` of `u32` or `i64`
/// - result: scalar, or that of `labels` for [`Reduction::None`]
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`], [`Error::Device`] when the arguments do not fit, [`Error::Index`] for a label
/// that is no class.
pub fn nll_loss<'a>(x: impl Into<Input<'a>>, labels: &Tensor, options: &Nll) -> Result<Tensor> {
    fn inner(x: Input<'_>, labels: &Tensor, options: &Nll) -> Result<Tensor> {
        check(x.tensor(), labels, options)?;
        let dtype = x.tensor().dtype();
        if is_half(dtype) {
            let wide = x.tensor().to_dtype(DType::F32)?;
            let weight = options.weight.as_ref().map(|w| w.to_dtype(DType::F32));
            let options = Nll {
                weight: weight.transpose()?,
                ..options.clone()
            };
            return Ok(nll_loss(&wide, labels, &options)?.to_dtype(dtype)?);
        }
        if x.tensor().rank() > 2 {
            // Classes last, everything else rows.
            let t = x.tensor();
            let order: Vec<usize> = std::iter::once(0).chain(2..t.rank()).chain([1]).collect();
            let (rows, classes) = (labels.elem_count(), t.dims()[1]);
            let flat = t
                .permute(&order[..])?
                .contiguous()?
                .reshape((rows, classes))?;
            let loss = nll_loss(&flat, &labels.contiguous()?.flatten_all()?, options)?;
            return match options.reduction {
                Reduction::None => Ok(loss.reshape(labels.dims())?),
                Reduction::Sum | Reduction::Mean => Ok(loss),
            };
        }
        let classes = read_labels(NAME, labels, x.tensor().dims()[1], options.ignore_index)?;
        if is_fallback(x.tensor().device()) {
            return fallback(x.tensor(), &classes, options);
        }
        by_dtype!(NAME, "x", x.tensor(), T => forward::<T>(x, classes, options))
    }
    inner(x.into(), labels, options)
}

fn check(x: &Tensor, labels: &Tensor, options: &Nll) -> Result<()> {
    check_float(NAME, "x", x)?;
    let dims = x.dims();
    if dims.len() < 2 {
        return Err(wrong_shape(NAME, "x", "[n, classes] or [n, classes, …]", x));
    }
    let rows: Vec<usize> = [&dims[..1], &dims[2..]].concat();
    if !matches!(labels.dtype(), DType::U32 | DType::I64) {
        return Err(Error::DType {
            op: NAME,
            argument: "labels",
            expected: "u32 or i64 (u8 cannot count classes)",
            got: labels.dtype(),
        });
    }
    if labels.dims() != rows {
        let expected = format!("{rows:?}, a class for each row");
        return Err(wrong_shape(NAME, "labels", expected, labels));
    }
    let Some(weight) = &options.weight else {
        return Ok(());
    };
    check_alike(NAME, x, "weight", weight)?;
    if weight.dims() != [dims[1]] {
        let expected = format!("[{}], one for each class", dims[1]);
        return Err(wrong_shape(NAME, "weight", expected, weight));
    }
    Ok(())
}

fn forward<T: Element>(x: Input<'_>, classes: Vec<u32>, options: &Nll) -> Result<Tensor> {
    let operand = x.operand()?;
    let (n, cols) = operand.tensor().dims2()?;
    let weight = options.weight.as_ref().map(|w| w.to_vec1::<T>());
    let weight = weight.transpose()?;
    let mut each = zeros::<T>(n);
    nll_forward(
        &values(operand.tensor())?,
        cols,
        &classes,
        weight.as_deref(),
        &mut each,
    );
    let counted = |class: &u32| match *class {
        LEFT_OUT => 0.0,
        class => weight
            .as_ref()
            .map_or(1.0, |w| Real::to_f64(w[class as usize])),
    };
    let mut scale = 1.0;
    let total: f64 = each.iter().map(|l| Real::to_f64(*l)).sum();
    let output = match options.reduction {
        Reduction::None => Output::new(each, n),
        Reduction::Sum => Output::new(vec![<T as Real>::from_f64(total)], ()),
        Reduction::Mean => {
            let weight: f64 = classes.iter().map(counted).sum();
            scale = 1.0 / weight;
            Output::new(vec![<T as Real>::from_f64(total / weight)], ())
        }
    };
    let op = Loss::<T> {
        classes,
        weight,
        cols,
        reduction: options.reduction,
        scale: Real::from_f64(scale),
    };
    apply_one(op, vec![operand], output)
}

struct Loss<T> {
    classes: Vec<u32>,
    weight: Option<Vec<T>>,
    cols: usize,
    reduction: Reduction,
    /// What the reduction multiplies each row's loss with.
    scale: T,
}

impl<T: Element> Op for Loss<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let x = pass.input(0);
        let upstream = values::<T>(pass.d_output(0))?;
        let d_loss = match self.reduction {
            Reduction::None => upstream.to_vec(),
            Reduction::Mean | Reduction::Sum => vec![upstream[0] * self.scale; self.classes.len()],
        };
        let mut d_x = zeros::<T>(x.elem_count());
        nll_backward(
            self.cols,
            &self.classes,
            self.weight.as_deref(),
            &d_loss,
            &mut d_x,
        );
        Ok(vec![Some(tensor(d_x, x.shape())?)])
    }
}

/// Each row's score of its class; a row that is left out reads its first and counts nothing.
fn fallback(x: &Tensor, classes: &[u32], options: &Nll) -> Result<Tensor> {
    let n = x.dim(0)?;
    let is_left_out: Vec<u8> = classes.iter().map(|c| u8::from(*c == LEFT_OUT)).collect();
    let is_left_out = Tensor::from_vec(is_left_out, n, x.device())?;
    let safe: Vec<u32> = classes
        .iter()
        .map(|class| if *class == LEFT_OUT { 0 } else { *class })
        .collect();
    let safe = Tensor::from_vec(safe, n, x.device())?;
    let zeros = Tensor::zeros(n, x.dtype(), x.device())?;
    let weight = match &options.weight {
        Some(weight) => weight.index_select(&safe, 0)?,
        None => zeros.ones_like()?,
    };
    let weight = is_left_out.where_cond(&zeros, &weight)?;
    let chosen = x.contiguous()?.gather(&safe.unsqueeze(1)?, 1)?.squeeze(1)?;
    let each = is_left_out.where_cond(&zeros, &(chosen * &weight)?.neg()?)?;
    Ok(match options.reduction {
        Reduction::None => each,
        Reduction::Sum => each.sum_all()?,
        Reduction::Mean => each.sum_all()?.div(&weight.sum_all()?)?,
    })
}

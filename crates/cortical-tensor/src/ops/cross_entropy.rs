//! Cross-entropy of scores, with the softmax inside.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::log_softmax;
use crate::ops::prepare::{by_dtype, check_alike, check_float, is_half, wrong_shape};
use crate::{Error, Input, Result, is_fallback, values};
use candle_core::{DType, Tensor};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::cross_entropy::{self as kernel, Targets};
use cortical_kernels::real::Real;
use cortical_kernels::softmax::Shift;

const NAME: &str = "cross_entropy";
/// How the kernel marks a row that is left out; no class can have this number, as classes are counted in a
/// `usize`-checked shape.
pub(super) const LEFT_OUT: u32 = u32::MAX;

/// How a loss over many elements becomes a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// The mean over the elements that count (weighted by class weights where there are any).
    #[default]
    Mean,
    /// The sum.
    Sum,
    /// No reduction: a loss for each element.
    None,
}

/// The options of [`cross_entropy`], with PyTorch's names and defaults.
#[derive(Clone, Debug, Default)]
pub struct CrossEntropy {
    /// A weight for each class, `[classes]`.
    pub weight: Option<Tensor>,
    /// Rows with this label are left out.
    pub ignore_index: Option<i64>,
    /// How much of each target is spread evenly over all classes, from 0 to 1.
    pub label_smoothing: f64,
    /// What becomes of the rows' losses.
    pub reduction: Reduction,
}

/// `loss = −Σ_c w_c t_c (x_c − ln Σⱼ exp xⱼ)` for each row, reduced; `t` is the label as a distribution, smoothed if
/// asked for.
///
/// # Shapes
/// - `logits`: `[n, classes]` or `[n, classes, d₁, …]`
/// - `labels`: `[n]` or `[n, d₁, …]` of `u32` or `i64`; or a distribution in the shape and dtype of `logits`
/// - result: scalar, or the shape of hard labels (of `logits` without classes) for [`Reduction::None`]
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`], [`Error::Device`] when the arguments do not fit, [`Error::Index`] for a label
/// that is no class, [`Error::Option`] for a smoothing outside `[0, 1]`.
pub fn cross_entropy<'a>(
    logits: impl Into<Input<'a>>,
    labels: &Tensor,
    options: &CrossEntropy,
) -> Result<Tensor> {
    fn inner(logits: Input<'_>, labels: &Tensor, options: &CrossEntropy) -> Result<Tensor> {
        check(logits.tensor(), labels, options)?;
        let dtype = logits.tensor().dtype();
        if is_half(dtype) {
            let wide = logits.tensor().to_dtype(DType::F32)?;
            let mut options = options.clone();
            options.weight = options.weight.map(|w| w.to_dtype(DType::F32)).transpose()?;
            let labels = if labels.dtype() == dtype {
                labels.to_dtype(DType::F32)?
            } else {
                labels.clone()
            };
            return Ok(cross_entropy(&wide, &labels, &options)?.to_dtype(dtype)?);
        }
        let t = logits.tensor();
        let rank = t.rank();
        if rank > 2 {
            // Classes last, everything else rows.
            let order: Vec<usize> = std::iter::once(0).chain(2..rank).chain([1]).collect();
            let classes = t.dims()[1];
            let shape: Vec<usize> = t
                .dims()
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != 1)
                .map(|(_, d)| *d)
                .collect();
            let rows = t
                .permute(&order[..])?
                .contiguous()?
                .reshape(((), classes))?;
            let labels = match labels.rank() == rank {
                true => labels
                    .permute(&order[..])?
                    .contiguous()?
                    .reshape(((), classes))?,
                false => labels.contiguous()?.flatten_all()?,
            };
            let loss = cross_entropy(&rows, &labels, options)?;
            return if options.reduction == Reduction::None {
                Ok(loss.reshape(shape)?)
            } else {
                Ok(loss)
            };
        }
        if labels.dtype().is_float() {
            return soft(logits, labels, options);
        }
        let classes = read_labels(NAME, labels, t.dims()[1], options.ignore_index)?;
        if is_fallback(t.device()) {
            return fallback(t, &classes, options);
        }
        by_dtype!(NAME, "logits", t, T => forward::<T>(logits, classes, options))
    }
    inner(logits.into(), labels, options)
}

fn check(logits: &Tensor, labels: &Tensor, options: &CrossEntropy) -> Result<()> {
    check_float(NAME, "logits", logits)?;
    let dims = logits.dims();
    if dims.len() < 2 {
        return Err(wrong_shape(
            NAME,
            "logits",
            "[n, classes] or [n, classes, …]",
            logits,
        ));
    }
    let rows: Vec<usize> = dims
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != 1)
        .map(|(_, d)| *d)
        .collect();
    if labels.dtype().is_float() {
        if labels.dims() == rows {
            // They have the shape of classes, not of shares.
            return Err(Error::DType {
                op: NAME,
                argument: "labels",
                expected: "u32 or i64 for the number of a class in each row",
                got: labels.dtype(),
            });
        }
        check_alike(NAME, logits, "labels", labels)?;
        if labels.dims() != dims {
            return Err(wrong_shape(
                NAME,
                "labels",
                format!("{dims:?}, a distribution for each row"),
                labels,
            ));
        }
    } else if !matches!(labels.dtype(), DType::U32 | DType::I64) {
        let expected = "u32 or i64 (u8 cannot count classes)";
        return Err(Error::DType {
            op: NAME,
            argument: "labels",
            expected,
            got: labels.dtype(),
        });
    } else if labels.dims() != rows {
        return Err(wrong_shape(
            NAME,
            "labels",
            format!("{rows:?}, a class for each row"),
            labels,
        ));
    }
    options.check(NAME, logits, dims[1])
}

impl CrossEntropy {
    /// Checks the options for an operation `op` on tensors like `scores` with so many classes.
    pub(super) fn check(&self, op: &'static str, scores: &Tensor, classes: usize) -> Result<()> {
        if let Some(weight) = &self.weight {
            check_alike(op, scores, "weight", weight)?;
            if weight.dims() != [classes] {
                let expected = format!("[{classes}], one for each class");
                return Err(wrong_shape(op, "weight", expected, weight));
            }
        }
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            let (expected, got) = ("from 0 to 1".to_string(), self.label_smoothing.to_string());
            let option = "label_smoothing";
            return Err(Error::Option {
                op,
                option,
                expected,
                got,
            });
        }
        Ok(())
    }
}

/// The class of each row, or [`LEFT_OUT`].
pub(crate) fn read_labels(
    op: &'static str,
    labels: &Tensor,
    classes: usize,
    ignore: Option<i64>,
) -> Result<Vec<u32>> {
    let labels = labels.to_dtype(DType::I64)?.to_vec1::<i64>()?;
    labels
        .into_iter()
        .enumerate()
        .map(|(at, label)| match u32::try_from(label) {
            _ if ignore == Some(label) => Ok(LEFT_OUT),
            Ok(class) if (class as usize) < classes => Ok(class),
            _ => Err(Error::Index {
                op,
                argument: "labels",
                at,
                got: label,
                below: classes,
            }),
        })
        .collect()
}

fn forward<T: Element>(
    logits: Input<'_>,
    classes: Vec<u32>,
    options: &CrossEntropy,
) -> Result<Tensor> {
    let operand = logits.operand()?;
    let (n, cols) = operand.tensor().dims2()?;
    let weights = match &options.weight {
        Some(w) => Some(w.to_vec1::<T>()?),
        None => None,
    };
    let mut loss = unspecified::<T>(n);
    let mut shifts = vec![Shift::default(); n];
    let mut op = Loss {
        classes,
        weights,
        smoothing: Real::from_f64(options.label_smoothing),
        cols,
        reduction: options.reduction,
        shifts: Vec::new(),
        scale: T::ONE,
    };
    kernel::forward(
        &values(operand.tensor())?,
        cols,
        &op.targets(),
        &mut loss,
        &mut shifts,
    );
    op.shifts = shifts;
    if options.reduction == Reduction::None {
        return apply_one(op, vec![operand], Output::new(loss, n));
    }
    let mut total = loss.iter().map(|l| Real::to_f64(*l)).sum::<f64>();
    if options.reduction == Reduction::Mean {
        let counted: f64 = (0..n)
            .map(|r| Real::to_f64(op.targets().row_weight(r)))
            .sum();
        total /= counted;
        op.scale = Real::from_f64(1.0 / counted);
    }
    apply_one(
        op,
        vec![operand],
        Output::new(vec![<T as Real>::from_f64(total)], ()),
    )
}

struct Loss<T> {
    classes: Vec<u32>,
    weights: Option<Vec<T>>,
    smoothing: T,
    cols: usize,
    reduction: Reduction,
    /// What each row's scores become probabilities by.
    shifts: Vec<Shift<T>>,
    /// What the reduction multiplies each row's loss with.
    scale: T,
}

impl<T: Element> Loss<T> {
    fn targets(&self) -> Targets<'_, T> {
        Targets {
            classes: &self.classes,
            ignore: Some(LEFT_OUT),
            weights: self.weights.as_deref(),
            smoothing: self.smoothing,
        }
    }
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
            Reduction::Mean | Reduction::Sum => vec![upstream[0] * self.scale; self.shifts.len()],
        };
        let mut d_x = unspecified::<T>(x.elem_count());
        kernel::backward(
            &values(x)?,
            self.cols,
            &self.targets(),
            &self.shifts,
            &d_loss,
            &mut d_x,
        );
        Ok(vec![Some(tensor(d_x, x.shape())?)])
    }
}

/// Targets that are distributions: `−Σ_c w_c t_c log softmax(x)_c`.
fn soft(logits: Input<'_>, targets: &Tensor, options: &CrossEntropy) -> Result<Tensor> {
    let classes = logits.tensor().dims()[1] as f64;
    let smoothing = options.label_smoothing;
    let mut targets = targets.affine(1.0 - smoothing, smoothing / classes)?;
    if let Some(weight) = &options.weight {
        targets = targets.broadcast_mul(weight)?;
    }
    let loss = log_softmax(logits, 1)?.mul(&targets)?.sum(1)?.neg()?;
    Ok(match options.reduction {
        Reduction::None => loss,
        Reduction::Sum => loss.sum_all()?,
        Reduction::Mean => loss.mean_all()?,
    })
}

fn fallback(logits: &Tensor, classes: &[u32], options: &CrossEntropy) -> Result<Tensor> {
    let (n, cols) = logits.dims2()?;
    let device = logits.device();
    let (dtype, smoothing) = (logits.dtype(), options.label_smoothing);
    let counted: Vec<f64> = classes
        .iter()
        .map(|c| if *c == LEFT_OUT { 0.0 } else { 1.0 })
        .collect();
    let counted = Tensor::from_vec(counted, n, device)?.to_dtype(dtype)?;
    let safe: Vec<u32> = classes
        .iter()
        .map(|c| if *c == LEFT_OUT { 0 } else { *c })
        .collect();
    let safe = Tensor::from_vec(safe, n, device)?;
    let ones = Tensor::ones(cols, dtype, device)?;
    let weight = options.weight.as_ref().unwrap_or(&ones);
    let row_weight = weight.index_select(&safe, 0)?.mul(&counted)?;
    let log_p = log_softmax(logits, 1)?;
    let hard = log_p
        .gather(&safe.unsqueeze(1)?, 1)?
        .squeeze(1)?
        .mul(&row_weight)?;
    let mut loss = (hard * (smoothing - 1.0))?;
    if smoothing > 0.0 {
        // Not for nothing: 0 times the logarithm of 0 is NaN.
        let spread = log_p.broadcast_mul(weight)?.sum(1)?.mul(&counted)?;
        loss = (loss - (spread * (smoothing / cols as f64))?)?;
    }
    Ok(match options.reduction {
        Reduction::None => loss,
        Reduction::Sum => loss.sum_all()?,
        // Nothing has no mean, but no gradient either.
        Reduction::Mean if classes.iter().all(|class| *class == LEFT_OUT) => {
            (loss.sum_all()?.mul(&row_weight.sum_all()?)? + f64::NAN)?
        }
        Reduction::Mean => loss.sum_all()?.div(&row_weight.sum_all()?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::gradcheck;
    use crate::with_fallback;
    use candle_core::Device;

    fn logits(shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|i| (i as f64 * 1.3).sin() * 2.0).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn check_both(x: &Tensor, labels: &Tensor, options: &CrossEntropy) {
        let run = |t: &[Tensor]| cross_entropy(&t[0], labels, options);
        gradcheck(std::slice::from_ref(x), run).unwrap_or_else(|e| panic!("{options:?}: {e}"));
        with_fallback(|| gradcheck(std::slice::from_ref(x), run)).unwrap();
        let value = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let kernel = value(run(std::slice::from_ref(x)).unwrap());
        let fallback = value(with_fallback(|| run(std::slice::from_ref(x))).unwrap());
        for (k, c) in kernel.iter().zip(&fallback) {
            assert!((k - c).abs() < 1e-12, "{options:?}: {k} {c}");
        }
    }

    #[test]
    fn gradients_of_every_option_on_both_paths() {
        let x = logits(&[4, 5]);
        let labels = Tensor::new(&[0_i64, 4, 2, 1], &Device::Cpu).unwrap();
        let weight = Tensor::new(&[0.5, 1.0, 2.0, 0.1, 3.0], &Device::Cpu).unwrap();
        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
            for label_smoothing in [0.0, 0.1] {
                for ignore_index in [None, Some(2)] {
                    for weight in [None, Some(weight.clone())] {
                        let options = CrossEntropy {
                            weight,
                            ignore_index,
                            label_smoothing,
                            reduction,
                        };
                        check_both(&x, &labels, &options);
                        check_both(&logits(&[5, 4]).t().unwrap(), &labels, &options);
                    }
                }
            }
        }
    }

    #[test]
    fn sequences_and_soft_targets() {
        let x = logits(&[2, 3, 4]);
        let labels = Tensor::new(&[[0_u32, 1, 2, 0], [2, 2, 1, 0]], &Device::Cpu).unwrap();
        let none = CrossEntropy {
            reduction: Reduction::None,
            ..Default::default()
        };
        check_both(&x, &labels, &none);
        assert_eq!(cross_entropy(&x, &labels, &none).unwrap().dims(), [2, 4]);
        let soft = crate::ops::softmax(&logits(&[4, 5]).affine(0.5, 0.1).unwrap(), 1).unwrap();
        let options = CrossEntropy {
            label_smoothing: 0.2,
            ..Default::default()
        };
        check_both(&logits(&[4, 5]), &soft, &options);
    }

    #[test]
    fn errors_name_the_label() {
        let x = logits(&[2, 3]);
        let message = |labels: &Tensor| {
            cross_entropy(&x, labels, &CrossEntropy::default())
                .unwrap_err()
                .to_string()
        };
        let labels = Tensor::new(&[0_i64, 3], &Device::Cpu).unwrap();
        assert_eq!(
            message(&labels),
            "cross_entropy: labels[1] is 3, but must be below 3"
        );
        let labels = Tensor::new(&[0_u8, 1], &Device::Cpu).unwrap();
        assert!(message(&labels).contains("u32 or i64"));
        let labels = Tensor::new(&[0_u32], &Device::Cpu).unwrap();
        assert!(message(&labels).contains("[2], a class for each row"));
    }
}

//! A layer of neurons whose outputs are scores, together with their loss.

use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::cross_entropy::{CrossEntropy, LEFT_OUT, Reduction, cross_entropy, read_labels};
use crate::ops::prepare::{by_dtype, is_half, wrong_shape};
use crate::ops::{linear, linear_dims};
use crate::{Input, Operand, Result, is_fallback, tally, values};
use candle_core::{DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::buffer::unspecified;
use cortical_kernels::cross_entropy::{self as kernel, Targets};
use cortical_kernels::linear as neurons;
use cortical_kernels::matmul::{MatRef, Write, matmul};
use cortical_kernels::real::Real;
use cortical_kernels::softmax::Shift;

const NAME: &str = "linear_cross_entropy";
/// Scores that are held at a time.
const BLOCK: usize = 1 << 20;

/// `cross_entropy(x Wᵀ + b, labels)` without ever holding all scores: rows go through in blocks, and where gradients
/// will be asked for, they are made on the way, while a block's scores are warm. A vocabulary of a hundred thousand
/// words then costs what its weights cost.
///
/// Without a reduction and with labels that are distributions it is [`linear`] and [`cross_entropy`] one after the
/// other.
///
/// # Shapes
/// - `x`: `[…, in]`, any leading dimensions
/// - `weight`: `[classes, in]`, `bias`: `[classes]`
/// - `labels`: the leading dimensions of `x`, of `u32` or `i64`
/// - result: scalar, or the shape of the labels for [`Reduction::None`]
///
/// # Errors
/// As [`linear`] and [`cross_entropy`].
///
/// # Source
/// Hsu et al., "Liger kernel: efficient Triton kernels for LLM training" (2024), section 3.2: gradients made in the
/// forward pass.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_tensor::ops::{CrossEntropy, linear_cross_entropy};
/// # fn main() -> cortical_tensor::Result<()> {
/// let x = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[0.0_f32, 0.0], [0.0, 0.0]], &Device::Cpu)?;
/// let target = Tensor::new(&[1_u32], &Device::Cpu)?;
/// let loss = linear_cross_entropy(&x, &weight, None, &target, &CrossEntropy::default())?;
/// assert!((loss.to_scalar::<f32>()? - 2.0_f32.ln()).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
pub fn linear_cross_entropy<'a>(
    x: impl Into<Input<'a>>,
    weight: impl Into<Input<'a>>,
    bias: Option<Input<'a>>,
    labels: &Tensor,
    options: &CrossEntropy,
) -> Result<Tensor> {
    fn inner(
        x: Input<'_>,
        weight: Input<'_>,
        bias: Option<Input<'_>>,
        labels: &Tensor,
        options: &CrossEntropy,
    ) -> Result<Tensor> {
        let dims = linear_dims(x.tensor(), weight.tensor(), bias.map(|b| b.tensor()))?;
        let [n, i, o] = dims;
        let leading = &x.tensor().dims()[..x.tensor().rank() - 1];
        let dtype = x.tensor().dtype();
        if is_half(dtype) {
            let wide = |t: &Tensor| match t.dtype() == dtype {
                true => t.to_dtype(DType::F32),
                false => Ok(t.clone()),
            };
            let (x, weight) = (wide(x.tensor())?, wide(weight.tensor())?);
            let bias = bias.map(|b| wide(b.tensor())).transpose()?;
            let options = CrossEntropy {
                weight: options.weight.as_ref().map(wide).transpose()?,
                ..options.clone()
            };
            let bias = bias.as_ref().map(Into::into);
            let loss = linear_cross_entropy(&x, &weight, bias, &wide(labels)?, &options)?;
            return Ok(loss.to_dtype(dtype)?);
        }
        let is_fine = labels.dtype().is_float()
            || options.reduction == Reduction::None
            || is_fallback(x.tensor().device())
            || n == 0;
        if is_fine {
            let scores = linear(x, weight, bias, Activation::Identity)?;
            if labels.dtype().is_float() {
                if labels.dims() != [leading, &[o]].concat() {
                    let expected = format!("{leading:?} and {o} probabilities for each row");
                    return Err(wrong_shape(NAME, "labels", expected, labels));
                }
                let labels = labels.contiguous()?.reshape((n, o))?;
                return cross_entropy(&scores.reshape((n, o))?, &labels, options);
            }
            check_labels(labels, leading)?;
            let labels = labels.contiguous()?.flatten_all()?;
            let loss = cross_entropy(&scores.reshape((n, o))?, &labels, options)?;
            return Ok(match options.reduction {
                Reduction::None => loss.reshape(leading)?,
                _ => loss,
            });
        }
        check_labels(labels, leading)?;
        options.check(NAME, x.tensor(), o)?;
        let classes = read_labels(
            NAME,
            &labels.contiguous()?.flatten_all()?,
            o,
            options.ignore_index,
        )?;
        let inputs = [Some(x), Some(weight), bias];
        tally::count(&dims);
        debug_assert!(i == weight.tensor().dims()[1]);
        by_dtype!(NAME, "x", x.tensor(), T => forward::<T>(dims, inputs, &classes, options))
    }
    inner(x.into(), weight.into(), bias, labels, options)
}

fn check_labels(labels: &Tensor, leading: &[usize]) -> Result<()> {
    if labels.dims() == leading {
        Ok(())
    } else {
        let expected = format!("{leading:?}, a class for each row");
        Err(wrong_shape(NAME, "labels", expected, labels))
    }
}

/// The gradients for an upstream gradient of one.
struct Head<T> {
    grads: Vec<Option<Tensor>>,
    dtype: std::marker::PhantomData<T>,
}

fn forward<T: Element>(
    dims: [usize; 3],
    inputs: [Option<Input<'_>>; 3],
    classes: &[u32],
    options: &CrossEntropy,
) -> Result<Tensor> {
    let operands = inputs
        .into_iter()
        .flatten()
        .map(Input::operand)
        .collect::<candle_core::Result<Vec<_>>>()?;
    let weights = match &options.weight {
        Some(weights) => Some(weights.to_vec1::<T>()?),
        None => None,
    };
    let targets = Targets {
        classes,
        ignore: Some(LEFT_OUT),
        weights: weights.as_deref(),
        smoothing: <T as Real>::from_f64(options.label_smoothing),
    };
    let scale = match options.reduction {
        Reduction::Mean => {
            let rows = 0..classes.len();
            1.0 / rows
                .map(|r| Real::to_f64(targets.row_weight(r)))
                .sum::<f64>()
        }
        _ => 1.0,
    };
    let mut blocks = Blocks::new(dims, &operands, <T as Real>::from_f64(scale));
    let total = {
        let (x, w) = (values(operands[0].tensor())?, values(operands[1].tensor())?);
        let b = operands
            .get(2)
            .map(|b| values::<T>(b.tensor()))
            .transpose()?;
        blocks.run(&x, &w, b.as_deref(), &targets)
    };
    let total = vec![<T as Real>::from_f64(total * scale)];
    let op = Head::<T> {
        grads: blocks.grads(&operands)?,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, operands, Output::new(total, ()))
}

/// Rows on their way through the layer and the loss.
struct Blocks<T> {
    dims: [usize; 3],
    /// What the reduction multiplies each row's loss with.
    scale: T,
    /// Gradients of x, weight and bias, where they are wanted.
    d: [Option<Vec<T>>; 3],
}

impl<T: Element> Blocks<T> {
    fn new(dims: [usize; 3], operands: &[Operand], scale: T) -> Self {
        let lengths = [dims[0] * dims[1], dims[2] * dims[1], dims[2]];
        let d = std::array::from_fn(|at| {
            let wanted = operands.get(at).is_some_and(Operand::wants_gradient);
            wanted.then(|| unspecified(lengths[at]))
        });
        Self { dims, scale, d }
    }

    /// The sum of all losses, with the gradients filled in.
    fn run(&mut self, x: &[T], w: &[T], b: Option<&[T]>, targets: &Targets<'_, T>) -> f64 {
        let [n, i, o] = self.dims;
        let together = (BLOCK / o.max(1)).clamp(64, n.max(64)).min(n);
        let mut scores = unspecified::<T>(together * o);
        let wants_any = self.d.iter().any(Option::is_some);
        let mut d_scores = unspecified::<T>(if wants_any { together * o } else { 0 });
        let mut loss = unspecified::<T>(together);
        let mut shifts = vec![Shift::default(); together];
        let mut total = 0.0;
        for first in (0..n).step_by(together) {
            let rows = together.min(n - first);
            let dims = [rows, i, o];
            let x = &x[first * i..(first + rows) * i];
            let scores = &mut scores[..rows * o];
            let (loss, shifts) = (&mut loss[..rows], &mut shifts[..rows]);
            let targets = Targets {
                classes: &targets.classes[first..first + rows],
                ..*targets
            };
            // 1. Scores and losses of a block of rows.
            neurons::forward(dims, x, w, b, Activation::Identity, scores, None);
            kernel::forward(scores, o, &targets, loss, shifts);
            total += loss.iter().map(|l| Real::to_f64(*l)).sum::<f64>();
            // 2. Its gradients.
            if wants_any {
                let d_scores = &mut d_scores[..rows * o];
                let d_loss = vec![self.scale; rows];
                kernel::backward(scores, o, &targets, shifts, &d_loss, d_scores);
                self.gradients(first, dims, x, w, d_scores);
            }
        }
        total
    }

    fn gradients(&mut self, first: usize, dims: [usize; 3], x: &[T], w: &[T], d_scores: &[T]) {
        let [rows, i, o] = dims;
        let write = if first == 0 {
            Write::Replace
        } else {
            Write::Add
        };
        if let Some(d_x) = &mut self.d[0] {
            neurons::input_gradient(dims, d_scores, w, &mut d_x[first * i..(first + rows) * i]);
        }
        if let Some(d_w) = &mut self.d[1] {
            let d_scores = MatRef::row_major(d_scores, rows, o).t();
            matmul(d_scores, MatRef::row_major(x, rows, i), d_w, write);
        }
        if let Some(d_b) = &mut self.d[2] {
            if first == 0 {
                neurons::bias_gradient(d_scores, d_b);
            } else {
                let mut part = unspecified(o);
                neurons::bias_gradient(d_scores, &mut part);
                for (d, part) in d_b.iter_mut().zip(part) {
                    *d += part;
                }
            }
        }
    }

    fn grads(self, operands: &[Operand]) -> Result<Vec<Option<Tensor>>> {
        let wanted = self.d.into_iter().zip(operands);
        wanted
            .map(|(d, operand)| d.map(|d| tensor(d, operand.tensor().shape())).transpose())
            .collect()
    }
}

impl<T: Element> Op for Head<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let upstream = values::<T>(pass.d_output(0))?[0];
        let scaled = |grad: &Tensor| {
            if upstream == T::ONE {
                return Ok(grad.clone());
            }
            let grad_values = values::<T>(grad)?;
            let product: Vec<T> = grad_values.iter().map(|d| *d * upstream).collect();
            tensor(product, grad.shape())
        };
        let grads = self.grads.iter();
        grads
            .map(|grad| grad.as_ref().map(scaled).transpose())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{check, random, same};
    use candle_core::{D, DType, Device};

    fn labels(n: usize, classes: u32) -> Tensor {
        let labels: Vec<u32> = (0..n as u32).map(|i| i * 7 % classes).collect();
        Tensor::from_vec(labels, n, &Device::Cpu).unwrap()
    }

    fn variants() -> Vec<CrossEntropy> {
        let weight = Tensor::new(&[0.5, 1.0, 2.0, 0.25, 1.5], &Device::Cpu).unwrap();
        let mut variants = Vec::new();
        for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
            for (weight, ignore_index, label_smoothing) in
                [(None, None, 0.0), (Some(weight.clone()), Some(2), 0.3)]
            {
                variants.push(CrossEntropy {
                    weight,
                    ignore_index,
                    label_smoothing,
                    reduction,
                });
            }
        }
        variants
    }

    #[test]
    fn gradients_with_every_option() {
        let (w, b) = (random(&[5, 3], "w"), random(&[5], "b"));
        for options in variants() {
            for shape in [&[6, 3][..], &[1, 3], &[2, 4, 3]] {
                let x = random(shape, "x");
                let n = x.elem_count() / 3;
                let labels = labels(n, 5).reshape(&shape[..shape.len() - 1]).unwrap();
                check(&[x.clone(), w.clone(), b.clone()], |t| {
                    linear_cross_entropy(&t[0], &t[1], Some((&t[2]).into()), &labels, &options)
                });
                check(&[x, w.clone()], |t| {
                    let loss = linear_cross_entropy(&t[0], &t[1], None, &labels, &options)?;
                    Ok((loss * 0.3)?)
                });
            }
        }
        let strided = random(&[3, 6], "x").t().unwrap();
        check(&[strided, random(&[3, 5], "w").t().unwrap()], |t| {
            linear_cross_entropy(&t[0], &t[1], None, &labels(6, 5), &CrossEntropy::default())
        });
        let square = random(&[3, 3], "x");
        check(&[square], |t| {
            linear_cross_entropy(&t[0], &t[0], None, &labels(3, 3), &CrossEntropy::default())
        });
    }

    #[test]
    fn many_blocks_equal_the_fine_operations() {
        let (n, classes) = (150, 20_000);
        let single = |shape: &[usize], name| random(shape, name).to_dtype(DType::F32).unwrap();
        let var = |t: Tensor| candle_core::Var::from_tensor(&t).unwrap();
        let (x, w, b) = (
            var(single(&[n, 8], "x")),
            var(single(&[classes, 8], "w")),
            var(single(&[classes], "b")),
        );
        let (labels, options) = (labels(n, classes as u32), CrossEntropy::default());
        let one = linear_cross_entropy(&x, &w, Some((&b).into()), &labels, &options).unwrap();
        let scores = linear(&x, &w, Some((&b).into()), Activation::Identity).unwrap();
        let two = cross_entropy(&scores, &labels, &options).unwrap();
        same(&one, &two, 1e-5);
        let (one, two) = (one.backward().unwrap(), two.backward().unwrap());
        for var in [&x, &w, &b] {
            same(one.get(var).unwrap(), two.get(var).unwrap(), 1e-6);
        }
    }

    #[test]
    fn distributions_and_half_precision_go_through_the_fine_operations() {
        let (x, w) = (random(&[4, 3], "x"), random(&[5, 3], "w"));
        let soft = crate::ops::softmax(&random(&[4, 5], "labels"), D::Minus1).unwrap();
        check(&[x.clone(), w.clone()], |t| {
            linear_cross_entropy(&t[0], &t[1], None, &soft, &CrossEntropy::default())
        });
        let half = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
        let loss = linear_cross_entropy(
            &half(&x),
            &half(&w),
            None,
            &labels(4, 5),
            &CrossEntropy::default(),
        );
        assert_eq!(loss.unwrap().dtype(), DType::BF16);
    }

    #[test]
    fn errors_say_what_was_expected() {
        let (x, w) = (random(&[4, 3], "x"), random(&[5, 3], "w"));
        let message = |labels: &Tensor| {
            let options = CrossEntropy::default();
            linear_cross_entropy(&x, &w, None, labels, &options)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            message(&labels(3, 5)),
            "linear_cross_entropy: labels must have shape [4], a class for each row, but has [3]"
        );
        let beyond = Tensor::new(&[0_u32, 1, 5, 2], &Device::Cpu).unwrap();
        assert!(message(&beyond).contains('5'), "{}", message(&beyond));
    }
}

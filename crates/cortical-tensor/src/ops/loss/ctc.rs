//! The likelihood of label sequences that are not aligned with time.

use super::reduce;
use crate::element::{Element, tensor};
use crate::graph::{Backward, Op, Output, apply_one};
use crate::ops::Reduction;
use crate::ops::prepare::{by_dtype, check_float, is_half, wrong_shape};
use crate::{Error, Input, Result, values};
use candle_core::{DType, Device, Tensor};
use cortical_kernels::buffer::unspecified;
use cortical_kernels::ctc::{self as kernel, Alignment};
use cortical_kernels::real::Real;

const NAME: &str = "ctc_loss";

/// The options of [`ctc_loss`], with PyTorch's names and defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ctc {
    /// The class that stands for no label.
    pub blank: usize,
    /// What becomes of the samples' losses; the mean divides each by its number of labels first.
    pub reduction: Reduction,
    /// Whether a sample with too few steps for its labels counts 0 instead of ∞.
    pub zero_infinity: bool,
}

/// `l = −ln Σ_π Π_t p[t, π_t]` over the paths `π` that say the labels when repetitions and then blanks are left out;
/// reduced.
///
/// The gradient is that of the scores behind normalised log-probabilities, as PyTorch has it: it has no part along the
/// direction that a softmax takes away. On every device it is computed on the CPU.
///
/// # Shapes
/// - `log_probs`: `[steps, n, classes]`, or without `n`; logarithms of probabilities, as
///   [`log_softmax`](crate::ops::log_softmax) gives them
/// - `targets`: `[n, labels]`, or `[Σ target_lengths]` one sample behind the other; of `u32` or `i64`
/// - `input_lengths`, `target_lengths`: `n` numbers, or one without `n`
/// - result: scalar, or `[n]` for [`Reduction::None`] (a scalar without `n`)
///
/// # Errors
/// [`Error::Shape`], [`Error::DType`] when the arguments do not fit, [`Error::Index`] for a label that is no class,
/// [`Error::Option`] for a blank that is none or a length beyond the steps or labels.
///
/// # Source
/// Graves et al., "Connectionist temporal classification" (2006).
pub fn ctc_loss<'a>(
    log_probs: impl Into<Input<'a>>,
    targets: &Tensor,
    input_lengths: &[usize],
    target_lengths: &[usize],
    options: &Ctc,
) -> Result<Tensor> {
    fn inner(
        log_probs: Input<'_>,
        targets: &Tensor,
        input_lengths: &[usize],
        target_lengths: &[usize],
        options: &Ctc,
    ) -> Result<Tensor> {
        let x = log_probs;
        let t = x.tensor();
        check_float(NAME, "log_probs", t)?;
        let dims = match *t.dims() {
            [steps, classes] => [steps, 1, classes],
            [steps, n, classes] => [steps, n, classes],
            _ => {
                let expected = "[steps, n, classes] or [steps, classes]";
                return Err(wrong_shape(NAME, "log_probs", expected, t));
            }
        };
        let alignment = align(dims, targets, input_lengths, target_lengths, options.blank)?;
        let dtype = t.dtype();
        // Gradients flow back through both conversions.
        let on_cpu = t.to_device(&Device::Cpu)?;
        let on_cpu = if is_half(dtype) {
            on_cpu.to_dtype(DType::F32)?
        } else {
            on_cpu
        };
        let lengths: Vec<f64> = target_lengths
            .iter()
            .map(|len| (*len).max(1) as f64)
            .collect();
        let zero_infinity = options.zero_infinity;
        let x = if t.device().is_cpu() && !is_half(dtype) {
            x
        } else {
            (&on_cpu).into()
        };
        let each =
            by_dtype!(NAME, "log_probs", on_cpu, T => forward::<T>(x, alignment, zero_infinity))?;
        let each = match options.reduction {
            Reduction::Mean => {
                let lengths = Tensor::from_vec(lengths, dims[1], &Device::Cpu)?;
                (each / lengths.to_dtype(on_cpu.dtype())?)?
            }
            Reduction::Sum | Reduction::None => each,
        };
        let loss = reduce(&each, options.reduction)?;
        let loss = match (options.reduction, t.rank()) {
            (Reduction::None, 2) => loss.squeeze(0)?,
            _ => loss,
        };
        Ok(loss.to_dtype(dtype)?.to_device(t.device())?)
    }
    inner(
        log_probs.into(),
        targets,
        input_lengths,
        target_lengths,
        options,
    )
}

/// The labels and lengths of each sample, checked.
fn align(
    dims: [usize; 3],
    targets: &Tensor,
    input_lengths: &[usize],
    target_lengths: &[usize],
    blank: usize,
) -> Result<Alignment> {
    let [steps, n, classes] = dims;
    let option = |option, expected: String, got: String| Error::Option {
        op: NAME,
        option,
        expected,
        got,
    };
    if blank >= classes {
        let expected = format!("a class, below {classes}");
        return Err(option("blank", expected, blank.to_string()));
    }
    if !matches!(targets.dtype(), DType::U32 | DType::I64) {
        return Err(Error::DType {
            op: NAME,
            argument: "targets",
            expected: "u32 or i64",
            got: targets.dtype(),
        });
    }
    for (name, lengths, most) in [
        ("input_lengths", input_lengths, steps),
        ("target_lengths", target_lengths, usize::MAX),
    ] {
        if lengths.len() != n || lengths.iter().any(|len| *len > most) {
            let expected = match name {
                "input_lengths" => format!("{n} numbers of steps, each at most {steps}"),
                _ => format!("{n} numbers of labels"),
            };
            return Err(option(name, expected, format!("{lengths:?}")));
        }
    }
    let total = (target_lengths.iter()).try_fold(0_usize, |sum, len| sum.checked_add(*len));
    let starts: Vec<usize> = match *targets.dims() {
        [rows, width] if rows == n && target_lengths.iter().all(|len| *len <= width) => {
            (0..n).map(|sample| sample * width).collect()
        }
        [all] if Some(all) == total => {
            let ends = target_lengths.iter().scan(0, |sum, len| {
                *sum += len;
                Some(*sum - len)
            });
            ends.collect()
        }
        _ => {
            let expected = format!("[{n}, labels] with room for {target_lengths:?}, or their sum");
            return Err(wrong_shape(NAME, "targets", expected, targets));
        }
    };
    let labels = targets.to_device(&Device::Cpu)?.to_dtype(DType::I64)?;
    let labels = labels.flatten_all()?.to_vec1::<i64>()?;
    let of_sample = |(start, len): (&usize, &usize)| {
        let at = |i: usize| {
            let (at, got) = (start + i, labels[start + i]);
            let class = u32::try_from(got)
                .ok()
                .filter(|class| (*class as usize) < classes);
            class.ok_or(Error::Index {
                op: NAME,
                argument: "targets",
                at,
                got,
                below: classes,
            })
        };
        (0..*len).map(at).collect::<Result<Vec<u32>>>()
    };
    Ok(Alignment {
        dims,
        blank,
        input_lengths: input_lengths.to_vec(),
        targets: (starts.iter().zip(target_lengths))
            .map(of_sample)
            .collect::<Result<_>>()?,
    })
}

fn forward<T: Element>(x: Input<'_>, alignment: Alignment, zero_infinity: bool) -> Result<Tensor> {
    let operand = x.operand()?;
    let losses = kernel::forward(&alignment, &values::<T>(operand.tensor())?);
    let kept = |loss: f64| {
        if zero_infinity && loss.is_infinite() {
            0.0
        } else {
            loss
        }
    };
    let losses: Vec<T> = losses
        .into_iter()
        .map(|l| Real::from_f64(kept(l)))
        .collect();
    let n = losses.len();
    let op = CtcLoss::<T> {
        alignment,
        zero_infinity,
        dtype: std::marker::PhantomData,
    };
    apply_one(op, vec![operand], Output::new(losses, n))
}

struct CtcLoss<T> {
    alignment: Alignment,
    zero_infinity: bool,
    dtype: std::marker::PhantomData<T>,
}

impl<T: Element> Op for CtcLoss<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>> {
        let t = pass.input(0);
        let mut d = unspecified::<T>(t.elem_count());
        let d_losses = values::<T>(pass.d_output(0))?;
        let (a, zero_infinity) = (&self.alignment, self.zero_infinity);
        kernel::backward(a, &values::<T>(t)?, &d_losses, zero_infinity, &mut d);
        Ok(vec![Some(tensor(d, t.shape())?)])
    }
}

//! Half precision: stored in 16 bits, computed in 32, rounded once.

use crate::pick::Pick;
use crate::subject::{Subject, numbers};
use crate::table::table;
use candle_core::{DType, Tensor, Var};

/// The result and the gradient of every argument, for an upstream gradient of ones.
fn run(subject: &Subject, arguments: &[Tensor]) -> Result<(Tensor, Vec<Option<Tensor>>), String> {
    let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", subject.name);
    let vars = (arguments.iter())
        .map(Var::from_tensor)
        .collect::<candle_core::Result<Vec<Var>>>()
        .map_err(|e| fail(&e))?;
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = (subject.run)(&mut Pick::sensible(), &tensors).map_err(|e| fail(&e))?;
    if !subject.differentiable {
        return Ok((y, Vec::new()));
    }
    let grads = y
        .sum_all()
        .and_then(|sum| sum.backward())
        .map_err(|e| fail(&e))?;
    let grads = vars.iter().map(|v| grads.get(v).cloned()).collect();
    Ok((y, grads))
}

fn check(subject: &Subject, dtype: DType) -> Result<(), String> {
    let halves = subject.arguments(subject.shapes[0], dtype);
    let wide: Vec<Tensor> = (halves.iter())
        .map(|t| t.to_dtype(DType::F32).expect("a wider dtype"))
        .collect();
    let ((half, d_half), (single, d_single)) = (run(subject, &halves)?, run(subject, &wide)?);
    let at = |what: &str| format!("{} in {dtype:?}: {what}", subject.name);
    let rounded = single.to_dtype(half.dtype()).expect("a float dtype");
    if subject.differentiable && half.dtype() != dtype {
        return Err(at(&format!("the result has dtype {:?}", half.dtype())));
    }
    for (i, (h, r)) in numbers(&half)
        .into_iter()
        .zip(numbers(&rounded))
        .enumerate()
    {
        if h != r && !(h.is_nan() && r.is_nan()) {
            return Err(at(&format!("element {i} is {h}, and {r} if rounded once")));
        }
    }
    for (i, (h, s)) in d_half.iter().zip(&d_single).enumerate() {
        let (Some(h), Some(s)) = (h, s) else {
            if h.is_some() == s.is_some() {
                continue;
            }
            return Err(at(&format!("gradient {i} is there in one precision only")));
        };
        if h.dtype() != dtype || h.dims() != s.dims() {
            return Err(at(&format!("gradient {i} is {h:?}")));
        }
        let largest = numbers(s).into_iter().fold(1.0, |m: f64, x| m.max(x.abs()));
        // The upstream gradient passes the rounded result, and sums of gradients are rounded too.
        let close = |(h, s): (f64, f64)| (h - s).abs() <= 0.02 * largest;
        if !numbers(h).into_iter().zip(numbers(s)).all(close) {
            return Err(at(&format!("gradient {i} is {h}, in single precision {s}")));
        }
    }
    Ok(())
}

#[test]
fn every_operation_rounds_once() {
    let mut failures = Vec::new();
    for subject in table() {
        for dtype in [DType::F16, DType::BF16] {
            failures.extend(check(&subject, dtype).err());
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

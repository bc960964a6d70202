//! A bench for each family of kernels, through the operation that people call, beside a named opponent that computes
//! the same.
//!
//! `cargo xtask bench` times both with criterion; a test runs both on a few numbers and compares what they compute.
//! Whole jobs are in [`crate::workloads`].

mod dense;
mod rest;
mod rows;
mod windows;

use crate::error::Result;
use crate::workloads::Size;
use candle_core::{Tensor, Var};
use cortical_tensor::with_fallback;

/// One computation of a side: everything that it made, so that nothing is left out.
pub type Run = Box<dyn Fn() -> Result<Vec<Tensor>>>;

/// Two sides that compute the same.
pub struct Family {
    /// The module of `cortical_kernels` that does the work.
    pub module: &'static str,
    /// What is computed.
    pub name: &'static str,
    /// Our side.
    pub ours: Run,
    /// Who the opponent is.
    pub opponent: &'static str,
    /// The other side.
    pub theirs: Run,
    /// Whether both sides give the same numbers, as they do not where numbers are drawn.
    pub same: bool,
}

/// Modules of `cortical_kernels` that are no family: what the families are made of, and where the reasons stand.
pub const NO_FAMILY: [(&str, &str); 8] = [
    (
        "alloc",
        "memory, which the workloads measure with everything else",
    ),
    ("buffer", "memory that a kernel fills"),
    ("isa", "the choice of instructions"),
    ("parallel", "the cut of work into tasks"),
    ("real", "what a number can do"),
    ("slice_sums", "sums inside of other kernels"),
    ("roofline", "it measures the machine, not us"),
    (
        "constant",
        "what quantized and sparse matrices have in common",
    ),
];

/// Every family, in the order of their modules.
///
/// # Errors
/// Those of candle and of the operations.
pub fn all(size: Size) -> Result<Vec<Family>> {
    let mut all = Vec::new();
    for families in [
        dense::families,
        rows::families,
        windows::families,
        rest::families,
    ] {
        all.extend(families(size)?);
    }
    all.sort_by_key(|family| family.module);
    Ok(all)
}

/// An operation forward and backward; the opponent is its fallback in candle's operations.
fn op(
    module: &'static str,
    name: &'static str,
    inputs: &[Tensor],
    run: impl Fn(&[Tensor]) -> cortical_tensor::Result<Tensor> + Copy + 'static,
) -> Result<Family> {
    let vars = inputs
        .iter()
        .map(Var::from_tensor)
        .collect::<candle_core::Result<Vec<_>>>()?;
    let both_ways = move || -> Result<Vec<Tensor>> {
        let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let y = run(&tensors)?;
        let grads = y.sum_all()?.backward()?;
        let d = tensors.iter().filter_map(|x| grads.get(x).cloned());
        Ok(std::iter::once(y.detach()).chain(d).collect())
    };
    let again = both_ways.clone();
    Ok(Family {
        module,
        name,
        ours: Box::new(both_ways),
        opponent: "candle's operations",
        theirs: Box::new(move || with_fallback(&again)),
        same: true,
    })
}

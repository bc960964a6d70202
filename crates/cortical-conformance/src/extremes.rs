//! Cases far from zero and with infinities and NaN, each in both precisions.

use crate::outcome::EXACT;
use cortical_testkit::{Case, CaseError, CaseTensor, Values, packed};
use std::path::Path;

/// Close in single precision: our functions are right to a few units of the last place.
const SINGLE: (f64, f64) = (2e-5, 1e-6);
/// Close in double precision, where some of PyTorch's constants are those of single precision.
const DOUBLE: (f64, f64) = (1e-7, 1e-8);

/// One case in two precisions.
#[derive(Clone, Debug)]
pub struct Extreme {
    /// What PyTorch computes in single precision. Where its own rounding makes infinities or NaN that are none in
    /// double precision, `exact.NAME` beside a tensor is as good.
    pub single: Case,
    /// What it computes in double precision from the same numbers.
    pub double: Case,
}

/// Every committed case of this kind.
///
/// # Errors
/// [`CaseError`] if the file cannot be read or does not hold such cases.
pub fn extremes() -> Result<Vec<Extreme>, CaseError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/extremes/extremes.safetensors");
    let singles = packed(path, SINGLE.0, SINGLE.1)?;
    Ok(singles
        .into_iter()
        .map(|single| Extreme {
            double: double(&single),
            single,
        })
        .collect())
}

/// The case in double precision: its inputs, and what came of them there.
fn double(single: &Case) -> Case {
    let mut double = single.clone();
    (double.rtol, double.atol) = DOUBLE;
    double.tensors = single
        .tensors
        .iter()
        .filter(|(name, _)| !name.starts_with(EXACT))
        .map(|(name, tensor)| {
            let exact = single.tensors.get(&format!("{EXACT}{name}"));
            (name.clone(), widened(exact.unwrap_or(tensor)))
        })
        .collect();
    double
}

fn widened(tensor: &CaseTensor) -> CaseTensor {
    let mut wide = tensor.clone();
    if tensor.is_float() {
        wide.data = Values::F64(tensor.to_f64());
    }
    wide
}

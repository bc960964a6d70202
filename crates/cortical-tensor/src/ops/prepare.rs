//! What operations check and convert before they compute.

use crate::shape::checked_count;
use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// Whether the arithmetic of `dtype` is that of `f32` with rounding to fewer bits.
pub(crate) fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// Checks that an argument is of a float dtype that operations compute in, and no view of more elements than memory
/// could hold.
pub(crate) fn check_float(op: &'static str, argument: &'static str, x: &Tensor) -> Result<()> {
    match x.dtype() {
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => {
            checked_count(op, x.dims()).map(|_| ())
        }
        got => Err(Error::DType {
            op,
            argument,
            expected: "f32, f64, f16 or bf16",
            got,
        }),
    }
}

/// Checks that `other` has the dtype and the device of `first`, and is no view of more elements than memory could hold.
pub(crate) fn check_alike(
    op: &'static str,
    first: &Tensor,
    argument: &'static str,
    other: &Tensor,
) -> Result<()> {
    if other.dtype() != first.dtype() {
        return Err(Error::Mixed {
            op,
            argument,
            first: first.dtype(),
            got: other.dtype(),
        });
    }
    let (expected, got) = (first.device().location(), other.device().location());
    if expected != got {
        return Err(Error::Device {
            op,
            argument,
            expected,
            got,
        });
    }
    checked_count(op, other.dims())?;
    Ok(())
}

/// An error about the shape of an argument.
pub(crate) fn wrong_shape(
    op: &'static str,
    argument: &'static str,
    expected: impl Into<String>,
    got: &Tensor,
) -> Error {
    Error::Shape {
        op,
        argument,
        expected: expected.into(),
        got: got.dims().to_vec(),
    }
}

/// Runs one of two instances of a generic function, by the dtype of a tensor that is `f32` or `f64`.
macro_rules! by_dtype {
    ($op:expr, $argument:expr, $tensor:expr, $T:ident => $body:expr) => {
        match $tensor.dtype() {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            got => Err($crate::Error::DType {
                op: $op,
                argument: $argument,
                expected: "f32 or f64",
                got,
            }),
        }
    };
}
pub(crate) use by_dtype;

/// Half-precision arguments in `f32`; gradients flow back through the conversion.
pub(crate) fn widen(inputs: &[Option<crate::Input<'_>>]) -> Result<Vec<Option<Tensor>>> {
    inputs
        .iter()
        .map(|input| Ok(input.map(|i| i.tensor().to_dtype(DType::F32)).transpose()?))
        .collect()
}

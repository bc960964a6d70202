//! One state of one parameter: a plain vector for kernels, a tensor for fallbacks.

use crate::Result;
use candle_core::{DType, Device, Tensor};
use cortical_kernels::real::Real;

/// A state of a parameter. A tensor in here is never changed in place, so it may be shared.
#[derive(Clone, Debug)]
pub(crate) enum Buffer {
    F32(Vec<f32>),
    F64(Vec<f64>),
    Tensor(Tensor),
}

/// The dtype of the states of a parameter: its own, but single precision for half precision.
pub(crate) fn state_dtype(param: DType) -> DType {
    if param == DType::F64 {
        DType::F64
    } else {
        DType::F32
    }
}

/// Whether a parameter of this dtype has a copy in single precision, on which the steps add up.
pub(crate) fn has_master(param: DType) -> bool {
    matches!(param, DType::F16 | DType::BF16)
}

/// A type that states are kept in.
pub(crate) trait Plain: Real {
    /// The elements of a buffer of this type.
    fn slice_of(buffer: &mut Buffer) -> Option<&mut [Self]>;
}

impl Plain for f32 {
    fn slice_of(buffer: &mut Buffer) -> Option<&mut [Self]> {
        match buffer {
            Buffer::F32(values) => Some(values),
            _ => None,
        }
    }
}

impl Plain for f64 {
    fn slice_of(buffer: &mut Buffer) -> Option<&mut [Self]> {
        match buffer {
            Buffer::F64(values) => Some(values),
            _ => None,
        }
    }
}

impl Buffer {
    /// `len` times `value`, for a parameter of this dtype.
    pub(crate) fn filled(param: DType, len: usize, value: f64) -> Self {
        if state_dtype(param) == DType::F64 {
            Self::F64(vec![value; len])
        } else {
            Self::F32(vec![value as f32; len])
        }
    }

    /// A tensor of this state that later steps do not change.
    pub(crate) fn to_tensor(&self, dims: &[usize], device: &Device) -> Result<Tensor> {
        Ok(match self {
            Self::F32(values) => Tensor::from_slice(values, dims, device)?,
            Self::F64(values) => Tensor::from_slice(values, dims, device)?,
            Self::Tensor(tensor) => tensor.clone(),
        })
    }

    /// Makes it a vector, for a kernel.
    pub(crate) fn make_plain(&mut self) -> Result<()> {
        if let Self::Tensor(tensor) = self {
            let flat = tensor.flatten_all()?;
            *self = if tensor.dtype() == DType::F64 {
                Self::F64(flat.to_vec1()?)
            } else {
                Self::F32(flat.to_vec1()?)
            };
        }
        Ok(())
    }
}

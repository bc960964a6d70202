//! The elements of a tensor as a slice, and a vector as a tensor's storage.

use crate::{Error, Result};
use candle_core::{CpuStorage, Shape, Storage, StorageRef, Tensor, WithDType};
use cortical_kernels::real::Real;
use std::ops::Deref;

/// A dtype that kernels compute in: `f32` or `f64`.
pub trait Element: Real + WithDType {}
impl Element for f32 {}
impl Element for f64 {}

/// The elements of a contiguous tensor on the CPU, borrowed from it.
pub struct Values<'a, T> {
    storage: StorageRef<'a>,
    start: usize,
    len: usize,
    dtype: std::marker::PhantomData<T>,
}

impl<T: WithDType> Deref for Values<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let Storage::Cpu(storage) = &*self.storage else {
            unreachable!("`values` let only tensors on the CPU through")
        };
        let all = storage
            .as_slice::<T>()
            .expect("`values` let only tensors of this dtype through");
        &all[self.start..self.start + self.len]
    }
}

/// The elements of `tensor`, which must be contiguous, on the CPU and of dtype `T`.
///
/// # Errors
/// [`Error::DType`] for another dtype, [`Error::Device`] for a tensor elsewhere, candle's error for one with gaps.
pub fn values<T: WithDType>(tensor: &Tensor) -> Result<Values<'_, T>> {
    if tensor.dtype() != T::DTYPE {
        return Err(Error::DType {
            op: "values",
            argument: "tensor",
            expected: "the dtype that the caller reads",
            got: tensor.dtype(),
        });
    }
    let (storage, layout) = tensor.storage_and_layout();
    if !matches!(&*storage, Storage::Cpu(_)) {
        return Err(Error::Device {
            op: "values",
            argument: "tensor",
            expected: candle_core::DeviceLocation::Cpu,
            got: tensor.device().location(),
        });
    }
    let Some((start, end)) = layout.contiguous_offsets() else {
        return Err(candle_core::Error::RequiresContiguous { op: "values" }.into());
    };
    Ok(Values {
        storage,
        start,
        len: end - start,
        dtype: std::marker::PhantomData,
    })
}

/// A vector as the storage of a result.
pub(crate) fn storage<T: WithDType>(values: Vec<T>) -> CpuStorage {
    T::to_cpu_storage_owned(values)
}

/// A vector as a tensor on the CPU, outside any graph.
pub(crate) fn tensor<T: WithDType>(values: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Ok(Tensor::from_vec(
        values,
        shape.into(),
        &candle_core::Device::Cpu,
    )?)
}

/// `n` zeros, for a result that a kernel overwrites.
pub(crate) fn zeros<T: Element>(n: usize) -> Vec<T> {
    vec![T::ZERO; n]
}

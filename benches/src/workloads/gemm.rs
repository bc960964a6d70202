//! Matrix products: `C = A · B` of `[n, n]`, in `f32` and `bf16`.

use super::{Size, normal};
use crate::error::Result;
use crate::measure::{Cost, Output, Workload};
use candle_core::DType;
use cortical_kernels::matmul::Transposes;
use cortical_tensor::ops::matmul;

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let f32s = [256, 1024, 2048].map(|n| ("f32", DType::F32, n));
    let bf16s = [1024, 2048].map(|n| ("bf16", DType::BF16, n));
    f32s.into_iter()
        .chain(bf16s)
        .map(|(name, dtype, n)| product(size, format!("gemm_{name}_{n}"), dtype, n))
        .collect()
}

fn product(size: Size, name: String, dtype: DType, n: usize) -> Workload {
    let n = size.pick(n, 8);
    let operations = 2.0 * (n as f64).powi(3);
    Workload::new(name, (operations / 1e9, "GFLOP/s"), move || {
        let a = normal("a", &[n, n])?.to_dtype(dtype)?;
        let b = normal("b", &[n, n])?.to_dtype(dtype)?;
        Ok(move || -> Result<Output> { Ok(matmul(&a, &b, Transposes::default())?.into()) })
    })
    .times(3, 15)
    .cost(Cost::operations(operations))
}

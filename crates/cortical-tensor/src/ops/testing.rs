//! What the tests of operations share.

use crate::element::tensor;
use crate::gradcheck::gradcheck;
use crate::{Result, Rng, Seed, with_fallback};
use candle_core::{DType, Tensor, Var};
use cortical_kernels::isa::{InstructionSet, limited_to};

/// Normal random numbers in `f64` that depend on nothing but the stream's name.
pub(crate) fn random(shape: &[usize], stream: &str) -> Tensor {
    let mut rng = Rng::new(Seed(5), stream);
    let n = shape.iter().product();
    tensor((0..n).map(|_| rng.normal()).collect::<Vec<f64>>(), shape).unwrap()
}

/// Panics where two tensors differ by more than `tolerance`.
#[track_caller]
pub(crate) fn same(got: &Tensor, want: &Tensor, tolerance: f64) {
    assert_eq!(got.dims(), want.dims());
    let numbers = |t: &Tensor| {
        t.flatten_all()
            .unwrap()
            .to_dtype(DType::F64)
            .unwrap()
            .to_vec1::<f64>()
            .unwrap()
    };
    for (i, (g, w)) in numbers(got).into_iter().zip(numbers(want)).enumerate() {
        let alike = g == w || (g - w).abs() <= tolerance;
        assert!(alike, "element {i}: {g} but expected {w}");
    }
}

/// Checks that results and gradients of an operation on `bf16` are those of one that widens, rounded.
#[track_caller]
pub(crate) fn as_widened(inputs: &[Tensor], run: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let all = || {
        let inputs: Vec<Var> = inputs
            .iter()
            .map(|t| Var::from_tensor(&t.to_dtype(DType::BF16).unwrap()).unwrap())
            .collect();
        let tensors: Vec<Tensor> = inputs.iter().map(|v| v.as_tensor().clone()).collect();
        let y = run(&tensors).unwrap();
        assert_eq!(y.dtype(), DType::BF16);
        // An upstream gradient that differs from element to element.
        let d_y = random(y.dims(), "d_y").to_dtype(DType::BF16).unwrap();
        let grads = (&y * d_y).unwrap().sum_all().unwrap().backward().unwrap();
        let grads = inputs.iter().map(|v| grads.get(v).unwrap().clone());
        std::iter::once(y).chain(grads).collect::<Vec<_>>()
    };
    let widened = limited_to(InstructionSet::Avx2, all);
    for (got, want) in all().iter().zip(&widened) {
        assert_eq!(got.dtype(), DType::BF16);
        // A sum beside a rounding boundary may fall on either side of it, and be a term of another.
        let largest = |t: &Tensor| -> f64 {
            let t = t.to_dtype(DType::F64).unwrap().abs().unwrap();
            t.flatten_all()
                .unwrap()
                .to_vec1::<f64>()
                .unwrap()
                .into_iter()
                .fold(0.0, f64::max)
        };
        same(got, want, largest(want) / 64.0);
    }
}

/// Checks the gradients of kernel and fallback, and that the two agree.
#[track_caller]
pub(crate) fn check(inputs: &[Tensor], run: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let shapes: Vec<_> = inputs.iter().map(|t| t.dims().to_vec()).collect();
    gradcheck(inputs, &run).unwrap_or_else(|e| panic!("kernel, {shapes:?}: {e}"));
    with_fallback(|| gradcheck(inputs, &run))
        .unwrap_or_else(|e| panic!("fallback, {shapes:?}: {e}"));
    let fallback = with_fallback(|| run(inputs)).unwrap();
    same(&run(inputs).unwrap(), &fallback, 1e-6);
}

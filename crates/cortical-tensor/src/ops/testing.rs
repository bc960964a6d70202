//! What the tests of operations share.

use crate::element::tensor;
use crate::gradcheck::gradcheck;
use crate::{Result, Rng, Seed, with_fallback};
use candle_core::{DType, Tensor};

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

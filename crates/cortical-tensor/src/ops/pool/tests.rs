//! Gradients of pools on both paths, and what they refuse.

use super::*;
use crate::gradcheck::gradcheck;
use crate::{Rng, Seed, with_fallback};

fn random(shape: &[usize]) -> Tensor {
    let mut rng = Rng::new(Seed(5), "pool");
    let n = shape.iter().product();
    let values = (0..n).map(|_| rng.normal()).collect::<Vec<f64>>();
    crate::element::tensor(values, shape).unwrap()
}

fn check(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) {
    let inputs = [x.clone()];
    gradcheck(&inputs, |t| f(&t[0])).unwrap();
    with_fallback(|| gradcheck(&inputs, |t| f(&t[0]))).unwrap();
    let (kernel, fallback) = (f(x).unwrap(), with_fallback(|| f(x)).unwrap());
    assert_eq!(kernel.dims(), fallback.dims());
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    for (k, c) in flat(&kernel).iter().zip(flat(&fallback)) {
        assert!((k - c).abs() < 1e-12 || k == &c, "{k} {c}");
    }
}

#[test]
fn gradients_with_every_option_on_both_paths() {
    let xs = [
        random(&[2, 3, 7, 6]),
        random(&[3, 6, 7]),
        random(&[6, 7, 3, 2]).transpose(0, 3).unwrap(),
        random(&[1, 3, 7, 1]).broadcast_as((1, 3, 7, 6)).unwrap(),
        random(&[0, 3, 7, 6]),
    ];
    for x in &xs {
        for ceil_mode in [false, true] {
            let max = MaxPoolOptions {
                stride: [2, 1],
                padding: [1, 1],
                dilation: [1, 2],
                ceil_mode,
                ..MaxPoolOptions::new([3, 2])
            };
            for options in [max, MaxPoolOptions::new([2, 2])] {
                // Equal elements have no difference quotient.
                if x.stride().last() != Some(&0) {
                    check(x, |x| max_pool2d(x, &options));
                }
            }
            for (count_include_pad, divisor_override) in
                [(true, None), (false, None), (true, Some(5))]
            {
                let options = AvgPoolOptions {
                    stride: [2, 3],
                    padding: [1, 1],
                    ceil_mode,
                    count_include_pad,
                    divisor_override,
                    ..AvgPoolOptions::new([3, 2])
                };
                check(x, |x| avg_pool2d(x, &options));
            }
        }
    }
    check(&random(&[2, 2, 9]), |x| {
        max_pool1d(x, &MaxPoolOptions::new([3]))
    });
    check(&random(&[2, 2, 9]), |x| {
        avg_pool1d(x, &AvgPoolOptions::new([2]))
    });
    // More taps than a byte distinguishes.
    check(&random(&[1, 18, 19]), |x| {
        max_pool2d(x, &MaxPoolOptions::new([17, 17]))
    });
}

#[test]
fn of_equal_elements_the_first_gets_the_gradient_on_both_paths() {
    let x =
        candle_core::Var::new(&[[[3.0_f32, 3.0, 3.0, 3.0]]], &candle_core::Device::Cpu).unwrap();
    let run = || {
        let y = max_pool1d(&x, &MaxPoolOptions::new([2])).unwrap();
        let grads = y.sum_all().unwrap().backward().unwrap();
        grads
            .get(&x)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap()
    };
    assert_eq!(run(), [1.0, 0.0, 1.0, 0.0]);
    assert_eq!(with_fallback(run), [1.0, 0.0, 1.0, 0.0]);
}

#[test]
fn errors_say_what_was_expected() {
    let x = random(&[2, 3, 5, 5]);
    let message = |r: Result<Tensor>| r.unwrap_err().to_string();
    let max = MaxPoolOptions::new([2, 2]);
    let padded = MaxPoolOptions {
        padding: [2, 0],
        ..max
    };
    assert_eq!(
        message(max_pool2d(&x, &padded)),
        "max_pool2d: padding 2 is more than half of the kernel's span of 2; a max pool's window must see the input"
    );
    assert!(message(max_pool2d(&x, &MaxPoolOptions::new([0, 2]))).contains("kernel_size is 0"));
    assert!(message(max_pool2d(&x, &MaxPoolOptions::new([6, 2]))).contains("spans 6 elements"));
    assert!(message(max_pool2d(&random(&[5, 5]), &max)).contains("[n, channels, …]"));
    let indices = Tensor::new(&[[[1_u32]]], &candle_core::Device::Cpu).unwrap();
    assert!(matches!(
        max_pool1d(&indices, &MaxPoolOptions::new([1])),
        Err(Error::DType { .. })
    ));
    let divided = AvgPoolOptions {
        divisor_override: Some(0),
        ..AvgPoolOptions::new([2, 2])
    };
    assert_eq!(
        message(avg_pool2d(&x, &divided)),
        "avg_pool2d: divisor_override must be at least 1, but is 0"
    );
    let huge = MaxPoolOptions {
        kernel_size: [usize::MAX, 2],
        dilation: [usize::MAX, 1],
        ..max
    };
    assert!(matches!(max_pool2d(&x, &huge), Err(Error::Geometry { .. })));
}

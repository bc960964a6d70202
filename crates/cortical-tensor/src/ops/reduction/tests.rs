//! Reductions along any axes on both paths, their values where there is nothing, and what is refused.

use super::*;
use crate::ops::testing::{check, random, same};
use crate::with_fallback;
use candle_core::Device;

const AXES: [&[isize]; 8] = [
    &[],
    &[0],
    &[1],
    &[-1],
    &[0, 2],
    &[0, 1],
    &[-1, 1],
    &[2, 0, 1],
];

type Reduction = Box<dyn Fn(&Tensor, &[isize], bool) -> Result<Tensor>>;

fn reductions() -> Vec<Reduction> {
    let mut all: Vec<Reduction> = vec![
        Box::new(|x, axes, keepdim| sum(x, axes, keepdim)),
        Box::new(|x, axes, keepdim| mean(x, axes, keepdim)),
        Box::new(|x, axes, keepdim| max(x, axes, keepdim)),
        Box::new(|x, axes, keepdim| min(x, axes, keepdim)),
        Box::new(|x, axes, keepdim| log_sum_exp(x, axes, keepdim)),
        Box::new(|x, axes, keepdim| variance(x, axes, 0, keepdim)),
        Box::new(|x, axes, keepdim| variance(x, axes, 1, keepdim)),
    ];
    for p in [1.0, 2.0, 3.0, 0.5, -1.0, f64::INFINITY, f64::NEG_INFINITY] {
        all.push(Box::new(move |x, axes, keepdim| norm(x, p, axes, keepdim)));
    }
    all
}

#[test]
fn gradients_along_every_choice_of_axes() {
    let xs = [
        random(&[2, 3, 4], "x"),
        random(&[4, 3, 2], "x").transpose(0, 2).unwrap(),
    ];
    for reduction in reductions() {
        for x in &xs {
            for axes in AXES {
                for keepdim in [false, true] {
                    check(std::slice::from_ref(x), |t| reduction(&t[0], axes, keepdim));
                }
            }
        }
    }
}

#[test]
fn shapes_with_and_without_the_axes() {
    let x = random(&[2, 3, 4], "x");
    for (axes, short, long) in [
        (&[][..], &[][..], &[1, 1, 1][..]),
        (&[1], &[2, 4], &[2, 1, 4]),
        (&[-1, 0], &[3], &[1, 3, 1]),
    ] {
        assert_eq!(sum(&x, axes, false).unwrap().dims(), short);
        assert_eq!(sum(&x, axes, true).unwrap().dims(), long);
    }
    assert_eq!(sum(&random(&[], "x"), &[], false).unwrap().dims(), [0; 0]);
}

#[test]
fn places_are_those_of_the_first() {
    let x = Tensor::new(&[[3.0_f32, 7.0, 7.0], [f32::NAN, 9.0, 9.0]], &Device::Cpu).unwrap();
    let run = || {
        let most = argmax(&x, 1, false).unwrap().to_vec1::<u32>().unwrap();
        let least = argmin(&x, 0, true).unwrap().to_vec2::<u32>().unwrap();
        (most, least)
    };
    let want = (vec![1, 0], vec![vec![1, 0, 0]]);
    assert_eq!((run(), with_fallback(run)), (want.clone(), want));
}

#[test]
fn of_equal_elements_the_first_gets_the_gradient() {
    let x = candle_core::Var::new(&[[2.0_f64, -2.0, 2.0]], &Device::Cpu).unwrap();
    for (p, want) in [
        (None, [1.0, 0.0, 0.0]),
        (Some(f64::INFINITY), [1.0, 0.0, 0.0]),
    ] {
        let run = || {
            let y = match p {
                None => max(&x, &[1], false),
                Some(p) => norm(&x, p, &[1], false),
            };
            let grads = y.unwrap().sum_all().unwrap().backward().unwrap();
            grads
                .get(&x)
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f64>()
                .unwrap()
        };
        assert_eq!((run(), with_fallback(run)), (want.to_vec(), want.to_vec()));
    }
}

#[test]
fn the_norm_of_nothing_but_zeros_has_no_slope() {
    let x = candle_core::Var::new(&[0.0_f64, 0.0], &Device::Cpu).unwrap();
    for p in [0.0, 1.0, 2.0, 3.0, f64::INFINITY] {
        let run = || {
            let grads = norm(&x, p, &[], false).unwrap().backward().unwrap();
            grads
                .get(&x)
                .map_or(vec![0.0; 2], |d| d.to_vec1::<f64>().unwrap())
        };
        assert_eq!(
            (run(), with_fallback(run)),
            (vec![0.0; 2], vec![0.0; 2]),
            "{p}"
        );
    }
}

#[test]
fn nothing_has_a_sum_but_no_mean_and_no_maximum() {
    let x = random(&[3, 0], "x");
    let of = |f: &dyn Fn() -> Result<Tensor>| {
        let (kernel, fallback) = (f().unwrap(), with_fallback(f).unwrap());
        assert_eq!(kernel.dims(), [3]);
        let numbers = |t: Tensor| t.to_vec1::<f64>().unwrap();
        (numbers(kernel)[0], numbers(fallback)[0])
    };
    assert_eq!(of(&|| sum(&x, &[1], false)), (0.0, 0.0));
    assert_eq!(of(&|| norm(&x, 2.0, &[1], false)), (0.0, 0.0));
    assert_eq!(
        of(&|| log_sum_exp(&x, &[1], false)),
        (f64::NEG_INFINITY, f64::NEG_INFINITY)
    );
    for (a, b) in [
        of(&|| mean(&x, &[1], false)),
        of(&|| variance(&x, &[1], 0, false)),
    ] {
        assert!(a.is_nan() && b.is_nan());
    }
    let refused = [
        max(&x, &[1], false),
        min(&x, &[1], false),
        argmax(&x, 1, false),
    ];
    for result in refused
        .into_iter()
        .chain([norm(&x, f64::INFINITY, &[1], false)])
    {
        assert!(
            result
                .unwrap_err()
                .to_string()
                .contains("at least one element along the axes")
        );
    }
    assert_eq!(max(&x, &[0], false).unwrap().dims(), [0]);
}

#[test]
fn infinite_exponents_stay_what_they_are() {
    let x = Tensor::new(
        &[[f64::NEG_INFINITY; 2], [0.0, f64::INFINITY], [800.0, 800.0]],
        &Device::Cpu,
    );
    let x = x.unwrap();
    let run = || {
        log_sum_exp(&x, &[1], false)
            .unwrap()
            .to_vec1::<f64>()
            .unwrap()
    };
    for y in [run(), with_fallback(run)] {
        assert_eq!((y[0], y[1]), (f64::NEG_INFINITY, f64::INFINITY));
        assert!((y[2] - 800.0 - 2.0_f64.ln()).abs() < 1e-12);
    }
}

#[test]
fn a_variance_is_that_of_every_correction() {
    let x = Tensor::new(&[1.0_f64, 2.0, 6.0], &Device::Cpu).unwrap();
    for (correction, want) in [
        (0, 14.0 / 3.0),
        (1, 7.0),
        (2, 14.0),
        (3, f64::INFINITY),
        (9, f64::INFINITY),
    ] {
        let y = variance(&x, &[], correction, false).unwrap();
        same(&y, &Tensor::new(want, &Device::Cpu).unwrap(), 1e-12);
    }
}

#[test]
fn axes_that_are_not_there_are_refused() {
    let x = random(&[2, 3], "x");
    for axes in [
        &[2][..],
        &[-3],
        &[0, 0],
        &[1, -1],
        &[isize::MAX],
        &[isize::MIN],
    ] {
        let error = sum(&x, axes, false).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("different axes of x, from -2 to below 2"),
            "{error}"
        );
    }
    assert!(matches!(
        norm(&x, f64::NAN, &[], false),
        Err(Error::Option { .. })
    ));
    let indices = Tensor::new(&[1_u32], &Device::Cpu).unwrap();
    assert!(matches!(
        sum(&indices, &[], false),
        Err(Error::DType { .. })
    ));
}

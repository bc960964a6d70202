//! Gradients of convolutions on both paths, their fusion with pools, and what they refuse.

use super::*;
use crate::gradcheck::gradcheck;
use crate::ops::activate;
use crate::{Error, GradSlot, Rng, Seed, with_fallback};
use candle_core::{Device, Var};

fn random(shape: &[usize], stream: &str) -> Tensor {
    let mut rng = Rng::new(Seed(5), stream);
    let n = shape.iter().product();
    tensor((0..n).map(|_| rng.normal()).collect::<Vec<f64>>(), shape).unwrap()
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// Gradients of x, weight and bias on both paths, and that the paths agree.
fn check(inputs: &[Tensor], f: impl Fn(&Tensor, &Tensor, Option<Input<'_>>) -> Result<Tensor>) {
    let run = |t: &[Tensor]| f(&t[0], &t[1], t.get(2).map(Into::into));
    gradcheck(inputs, run).unwrap();
    with_fallback(|| gradcheck(inputs, run)).unwrap();
    let (kernel, fallback) = (run(inputs).unwrap(), with_fallback(|| run(inputs)).unwrap());
    assert_eq!(kernel.dims(), fallback.dims());
    for (k, c) in flat(&kernel).iter().zip(flat(&fallback)) {
        assert!((k - c).abs() < 1e-6, "{k} {c}");
    }
}

#[test]
fn gradients_of_conv2d_with_every_option() {
    let (x, w, b) = (random(&[2, 4, 6, 5], "x"), [6, 2, 3, 2], random(&[6], "b"));
    let w = random(&w, "w");
    let plain = ConvOptions {
        groups: 2,
        ..ConvOptions::default()
    };
    let all = ConvOptions {
        stride: [2, 1],
        padding: [[1, 2], [0, 1]],
        dilation: [1, 2],
        ..plain
    };
    for options in [plain, all] {
        for activation in [Activation::Identity, Activation::Tanh, Activation::Gelu] {
            let options = ConvOptions {
                activation,
                ..options
            };
            let run = |x: &Tensor, w: &Tensor, b: Option<Input<'_>>| conv2d(x, w, b, &options);
            check(&[x.clone(), w.clone(), b.clone()], run);
            check(&[x.clone(), w.clone()], run);
        }
    }
}

#[test]
fn gradients_of_strided_broadcast_empty_single_and_unbatched_inputs() {
    let (w, b) = (random(&[3, 2, 2, 2], "w"), random(&[3], "b"));
    let options = ConvOptions::default();
    let run = |x: &Tensor, w: &Tensor, b: Option<Input<'_>>| conv2d(x, w, b, &options);
    let strided = random(&[4, 2, 3, 2], "x").transpose(0, 3).unwrap();
    let broadcast = random(&[1, 2, 1, 3], "x")
        .broadcast_as((2, 2, 3, 3))
        .unwrap();
    let empty = random(&[0, 2, 3, 3], "x");
    let unbatched = random(&[2, 3, 3], "x");
    for x in [strided, broadcast, empty, unbatched] {
        check(&[x, w.clone(), b.clone()], run);
    }
    let turned = random(&[2, 2, 2, 3], "w").transpose(0, 3).unwrap();
    check(&[random(&[1, 2, 3, 3], "x"), turned, b], run);
    check(
        &[random(&[1, 1, 1, 1], "x"), random(&[1, 1, 1, 1], "w")],
        run,
    );
    // An input used twice.
    let twice = |t: &[Tensor]| conv2d(&t[0], &t[0], None, &options);
    gradcheck(&[random(&[2, 2, 3, 3], "x")], twice).unwrap();
}

#[test]
fn gradients_over_one_and_three_axes() {
    let options = ConvOptions {
        stride: [2],
        padding: [[1, 1]],
        dilation: [2],
        ..ConvOptions::default()
    };
    let inputs = [
        random(&[2, 3, 9], "x"),
        random(&[4, 3, 3], "w"),
        random(&[4], "b"),
    ];
    check(&inputs, |x, w, b| conv1d(x, w, b, &options));
    let options = ConvOptions {
        stride: [1, 2, 1],
        padding: [[1, 0], [0, 1], [1, 1]],
        ..ConvOptions::default()
    };
    let inputs = [
        random(&[2, 2, 3, 4, 3], "x"),
        random(&[3, 2, 2, 2, 3], "w"),
        random(&[3], "b"),
    ];
    check(&inputs, |x, w, b| conv3d(x, w, b, &options));
}

#[test]
fn gradients_of_transposed_convolutions() {
    for (stride, padding, output_padding, dilation) in
        [(1, 0, 0, 1), (2, 1, 1, 1), (3, 1, 2, 2), (1, 1, 1, 3)]
    {
        for activation in [Activation::Identity, Activation::Silu] {
            let options = ConvTransposeOptions {
                stride: [stride, 2],
                padding: [padding, 0],
                output_padding: [output_padding, 1],
                dilation: [dilation, 1],
                groups: 2,
                activation,
            };
            let inputs = [
                random(&[2, 4, 3, 2], "x"),
                random(&[4, 3, 3, 2], "w"),
                random(&[6], "b"),
            ];
            check(&inputs, |x, w, b| conv_transpose2d(x, w, b, &options));
        }
    }
    let options = ConvTransposeOptions {
        stride: [2],
        ..ConvTransposeOptions::default()
    };
    let inputs = [
        random(&[2, 3, 4], "x"),
        random(&[3, 2, 3], "w"),
        random(&[2], "b"),
    ];
    check(&inputs, |x, w, b| conv_transpose1d(x, w, b, &options));
    check(&[random(&[0, 3, 4], "x"), inputs[1].clone()], |x, w, b| {
        conv_transpose1d(x, w, b, &options)
    });
}

#[test]
fn the_fused_pool_equals_the_two_operations() {
    let (x, w, b) = (
        random(&[2, 3, 9, 8], "x"),
        random(&[5, 3, 3, 3], "w"),
        random(&[5], "b"),
    );
    let pools = [
        MaxPoolOptions::new([2, 2]),
        MaxPoolOptions {
            stride: [1, 2],
            padding: [1, 1],
            ceil_mode: true,
            ..MaxPoolOptions::new([3, 2])
        },
    ];
    for pool in pools {
        for activation in [Activation::Identity, Activation::Relu, Activation::Gelu] {
            let options = ConvOptions {
                activation,
                ..ConvOptions::default()
            };
            let fused =
                |t: &[Tensor]| conv2d_max_pool(&t[0], &t[1], Some((&t[2]).into()), &options, &pool);
            let plain = ConvOptions::default();
            let apart = |t: &[Tensor]| {
                let y = conv2d(&t[0], &t[1], Some((&t[2]).into()), &plain)?;
                max_pool2d(&activate(&y, activation)?, &pool)
            };
            let inputs = [&x, &w, &b].map(|t| Var::from_tensor(t).unwrap());
            let tensors = inputs.each_ref().map(|v| v.as_tensor().clone());
            let (y, want) = (fused(&tensors).unwrap(), apart(&tensors).unwrap());
            assert_eq!(y.dims(), want.dims());
            assert_eq!(flat(&y), flat(&want));
            let grads = |y: &Tensor| y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let (got, want) = (grads(&y), grads(&want));
            for input in &inputs {
                let got = flat(got.get(input).unwrap());
                let want = flat(want.get(input).unwrap());
                for (got, want) in got.iter().zip(want) {
                    assert!((got - want).abs() < 1e-10, "{got} {want}");
                }
            }
            gradcheck(&tensors, fused).unwrap();
        }
    }
}

#[test]
fn a_slot_takes_the_weight_gradient_and_frozen_inputs_cost_nothing() {
    let x = random(&[2, 2, 4, 4], "x");
    let weight = Var::from_tensor(&random(&[3, 2, 3, 3], "w")).unwrap();
    let slot = GradSlot::new();
    let run = |w: Input<'_>| {
        let y = conv2d(&x, w, None, &ConvOptions::default()).unwrap();
        y.sqr().unwrap().sum_all().unwrap().backward().unwrap()
    };
    let plain = flat(run((&weight).into()).get(&weight).unwrap());
    let store = run(Input::with_slot(&weight, &slot));
    assert!(store.get(&weight).is_none());
    assert_eq!(flat(&slot.get().unwrap()), plain);
}

#[test]
fn half_precision_is_f32_rounded() {
    let half = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
    let wide = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
    let (x, w) = (
        half(&random(&[1, 2, 4, 4], "x")),
        half(&random(&[3, 2, 3, 3], "w")),
    );
    let (options, pool) = (ConvOptions::default(), MaxPoolOptions::new([2, 2]));
    let y = conv2d_max_pool(&x, &w, None, &options, &pool).unwrap();
    assert_eq!(y.dtype(), DType::BF16);
    let want = conv2d_max_pool(&wide(&x), &wide(&w), None, &options, &pool).unwrap();
    let bits = |t: &Tensor| wide(t).flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(bits(&y), bits(&half(&want)));
}

#[test]
fn errors_say_what_was_expected() {
    let (x, w) = (random(&[2, 3, 5, 5], "x"), random(&[4, 3, 3, 3], "w"));
    let message = |x: &Tensor, w: &Tensor, options: ConvOptions<2>| {
        conv2d(x, w, None, &options).unwrap_err().to_string()
    };
    let plain = ConvOptions::<2>::default();
    assert_eq!(
        message(&x, &random(&[4, 2, 3, 3], "w"), plain),
        "conv2d: x must have shape […, 2, …], as the weight reads 2 channels in each of 1 groups, but has [2, 3, 5, 5]"
    );
    let no_stride = ConvOptions {
        stride: [1, 0],
        ..plain
    };
    assert_eq!(
        message(&x, &w, no_stride),
        "conv2d: stride is 0; it must be at least 1"
    );
    assert!(message(&x, &random(&[4, 3, 6, 3], "w"), plain).contains("spans 6 elements"));
    let thirds = ConvOptions { groups: 3, ..plain };
    assert!(
        message(&x, &random(&[4, 1, 3, 3], "w"), thirds)
            .contains("3 groups do not divide out_channels = 4")
    );
    let none = ConvOptions { groups: 0, ..plain };
    assert!(message(&x, &w, none).contains("groups is 0"));
    assert!(message(&random(&[5], "x"), &w, plain).contains("2 axes behind"));
    assert!(
        message(&x, &random(&[4, 3, 3], "w"), plain)
            .contains("[out_channels, in_channels / groups, …kernel]")
    );
    assert!(message(&x, &w.to_dtype(DType::F32).unwrap(), plain).contains("to_dtype"));
    let bias = random(&[3], "b");
    let error = conv2d(&x, &w, Some((&bias).into()), &plain).unwrap_err();
    assert!(error.to_string().contains("bias must have shape [4]"));
    let cut = ConvTransposeOptions {
        padding: [9, 9],
        ..ConvTransposeOptions::default()
    };
    let error = conv_transpose2d(&x, &random(&[3, 4, 3, 3], "w"), None, &cut).unwrap_err();
    assert!(error.to_string().contains("use less padding"), "{error}");
}

#[test]
fn sizes_beyond_memory_are_refused_before_anything_is_allocated() {
    let one = |shape: [usize; 4]| {
        let one = Tensor::zeros((1, 1, 1, 1), DType::F32, &Device::Cpu).unwrap();
        one.broadcast_as(&shape[..]).unwrap()
    };
    let options = ConvOptions {
        padding: [[1 << 33, 0], [1 << 33, 0]],
        ..ConvOptions::default()
    };
    let error = conv2d(&one([1, 1, 1, 1]), &one([1, 1, 1, 1]), None, &options).unwrap_err();
    assert!(matches!(error, Error::Geometry { .. }), "{error}");
    let huge = one([1, 1, 1 << 31, 1 << 31]);
    let wide = one([1 << 20, 1, 1, 1]);
    let error = conv2d(&huge, &wide, None, &ConvOptions::default()).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let options = ConvTransposeOptions {
        stride: [1 << 62, 1],
        ..ConvTransposeOptions::default()
    };
    let error =
        conv_transpose2d(&one([1, 1, 4, 4]), &one([1, 1, 1, 1]), None, &options).unwrap_err();
    assert!(matches!(error, Error::Geometry { .. }), "{error}");
}

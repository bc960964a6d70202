//! Every loss on both paths: gradients of predictions and targets, layouts, sizes 0 and 1, and what is refused.

use super::*;
use crate::ops::softmax;
use crate::ops::testing::{check, random, same};
use candle_core::Device;

const REDUCTIONS: [Reduction; 3] = [Reduction::Mean, Reduction::Sum, Reduction::None];

/// Numbers strictly between 0 and 1.
fn inside(shape: &[usize], stream: &str) -> Tensor {
    let spread = (random(shape, stream) * 0.4).unwrap().tanh().unwrap();
    ((spread * 0.45).unwrap() + 0.5).unwrap()
}

fn signs(shape: &[usize], stream: &str) -> Tensor {
    random(shape, stream).sign().unwrap()
}

/// Plain, transposed, narrowed, broadcast and single pairs.
fn pairs(fill: fn(&[usize], &str) -> Tensor) -> Vec<(Tensor, Tensor)> {
    let wide = fill(&[1, 3], "row").broadcast_as((4, 3)).unwrap();
    vec![
        (fill(&[4, 3], "x"), fill(&[4, 3], "t")),
        (
            fill(&[3, 4], "x").t().unwrap(),
            fill(&[4, 6], "t").narrow(1, 2, 3).unwrap(),
        ),
        (wide, fill(&[4, 3], "t")),
        (fill(&[], "x"), fill(&[], "t")),
        (fill(&[1], "x"), fill(&[1], "t")),
    ]
}

type Loss = Box<dyn Fn(&Tensor, &Tensor, Reduction) -> Result<Tensor>>;

/// Makes a target of a shape from a random stream of this name.
type MakeTarget = fn(&[usize], &str) -> Tensor;

/// Losses of two tensors of one shape, with a domain that both lie in.
fn losses() -> Vec<(Loss, MakeTarget)> {
    let poisson = |log_input, full| -> Loss {
        Box::new(move |x, t, reduction| {
            let options = PoissonNll {
                log_input,
                full,
                reduction,
                ..Default::default()
            };
            poisson_nll_loss(x, t, &options)
        })
    };
    let kl = |log_target| -> Loss {
        Box::new(move |x, t, reduction| {
            let options = KlDiv {
                log_target,
                batch_mean: false,
                reduction,
            };
            kl_div(x, t, &options)
        })
    };
    vec![
        (Box::new(|x, t, r| mse_loss(x, t, r)), random),
        (Box::new(|x, t, r| l1_loss(x, t, r)), random),
        (Box::new(|x, t, r| smooth_l1_loss(x, t, 0.7, r)), random),
        (Box::new(|x, t, r| smooth_l1_loss(x, t, 0.0, r)), random),
        (Box::new(|x, t, r| huber_loss(x, t, 0.6, r)), random),
        (
            Box::new(|x, t, r| binary_cross_entropy(x, t, None, r)),
            inside,
        ),
        (
            Box::new(|x, t, reduction| {
                let options = BceWithLogits {
                    reduction,
                    ..Default::default()
                };
                binary_cross_entropy_with_logits(x, t, &options)
            }),
            random,
        ),
        (kl(false), inside),
        (kl(true), random),
        (poisson(true, false), random),
        (poisson(false, true), |shape, stream| {
            (inside(shape, stream) * 4.0).unwrap()
        }),
        (Box::new(|x, t, r| soft_margin_loss(x, t, r)), random),
        (
            Box::new(|x, t, r| {
                gaussian_nll_loss(
                    x,
                    t,
                    &t.sqr()?,
                    &GaussianNll {
                        full: true,
                        eps: 1e-6,
                        reduction: r,
                    },
                )
            }),
            random,
        ),
        (
            Box::new(|x, t, r| hinge_embedding_loss(x, &t.detach().sign()?, 0.8, r)),
            random,
        ),
        (
            Box::new(|x, t, r| margin_ranking_loss(x, t, &x.detach().sign()?, 0.3, r)),
            random,
        ),
    ]
}

#[test]
fn gradients_of_predictions_and_targets() {
    for (loss, fill) in losses() {
        for (x, t) in pairs(fill) {
            for reduction in REDUCTIONS {
                check(&[x.clone(), t.clone()], |v| loss(&v[0], &v[1], reduction));
            }
        }
        // The same tensor as both arguments gets both gradients.
        check(&[fill(&[3, 2], "both")], |v| {
            loss(&v[0], &(&v[0] * 0.9)?, Reduction::Sum)
        });
    }
}

#[test]
fn weights_multiply_each_element() {
    let (x, t) = (inside(&[4, 3], "x"), inside(&[4, 3], "t"));
    let row = inside(&[3], "w");
    for weight in [row.clone(), inside(&[4, 1], "w"), inside(&[4, 3], "w")] {
        for reduction in REDUCTIONS {
            check(&[x.clone(), t.clone()], |v| {
                binary_cross_entropy(&v[0], &v[1], Some(&weight), reduction)
            });
            for pos_weight in [None, Some(row.clone())] {
                let options = BceWithLogits {
                    weight: Some(weight.clone()),
                    pos_weight,
                    reduction,
                };
                check(&[x.clone(), t.clone()], |v| {
                    binary_cross_entropy_with_logits(&v[0], &v[1], &options)
                });
            }
        }
    }
    let ones = BceWithLogits {
        pos_weight: Some(row.ones_like().unwrap()),
        ..Default::default()
    };
    let with = binary_cross_entropy_with_logits(&x, &t, &ones).unwrap();
    same(
        &with,
        &binary_cross_entropy_with_logits(&x, &t, &BceWithLogits::default()).unwrap(),
        1e-12,
    );
    check(&[x, t], |v| {
        multi_label_soft_margin_loss(&v[0], &v[1], Some(&row), Reduction::None)
    });
}

#[test]
fn the_likelihood_of_classes_is_cross_entropy_in_two_steps() {
    let x = random(&[2, 4, 3], "x");
    let labels = Tensor::new(&[[0_i64, 3, 1], [2, 2, 0]], &Device::Cpu).unwrap();
    for reduction in REDUCTIONS {
        for weight in [None, Some(inside(&[4], "w"))] {
            for ignore_index in [None, Some(2)] {
                let options = Nll {
                    weight: weight.clone(),
                    ignore_index,
                    reduction,
                };
                check(std::slice::from_ref(&x), |v| {
                    nll_loss(&v[0], &labels, &options)
                });
                let two =
                    nll_loss(&crate::ops::log_softmax(&x, 1).unwrap(), &labels, &options).unwrap();
                let options = crate::ops::CrossEntropy {
                    weight: weight.clone(),
                    ignore_index,
                    reduction,
                    label_smoothing: 0.0,
                };
                same(
                    &two,
                    &crate::ops::cross_entropy(&x, &labels, &options).unwrap(),
                    1e-12,
                );
            }
        }
    }
}

#[test]
fn a_mean_over_rows_divides_by_rows() {
    let (x, t) = (
        random(&[4, 3], "x"),
        softmax(&random(&[4, 3], "t"), 1).unwrap(),
    );
    let of = |options: KlDiv| {
        kl_div(&x, &t, &options)
            .unwrap()
            .to_scalar::<f64>()
            .unwrap()
    };
    let sum = of(KlDiv {
        reduction: Reduction::Sum,
        ..Default::default()
    });
    let mean = of(KlDiv {
        batch_mean: true,
        ..Default::default()
    });
    assert!((sum - 4.0 * mean).abs() < 1e-12);
}

#[test]
fn distances_and_margins() {
    let shape = [4, 5];
    let inputs = [
        random(&shape, "a"),
        random(&shape, "p"),
        random(&shape, "n"),
    ];
    for reduction in REDUCTIONS {
        let target = signs(&[4], "t");
        check(&inputs[..2], |v| {
            cosine_embedding_loss(&v[0], &v[1], &target, 0.1, reduction)
        });
        for (p, swap) in [(2.0, false), (2.0, true), (1.0, false), (3.0, false)] {
            let options = TripletMargin {
                margin: 4.0,
                p,
                swap,
                reduction,
                ..Default::default()
            };
            check(&inputs, |v| {
                triplet_margin_loss(&v[0], &v[1], &v[2], &options)
            });
        }
        let labels = Tensor::new(&[0_u32, 4, 1, 1], &Device::Cpu).unwrap();
        let weight = inside(&[5], "w");
        for (p, weight) in [(1, None), (2, Some(&weight))] {
            check(&inputs[..1], |v| {
                multi_margin_loss(&v[0], &labels, p, 1.0, weight, reduction)
            });
        }
    }
    let one = [random(&[5], "a"), random(&[5], "b")];
    let target = signs(&[], "t");
    check(&one, |v| {
        cosine_embedding_loss(&v[0], &v[1], &target, 0.1, Reduction::Mean)
    });
}

#[test]
fn nothing_has_a_sum_of_zero_and_no_mean() {
    let empty = random(&[0, 3], "x");
    for (loss, _) in losses() {
        for fallback in [false, true] {
            let run = |r| match fallback {
                true => crate::with_fallback(|| loss(&empty, &empty, r)),
                false => loss(&empty, &empty, r),
            };
            assert_eq!(
                run(Reduction::Sum).unwrap().to_scalar::<f64>().unwrap(),
                0.0
            );
            assert!(
                run(Reduction::Mean)
                    .unwrap()
                    .to_scalar::<f64>()
                    .unwrap()
                    .is_nan()
            );
            assert_eq!(run(Reduction::None).unwrap().dims(), [0, 3]);
        }
    }
}

#[test]
fn half_precision_is_rounded_once() {
    let half = |t: Tensor| t.to_dtype(DType::BF16).unwrap();
    for (loss, fill) in losses() {
        let (x, t) = (half(fill(&[4, 3], "x")), half(fill(&[4, 3], "t")));
        let y = loss(&x, &t, Reduction::None).unwrap();
        assert_eq!((y.dtype(), y.dims()), (DType::BF16, &[4, 3][..]));
    }
}

#[test]
fn arguments_that_do_not_fit_are_refused() {
    let (x, t) = (random(&[4, 3], "x"), random(&[3], "t"));
    for (loss, _) in losses().into_iter().take(12) {
        let error = loss(&x, &t, Reduction::Mean).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Shape {
                    argument: "target",
                    ..
                }
            ),
            "{error}"
        );
        let narrow = x.to_dtype(DType::F32).unwrap();
        let error = loss(&x, &narrow, Reduction::Mean).unwrap_err();
        assert!(matches!(error, Error::Mixed { .. }), "{error}");
    }
    let error = mse_loss(&x, &t, Reduction::Mean).unwrap_err();
    assert_eq!(
        error.to_string(),
        "mse_loss: target must have shape [4, 3], that of x, but has [3]"
    );
    let error = huber_loss(&x, &x, -1.0, Reduction::Mean).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("huber_loss: delta must be a finite number"),
        "{error}"
    );
    let labels = Tensor::new(&[0_i64, 1, 2, 3], &Device::Cpu).unwrap();
    let error = nll_loss(&x, &labels, &Nll::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nll_loss: labels[3] is 3, but must be below 3"
    );
}

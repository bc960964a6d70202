//! Every normalisation against the naive one, on every instruction set, and against difference quotients.

use super::batch::{batch_backward, batch_moments, channels_backward, channels_forward};
use super::naive::Layout;
use super::*;
use crate::testing::{
    assert_close, assert_gradient, dot, numbers, on_every_isa, same_bits_on_any_threads, singles,
};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Layer,
    Rms,
    Batch,
    /// Batch norm with moments from elsewhere.
    Eval,
    Group(usize),
}

/// The kind over `[n, c, s]`; rows have c · s columns.
#[derive(Clone, Copy, Debug)]
struct Case {
    kind: Kind,
    dims: Dims,
}

struct Results<T> {
    y: Vec<T>,
    moments: Vec<Moments<T>>,
    d_x: Vec<T>,
    d_weight: Vec<T>,
    d_bias: Vec<T>,
}

struct Data<T> {
    x: Vec<T>,
    d_y: Vec<T>,
    weight: Vec<T>,
    bias: Vec<T>,
    eps: T,
}

impl Case {
    fn channels(self) -> usize {
        match self.kind {
            Kind::Layer | Kind::Rms => self.dims.channels * self.dims.space,
            _ => self.dims.channels,
        }
    }

    fn sets(self) -> usize {
        match self.kind {
            Kind::Layer | Kind::Rms => self.dims.samples,
            Kind::Batch | Kind::Eval => self.dims.channels,
            Kind::Group(groups) => self.dims.samples * groups,
        }
    }

    fn data(self) -> Data<f64> {
        let n = self.dims.elements();
        Data {
            x: numbers(n, 1).iter().map(|x| x * 2.0 + 0.7).collect(),
            d_y: numbers(n, 2),
            weight: numbers(self.channels(), 3),
            bias: numbers(self.channels(), 4),
            eps: 1e-3,
        }
    }

    fn fast<T: Real>(self, d: &Data<T>) -> Results<T> {
        let (n, c) = (d.x.len(), self.channels());
        let mut moments = vec![Moments::default(); self.sets()];
        let (mut y, mut d_x) = (vec![T::ZERO; n], vec![T::ONE; n]);
        let (mut d_weight, mut d_bias) = (vec![T::ONE; c], vec![T::ONE; c]);
        let affine = Affine {
            weight: Some(&d.weight),
            bias: Some(&d.bias),
        };
        let gradients = Gradients {
            d_x: Some(&mut d_x),
            d_weight: Some(&mut d_weight),
            d_bias: Some(&mut d_bias),
        };
        let (w, eps) = (affine.weight, d.eps);
        match self.kind {
            Kind::Layer => {
                layer_forward(&d.x, c, affine, eps, &mut y, &mut moments);
                layer_backward(&d.x, c, w, eps, &moments, &d.d_y, gradients);
            }
            Kind::Rms => {
                rms_forward(&d.x, c, w, eps, &mut y, &mut moments);
                rms_backward(&d.x, c, w, eps, &moments, &d.d_y, gradients);
            }
            Kind::Batch => {
                batch_moments(&d.x, self.dims, &mut moments);
                channels_forward(&d.x, self.dims, affine, eps, &moments, &mut y);
                batch_backward(&d.x, self.dims, w, eps, &moments, &d.d_y, gradients);
            }
            Kind::Eval => {
                moments.fill(Moments {
                    mean: T::HALF,
                    var: T::HALF,
                });
                channels_forward(&d.x, self.dims, affine, eps, &moments, &mut y);
                channels_backward(&d.x, self.dims, w, eps, &moments, &d.d_y, gradients);
            }
            Kind::Group(groups) => {
                group_forward(&d.x, self.dims, groups, affine, eps, &mut y, &mut moments);
                group_backward(&d.x, self.dims, groups, w, eps, &moments, &d.d_y, gradients);
            }
        }
        Results {
            y,
            moments,
            d_x,
            d_weight,
            d_bias,
        }
    }

    fn naive(self, d: &Data<f64>) -> Results<f64> {
        let (n, c, s) = (d.x.len(), self.dims.channels, self.dims.space);
        let row = (c * s).max(1);
        let (sets, kind) = (self.sets(), self.kind);
        let set = move |i: usize| match kind {
            Kind::Layer | Kind::Rms => i / row,
            Kind::Batch | Kind::Eval => i / s % c,
            Kind::Group(groups) => i / row * groups + i % row / (row / groups),
        };
        let channel = move |i: usize| match kind {
            Kind::Layer | Kind::Rms => i % row,
            _ => i / s % c,
        };
        let layout = Layout {
            sets,
            set: &set,
            channel: &channel,
            centred: kind != Kind::Rms,
        };
        let (mut y, mut d_x) = (vec![0.0; n], vec![0.0; n]);
        let (mut d_weight, mut d_bias) = (vec![1.0; self.channels()], vec![1.0; self.channels()]);
        let zero = vec![0.0; self.channels()];
        let bias = if kind == Kind::Rms { &zero } else { &d.bias };
        let affine = Affine {
            weight: Some(&d.weight),
            bias: Some(bias),
        };
        let mut moments = layout.moments(&d.x);
        if kind == Kind::Eval {
            moments.fill(Moments {
                mean: 0.5,
                var: 0.5,
            });
        }
        layout.forward(&d.x, affine, d.eps, &moments, &mut y);
        let gradients = Gradients {
            d_x: Some(&mut d_x),
            d_weight: Some(&mut d_weight),
            d_bias: Some(&mut d_bias),
        };
        layout.backward(
            &d.x,
            affine,
            d.eps,
            &moments,
            kind == Kind::Eval,
            &d.d_y,
            gradients,
        );
        Results {
            y,
            moments,
            d_x,
            d_weight,
            d_bias,
        }
    }
}

fn single(d: &Data<f64>) -> Data<f32> {
    Data {
        x: singles(&d.x),
        d_y: singles(&d.d_y),
        weight: singles(&d.weight),
        bias: singles(&d.bias),
        eps: d.eps as f32,
    }
}

fn compare<T: Real + Into<f64>>(case: Case, got: &Results<T>, want: &Results<f64>, tolerance: f64) {
    let pick = |r: &[Moments<T>]| -> Vec<T> { r.iter().flat_map(|m| [m.mean, m.var]).collect() };
    let moments: Vec<f64> = want.moments.iter().flat_map(|m| [m.mean, m.var]).collect();
    let name = |what: &str| format!("{case:?} {what}");
    assert_close(&name("moments"), &pick(&got.moments), &moments, tolerance);
    assert_close(&name("y"), &got.y, &want.y, tolerance);
    // A row of few elements has gradients of the size of 1 / σ.
    assert_close(&name("d_x"), &got.d_x, &want.d_x, tolerance * 40.0);
    assert_close(
        &name("d_weight"),
        &got.d_weight,
        &want.d_weight,
        tolerance * 4.0,
    );
    assert_close(&name("d_bias"), &got.d_bias, &want.d_bias, tolerance);
}

fn check(case: Case) {
    let data = case.data();
    let want = case.naive(&data);
    on_every_isa(|_| {
        compare(case, &case.fast(&data), &want, 1e-11);
        compare(case, &case.fast(&single(&data)), &want, 3e-5);
    });
}

fn kinds() -> impl Strategy<Value = (Kind, usize)> {
    // The second number is a factor of the channels.
    prop_oneof![
        Just((Kind::Layer, 1)),
        Just((Kind::Rms, 1)),
        Just((Kind::Batch, 1)),
        Just((Kind::Eval, 1)),
        (1_usize..4).prop_map(|g| (Kind::Group(g), g)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn fast_equals_naive((kind, factor) in kinds(), samples in 0_usize..6, channels in 0_usize..6, space in 0_usize..40) {
        let dims = Dims { samples, channels: channels * factor, space };
        // Without elements there are no moments to speak of.
        let dims = if dims.elements() == 0 { Dims { samples: 0, ..dims } } else { dims };
        if dims.elements() > 0 || !matches!(kind, Kind::Batch | Kind::Eval) {
            check(Case { kind, dims });
        }
    }
}

#[test]
fn more_rows_and_samples_than_one_task_takes() {
    for kind in [
        Kind::Layer,
        Kind::Rms,
        Kind::Batch,
        Kind::Eval,
        Kind::Group(2),
    ] {
        for (samples, channels, space) in [(700, 6, 1), (300, 2, 100), (3, 4, 5000)] {
            check(Case {
                kind,
                dims: Dims {
                    samples,
                    channels,
                    space,
                },
            });
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for kind in [
        Kind::Layer,
        Kind::Rms,
        Kind::Batch,
        Kind::Eval,
        Kind::Group(2),
    ] {
        for space in [1, 3, 17] {
            let case = Case {
                kind,
                dims: Dims {
                    samples: 3,
                    channels: 4,
                    space,
                },
            };
            let d = case.data();
            let r = case.fast(&d);
            let loss = |d: Data<f64>| dot(&case.fast(&d).y, &d.d_y);
            assert_gradient("x", &d.x, &r.d_x, |x| {
                loss(Data {
                    x: x.to_vec(),
                    ..case.data()
                })
            });
            let minus_one = |g: &[f64]| g.iter().map(|g| g - 1.0).collect::<Vec<f64>>();
            assert_gradient("weight", &d.weight, &minus_one(&r.d_weight), |weight| {
                loss(Data {
                    weight: weight.to_vec(),
                    ..case.data()
                })
            });
            if kind != Kind::Rms {
                assert_gradient("bias", &d.bias, &minus_one(&r.d_bias), |bias| {
                    loss(Data {
                        bias: bias.to_vec(),
                        ..case.data()
                    })
                });
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for kind in [
        Kind::Layer,
        Kind::Rms,
        Kind::Batch,
        Kind::Eval,
        Kind::Group(2),
    ] {
        for (samples, channels, space) in [(1000, 6, 3), (30, 8, 700)] {
            let case = Case {
                kind,
                dims: Dims {
                    samples,
                    channels,
                    space,
                },
            };
            let data = single(&case.data());
            same_bits_on_any_threads(|| {
                let r = case.fast(&data);
                [r.y, r.d_x, r.d_weight, r.d_bias].concat()
            });
        }
    }
}

#[test]
fn gradients_that_nobody_wants_are_left_out() {
    let x = numbers(12, 1);
    let mut moments = vec![Moments::default(); 3];
    let mut y = vec![0.0; 12];
    layer_forward(&x, 4, Affine::NONE, 1e-5, &mut y, &mut moments);
    let mut d_bias = [0.0; 4];
    let gradients = Gradients {
        d_x: None,
        d_weight: None,
        d_bias: Some(&mut d_bias),
    };
    layer_backward(&x, 4, None, 1e-5, &moments, &[1.0; 12], gradients);
    assert_eq!(d_bias, [3.0; 4]);
}

/// Results of 16 MB are written past the caches, which is another way through the same arithmetic.
#[test]
fn results_that_no_cache_holds_are_those_of_their_rows() {
    const COLS: usize = 1030;
    let rows = (16 << 20) / size_of::<f32>() / COLS + 2;
    let x = singles(&numbers(rows * COLS, 1));
    let d_y = singles(&numbers(rows * COLS, 2));
    let weight = singles(&numbers(COLS, 3));
    let norm = |x: &[f32], d_y: &[f32]| {
        let affine = Affine {
            weight: Some(&weight),
            bias: None,
        };
        let mut moments = vec![Moments::default(); x.len() / COLS];
        let (mut y, mut d_x) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        layer_forward(x, COLS, affine, 1e-5, &mut y, &mut moments);
        let gradients = Gradients {
            d_x: Some(&mut d_x),
            d_weight: None,
            d_bias: None,
        };
        layer_backward(x, COLS, Some(&weight), 1e-5, &moments, d_y, gradients);
        (y, d_x)
    };
    let (y, d_x) = norm(&x, &d_y);
    for row in [0, 1, rows / 2, rows - 1] {
        let span = row * COLS..(row + 1) * COLS;
        let of_row = norm(&x[span.clone()], &d_y[span.clone()]);
        assert_eq!((&y[span.clone()], &d_x[span]), (&*of_row.0, &*of_row.1));
    }
}

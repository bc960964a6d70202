//! Fused batch norm against the naive one with a sum and an activation behind it.

use super::super::naive::Layout;
use super::*;
use crate::testing::{assert_close, numbers, on_every_isa, same_bits_on_any_threads, singles};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
struct Case {
    dims: Dims,
    activation: Activation,
    branch: bool,
    given: bool,
}

struct Data<T> {
    x: Vec<T>,
    branch: Vec<T>,
    d_y: Vec<T>,
    weight: Vec<T>,
    bias: Vec<T>,
}

/// y, d_x, d_weight, d_bias, d_branch
type Results<T> = [Vec<T>; 5];

impl Case {
    fn data(self) -> Data<f64> {
        let (n, c) = (self.dims.elements(), self.dims.channels);
        Data {
            x: numbers(n, 1).iter().map(|x| x * 2.0 + 0.7).collect(),
            branch: numbers(n, 2),
            d_y: numbers(n, 3),
            weight: numbers(c, 4).iter().map(|w| w + 1.5).collect(),
            bias: numbers(c, 5),
        }
    }

    /// Moments for evaluation.
    fn moments<T: Real>(self) -> Vec<Moments<T>> {
        let moment = |c: usize| Moments {
            mean: T::from_f64(0.1 * c as f64),
            var: T::from_f64(0.5 + c as f64),
        };
        (0..self.dims.channels).map(moment).collect()
    }

    fn fast<T: Real>(self, d: &Data<T>) -> Results<T> {
        let n = d.x.len();
        let fused = Fused {
            dims: self.dims,
            affine: Affine {
                weight: Some(&d.weight),
                bias: Some(&d.bias),
            },
            eps: T::from_f64(1e-3),
            activation: self.activation,
        };
        let mut moments = self.moments();
        let mut y = vec![T::from_f64(9.0); n];
        let branch = self.branch.then_some(&d.branch[..]);
        fused.forward(&d.x, branch, self.given, &mut moments, &mut y);
        let (mut d_x, mut d_branch) = (y.clone(), y.clone());
        let mut d_weight = vec![T::ONE; self.dims.channels];
        let mut d_bias = d_weight.clone();
        let gradients = Gradients {
            d_x: Some(&mut d_x),
            d_weight: Some(&mut d_weight),
            d_bias: Some(&mut d_bias),
        };
        let d_room = self.branch.then_some(&mut d_branch[..]);
        let kept = self.branch.then_some(&y[..]);
        fused.backward(&d.x, kept, self.given, &moments, &d.d_y, gradients, d_room);
        if !self.branch {
            d_branch.clear();
        }
        [y, d_x, d_weight, d_bias, d_branch]
    }

    fn naive(self, d: &Data<f64>) -> Results<f64> {
        let Dims {
            channels, space, ..
        } = self.dims;
        let channel = move |i: usize| i / space.max(1) % channels.max(1);
        let layout = Layout {
            sets: channels,
            set: &channel,
            channel: &channel,
            centred: true,
        };
        let affine = Affine {
            weight: Some(&d.weight),
            bias: Some(&d.bias),
        };
        let n = d.x.len();
        let moments = match self.given {
            true => self.moments(),
            false => layout.moments(&d.x),
        };
        let mut z = vec![0.0; n];
        layout.forward(&d.x, affine, 1e-3, &moments, &mut z);
        if self.branch {
            z.iter_mut().zip(&d.branch).for_each(|(z, b)| *z += b);
        }
        let (mut y, mut d_z) = (vec![0.0; n], vec![0.0; n]);
        activation::forward(self.activation, &z, &mut y);
        let saved = match self.activation.saves() {
            Saves::Output => &y,
            _ => &z,
        };
        activation::backward(self.activation, saved, &d.d_y, &mut d_z);
        let (mut d_x, mut d_weight, mut d_bias) =
            (vec![0.0; n], vec![1.0; channels], vec![1.0; channels]);
        let gradients = Gradients {
            d_x: Some(&mut d_x),
            d_weight: Some(&mut d_weight),
            d_bias: Some(&mut d_bias),
        };
        layout.backward(&d.x, affine, 1e-3, &moments, self.given, &d_z, gradients);
        let d_branch = if self.branch { d_z } else { Vec::new() };
        [y, d_x, d_weight, d_bias, d_branch]
    }
}

fn single(d: &Data<f64>) -> Data<f32> {
    Data {
        x: singles(&d.x),
        branch: singles(&d.branch),
        d_y: singles(&d.d_y),
        weight: singles(&d.weight),
        bias: singles(&d.bias),
    }
}

fn check(case: Case) {
    let data = case.data();
    let want = case.naive(&data);
    let names = ["y", "d_x", "d_weight", "d_bias", "d_branch"];
    on_every_isa(|isa| {
        let got = case.fast(&data);
        for ((name, got), want) in names.iter().zip(&got).zip(&want) {
            assert_close(&format!("{name} of {case:?} on {isa:?}"), got, want, 1e-9);
        }
    });
    // Single precision may find the other side of a gate where a sum is next to zero; smooth activations have none.
    if !matches!(case.activation, Activation::Relu | Activation::Relu6) {
        let data = single(&data);
        on_every_isa(|isa| {
            let got = case.fast(&data);
            for ((name, got), want) in names.iter().zip(&got).zip(&want) {
                assert_close(&format!("{name} of {case:?} on {isa:?}"), got, want, 2e-4);
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn fused_equals_naive(
        samples in 0_usize..5,
        channels in 1_usize..5,
        space in prop_oneof![0_usize..40, 500_usize..530],
        kind in 0_usize..4,
        branch: bool,
        given: bool,
    ) {
        // Activations that need their input take no branch here.
        let kinds = [Activation::Identity, Activation::Relu, Activation::Tanh, Activation::Silu];
        let activation = kinds[kind];
        let branch = branch && activation.saves() != Saves::Input;
        // A batch of a few elements has next to no variance, and its gradients no digits.
        let given = given || samples * space < 4;
        check(Case { dims: Dims { samples, channels, space }, activation, branch, given });
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for (samples, channels, space) in [(40, 6, 700), (900, 20, 1)] {
        for branch in [false, true] {
            let case = Case {
                dims: Dims {
                    samples,
                    channels,
                    space,
                },
                activation: Activation::Relu,
                branch,
                given: false,
            };
            let data = single(&case.data());
            same_bits_on_any_threads(|| case.fast(&data).concat());
        }
    }
}

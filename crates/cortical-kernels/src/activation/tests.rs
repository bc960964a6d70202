//! Every activation: its derivative, its precision on every instruction set, and in place.

use super::*;
use crate::isa::InstructionSet;

/// A grid that meets no kink exactly.
fn grid() -> Vec<f64> {
    (-400..400)
        .map(|i| f64::from(i) * 0.0237 + 0.0011)
        .collect()
}

#[test]
fn derivatives_are_central_differences() {
    let x = grid();
    let ones = vec![1.0; x.len()];
    let h = 1e-6;
    for activation in ALL {
        let at = |shift: f64| {
            let moved: Vec<f64> = x.iter().map(|x| x + shift).collect();
            let mut y = vec![0.0; x.len()];
            forward(activation, &moved, &mut y);
            y
        };
        let y = at(0.0);
        let saved = if activation.saves() == Saves::Output {
            &y
        } else {
            &x
        };
        let mut d_x = vec![0.0; x.len()];
        backward(activation, saved, &ones, &mut d_x);
        for (i, (high, low)) in at(h).iter().zip(at(-h)).enumerate() {
            let want = (high - low) / (2.0 * h);
            assert!(
                (d_x[i] - want).abs() < 1e-7,
                "{activation:?} at {}: {} {want}",
                x[i],
                d_x[i]
            );
        }
    }
}

#[test]
fn single_precision_follows_double_on_every_instruction_set() {
    let x: Vec<f32> = grid().iter().map(|x| *x as f32).collect();
    let wide: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    for activation in ALL {
        let mut want = vec![0.0; x.len()];
        forward(activation, &wide, &mut want);
        let mut d_want = vec![0.0; x.len()];
        let saved_wide = if activation.saves() == Saves::Output {
            &want
        } else {
            &wide
        };
        backward(activation, saved_wide, &wide, &mut d_want);
        for set in [
            InstructionSet::Portable,
            InstructionSet::Avx2,
            InstructionSet::Avx512,
        ] {
            isa::limited_to(set, || {
                let (mut y, mut d_x) = (vec![0.0; x.len()], vec![0.0; x.len()]);
                forward(activation, &x, &mut y);
                let saved = if activation.saves() == Saves::Output {
                    &y
                } else {
                    &x
                };
                backward(activation, saved, &x, &mut d_x);
                for i in 0..x.len() {
                    let scale = 1.0 + want[i].abs();
                    assert!(
                        (f64::from(y[i]) - want[i]).abs() < 1e-6 * scale,
                        "{activation:?} {set:?} at {}",
                        x[i]
                    );
                    let scale = 1.0 + d_want[i].abs();
                    assert!(
                        (f64::from(d_x[i]) - d_want[i]).abs() < 4e-6 * scale,
                        "{activation:?}' {set:?} at {}: {} {}",
                        x[i],
                        d_x[i],
                        d_want[i]
                    );
                }
            });
        }
    }
}

#[test]
fn in_place_equals_out_of_place() {
    let x: Vec<f32> = grid().iter().map(|x| *x as f32).collect();
    for activation in ALL {
        let (mut a, mut b) = (x.clone(), vec![0.0; x.len()]);
        forward_in_place(isa::current(), activation, &mut a);
        forward(activation, &x, &mut b);
        assert!(a == b, "{activation:?}");
    }
}

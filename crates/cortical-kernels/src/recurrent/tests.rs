//! The fast layers against the equations and against difference quotients.

use super::*;
use crate::testing::{
    assert_close, assert_gradient, dot, numbers, on_every_isa, same_bits_on_any_threads, singles,
};
use proptest::prelude::*;

const CELLS: [Cell; 4] = [Cell::RnnTanh, Cell::RnnRelu, Cell::Lstm, Cell::Gru];

#[derive(Clone)]
struct Data<T> {
    x: Vec<T>,
    w_ih: Vec<T>,
    w_hh: Vec<T>,
    b_ih: Vec<T>,
    b_hh: Vec<T>,
    h_0: Vec<T>,
    c_0: Vec<T>,
    d_y: Vec<T>,
    d_h_n: Vec<T>,
    d_c_n: Vec<T>,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    cell: Cell,
    sequence: Sequence,
    bias: bool,
}

impl Case {
    fn data(&self) -> Data<f64> {
        let Sequence {
            steps,
            batch,
            input,
            hidden,
            ..
        } = self.sequence;
        let width = self.cell.gates() * hidden;
        let scaled = |n, seed| numbers(n, seed).iter().map(|w| 0.7 * w).collect();
        Data {
            x: numbers(steps * batch * input, 1),
            w_ih: scaled(width * input, 2),
            w_hh: scaled(width * hidden, 3),
            b_ih: numbers(width, 4),
            b_hh: numbers(width, 5),
            h_0: numbers(batch * hidden, 6),
            c_0: numbers(batch * hidden, 7),
            d_y: numbers(steps * batch * hidden, 8),
            d_h_n: numbers(batch * hidden, 9),
            d_c_n: numbers(batch * hidden, 10),
        }
    }

    fn weights<'a, T>(&self, d: &'a Data<T>) -> Weights<'a, T> {
        Weights {
            w_ih: &d.w_ih,
            w_hh: &d.w_hh,
            b_ih: self.bias.then_some(&d.b_ih),
            b_hh: self.bias.then_some(&d.b_hh),
        }
    }

    fn c_0<'a, T>(&self, d: &'a Data<T>) -> Option<&'a [T]> {
        (self.cell == Cell::Lstm).then_some(&d.c_0)
    }

    fn forward<T: Real>(&self, d: &Data<T>) -> (Vec<T>, Vec<T>, Vec<T>, Saved<T>) {
        let mut y = vec![T::ONE; d.d_y.len()];
        let (mut h, mut c) = (d.h_0.clone(), d.c_0.clone());
        let finals = Finals {
            h: &mut h,
            c: (self.cell == Cell::Lstm).then_some(&mut c),
        };
        let saved = forward(
            self.cell,
            self.sequence,
            &d.x,
            self.weights(d),
            &d.h_0,
            self.c_0(d),
            &mut y,
            finals,
        );
        if self.cell != Cell::Lstm {
            c.fill(T::ZERO);
        }
        (y, h, c, saved)
    }

    fn backward<T: Real>(&self, d: &Data<T>) -> Gradients<T> {
        let (y, _, _, saved) = self.forward(d);
        let upstream = Upstream {
            d_y: &d.d_y,
            d_h_n: Some(&d.d_h_n),
            d_c_n: self.c_0(d).map(|_| &d.d_c_n[..]),
        };
        backward(
            self.cell,
            self.sequence,
            &d.x,
            self.weights(d),
            &d.h_0,
            self.c_0(d),
            &y,
            &saved,
            upstream,
        )
    }

    fn loss(&self, d: &Data<f64>) -> f64 {
        let (y, h, c, _) = self.forward(d);
        dot(&y, &d.d_y) + dot(&h, &d.d_h_n) + dot(&c, &d.d_c_n)
    }
}

fn single(d: &Data<f64>) -> Data<f32> {
    Data {
        x: singles(&d.x),
        w_ih: singles(&d.w_ih),
        w_hh: singles(&d.w_hh),
        b_ih: singles(&d.b_ih),
        b_hh: singles(&d.b_hh),
        h_0: singles(&d.h_0),
        c_0: singles(&d.c_0),
        d_y: singles(&d.d_y),
        d_h_n: singles(&d.d_h_n),
        d_c_n: singles(&d.d_c_n),
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = (0_usize..4, 0_usize..37, 0_usize..6, 0_usize..20);
    (sizes, 0_usize..4, any::<(bool, bool, bool)>()).prop_map(
        |((steps, batch, input, hidden), cell, (batch_first, reverse, bias))| Case {
            cell: CELLS[cell],
            sequence: Sequence {
                steps,
                batch,
                input,
                hidden,
                batch_first,
                reverse,
            },
            bias,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn fast_equals_naive(case in cases()) {
        let data = case.data();
        let (y, h, c) = forward_naive(case.cell, case.sequence, &data.x, case.weights(&data), &data.h_0, case.c_0(&data));
        let c = if case.cell == Cell::Lstm { c } else { vec![0.0; c.len()] };
        let want = case.backward(&data);
        let narrow = single(&data);
        on_every_isa(|_| {
            let got = case.forward(&data);
            let got32 = case.forward(&narrow);
            for (name, got, got32, want) in [("y", got.0, got32.0, &y), ("h", got.1, got32.1, &h), ("c", got.2, got32.2, &c)] {
                assert_close(name, &got, want, 1e-12);
                assert_close(name, &got32, want, 1e-5);
            }
            let got = case.backward(&narrow);
            for (name, got, want) in [
                ("d_x", got.x, &want.x), ("d_h_0", got.h_0, &want.h_0), ("d_c_0", got.c_0, &want.c_0),
                ("d_w_ih", got.w_ih, &want.w_ih), ("d_w_hh", got.w_hh, &want.w_hh),
                ("d_b_ih", got.b_ih, &want.b_ih), ("d_b_hh", got.b_hh, &want.b_hh),
            ] {
                assert_close(name, &got, want, 3e-5);
            }
        });
    }
}

#[test]
fn gradients_are_central_differences() {
    for cell in CELLS {
        for (batch_first, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
            let sequence = Sequence {
                steps: 3,
                batch: 5,
                input: 2,
                hidden: 3,
                batch_first,
                reverse,
            };
            let case = Case {
                cell,
                sequence,
                bias: true,
            };
            let d = case.data();
            let g = case.backward(&d);
            let moved = |set: &dyn Fn(&mut Data<f64>)| {
                let mut d = d.clone();
                set(&mut d);
                case.loss(&d)
            };
            assert_gradient("x", &d.x, &g.x, |v| moved(&|d| d.x = v.to_vec()));
            assert_gradient("h_0", &d.h_0, &g.h_0, |v| moved(&|d| d.h_0 = v.to_vec()));
            if cell == Cell::Lstm {
                assert_gradient("c_0", &d.c_0, &g.c_0, |v| moved(&|d| d.c_0 = v.to_vec()));
            }
            assert_gradient("w_ih", &d.w_ih, &g.w_ih, |v| {
                moved(&|d| d.w_ih = v.to_vec())
            });
            assert_gradient("w_hh", &d.w_hh, &g.w_hh, |v| {
                moved(&|d| d.w_hh = v.to_vec())
            });
            assert_gradient("b_ih", &d.b_ih, &g.b_ih, |v| {
                moved(&|d| d.b_ih = v.to_vec())
            });
            assert_gradient("b_hh", &d.b_hh, &g.b_hh, |v| {
                moved(&|d| d.b_hh = v.to_vec())
            });
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for cell in CELLS {
        let sequence = Sequence {
            steps: 5,
            batch: 37,
            input: 20,
            hidden: 70,
            batch_first: true,
            reverse: false,
        };
        let case = Case {
            cell,
            sequence,
            bias: true,
        };
        let data = single(&case.data());
        same_bits_on_any_threads(|| {
            let (y, h, _, _) = case.forward(&data);
            let g = case.backward(&data);
            [y, h, g.x, g.h_0, g.c_0, g.w_ih, g.w_hh, g.b_ih, g.b_hh].concat()
        });
    }
}

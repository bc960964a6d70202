//! The blocked kernels against the naive ones: shapes, masks, groups, layouts, instruction sets and threads.

use super::*;
use crate::softmax::Shift;
use crate::testing::{
    assert_close, assert_gradient, dot, numbers, on_every_isa, same_bits_on_any_threads, singles,
};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum MaskKind {
    None,
    Keep,
    /// One row for all queries and heads of a sequence, as for padding.
    KeepKeys,
    Add,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    sizes: Sizes,
    causal: Option<usize>,
    mask: MaskKind,
    softcap: bool,
    dropout: bool,
    heads_inside: bool,
}

struct Data<T> {
    q: Vec<T>,
    k: Vec<T>,
    v: Vec<T>,
    d_o: Vec<T>,
    keep: Vec<u8>,
    add: Vec<T>,
}

impl Case {
    fn data(&self) -> Data<f64> {
        let n = |shape: [usize; 4]| shape.iter().product::<usize>();
        let mask = self.sizes.batch * self.sizes.heads * self.sizes.queries * self.sizes.keys;
        let add = numbers(mask, 5);
        Data {
            q: numbers(n(self.sizes.q()), 1)
                .iter()
                .map(|q| 2.0 * q)
                .collect(),
            k: numbers(n(self.sizes.k()), 2),
            v: numbers(n(self.sizes.v()), 3),
            d_o: numbers(n(self.sizes.o()), 4),
            keep: add.iter().map(|a| u8::from(*a < 0.4)).collect(),
            add: add
                .iter()
                .map(|a| if *a > 0.9 { f64::NEG_INFINITY } else { *a })
                .collect(),
        }
    }

    fn strides(&self, [_, heads, rows, dim]: [usize; 4]) -> Strides {
        if self.heads_inside {
            Strides::heads_inside(heads, rows, dim)
        } else {
            Strides::heads_outside(heads, rows, dim)
        }
    }

    fn options<'a, T: Real>(&self, data: &'a Data<T>) -> Options<'a, T> {
        let Sizes {
            heads,
            queries,
            keys,
            dim,
            ..
        } = self.sizes;
        let full = Strides::heads_outside(heads, queries, keys);
        let mask = match self.mask {
            MaskKind::None => None,
            MaskKind::Keep => Some(Mask {
                values: MaskValues::Keep(&data.keep),
                strides: full,
            }),
            MaskKind::KeepKeys => {
                let strides = Strides {
                    batch: keys,
                    head: 0,
                    row: 0,
                };
                Some(Mask {
                    values: MaskValues::Keep(&data.keep),
                    strides,
                })
            }
            MaskKind::Add => Some(Mask {
                values: MaskValues::Add(&data.add),
                strides: full,
            }),
        };
        Options {
            scale: T::from_f64(1.0 / (dim.max(1) as f64).sqrt()),
            // So low that it bends scores of 2 and less.
            softcap: self.softcap.then(|| T::from_f64(1.5)),
            causal: self.causal,
            mask,
            dropout: self.dropout.then_some(Dropout {
                key: [7, 9],
                p: 0.3,
            }),
        }
    }

    fn view<'a, T: Real>(&self, data: &'a [T], shape: [usize; 4]) -> Heads<'a, T> {
        Heads {
            data,
            strides: self.strides(shape),
        }
    }

    /// Output, log-sum-exp, d_q, d_k, d_v.
    fn fast<T: Real>(&self, data: &Data<T>) -> [Vec<T>; 5] {
        let s = self.sizes;
        let qkv = [
            self.view(&data.q, s.q()),
            self.view(&data.k, s.k()),
            self.view(&data.v, s.v()),
        ];
        let [q, k, v] = qkv;
        let options = self.options(data);
        let mut output = vec![T::ONE; data.d_o.len()];
        let mut shifts = vec![Shift::default(); s.batch * s.heads * s.queries];
        let out = HeadsMut {
            data: &mut output,
            strides: self.strides(s.o()),
        };
        forward(s, q, k, v, options, out, &mut shifts);
        let [mut d_q, mut d_k, mut d_v] =
            [&data.q, &data.k, &data.v].map(|x| vec![T::ONE; x.len()]);
        let gradients = Gradients {
            d_q: HeadsMut {
                data: &mut d_q,
                strides: self.strides(s.q()),
            },
            d_k: HeadsMut {
                data: &mut d_k,
                strides: self.strides(s.k()),
            },
            d_v: HeadsMut {
                data: &mut d_v,
                strides: self.strides(s.v()),
            },
        };
        let d_o = self.view(&data.d_o, s.o());
        backward(
            s,
            qkv,
            options,
            self.view(&output, s.o()),
            &shifts,
            d_o,
            gradients,
        );
        let lse = shifts.iter().map(|s| s.max + s.log_sum).collect();
        [output, lse, d_q, d_k, d_v]
    }

    /// From a contiguous tensor with heads outside to this case's order.
    fn reorder(&self, x: &[f64], shape: [usize; 4]) -> Vec<f64> {
        let [batch, heads, rows, dim] = shape;
        let (from, to) = (
            Strides::heads_outside(heads, rows, dim),
            self.strides(shape),
        );
        let mut out = vec![0.0; x.len()];
        for b in 0..batch {
            for h in 0..heads {
                for r in 0..rows {
                    out[to.at(b, h, r)..][..dim].copy_from_slice(&x[from.at(b, h, r)..][..dim]);
                }
            }
        }
        out
    }

    fn check(&self) {
        let s = self.sizes;
        let data = self.data();
        let qkv = [
            self.view(&data.q, s.q()),
            self.view(&data.k, s.k()),
            self.view(&data.v, s.v()),
        ];
        let options = self.options(&data);
        let (output, lse) = forward_naive(s, qkv, options);
        let [d_q, d_k, d_v] = backward_naive(s, qkv, options, self.view(&data.d_o, s.o()));
        let want = [
            self.reorder(&output, s.o()),
            lse,
            self.reorder(&d_q, s.q()),
            self.reorder(&d_k, s.k()),
            self.reorder(&d_v, s.v()),
        ];
        let single = Data {
            q: singles(&data.q),
            k: singles(&data.k),
            v: singles(&data.v),
            d_o: singles(&data.d_o),
            keep: data.keep.clone(),
            add: singles(&data.add),
        };
        on_every_isa(|isa| {
            let names = ["output", "lse", "d_q", "d_k", "d_v"];
            let got = self.fast(&data);
            let got32 = self.fast(&single);
            for (i, name) in names.into_iter().enumerate() {
                let name = format!("{self:?} {isa:?} {name}");
                assert_close(&name, &got[i], &want[i], 1e-12);
                assert_close(&name, &got32[i], &want[i], 2e-5);
            }
        });
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = (
        0_usize..3,
        1_usize..4,
        1_usize..4,
        0_usize..90,
        0_usize..90,
        0_usize..20,
        0_usize..20,
    );
    let mask = prop_oneof![
        Just(MaskKind::None),
        Just(MaskKind::Keep),
        Just(MaskKind::KeepKeys),
        Just(MaskKind::Add)
    ];
    (
        sizes,
        prop::option::of(0_usize..30),
        mask,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(
                (batch, kv_heads, group, queries, keys, dim, value_dim),
                causal,
                mask,
                softcap,
                dropout,
                heads_inside,
            )| {
                let sizes = Sizes {
                    batch,
                    heads: kv_heads * group,
                    kv_heads,
                    queries,
                    keys,
                    dim,
                    value_dim,
                };
                Case {
                    sizes,
                    causal,
                    mask,
                    softcap,
                    dropout,
                    heads_inside,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn fast_equals_naive(case in cases()) {
        case.check();
    }
}

const LONG: Sizes = Sizes {
    batch: 1,
    heads: 2,
    kv_heads: 1,
    queries: 150,
    keys: 600,
    dim: 16,
    value_dim: 24,
};

#[test]
fn several_blocks_of_keys() {
    for (causal, mask, softcap) in [
        (None, MaskKind::None, false),
        (Some(450), MaskKind::None, true),
        (Some(0), MaskKind::Add, false),
        (None, MaskKind::Keep, true),
    ] {
        Case {
            sizes: LONG,
            causal,
            mask,
            softcap,
            dropout: true,
            heads_inside: true,
        }
        .check();
    }
    // Many heads take the other way through the backward pass.
    let sizes = Sizes {
        batch: 4,
        heads: 4,
        kv_heads: 2,
        queries: 70,
        keys: 300,
        dim: 8,
        value_dim: 8,
    };
    Case {
        sizes,
        causal: Some(230),
        mask: MaskKind::None,
        softcap: false,
        dropout: false,
        heads_inside: false,
    }
    .check();
}

#[test]
fn one_query_reads_a_cache() {
    let sizes = Sizes {
        batch: 2,
        heads: 4,
        kv_heads: 2,
        queries: 1,
        keys: 300,
        dim: 12,
        value_dim: 12,
    };
    Case {
        sizes,
        causal: Some(299),
        mask: MaskKind::None,
        softcap: false,
        dropout: false,
        heads_inside: true,
    }
    .check();
}

#[test]
fn gradients_are_central_differences() {
    let sizes = Sizes {
        batch: 2,
        heads: 4,
        kv_heads: 2,
        queries: 5,
        keys: 6,
        dim: 3,
        value_dim: 2,
    };
    for softcap in [false, true] {
        let case = Case {
            sizes,
            causal: Some(1),
            mask: MaskKind::Keep,
            softcap,
            dropout: true,
            heads_inside: false,
        };
        let data = case.data();
        let [_, _, d_q, d_k, d_v] = case.fast(&data);
        let loss = |d: Data<f64>| dot(&case.fast(&d)[0], &d.d_o);
        assert_gradient("q", &data.q, &d_q, |q| {
            loss(Data {
                q: q.to_vec(),
                ..case.data()
            })
        });
        assert_gradient("k", &data.k, &d_k, |k| {
            loss(Data {
                k: k.to_vec(),
                ..case.data()
            })
        });
        assert_gradient("v", &data.v, &d_v, |v| {
            loss(Data {
                v: v.to_vec(),
                ..case.data()
            })
        });
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for (batch, causal) in [(1, Some(450)), (8, None)] {
        let sizes = Sizes { batch, ..LONG };
        let case = Case {
            sizes,
            causal,
            mask: MaskKind::None,
            softcap: false,
            dropout: false,
            heads_inside: true,
        };
        let data = case.data();
        let single = Data {
            q: singles(&data.q),
            k: singles(&data.k),
            v: singles(&data.v),
            d_o: singles(&data.d_o),
            keep: data.keep.clone(),
            add: singles(&data.add),
        };
        same_bits_on_any_threads(|| case.fast(&single).concat());
    }
}

#[test]
#[should_panic(expected = "rows of output overlap")]
fn rows_that_overlap_are_refused() {
    let sizes = Sizes {
        batch: 1,
        heads: 2,
        kv_heads: 2,
        queries: 2,
        keys: 2,
        dim: 2,
        value_dim: 2,
    };
    let x = [0.0; 8];
    let view = Heads {
        data: &x,
        strides: Strides::heads_outside(2, 2, 2),
    };
    let options = Options {
        scale: 1.0,
        softcap: None,
        causal: None,
        mask: None,
        dropout: None,
    };
    let strides = Strides {
        batch: 8,
        head: 2,
        row: 2,
    };
    forward(
        sizes,
        view,
        view,
        view,
        options,
        HeadsMut {
            data: &mut [0.0; 8],
            strides,
        },
        &mut [Shift::default(); 4],
    );
}

//! Embedding, rotary positions, attention and recurrence.

use crate::subject::{Case, Fill, Subject, numbers, subject};
use candle_core::{DType, Device, Tensor};
use cortical_kernels::recurrent::Cell;
use cortical_kernels::rope::Pairs;
use cortical_tensor::ops::{
    Attention, HeadOrder, RecurrentWeights, SeenKeys, Time, attention, attention_dropout,
    attention_rows, embedding, recurrent, rotary, rotary_angles,
};
use cortical_tensor::{Rng, Seed};

pub(crate) fn table() -> Vec<Subject> {
    [rows(), attentions(), recurrences()]
        .into_iter()
        .flatten()
        .collect()
}

fn rows() -> Vec<Subject> {
    vec![
        subject(
            "embedding",
            Case::Of("embedding", "layer-Embedding-"),
            |p, t| {
                let rows = t[0].dims().first().copied().unwrap_or(1);
                // A batch of indices for each column of the table, so that an empty table is not asked for a row.
                let n = if rows == 0 {
                    0
                } else {
                    t[0].dims().last().map_or(1, |d| *d * 40)
                };
                let indices = p.labels(&[n.min(9000)], rows);
                embedding(&indices, &t[0], p.choose(&[None, Some(1)]))
            },
        )
        .shapes(&[&[&[5, 3]], &[&[1, 1]], &[&[0, 2]], &[&[3, 0]]])
        .large(&[&[50, 64]]),
        subject(
            "embedding",
            Case::Of("embedding", "layer-Embedding-padding"),
            |p, t| {
                let rows = t[0].dims().first().copied().unwrap_or(1);
                let indices = p.labels(&[2, 3], rows);
                // The row of padding gets no gradient, so a difference quotient sees it: nothing may be picked from it.
                embedding(&indices, &t[0], Some(p.size(1 << 30) as u32))
            },
        )
        .with("padding")
        .shapes(&[&[&[5, 3]], &[&[1, 1]], &[&[3, 0]]])
        .large(&[&[50, 64]]),
        subject("rotary", Case::Of("rotary", "function-rotary-"), |p, t| {
            let rows = t[0].dims().get(2).copied().unwrap_or(1);
            let angle = |p: &mut crate::pick::Pick| {
                p.constant(Fill::Normal, &[rows.min(64), 2], t[0].dtype())
            };
            let (cos, sin) = (angle(p), angle(p));
            rotary(
                &t[0],
                &cos,
                &sin,
                p.choose(&[Pairs::Halves, Pairs::Neighbours]),
                HeadOrder::Outside,
            )
        })
        .shapes(&[&[&[2, 2, 3, 5]], &[&[0, 1, 2, 4]]])
        .shapes(&[&[&[1, 1, 1, 4]]])
        .large(&[&[20, 8, 9, 64]]),
        subject(
            "rotary_angles",
            Case::Of("rotary_angles", "function-rotary-"),
            |p, t| {
                let frequencies = [p.real(1.0), p.real(0.5)];
                let start = p.size(3);
                let positions = start..start.saturating_add(p.size(4));
                let dtype = t[0].dtype();
                let (cos, sin) = rotary_angles(positions, &frequencies, dtype, &Device::Cpu)?;
                Ok(Tensor::cat(&[cos, sin], 0)?)
            },
        )
        .shapes(&[&[&[2]], &[&[0]], &[&[1]]])
        .large(&[&[10]])
        .without_gradient(),
    ]
}

fn attentions() -> Vec<Subject> {
    let case = Case::Of("attention", "function-scaled_dot_product_attention-");
    let plain = |with, causal: Option<usize>| {
        subject("attention", case, move |p, t| {
            let options = Attention {
                scale: p.flag(false).then(|| p.real(0.3)),
                causal: p.choose(&[causal, None, Some(0), Some(usize::MAX)]),
                ..Default::default()
            };
            attention(&t[0], &t[1], &t[2], options)
        })
        .with(with)
        .shapes(&[&[&[2, 2, 3, 4], &[2, 1, 5, 4], &[2, 1, 5, 3]]])
        .shapes(&[&[&[0, 2, 3, 2], &[0, 2, 3, 2], &[0, 2, 3, 2]]])
        .shapes(&[&[&[1, 1, 1, 1], &[1, 1, 1, 1], &[1, 1, 1, 1]]])
        .large(&[&[2, 4, 150, 32], &[2, 2, 170, 32], &[2, 2, 170, 24]])
    };
    vec![
        plain("plain", None),
        plain("causal", Some(2)),
        subject("attention", case, |p, t| {
            let queries = t[0].dims().get(1).copied().unwrap_or(1);
            let keys = t[1].dims().get(1).copied().unwrap_or(1);
            let shape = [1, 1, queries.min(200), keys.min(200)];
            let mask = p.constant(Fill::Normal, &shape, t[0].dtype());
            let options = Attention {
                mask: Some(&mask),
                order: HeadOrder::Inside,
                ..Default::default()
            };
            attention(&t[0], &t[1], &t[2], options)
        })
        .with("masked, heads inside")
        .shapes(&[&[&[2, 3, 2, 4], &[2, 5, 2, 4], &[2, 5, 2, 3]]])
        .shapes(&[&[&[0, 3, 2, 2], &[0, 3, 2, 2], &[0, 3, 2, 2]]])
        .shapes(&[&[&[1, 1, 1, 1], &[1, 1, 1, 1], &[1, 1, 1, 1]]])
        .large(&[&[2, 150, 4, 32], &[2, 170, 4, 32], &[2, 170, 4, 24]]),
        subject(
            "attention_dropout",
            Case::None("no two libraries drop the same elements"),
            |p, t| {
                let options = Attention {
                    dropout: attention_dropout(p.real(0.3), &mut Rng::new(Seed(2), "attention"))?,
                    ..Default::default()
                };
                attention(&t[0], &t[1], &t[2], options)
            },
        )
        .shapes(&[&[&[2, 2, 3, 4], &[2, 1, 5, 4], &[2, 1, 5, 3]]])
        .shapes(&[&[&[0, 2, 3, 2], &[0, 2, 3, 2], &[0, 2, 3, 2]]])
        .shapes(&[&[&[1, 1, 1, 1], &[1, 1, 1, 1], &[1, 1, 1, 1]]])
        .large(&[&[2, 4, 150, 32], &[2, 2, 170, 32], &[2, 2, 170, 24]]),
        subject(
            "attention_rows",
            Case::None("no library gives each row keys of its own; a row is an attention"),
            |_, t| {
                let (k, v) = (&t[1], &t[2]);
                let rows = t[0].dims().get(1).copied().unwrap_or(1);
                let positions = k.dims().get(1).copied().unwrap_or(1);
                // A shape of nothing may have more rows than there is memory for what each sees.
                let seen: Vec<SeenKeys<'_>> = (0..rows.min(1000))
                    .map(|at| SeenKeys {
                        k,
                        v,
                        range: at.min(positions.saturating_sub(1))..positions,
                    })
                    .collect();
                attention_rows(&t[0], &seen, None, None)
            },
        )
        .shapes(&[&[&[1, 3, 4, 4], &[1, 5, 2, 4], &[1, 5, 2, 3]]])
        .shapes(&[&[&[1, 2, 2, 2], &[1, 0, 1, 2], &[1, 0, 1, 2]]])
        .shapes(&[&[&[1, 1, 1, 1], &[1, 1, 1, 1], &[1, 1, 1, 1]]])
        .large(&[&[1, 40, 4, 32], &[1, 170, 2, 32], &[1, 170, 2, 24]]),
    ]
}

fn recurrences() -> Vec<Subject> {
    let of = |with, cell: Cell, gates: usize, case| {
        subject("recurrent", case, move |p, t| {
            let has_cell = p.flag(cell == Cell::Lstm);
            let (b_ih, b_hh) = match p.flag(true) {
                true => (Some((&t[4]).into()), Some((&t[5]).into())),
                false => (None, None),
            };
            let weights = RecurrentWeights {
                w_ih: (&t[2]).into(),
                w_hh: (&t[3]).into(),
                b_ih,
                b_hh,
            };
            let time = Time {
                batch_first: p.flag(true),
                reverse: p.flag(false),
            };
            let c_0 = has_cell.then(|| (&t[1]).into());
            let run = recurrent(cell, &t[0], &t[1], c_0, weights, time)?;
            let mut parts = vec![run.output.flatten_all()?, run.h.flatten_all()?];
            if let Some(c) = run.c {
                parts.push(c.flatten_all()?);
            }
            Ok(Tensor::cat(&parts, 0)?)
        })
        .with(with)
        .shapes(match gates {
            1 => &[
                &[&[2, 3, 2], &[2, 3], &[3, 2], &[3, 3], &[3], &[3]],
                &[&[0, 2, 2], &[0, 1], &[1, 2], &[1, 1], &[1], &[1]],
                &[&[1, 1, 1], &[1, 1], &[1, 1], &[1, 1], &[1], &[1]],
            ],
            3 => &[
                &[&[2, 3, 2], &[2, 2], &[6, 2], &[6, 2], &[6], &[6]],
                &[&[0, 2, 2], &[0, 1], &[3, 2], &[3, 1], &[3], &[3]],
                &[&[1, 1, 1], &[1, 1], &[3, 1], &[3, 1], &[3], &[3]],
            ],
            _ => &[
                &[&[2, 3, 2], &[2, 2], &[8, 2], &[8, 2], &[8], &[8]],
                &[&[0, 2, 2], &[0, 1], &[4, 2], &[4, 1], &[4], &[4]],
                &[&[1, 1, 1], &[1, 1], &[4, 1], &[4, 1], &[4], &[4]],
            ],
        })
        .large(match gates {
            1 => &[&[40, 9, 30], &[40, 50], &[50, 30], &[50, 50], &[50], &[50]],
            3 => &[
                &[40, 9, 30],
                &[40, 50],
                &[150, 30],
                &[150, 50],
                &[150],
                &[150],
            ],
            _ => &[
                &[40, 9, 30],
                &[40, 50],
                &[200, 30],
                &[200, 50],
                &[200],
                &[200],
            ],
        })
    };
    vec![
        of(
            "tanh",
            Cell::RnnTanh,
            1,
            Case::Layer("Rnn", "layer-RNN-plain"),
        ),
        of(
            "relu",
            Cell::RnnRelu,
            1,
            Case::Layer("Rnn", "layer-RNN-relu"),
        ),
        of("gru", Cell::Gru, 3, Case::Layer("Gru", "layer-GRU-plain")),
        of(
            "lstm",
            Cell::Lstm,
            4,
            Case::Layer("Lstm", "layer-LSTM-plain"),
        ),
    ]
}

#[test]
fn the_numbers_of_a_tensor_are_in_order() {
    let x = Tensor::new(&[[1.0_f32, 2.0], [3.0, 4.0]], &Device::Cpu).and_then(|x| x.t());
    assert_eq!(numbers(&x.expect("a view")), [1.0, 3.0, 2.0, 4.0]);
    assert_eq!(Fill::Inside.tensor(&[0], "x", DType::F32).dims(), [0]);
}

//! Reductions.

use crate::subject::{Case, Subject, subject};
use cortical_tensor::ops;

pub(crate) fn table() -> Vec<Subject> {
    let mut all = vec![
        subject("sum", Case::Of("sum", "function-sum-"), |p, t| {
            ops::sum(&t[0], &[p.axis(-1)], p.flag(false))
        }),
        subject("mean", Case::Of("mean", "function-mean-"), |p, t| {
            ops::mean(&t[0], &[p.axis(0), p.axis(-1)], p.flag(true))
        }),
        subject("max", Case::Of("max", "function-amax-"), |p, t| {
            ops::max(&t[0], &[p.axis(1)], p.flag(false))
        })
        .chooses(),
        subject("min", Case::Of("min", "function-amin-"), |p, t| {
            ops::min(&t[0], &[p.axis(1)], p.flag(false))
        })
        .chooses(),
        subject("argmax", Case::Of("argmax", "function-argmax-"), |p, t| {
            ops::argmax(&t[0], p.axis(1), p.flag(false))
        })
        .chooses()
        .without_gradient(),
        subject("argmin", Case::Of("argmin", "function-argmin-"), |p, t| {
            ops::argmin(&t[0], p.axis(-1), p.flag(false))
        })
        .chooses()
        .without_gradient(),
        subject("variance", Case::Of("variance", "function-var-"), |p, t| {
            ops::variance(
                &t[0],
                &[p.axis(1)],
                p.choose(&[0, 1, usize::MAX]),
                p.flag(false),
            )
        }),
        subject(
            "log_sum_exp",
            Case::Of("log_sum_exp", "function-logsumexp-"),
            |p, t| ops::log_sum_exp(&t[0], &[p.axis(1)], p.flag(false)),
        ),
    ];
    for (with, order) in [
        ("1", 1.0),
        ("2", 2.0),
        ("3", 3.0),
        ("infinite", f64::INFINITY),
    ] {
        let norm = subject("norm", Case::Of("norm", "function-norm-"), move |p, t| {
            ops::norm(&t[0], p.real(order), &[p.axis(1)], p.flag(false))
        });
        let norm = norm.with(with);
        all.push(if order.is_infinite() {
            norm.chooses()
        } else {
            norm
        });
    }
    (all.into_iter())
        .map(|subject| {
            let shapes = subject.shapes(&[&[&[2, 3, 2]], &[&[0, 3, 2]], &[&[1, 1]]]);
            shapes.large(&[&[40, 50, 60]])
        })
        .collect()
}

//! Losses.

use crate::pick::Pick;
use crate::subject::{Case, Fill, Shapes, Subject, subject};
use candle_core::{D, DType, Tensor};
use cortical_tensor::Result;
use cortical_tensor::ops::{
    self, BceWithLogits, CrossEntropy, GaussianNll, KlDiv, Nll, PoissonNll,
};
use cortical_tensor::ops::{Ctc, Reduction, TripletMargin, TripletMarginWithDistance};

const PAIRS: &[Shapes] = &[
    &[&[3, 4], &[3, 4]],
    &[&[0, 2], &[0, 2]],
    &[&[1], &[1]],
    &[&[], &[]],
];
const LARGE: Shapes = &[&[300, 250], &[300, 250]];
const INSIDE: &[Fill] = &[Fill::Inside, Fill::Inside];

pub(crate) fn table() -> Vec<Subject> {
    [pairs(), likelihoods(), of_classes(), margins()]
        .into_iter()
        .flatten()
        .collect()
}

/// A loss between each number and its target: its gradient by both.
fn pair(
    op: &'static str,
    case: &'static str,
    run: impl Fn(&mut Pick, &Tensor, &Tensor, Reduction) -> Result<Tensor> + Send + Sync + 'static,
) -> Subject {
    // Nothing has no mean, so a sum where shapes may be empty.
    subject(op, Case::Of(op, case), move |p, t| {
        let reduction = p.reduction(Reduction::Sum);
        run(p, &t[0], &t[1], reduction)
    })
    .shapes(PAIRS)
    .large(LARGE)
}

fn pairs() -> Vec<Subject> {
    vec![
        pair("mse_loss", "loss-MSELoss-", |_, x, t, r| {
            ops::mse_loss(x, t, r)
        }),
        pair("l1_loss", "loss-L1Loss-", |_, x, t, r| {
            ops::l1_loss(x, t, r)
        }),
        pair("smooth_l1_loss", "loss-SmoothL1Loss-", |p, x, t, r| {
            ops::smooth_l1_loss(x, t, p.real(0.7), r)
        }),
        pair("huber_loss", "loss-HuberLoss-", |p, x, t, r| {
            ops::huber_loss(x, t, p.real(0.6), r)
        }),
        pair("soft_margin_loss", "loss-SoftMarginLoss-", |_, x, t, r| {
            ops::soft_margin_loss(x, t, r)
        }),
        pair("binary_cross_entropy", "loss-BCELoss-", |p, x, t, r| {
            let weight = p.constant(Fill::Positive, x.dims(), x.dtype());
            let weight = p.flag(false).then_some(&weight);
            ops::binary_cross_entropy(x, t, weight, r)
        })
        .fills(INSIDE),
        pair(
            "binary_cross_entropy_with_logits",
            "loss-BCEWithLogitsLoss-",
            |p, x, t, r| {
                let mut weight = || {
                    let weight = p.constant(Fill::Positive, x.dims(), x.dtype());
                    p.flag(false).then_some(weight)
                };
                let options = BceWithLogits {
                    weight: weight(),
                    pos_weight: weight(),
                    reduction: r,
                };
                ops::binary_cross_entropy_with_logits(x, t, &options)
            },
        ),
        pair(
            "multi_label_soft_margin_loss",
            "loss-MultiLabelSoftMarginLoss-",
            |_, x, t, r| ops::multi_label_soft_margin_loss(x, t, None, r),
        )
        .replace_shapes(&[&[&[3, 4], &[3, 4]], &[&[0, 2], &[0, 2]], &[&[1], &[1]]]),
    ]
}

fn likelihoods() -> Vec<Subject> {
    vec![
        pair("kl_div", "loss-KLDivLoss-", |p, x, t, reduction| {
            let options = KlDiv {
                log_target: p.flag(false),
                batch_mean: p.flag(false),
                reduction,
            };
            ops::kl_div(x, t, &options)
        })
        .fills(&[Fill::Logarithm, Fill::Inside]),
        pair(
            "poisson_nll_loss",
            "loss-PoissonNLLLoss-",
            |p, x, t, reduction| {
                let options = PoissonNll {
                    log_input: p.flag(true),
                    full: p.flag(false),
                    eps: p.real(1e-8),
                    reduction,
                };
                ops::poisson_nll_loss(x, t, &options)
            },
        )
        .fills(&[Fill::Positive, Fill::Positive]),
        subject(
            "gaussian_nll_loss",
            Case::Of("gaussian_nll_loss", "loss-GaussianNLLLoss-"),
            |p, t| {
                let options = GaussianNll {
                    full: p.flag(true),
                    eps: p.real(1e-6),
                    reduction: p.reduction(Reduction::Sum),
                };
                ops::gaussian_nll_loss(&t[0], &t[1], &t[2], &options)
            },
        )
        .fills(&[Fill::Normal, Fill::Normal, Fill::Positive])
        .shapes(&[
            &[&[3, 4], &[3, 4], &[3, 4]],
            &[&[0, 2], &[0, 2], &[0, 2]],
            &[&[1], &[1], &[1]],
        ])
        .large(&[&[300, 250], &[300, 250], &[300, 250]]),
    ]
}

/// The numbers of rows and classes of scores.
fn classes(x: &Tensor) -> (usize, usize) {
    let dims = x.dims();
    (
        dims.first().copied().unwrap_or(1),
        dims.get(1).copied().unwrap_or(1),
    )
}

const SCORES: &[Shapes] = &[&[&[4, 3]], &[&[0, 3]], &[&[1, 1]]];
const MANY: Shapes = &[&[700, 90]];

fn of_classes() -> Vec<Subject> {
    vec![
        subject(
            "cross_entropy",
            Case::Of("cross_entropy", "loss-CrossEntropyLoss-"),
            |p, t| {
                let (rows, cols) = classes(&t[0]);
                let labels = p.labels(&[rows], cols);
                let weight = p.constant(Fill::Positive, &[cols], t[0].dtype());
                let options = CrossEntropy {
                    weight: p.flag(false).then_some(weight),
                    ignore_index: p.choose(&[None, Some(1), Some(-100)]),
                    label_smoothing: p.real(0.1),
                    reduction: p.reduction(Reduction::Sum),
                };
                ops::cross_entropy(&t[0], &labels, &options)
            },
        )
        .shapes(SCORES)
        .large(MANY),
        subject("nll_loss", Case::Of("nll_loss", "loss-NLLLoss-"), |p, t| {
            let (rows, cols) = classes(&t[0]);
            let labels = p.labels(&[rows], cols);
            let weight = p.constant(Fill::Positive, &[cols], t[0].dtype());
            let options = Nll {
                weight: p.flag(false).then_some(weight),
                ignore_index: p.choose(&[None, Some(1), Some(-100)]),
                reduction: p.reduction(Reduction::Sum),
            };
            ops::nll_loss(&t[0], &labels, &options)
        })
        .fills(&[Fill::Logarithm])
        .shapes(SCORES)
        .large(MANY),
        subject(
            "multi_margin_loss",
            Case::Of("multi_margin_loss", "loss-MultiMarginLoss-"),
            |p, t| {
                let (rows, cols) = classes(&t[0]);
                let labels = p.labels(&[rows], cols);
                let weight = p.constant(Fill::Positive, &[cols], t[0].dtype());
                let weight = p.flag(false).then_some(&weight);
                let (order, margin) = (p.choose(&[1, 2, 3]), p.real(1.0));
                let reduction = p.reduction(Reduction::Sum);
                ops::multi_margin_loss(&t[0], &labels, order, margin, weight, reduction)
            },
        )
        .shapes(SCORES)
        .large(MANY),
    ]
}

/// Whether candle can compute with a tensor: not with a view of more elements than memory has.
fn is_small(x: &Tensor) -> bool {
    let count = x.dims().iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
    count.is_some_and(|n| n < 1 << 22)
}

fn margins() -> Vec<Subject> {
    vec![
        subject("ctc_loss", Case::Of("ctc_loss", "loss-CTCLoss-"), |p, t| {
            // The gradient is that of normalised log-probabilities.
            let log_probs = ops::log_softmax(&t[0], D::Minus1)?;
            let (steps, n) = classes(&t[0]);
            let (steps, n) = (steps.min(40), n.min(40));
            let targets = p.labels(&[n, 2], 2);
            let targets = if targets.dtype().is_int() && is_small(&targets) {
                // candle's sum of whole numbers may not overflow, ours is none.
                let most = targets.to_dtype(DType::F64)?.clamp(-1e9, 1e9)?;
                (most + 1.0)?.to_dtype(targets.dtype())?
            } else {
                targets
            };
            let options = Ctc {
                blank: p.size(0),
                reduction: p.reduction(Reduction::Sum),
                zero_infinity: p.flag(true),
            };
            let (steps, labels) = (vec![p.size(steps); n], vec![p.size(2.min(steps)); n]);
            ops::ctc_loss(&log_probs, &targets, &steps, &labels, &options)
        })
        .shapes(&[&[&[4, 2, 3]], &[&[3, 0, 3]], &[&[2, 1, 4]]])
        .large(&[&[40, 16, 30]]),
        subject(
            "multi_label_margin_loss",
            Case::Of("multi_label_margin_loss", "loss-MultiLabelMarginLoss-"),
            |p, t| {
                let (rows, cols) = classes(&t[0]);
                let labels = p.labels(&[rows, cols], cols);
                let labels = if labels.dtype().is_int() && is_small(&labels) {
                    labels.to_dtype(DType::I64)?
                } else {
                    labels
                };
                ops::multi_label_margin_loss(&t[0], &labels, p.reduction(Reduction::Sum))
            },
        )
        .shapes(SCORES)
        .large(&[&[70, 40]]),
        subject(
            "triplet_margin_with_distance_loss",
            Case::Of(
                "triplet_margin_with_distance_loss",
                "loss-TripletMarginWithDistanceLoss-",
            ),
            |p, t| {
                let options = TripletMarginWithDistance {
                    margin: p.real(4.0),
                    swap: p.flag(true),
                    reduction: p.reduction(Reduction::Sum),
                };
                let distance = |a: &Tensor, b: &Tensor| ops::norm(&(a - b)?, 2.0, &[-1], false);
                let (a, p, n) = (&t[0], &t[1], &t[2]);
                ops::triplet_margin_with_distance_loss(a, p, n, distance, &options)
            },
        )
        .shapes(&[
            &[&[3, 4], &[3, 4], &[3, 4]],
            &[&[0, 2], &[0, 2], &[0, 2]],
            &[&[1], &[1], &[1]],
        ])
        .large(&[&[300, 250], &[300, 250], &[300, 250]])
        .chooses(),
        pair(
            "hinge_embedding_loss",
            "loss-HingeEmbeddingLoss-",
            |p, x, t, r| {
                let signs = if is_small(t) {
                    t.detach().sign()?
                } else {
                    t.clone()
                };
                ops::hinge_embedding_loss(x, &signs, p.real(0.8), r)
            },
        ),
        pair(
            "margin_ranking_loss",
            "loss-MarginRankingLoss-",
            |p, x, t, r| {
                let order = p.constant(Fill::Normal, x.dims(), x.dtype());
                let order = if order.dtype().is_float() && is_small(&order) {
                    order.sign()?
                } else {
                    order
                };
                ops::margin_ranking_loss(x, t, &order, p.real(0.3), r)
            },
        ),
        pair(
            "cosine_embedding_loss",
            "loss-CosineEmbeddingLoss-",
            |p, x, t, r| {
                let rows = x.dims().split_last().map_or(&[][..], |(_, rows)| rows);
                let target = match is_small(x) {
                    true => Tensor::ones(rows, x.dtype(), x.device())?,
                    false => p.constant(Fill::Normal, &[2], x.dtype()),
                };
                ops::cosine_embedding_loss(x, t, &target, p.real(0.1), r)
            },
        )
        .replace_shapes(&[
            &[&[3, 4], &[3, 4]],
            &[&[0, 2], &[0, 2]],
            &[&[3], &[3]],
            &[&[1], &[1]],
        ]),
        subject(
            "triplet_margin_loss",
            Case::Of("triplet_margin_loss", "loss-TripletMarginLoss-"),
            |p, t| {
                let options = TripletMargin {
                    margin: p.real(4.0),
                    p: p.real(2.0),
                    eps: p.real(1e-6),
                    swap: p.flag(true),
                    reduction: p.reduction(Reduction::Sum),
                };
                ops::triplet_margin_loss(&t[0], &t[1], &t[2], &options)
            },
        )
        .shapes(&[
            &[&[3, 4], &[3, 4], &[3, 4]],
            &[&[0, 2], &[0, 2], &[0, 2]],
            &[&[1], &[1], &[1]],
        ])
        .large(&[&[300, 250], &[300, 250], &[300, 250]])
        .chooses(),
    ]
}

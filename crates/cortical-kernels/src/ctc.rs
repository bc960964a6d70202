//! Connectionist temporal classification: the likelihood of a label sequence, summed over all its alignments with time.
//!
//! Legend: `t` steps, `n` samples, `c` classes, `s` places of the extended label sequence, which has a blank before,
//! between and behind the labels. `α[t, s]` is the logarithm of the probability of all ways to be at place `s` at step
//! `t`, `β[t, s]` that of all ways on from there, both with the step's own probability. Everything is reckoned in
//! double precision: the sums run over the whole sequence.
//!
//! # Source
//! Graves et al., "Connectionist temporal classification: labelling unsegmented sequence data with recurrent neural
//! networks" (2006).

use crate::disjoint::Disjoint;
use crate::parallel;
use crate::real::Real;

/// The label sequences of a batch and the lengths that count.
#[derive(Clone, Debug)]
pub struct Alignment {
    /// `[steps, samples, classes]` of the log-probabilities.
    pub dims: [usize; 3],
    /// The class that stands for no label.
    pub blank: usize,
    /// How many steps of each sample count.
    pub input_lengths: Vec<usize>,
    /// The labels of each sample.
    pub targets: Vec<Vec<u32>>,
}

impl Alignment {
    fn check(&self, log_probs: usize) {
        let [steps, samples, classes] = self.dims;
        assert_eq!(
            log_probs,
            steps * samples * classes,
            "ctc: log-probabilities"
        );
        assert!(self.blank < classes, "ctc: the blank is a class");
        assert_eq!(self.input_lengths.len(), samples, "ctc: a length a sample");
        assert_eq!(self.targets.len(), samples, "ctc: labels a sample");
        assert!(
            self.input_lengths.iter().all(|len| *len <= steps),
            "ctc: lengths within the steps"
        );
        let mut labels = self.targets.iter().flatten();
        assert!(
            labels.all(|label| (*label as usize) < classes),
            "ctc: labels are classes"
        );
    }

    /// The class at place `s` of a sample's extended sequence.
    fn class(&self, sample: usize, s: usize) -> usize {
        match s % 2 {
            0 => self.blank,
            _ => self.targets[sample][s / 2] as usize,
        }
    }

    fn places(&self, sample: usize) -> usize {
        2 * self.targets[sample].len() + 1
    }

    /// Whether a path may leap from place `s − 2` to `s`: over a blank between two different labels.
    fn leaps(&self, sample: usize, s: usize) -> bool {
        s % 2 == 1 && s >= 2 && self.class(sample, s) != self.class(sample, s - 2)
    }

    fn log_prob<T: Real>(&self, log_probs: &[T], t: usize, sample: usize, s: usize) -> f64 {
        let [_, samples, classes] = self.dims;
        log_probs[(t * samples + sample) * classes + self.class(sample, s)].to_f64()
    }

    /// `α` of one sample, `[steps, places]`.
    fn forward<T: Real>(&self, log_probs: &[T], sample: usize) -> Vec<f64> {
        let (steps, places) = (self.input_lengths[sample], self.places(sample));
        let mut alpha = vec![f64::NEG_INFINITY; steps * places];
        for t in 0..steps {
            for s in 0..places {
                let before = |back: usize| match (t, s.checked_sub(back)) {
                    (1.., Some(s)) => alpha[(t - 1) * places + s],
                    _ => f64::NEG_INFINITY,
                };
                let leap = if self.leaps(sample, s) {
                    before(2)
                } else {
                    f64::NEG_INFINITY
                };
                let start = if t == 0 && s < 2 {
                    0.0
                } else {
                    f64::NEG_INFINITY
                };
                let ways = log_add(log_add(before(0), before(1)), log_add(leap, start));
                alpha[t * places + s] = ways + self.log_prob(log_probs, t, sample, s);
            }
        }
        alpha
    }

    /// `β` of one sample, `[steps, places]`.
    fn backward<T: Real>(&self, log_probs: &[T], sample: usize) -> Vec<f64> {
        let (steps, places) = (self.input_lengths[sample], self.places(sample));
        let mut beta = vec![f64::NEG_INFINITY; steps * places];
        for t in (0..steps).rev() {
            for s in 0..places {
                let after = |on: usize| match (t + 1 < steps, s + on < places) {
                    (true, true) => beta[(t + 1) * places + s + on],
                    _ => f64::NEG_INFINITY,
                };
                let leap = if s + 2 < places && self.leaps(sample, s + 2) {
                    after(2)
                } else {
                    f64::NEG_INFINITY
                };
                let ends = t + 1 == steps && s + 2 >= places;
                let end = if ends { 0.0 } else { f64::NEG_INFINITY };
                let ways = log_add(log_add(after(0), after(1)), log_add(leap, end));
                beta[t * places + s] = ways + self.log_prob(log_probs, t, sample, s);
            }
        }
        beta
    }

    /// The negative logarithm of the likelihood, from `α`.
    fn loss(&self, alpha: &[f64], sample: usize) -> f64 {
        let places = self.places(sample);
        let Some(last) = alpha.len().checked_sub(places) else {
            // No steps: the empty sequence is certain, and every other impossible.
            return if places == 1 { 0.0 } else { f64::INFINITY };
        };
        let last = &alpha[last..];
        -last[places.saturating_sub(2)..]
            .iter()
            .fold(f64::NEG_INFINITY, |sum, a| log_add(sum, *a))
    }
}

/// ln(eᵃ + eᵇ)
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY {
        high
    } else {
        high + (low - high).exp().ln_1p()
    }
}

/// The negative log-likelihood of each sample's labels; ∞ where there are too few steps for them.
///
/// # Panics
/// If a length does not fit, or a label or the blank is no class.
#[must_use]
pub fn forward<T: Real>(alignment: &Alignment, log_probs: &[T]) -> Vec<f64> {
    alignment.check(log_probs.len());
    parallel::map(alignment.dims[1], |sample| {
        alignment.loss(&alignment.forward(log_probs, sample), sample)
    })
}

/// Writes the gradient of the log-probabilities, `d_losses[n] (e^(log p) − γ)` with the share γ of alignments that are
/// at class `c` at step `t`. The first term is what a softmax in front of the log-probabilities takes away again, as in
/// PyTorch; steps that do not count get 0. So do samples with an infinite loss for `zero_infinity`, and `NaN` without
/// it.
///
/// # Panics
/// As [`forward`].
pub fn backward<T: Real>(
    alignment: &Alignment,
    log_probs: &[T],
    d_losses: &[T],
    zero_infinity: bool,
    d_log_probs: &mut [T],
) {
    alignment.check(log_probs.len());
    let [_, samples, classes] = alignment.dims;
    assert_eq!(d_losses.len(), samples, "ctc: a gradient a sample");
    assert_eq!(d_log_probs.len(), log_probs.len(), "ctc: gradients");
    d_log_probs.fill(T::ZERO);
    let d = Disjoint::new(d_log_probs);
    parallel::for_each(samples, |sample| {
        let places = alignment.places(sample);
        let alpha = alignment.forward(log_probs, sample);
        let beta = alignment.backward(log_probs, sample);
        let loss = alignment.loss(&alpha, sample);
        let mut ways = vec![f64::NEG_INFINITY; classes];
        for t in 0..alignment.input_lengths[sample] {
            let row = (t * samples + sample) * classes;
            // SAFETY: each task has a sample of its own, and a sample's rows are its own.
            let d = unsafe { d.part(row..row + classes) };
            if loss == f64::INFINITY {
                d.fill(T::from_f64(if zero_infinity { 0.0 } else { f64::NAN }));
                continue;
            }
            ways.fill(f64::NEG_INFINITY);
            for s in 0..places {
                let at = t * places + s;
                let way = &mut ways[alignment.class(sample, s)];
                *way = log_add(*way, alpha[at] + beta[at]);
            }
            for ((d, way), log_p) in d.iter_mut().zip(&ways).zip(&log_probs[row..]) {
                // Both α and β hold the step's own probability.
                let log_p = log_p.to_f64();
                let share = if *way == f64::NEG_INFINITY {
                    0.0
                } else {
                    (way + loss - log_p).exp()
                };
                *d = T::from_f64((log_p.exp() - share) * d_losses[sample].to_f64());
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_gradient, dot, numbers, same_bits_on_any_threads, singles};

    fn alignment(dims: [usize; 3], lengths: &[usize], targets: &[&[u32]]) -> Alignment {
        Alignment {
            dims,
            blank: 0,
            input_lengths: lengths.to_vec(),
            targets: targets.iter().map(|t| t.to_vec()).collect(),
        }
    }

    /// Σ over all paths of their probability, one path after the other.
    fn naive(a: &Alignment, log_probs: &[f64], sample: usize) -> f64 {
        let ([_, samples, classes], steps) = (a.dims, a.input_lengths[sample]);
        let mut total = 0.0;
        for path in 0..classes.pow(steps as u32) {
            let at = |t: usize| path / classes.pow(t as u32) % classes;
            let mut said: Vec<usize> = (0..steps).map(at).collect();
            said.dedup();
            said.retain(|class| *class != a.blank);
            let wanted: Vec<usize> = a.targets[sample].iter().map(|l| *l as usize).collect();
            if said == wanted {
                let log_p = |t: usize| log_probs[(t * samples + sample) * classes + at(t)];
                total += (0..steps).map(log_p).sum::<f64>().exp();
            }
        }
        -total.ln()
    }

    /// Scores as logarithms of probabilities.
    fn normalised(scores: &[f64], classes: usize) -> Vec<f64> {
        let rows = scores.chunks_exact(classes).flat_map(|row| {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            row.iter().map(move |x| x - sum.ln())
        });
        rows.collect()
    }

    #[test]
    fn the_loss_is_the_sum_over_all_paths() {
        let a = alignment(
            [5, 4, 3],
            &[5, 4, 3, 2],
            &[&[1, 2], &[1, 1], &[], &[2, 2, 1]],
        );
        let log_probs = normalised(&numbers(60, 1), 3);
        let losses = forward(&a, &log_probs);
        for sample in 0..4 {
            let want = naive(&a, &log_probs, sample);
            assert!(
                losses[sample] == want || (losses[sample] - want).abs() < 1e-12,
                "{sample}: {losses:?}"
            );
        }
        assert_eq!(losses[3], f64::INFINITY);
    }

    #[test]
    fn gradients_of_the_scores_are_central_differences() {
        let a = alignment([4, 2, 3], &[4, 3], &[&[1, 2], &[2, 2]]);
        let (scores, upstream) = (numbers(24, 2), numbers(2, 3));
        let log_probs = normalised(&scores, 3);
        let mut d = vec![9.0; 24];
        backward(&a, &log_probs, &upstream, false, &mut d);
        // Its rows add up to 0, so a softmax in front passes it on as it is.
        assert_gradient("scores", &scores, &d, |scores| {
            dot(&forward(&a, &normalised(scores, 3)), &upstream)
        });
        assert_eq!(d[21..], [0.0; 3]);
    }

    #[test]
    fn what_is_impossible_has_no_gradient_if_so_asked() {
        let a = alignment([1, 1, 3], &[1], &[&[1, 2]]);
        let log_probs = normalised(&numbers(3, 4), 3);
        let mut d = vec![9.0; 3];
        backward(&a, &log_probs, &[1.0], true, &mut d);
        assert_eq!(d, [0.0; 3]);
        backward(&a, &log_probs, &[1.0], false, &mut d);
        assert!(d.iter().all(|d| d.is_nan()));
        let none = alignment([0, 2, 3], &[0, 0], &[&[], &[1]]);
        assert_eq!(forward::<f64>(&none, &[]), [0.0, f64::INFINITY]);
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let labels: Vec<u32> = (0..10).map(|i| 1 + i % 6).collect();
        let a = alignment([40, 9, 7], &[40; 9], &[&labels[..]; 9]);
        let log_probs = singles(&normalised(&numbers(40 * 9 * 7, 5), 7));
        same_bits_on_any_threads(|| {
            let mut d = vec![0.0; log_probs.len()];
            backward(&a, &log_probs, &[1.0; 9], false, &mut d);
            d.extend(forward(&a, &log_probs).iter().map(|l| *l as f32));
            d
        });
    }
}

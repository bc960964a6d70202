//! Which token comes next.

use crate::error::{Error, Result};
use cortical_tensor::{Rng, Seed};

/// How the next token is chosen from a model's scores.
///
/// The steps run in the order of the fields: the penalty, the temperature, then each cut of the unlikely, then one
/// draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Scores of tokens that stand in the text already are divided by it where positive and multiplied where negative;
    /// 1 does nothing (Keskar et al., 2019).
    pub repetition_penalty: f64,
    /// Scores are divided by it; 0 takes the likeliest token always, 1 the model's own probabilities.
    pub temperature: f64,
    /// Only so many of the likeliest tokens may come; 0 for all.
    pub top_k: usize,
    /// Only the likeliest tokens that together reach this probability may come; 1 for all (Holtzman et al., 2020).
    pub top_p: f64,
    /// Only tokens at least so likely as this part of the likeliest one's probability may come; 0 for all.
    pub min_p: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self::greedy()
    }
}

impl Sampling {
    /// The likeliest token, always.
    #[must_use]
    pub fn greedy() -> Self {
        Self {
            repetition_penalty: 1.0,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
        }
    }

    /// Draws with this temperature.
    #[must_use]
    pub fn with_temperature(temperature: f64) -> Self {
        Self {
            temperature,
            ..Self::greedy()
        }
    }

    fn check(&self) -> Result<()> {
        let wrong = |setting, expected, got: f64| Error::Sampling {
            setting,
            expected,
            got: got.to_string(),
        };
        let finite = |x: f64| x.is_finite();
        if !(finite(self.repetition_penalty) && self.repetition_penalty > 0.0) {
            return Err(wrong(
                "repetition penalty",
                "a number above 0",
                self.repetition_penalty,
            ));
        }
        if !(finite(self.temperature) && self.temperature >= 0.0) {
            return Err(wrong("temperature", "0 or more", self.temperature));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(wrong("top-p", "above 0 and at most 1", self.top_p));
        }
        if !(self.min_p >= 0.0 && self.min_p <= 1.0) {
            return Err(wrong("min-p", "from 0 to 1", self.min_p));
        }
        Ok(())
    }
}

/// Draws tokens one after the other; the same seed draws the same ones.
///
/// ```
/// use cortical_text::{Sampler, Sampling};
/// let mut sampler = Sampler::new(Sampling::greedy(), 1)?;
/// assert_eq!(sampler.next(&[0.1, 2.0, -1.0], &[])?, 1);
/// # Ok::<(), cortical_text::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    rng: Rng,
}

impl Sampler {
    /// A sampler that begins at this seed.
    ///
    /// # Errors
    /// [`Error::Sampling`] for a setting that makes no sense.
    pub fn new(sampling: Sampling, seed: u64) -> Result<Self> {
        sampling.check()?;
        let rng = Rng::new(Seed(seed), "sampling");
        Ok(Self { sampling, rng })
    }

    /// The next token, given the model's scores and the tokens so far.
    ///
    /// # Errors
    /// [`Error::Scores`] when no score is a number.
    pub fn next(&mut self, scores: &[f32], before: &[u32]) -> Result<u32> {
        let mut scores = scores.to_vec();
        penalise(&mut scores, before, self.sampling.repetition_penalty as f32);
        if self.sampling.temperature == 0.0 {
            return likeliest(&scores);
        }
        let mut all = likely(&scores, &self.sampling)?;
        // One draw for each token, whatever was cut.
        let drawn = self.rng.uniform();
        let mut left = drawn * all.total();
        for at in 0..all.len() {
            let (token, p) = all.get(at);
            left -= p;
            if left < 0.0 {
                return Ok(token);
            }
        }
        Ok(all.len().checked_sub(1).map_or(0, |last| all.get(last).0))
    }
}

fn penalise(scores: &mut [f32], before: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut seen = before.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for token in seen {
        if let Some(score) = scores.get_mut(token as usize) {
            *score = if *score > 0.0 {
                *score / penalty
            } else {
                *score * penalty
            };
        }
    }
}

/// The token with the largest score, the first of equals.
fn likeliest(scores: &[f32]) -> Result<u32> {
    let mut best: Option<(usize, f32)> = None;
    for (token, score) in scores.iter().enumerate() {
        if !score.is_nan() && best.is_none_or(|(_, most)| *score > most) {
            best = Some((token, *score));
        }
    }
    best.map(|(token, _)| token as u32).ok_or(Error::Scores)
}

/// The tokens that may come, the likeliest first, with what is proportional to their probabilities.
fn likely(scores: &[f32], sampling: &Sampling) -> Result<Ranked> {
    let most = scores[likeliest(scores)? as usize];
    if most.is_infinite() {
        return Err(Error::Scores);
    }
    let weight = |score: f32| (f64::from(score - most) / sampling.temperature).exp();
    let tokens = scores
        .iter()
        .zip(0_u32..)
        .filter(|(score, _)| !score.is_nan());
    let mut all = Ranked {
        all: tokens
            .map(|(score, token)| (token, weight(*score)))
            .collect(),
        sorted: 0,
    };
    if sampling.top_k > 0 {
        all.truncate(sampling.top_k);
    }
    if sampling.top_p < 1.0 {
        let total = all.total();
        let mut sum = 0.0;
        let reached = (0..all.len()).find(|at| {
            sum += all.get(*at).1;
            sum >= sampling.top_p * total
        });
        all.truncate(reached.map_or(all.len(), |last| last + 1));
    }
    // The likeliest one weighs 1.
    all.retain(sampling.min_p);
    Ok(all)
}

/// Tokens with their weights, put in order only as far as somebody looks: of many thousands the first few are enough
/// nearly always.
#[derive(Debug)]
struct Ranked {
    all: Vec<(u32, f64)>,
    /// So many stand where they belong, the heaviest first, the first of equals first.
    sorted: usize,
}

impl Ranked {
    fn len(&self) -> usize {
        self.all.len()
    }

    /// The sum of the weights.
    fn total(&self) -> f64 {
        self.all.iter().map(|(_, p)| p).sum()
    }

    /// The token at this place.
    fn get(&mut self, at: usize) -> (u32, f64) {
        while self.sorted <= at {
            self.sort_to((2 * self.sorted).max(256));
        }
        self.all[at]
    }

    /// Puts the first `end` where they belong.
    fn sort_to(&mut self, end: usize) {
        let end = end.min(self.len());
        if end <= self.sorted {
            return;
        }
        let order = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let (from, rest) = (self.sorted, self.len() - self.sorted);
        let new = end - from;
        if new < rest {
            self.all[from..].select_nth_unstable_by(new, order);
        }
        self.all[from..end].sort_unstable_by(order);
        self.sorted = end;
    }

    /// Leaves the first `len`.
    fn truncate(&mut self, len: usize) {
        if len < self.len() {
            self.sort_to(len);
            self.all.truncate(len);
            self.sorted = len;
        }
    }

    /// Leaves those of at least this weight.
    fn retain(&mut self, least: f64) {
        self.sorted = self.all[..self.sorted].partition_point(|(_, p)| *p >= least);
        self.all.retain(|(_, p)| *p >= least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(sampling: &Sampling, scores: &[f32], draws: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(sampling.clone(), 3).unwrap();
        let mut counts = vec![0; scores.len()];
        for _ in 0..draws {
            counts[sampler.next(scores, &[]).unwrap() as usize] += 1;
        }
        counts
    }

    #[test]
    fn what_is_put_in_order_as_somebody_looks_is_in_order() {
        let scores: Vec<f32> = (0..3000_u32)
            .map(|i| (i * 7919 % 1000) as f32 / 100.0)
            .collect();
        let mut want: Vec<u32> = (0..3000).collect();
        want.sort_by(|a, b| {
            scores[*b as usize]
                .total_cmp(&scores[*a as usize])
                .then(a.cmp(b))
        });
        for (top_k, top_p, min_p) in [
            (0, 1.0, 0.0),
            (700, 1.0, 0.0),
            (0, 0.9, 0.0),
            (0, 1.0, 0.3),
            (900, 0.8, 0.1),
        ] {
            let sampling = Sampling {
                top_k,
                top_p,
                min_p,
                ..Sampling::with_temperature(1.0)
            };
            let mut all = likely(&scores, &sampling).unwrap();
            let got: Vec<u32> = (0..all.len()).map(|at| all.get(at).0).collect();
            assert!(!got.is_empty() && (top_k == 0 || got.len() <= top_k));
            assert_eq!(got, want[..got.len()], "{sampling:?}");
        }
    }

    #[test]
    fn draws_have_the_models_probabilities() {
        let scores: Vec<f32> = [0.5_f32, 0.3, 0.15, 0.05].map(f32::ln).to_vec();
        let plain = Sampling::with_temperature(1.0);
        let got = counts(&plain, &scores, 20_000);
        for (got, p) in got.iter().zip([0.5, 0.3, 0.15, 0.05]) {
            assert!((*got as f64 / 20_000.0 - p).abs() < 0.012, "{got} for {p}");
        }
        assert_eq!(counts(&plain, &scores, 50), counts(&plain, &scores, 50));
        // Temperature 2 flattens: probabilities go with their roots.
        let flat = counts(&Sampling::with_temperature(2.0), &scores, 20_000);
        let roots = [0.5_f64, 0.3, 0.15, 0.05].map(f64::sqrt);
        let sum: f64 = roots.iter().sum();
        assert!((flat[3] as f64 / 20_000.0 - roots[3] / sum).abs() < 0.012);
    }

    #[test]
    fn each_cut_leaves_what_it_says() {
        let scores: Vec<f32> = [0.5_f32, 0.3, 0.15, 0.05].map(f32::ln).to_vec();
        let plain = Sampling::with_temperature(1.0);
        let left = |sampling: Sampling| {
            let counts = counts(&sampling, &scores, 2000);
            counts.iter().filter(|n| **n > 0).count()
        };
        assert_eq!(left(plain.clone()), 4);
        assert_eq!(
            left(Sampling {
                top_k: 2,
                ..plain.clone()
            }),
            2
        );
        assert_eq!(
            left(Sampling {
                top_p: 0.7,
                ..plain.clone()
            }),
            2
        );
        assert_eq!(
            left(Sampling {
                top_p: 0.4,
                ..plain.clone()
            }),
            1
        );
        assert_eq!(
            left(Sampling {
                min_p: 0.25,
                ..plain
            }),
            3
        );
    }

    #[test]
    fn the_penalty_pushes_back_what_was_said() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            ..Sampling::greedy()
        };
        let mut sampler = Sampler::new(sampling, 0).unwrap();
        assert_eq!(sampler.next(&[1.0, 1.5, -1.0], &[1, 1]).unwrap(), 0);
        assert_eq!(sampler.next(&[-1.0, -0.8, -3.0], &[1]).unwrap(), 0);
        assert_eq!(sampler.next(&[1.0, 1.5, -1.0], &[99]).unwrap(), 1);
    }

    #[test]
    fn senseless_settings_and_scores_are_refused() {
        let refused = |sampling: Sampling| Sampler::new(sampling, 0).unwrap_err().to_string();
        let plain = Sampling::greedy();
        assert_eq!(
            refused(Sampling::with_temperature(-1.0)),
            "temperature must be 0 or more, but is -1"
        );
        assert!(
            refused(Sampling {
                top_p: 0.0,
                ..plain.clone()
            })
            .contains("top-p")
        );
        assert!(
            refused(Sampling {
                min_p: 1.5,
                ..plain.clone()
            })
            .contains("min-p")
        );
        assert!(
            refused(Sampling {
                repetition_penalty: 0.0,
                ..plain.clone()
            })
            .contains("penalty")
        );
        let mut sampler = Sampler::new(plain, 0).unwrap();
        assert!(matches!(
            sampler.next(&[f32::NAN; 2], &[]),
            Err(Error::Scores)
        ));
        assert_eq!(sampler.next(&[f32::NAN, -1.0], &[]).unwrap(), 1);
    }
}

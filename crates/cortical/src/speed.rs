//! How fast a training goes, over its last steps.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Steps that it is averaged over.
const WINDOW: usize = 50;

/// Units (samples, tokens) and steps a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Speed {
    /// The last steps, each with its units and the moment at which it was done.
    recent: VecDeque<(Instant, usize)>,
    /// What was last measured: right after a pause there is nothing newer.
    known: Option<Rate>,
}

/// A measured speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    pub(crate) units_per_second: f64,
    seconds_per_step: f64,
}

impl Rate {
    /// How long so many steps take.
    pub(crate) fn time_for(&self, steps: u64) -> f64 {
        steps as f64 * self.seconds_per_step
    }
}

impl Speed {
    /// A step with so many units was done at this moment.
    pub(crate) fn step(&mut self, now: Instant, units: usize) {
        self.recent.push_back((now, units));
        if self.recent.len() > WINDOW {
            self.recent.pop_front();
        }
        let (Some((first, _)), 2..) = (self.recent.front(), self.recent.len()) else {
            return;
        };
        let took = now.saturating_duration_since(*first);
        if took > Duration::ZERO {
            let seconds = took.as_secs_f64();
            let units: usize = self.recent.iter().skip(1).map(|(_, units)| units).sum();
            self.known = Some(Rate {
                units_per_second: units as f64 / seconds,
                seconds_per_step: seconds / (self.recent.len() - 1) as f64,
            });
        }
    }

    /// Something else takes time before the next step: a validation.
    pub(crate) fn pause(&mut self) {
        self.recent.clear();
    }

    /// The speed, as soon as there are two steps without a pause between them.
    pub(crate) fn rate(&self) -> Option<Rate> {
        self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_counts_for_nothing_and_hides_nothing() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut speed = Speed::default();
        speed.step(at(1), 100);
        assert_eq!(speed.rate(), None);
        speed.step(at(2), 30);
        let rate = speed.rate().unwrap();
        assert_eq!((rate.units_per_second, rate.time_for(5)), (30.0, 5.0));
        speed.pause();
        speed.step(at(1000), 30);
        assert_eq!(speed.rate(), Some(rate));
        speed.step(at(1002), 30);
        assert_eq!(speed.rate().unwrap().units_per_second, 15.0);
    }

    #[test]
    fn only_the_last_steps_count() {
        let begin = Instant::now();
        let mut speed = Speed::default();
        for step in 0..10 {
            speed.step(begin + Duration::from_secs(10 * step), 1);
        }
        for step in 0..WINDOW as u64 {
            speed.step(begin + Duration::from_secs(100 + step), 1);
        }
        assert_eq!(speed.rate().unwrap().units_per_second, 1.0);
    }
}

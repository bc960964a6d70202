//! The best validation so far, and what ends a training early.

use crate::observe::EarlyEnd;

/// The best validation so far, and how many since were not better.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Best {
    pub(crate) figure: Option<f64>,
    pub(crate) since: u64,
}

impl Best {
    /// Takes a validation's figure into account; a larger one is better, or a smaller one.
    pub(crate) fn note(&mut self, figure: f64, larger: bool) {
        let is_better = match self.figure {
            None => !figure.is_nan(),
            Some(best) if larger => figure > best,
            Some(best) => figure < best,
        };
        if is_better {
            self.figure = Some(figure);
            self.since = 0;
        } else {
            self.since += 1;
        }
    }

    /// Whether so many validations in a row were not better; 0 has any patience.
    pub(crate) fn end(&self, patience: u64, step: u64) -> Option<EarlyEnd> {
        (patience > 0 && self.since >= patience).then(|| EarlyEnd::Patience {
            step,
            tests: self.since,
            best: self.figure.unwrap_or(f64::NAN),
        })
    }
}

/// Whether a budget of time is used up; 0 is none.
pub(crate) fn over_budget(seconds: f64, spent: f64, step: u64) -> Option<EarlyEnd> {
    (seconds > 0.0 && spent >= seconds).then_some(EarlyEnd::TimeBudget { step, seconds })
}

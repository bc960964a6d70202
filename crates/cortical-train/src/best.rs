//! The best test so far.

/// The best test so far, and how many since were not better.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Best {
    pub(crate) figure: Option<f64>,
    pub(crate) since: u64,
}

impl Best {
    /// Takes a test's figure into account; a larger one is better, or a smaller one.
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
}

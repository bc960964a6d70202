//! What became of a case.

use crate::Stop;
use cortical_testkit::{Case, Values, Worst, compare};

/// How the name begins of what PyTorch computes in double precision from numbers of single precision.
pub(crate) const EXACT: &str = "exact.";

/// How a case went: passed with the largest difference seen, or why not.
#[derive(Debug)]
pub struct Outcome {
    /// The case's file without its extension.
    pub name: String,
    /// What was seen, or what stopped the case.
    pub result: Result<Seen, Stop>,
}

/// What a case that passed was compared by.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Seen {
    /// The ways in which it ran: `layer`, `operation`, `fallback`, and others of single kinds.
    pub ways: Vec<&'static str>,
    /// How many tensors were compared, over all ways.
    pub compared: usize,
    /// The largest difference of all.
    pub worst: Worst,
    /// Where that was: the way and the tensor.
    pub place: String,
}

/// Compares tensors of one case with what PyTorch computed.
pub(crate) struct Judge<'a> {
    pub(crate) case: &'a Case,
    pub(crate) seen: Seen,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(case: &'a Case) -> Self {
        Self {
            case,
            seen: Seen::default(),
        }
    }

    /// Compares `got` with the case's tensor called `what`; the shape is compared where one is given. Where the case
    /// holds what double precision makes of the same numbers, each element may be close to that instead.
    pub(crate) fn compare(
        &mut self,
        way: &'static str,
        what: &str,
        got: &[f64],
        shape: Option<&[usize]>,
    ) -> Result<(), Stop> {
        let Some(want) = self.case.tensors.get(what) else {
            return Err(Stop::Malformed {
                what: what.to_string(),
            });
        };
        if let Some(shape) = shape.filter(|shape| *shape != want.shape) {
            return Err(Stop::Shape {
                way,
                what: what.to_string(),
                expected: want.shape.clone(),
                got: shape.to_vec(),
            });
        }
        let mut wanted = want.to_f64();
        if let Some(exact) = self.case.tensors.get(&format!("{EXACT}{what}")) {
            let exact = exact.to_f64().into_iter().map(|exact| match want.data {
                Values::F32(_) => f64::from(exact as f32),
                _ => exact,
            });
            for ((want, exact), got) in wanted.iter_mut().zip(exact).zip(got) {
                let close = compare(&[*got], &[*want], self.case.rtol, self.case.atol);
                if close.is_err() {
                    *want = exact;
                }
            }
        }
        let worst = compare(got, &wanted, self.case.rtol, self.case.atol).map_err(|mismatch| {
            Stop::Values {
                way,
                what: what.to_string(),
                mismatch,
            }
        })?;
        self.seen.compared += 1;
        if worst.difference > self.seen.worst.difference || self.seen.place.is_empty() {
            self.seen.worst = worst;
            self.seen.place = format!("{way}: {what}");
        }
        if !self.seen.ways.contains(&way) {
            self.seen.ways.push(way);
        }
        Ok(())
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.result {
            Ok(seen) => {
                let (ways, place) = (seen.ways.join(", "), &seen.place);
                let difference = seen.worst.difference;
                write!(
                    f,
                    "passed   {} ({} tensors by {ways}): largest difference {difference:.2e} in {place}",
                    self.name, seen.compared
                )
            }
            Err(stop) if stop.is_skip() => write!(f, "skipped  {}: {stop}", self.name),
            Err(stop) => write!(f, "FAILED   {}: {stop}", self.name),
        }
    }
}

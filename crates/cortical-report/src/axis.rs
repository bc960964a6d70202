//! Axes: from numbers to places on the paper, with ticks at round numbers.

/// One direction of a chart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    /// Where `low` and `high` lie on the paper.
    from: f64,
    to: f64,
}

/// What is larger than this is drawn at the edge, and what is nearer to 0 than its inverse as 0 (or, upwards in powers
/// of ten, at the other edge): beyond lie infinities and numbers that halving does not halve.
const LARGEST: f64 = 1e300;
/// Numbers that lie closer together than this share of their size are one number to the eye and to `f64`.
const CLOSEST: f64 = 1e-12;

impl Axis {
    /// An axis over these numbers; those that are none are passed over, and with `log` those that are not above 0.
    pub(crate) fn over(
        numbers: impl Iterator<Item = f64>,
        log: bool,
        (from, to): (f64, f64),
    ) -> Self {
        let usable = |x: &f64| x.is_finite() && (!log || *x > 0.0);
        let drawn = numbers.filter(usable).map(|x| drawable(x, log));
        let bounds = drawn.fold(None, |bounds, x| {
            let (low, high) = bounds.unwrap_or((x, x));
            Some((x.min(low), x.max(high)))
        });
        let (mut low, mut high) = bounds.unwrap_or(if log { (0.1, 1.0) } else { (0.0, 1.0) });
        if high / 2.0 - low / 2.0 <= CLOSEST * low.abs().max(high.abs()) {
            // One number alone lies in the middle.
            (low, high) = match (log, low == 0.0) {
                (true, _) => (low / 2.0, high * 2.0),
                (false, true) => (-1.0, 1.0),
                (false, false) => (low - low.abs() / 2.0, high + high.abs() / 2.0),
            };
        }
        Self {
            low,
            high,
            log,
            from,
            to,
        }
    }

    /// The same with its ends at round numbers and a little air.
    pub(crate) fn rounded(self) -> Self {
        if self.log {
            return Self {
                low: self.low / 1.1,
                high: self.high * 1.1,
                ..self
            };
        }
        let step = step_of(self.low, self.high);
        Self {
            low: (self.low / step).floor() * step,
            high: (self.high / step).ceil() * step,
            ..self
        }
    }

    /// The same with no end beyond these, where no number lies beyond them.
    pub(crate) fn within(self, low: f64, high: f64) -> Self {
        Self {
            low: self.low.max(low).min(self.high),
            high: self.high.min(high).max(self.low),
            ..self
        }
    }

    /// Where a number lies on the paper; `None` for what has no place.
    pub(crate) fn place(&self, x: f64) -> Option<f64> {
        if !x.is_finite() || (self.log && x <= 0.0) {
            return None;
        }
        let x = drawable(x, self.log);
        let share = if self.log {
            (x.ln() - self.low.ln()) / (self.high.ln() - self.low.ln())
        } else {
            // Halves first, for the whole width may be infinite.
            (x / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0)
        };
        Some(self.from + share * (self.to - self.from))
    }

    /// Round numbers between the ends: powers of ten where there are enough of them, else 1, 2 and 5 times those, else
    /// even steps.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        if self.log {
            let (first, last) = (self.low.log10().floor(), self.high.log10().ceil());
            let decades = (last - first).max(1.0);
            let every = (decades / 8.0).ceil().max(1.0);
            let factors: &[f64] = if decades <= 2.0 {
                &[1.0, 2.0, 5.0]
            } else {
                &[1.0]
            };
            let mut ticks = Vec::new();
            let mut power = first;
            while power <= last && ticks.len() < 40 {
                ticks.extend(factors.iter().map(|factor| factor * 10_f64.powf(power)));
                power += every;
            }
            ticks.retain(|tick| (self.low..=self.high).contains(tick));
            // Between 3 and 4 lies none of them: there, as on an even axis.
            if ticks.len() > 1 {
                return ticks;
            }
        }
        let step = step_of(self.low, self.high);
        let first = (self.low / step).ceil();
        let count = ((self.high / step).floor() - first).clamp(0.0, 40.0) as u32;
        (0..=count).map(|i| (first + f64::from(i)) * step).collect()
    }
}

/// The number as far as it can be drawn.
fn drawable(x: f64, log: bool) -> f64 {
    let x = x.clamp(-LARGEST, LARGEST);
    match (x.abs() < 1.0 / LARGEST, log) {
        (true, true) => 1.0 / LARGEST,
        (true, false) => 0.0,
        (false, _) => x,
    }
}

/// A round step, 1, 2 or 5 times a power of ten, of which about five fit between the numbers.
fn step_of(low: f64, high: f64) -> f64 {
    let rough = (high / 5.0 - low / 5.0).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|f| f * power >= rough * 0.999);
    let step = factor.unwrap_or(10.0) * power;
    if step > 0.0 && step.is_finite() {
        step
    } else {
        rough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(numbers: &[f64], log: bool) -> Axis {
        Axis::over(numbers.iter().copied(), log, (0.0, 100.0))
    }

    #[test]
    fn ticks_are_round() {
        let plain = axis(&[0.03, 0.97], false).rounded();
        assert_eq!(plain.ticks(), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(plain.place(0.5), Some(50.0));
        let log = axis(&[1e-3, 10.0], true);
        assert_eq!(log.ticks(), [1e-3, 1e-2, 0.1, 1.0, 10.0]);
        assert!((log.place(0.1).unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(axis(&[1.0, 6.0], true).ticks(), [1.0, 2.0, 5.0]);
        let narrow = axis(&[3.1, 3.9], true).ticks();
        assert!(narrow.len() >= 3, "{narrow:?}");
    }

    #[test]
    fn nothing_one_number_and_no_numbers_have_an_axis() {
        for log in [false, true] {
            for numbers in [&[][..], &[3.0], &[0.0], &[f64::NAN, f64::INFINITY], &[-2.0]] {
                let axis = axis(numbers, log).rounded();
                assert!(axis.ticks().len() > 1, "{numbers:?} {log}");
                assert!(axis.place(1.0).is_some_and(f64::is_finite));
                assert_eq!(axis.place(f64::NAN), None);
            }
        }
        assert_eq!(axis(&[1.0, 2.0], true).place(0.0), None);
    }

    #[test]
    fn an_axis_of_shares_ends_at_one() {
        let all = axis(&[1.0, 1.0], false).rounded().within(0.0, 1.0);
        assert_eq!(all.ticks().last(), Some(&1.0));
        assert!(all.place(1.0).is_some_and(|at| at <= 100.0));
    }

    #[test]
    fn the_widest_axis_is_finite() {
        let axis = axis(&[f64::MIN, f64::MAX], false);
        assert_eq!(axis.place(0.0), Some(50.0));
        assert!(axis.ticks().len() < 50);
    }

    #[test]
    fn one_number_of_any_size_lies_on_the_paper() {
        let tiny = 5e-324;
        for number in [
            f64::MAX,
            -1.639_526_911_647_874e308,
            f64::MIN_POSITIVE,
            tiny,
            -tiny,
            1.0,
        ] {
            for log in [false, true] {
                let next = number - number * f64::EPSILON;
                for numbers in [[number, number], [number, next]] {
                    let axis = axis(&numbers, log).rounded();
                    let places = numbers.map(|x| axis.place(x));
                    let lies =
                        |place: &Option<f64>| place.is_some_and(|p| (0.0..=100.0).contains(&p));
                    assert!(
                        places.iter().all(|p| lies(p) || (log && number < 0.0)),
                        "{numbers:?} {log}: {places:?}"
                    );
                    assert!(
                        axis.ticks().iter().all(|tick| tick.is_finite()),
                        "{numbers:?} {log}"
                    );
                }
            }
        }
    }
}

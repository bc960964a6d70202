//! The line search of L-BFGS: brackets a length at which the strong Wolfe conditions hold, and narrows it by cubic
//! interpolation.

/// Loss, gradient and slope along the direction at one length.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) loss: f64,
    pub(super) gradient: Vec<f64>,
    pub(super) slope: f64,
}

/// What the search ended with.
pub(super) struct Found {
    pub(super) length: f64,
    pub(super) point: Point,
    pub(super) evaluations: u64,
}

/// Share of the first slope by which the loss must fall, and by which the slope must flatten.
const FALL: f64 = 1e-4;
const FLATTEN: f64 = 0.9;

/// One end of a bracket.
#[derive(Clone, Debug)]
struct End {
    length: f64,
    point: Point,
}

/// The lowest point of the cubic through two ends with their slopes, inside `bounds`; their middle where there is none.
fn cubic_minimum(a: &End, b: &End, bounds: (f64, f64)) -> f64 {
    let (low, high) = bounds;
    let d1 =
        a.point.slope + b.point.slope - 3.0 * (a.point.loss - b.point.loss) / (a.length - b.length);
    let square = d1 * d1 - a.point.slope * b.point.slope;
    if square < 0.0 || square.is_nan() {
        return f64::midpoint(low, high);
    }
    let d2 = square.sqrt();
    let share = |from: &End, to: &End| {
        let way = to.length - from.length;
        let numerator = to.point.slope + d2 - d1;
        to.length - way * (numerator / (to.point.slope - from.point.slope + 2.0 * d2))
    };
    let minimum = if a.length <= b.length {
        share(a, b)
    } else {
        share(b, a)
    };
    minimum.max(low).min(high)
}

fn sorted(a: &End, b: &End) -> (f64, f64) {
    (a.length.min(b.length), a.length.max(b.length))
}

/// Finds a length from the first guess; `budget` limits the evaluations, `tolerance` the size of a bracket times
/// the largest element of the direction.
pub(super) fn strong_wolfe<E>(
    start: Point,
    guess: f64,
    (budget, tolerance, largest): (u64, f64, f64),
    mut evaluate: impl FnMut(f64) -> Result<Point, E>,
) -> Result<Found, E> {
    let limit = |length: f64| start.loss + FALL * length * start.slope;
    let begin = End {
        length: 0.0,
        point: start.clone(),
    };
    let mut new = End {
        length: guess,
        point: evaluate(guess)?,
    };
    let (mut evaluations, mut round) = (1, 0);
    // 1. Go on until an interval holds a good length.
    let mut last = begin.clone();
    let mut bracket = None;
    while round < budget {
        let loss = new.point.loss;
        if loss > limit(new.length) || (round > 1 && loss >= last.point.loss) {
            bracket = Some([last.clone(), new.clone()]);
            break;
        }
        if new.point.slope.abs() <= -FLATTEN * start.slope {
            return Ok(found(new, evaluations));
        }
        if new.point.slope >= 0.0 {
            bracket = Some([last.clone(), new.clone()]);
            break;
        }
        let bounds = (
            new.length + 0.01 * (new.length - last.length),
            new.length * 10.0,
        );
        let length = cubic_minimum(&last, &new, bounds);
        last = new;
        new = End {
            length,
            point: evaluate(length)?,
        };
        evaluations += 1;
        round += 1;
    }
    let mut bracket = bracket.unwrap_or([begin, new]);
    // 2. Narrow it.
    let mut stuck = false;
    order(&mut bracket);
    while round < budget {
        let (low, high) = sorted(&bracket[0], &bracket[1]);
        if (high - low) * largest < tolerance {
            break;
        }
        let mut length = cubic_minimum(&bracket[0], &bracket[1], (low, high));
        // Close to an end twice in a row, or at one: go a tenth of the way inside.
        let margin = 0.1 * (high - low);
        if (high - length).min(length - low) < margin {
            if stuck || length >= high || length <= low {
                length = if (length - high).abs() < (length - low).abs() {
                    high - margin
                } else {
                    low + margin
                };
                stuck = false;
            } else {
                stuck = true;
            }
        } else {
            stuck = false;
        }
        let new = End {
            length,
            point: evaluate(length)?,
        };
        evaluations += 1;
        round += 1;
        // The lower end comes first.
        let [best, other] = &mut bracket;
        if new.point.loss > limit(length) || new.point.loss >= best.point.loss {
            *other = new;
            order(&mut bracket);
            continue;
        }
        let done = new.point.slope.abs() <= -FLATTEN * start.slope;
        if !done && new.point.slope * (other.length - best.length) >= 0.0 {
            *other = best.clone();
        }
        *best = new;
        if done {
            break;
        }
    }
    let [best, _] = bracket;
    Ok(found(best, evaluations))
}

/// Puts the end with the lower loss first.
fn order(bracket: &mut [End; 2]) {
    if bracket[0].point.loss > bracket[1].point.loss {
        bracket.swap(0, 1);
    }
}

fn found(end: End, evaluations: u64) -> Found {
    Found {
        length: end.length,
        point: end.point,
        evaluations,
    }
}

//! Random shapes, dtypes and options: a typed error or the right result, never a panic.

use crate::pick::{Pick, spoiled};
use crate::subject::{Subject, numbers};
use crate::table::table;
use candle_core::{DType, Tensor, Var};
use cortical_tensor::{Error, Result, Rng, Seed, with_fallback};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many random calls each entry of the table gets.
const TRIES: u64 = 120;

/// One random call: its arguments and the seed of its options.
fn call(subject: &Subject, seed: u64) -> Vec<Tensor> {
    let mut rng = Rng::new(Seed(seed), &subject.name);
    let shapes = subject.shapes[rng.below(subject.shapes.len() as u64) as usize];
    let arguments = subject.arguments(shapes, DType::F32);
    (arguments.into_iter())
        .map(|x| {
            if rng.below(4) == 0 {
                spoiled(&x, &mut rng)
            } else {
                x
            }
        })
        .collect()
}

/// What became of a call on one path.
enum Outcome {
    Done(Tensor),
    Refused(Error),
    Panicked,
}

fn attempt(run: impl FnOnce() -> Result<Tensor>) -> Outcome {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(y)) => Outcome::Done(y),
        Ok(Err(e)) => Outcome::Refused(e),
        Err(_) => Outcome::Panicked,
    }
}

/// The result, after its gradients have been computed.
fn forward_and_backward(
    subject: &Subject,
    arguments: &[Tensor],
    pick: &mut Pick,
) -> Result<Tensor> {
    // A view of more elements than memory has cannot become a variable.
    let vars = (arguments.iter())
        .map(|x| {
            let small = x.dims().iter().all(|d| *d < 1 << 20);
            match small && x.dtype().is_float() {
                true => Ok(Var::from_tensor(x)?.as_tensor().clone()),
                false => Ok(x.clone()),
            }
        })
        .collect::<Result<Vec<Tensor>>>()?;
    let y = (subject.run)(pick, &vars)?;
    if y.dtype().is_float() {
        y.sum_all()?.backward()?;
    }
    Ok(y)
}

fn check(subject: &Subject, seed: u64) -> std::result::Result<bool, String> {
    let arguments = call(subject, seed);
    let shapes: Vec<_> = (arguments.iter().map(|t| (t.dims(), t.dtype()))).collect();
    let at = format!("{}, try {seed}, {shapes:?}", subject.name);
    let mut pick = Pick::hostile(seed);
    let kernel = attempt(|| forward_and_backward(subject, &arguments, &mut pick));
    let wild = pick.wild;
    let mut pick = Pick::hostile(seed);
    let fallback =
        attempt(|| with_fallback(|| forward_and_backward(subject, &arguments, &mut pick)));
    match (kernel, fallback) {
        (Outcome::Panicked, _) => Err(format!("{at}: panic")),
        (_, Outcome::Panicked) => Err(format!("{at}: panic of the fallback")),
        (Outcome::Refused(Error::Candle(e)), _) => Err(format!("{at}: refused by candle: {e}")),
        (_, Outcome::Refused(Error::Candle(e))) => {
            Err(format!("{at}: fallback refused by candle: {e}"))
        }
        (Outcome::Refused(_), Outcome::Refused(_)) => Ok(false),
        (Outcome::Refused(e), Outcome::Done(_)) => {
            Err(format!("{at}: only the kernel refuses: {e}"))
        }
        (Outcome::Done(_), Outcome::Refused(e)) => {
            Err(format!("{at}: only the fallback refuses: {e}"))
        }
        (Outcome::Done(k), Outcome::Done(c)) => {
            if k.dims() != c.dims() || k.dtype() != c.dtype() {
                return Err(format!("{at}: {k:?} and fallback {c:?}"));
            }
            // Half precision rounds both, and single precision is what the others are computed in.
            let tolerance = if k.dtype() == DType::BF16 { 2e-2 } else { 2e-4 };
            for (i, (k, c)) in numbers(&k).into_iter().zip(numbers(&c)).enumerate() {
                let alike = k == c || (k.is_nan() && c.is_nan());
                if !wild && !alike && (k - c).abs() > tolerance * (1.0 + c.abs()) {
                    return Err(format!("{at}: element {i} is {k}, fallback {c}"));
                }
            }
            Ok(true)
        }
    }
}

#[test]
fn every_operation_refuses_or_is_right() {
    let mut failures = Vec::new();
    for subject in table() {
        let (mut done, mut failed) = (0, 0);
        for seed in 0..TRIES {
            match check(&subject, seed) {
                Ok(ran) => done += u64::from(ran),
                Err(failure) => {
                    // A few of one kind say enough.
                    failed += 1;
                    if failed <= 3 {
                        failures.push(failure);
                    }
                }
            }
        }
        if failed == 0 && !(1..TRIES).contains(&done) {
            failures.push(format!("{}: {done} of {TRIES} calls ran", subject.name));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

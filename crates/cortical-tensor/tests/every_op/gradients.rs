//! Gradients of every operation against central differences, over layouts and sizes, on both paths.

use crate::pick::Pick;
use crate::subject::{Shapes, Subject, numbers};
use crate::table::table;
use candle_core::{DType, Tensor};
use cortical_tensor::gradcheck::gradcheck;
use cortical_tensor::{Result, with_fallback};

/// How the arguments reach the operation.
#[derive(Clone, Copy, Debug)]
enum Layout {
    Plain,
    /// The elements of each argument lie two apart.
    Gaps,
    /// The outermost axis lies innermost.
    Transposed,
    /// One element stands for a whole axis.
    Broadcast,
    /// The result and the result again, so that every argument gets two gradients.
    Twice,
}

const LAYOUTS: [Layout; 5] = [
    Layout::Plain,
    Layout::Gaps,
    Layout::Transposed,
    Layout::Broadcast,
    Layout::Twice,
];

impl Layout {
    /// A view of the same shape with this layout, through candle's own operations.
    fn view(self, x: &Tensor) -> candle_core::Result<Tensor> {
        let rank = x.rank();
        match self {
            Self::Plain | Self::Twice => Ok(x.clone()),
            Self::Gaps => {
                let pairs = Tensor::stack(&[x, &x.ones_like()?], rank)?;
                pairs.narrow(rank, 0, 1)?.squeeze(rank)
            }
            Self::Transposed if rank > 1 => {
                let moved = x.transpose(0, rank - 1)?.contiguous()?;
                moved.transpose(0, rank - 1)
            }
            Self::Broadcast => match x.dims().iter().position(|d| *d > 1) {
                Some(axis) => x.narrow(axis, 0, 1)?.broadcast_as(x.shape()),
                None => Ok(x.clone()),
            },
            Self::Transposed => Ok(x.clone()),
        }
    }

    fn run(self, subject: &Subject, arguments: &[Tensor]) -> Result<Tensor> {
        let views = (arguments.iter())
            .map(|x| {
                if x.elem_count() == 0 {
                    Ok(x.clone())
                } else {
                    self.view(x)
                }
            })
            .collect::<candle_core::Result<Vec<_>>>()?;
        let once = || (subject.run)(&mut Pick::sensible(), &views);
        match self {
            Self::Twice => Ok((once()? + (once()? * 0.5)?)?),
            _ => once(),
        }
    }
}

fn check(subject: &Subject, shapes: Shapes, layout: Layout) -> std::result::Result<(), String> {
    let arguments = subject.arguments(shapes, DType::F64);
    let run = |t: &[Tensor]| layout.run(subject, t);
    let place = |path: &str| format!("{}, {shapes:?}, {layout:?}, {path}", subject.name);
    let kernel = run(&arguments).map_err(|e| format!("{}: {e}", place("kernel")))?;
    let fallback =
        with_fallback(|| run(&arguments)).map_err(|e| format!("{}: {e}", place("fallback")))?;
    if kernel.dims() != fallback.dims() || kernel.dtype() != fallback.dtype() {
        return Err(format!("{}: {kernel:?} {fallback:?}", place("both")));
    }
    for (i, (k, c)) in numbers(&kernel)
        .into_iter()
        .zip(numbers(&fallback))
        .enumerate()
    {
        let alike = k == c || (k - c).abs() <= 1e-6 * (1.0 + c.abs()) || (k.is_nan() && c.is_nan());
        if !alike {
            return Err(format!(
                "{}: element {i} is {k}, fallback {c}",
                place("both")
            ));
        }
    }
    if subject.differentiable {
        gradcheck(&arguments, run).map_err(|e| format!("{}: {e}", place("kernel")))?;
        with_fallback(|| gradcheck(&arguments, run))
            .map_err(|e| format!("{}: {e}", place("fallback")))?;
    }
    Ok(())
}

#[test]
fn every_gradient_is_its_difference_quotient() {
    let mut failures = Vec::new();
    for subject in table() {
        for &shapes in &subject.shapes {
            for layout in LAYOUTS {
                if !subject.smooth && matches!(layout, Layout::Broadcast) {
                    continue;
                }
                failures.extend(check(&subject, shapes, layout).err());
            }
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn every_subject_is_checked_empty_and_single() {
    for subject in table() {
        let empty = |shapes: &Shapes| shapes.iter().any(|s| s.contains(&0));
        // Some operations need more than one element, but none more than one along every axis.
        let single = |shapes: &Shapes| shapes[0].is_empty() || shapes[0].contains(&1);
        let name = &subject.name;
        assert!(subject.shapes.iter().any(empty), "{name}: nothing empty");
        assert!(subject.shapes.iter().any(single), "{name}: no axis of one");
        assert!(!subject.large.is_empty(), "{name}: no large shapes");
    }
}

#[test]
fn a_wrong_gradient_is_found_in_every_layout() {
    use crate::subject::{Case, subject};
    let wrong = subject("wrong", Case::None("it is wrong"), |_, t| {
        // The detached half is missing from the gradient.
        Ok((t[0].sqr()? + t[0].detach().sqr()?)?)
    });
    for layout in LAYOUTS {
        let failure = check(&wrong, &[&[3, 2]], layout).expect_err("a wrong gradient");
        assert!(failure.contains("central differences give"), "{failure}");
    }
}

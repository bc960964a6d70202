//! Optimizer updates: one pass that reads the gradient and rewrites the parameter and its state in place.
//!
//! An algorithm is a [`Rule`] for one element, which its optimizer in `cortical-optim` makes of its hyperparameters for
//! each step; [`run`] applies it to a whole parameter, vectors and threads included, and [`each`] is the plain loop of
//! the naive form beside it. All of them are bound by memory, so what counts is a single fused pass. They use no fused
//! multiply-add: every operation is rounded on its own as IEEE 754 says, so an update has the same bits not only for
//! any number of threads but on every instruction set.
//!
//! Legend: `p` parameter, `g` gradient.
//!
//! ```
//! use cortical_kernels::optimizer::{Rule, run};
//! /// Plain gradient descent with a learning rate of a half.
//! #[derive(Clone, Copy)]
//! struct Descent;
//! impl Rule<f32, 0> for Descent {
//!     fn update(&self, p: f32, g: f32, _: [f32; 0]) -> (f32, [f32; 0]) {
//!         (p - 0.5 * g, [])
//!     }
//! }
//! let mut param = [1.0_f32, 2.0];
//! run(Descent, &mut param, &[2.0, -2.0], &mut []);
//! assert_eq!(param, [0.0, 3.0]);
//! ```

pub mod average;
pub mod clip;
pub mod newton_schulz;

use crate::isa::{self, InstructionSet};
use crate::parallel::{self, TASK_ELEMENTS};
use crate::prefetch;
use crate::real::Real;

/// What happens to one element; `S` is the number of its states.
pub trait Rule<T: Real, const S: usize>: Copy + Send + Sync {
    /// The parameter and its states after the step.
    fn update(&self, p: T, g: T, state: [T; S]) -> (T, [T; S]);
}

/// One parameter's slices, all of one length.
struct Slices<'a, T, const S: usize> {
    param: &'a mut [T],
    grad: &'a [T],
    state: [&'a mut [T]; S],
}

impl<'a, T, const S: usize> Slices<'a, T, S> {
    /// Checks the lengths.
    fn new(param: &'a mut [T], grad: &'a [T], state: &'a mut [&mut [T]]) -> Self {
        assert_eq!(state.len(), S, "optimizer: number of state slices");
        assert_eq!(grad.len(), param.len(), "optimizer: gradient and parameter");
        let mut slices = state.iter_mut();
        let state = std::array::from_fn(|_| {
            let state = slices.next().expect("as many as were counted above");
            assert_eq!(state.len(), param.len(), "optimizer: state and parameter");
            &mut **state
        });
        Self { param, grad, state }
    }

    /// The first `mid` elements and the rest.
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (param, param_rest) = self.param.split_at_mut(mid);
        let (grad, grad_rest) = self.grad.split_at(mid);
        let mut rests: [&mut [T]; S] = std::array::from_fn(|_| <&mut [T]>::default());
        let mut rest = rests.iter_mut();
        let state = self.state.map(|state| {
            let (first, second) = state.split_at_mut(mid);
            *rest.next().expect("one for each state") = second;
            first
        });
        let first = Self { param, grad, state };
        let second = Self {
            param: param_rest,
            grad: grad_rest,
            state: rests,
        };
        (first, second)
    }
}

/// A piece of work that is compiled for each instruction set.
trait Job {
    fn run(self);
}

struct Chunk<'a, R, T, const S: usize> {
    rule: R,
    slices: Slices<'a, T, S>,
}

impl<T: Real, R: Rule<T, S>, const S: usize> Job for Chunk<'_, R, T, S> {
    #[inline(always)]
    fn run(self) {
        let Slices { param, grad, state } = self.slices;
        let n = param.len();
        let whole = n / BLOCK * BLOCK;
        for at in (0..whole).step_by(BLOCK) {
            // Copies on the stack overlap with nothing, which the compiler cannot know of the slices: this loop becomes
            // vectors.
            let (mut p, g) = (block(param, at), block(grad, at));
            let mut s = [[T::ZERO; BLOCK]; S];
            for k in 0..S {
                s[k] = block(&*state[k], at);
            }
            for i in 0..BLOCK {
                let mut before = [T::ZERO; S];
                for k in 0..S {
                    before[k] = s[k][i];
                }
                let (after, states) = self.rule.update(p[i], g[i], before);
                p[i] = after;
                for k in 0..S {
                    s[k][i] = states[k];
                }
            }
            param[at..at + BLOCK].copy_from_slice(&p);
            for k in 0..S {
                state[k][at..at + BLOCK].copy_from_slice(&s[k]);
            }
        }
        for i in whole..n {
            let mut before = [T::ZERO; S];
            for k in 0..S {
                before[k] = state[k][i];
            }
            let (after, states) = self.rule.update(param[i], grad[i], before);
            param[i] = after;
            for k in 0..S {
                state[k][i] = states[k];
            }
        }
    }
}

/// Elements that are updated together: a few vectors, as the loop over them has to be worth vectorising.
const BLOCK: usize = 64;

/// The block that starts at an element, while what comes pages later is asked for.
#[inline(always)]
fn block<T: Real>(x: &[T], at: usize) -> [T; BLOCK] {
    const LINE_BYTES: usize = 64;
    let mut block = [T::ZERO; BLOCK];
    block.copy_from_slice(&x[at..at + BLOCK]);
    for i in (0..BLOCK).step_by(LINE_BYTES / size_of::<T>()) {
        prefetch::ahead(&x[at + i]);
    }
    block
}

multiversion! {
    fn dispatch<J: Job>(job: J) {
        job.run();
    }
}

/// Applies `rule` to every element, on several threads if that pays.
///
/// # Panics
/// If there are not `S` state slices, or the lengths differ.
pub fn run<T: Real, R: Rule<T, S>, const S: usize>(
    rule: R,
    param: &mut [T],
    grad: &[T],
    state: &mut [&mut [T]],
) {
    run_halves(isa::current(), rule, Slices::new(param, grad, state));
}

/// Halves the work until a piece is one task. Each element is computed on its own, so the cuts do not show in the bits.
fn run_halves<T: Real, R: Rule<T, S>, const S: usize>(
    isa: InstructionSet,
    rule: R,
    slices: Slices<'_, T, S>,
) {
    let tasks = slices.param.len().div_ceil(TASK_ELEMENTS);
    if tasks <= 1 || !parallel::is_parallel() {
        dispatch(isa, Chunk { rule, slices });
        return;
    }
    let (first, second) = slices.split_at(tasks / 2 * TASK_ELEMENTS);
    rayon::join(
        || run_halves(isa, rule, first),
        || run_halves(isa, rule, second),
    );
}

/// Calls `f(p, g, states)` for each element in order: the loop of the naive updates.
///
/// # Panics
/// As [`run`].
pub fn each<T: Real, const S: usize>(
    param: &mut [T],
    grad: &[T],
    state: &mut [&mut [T]],
    mut f: impl FnMut(&mut T, T, [&mut T; S]),
) {
    let Slices { param, grad, state } = Slices::new(param, grad, state);
    let mut states = state.map(|state| state.iter_mut());
    for (p, g) in param.iter_mut().zip(grad) {
        let state = states
            .each_mut()
            .map(|s| s.next().expect("states are as long as the parameter"));
        f(p, *g, state);
    }
}

#[cfg(test)]
mod tests;

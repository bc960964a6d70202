//! The sum of two branches of a network, with an activation.

use crate::activation::{Activation, forward_chunk};
use crate::isa;
use crate::parallel::{self, TASK_ELEMENTS};
use crate::real::Real;

multiversion! {
    fn add_chunk<T: Real>(a: &[T], b: &[T], sum: &mut [T]) {
        for ((sum, a), b) in sum.iter_mut().zip(a).zip(b) {
            *sum = *a + *b;
        }
    }
}

/// `y = activation(a + b)`, element by element.
///
/// # Panics
/// If the lengths differ.
///
/// ```
/// use cortical_kernels::activation::Activation;
/// let mut y = [0.0_f32; 2];
/// cortical_kernels::residual::forward(&[1.0, 2.0], &[3.0, -5.0], Activation::Relu, &mut y);
/// assert_eq!(y, [4.0, 0.0]);
/// ```
pub fn forward<T: Real>(a: &[T], b: &[T], activation: Activation, y: &mut [T]) {
    const BLOCK: usize = 512;
    assert_eq!(a.len(), y.len(), "first term of a sum");
    assert_eq!(b.len(), y.len(), "second term of a sum");
    let isa = isa::current();
    parallel::chunks_mut(y, TASK_ELEMENTS, |at, y| {
        let (a, b) = (&a[at..at + y.len()], &b[at..at + y.len()]);
        if activation == Activation::Identity {
            return add_chunk(isa, a, b, y);
        }
        // The sums of a block pass through the first-level cache alone.
        let mut room = [T::ZERO; BLOCK];
        for ((y, a), b) in y
            .chunks_mut(BLOCK)
            .zip(a.chunks(BLOCK))
            .zip(b.chunks(BLOCK))
        {
            let sums = &mut room[..y.len()];
            add_chunk(isa, a, b, sums);
            forward_chunk(isa, activation, sums, y);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation;
    use crate::isa::{InstructionSet, limited_to};

    #[test]
    fn it_is_an_addition_and_an_activation_on_every_instruction_set() {
        for n in [0, 1, 511, 513, TASK_ELEMENTS + 700] {
            let a: Vec<f32> = (0..n).map(|i| (i * 37 % 101) as f32 / 25.0 - 2.0).collect();
            let b: Vec<f32> = (0..n).map(|i| (i * 53 % 97) as f32 / 25.0 - 2.0).collect();
            let sums: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
            for set in [
                InstructionSet::Portable,
                InstructionSet::Avx2,
                InstructionSet::Avx512,
            ] {
                for activation in [Activation::Identity, Activation::Relu, Activation::Tanh] {
                    let (got, want) = limited_to(set, || {
                        let (mut got, mut want) = (vec![9.0; n], vec![0.0; n]);
                        forward(&a, &b, activation, &mut got);
                        activation::forward(activation, &sums, &mut want);
                        (got, want)
                    });
                    assert_eq!(got, want, "{set:?}, {activation:?}, {n}");
                }
            }
        }
    }
}

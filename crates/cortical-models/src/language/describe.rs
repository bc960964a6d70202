//! Parts of blocks of language models in numbers, which are no layers of their own.

use cortical_neuron::{Description, product};

/// The kind of every block of a language model.
pub(crate) const BLOCK: &str = "Block";

/// Scores of keys and sums of values, without the projections around them.
pub(crate) fn attention(
    block: &str,
    sample: &[usize; 2],
    heads: usize,
    causal: bool,
) -> Description {
    let [rows, d] = *sample;
    let pairs = match causal {
        true => product(&[rows, rows.saturating_add(1)]) / 2,
        false => product(&[rows, rows]),
    };
    let products = pairs.saturating_mul(2).saturating_mul(product(&[d]));
    Description::new("Attention", block, sample)
        .reads("each query reads the values of the rows that it sees, by how well their keys match")
        .costs(pairs.saturating_mul(product(&[heads])), products)
}

/// The sum of a block's input and of what was made of it.
pub(crate) fn sum(sample: &[usize; 2]) -> Description {
    Description::new("Sum", "", sample).reads("each neuron reads one of both inputs")
}

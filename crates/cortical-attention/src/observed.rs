//! Attention whose weights an observer may see.

use candle_core::Tensor;
use cortical_neuron::{Pass, Result, View};
use cortical_tensor::attention_weights;
use cortical_tensor::ops::{self, Attention};

/// [`attention`](cortical_tensor::ops::attention) of queries, keys and values in layer `layer`: the observer who asks
/// for [`View::Attention`] sees its [weights](cortical_tensor::attention_weights) as `NAME.weights`.
///
/// # Errors
/// As the operation.
pub fn observed_attention(
    layer: &str,
    [q, k, v]: [&Tensor; 3],
    options: Attention<'_>,
    pass: &mut Pass<'_>,
) -> Result<Tensor> {
    if pass.wants(View::Attention) {
        // Only for the observer: what goes on is computed without ever holding all weights.
        pass.observe(
            &format!("{layer}.weights"),
            attention_weights(q, k, options)?,
        )?;
    }
    Ok(ops::attention(q, k, v, options)?)
}

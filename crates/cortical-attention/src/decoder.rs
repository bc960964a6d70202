//! A Llama-style block.

use crate::{Cache, GroupedQueryAttention, GroupedQueryAttentionConfig, SwiGlu, SwiGluConfig};
use candle_core::Tensor;
use cortical_neuron::{Description, Layer, Pass, Result, RmsNorm, Scope};

/// The options of a [`DecoderBlock`].
#[derive(Clone, Debug)]
pub struct DecoderBlockConfig {
    hidden_size: usize,
    feed_forward: SwiGluConfig,
    attention: GroupedQueryAttentionConfig,
    eps: f64,
}

impl DecoderBlockConfig {
    /// The `eps` of both norms; 1e-5 by default.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// The feed-forward half, with SiLU and without biases by default.
    #[must_use]
    pub fn feed_forward(mut self, feed_forward: SwiGluConfig) -> Self {
        self.feed_forward = feed_forward;
        self
    }

    /// Makes the block at a place of a model.
    ///
    /// # Errors
    /// As [`GroupedQueryAttentionConfig::build`].
    pub fn build(self, scope: &Scope) -> Result<DecoderBlock> {
        let norm = |name: &str| {
            RmsNorm::config(&[self.hidden_size])
                .eps(self.eps)
                .build(&scope.at(name))
        };
        Ok(DecoderBlock {
            input_norm: norm("input_layernorm")?,
            attention: self.attention.clone().build(&scope.at("self_attn"))?,
            post_attention_norm: norm("post_attention_layernorm")?,
            mlp: self.feed_forward.build(&scope.at("mlp"))?,
        })
    }
}

/// `h = x + attention(norm(x))`, `y = h + swiglu(norm(h))`, with the parameter names of Llama's files.
///
/// Each half is one operation ([`attention_half`](cortical_tensor::ops::attention_half),
/// [`feed_forward`](cortical_tensor::ops::feed_forward)); only with a cache attention runs in its parts, with the same values.
///
/// # Shapes
/// - input and output: `[batch, rows, hidden_size]`
///
/// # Source
/// Touvron et al., "LLaMA: open and efficient foundation language models" (2023).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_attention::{DecoderBlock, GroupedQueryAttention};
/// use cortical_neuron::{Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let block = DecoderBlock::config(16, 24, GroupedQueryAttention::config(16, 4));
/// let block = block.build(&params.at("layers.0"))?;
/// let x = Tensor::zeros((1, 3, 16), DType::F32, &Device::Cpu)?;
/// assert_eq!(block.forward(&x, &mut Pass::eval())?.dims(), [1, 3, 16]);
/// assert_eq!(block.describe(&[3, 16])?.parameters, params.count());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DecoderBlock {
    input_norm: RmsNorm,
    attention: GroupedQueryAttention,
    post_attention_norm: RmsNorm,
    mlp: SwiGlu,
}

impl DecoderBlock {
    /// The options of a block with this attention and a feed-forward half of this width.
    #[must_use]
    pub fn config(
        hidden_size: usize,
        intermediate_size: usize,
        attention: GroupedQueryAttentionConfig,
    ) -> DecoderBlockConfig {
        DecoderBlockConfig {
            hidden_size,
            feed_forward: SwiGlu::config(hidden_size, intermediate_size),
            attention,
            eps: 1e-5,
        }
    }

    /// Every projection, those of the attention first.
    pub fn projections(&self) -> impl Iterator<Item = &cortical_dense::Linear> {
        let attention = self.attention.projections().into_iter();
        attention.chain(self.mlp.projections())
    }

    /// The block over the rows of `x` and, with a cache, over what was read before.
    ///
    /// # Errors
    /// When a shape does not fit; the error says in which layer.
    pub fn run(
        &self,
        x: &Tensor,
        cache: Option<&mut Cache>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let h = match cache {
            None => self.attention.half(x, &self.input_norm, pass)?,
            Some(cache) => {
                let normed = self.input_norm.forward(x, pass)?;
                (x + self.attention.attend(&normed, Some(cache), pass)?)?
            }
        };
        self.mlp.half(&h, &self.post_attention_norm, pass)
    }
}

impl Layer for DecoderBlock {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.run(x, None, pass)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let parts = vec![
            self.input_norm.describe(sample)?,
            self.attention.describe(sample)?,
            self.post_attention_norm.describe(sample)?,
            self.mlp.describe(sample)?,
        ];
        Ok(Description::of_parts("DecoderBlock", "", parts, sample))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rotary;
    use candle_core::{DType, Device};
    use cortical_kernels::rope::Pairs;
    use cortical_neuron::{Observer, Params};
    use cortical_tensor::Seed;

    fn block(params: &Params) -> DecoderBlock {
        let attention = GroupedQueryAttention::config(12, 4)
            .num_kv_heads(2)
            .bias(true)
            .rotary(Rotary::new(2, 10_000.0, Pairs::Halves));
        DecoderBlock::config(12, 20, attention)
            .build(&params.at("block"))
            .unwrap()
    }

    /// The block from its layers, one after the other.
    fn in_parts(block: &DecoderBlock, x: &Tensor, pass: &mut Pass<'_>) -> Tensor {
        let normed = block.input_norm.forward(x, pass).unwrap();
        let h = (x + block.attention.forward(&normed, pass).unwrap()).unwrap();
        let normed = block.post_attention_norm.forward(&h, pass).unwrap();
        (&h + block.mlp.forward(&normed, pass).unwrap()).unwrap()
    }

    fn numbers(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn halves_are_their_parts_in_values_and_gradients() {
        let params = Params::new(&Device::Cpu, Seed(3));
        let block = block(&params);
        let x = Tensor::arange(0.0_f32, 120.0, &Device::Cpu).unwrap();
        let x = x.sin().unwrap().reshape((2, 5, 12)).unwrap();
        let mut rng = params.rng("pass");
        let mut run = |joined: bool| {
            let mut pass = Pass::train(&mut rng);
            let y = if joined {
                block.forward(&x, &mut pass).unwrap()
            } else {
                in_parts(&block, &x, &mut pass)
            };
            let loss = (&y * &x).unwrap().sum_all().unwrap();
            params.backward(&loss).unwrap();
            let grads: Vec<Vec<f32>> = params
                .all()
                .iter()
                .map(|p| numbers(&p.grad().unwrap()))
                .collect();
            params.zero_grad();
            (numbers(&y), grads)
        };
        let (one, other) = (run(true), run(false));
        assert_eq!(one.0, other.0);
        for ((one, other), param) in one.1.iter().zip(&other.1).zip(params.all()) {
            let close = one
                .iter()
                .zip(other)
                .all(|(a, b)| (a - b).abs() < 1e-4 * b.abs().max(1.0));
            assert!(close, "{}", param.name());
        }
    }

    #[test]
    fn a_cache_changes_no_bit() {
        let params = Params::new(&Device::Cpu, Seed(3));
        let block = block(&params);
        let x = Tensor::ones((1, 6, 12), DType::F32, &Device::Cpu).unwrap();
        let (mut cache, mut pass) = (Cache::new(), Pass::eval());
        let cached = block.run(&x, Some(&mut cache), &mut pass).unwrap();
        assert_eq!(
            numbers(&cached),
            numbers(&block.forward(&x, &mut pass).unwrap())
        );
    }

    #[test]
    fn an_observer_sees_the_inside_and_changes_no_bit() {
        struct Names(Vec<(String, Vec<f32>)>);
        impl Observer for Names {
            fn activation(&mut self, layer: &str, output: &Tensor) {
                self.0.push((layer.to_string(), numbers(output)));
            }
        }
        let params = Params::new(&Device::Cpu, Seed(3));
        let block = block(&params);
        let x = Tensor::ones((1, 3, 12), DType::F32, &Device::Cpu).unwrap();
        let (mut joined, mut parts) = (Names(Vec::new()), Names(Vec::new()));
        let y = block
            .forward(&x, &mut Pass::eval().observed_by(&mut joined))
            .unwrap();
        in_parts(&block, &x, &mut Pass::eval().observed_by(&mut parts));
        assert_eq!(joined.0, parts.0);
        let names: Vec<&str> = joined.0.iter().map(|(name, _)| &name[..]).collect();
        let expected = [
            "input_layernorm",
            "self_attn",
            "post_attention_layernorm",
            "mlp",
        ];
        assert_eq!(names, expected.map(|name| format!("block.{name}")));
        assert_eq!(
            numbers(&y),
            numbers(&block.forward(&x, &mut Pass::eval()).unwrap())
        );
    }
}

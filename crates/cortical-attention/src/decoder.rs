//! A Llama-style block.

use crate::{GroupedQueryAttention, GroupedQueryAttentionConfig, Memory, SwiGlu, SwiGluConfig};
use candle_core::Tensor;
use cortical_neuron::{Description, Layer, Pass, Place, Result, RmsNorm, View, product};

/// The options of a [`DecoderBlock`].
#[derive(Clone, Debug)]
pub struct DecoderBlockConfig {
    hidden_size: usize,
    feed_forward: SwiGluConfig,
    attention: GroupedQueryAttentionConfig,
    eps: f64,
    norms: [Option<&'static str>; 4],
    norm_plus_one: bool,
}

impl DecoderBlockConfig {
    /// The names of the norms before and behind attention, before and behind the feed-forward sublayer, where there are
    /// some; by default `input_layernorm` and `post_attention_layernorm` before both.
    #[must_use]
    pub fn norms(mut self, names: [Option<&'static str>; 4]) -> Self {
        self.norms = names;
        self
    }

    /// Whether the norms' scales are one more than their parameters; see [`cortical_neuron::RmsNormConfig::plus_one`].
    #[must_use]
    pub fn norm_plus_one(mut self, plus_one: bool) -> Self {
        self.norm_plus_one = plus_one;
        self
    }

    /// The `eps` of the norms; 1e-5 by default.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// The feed-forward sublayer, with SiLU and without biases by default.
    #[must_use]
    pub fn feed_forward(mut self, feed_forward: SwiGluConfig) -> Self {
        self.feed_forward = feed_forward;
        self
    }

    /// Makes the block at a place of a model.
    ///
    /// # Errors
    /// As [`GroupedQueryAttentionConfig::build`].
    pub fn build(self, scope: &impl Place) -> Result<DecoderBlock> {
        let scope = &scope.place();
        let norm = |name: Option<&str>| {
            let config = RmsNorm::config(&[self.hidden_size])
                .eps(self.eps)
                .plus_one(self.norm_plus_one);
            name.map(|name| config.build(&scope.at(name))).transpose()
        };
        let [before_attention, behind_attention, before_mlp, behind_mlp] = self.norms;
        Ok(DecoderBlock {
            before_attention: norm(before_attention)?,
            attention: self.attention.clone().build(&scope.at("self_attn"))?,
            behind_attention: norm(behind_attention)?,
            before_mlp: norm(before_mlp)?,
            mlp: self.feed_forward.build(&scope.at("mlp"))?,
            behind_mlp: norm(behind_mlp)?,
            name: scope.path().to_owned(),
        })
    }
}

/// `h = x + attention(norm(x))`, `y = h + swiglu(norm(h))`, with the parameter names of Llama's files.
///
/// Relatives have their norms elsewhere ([`DecoderBlockConfig::norms`]): `h = x + norm(attention(x))`, or a norm on
/// both sides.
///
/// Each sublayer with a norm before it is one operation
/// ([`attention_sublayer`](cortical_tensor::ops::attention_sublayer),
/// [`feed_forward`](cortical_tensor::ops::feed_forward)); only with a cache attention runs in its parts, with the same
/// values.
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
    before_attention: Option<RmsNorm>,
    attention: GroupedQueryAttention,
    behind_attention: Option<RmsNorm>,
    before_mlp: Option<RmsNorm>,
    mlp: SwiGlu,
    behind_mlp: Option<RmsNorm>,
    name: String,
}

impl DecoderBlock {
    /// The options of a block with this attention and a feed-forward sublayer of this width.
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
            norms: [
                Some("input_layernorm"),
                None,
                Some("post_attention_layernorm"),
                None,
            ],
            norm_plus_one: false,
        }
    }

    /// Every projection, those of the attention first.
    pub fn projections(&self) -> impl Iterator<Item = &cortical_dense::Linear> {
        self.attention.projections().chain(self.mlp.projections())
    }

    /// The block over the rows of `x` and what was read before.
    ///
    /// # Errors
    /// When a shape does not fit; the error says in which layer.
    pub fn run(&self, x: &Tensor, memory: Memory<'_, '_>, pass: &mut Pass<'_>) -> Result<Tensor> {
        let h = match (&self.before_attention, &self.behind_attention, memory) {
            (Some(norm), None, Memory::None) => self.attention.sublayer(x, norm, pass)?,
            (before, behind, memory) => {
                let y = normed(before.as_ref(), x, pass)?;
                let y = self.attention.attend(&y, memory, pass)?;
                (x + normed(behind.as_ref(), &y, pass)?)?
            }
        };
        let y = match (&self.before_mlp, &self.behind_mlp) {
            (Some(norm), None) => self.mlp.sublayer(&h, norm, pass)?,
            (before, behind) => {
                let y = normed(before.as_ref(), &h, pass)?;
                let y = self.mlp.forward(&y, pass)?;
                (&h + normed(behind.as_ref(), &y, pass)?)?
            }
        };
        pass.observe_in(View::Modules, &self.name, y)
    }
}

/// What a norm makes of `x`, or `x` where there is none.
fn normed(norm: Option<&RmsNorm>, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(x, pass),
        None => Ok(x.clone()),
    }
}

impl Layer for DecoderBlock {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.run(x, Memory::None, pass)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let layers: [Option<&dyn Layer>; 6] = [
            self.before_attention.as_ref().map(|norm| norm as _),
            Some(&self.attention),
            self.behind_attention.as_ref().map(|norm| norm as _),
            self.before_mlp.as_ref().map(|norm| norm as _),
            Some(&self.mlp),
            self.behind_mlp.as_ref().map(|norm| norm as _),
        ];
        let layers = layers.into_iter().flatten();
        let parts = layers
            .map(|layer| layer.describe(sample))
            .collect::<Result<Vec<_>>>()?;
        let block = Description::of_parts("DecoderBlock", "", parts, sample);
        // One operation with a norm before it makes its sum as well; with a norm behind it the sum is one more.
        let behind = [&self.behind_attention, &self.behind_mlp].into_iter();
        let sums = behind.flatten().map(|_| product(sample));
        Ok(block.keeping(sums))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cache, Rotary};
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
        let y = normed(block.before_attention.as_ref(), x, pass).unwrap();
        let y = block.attention.forward(&y, pass).unwrap();
        let h = (x + normed(block.behind_attention.as_ref(), &y, pass).unwrap()).unwrap();
        let y = normed(block.before_mlp.as_ref(), &h, pass).unwrap();
        let y = block.mlp.forward(&y, pass).unwrap();
        (&h + normed(block.behind_mlp.as_ref(), &y, pass).unwrap()).unwrap()
    }

    fn assert_close(what: &str, a: &[f32], b: &[f32], within: f32) {
        assert_eq!(a.len(), b.len(), "{what}");
        let far = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        assert!(far.fold(0.0, f32::max) < within, "{what}: {a:?} {b:?}");
    }

    fn numbers(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn sublayers_are_their_parts_in_values_and_gradients() {
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
        let cached = block.run(&x, Memory::Text(&mut cache), &mut pass).unwrap();
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

    #[test]
    fn an_observer_may_ask_for_more_and_put_other_outputs_in_their_place() {
        struct All(Vec<(String, Vec<usize>)>, Option<&'static str>);
        impl Observer for All {
            fn activation(&mut self, layer: &str, output: &Tensor) {
                self.0.push((layer.to_string(), output.dims().to_vec()));
            }
            fn wants(&self, view: View) -> bool {
                view != View::Replacements || self.1.is_some()
            }
            fn replacement(&mut self, layer: &str, output: &Tensor) -> Result<Option<Tensor>> {
                Ok((self.1 == Some(layer))
                    .then(|| output.zeros_like())
                    .transpose()?)
            }
        }
        let params = Params::new(&Device::Cpu, Seed(3));
        let block = block(&params);
        let x = Tensor::arange(0.0_f32, 36.0, &Device::Cpu).unwrap();
        let x = (x.reshape((1, 3, 12)).unwrap() / 36.0).unwrap();
        let run = |all: &mut All| {
            block
                .forward(&x, &mut Pass::eval().observed_by(all))
                .unwrap()
        };
        let mut all = All(Vec::new(), None);
        let y = run(&mut all);
        let whole = block.forward(&x, &mut Pass::eval()).unwrap();
        assert_close("layer by layer", &numbers(&y), &numbers(&whole), 1e-5);
        let shape = |name: &str| {
            let named = all.0.iter().find(|(own, _)| own == name);
            named
                .unwrap_or_else(|| panic!("{name}: {:?}", all.0))
                .1
                .clone()
        };
        assert_eq!(shape("block.self_attn.k_proj"), [1, 3, 6]);
        assert_eq!(shape("block.self_attn.weights"), [1, 4, 3, 3]);
        assert_eq!(shape("block.mlp.down_proj.input"), [1, 3, 20]);
        assert_eq!(shape("block"), [1, 3, 12]);
        // Without its two sublayers a block gives what it is given.
        let without = run(&mut All(Vec::new(), Some("block.mlp")));
        let mut only = All(Vec::new(), Some("block.self_attn"));
        let both = block
            .mlp
            .sublayer(&x, block.before_mlp.as_ref().unwrap(), &mut Pass::eval());
        assert_close(
            "no attention",
            &numbers(&run(&mut only)),
            &numbers(&both.unwrap()),
            1e-5,
        );
        assert_ne!(numbers(&without), numbers(&whole));
    }

    #[test]
    fn relatives_of_llama_are_counted_and_a_cache_changes_nothing() {
        let plain = || {
            GroupedQueryAttention::config(12, 4)
                .num_kv_heads(2)
                .head_dim(4)
                .window(Some(3))
                .rotary(Rotary::new(2, 10_000.0, Pairs::Halves))
        };
        let around = ["a", "b", "c", "d"].map(Some);
        let behind = [None, Some("b"), None, Some("d")];
        let gemma = plain()
            .head_norm(Some(1e-6))
            .norm_plus_one(true)
            .scale(Some(0.7))
            .softcap(Some(0.5));
        let olmo = plain().head_norm(Some(1e-6)).norm_over_width(true);
        for (at, attention, norms, fused) in [
            (0, gemma, around, false),
            (1, olmo, behind, false),
            (2, plain().bias(true), around, true),
        ] {
            let params = Params::new(&Device::Cpu, Seed(at));
            let mlp = SwiGlu::config(12, 20).fused(fused);
            let block = DecoderBlock::config(12, 20, attention.fused(fused))
                .feed_forward(mlp)
                .norms(norms)
                .norm_plus_one(at == 0)
                .build(&params.at("block"))
                .unwrap();
            let described = block.describe(&[7, 12]).unwrap();
            assert_eq!(described.parameters, params.count(), "{at}");
            let x = Tensor::arange(0.0_f32, 84.0, &Device::Cpu).unwrap();
            let x = x.sin().unwrap().reshape((1, 7, 12)).unwrap();
            let whole = numbers(&block.forward(&x, &mut Pass::eval()).unwrap());
            let (mut cache, mut read) = (Cache::new(), Vec::new());
            for (from, rows) in [(0, 4), (4, 1), (5, 2)] {
                let part = x.narrow(1, from, rows).unwrap();
                let y = block.run(&part, Memory::Text(&mut cache), &mut Pass::eval());
                read.extend(numbers(&y.unwrap()));
            }
            let far = whole.iter().zip(&read).map(|(a, b)| (a - b).abs());
            assert!(far.fold(0.0, f32::max) < 1e-5, "{at}");
            let loss = block.forward(&x, &mut Pass::train(&mut params.rng("pass")));
            let loss = (loss.unwrap() * &x).unwrap().sum_all().unwrap();
            params.backward(&loss).unwrap();
        }
    }
}

//! Attention whose query heads share heads of keys and values.

use crate::{Cache, Rotary, project};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{
    Description, Error, Layer, Neurons, Param, Pass, Result, Scope, product, wrong_sample,
};
use cortical_tensor::ops::{self, Attention, HeadOrder};

/// The options of a [`GroupedQueryAttention`].
#[derive(Clone, Debug)]
pub struct GroupedQueryAttentionConfig {
    hidden_size: usize,
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: Option<usize>,
    bias: bool,
    causal: bool,
    rotary: Option<Rotary>,
}

impl GroupedQueryAttentionConfig {
    /// How many heads of keys and values there are; as many as of queries by default.
    #[must_use]
    pub fn num_kv_heads(mut self, heads: usize) -> Self {
        self.num_kv_heads = heads;
        self
    }

    /// The elements of a head; `hidden_size / num_heads` by default.
    #[must_use]
    pub fn head_dim(mut self, dim: usize) -> Self {
        self.head_dim = Some(dim);
        self
    }

    /// Whether queries, keys and values have biases; they have none by default.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Whether a query sees no later keys; so it is by default.
    #[must_use]
    pub fn causal(mut self, causal: bool) -> Self {
        self.causal = causal;
        self
    }

    /// Rotary positions; none by default.
    #[must_use]
    pub fn rotary(mut self, rotary: Rotary) -> Self {
        self.rotary = Some(rotary);
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::Option`] when the heads do not divide the width or the key heads the heads, [`Error::NameTaken`], [`Error::TooLarge`].
    pub fn build(self, scope: &Scope) -> Result<GroupedQueryAttention> {
        let (d, heads, kv) = (self.hidden_size, self.num_heads, self.num_kv_heads);
        if heads == 0 || (self.head_dim.is_none() && !d.is_multiple_of(heads)) {
            let (expected, got) = ("a divisor of hidden_size", heads.to_string());
            return Err(Error::Option {
                option: "num_heads",
                expected,
                got,
            });
        }
        if kv == 0 || !heads.is_multiple_of(kv) {
            let (expected, got) = ("a divisor of num_heads", kv.to_string());
            return Err(Error::Option {
                option: "num_kv_heads",
                expected,
                got,
            });
        }
        let dim = self.head_dim.unwrap_or(d / heads);
        let make = |name: &str, out: usize, input: usize, bias: bool| {
            Neurons::build(&scope.at(name), &[out, input], bias, Activation::Identity)
        };
        let (width, kv_width) = (heads.saturating_mul(dim), kv.saturating_mul(dim));
        Ok(GroupedQueryAttention {
            q: make("q_proj", width, d, self.bias)?,
            k: make("k_proj", kv_width, d, self.bias)?,
            v: make("v_proj", kv_width, d, self.bias)?,
            o: make("o_proj", d, width, false)?,
            dim,
            name: scope.path().to_string(),
            config: self,
        })
    }
}

/// Attention in which groups of query heads share a head of keys and values, with rotary positions and a cache: the attention of
/// Llama and its relatives, with the names of Hugging Face's files.
///
/// # Shapes
/// - input and output: `[batch, rows, hidden_size]`
/// - `q_proj.weight`: `[num_heads · head_dim, hidden_size]`; `k_proj.weight`, `v_proj.weight`: `[num_kv_heads · head_dim, hidden_size]`;
///   `o_proj.weight`: `[hidden_size, num_heads · head_dim]`
///
/// # Source
/// Ainslie et al., "GQA: training generalized multi-query transformer models from multi-head checkpoints" (2023).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_attention::{Cache, GroupedQueryAttention, Rotary};
/// use cortical_kernels::rope::Pairs;
/// use cortical_neuron::{Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let rotary = Rotary::new(4, 1e4, Pairs::Halves);
/// let config = GroupedQueryAttention::config(16, 4).num_kv_heads(2).rotary(rotary);
/// let layer = config.build(&params.at("self_attn"))?;
/// let mut cache = Cache::new();
/// let x = Tensor::zeros((1, 3, 16), DType::F32, &Device::Cpu)?;
/// layer.attend(&x, Some(&mut cache), &mut Pass::eval())?; // reads three rows
/// layer.attend(&x.narrow(1, 0, 1)?, Some(&mut cache), &mut Pass::eval())?; // and one more
/// assert_eq!(cache.len(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GroupedQueryAttention {
    q: Neurons,
    k: Neurons,
    v: Neurons,
    o: Neurons,
    dim: usize,
    name: String,
    config: GroupedQueryAttentionConfig,
}

impl GroupedQueryAttention {
    /// The options of a layer of this width with so many heads of queries.
    #[must_use]
    pub fn config(hidden_size: usize, num_heads: usize) -> GroupedQueryAttentionConfig {
        GroupedQueryAttentionConfig {
            hidden_size,
            num_heads,
            num_kv_heads: num_heads,
            head_dim: None,
            bias: false,
            causal: true,
            rotary: None,
        }
    }

    /// Attention over the rows of `x` and, with a cache, over what was read before; the cache takes the new keys and values.
    ///
    /// # Errors
    /// When a shape does not fit; the error says in which layer.
    pub fn attend(
        &self,
        x: &Tensor,
        cache: Option<&mut Cache>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let y = self
            .run(x, cache, pass)
            .map_err(|e| e.in_layer(&self.name))?;
        pass.observe(&self.name, &y);
        Ok(y)
    }

    fn run(&self, x: &Tensor, cache: Option<&mut Cache>, pass: &Pass<'_>) -> Result<Tensor> {
        let &[batch, rows, _] = x.dims() else {
            let expected = format!("[batch, rows, {}]", self.config.hidden_size);
            let (op, argument, got) = ("attention", "x", x.dims().to_vec());
            return Err(cortical_tensor::Error::Shape {
                op,
                argument,
                expected,
                got,
            }
            .into());
        };
        let before = cache.as_ref().map_or(0, |c| c.len());
        let heads = |neurons: &Neurons, heads: usize| -> Result<Tensor> {
            Ok(project(neurons, x, pass)?.reshape((batch, rows, heads, self.dim))?)
        };
        let turned = |t: Tensor| match &self.config.rotary {
            Some(rotary) => rotary.rotate(&t, before),
            None => Ok(t),
        };
        let q = turned(heads(&self.q, self.config.num_heads)?)?;
        let k = turned(heads(&self.k, self.config.num_kv_heads)?)?;
        let v = heads(&self.v, self.config.num_kv_heads)?;
        let (k, v) = match cache {
            Some(cache) => cache.append(&k, &v)?,
            None => (k, v),
        };
        let options = Attention {
            causal: self.config.causal.then_some(before),
            order: HeadOrder::Inside,
            ..Default::default()
        };
        let y = ops::attention(&q, &k, &v, options)?;
        project(&self.o, &y.flatten_from(2)?, pass)
    }
}

impl Layer for GroupedQueryAttention {
    /// Attention over the rows of `x` alone.
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.attend(x, None, pass)
    }

    /// As for the rows of one sample without a cache.
    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let d = self.config.hidden_size;
        let &[rows, width] = sample else {
            return Err(
                wrong_sample("attention", format!("[rows, {d}]"), sample).in_layer(&self.name)
            );
        };
        if width != d {
            return Err(
                wrong_sample("attention", format!("[rows, {d}]"), sample).in_layer(&self.name)
            );
        }
        let parts = [&self.q, &self.k, &self.v, &self.o];
        let params: Vec<&Param> = parts
            .iter()
            .flat_map(|n| [n.weight()].into_iter().chain(n.bias()))
            .collect();
        let (heads, kv, dim) = (self.config.num_heads, self.config.num_kv_heads, self.dim);
        let bias = if self.config.bias {
            format!(" + ({heads} + 2·{kv})·{dim}")
        } else {
            String::new()
        };
        let formula =
            format!("d·dim·(2·heads + 2·kv_heads) = {d}·{dim}·(2·{heads} + 2·{kv}){bias}");
        let pairs = match self.config.causal {
            true => product(&[rows, rows.saturating_add(1)]) / 2,
            false => product(&[rows, rows]),
        };
        let pairs = pairs.saturating_mul(product(&[heads]));
        let mut description = Description::new("GroupedQueryAttention", &self.name, sample)
            .reads("each query reads the values of the rows before it, by how well their keys match; neighbouring heads share keys and values")
            .parameters(params, formula)
            .costs(pairs, pairs.saturating_mul(2).saturating_mul(product(&[dim])));
        for part in parts {
            description = description.uses(part.weight(), rows)?;
        }
        Ok(description)
    }
}

//! Attention with several heads, as PyTorch has it.

mod inputs;
mod masks;
mod projections;

pub use inputs::Attend;

use crate::observed_attention;
use candle_core::{D, Tensor};
use cortical_dense::Linear;
use cortical_kernels::matmul::Transposes;
use cortical_neuron::{
    Description, Error, Init, Layer, Param, Pass, Place, Result, product, wrong_sample,
};
use cortical_tensor::ops::{self, Attention, HeadOrder};
use projections::Projections;

/// The options of a [`MultiHeadAttention`].
#[derive(Clone, Copy, Debug)]
pub struct MultiHeadAttentionConfig {
    embed_dim: usize,
    num_heads: usize,
    bias: bool,
    dropout: f64,
    causal: bool,
    batch_first: bool,
    kdim: Option<usize>,
    vdim: Option<usize>,
    bias_kv: bool,
    zero_attn: bool,
}

impl MultiHeadAttentionConfig {
    /// Whether the projections have biases; they have by default.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// The probability with which training drops an attention weight; 0 by default.
    #[must_use]
    pub fn dropout(mut self, p: f64) -> Self {
        self.dropout = p;
        self
    }

    /// Whether a query sees no later keys; it sees them by default.
    #[must_use]
    pub fn causal(mut self, causal: bool) -> Self {
        self.causal = causal;
        self
    }

    /// Whether inputs are `[batch, rows, embed_dim]`; they are by default (PyTorch's default is
    /// `[rows, batch, embed_dim]`).
    #[must_use]
    pub fn batch_first(mut self, batch_first: bool) -> Self {
        self.batch_first = batch_first;
        self
    }

    /// The width of what keys are made from; `embed_dim` by default.
    #[must_use]
    pub fn kdim(mut self, width: usize) -> Self {
        self.kdim = Some(width);
        self
    }

    /// The width of what values are made from; `embed_dim` by default.
    #[must_use]
    pub fn vdim(mut self, width: usize) -> Self {
        self.vdim = Some(width);
        self
    }

    /// Whether a learned key and value stand behind those of the memory, PyTorch's `add_bias_kv`; none by default.
    #[must_use]
    pub fn bias_kv(mut self, bias_kv: bool) -> Self {
        self.bias_kv = bias_kv;
        self
    }

    /// Whether a key and value of zeros stand behind the others, so that a query can look at nothing, PyTorch's
    /// `add_zero_attn`; none by default.
    #[must_use]
    pub fn zero_attn(mut self, zero_attn: bool) -> Self {
        self.zero_attn = zero_attn;
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::Option`] when the heads do not divide the width or dropout is no probability below 1,
    /// [`Error::NameTaken`], [`Error::TooLarge`].
    pub fn build(self, scope: &impl Place) -> Result<MultiHeadAttention> {
        let scope = &scope.place();
        let d = self.embed_dim;
        if self.num_heads == 0 || d == 0 || !d.is_multiple_of(self.num_heads) {
            let (expected, got) = ("a divisor of embed_dim", self.num_heads.to_string());
            return Err(Error::Option {
                option: "num_heads",
                expected,
                got,
            });
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let (expected, got) = ("a probability below 1", self.dropout.to_string());
            return Err(Error::Option {
                option: "dropout",
                expected,
                got,
            });
        }
        let (kdim, vdim) = (self.kdim.unwrap_or(d), self.vdim.unwrap_or(d));
        let projections = Projections::build(scope, d, (kdim, vdim), self.bias)?;
        let extra = |name: &str| {
            let init = Init::XavierNormal { gain: 1.0 };
            self.bias_kv
                .then(|| scope.param(name, &[1, 1, d], init))
                .transpose()
        };
        let extra = extra("bias_k")?.zip(extra("bias_v")?);
        let out = Linear::config(d, d).bias(self.bias);
        let out = out.build(&scope.at("out_proj"))?;
        if let Some(bias) = out.bias() {
            bias.set(&bias.tensor().zeros_like()?)?;
        }
        Ok(MultiHeadAttention {
            projections,
            extra,
            out,
            name: scope.path().to_string(),
            config: self,
        })
    }
}

/// `softmax(Q Kᵀ / √d + mask) V` in `num_heads` heads between an input and an output projection, PyTorch's
/// `nn.MultiheadAttention`.
///
/// Which inputs a neuron reads is chosen by content: a query's weights for all values are the softmax of its products
/// with the keys. The projections are `4 · embed_dim² + 4 · embed_dim` parameters; a sample of `n` rows costs
/// `4 · n · embed_dim²` multiply-adds in them and `2 · n² · embed_dim` between the rows.
///
/// # Shapes
/// - queries and output: `[batch, rows, embed_dim]`, or without `batch`; memory: `[batch, keys, kdim]`, values:
///   `[batch, keys, vdim]`
/// - `in_proj_weight`: `[3 · embed_dim, embed_dim]` (queries, keys, values), `in_proj_bias`: `[3 · embed_dim]`,
///   `out_proj.weight`: `[embed_dim, embed_dim]`, `out_proj.bias`: `[embed_dim]`
/// - with `kdim` or `vdim` unlike `embed_dim` three in the place of `in_proj_weight`: `q_proj_weight`, `k_proj_weight`,
///   `v_proj_weight`, `[embed_dim, embed_dim]`, `[embed_dim, kdim]`, `[embed_dim, vdim]`; with `bias_kv` also `bias_k`,
///   `bias_v`: `[1, 1, embed_dim]`
///
/// # Source
/// Vaswani et al., "Attention is all you need" (2017), section 3.2.2.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_attention::{Attend, MultiHeadAttention};
/// use cortical_neuron::{Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let layer = MultiHeadAttention::config(8, 2).kdim(6).vdim(6).build(&params.at("cross"))?;
/// let x = Tensor::ones((1, 3, 8), DType::F32, &Device::Cpu)?;
/// let memory = Tensor::ones((1, 4, 6), DType::F32, &Device::Cpu)?;
/// let keys = Tensor::new(&[[1_u8, 1, 1, 0]], &Device::Cpu)?; // the last one is padding
/// let attend = Attend { memory: Some(&memory), key_mask: Some(&keys), ..Attend::default() };
/// let (y, weights) = layer.attend_weighed(&x, attend, true, &mut Pass::eval())?;
/// assert_eq!((y.dims(), weights.dims()), (&[1, 3, 8][..], &[1, 3, 4][..]));
/// assert_eq!(weights.to_vec3::<f32>()?[0][0][3], 0.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MultiHeadAttention {
    projections: Projections,
    /// The learned key and value.
    extra: Option<(Param, Param)>,
    out: Linear,
    name: String,
    config: MultiHeadAttentionConfig,
}

impl MultiHeadAttention {
    /// The options of a layer of this width with so many heads.
    #[must_use]
    pub fn config(embed_dim: usize, num_heads: usize) -> MultiHeadAttentionConfig {
        MultiHeadAttentionConfig {
            embed_dim,
            num_heads,
            bias: true,
            dropout: 0.0,
            causal: false,
            batch_first: true,
            kdim: None,
            vdim: None,
            bias_kv: false,
            zero_attn: false,
        }
    }

    /// Attention with a memory or a mask.
    ///
    /// # Errors
    /// When a shape does not fit; the error says in which layer.
    pub fn attend(&self, x: &Tensor, attend: Attend<'_>, pass: &mut Pass<'_>) -> Result<Tensor> {
        let y = self
            .run(x, attend, None, pass)
            .map_err(|e| e.in_layer(&self.name))?
            .0;
        pass.observe(&self.name, y)
    }

    /// Attention, and how much each query has looked at each key: `[batch, rows, keys]` on average over the heads, or
    /// `[batch, heads, rows, keys]`. All scores are held for that, so memory grows with the square of the length.
    ///
    /// # Errors
    /// When a shape does not fit; the error says in which layer.
    pub fn attend_weighed(
        &self,
        x: &Tensor,
        attend: Attend<'_>,
        average: bool,
        pass: &mut Pass<'_>,
    ) -> Result<(Tensor, Tensor)> {
        let run = self.run(x, attend, Some(average), pass);
        let (y, weights) = run.map_err(|e| e.in_layer(&self.name))?;
        let y = pass.observe(&self.name, y)?;
        Ok((y, weights.expect("they were asked for")))
    }

    fn run(
        &self,
        x: &Tensor,
        attend: Attend<'_>,
        weights: Option<bool>,
        pass: &mut Pass<'_>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let single = x.rank() == 2;
        let inputs = inputs::read(
            x,
            &attend,
            self.config.batch_first,
            self.projections.widths(),
        )?;
        let [q, k, v] = match &inputs.memory {
            None => self.projections.of_one(&inputs.queries, pass)?,
            Some((keys, values)) => {
                self.projections
                    .of_three(&inputs.queries, keys, values, pass)?
            }
        };
        let (k, v, extra) = self.more_keys(k, v, pass)?;
        let sizes = [
            q.dim(0)?,
            self.config.num_heads,
            q.dim(1)?,
            k.dim(1)? - extra,
        ];
        let mask = masks::merged(&attend, sizes, extra, self.config.causal, q.dtype())?;
        let [q, k, v] = [self.heads(q)?, self.heads(k)?, self.heads(v)?];
        let (y, weights) = match weights {
            None => (self.blended([q, k, v], mask, extra, pass)?, None),
            Some(average) => {
                let (y, weights) = self.weighed([q, k, v], mask, extra, pass)?;
                let weights = if average { weights.mean(1)? } else { weights };
                (y, Some(weights))
            }
        };
        let y = self.out.apply(&y.flatten_from(2)?, pass)?;
        let y = if single {
            y.squeeze(0)?
        } else if self.config.batch_first {
            y
        } else {
            y.transpose(0, 1)?
        };
        let weights = match weights {
            Some(weights) if single => Some(weights.squeeze(0)?),
            weights => weights,
        };
        Ok((y, weights))
    }

    /// `[batch, rows, heads, dim]`
    fn heads(&self, t: Tensor) -> Result<Tensor> {
        let (batch, rows, width) = t.dims3()?;
        let heads = self.config.num_heads;
        Ok(t.reshape((batch, rows, heads, width / heads))?)
    }

    /// The learned key and value and those of zeros behind the others, and how many they are.
    fn more_keys(&self, k: Tensor, v: Tensor, pass: &Pass<'_>) -> Result<(Tensor, Tensor, usize)> {
        let (mut ks, mut vs) = (vec![k], vec![v]);
        let batch = ks[0].dim(0)?;
        let shape = (batch, 1, self.config.embed_dim);
        if let Some((bias_k, bias_v)) = &self.extra {
            ks.push(bias_k.tracked(pass).broadcast_as(shape)?);
            vs.push(bias_v.tracked(pass).broadcast_as(shape)?);
        }
        if self.config.zero_attn {
            let zeros = Tensor::zeros(shape, ks[0].dtype(), ks[0].device())?;
            ks.push(zeros.clone());
            vs.push(zeros);
        }
        let extra = ks.len() - 1;
        let joined = |mut parts: Vec<Tensor>| match parts.len() {
            1 => Ok(parts.remove(0)),
            _ => Tensor::cat(&parts, 1),
        };
        Ok((joined(ks)?, joined(vs)?, extra))
    }

    /// Whether attention itself hides what comes later; with further keys behind the others the mask says it already.
    fn hides_later(&self, extra: usize) -> bool {
        self.config.causal && extra == 0
    }

    /// Attention without ever holding all scores.
    fn blended(
        &self,
        [q, k, v]: [Tensor; 3],
        mask: Option<Tensor>,
        extra: usize,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let dropout = if pass.is_train() && self.config.dropout > 0.0 {
            ops::attention_dropout(self.config.dropout, &mut pass.rng(&self.name)?)?
        } else {
            None
        };
        let options = Attention {
            causal: self.hides_later(extra).then_some(0),
            mask: mask.as_ref(),
            dropout,
            order: HeadOrder::Inside,
            ..Default::default()
        };
        observed_attention(&self.name, [&q, &k, &v], options, pass)
    }

    /// Attention with all its weights, `[batch, heads, rows, keys]`.
    fn weighed(
        &self,
        [q, k, v]: [Tensor; 3],
        mask: Option<Tensor>,
        extra: usize,
        pass: &mut Pass<'_>,
    ) -> Result<(Tensor, Tensor)> {
        let outside = |t: &Tensor| t.transpose(1, 2)?.contiguous();
        let (q, k, v) = (outside(&q)?, outside(&k)?, outside(&v)?);
        let q = (q * (1.0 / (k.dim(D::Minus1)? as f64).sqrt()))?;
        let scores = ops::matmul(&q, &k, Transposes { a: false, b: true })?;
        let mask = if self.hides_later(extra) {
            let (rows, keys) = (scores.dim(2)?, scores.dim(3)?);
            masks::with_causal(mask, rows, keys, scores.dtype(), scores.device())?
        } else {
            mask.map(|m| masks::added(&m, scores.dtype())).transpose()?
        };
        let scores = match mask {
            Some(mask) => scores.broadcast_add(&mask)?,
            None => scores,
        };
        let mut weights = ops::softmax(&scores, 3)?;
        if pass.is_train() && self.config.dropout > 0.0 {
            weights = ops::dropout(&weights, self.config.dropout, &mut pass.rng(&self.name)?)?;
        }
        let y = ops::matmul(&weights, &v, Transposes { a: false, b: false })?;
        Ok((y.transpose(1, 2)?.contiguous()?, weights))
    }
}

impl Layer for MultiHeadAttention {
    /// Self-attention.
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.attend(x, Attend::default(), pass)
    }

    /// As self-attention.
    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let d = self.config.embed_dim;
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
        let mut params: Vec<&Param> = self.projections.params().collect();
        let weights: Vec<&Param> = self
            .projections
            .weights()
            .chain(self.out.weight())
            .collect();
        params.extend(self.extra.iter().flat_map(|(k, v)| [k, v]));
        params.extend(self.out.params());
        let bias = if self.config.bias { " + 4·d" } else { "" };
        let formula = format!("three projections in and one out = 4·d·d{bias} with d = {d}");
        let pairs = product(&[rows, rows, self.config.num_heads]);
        let mut description = Description::new("MultiHeadAttention", &self.name, sample)
            .reads("each query reads every value, by how well its key matches")
            .parameters(params, formula)
            .keeping([product(&[rows, d]); 4])
            .costs(pairs, product(&[2, rows, rows, d]));
        for weight in weights {
            description = description.uses(weight, rows)?;
        }
        Ok(description)
    }
}

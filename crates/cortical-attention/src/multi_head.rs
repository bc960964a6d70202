//! Attention with several heads, as PyTorch has it.

use crate::project;
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Error, Init, Layer, Neurons, Param, Pass, Result, Scope};
use cortical_tensor::ops::{self, Attention, HeadOrder};

/// The options of a [`MultiHeadAttention`].
#[derive(Clone, Copy, Debug)]
pub struct MultiHeadAttentionConfig {
    embed_dim: usize,
    num_heads: usize,
    bias: bool,
    dropout: f64,
    causal: bool,
    batch_first: bool,
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

    /// Whether inputs are `[batch, rows, embed_dim]`; they are by default (PyTorch's default is `[rows, batch, embed_dim]`).
    #[must_use]
    pub fn batch_first(mut self, batch_first: bool) -> Self {
        self.batch_first = batch_first;
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::Option`] when the heads do not divide the width or dropout is no probability below 1, [`Error::NameTaken`],
    /// [`Error::TooLarge`].
    pub fn build(self, scope: &Scope) -> Result<MultiHeadAttention> {
        let d = self.embed_dim;
        if self.num_heads == 0 || !d.is_multiple_of(self.num_heads) {
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
        let width = d.saturating_mul(3);
        let weight = scope.param(
            "in_proj_weight",
            &[width, d],
            Init::XavierUniform { gain: 1.0 },
        )?;
        let bias = self
            .bias
            .then(|| scope.param("in_proj_bias", &[width], Init::ZEROS))
            .transpose()?;
        let out = Neurons::build(
            &scope.at("out_proj"),
            &[d, d],
            self.bias,
            Activation::Identity,
        )?;
        if let Some(bias) = out.bias() {
            bias.set(&bias.tensor().zeros_like()?)?;
        }
        Ok(MultiHeadAttention {
            weight,
            bias,
            out,
            name: scope.path().to_string(),
            config: self,
        })
    }
}

/// What attention looks at besides the queries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attend<'a> {
    /// Where keys and values come from; from the queries' input by default (self-attention).
    pub memory: Option<&'a Tensor>,
    /// `[batch or 1, heads or 1, queries or 1, keys]`: of u8, not 0 where a query may attend; of floats, added to the scores.
    pub mask: Option<&'a Tensor>,
}

/// `softmax(Q Kᵀ / √d) V` in `num_heads` heads between an input and an output projection, PyTorch's `nn.MultiheadAttention`.
///
/// # Shapes
/// - queries and output: `[batch, rows, embed_dim]`; memory: `[batch, keys, embed_dim]`
/// - `in_proj_weight`: `[3 · embed_dim, embed_dim]` (queries, keys, values), `in_proj_bias`: `[3 · embed_dim]`,
///   `out_proj.weight`: `[embed_dim, embed_dim]`, `out_proj.bias`: `[embed_dim]`
///
/// # Source
/// Vaswani et al., "Attention is all you need" (2017), section 3.2.2.
#[derive(Clone, Debug)]
pub struct MultiHeadAttention {
    weight: Param,
    bias: Option<Param>,
    out: Neurons,
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
        }
    }

    /// Attention with a memory or a mask.
    ///
    /// # Errors
    /// When a shape does not fit; the error says in which layer.
    pub fn attend(&self, x: &Tensor, attend: Attend<'_>, pass: &mut Pass<'_>) -> Result<Tensor> {
        let y = self
            .run(x, attend, pass)
            .map_err(|e| e.in_layer(&self.name))?;
        pass.observe(&self.name, &y);
        Ok(y)
    }

    fn run(&self, x: &Tensor, attend: Attend<'_>, pass: &mut Pass<'_>) -> Result<Tensor> {
        if x.rank() != 3 || x.dim(2)? != self.config.embed_dim {
            let expected = format!("[batch, rows, {}]", self.config.embed_dim);
            let (op, argument, got) = ("attention", "x", x.dims().to_vec());
            return Err(cortical_tensor::Error::Shape {
                op,
                argument,
                expected,
                got,
            }
            .into());
        }
        let batched = |x: &Tensor| {
            if self.config.batch_first {
                Ok(x.clone())
            } else {
                x.transpose(0, 1)
            }
        };
        let queries = batched(x)?;
        let [q, k, v] = match attend.memory {
            None => self.project_all(&queries, pass)?,
            Some(memory) => self.project_apart(&queries, &batched(memory)?, pass)?,
        };
        let heads = |t: Tensor| {
            let (batch, rows, width) = t.dims3()?;
            t.reshape((
                batch,
                rows,
                self.config.num_heads,
                width / self.config.num_heads,
            ))
        };
        let dropout = if pass.is_train() && self.config.dropout > 0.0 {
            ops::attention_dropout(self.config.dropout, &mut pass.rng(&self.name)?)?
        } else {
            None
        };
        let options = Attention {
            causal: self.config.causal.then_some(0),
            mask: attend.mask,
            dropout,
            order: HeadOrder::Inside,
            ..Default::default()
        };
        let y = ops::attention(&heads(q)?, &heads(k)?, &heads(v)?, options)?;
        let y = project(&self.out, &y.flatten_from(2)?, pass)?;
        Ok(if self.config.batch_first {
            y
        } else {
            y.transpose(0, 1)?
        })
    }

    /// Queries, keys and values of one input, from one product.
    fn project_all(&self, x: &Tensor, pass: &Pass<'_>) -> Result<[Tensor; 3]> {
        let bias = self.bias.as_ref().map(|b| b.input(pass));
        let all = ops::linear(x, self.weight.input(pass), bias, Activation::Identity)?;
        let parts = ops::split(&all, &[self.config.embed_dim; 3])?;
        Ok(parts.try_into().expect("three sizes in, three parts out"))
    }

    /// Queries of one input, keys and values of another: the weight is cut, so its gradient flows through the cut.
    fn project_apart(&self, x: &Tensor, memory: &Tensor, pass: &Pass<'_>) -> Result<[Tensor; 3]> {
        let d = self.config.embed_dim;
        let tracked = |p: &Param| {
            if pass.is_train() && p.is_trainable() {
                p.var().as_tensor().clone()
            } else {
                p.tensor().clone()
            }
        };
        let weight = tracked(&self.weight);
        let bias = self.bias.as_ref().map(tracked);
        let part = |from: &Tensor, first: usize, rows: usize| {
            let weight = weight.narrow(0, first, rows)?;
            let bias = bias
                .as_ref()
                .map(|b| b.narrow(0, first, rows))
                .transpose()?;
            ops::linear(
                from,
                &weight,
                bias.as_ref().map(Into::into),
                Activation::Identity,
            )
        };
        let q = part(x, 0, d)?;
        let mut kv = ops::split(&part(memory, d, 2 * d)?, &[d, d])?;
        let v = kv.pop().expect("two parts");
        let k = kv.pop().expect("two parts");
        Ok([q, k, v])
    }
}

impl Layer for MultiHeadAttention {
    /// Self-attention.
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.attend(x, Attend::default(), pass)
    }
}

//! Attention whose query heads share heads of keys and values.

use crate::sublayer::{scale, show};
use crate::{Cache, Memory, Rotary, TextRows, attend_texts, observed_attention};
use candle_core::{Device, Tensor};
use cortical_dense::Linear;
use cortical_neuron::{
    Description, Error, Init, Layer, Param, Pass, Place, Result, RmsNorm, product, wrong_sample,
};
use cortical_tensor::ops::{self, Attention, AttentionSublayer, HeadOrder, SublayerRotary};

/// The options of a [`GroupedQueryAttention`].
#[derive(Clone, Debug)]
pub struct GroupedQueryAttentionConfig {
    hidden_size: usize,
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: Option<usize>,
    bias: bool,
    out_bias: bool,
    causal: bool,
    window: Option<usize>,
    head_norm: Option<f64>,
    norm_over_width: bool,
    norm_plus_one: bool,
    fused: bool,
    scale: Option<f64>,
    softcap: Option<f64>,
    rotary: Option<Rotary>,
    init: [Init; 2],
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

    /// Whether the output projection has biases; it has none by default.
    #[must_use]
    pub fn out_bias(mut self, bias: bool) -> Self {
        self.out_bias = bias;
        self
    }

    /// How many positions a query sees at most, its own and those before it; all by default. It is for causal
    /// attention.
    #[must_use]
    pub fn window(mut self, window: Option<usize>) -> Self {
        self.window = window;
        self
    }

    /// An RMS norm with this `eps` over each head of queries and of keys before they are rotated, as Qwen3 has it; none
    /// by default.
    #[must_use]
    pub fn head_norm(mut self, eps: Option<f64>) -> Self {
        self.head_norm = eps;
        self
    }

    /// Whether that norm is over all heads together, as OLMo 2 has it; over each for itself by default.
    #[must_use]
    pub fn norm_over_width(mut self, over_width: bool) -> Self {
        self.norm_over_width = over_width;
        self
    }

    /// Whether that norm's scale is one more than its parameter; see [`cortical_neuron::RmsNormConfig::plus_one`].
    #[must_use]
    pub fn norm_plus_one(mut self, plus_one: bool) -> Self {
        self.norm_plus_one = plus_one;
        self
    }

    /// Whether queries, keys and values are one linear layer, `qkv_proj`, as Phi-3 has them; they are three by default.
    #[must_use]
    pub fn fused(mut self, fused: bool) -> Self {
        self.fused = fused;
        self
    }

    /// The factor of the scores; `1 / √head_dim` by default.
    #[must_use]
    pub fn scale(mut self, scale: Option<f64>) -> Self {
        self.scale = scale;
        self
    }

    /// What scores are softly kept below, as Gemma 2 has it; not at all by default.
    #[must_use]
    pub fn softcap(mut self, softcap: Option<f64>) -> Self {
        self.softcap = softcap;
        self
    }

    /// How the weights of queries, keys and values begin, and how those of the output; as PyTorch's linear layer by
    /// default.
    #[must_use]
    pub fn init(mut self, inputs: Init, output: Init) -> Self {
        self.init = [inputs, output];
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
    /// [`Error::Option`] when the heads do not divide the width or the key heads the heads, [`Error::NameTaken`],
    /// [`Error::TooLarge`].
    pub fn build(self, scope: &impl Place) -> Result<GroupedQueryAttention> {
        let scope = &scope.place();
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
        if self.window == Some(0) || (self.window.is_some() && !self.causal) {
            let (expected, got) = (
                "at least 1, with causal attention",
                "0 or not causal".into(),
            );
            return Err(Error::Option {
                option: "window",
                expected,
                got,
            });
        }
        let dim = self.head_dim.unwrap_or(d / heads);
        let make = |name: &str, input: usize, out: usize, bias: bool, init: Init| {
            let config = Linear::config(input, out).bias(bias).init(init);
            config.build(&scope.at(name))
        };
        let norm = |name: &str, width: usize| {
            let over = if self.norm_over_width { width } else { dim };
            let config = RmsNorm::config(&[over]).plus_one(self.norm_plus_one);
            let eps = self.head_norm;
            eps.map(|eps| config.eps(eps).build(&scope.at(name)))
                .transpose()
        };
        let [inputs, output] = self.init;
        let (width, kv_width) = (heads.saturating_mul(dim), kv.saturating_mul(dim));
        Ok(GroupedQueryAttention {
            qkv: match self.fused {
                false => Qkv::Split(Box::new([
                    make("q_proj", d, width, self.bias, inputs)?,
                    make("k_proj", d, kv_width, self.bias, inputs)?,
                    make("v_proj", d, kv_width, self.bias, inputs)?,
                ])),
                true => {
                    let all = width.saturating_add(kv_width.saturating_mul(2));
                    Qkv::Fused(make("qkv_proj", d, all, self.bias, inputs)?)
                }
            },
            o: make("o_proj", width, d, self.out_bias, output)?,
            q_norm: norm("q_norm", width)?,
            k_norm: norm("k_norm", kv_width)?,
            dim,
            name: scope.path().to_string(),
            config: self,
        })
    }
}

/// Attention in which groups of query heads share a head of keys and values, with rotary positions and a cache: the
/// attention of Llama and its relatives, with the names of Hugging Face's files.
///
/// # Shapes
/// - input and output: `[batch, rows, hidden_size]`
/// - `q_proj.weight`: `[num_heads · head_dim, hidden_size]`; `k_proj.weight`, `v_proj.weight`:
///   `[num_kv_heads · head_dim, hidden_size]`; `o_proj.weight`: `[hidden_size, num_heads · head_dim]`; fused,
///   `qkv_proj.weight` has the rows of the first three
///
/// # Source
/// Ainslie et al., "GQA: training generalized multi-query transformer models from multi-head checkpoints" (2023).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_attention::{Cache, GroupedQueryAttention, Memory, Rotary};
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
/// layer.attend(&x, Memory::Text(&mut cache), &mut Pass::eval())?; // reads three rows
/// layer.attend(&x.narrow(1, 0, 1)?, Memory::Text(&mut cache), &mut Pass::eval())?; // and one more
/// assert_eq!(cache.len(), 4);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GroupedQueryAttention {
    qkv: Qkv,
    o: Linear,
    q_norm: Option<RmsNorm>,
    k_norm: Option<RmsNorm>,
    dim: usize,
    name: String,
    config: GroupedQueryAttentionConfig,
}

/// The linear layers of queries, keys and values.
#[derive(Clone, Debug)]
enum Qkv {
    Split(Box<[Linear; 3]>),
    Fused(Linear),
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
            out_bias: false,
            causal: true,
            window: None,
            head_norm: None,
            norm_over_width: false,
            norm_plus_one: false,
            fused: false,
            scale: None,
            softcap: None,
            rotary: None,
            init: [Init::KAIMING_UNIFORM; 2],
        }
    }

    /// Attention over the rows of `x` and what was read before; caches take the new keys and values.
    ///
    /// # Errors
    /// When a shape does not fit; the error says in which layer.
    pub fn attend(
        &self,
        x: &Tensor,
        memory: Memory<'_, '_>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let y = self
            .run(x, memory, pass)
            .map_err(|e| e.in_layer(&self.name))?;
        pass.observe(&self.name, y)
    }

    /// The linear layers: queries, keys and values, or all in one, and the output.
    pub fn projections(&self) -> impl Iterator<Item = &Linear> {
        let input = match &self.qkv {
            Qkv::Split(all) => &all[..],
            Qkv::Fused(one) => std::slice::from_ref(one),
        };
        input.iter().chain([&self.o])
    }

    /// Whether one operation can do all of it for so many rows: every row sees all before it, and there is nothing that
    /// Llama's attention does not have.
    fn is_plain(&self, rows: usize) -> bool {
        let config = &self.config;
        let sees_all = config.window.is_none_or(|window| rows <= window);
        sees_all && config.scale.is_none() && config.softcap.is_none() && self.q_norm.is_none()
    }

    /// The sublayer that this layer and a norm before it make, `x + attention(norm(x))`: one operation where the linear
    /// layers are nothing but weights.
    pub(crate) fn sublayer(
        &self,
        x: &Tensor,
        norm: &RmsNorm,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let rows = x.dims().get(1).copied().unwrap_or(0);
        let parts = match &self.qkv {
            Qkv::Split(layers)
                if self.is_plain(rows) && !norm.is_plus_one() && !pass.is_layer_by_layer() =>
            {
                let [q, k, v] = &**layers;
                [q, k, v, &self.o].map(|part| part.plain_inputs(pass))
            }
            _ => [None, None, None, None],
        };
        let [Some(q), Some(k), Some(v), Some((out, None))] = parts else {
            let normed = norm.forward(x, pass)?;
            return Ok((x + self.attend(&normed, Memory::None, pass)?)?);
        };
        let angles = match (&self.config.rotary, x.dims()) {
            (Some(rotary), &[_, rows, _]) => Some(rotary.angles(0, rows, x)?),
            _ => None,
        };
        let sublayer = AttentionSublayer {
            norm: scale(norm)?.input(pass),
            qkv: [q.0, k.0, v.0],
            bias: match [q.1, k.1, v.1] {
                [Some(q), Some(k), Some(v)] => Some([q, k, v]),
                _ => None,
            },
            out,
            heads: self.config.num_heads,
            kv_heads: self.config.num_kv_heads,
            rotary: angles.as_ref().map(|(cos, sin, pairs)| SublayerRotary {
                cos,
                sin,
                pairs: *pairs,
            }),
            causal: self.config.causal,
            eps: norm.eps(),
            shows: pass.is_observed(),
        };
        let sublayer = ops::attention_sublayer(x, sublayer)
            .map_err(|e| Error::from(e).in_layer(&self.name))?;
        show(sublayer, norm.name(), &self.name, pass)
    }

    fn run(&self, x: &Tensor, memory: Memory<'_, '_>, pass: &mut Pass<'_>) -> Result<Tensor> {
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
        let (num_heads, kv_heads) = (self.config.num_heads, self.config.num_kv_heads);
        let [q, k, v] = match &self.qkv {
            Qkv::Split(layers) => {
                let [q, k, v] = layers.each_ref().map(|layer| layer.apply(x, pass));
                [q?, k?, v?]
            }
            Qkv::Fused(layer) => {
                let all = layer.apply(x, pass)?;
                let sizes = [num_heads, kv_heads, kv_heads].map(|heads| heads * self.dim);
                let parts = ops::split(&all, &sizes)?;
                [parts[0].clone(), parts[1].clone(), parts[2].clone()]
            }
        };
        let mut heads = |y: Tensor, heads: usize, norm: Option<&RmsNorm>| -> Result<Tensor> {
            let shape = (batch, rows, heads, self.dim);
            match norm {
                None => Ok(y.reshape(shape)?),
                Some(norm) if self.config.norm_over_width => {
                    Ok(norm.forward(&y, pass)?.reshape(shape)?)
                }
                Some(norm) => norm.forward(&y.reshape(shape)?, pass),
            }
        };
        let q = heads(q, num_heads, self.q_norm.as_ref())?;
        let k = heads(k, kv_heads, self.k_norm.as_ref())?;
        let v = heads(v, kv_heads, None)?;
        let y = match memory {
            Memory::None => self.attend_text([q, k, v], None, pass)?,
            Memory::Text(cache) => self.attend_text([q, k, v], Some(cache), pass)?,
            Memory::Texts(texts) => self.attend_texts([q, k, v], texts, pass)?,
        };
        self.o.apply(&y.flatten_from(2)?, pass)
    }

    fn options(&self) -> Attention<'_> {
        Attention {
            scale: self.config.scale,
            softcap: self.config.softcap,
            order: HeadOrder::Inside,
            ..Default::default()
        }
    }

    /// Attention over rows that go on after what the cache holds.
    fn attend_text(
        &self,
        [q, k, v]: [Tensor; 3],
        cache: Option<&mut Cache>,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let (before, rows) = (cache.as_ref().map_or(0, |c| c.len()), q.dim(1)?);
        let (q, k, v) = self.turn(before, [q, k, v], cache)?;
        let (k, v, causal, mask) = self.see(before, rows, k, v, q.device())?;
        let options = Attention {
            causal,
            mask: mask.as_ref(),
            ..self.options()
        };
        observed_attention(&self.name, [&q, &k, &v], options, pass)
    }

    /// Attention over the rows of several texts, each after what its own cache holds.
    fn attend_texts(
        &self,
        [q, k, v]: [Tensor; 3],
        texts: &mut [TextRows<'_>],
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let rotary = self.config.rotary.as_ref();
        if !self.config.causal || rotary.is_some_and(Rotary::is_by_length) {
            // Earlier keys turn by other angles with every row, each text by its own.
            let (mut at, mut all) = (0, Vec::with_capacity(texts.len()));
            for TextRows { cache, rows } in texts {
                let part = |t: &Tensor| t.narrow(1, at, *rows)?.contiguous();
                let parts = [part(&q)?, part(&k)?, part(&v)?];
                at += *rows;
                all.push(self.attend_text(parts, Some(cache), pass)?);
            }
            return Ok(Tensor::cat(&all, 1)?);
        }
        let (q, k) = match rotary {
            None => (q, k),
            Some(rotary) => {
                let positions = texts.iter().flat_map(|text| {
                    let before = text.cache.len() as u32;
                    before..before + text.rows as u32
                });
                let positions: Vec<u32> = positions.collect();
                (
                    rotary.rotate_at(&q, &positions)?,
                    rotary.rotate_at(&k, &positions)?,
                )
            }
        };
        let (parts, window) = ([&q, &k, &v], self.config.window);
        attend_texts(&self.name, parts, texts, window, self.options(), pass)
    }

    /// Rotated queries, and all keys and values there are with the keys rotated.
    fn turn(
        &self,
        before: usize,
        [q, k, v]: [Tensor; 3],
        cache: Option<&mut Cache>,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let append = |cache: Option<&mut Cache>, k: Tensor| match cache {
            Some(cache) => cache.append(&k, &v),
            None => Ok((k, v.clone())),
        };
        let Some(rotary) = &self.config.rotary else {
            let (k, v) = append(cache, k)?;
            return Ok((q, k, v));
        };
        let q = rotary.rotate(&q, before)?;
        if rotary.is_by_length() {
            let (k, v) = append(cache, k)?;
            return Ok((q, rotary.rotate(&k, 0)?, v));
        }
        let (k, v) = append(cache, rotary.rotate(&k, before)?)?;
        Ok((q, k, v))
    }

    /// What of the keys and values the queries may see: those of a window are cut out where that is enough, and masked
    /// where each query has a window of its own.
    fn see(
        &self,
        before: usize,
        rows: usize,
        k: Tensor,
        v: Tensor,
        device: &Device,
    ) -> Result<(Tensor, Tensor, Option<usize>, Option<Tensor>)> {
        let causal = self.config.causal.then_some(before);
        let keys = k.dim(1)?;
        let Some(window) = self.config.window.filter(|window| keys > *window) else {
            return Ok((k, v, causal, None));
        };
        // Nobody sees further back than the first query.
        let first = (before + 1).saturating_sub(window);
        let (k, v) = (
            k.narrow(1, first, keys - first)?,
            v.narrow(1, first, keys - first)?,
        );
        let causal = causal.map(|before| before - first);
        if rows == 1 {
            return Ok((k, v, causal, None));
        }
        let keys = keys - first;
        let mut keep = vec![0_u8; rows * keys];
        for (i, row) in keep.chunks_exact_mut(keys).enumerate() {
            let end = before - first + i + 1;
            row[end.saturating_sub(window)..end].fill(1);
        }
        let mask = Tensor::from_vec(keep, (1, 1, rows, keys), device)?;
        Ok((k, v, causal, Some(mask)))
    }
}

impl Layer for GroupedQueryAttention {
    /// Attention over the rows of `x` alone.
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.attend(x, Memory::None, pass)
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
        let params: Vec<&Param> = self.projections().flat_map(Linear::params).collect();
        let (heads, kv, dim) = (self.config.num_heads, self.config.num_kv_heads, self.dim);
        let mut bias = String::new();
        if self.config.bias {
            bias += &format!(" + ({heads} + 2·{kv})·{dim}");
        }
        if self.config.out_bias {
            bias += &format!(" + {d}");
        }
        let norms = match (self.config.head_norm, self.config.norm_over_width) {
            (None, _) => 0,
            (Some(_), false) => 2 * dim,
            (Some(_), true) => (heads + kv) * dim,
        };
        if norms > 0 {
            bias += &format!(" + {norms}");
        }
        let formula =
            format!("d·dim·(2·heads + 2·kv_heads) = {d}·{dim}·(2·{heads} + 2·{kv}){bias}");
        let window = self.config.window.unwrap_or(rows).min(rows);
        let pairs = match self.config.causal {
            // The first queries see what is there, the others a window each.
            true => (product(&[window, window.saturating_add(1)]) / 2)
                .saturating_add(product(&[rows - window, window])),
            false => product(&[rows, rows]),
        };
        let pairs = pairs.saturating_mul(product(&[heads]));
        // Queries, keys and values, and what attention makes of them; norms of heads keep their inputs.
        let [of_q, of_kv] = [heads, kv].map(|heads| product(&[rows, heads, dim]));
        let mut kept = vec![of_q, of_kv, of_kv, of_q];
        if norms > 0 {
            // A block with them has its sum apart from the attention.
            kept.extend([of_q, of_kv, product(&[rows, d])]);
        }
        let mut description = Description::new("GroupedQueryAttention", &self.name, sample)
            .reads("each query reads the values of the rows before it, by how well their keys match; neighbouring heads share keys and values")
            .parameters(params, formula)
            .keeping(kept)
            .costs(pairs, pairs.saturating_mul(2).saturating_mul(product(&[dim])));
        description.parameters += norms;
        for part in self.projections() {
            let weight = part
                .weight()
                .ok_or_else(|| Error::NotDescribed.in_layer(&self.name))?;
            description = description.uses(weight, rows)?;
        }
        Ok(description)
    }
}

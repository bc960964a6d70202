//! The feed-forward sublayer of a Llama-style block.

use crate::sublayer::{scale, show};
use candle_core::Tensor;
use cortical_dense::Linear;
use cortical_kernels::activation::Activation;
use cortical_kernels::gated::Packed;
use cortical_neuron::{
    Description, Error, Init, Layer, Pass, Place, Result, RmsNorm, product, wrong_sample,
};
use cortical_tensor::ops::{self, FeedForward};

/// The options of a [`SwiGlu`].
#[derive(Clone, Copy, Debug)]
pub struct SwiGluConfig {
    hidden_size: usize,
    intermediate_size: usize,
    bias: bool,
    fused: bool,
    activation: Activation,
    init: [Init; 2],
}

impl SwiGluConfig {
    /// Whether the three projections have biases; they have none by default.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Whether gate and up are one linear layer, `gate_up_proj`, as Phi-3 has them; they are two by default.
    #[must_use]
    pub fn fused(mut self, fused: bool) -> Self {
        self.fused = fused;
        self
    }

    /// What the gate does with its sum in place of SiLU.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// How the weights of gate and up begin, and how those of down; as PyTorch's linear layer by default.
    #[must_use]
    pub fn init(mut self, inputs: Init, output: Init) -> Self {
        self.init = [inputs, output];
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// As [`cortical_dense::LinearConfig::build`].
    pub fn build(self, scope: &impl Place) -> Result<SwiGlu> {
        let scope = &scope.place();
        let make = |name: &str, input: usize, out: usize, init: Init| {
            let config = Linear::config(input, out).bias(self.bias).init(init);
            config.build(&scope.at(name))
        };
        let (d, inner) = (self.hidden_size, self.intermediate_size);
        let [inputs, output] = self.init;
        Ok(SwiGlu {
            input: match self.fused {
                false => GateUp::Split([
                    make("gate_proj", d, inner, inputs)?,
                    make("up_proj", d, inner, inputs)?,
                ]),
                true => {
                    let both = inner.saturating_mul(2);
                    GateUp::Fused(make("gate_up_proj", d, both, inputs)?)
                }
            },
            down: make("down_proj", inner, d, output)?,
            activation: self.activation,
            name: scope.path().to_string(),
        })
    }
}

/// `y = W_down (SiLU(W_gate x) ⊙ W_up x)`, or with another activation in SiLU's place.
///
/// # Shapes
/// - input and output: `[…, hidden_size]`
/// - `gate_proj.weight`, `up_proj.weight`: `[intermediate_size, hidden_size]`; `down_proj.weight`:
///   `[hidden_size, intermediate_size]`; fused, `gate_up_proj.weight`: `[2 · intermediate_size, hidden_size]`, the gate
///   first
///
/// `3 · hidden_size · intermediate_size` parameters, as many multiply-adds a row.
///
/// # Source
/// Shazeer, "GLU variants improve transformer" (2020).
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_attention::SwiGlu;
/// use cortical_neuron::{Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let mlp = SwiGlu::new(4, 6, &params.at("mlp"))?;
/// let x = Tensor::zeros((2, 4), DType::F32, &Device::Cpu)?;
/// assert_eq!(mlp.forward(&x, &mut Pass::eval())?.dims(), [2, 4]);
/// assert_eq!(mlp.describe(&[4])?.multiply_adds, 3 * 4 * 6);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SwiGlu {
    input: GateUp,
    down: Linear,
    activation: Activation,
    name: String,
}

/// The linear layers that read the input.
#[derive(Clone, Debug)]
enum GateUp {
    Split([Linear; 2]),
    Fused(Linear),
}

impl SwiGlu {
    /// The options of a layer of these widths.
    #[must_use]
    pub fn config(hidden_size: usize, intermediate_size: usize) -> SwiGluConfig {
        SwiGluConfig {
            hidden_size,
            intermediate_size,
            bias: false,
            fused: false,
            activation: Activation::Silu,
            init: [Init::KAIMING_UNIFORM; 2],
        }
    }

    /// Makes the layer with SiLU and without biases at a place of a model.
    ///
    /// # Errors
    /// As [`SwiGluConfig::build`].
    pub fn new(hidden_size: usize, intermediate_size: usize, scope: &impl Place) -> Result<Self> {
        let scope = &scope.place();
        Self::config(hidden_size, intermediate_size).build(scope)
    }

    /// The linear layers: gate and up, or both in one, and down.
    pub fn projections(&self) -> impl Iterator<Item = &Linear> {
        let input = match &self.input {
            GateUp::Split(both) => &both[..],
            GateUp::Fused(one) => std::slice::from_ref(one),
        };
        input.iter().chain([&self.down])
    }

    /// The sublayer that this layer and a norm before it make, `x + swiglu(norm(x))`: one operation where the linear
    /// layers are nothing but weights.
    pub(crate) fn sublayer(
        &self,
        x: &Tensor,
        norm: &RmsNorm,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let plain = match &self.input {
            GateUp::Split([gate, up]) if !norm.is_plus_one() && !pass.is_layer_by_layer() => {
                [gate, up, &self.down].map(|part| part.plain_inputs(pass))
            }
            _ => [None, None, None],
        };
        let [Some((gate, None)), Some((up, None)), Some((down, None))] = plain else {
            let normed = norm.forward(x, pass)?;
            return Ok((x + self.forward(&normed, pass)?)?);
        };
        let sublayer = FeedForward {
            norm: scale(norm)?.input(pass),
            gate,
            up,
            down,
            eps: norm.eps(),
            activation: self.activation,
            shows: pass.is_observed(),
        };
        let sublayer =
            ops::feed_forward(x, sublayer).map_err(|e| Error::from(e).in_layer(&self.name))?;
        show(sublayer, norm.name(), &self.name, pass)
    }

    fn run(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let hidden = match &self.input {
            GateUp::Split([gate, up]) => {
                let (gate, up) = (gate.apply(x, pass)?, up.apply(x, pass)?);
                ops::gated(&gate, &up, self.activation)?
            }
            GateUp::Fused(both) => {
                ops::gated_packed(&both.apply(x, pass)?, self.activation, Packed::GateFirst)?
            }
        };
        self.down.apply_to_units(hidden, pass)
    }
}

impl Layer for SwiGlu {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let y = self.run(x, pass).map_err(|e| e.in_layer(&self.name))?;
        pass.observe(&self.name, y)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let named = |e: Error| e.in_layer(&self.name);
        let (wide, narrow) = (self.down.in_features(), self.down.out_features());
        let Some((_, rows)) = sample.split_last().filter(|(last, _)| **last == narrow) else {
            let expected = format!("[…, {narrow}]");
            return Err(named(wrong_sample("swiglu", expected, sample)));
        };
        let times = usize::try_from(product(rows)).unwrap_or(usize::MAX);
        let bias = match self.down.bias() {
            Some(_) => format!(" + 2·{wide} + {narrow}"),
            None => String::new(),
        };
        let params = self.projections().flat_map(Linear::params);
        let mut description = Description::new("SwiGlu", &self.name, sample)
            .reads("pairs of neurons read all inputs, one gating the other; each output reads all pairs")
            .parameters(params, format!("3·wide·d = 3·{wide}·{narrow}{bias}"))
            .keeping([product(rows).saturating_mul(product(&[wide])); 3]);
        for layer in self.projections() {
            let weight = layer.weight().ok_or_else(|| named(Error::NotDescribed))?;
            description = description.uses(weight, times)?;
        }
        Ok(description)
    }
}

//! A row of neurons that read everything, as language models use them.

use crate::{Error, Init, LowRank, Neurons, Param, Pass, Result, Scope};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_kernels::matmul::Transposes;
use cortical_kernels::packed::PackedMatrix;
use cortical_tensor::ops;
use std::sync::{Arc, Mutex, PoisonError};

/// How the weights of a [`Projection`] lie in a model's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `[out, in]`, as PyTorch's linear layer has them.
    #[default]
    Rows,
    /// `[in, out]`, as GPT-2's `Conv1D` has them.
    Columns,
}

/// The options of a [`Projection`].
#[derive(Clone, Copy, Debug)]
pub struct ProjectionConfig {
    inputs: usize,
    outputs: usize,
    bias: bool,
    layout: Layout,
    activation: Activation,
    init: Init,
}

impl ProjectionConfig {
    /// Whether the neurons have biases; they have none by default.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// How the weights lie; [`Layout::Rows`] by default.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// What the neurons do with their sums; nothing by default.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// How the weights begin; as PyTorch's linear layer by default. Biases begin at zero with any other choice.
    #[must_use]
    pub fn init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    /// Makes the layer at a place of a model, with weights from the store's source where it has them, packed if they are.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::TooLarge`], [`Error::Source`], [`Error::Fixed`] when packed weights are to carry a low-rank change.
    pub fn build(self, scope: &Scope) -> Result<Projection> {
        let shape = match self.layout {
            Layout::Rows => [self.outputs, self.inputs],
            Layout::Columns => [self.inputs, self.outputs],
        };
        let bias = |init: Init| {
            self.bias
                .then(|| scope.param("bias", &[self.outputs], init))
                .transpose()
        };
        let name = scope.path().to_string();
        let adapters = scope.params().adapters();
        let adapters = adapters.filter(|adapters| adapters.names(&name));
        let source = scope.params().source();
        let full = scope.name_of("weight");
        let packed = match source {
            Some(source) if self.layout == Layout::Rows => source.packed(&full, &shape)?,
            _ => None,
        };
        if let Some(packed) = packed {
            if adapters.is_some() {
                let (what, asked) = ("packed", "adapted");
                return Err(Error::Fixed { name, what, asked });
            }
            let weights = Weights::Packed {
                matrix: packed,
                bias: bias(Init::ZEROS)?,
            };
            return Ok(Projection {
                weights,
                sizes: (self.inputs, self.outputs),
                activation: self.activation,
                adapter: None,
                unmerged: Arc::default(),
                name,
            });
        }
        let weights = match self.layout {
            Layout::Rows => Weights::Rows(Neurons::drawn(
                scope,
                &shape,
                self.bias,
                self.activation,
                self.init,
            )?),
            Layout::Columns => {
                let fan = Init::bias(self.inputs);
                let plain = self.init == Init::KAIMING_UNIFORM;
                let weight = scope.param("weight", &shape, if plain { fan } else { self.init })?;
                let bias = bias(if plain { fan } else { Init::ZEROS })?;
                Weights::Columns { weight, bias }
            }
        };
        let mut layer = Projection {
            weights,
            sizes: (self.inputs, self.outputs),
            activation: self.activation,
            adapter: None,
            unmerged: Arc::default(),
            name,
        };
        if let Some(adapters) = adapters {
            let weight = layer.rows()?;
            layer.adapter = Some(LowRank::build(&adapters, scope, &weight)?);
        }
        Ok(layer)
    }
}

/// `y = activation(W x + b)`, each neuron reading every input: a linear layer whose weights may be parameters, lie packed in 8 or 4 bits, or
/// carry a low-rank change beside them.
///
/// # Shapes
/// - input: `[…, in]`
/// - `weight`: `[out, in]`, or `[in, out]` with [`Layout::Columns`]; `bias`: `[out]`; `out·in + out` parameters
/// - output: `[…, out]`
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_neuron::{Params, Pass, Projection};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let q = Projection::config(8, 4).build(&params.at("q_proj"))?;
/// let x = Tensor::zeros((2, 5, 8), DType::F32, &Device::Cpu)?;
/// assert_eq!(q.apply(&x, &Pass::eval())?.dims(), [2, 5, 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Projection {
    weights: Weights,
    /// Inputs and neurons.
    sizes: (usize, usize),
    activation: Activation,
    adapter: Option<LowRank>,
    /// The weights as they were before a change was merged into them.
    unmerged: Arc<Mutex<Option<Tensor>>>,
    name: String,
}

#[derive(Clone, Debug)]
enum Weights {
    Rows(Neurons),
    Columns {
        weight: Param,
        bias: Option<Param>,
    },
    Packed {
        matrix: Arc<PackedMatrix>,
        bias: Option<Param>,
    },
}

impl Projection {
    /// The options of so many neurons that read so many inputs.
    #[must_use]
    pub fn config(inputs: usize, outputs: usize) -> ProjectionConfig {
        ProjectionConfig {
            inputs,
            outputs,
            bias: false,
            layout: Layout::Rows,
            activation: Activation::Identity,
            init: Init::KAIMING_UNIFORM,
        }
    }

    /// The neurons, where the layer is nothing but neurons with weights of `[out, in]`: what fused operations take.
    #[must_use]
    pub fn plain(&self) -> Option<&Neurons> {
        match &self.weights {
            Weights::Rows(neurons) if self.active().is_none() => Some(neurons),
            _ => None,
        }
    }

    /// The packed weights, where they lie packed.
    #[must_use]
    pub fn packed(&self) -> Option<&Arc<PackedMatrix>> {
        match &self.weights {
            Weights::Packed { matrix, .. } => Some(matrix),
            _ => None,
        }
    }

    /// How many inputs each neuron reads.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.sizes.0
    }

    /// How many neurons there are.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.sizes.1
    }

    /// The weights, where they are a parameter.
    #[must_use]
    pub fn weight(&self) -> Option<&Param> {
        match &self.weights {
            Weights::Rows(neurons) => Some(neurons.weight()),
            Weights::Columns { weight, .. } => Some(weight),
            Weights::Packed { .. } => None,
        }
    }

    /// Every parameter: weights, biases, those of a low-rank change.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        let change = self.adapter.iter().flat_map(LowRank::params);
        self.weight().into_iter().chain(self.bias()).chain(change)
    }

    /// The place in the model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The low-rank change, where there is one.
    #[must_use]
    pub fn adapter(&self) -> Option<&LowRank> {
        self.adapter.as_ref()
    }

    /// The change, where it is not part of the weights.
    fn active(&self) -> Option<&LowRank> {
        self.adapter.as_ref().filter(|adapter| !adapter.is_merged())
    }

    /// The output for `x` in this pass.
    ///
    /// # Errors
    /// When the shape or dtype of `x` does not fit.
    pub fn apply(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let Some(adapter) = self.active() else {
            return self.base(x, self.activation, true, pass);
        };
        let base = self.base(x, Activation::Identity, false, pass)?;
        let mut y = adapter.apply(x, &base, &self.rows()?, pass)?;
        if let Some(bias) = self.bias() {
            y = y.broadcast_add(values(bias, pass))?;
        }
        Ok(ops::activate(&y, self.activation)?)
    }

    /// The output without a low-rank change.
    fn base(
        &self,
        x: &Tensor,
        activation: Activation,
        with_bias: bool,
        pass: &Pass<'_>,
    ) -> Result<Tensor> {
        match &self.weights {
            Weights::Rows(neurons) => {
                let (weight, bias) = neurons.inputs(pass);
                Ok(ops::linear(
                    x,
                    weight,
                    bias.filter(|_| with_bias),
                    activation,
                )?)
            }
            Weights::Columns { weight, bias } => {
                let mut y = ops::matmul(x, weight.input(pass), Transposes { a: false, b: false })?;
                if let Some(bias) = bias.as_ref().filter(|_| with_bias) {
                    y = y.broadcast_add(values(bias, pass))?;
                }
                if activation != Activation::Identity {
                    y = ops::activate(&y, activation)?;
                }
                Ok(y)
            }
            Weights::Packed { matrix, bias } => {
                let bias = bias.as_ref().filter(|_| with_bias).map(Param::tensor);
                Ok(ops::packed_linear(x, matrix, bias, activation)?)
            }
        }
    }

    /// The biases, where the neurons have some.
    #[must_use]
    pub fn bias(&self) -> Option<&Param> {
        match &self.weights {
            Weights::Rows(neurons) => neurons.bias(),
            Weights::Columns { bias, .. } | Weights::Packed { bias, .. } => bias.as_ref(),
        }
    }

    /// The weights as `[out, in]`, outside any graph.
    fn rows(&self) -> Result<Tensor> {
        Ok(match &self.weights {
            Weights::Rows(neurons) => neurons.weight().tensor().clone(),
            Weights::Columns { weight, .. } => weight.tensor().t()?.contiguous()?,
            Weights::Packed { .. } => return Err(self.fixed("read as parameters")),
        })
    }

    fn fixed(&self, asked: &'static str) -> Error {
        Error::Fixed {
            name: self.name.clone(),
            what: "packed",
            asked,
        }
    }

    /// Makes the low-rank change part of the weights; nothing happens where there is none or where it is already.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn merge(&self) -> Result<()> {
        let Some(adapter) = self.active() else {
            return Ok(());
        };
        let before = self.rows()?.copy()?;
        self.set_rows(&adapter.merged_weight(&before)?)?;
        *self.unmerged.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        adapter.set_merged(true);
        Ok(())
    }

    /// Gives the weights their values from before [`Projection::merge`], bit for bit; the change acts beside them again.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn unmerge(&self) -> Result<()> {
        let before = self
            .unmerged
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let (Some(before), Some(adapter)) = (before, &self.adapter) {
            self.set_rows(&before)?;
            adapter.set_merged(false);
        }
        Ok(())
    }

    fn set_rows(&self, rows: &Tensor) -> Result<()> {
        match &self.weights {
            Weights::Rows(neurons) => neurons.weight().set(rows),
            Weights::Columns { weight, .. } => weight.set(&rows.t()?.contiguous()?),
            Weights::Packed { .. } => Err(self.fixed("merged with a change")),
        }
    }
}

/// A parameter as an argument of candle's own operations.
fn values<'a>(param: &'a Param, pass: &Pass<'_>) -> &'a Tensor {
    if pass.is_train() && param.is_trainable() {
        param.var()
    } else {
        param.tensor()
    }
}

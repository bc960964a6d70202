//! A layer of neurons, each connected to every input.

mod low_rank;

use candle_core::{DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_kernels::constant::ConstantMatrix;
use cortical_kernels::matmul::{ROWS_ALIKE, Transposes};
use cortical_neuron::{
    Description, Error, Init, Layer, Param, Pass, Place, Result, Scope, View, product, wrong_sample,
};
use cortical_tensor::{Input, ops};
use low_rank::LowRank;
use std::sync::Arc;

/// How the weights of a [`Linear`] layer lie in a model's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `[out, in]`, as PyTorch's linear layer has them.
    #[default]
    Rows,
    /// `[in, out]`, as GPT-2's `Conv1D` has them.
    Columns,
}

/// The options of a [`Linear`] layer.
#[derive(Clone, Copy, Debug)]
pub struct LinearConfig {
    in_features: usize,
    out_features: usize,
    bias: bool,
    layout: Layout,
    activation: Activation,
    init: Init,
}

impl LinearConfig {
    /// Whether each neuron has a bias; it has by default.
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

    /// What each neuron does with its weighted sum; nothing by default.
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

    /// Makes the layer at a place of a model, with weights from the store's source where it has them, quantized if they
    /// are, and with a low-rank change where the store's adapters name the place.
    ///
    /// # Errors
    /// [`Error::NameTaken`] when the place is taken, [`Error::TooLarge`], [`Error::Source`], [`Error::Fixed`] when
    /// quantized weights are to carry a low-rank change.
    pub fn build(self, scope: &impl Place) -> Result<Linear> {
        let scope = &scope.place();
        let adapters = scope.params().adapters();
        let adapters = adapters.filter(|adapters| adapters.names(scope.path()));
        let weight = self.weight(scope)?;
        if let (Some(_), Weight::Constant(matrix)) = (&adapters, &weight) {
            return Err(fixed(scope.path(), matrix.form(), "adapted"));
        }
        let mut layer = self.with(weight, scope)?;
        if let Some(adapters) = adapters {
            let rows = layer.rows()?;
            layer.change = Some(LowRank::build(&adapters, scope, &rows)?);
        }
        Ok(layer)
    }

    /// Makes the layer with the weight of another one, such as an embedding's table: one parameter in two places.
    ///
    /// # Errors
    /// [`Error::ValueShape`] unless the weight has this layer's shape, [`Error::NameTaken`], [`Error::UnknownName`]
    /// when it belongs to another store.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use cortical_dense::Linear;
    /// use cortical_neuron::{Embedding, Params};
    /// use cortical_tensor::Seed;
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let params = Params::new(&Device::Cpu, Seed(1));
    /// let table = Embedding::config(100, 8).build(&params.at("wte"))?;
    /// let head = Linear::config(8, 100).bias(false).build_tied(&params.at("lm_head"), table.weight())?;
    /// assert!(head.weight().expect("a parameter").is_same(table.weight()));
    /// assert_eq!(params.count(), 800); // counted once
    /// assert_eq!(params.ties(), [("lm_head.weight".to_string(), "wte.weight".to_string())]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn build_tied(self, scope: &impl Place, weight: &Param) -> Result<Linear> {
        let scope = &scope.place();
        if weight.dims() != self.shape() {
            return Err(Error::ValueShape {
                name: weight.name().to_string(),
                expected: weight.dims().to_vec(),
                got: self.shape().to_vec(),
            });
        }
        scope.tie("weight", weight)?;
        self.with(self.laid_out(weight.clone()), scope)
    }

    /// The shape of the weights as they lie.
    fn shape(&self) -> [usize; 2] {
        match self.layout {
            Layout::Rows => [self.out_features, self.in_features],
            Layout::Columns => [self.in_features, self.out_features],
        }
    }

    /// Weights in a form of their own where the store's source has them, a parameter otherwise.
    fn weight(&self, scope: &Scope) -> Result<Weight> {
        let shape = self.shape();
        if self.layout == Layout::Rows
            && let Some(source) = scope.params().source()
            && let Some(matrix) = source.constant(&scope.name_of("weight"), &shape)?
        {
            return Ok(Weight::Constant(matrix));
        }
        // PyTorch's default asks the last dimension how many inputs there are, which is the other one in columns.
        let init = match self.layout {
            Layout::Columns if self.init == Init::KAIMING_UNIFORM => Init::bias(self.in_features),
            _ => self.init,
        };
        Ok(self.laid_out(scope.param("weight", &shape, init)?))
    }

    fn laid_out(&self, weight: Param) -> Weight {
        match self.layout {
            Layout::Rows => Weight::Rows(weight),
            Layout::Columns => Weight::Columns(weight),
        }
    }

    /// The layer of these weights, with biases if it is to have some.
    fn with(self, weight: Weight, scope: &Scope) -> Result<Linear> {
        let init = match self.init == Init::KAIMING_UNIFORM {
            true => Init::bias(self.in_features),
            false => Init::ZEROS,
        };
        let bias = self
            .bias
            .then(|| scope.param("bias", &[self.out_features], init));
        Ok(Linear {
            weight,
            bias: bias.transpose()?,
            change: None,
            config: self,
            name: scope.path().to_string(),
        })
    }
}

/// `y = activation(x Wᵀ + b)`: every neuron reads every input. PyTorch's `nn.Linear` with its activation fused.
///
/// `out · in + out` parameters, as many multiply-adds a row as there are weights.
///
/// The weights are a parameter; or quantized to 16, 8, 6 or 4 bits, or with severed connections, as a file holds them;
/// or a parameter with a low-rank change beside it (LoRA, DoRA). Which of them is decided where the layer is built, by
/// the store's source and its adapters, so that one network serves training, fine-tuning and generation.
///
/// # Shapes
/// - input: `[…, in_features]`
/// - `weight`: `[out_features, in_features]`, or `[in_features, out_features]` with [`Layout::Columns`]; `bias`:
///   `[out_features]`; both from U(−1/√in_features, 1/√in_features)
/// - output: `[…, out_features]`
///
/// # Source
/// Rosenblatt, "The perceptron" (1958).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_dense::Linear;
/// use cortical_neuron::{Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let layer = Linear::config(2, 1).build(&params.at("fc"))?;
/// params.set("fc.weight", &Tensor::new(&[[3.0_f32, -1.0]], &Device::Cpu)?)?;
/// params.set("fc.bias", &Tensor::new(&[0.5_f32], &Device::Cpu)?)?;
/// let x = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu)?;
/// assert_eq!(layer.forward(&x, &mut Pass::eval())?.to_vec2::<f32>()?, [[1.5]]);
/// assert_eq!(layer.describe(&[2])?.formula, "out·in + out = 1·2 + 1");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Weight,
    bias: Option<Param>,
    change: Option<LowRank>,
    config: LinearConfig,
    name: String,
}

/// Where the weights are.
#[derive(Clone, Debug)]
enum Weight {
    /// `[out, in]`
    Rows(Param),
    /// `[in, out]`
    Columns(Param),
    /// `[out, in]`, not trained: quantized, or with severed connections.
    Constant(Arc<dyn ConstantMatrix>),
}

impl Linear {
    /// The options of a layer with `in_features` inputs and `out_features` neurons.
    #[must_use]
    pub fn config(in_features: usize, out_features: usize) -> LinearConfig {
        LinearConfig {
            in_features,
            out_features,
            bias: true,
            layout: Layout::Rows,
            activation: Activation::Identity,
            init: Init::KAIMING_UNIFORM,
        }
    }

    /// How many inputs each neuron reads.
    #[must_use]
    pub fn in_features(&self) -> usize {
        self.config.in_features
    }

    /// How many neurons there are.
    #[must_use]
    pub fn out_features(&self) -> usize {
        self.config.out_features
    }

    /// How the weights lie.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.config.layout
    }

    /// What each neuron does with its weighted sum.
    #[must_use]
    pub fn activation(&self) -> Activation {
        self.config.activation
    }

    /// The weights, where they are a parameter: not where they are quantized or sparse.
    #[must_use]
    pub fn weight(&self) -> Option<&Param> {
        match &self.weight {
            Weight::Rows(weight) | Weight::Columns(weight) => Some(weight),
            Weight::Constant(_) => None,
        }
    }

    /// The biases, `[out_features]`, where the neurons have some.
    #[must_use]
    pub fn bias(&self) -> Option<&Param> {
        self.bias.as_ref()
    }

    /// Every parameter: weights, biases, those of a low-rank change.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        let change = self.change.iter().flat_map(LowRank::params);
        self.weight().into_iter().chain(self.bias()).chain(change)
    }

    /// The place in the model.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is a low-rank change.
    #[must_use]
    pub fn is_adapted(&self) -> bool {
        self.change.is_some()
    }

    /// Weights of `[out, in]` and biases as arguments of an operation that does more than this layer, where the layer
    /// is nothing but these: not where it is quantized or sparse, carries a low-rank change or has its weights in
    /// columns, and not in a pass that shows what it reads.
    #[must_use]
    pub fn plain_inputs(&self, pass: &Pass<'_>) -> Option<(Input<'_>, Option<Input<'_>>)> {
        match &self.weight {
            Weight::Rows(weight) if self.change_beside().is_none() && !pass.shows_inputs() => {
                Some((
                    weight.input(pass),
                    self.bias.as_ref().map(|bias| bias.input(pass)),
                ))
            }
            _ => None,
        }
    }

    /// The change, where it is not part of the weights.
    fn change_beside(&self) -> Option<&LowRank> {
        let change = self.change.as_ref();
        change.filter(|change| change.unmerged().is_none())
    }

    /// The output for `x` in this pass, for layers that are made of this one: only an observer who asks for
    /// [modules](View::Modules) sees it.
    ///
    /// # Errors
    /// When the shape or dtype of `x` does not fit.
    pub fn apply(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        match pass.wants(View::Modules) {
            true => self.forward(x, pass),
            false => self.run(x, self.activation(), pass),
        }
    }

    /// Up to so many rows of inputs together, each row of the output has the bits that it has alone.
    #[must_use]
    pub fn rows_alike(&self) -> usize {
        match &self.weight {
            _ if self.change_beside().is_some() => 1,
            Weight::Constant(matrix) => matrix.rows_alike(),
            Weight::Rows(weight) if weight.tensor().dtype() == DType::F32 => ROWS_ALIKE,
            Weight::Rows(_) | Weight::Columns(_) => 1,
        }
    }

    /// As [`Self::apply`] for the last projection of a feed-forward layer: the observer who asks for
    /// [units](View::Units) sees `x` as `NAME.input`.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_to_units(&self, x: Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        if !pass.wants(View::Units) {
            return self.apply(&x, pass);
        }
        let x = pass.observe(&format!("{}.input", self.name), x)?;
        self.apply(&x, pass)
    }

    /// The output for `x` with this activation.
    fn run(&self, x: &Tensor, activation: Activation, pass: &Pass<'_>) -> Result<Tensor> {
        pass.show_input(&self.name, x)?;
        let Some(change) = self.change_beside() else {
            return self.base(x, self.bias(), activation, pass);
        };
        let base = self.base(x, None, Activation::Identity, pass)?;
        let y = change.apply(x, &base, &self.rows()?, pass)?;
        finish(y, self.bias(), activation, pass)
    }

    /// `activation(x Wᵀ + bias)` without a low-rank change.
    fn base(
        &self,
        x: &Tensor,
        bias: Option<&Param>,
        activation: Activation,
        pass: &Pass<'_>,
    ) -> Result<Tensor> {
        match &self.weight {
            Weight::Rows(weight) => {
                let bias = bias.map(|bias| bias.input(pass));
                Ok(ops::linear(x, weight.input(pass), bias, activation)?)
            }
            Weight::Columns(weight) => {
                let y = ops::matmul(x, weight.input(pass), Transposes { a: false, b: false })?;
                finish(y, bias, activation, pass)
            }
            // The operation takes its biases for constants.
            Weight::Constant(matrix) if bias.is_some_and(|b| b.tracked(pass).track_op()) => {
                let y = ops::constant_linear(x, matrix, None, Activation::Identity)?;
                finish(y, bias, activation, pass)
            }
            Weight::Constant(matrix) => {
                let bias = bias.map(Param::tensor);
                Ok(ops::constant_linear(x, matrix, bias, activation)?)
            }
        }
    }

    /// The weights as `[out, in]`, outside any graph.
    fn rows(&self) -> Result<Tensor> {
        Ok(match &self.weight {
            Weight::Rows(weight) => weight.tensor().clone(),
            Weight::Columns(weight) => weight.tensor().t()?.contiguous()?,
            Weight::Constant(matrix) => {
                return Err(fixed(&self.name, matrix.form(), "read as parameters"));
            }
        })
    }

    fn set_rows(&self, rows: &Tensor) -> Result<()> {
        match &self.weight {
            Weight::Rows(weight) => weight.set(rows),
            Weight::Columns(weight) => weight.set(&rows.t()?.contiguous()?),
            Weight::Constant(matrix) => {
                Err(fixed(&self.name, matrix.form(), "merged with a change"))
            }
        }
    }

    /// Makes the low-rank change part of the weights; nothing happens where there is none or where it is already.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn merge(&self) -> Result<()> {
        let Some(change) = self.change_beside() else {
            return Ok(());
        };
        let before = self.rows()?.copy()?;
        self.set_rows(&change.merged_weight(&before)?)?;
        *change.unmerged() = Some(before);
        Ok(())
    }

    /// Gives the weights their values from before [`Linear::merge`], bit for bit; the change acts beside them again.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn unmerge(&self) -> Result<()> {
        let Some(change) = &self.change else {
            return Ok(());
        };
        match change.unmerged().take() {
            Some(before) => self.set_rows(&before),
            None => Ok(()),
        }
    }
}

/// `activation(y + bias)`
fn finish(
    mut y: Tensor,
    bias: Option<&Param>,
    activation: Activation,
    pass: &Pass<'_>,
) -> Result<Tensor> {
    if let Some(bias) = bias {
        y = y.broadcast_add(bias.tracked(pass))?;
    }
    Ok(match activation {
        Activation::Identity => y,
        _ => ops::activate(&y, activation)?,
    })
}

fn fixed(name: &str, what: &'static str, asked: &'static str) -> Error {
    Error::Fixed {
        name: name.to_string(),
        what,
        asked,
    }
}

impl Layer for Linear {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let activation = self.activation();
        let is_apart = activation != Activation::Identity && pass.wants(View::Modules);
        let fused = if is_apart {
            Activation::Identity
        } else {
            activation
        };
        let y = self.run(x, fused, pass);
        let y = pass.observe(&self.name, y.map_err(|e| e.in_layer(&self.name))?)?;
        match is_apart {
            true => Ok(ops::activate(&y, activation)?),
            false => Ok(y),
        }
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let named = |e: Error| e.in_layer(&self.name);
        let (inputs, outputs) = (self.in_features(), self.out_features());
        let Some((last, rows)) = sample.split_last().filter(|(last, _)| **last == inputs) else {
            let expected = format!("[…, {inputs}]");
            return Err(named(wrong_sample("linear", expected, sample)));
        };
        let mut formula = match (&self.weight, self.bias()) {
            (Weight::Constant(matrix), Some(_)) => {
                format!("out = {outputs}, its weights are {}", matrix.form())
            }
            (Weight::Constant(matrix), None) => format!("0, its weights are {}", matrix.form()),
            (_, Some(_)) => format!("out·in + out = {outputs}·{inputs} + {outputs}"),
            (_, None) => format!("out·in = {outputs}·{inputs}"),
        };
        if let Some(change) = &self.change {
            formula += &change.formula();
        }
        let output: Vec<usize> = rows.iter().copied().chain([outputs]).collect();
        let times = usize::try_from(product(rows)).unwrap_or(usize::MAX);
        let described = Description::new("Linear", &self.name, &output)
            .activation(self.activation())
            .reads(format!("each of {outputs} neurons reads all {last} inputs"))
            .keeping_sums_of(self.activation())
            .parameters(self.params(), formula);
        match &self.weight {
            Weight::Rows(weight) | Weight::Columns(weight) => described.uses(weight, times),
            Weight::Constant(matrix) => Ok(described.costs(
                product(&[matrix.connections(), times]),
                product(&[matrix.rows(), matrix.cols(), times]),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Module};
    use cortical_neuron::{Observer, Params};
    use cortical_tensor::Seed;

    fn layer(params: &Params) -> Linear {
        Linear::config(4, 3)
            .activation(Activation::Relu)
            .build(&params.at("fc1"))
            .unwrap()
    }

    #[test]
    fn an_error_says_in_which_layer() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let x = Tensor::zeros((2, 5), DType::F32, &Device::Cpu).unwrap();
        let error = layer(&params).forward(&x, &mut Pass::eval()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "in layer \"fc1\": linear: x must have shape […, 4], as the weight reads 4 inputs, but has [2, 5]"
        );
    }

    #[test]
    fn an_observer_sees_the_output_and_changes_nothing() {
        struct Seen(Vec<(String, Vec<usize>)>);
        impl Observer for Seen {
            fn activation(&mut self, layer: &str, output: &Tensor) {
                self.0.push((layer.to_string(), output.dims().to_vec()));
            }
        }
        let params = Params::new(&Device::Cpu, Seed(1));
        let layer = layer(&params);
        let x = Tensor::ones((2, 4), DType::F32, &Device::Cpu).unwrap();
        let mut seen = Seen(Vec::new());
        let y = layer
            .forward(&x, &mut Pass::eval().observed_by(&mut seen))
            .unwrap();
        assert_eq!(seen.0, [("fc1".to_string(), vec![2, 3])]);
        let plain = layer.as_module().forward(&x).unwrap();
        assert_eq!(y.to_vec2::<f32>().unwrap(), plain.to_vec2::<f32>().unwrap());
    }
}

//! Batch norm.

use super::{Affine, check_channels};
use crate::{Buffer, Description, Error, Layer, Pass, Place, Result, Scope, View};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_tensor::ops::{self, BatchNormOptions};

/// The options of a [`BatchNorm`].
#[derive(Clone, Copy, Debug)]
pub struct BatchNormConfig {
    channels: usize,
    eps: f64,
    momentum: Option<f64>,
    affine: bool,
    running: bool,
    activation: Activation,
}

impl BatchNormConfig {
    /// What is added to the variance; 1e-5 by default.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// How far the running averages move towards each batch, 0.1 by default; `None` for the plain average of all
    /// batches.
    #[must_use]
    pub fn momentum(mut self, momentum: Option<f64>) -> Self {
        self.momentum = momentum;
        self
    }

    /// Whether there are a scale and a shift; there are by default.
    #[must_use]
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }

    /// Whether running averages are kept, for evaluation; they are by default. Without them evaluation uses the batch's
    /// own moments.
    #[must_use]
    pub fn track_running_stats(mut self, running: bool) -> Self {
        self.running = running;
        self
    }

    /// What happens to each normalised number, in the same pass over memory; nothing by default.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::TooLarge`], [`Error::Option`] when the momentum is not in `[0, 1]`.
    pub fn build(self, scope: &impl Place) -> Result<BatchNorm> {
        let scope = &scope.place();
        check_momentum(self.momentum)?;
        let affine = Affine::build(scope, &[self.channels], self.affine, self.affine)?;
        let running = match self.running {
            true => Some(Running::build(scope, self.channels)?),
            false => None,
        };
        Ok(BatchNorm {
            affine,
            running,
            name: scope.path().to_string(),
            config: self,
        })
    }
}

/// Refuses a momentum that is no share.
pub(super) fn check_momentum(momentum: Option<f64>) -> Result<()> {
    match momentum.filter(|m| !(0.0..=1.0).contains(m)) {
        Some(momentum) => Err(Error::Option {
            option: "momentum",
            expected: "a share from 0 to 1",
            got: momentum.to_string(),
        }),
        None => Ok(()),
    }
}

/// The running averages and the number of batches they have seen.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) mean: Buffer,
    pub(super) var: Buffer,
    batches: Buffer,
}

impl Running {
    pub(super) fn build(scope: &Scope, channels: usize) -> Result<Self> {
        let batches = Tensor::new(0_i64, scope.params().device())?;
        Ok(Self {
            mean: scope.filled_buffer("running_mean", &[channels], 0.0)?,
            var: scope.filled_buffer("running_var", &[channels], 1.0)?,
            batches: scope.buffer("num_batches_tracked", &batches)?,
        })
    }

    fn update(&self, normed: &ops::BatchNormed, momentum: Option<f64>) -> Result<()> {
        let batches = self.batches.tensor().to_scalar::<i64>()? + 1;
        let share = momentum.unwrap_or(1.0 / batches as f64);
        let unbias = normed.count as f64 / (normed.count as f64 - 1.0);
        self.move_towards(&normed.mean, &(&normed.var * unbias)?, share)?;
        self.batches
            .set(&Tensor::new(batches, self.batches.tensor().device())?)
    }

    /// Moves both averages a share of the way to a batch's moments.
    pub(super) fn move_towards(&self, mean: &Tensor, var: &Tensor, share: f64) -> Result<()> {
        for (buffer, batch) in [(&self.mean, mean), (&self.var, var)] {
            let old = buffer.tensor();
            let batch = batch.to_dtype(old.dtype())?;
            buffer.set(&((old * (1.0 - share))? + (batch * share)?)?)?;
        }
        Ok(())
    }
}

/// `y = (x − μ) / √(σ² + eps) · weight + bias` for each channel: over the batch in training, with running averages of μ
/// and σ² in evaluation. PyTorch's `nn.BatchNorm1d`, `2d` and `3d` in one, with an activation and the sum of a residual
/// block fused.
///
/// # Shapes
/// - input and output: `[n, channels, …]`
/// - `weight`, `bias`: `[channels]`, ones and zeros at first: `2 · channels` parameters
/// - `running_mean`, `running_var`: `[channels]`; `num_batches_tracked`: a number
///
/// # Source
/// Ioffe and Szegedy, "Batch normalization" (2015).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::{BatchNorm, Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let norm = BatchNorm::config(1).eps(0.0).build(&params.at("bn"))?;
/// let x = Tensor::new(&[[1.0_f32], [3.0]], &Device::Cpu)?; // a batch of two
/// let mut rng = params.rng("pass");
/// assert_eq!(norm.forward(&x, &mut Pass::train(&mut rng))?.to_vec2::<f32>()?, [[-1.0], [1.0]]);
/// let mean = params.buffer("bn.running_mean")?.tensor().to_vec1::<f32>()?;
/// assert!((mean[0] - 0.2).abs() < 1e-6); // a tenth of the way from 0 to 2
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BatchNorm {
    affine: Affine,
    running: Option<Running>,
    name: String,
    config: BatchNormConfig,
}

impl BatchNorm {
    /// The options of a layer for inputs of so many channels.
    #[must_use]
    pub fn config(channels: usize) -> BatchNormConfig {
        BatchNormConfig {
            channels,
            eps: 1e-5,
            momentum: Some(0.1),
            affine: true,
            running: true,
            activation: Activation::Identity,
        }
    }

    /// `activation(norm(x) + branch)`, the end of a residual block in one pass over memory.
    ///
    /// # Shapes
    /// - `x`, `branch` and result: `[n, channels, …]`
    ///
    /// # Errors
    /// When a shape or dtype does not fit; the error says in which layer.
    ///
    /// # Source
    /// He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (2016), figure 2.
    ///
    /// ```
    /// # use candle_core::{DType, Device, Tensor};
    /// # use cortical_kernels::activation::Activation;
    /// # use cortical_neuron::{BatchNorm, Params, Pass};
    /// # use cortical_tensor::Seed;
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let params = Params::new(&Device::Cpu, Seed(1));
    /// let norm = BatchNorm::config(4).activation(Activation::Relu).build(&params.at("bn2"))?;
    /// let x = Tensor::ones((2, 4, 8, 8), DType::F32, &Device::Cpu)?;
    /// let y = norm.forward_residual(&x, &x, &mut Pass::eval())?;
    /// assert_eq!(y.dims(), [2, 4, 8, 8]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn forward_residual(
        &self,
        x: &Tensor,
        branch: &Tensor,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        self.named(x, Some(branch), pass)
    }

    /// What [`Self::run`] returns, with the layer's name on its errors, shown to the pass's observer.
    fn named(&self, x: &Tensor, branch: Option<&Tensor>, pass: &mut Pass<'_>) -> Result<Tensor> {
        let named = |e: Error| e.in_layer(&self.name);
        let activation = self.config.activation;
        if pass.wants(View::Modules) && (branch.is_some() || activation != Activation::Identity) {
            let y = self
                .run(x, None, Activation::Identity, pass)
                .map_err(named)?;
            let y = pass.observe(&self.name, y)?;
            return Ok(match branch {
                Some(branch) => ops::residual(branch, &y, activation)?,
                None => ops::activate(&y, activation)?,
            });
        }
        let y = self.run(x, branch, activation, pass).map_err(named)?;
        pass.observe(&self.name, y)
    }

    fn run(
        &self,
        x: &Tensor,
        branch: Option<&Tensor>,
        activation: Activation,
        pass: &Pass<'_>,
    ) -> Result<Tensor> {
        check_channels("batch_norm", x, self.config.channels)?;
        let [weight, bias] = self.affine.inputs(pass);
        let options = BatchNormOptions {
            weight,
            bias,
            branch: branch.map(Into::into),
            eps: self.config.eps,
            activation,
        };
        match &self.running {
            Some(running) if !pass.is_train() => {
                let (mean, var) = (running.mean.tensor(), running.var.tensor());
                let like = |t: Tensor| t.to_dtype(x.dtype());
                Ok(ops::batch_norm_eval_with(
                    x,
                    &like(mean)?,
                    &like(var)?,
                    &options,
                )?)
            }
            running => {
                let normed = ops::batch_norm_with(x, &options)?;
                if let (Some(running), true) = (running, pass.updates_statistics()) {
                    running.update(&normed, self.config.momentum)?;
                }
                Ok(normed.output)
            }
        }
    }
}

impl Layer for BatchNorm {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.named(x, None, pass)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let reads = "each output reads its channel of the whole batch for the moments, and itself";
        let channels = (0, self.config.channels);
        let description = self
            .affine
            .describe("BatchNorm", &self.name, sample, channels, reads)?;
        Ok(description.activation(self.config.activation))
    }
}

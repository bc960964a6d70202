//! Batch norm.

use super::Affine;
use crate::{Buffer, Error, Layer, Pass, Result, Scope};
use candle_core::Tensor;
use cortical_tensor::ops;

/// The options of a [`BatchNorm`].
#[derive(Clone, Copy, Debug)]
pub struct BatchNormConfig {
    channels: usize,
    eps: f64,
    momentum: Option<f64>,
    affine: bool,
    running: bool,
}

impl BatchNormConfig {
    /// What is added to the variance; 1e-5 by default.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// How far the running averages move towards each batch, 0.1 by default; `None` for the plain average of all batches.
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

    /// Whether running averages are kept, for evaluation; they are by default. Without them evaluation uses the batch's own moments.
    #[must_use]
    pub fn track_running_stats(mut self, running: bool) -> Self {
        self.running = running;
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::TooLarge`], [`Error::Option`] when the momentum is not in `[0, 1]`.
    pub fn build(self, scope: &Scope) -> Result<BatchNorm> {
        if let Some(momentum) = self.momentum.filter(|m| !(0.0..=1.0).contains(m)) {
            let (expected, got) = ("a share from 0 to 1", momentum.to_string());
            return Err(Error::Option {
                option: "momentum",
                expected,
                got,
            });
        }
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

/// The running averages and the number of batches they have seen.
#[derive(Clone, Debug)]
struct Running {
    mean: Buffer,
    var: Buffer,
    batches: Buffer,
}

impl Running {
    fn build(scope: &Scope, channels: usize) -> Result<Self> {
        let (dtype, device) = (scope.params().dtype(), scope.params().device());
        Ok(Self {
            mean: scope.buffer("running_mean", &Tensor::zeros(channels, dtype, device)?)?,
            var: scope.buffer("running_var", &Tensor::ones(channels, dtype, device)?)?,
            batches: scope.buffer("num_batches_tracked", &Tensor::new(0_i64, device)?)?,
        })
    }

    fn update(&self, normed: &ops::BatchNormed, momentum: Option<f64>) -> Result<()> {
        let batches = self.batches.tensor().to_scalar::<i64>()? + 1;
        let share = momentum.unwrap_or(1.0 / batches as f64);
        let unbias = normed.count as f64 / (normed.count as f64 - 1.0);
        for (buffer, batch, factor) in [
            (&self.mean, &normed.mean, 1.0),
            (&self.var, &normed.var, unbias),
        ] {
            let old = buffer.tensor();
            let batch = batch.to_dtype(old.dtype())?;
            buffer.set(&((old * (1.0 - share))? + (batch * (share * factor))?)?)?;
        }
        self.batches
            .set(&Tensor::new(batches, self.batches.tensor().device())?)
    }
}

/// `y = (x − μ) / √(σ² + eps) · weight + bias` for each channel: over the batch in training, with running averages of μ and σ² in
/// evaluation. PyTorch's `nn.BatchNorm1d`, `2d` and `3d` in one.
///
/// # Shapes
/// - input and output: `[n, channels, …]`
/// - `weight`, `bias`, `running_mean`, `running_var`: `[channels]`; `num_batches_tracked`: a number
///
/// # Source
/// Ioffe and Szegedy, "Batch normalization" (2015).
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
        }
    }

    fn run(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let [weight, bias] = self.affine.inputs(pass);
        let eps = self.config.eps;
        match &self.running {
            Some(running) if !pass.is_train() => {
                let (mean, var) = (running.mean.tensor(), running.var.tensor());
                let like = |t: Tensor| t.to_dtype(x.dtype());
                Ok(ops::batch_norm_eval(
                    x,
                    &like(mean)?,
                    &like(var)?,
                    weight,
                    bias,
                    eps,
                )?)
            }
            running => {
                let normed = ops::batch_norm(x, weight, bias, eps)?;
                if let (Some(running), true) = (running, pass.is_train()) {
                    running.update(&normed, self.config.momentum)?;
                }
                Ok(normed.output)
            }
        }
    }
}

impl Layer for BatchNorm {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let y = self.run(x, pass).map_err(|e| e.in_layer(&self.name))?;
        pass.observe(&self.name, &y);
        Ok(y)
    }
}

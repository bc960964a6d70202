//! Instance norm.

use super::batch::Running;
use super::{Affine, check_channels};
use crate::{Description, Error, Layer, Pass, Place, Result};
use candle_core::{D, Tensor};
use cortical_tensor::ops;

/// The options of an [`InstanceNorm`].
#[derive(Clone, Copy, Debug)]
pub struct InstanceNormConfig {
    channels: usize,
    eps: f64,
    momentum: Option<f64>,
    affine: bool,
    running: bool,
    axes: Option<usize>,
}

impl InstanceNormConfig {
    /// What is added to the variance; 1e-5 by default.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// How far the running averages move towards each batch, 0.1 by default; with `None` they stay as they are, as in
    /// PyTorch.
    #[must_use]
    pub fn momentum(mut self, momentum: Option<f64>) -> Self {
        self.momentum = momentum;
        self
    }

    /// Whether there are a scale and a shift; there are none by default.
    #[must_use]
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }

    /// Whether running averages are kept and used in evaluation; they are not by default.
    #[must_use]
    pub fn track_running_stats(mut self, running: bool) -> Self {
        self.running = running;
        self
    }

    /// How many axes lie behind the channels, the number in PyTorch's `InstanceNorm1d`, `2d` and `3d`: with it an input
    /// may come without a batch.
    #[must_use]
    pub fn axes(mut self, axes: usize) -> Self {
        self.axes = Some(axes);
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::Option`] for no channels or a momentum outside `[0, 1]`, [`Error::NameTaken`], [`Error::TooLarge`].
    pub fn build(self, scope: &impl Place) -> Result<InstanceNorm> {
        let scope = &scope.place();
        if self.channels == 0 {
            let (option, expected, got) = ("num_features", "at least 1", "0".to_string());
            return Err(Error::Option {
                option,
                expected,
                got,
            });
        }
        super::batch::check_momentum(self.momentum)?;
        let affine = Affine::build(scope, &[self.channels], self.affine, self.affine)?;
        let running = self.running.then(|| Running::build(scope, self.channels));
        Ok(InstanceNorm {
            affine,
            running: running.transpose()?,
            name: scope.path().to_string(),
            config: self,
        })
    }
}

/// `y = (x − μ) / √(σ² + eps) · weight + bias` with the moments of each channel of each sample, PyTorch's
/// `nn.InstanceNorm1d`, `2d` and `3d`.
///
/// # Shapes
/// - input and output: `[n, channels, …]`, with [`axes`](InstanceNormConfig::axes) also without `n`
/// - `weight`, `bias`: `[channels]`, if asked for: `2 · channels` parameters; `running_mean`, `running_var`:
///   `[channels]`, if asked for
///
/// # Source
/// Ulyanov et al., "Instance normalization" (2016).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::{InstanceNorm, Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let norm = InstanceNorm::config(1).axes(1).eps(0.0).build(&params.at("norm"))?;
/// let x = Tensor::new(&[[1.0_f32, 3.0]], &Device::Cpu)?; // one channel of two steps, no batch
/// assert_eq!(norm.forward(&x, &mut Pass::eval())?.to_vec2::<f32>()?, [[-1.0, 1.0]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct InstanceNorm {
    affine: Affine,
    running: Option<Running>,
    name: String,
    config: InstanceNormConfig,
}

impl InstanceNorm {
    /// The options of a layer for inputs of so many channels.
    #[must_use]
    pub fn config(channels: usize) -> InstanceNormConfig {
        InstanceNormConfig {
            channels,
            eps: 1e-5,
            momentum: Some(0.1),
            affine: false,
            running: false,
            axes: None,
        }
    }

    fn run(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let single = self.config.axes.is_some_and(|axes| x.rank() == axes + 1);
        if let Some(axes) = self
            .config
            .axes
            .filter(|axes| !single && x.rank() != axes + 2)
        {
            return Err(cortical_tensor::Error::Shape {
                op: "instance_norm",
                argument: "x",
                expected: format!(
                    "[n, {}, …] with {axes} axes behind, or without n",
                    self.config.channels
                ),
                got: x.dims().to_vec(),
            }
            .into());
        }
        let batched = if single { x.unsqueeze(0)? } else { x.clone() };
        let y = self.normalise(&batched, pass)?;
        Ok(if single { y.squeeze(0)? } else { y })
    }

    fn normalise(&self, x: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let [weight, bias] = self.affine.inputs(pass);
        let (eps, channels) = (self.config.eps, self.config.channels);
        check_channels("instance_norm", x, channels)?;
        match &self.running {
            Some(running) if !pass.is_train() => {
                let (mean, var) = (running.mean.tensor(), running.var.tensor());
                let (mean, var) = (mean.to_dtype(x.dtype())?, var.to_dtype(x.dtype())?);
                Ok(ops::batch_norm_eval(x, &mean, &var, weight, bias, eps)?)
            }
            running => {
                let y = ops::group_norm(x, channels, weight, bias, eps)?;
                if let (Some(running), Some(share), true) =
                    (running, self.config.momentum, pass.updates_statistics())
                {
                    let rows = x.detach().flatten_from(2)?; // [n, channels, elements]
                    let count = rows.dim(2)? as f64;
                    let mean = rows.mean_keepdim(D::Minus1)?;
                    let var = rows.broadcast_sub(&mean)?.sqr()?.sum(D::Minus1)?;
                    let var = (var / (count - 1.0))?.mean(0)?;
                    running.move_towards(&mean.squeeze(D::Minus1)?.mean(0)?, &var, share)?;
                }
                Ok(y)
            }
        }
    }
}

impl Layer for InstanceNorm {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let y = self.run(x, pass).map_err(|e| e.in_layer(&self.name))?;
        pass.observe(&self.name, y)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let reads = "each output reads its channel for the moments, and itself";
        let channels = (0, self.config.channels);
        self.affine
            .describe("InstanceNorm", &self.name, sample, channels, reads)
    }
}

//! Low-rank changes of weights: LoRA and DoRA.

use crate::{Error, Init, Param, Pass, Result, Scope};
use candle_core::{D, Tensor};
use cortical_kernels::activation::Activation;
use cortical_tensor::ops;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Which projections get a low-rank change, and of what kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapters {
    /// `r`: the rank of the change.
    pub rank: usize,
    /// `α`: the change is scaled by `α / r`.
    pub alpha: f64,
    /// The last parts of the names of the layers that get one, such as `q_proj`.
    pub targets: Vec<String>,
    /// DoRA: the length of each weight vector is a parameter of its own.
    pub dora: bool,
}

impl Adapters {
    /// Whether the layer at `path` gets a change.
    #[must_use]
    pub fn names(&self, path: &str) -> bool {
        self.targets.iter().any(|target| {
            path == target
                || path
                    .strip_suffix(target.as_str())
                    .is_some_and(|rest| rest.ends_with('.'))
        })
    }

    /// `α / r`
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }
}

/// A change `ΔW = (α / r) B A` of low rank beside fixed weights, and with DoRA a length for each weight vector:
/// `y = W x + ΔW x`, or `y = m ⊙ (W + ΔW) x / ‖W + ΔW‖` row by row.
///
/// The names are those of the PEFT library: `lora_A.weight` `[r, in]`, `lora_B.weight` `[out, r]`, `lora_magnitude_vector.weight` `[out]`.
/// `B` begins at zero, so that nothing changes at first. Clones are the same change.
///
/// # Source
/// Hu et al., "LoRA: low-rank adaptation of large language models" (2021); Liu et al., "DoRA: weight-decomposed low-rank adaptation" (2024).
#[derive(Clone, Debug)]
pub struct LowRank {
    a: Param,
    b: Param,
    magnitude: Option<Param>,
    scale: f64,
    merged: Arc<AtomicBool>,
}

impl LowRank {
    /// Makes the parameters at a layer's place. `weight` is `[out, in]`.
    pub(crate) fn build(adapters: &Adapters, scope: &Scope, weight: &Tensor) -> Result<Self> {
        let (out, input) = weight.dims2()?;
        if adapters.rank == 0 || adapters.rank > out.min(input) {
            return Err(Error::Option {
                option: "the rank of a low-rank change",
                expected: "at least 1 and at most the smaller side of the weights",
                got: format!("{} for weights of [{out}, {input}]", adapters.rank),
            });
        }
        // PEFT draws A as PyTorch's linear layer draws its weight.
        let a =
            scope
                .at("lora_A")
                .param("weight", &[adapters.rank, input], Init::KAIMING_UNIFORM)?;
        let b = scope
            .at("lora_B")
            .param("weight", &[out, adapters.rank], Init::ZEROS)?;
        let magnitude = match adapters.dora {
            false => None,
            true => {
                let place = scope.at("lora_magnitude_vector");
                let param = place.param("weight", &[out], Init::ZEROS)?;
                if param
                    .tensor()
                    .abs()?
                    .sum_all()?
                    .to_dtype(candle_core::DType::F64)?
                    .to_scalar::<f64>()?
                    == 0.0
                {
                    param.set(&lengths(weight)?)?;
                }
                Some(param)
            }
        };
        Ok(Self {
            a,
            b,
            magnitude,
            scale: adapters.scale(),
            merged: Arc::default(),
        })
    }

    /// Whether the change is part of the weights now.
    #[must_use]
    pub fn is_merged(&self) -> bool {
        self.merged.load(Ordering::Acquire)
    }

    /// Its parameters.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        [&self.a, &self.b]
            .into_iter()
            .chain(self.magnitude.as_ref())
    }

    /// What is to be added to `base = W x`, or for DoRA what stands in its place.
    pub(crate) fn apply(
        &self,
        x: &Tensor,
        base: &Tensor,
        weight: &Tensor,
        pass: &Pass<'_>,
    ) -> Result<Tensor> {
        let down = ops::linear(x, self.a.input(pass), None, Activation::Identity)?;
        let up = ops::linear(&down, self.b.input(pass), None, Activation::Identity)?;
        let sum = (base + up.affine(self.scale, 0.0)?)?;
        let Some(magnitude) = &self.magnitude else {
            return Ok(sum);
        };
        // The length is a constant of the step, as the paper proposes in its section 4.3.
        let length = lengths(&self.changed(weight)?)?;
        let m: &Tensor = if pass.is_train() && magnitude.is_trainable() {
            magnitude.var()
        } else {
            magnitude.tensor()
        };
        Ok(sum.broadcast_mul(&m.broadcast_div(&length)?)?)
    }

    /// `W + (α / r) B A`
    fn changed(&self, weight: &Tensor) -> Result<Tensor> {
        Ok((weight
            + self
                .b
                .tensor()
                .matmul(self.a.tensor())?
                .affine(self.scale, 0.0)?)?)
    }

    /// The weights with the change in them.
    pub(crate) fn merged_weight(&self, weight: &Tensor) -> Result<Tensor> {
        let changed = self.changed(weight)?;
        Ok(match &self.magnitude {
            None => changed,
            Some(m) => {
                let ratio = m.tensor().broadcast_div(&lengths(&changed)?)?;
                changed.broadcast_mul(&ratio.unsqueeze(1)?)?
            }
        })
    }

    pub(crate) fn set_merged(&self, merged: bool) {
        self.merged.store(merged, Ordering::Release);
    }
}

/// The length of each row.
fn lengths(weight: &Tensor) -> Result<Tensor> {
    Ok(weight.detach().sqr()?.sum(D::Minus1)?.sqrt()?)
}

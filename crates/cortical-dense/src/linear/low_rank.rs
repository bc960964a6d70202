//! Low-rank changes of weights: LoRA and DoRA.

use candle_core::{D, DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_neuron::{Adapters, Error, Init, Param, Pass, Result, Scope};
use cortical_tensor::ops;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A change `ΔW = s B A` of low rank beside fixed weights, its scale `s` as [`Adapters::size`] has it, and with DoRA a
/// length for each weight vector:
/// `y = W x + ΔW x`, or `y = m ⊙ (W + ΔW) x / ‖W + ΔW‖` row by row.
///
/// The names are those of the PEFT library: `lora_A.weight` `[r, in]`, `lora_B.weight` `[out, r]`,
/// `lora_magnitude_vector.weight` `[out]`. `B` begins at zero, so that nothing changes at first. Clones are the same
/// change.
///
/// # Source
/// Hu et al., "LoRA: low-rank adaptation of large language models" (2021); Liu et al., "DoRA: weight-decomposed
/// low-rank adaptation" (2024).
#[derive(Clone, Debug)]
pub(super) struct LowRank {
    a: Param,
    b: Param,
    magnitude: Option<Param>,
    scale: f64,
    /// The weights from before the change was merged into them, while it is.
    unmerged: Arc<Mutex<Option<Tensor>>>,
}

impl LowRank {
    /// Makes the parameters at a layer's place. `weight` is `[out, in]`.
    pub(super) fn build(adapters: &Adapters, scope: &Scope, weight: &Tensor) -> Result<Self> {
        let (out, input) = weight.dims2()?;
        let (rank, scale) = adapters.size(scope.path());
        if rank == 0 {
            return Err(Error::Option {
                option: "the rank of a low-rank change",
                expected: "at least 1",
                got: format!("{rank} for weights of [{out}, {input}]"),
            });
        }
        // PEFT draws A as PyTorch's linear layer draws its weight.
        let a = scope
            .at("lora_A")
            .param("weight", &[rank, input], Init::KAIMING_UNIFORM)?;
        let b = scope
            .at("lora_B")
            .param("weight", &[out, rank], Init::ZEROS)?;
        let magnitude = match adapters.dora {
            false => None,
            true => {
                let place = scope.at("lora_magnitude_vector");
                let param = place.param("weight", &[out], Init::ZEROS)?;
                let sum = param.tensor().abs()?.sum_all()?.to_dtype(DType::F64)?;
                if sum.to_scalar::<f64>()? == 0.0 {
                    param.set(&lengths(weight)?)?;
                }
                Some(param)
            }
        };
        Ok(Self {
            a,
            b,
            magnitude,
            scale,
            unmerged: Arc::default(),
        })
    }

    /// The weights from before the change was merged into them; nothing while it acts beside them.
    pub(super) fn unmerged(&self) -> MutexGuard<'_, Option<Tensor>> {
        self.unmerged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its parameters.
    pub(super) fn params(&self) -> impl Iterator<Item = &Param> {
        [&self.a, &self.b]
            .into_iter()
            .chain(self.magnitude.as_ref())
    }

    /// The number of its parameters, as a formula after that of the weights.
    pub(super) fn formula(&self) -> String {
        let (rank, input, out) = (self.a.dims()[0], self.a.dims()[1], self.b.dims()[0]);
        let length = match self.magnitude {
            Some(_) => format!(" + {out}"),
            None => String::new(),
        };
        format!(" + {rank}·({input} + {out}){length}")
    }

    /// What stands in the place of `base = W x`.
    pub(super) fn apply(
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
        let ratio = magnitude.tracked(pass).broadcast_div(&length)?;
        Ok(sum.broadcast_mul(&ratio)?)
    }

    /// `W + s B A`
    fn changed(&self, weight: &Tensor) -> Result<Tensor> {
        Ok((weight
            + self
                .b
                .tensor()
                .matmul(self.a.tensor())?
                .affine(self.scale, 0.0)?)?)
    }

    /// The weights with the change in them.
    pub(super) fn merged_weight(&self, weight: &Tensor) -> Result<Tensor> {
        let changed = self.changed(weight)?;
        Ok(match &self.magnitude {
            None => changed,
            Some(m) => {
                let ratio = m.tensor().broadcast_div(&lengths(&changed)?)?;
                changed.broadcast_mul(&ratio.unsqueeze(1)?)?
            }
        })
    }
}

/// The length of each row.
fn lengths(weight: &Tensor) -> Result<Tensor> {
    Ok(weight.detach().sqr()?.sum(D::Minus1)?.sqrt()?)
}

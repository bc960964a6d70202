//! Gradient checkpointing: what a layer computed inside is thrown away, and computed once more when its gradient is
//! wanted.

use crate::pass::Replay;
use crate::{Description, Layer, Pass, Result};
use candle_core::{DType, Device, Tensor, Var, WithDType};
use cortical_tensor::{Backward, Input, Op, Output, apply_one, values};
use std::sync::Arc;

/// A layer whose activations are not kept for the backward pass: only its input is, and the layer runs a second time
/// when gradients come. PyTorch's `torch.utils.checkpoint`.
///
/// A stack of `n` such layers needs the memory of `n` inputs and of one layer's inside, for one forward pass more. The
/// second run draws the same random numbers as the first, leaves running statistics alone and is seen by no observer,
/// so every bit is the same as without it.
///
/// Outside training it is the layer itself, and so it is where gradients go to candle's store ([`Pass::for_candle`]),
/// for half precision and on other devices than the CPU. Variables of candle modules inside
/// ([`FromModule`](crate::FromModule)) get no gradient through it; [`Params::backward`](crate::Params::backward) names
/// them.
///
/// # Shapes
/// - input and output: those of the layer
///
/// # Source
/// Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost" (2016), section 4.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_neuron::{Layer, LayerNorm, Params, Pass, Recompute, Sequential};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let deep = Sequential::new(&params.at("net"))
///     .then(|at| Ok(Recompute::new(LayerNorm::config(&[4]).build(at)?)))?
///     .then(|at| Ok(Recompute::new(LayerNorm::config(&[4]).build(at)?)))?;
/// let x = Tensor::ones((2, 4), DType::F32, &Device::Cpu)?;
/// let y = deep.forward(&x, &mut Pass::train(&mut params.rng("pass")))?;
/// params.backward(&y.sum_all()?)?;
/// assert!(params.all().iter().all(|param| param.grad().is_some()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Recompute<L>(Arc<L>);

impl<L: Layer + Send + Sync + 'static> Recompute<L> {
    /// The layer, which will be run again for its gradients.
    pub fn new(layer: L) -> Self {
        Self(Arc::new(layer))
    }

    /// The layer.
    #[must_use]
    pub fn layer(&self) -> &L {
        &self.0
    }
}

impl<L: Layer + Send + Sync + 'static> Layer for Recompute<L> {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let is_kernels = matches!(x.dtype(), DType::F32 | DType::F64) && x.device().is_cpu();
        let Some(replay) = pass.replay().filter(|_| is_kernels) else {
            return self.0.forward(x, pass);
        };
        let y = pass.untracked(|pass| self.0.forward(&x.detach(), pass))?;
        let output = match y.dtype() {
            DType::F32 => output::<f32>(&y)?,
            DType::F64 => output::<f64>(&y)?,
            // No floating-point number came of it, so no gradient will.
            _ => return Ok(y),
        };
        let again = Again {
            layer: self.0.clone(),
            replay,
        };
        let mut inputs = vec![Input::from(x).operand()?];
        if !inputs[0].wants_gradient() {
            // Something must hold the operation in candle's graph; the parameters inside are not known here.
            let anchor = Var::zeros(1, DType::F32, &Device::Cpu)?;
            inputs.push(Input::from(&anchor).operand()?);
        }
        Ok(apply_one(again, inputs, output)?)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        self.0.describe(sample)
    }
}

/// A tensor's numbers as the result of an operation.
fn output<T: WithDType>(y: &Tensor) -> Result<Output> {
    let y = y.contiguous()?;
    Ok(Output::new(values::<T>(&y)?.to_vec(), y.shape().clone()))
}

/// A layer after its forward pass, with what it takes to repeat it.
struct Again<L> {
    layer: Arc<L>,
    replay: Replay,
}

impl<L: Layer + Send + Sync + 'static> Op for Again<L> {
    fn name(&self) -> &'static str {
        "recompute"
    }

    fn backward(&self, back: &Backward<'_>) -> cortical_tensor::Result<Vec<Option<Tensor>>> {
        let x = back.input(0);
        let leaf = match back.wants(0) {
            true => Some(Var::from_tensor(&x.detach())?),
            false => None,
        };
        let detached = x.detach();
        let start = leaf.as_ref().map_or(&detached, Var::as_tensor);
        let y = self.layer.forward(start, &mut self.replay.pass());
        let y = y.map_err(candle_core::Error::from)?;
        let mut gradients = vec![None, None];
        if y.track_op() {
            // The derivative of Σ y · d_y is what comes from above; parameters take theirs into their slots.
            let mut store = (y * back.d_output(0))?.sum_all()?.backward()?;
            gradients[0] = leaf.as_ref().and_then(|leaf| store.remove(leaf));
        }
        gradients.truncate(if leaf.is_some() { 1 } else { 2 });
        Ok(gradients)
    }

    fn reads_output(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::cross_entropy;
    use crate::{BatchNorm, Dropout, Init, Param, Params, Sequential};
    use cortical_kernels::activation::Activation;
    use cortical_tensor::{Seed, ops};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A dense layer that counts how often it runs.
    struct Dense {
        weight: Param,
        runs: Arc<AtomicUsize>,
    }

    impl Layer for Dense {
        fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
            self.runs.fetch_add(1, Ordering::Relaxed);
            let y = ops::linear(x, self.weight.input(pass), None, Activation::Gelu)?;
            Ok(y)
        }
    }

    fn stack(params: &Params, wrapped: bool, runs: &Arc<AtomicUsize>) -> Sequential {
        let mut net = Sequential::new(&params.at("net"));
        for _ in 0..3 {
            net = net
                .then(|at| {
                    let block = Sequential::new(at)
                        .then(|at| {
                            Ok(Dense {
                                weight: at.param("weight", &[6, 6], Init::KAIMING_UNIFORM)?,
                                runs: runs.clone(),
                            })
                        })?
                        .then(|at| BatchNorm::config(6).build(at))?
                        .then(|at| Dropout::new(0.4, at))?;
                    let block: Box<dyn Layer + Send + Sync> = match wrapped {
                        true => Box::new(Recompute::new(block)),
                        false => Box::new(block),
                    };
                    Ok(Boxed(block))
                })
                .unwrap();
        }
        net
    }

    struct Boxed(Box<dyn Layer + Send + Sync>);
    impl Layer for Boxed {
        fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
            self.0.forward(x, pass)
        }
    }

    /// Every gradient and running average after two training passes, as bits; whether the input is tracked; how often
    /// layers ran.
    fn two_passes(wrapped: bool, tracked: bool) -> (Vec<Vec<u32>>, usize) {
        let params = Params::new(&Device::Cpu, Seed(3));
        let runs = Arc::new(AtomicUsize::new(0));
        let net = stack(&params, wrapped, &runs);
        let mut rng = params.rng("pass");
        let x: Vec<f32> = (0..30).map(|i| (i as f32 * 0.7).sin()).collect();
        let x = Tensor::from_vec(x, (5, 6), &Device::Cpu).unwrap();
        let x = Var::from_tensor(&x).unwrap();
        let given = if tracked {
            x.as_tensor().clone()
        } else {
            x.detach()
        };
        let labels = Tensor::new(&[0_u32, 5, 2, 3, 1], &Device::Cpu).unwrap();
        let mut all = Vec::new();
        for _ in 0..2 {
            let logits = net.forward(&given, &mut Pass::train(&mut rng)).unwrap();
            let loss = cross_entropy(&logits, &labels).unwrap();
            if tracked {
                let d_x = loss.backward().unwrap().remove(&x).unwrap();
                all.push(d_x);
            } else {
                params.backward(&loss).unwrap();
            }
        }
        all.extend(params.all().iter().map(|p| p.grad().unwrap()));
        all.extend(params.buffers().iter().map(|b| b.tensor()));
        let bits = all.iter().map(|t| {
            let t = t.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
            t.to_vec1::<f32>()
                .unwrap()
                .into_iter()
                .map(f32::to_bits)
                .collect()
        });
        (bits.collect(), runs.load(Ordering::Relaxed))
    }

    #[test]
    fn gradients_dropout_and_running_averages_are_the_same_bits() {
        for tracked in [false, true] {
            let (plain, once) = two_passes(false, tracked);
            let (again, twice) = two_passes(true, tracked);
            assert_eq!(plain, again, "input tracked: {tracked}");
            assert_eq!((once, twice), (6, 12));
        }
    }

    #[test]
    fn nothing_runs_twice_in_evaluation() {
        let params = Params::new(&Device::Cpu, Seed(3));
        let runs = Arc::new(AtomicUsize::new(0));
        let net = stack(&params, true, &runs);
        let x = Tensor::ones((2, 6), DType::F32, &Device::Cpu).unwrap();
        let y = net.forward(&x, &mut Pass::eval()).unwrap();
        assert!(!y.track_op());
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn blocks_within_blocks_are_the_same_bits() {
        let bits = |nested: bool| {
            let params = Params::new(&Device::Cpu, Seed(3));
            let runs = Arc::new(AtomicUsize::new(0));
            let net = stack(&params, nested, &runs);
            let mut rng = params.rng("pass");
            let mut pass = Pass::train(&mut rng);
            let x = Tensor::ones((2, 6), DType::F32, &Device::Cpu).unwrap();
            let y = match nested {
                true => Recompute::new(net).forward(&x, &mut pass).unwrap(),
                false => net.forward(&x, &mut pass).unwrap(),
            };
            params
                .backward(&y.sqr().unwrap().sum_all().unwrap())
                .unwrap();
            let grads = params.all().into_iter().map(|p| {
                let grad = p.grad().unwrap().flatten_all().unwrap();
                grad.to_vec1::<f32>().unwrap()
            });
            grads.collect::<Vec<_>>()
        };
        assert_eq!(bits(false), bits(true));
    }
}

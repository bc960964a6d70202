//! The trait of layers, and their form for candle programs.

use crate::{Description, Error, Pass, Result};
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_tensor::{Rng, ops};
use std::sync::{Mutex, PoisonError};

/// A part of a network that maps one tensor to another.
///
/// Layers with several inputs or outputs (recurrence, attention) have methods of their own beside this trait. An
/// [`Activation`] is a layer, too.
pub trait Layer {
    /// The output for `x` in this pass.
    ///
    /// # Errors
    /// When the shape or dtype of `x` does not fit; the error says in which layer.
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor>;

    /// What the layer is made of and what it costs for one sample of this shape (without its place in a batch).
    ///
    /// # Errors
    /// When the shape does not fit; [`Error::NotDescribed`] unless the layer says how.
    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let _ = sample;
        Err(Error::NotDescribed)
    }

    /// This layer as a [`candle_core::Module`] that evaluates; [`AsModule::training`] makes one that trains.
    fn as_module(&self) -> AsModule<'_, Self>
    where
        Self: Sized,
    {
        AsModule {
            layer: self,
            rng: None,
        }
    }
}

/// A layer as a [`candle_core::Module`]; see [`Layer::as_module`].
#[derive(Debug)]
pub struct AsModule<'a, L> {
    layer: &'a L,
    /// What training passes draw from; candle calls a module by shared reference.
    rng: Option<Mutex<Rng>>,
}

impl<L> AsModule<'_, L> {
    /// The same layer in training: dropout drops with numbers from `rng`, batch norm uses the batch, and every
    /// parameter is a plain variable, so that candle's `loss.backward()` finds its gradient and candle's optimizers,
    /// made over [`Params::vars`](crate::Params::vars), move it.
    ///
    /// ```
    /// use candle_core::{DType, Device, Module, Tensor};
    /// use cortical_kernels::activation::Activation::Identity;
    /// use cortical_neuron::{Affine, Layer, Params, Pass, Result};
    /// use cortical_tensor::{Seed, ops};
    ///
    /// struct Plain(Affine);
    /// impl Layer for Plain {
    ///     fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
    ///         let (weight, bias) = self.0.inputs(pass);
    ///         Ok(ops::linear(x, weight, bias, Identity)?)
    ///     }
    /// }
    /// # fn main() -> Result<()> {
    /// let params = Params::new(&Device::Cpu, Seed(1));
    /// let layer = Plain(Affine::build(&params.at("fc"), &[2, 3], true, Identity)?);
    /// let x = Tensor::ones((4, 3), DType::F32, &Device::Cpu)?;
    /// let loss = layer.as_module().training(params.rng("pass")).forward(&x)?.sum_all()?;
    /// let grads = loss.backward()?; // candle's own store
    /// assert!(params.vars().iter().all(|var| grads.get(var).is_some()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn training(self, rng: Rng) -> Self {
        Self {
            rng: Some(Mutex::new(rng)),
            ..self
        }
    }
}

impl<L: Layer> candle_core::Module for AsModule<'_, L> {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let mut pass = match &self.rng {
            Some(rng) => {
                let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
                Pass::train(&mut rng).for_candle()
            }
            None => Pass::eval(),
        };
        Ok(self.layer.forward(x, &mut pass)?)
    }
}

/// The activation of each element.
impl Layer for Activation {
    fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
        Ok(ops::activate(x, *self)?)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let reads = "each neuron reads one input and has no weight";
        let description = Description::new("Activation", "", sample).activation(*self);
        Ok(description.reads(reads))
    }
}

/// A candle module among our layers: an existing piece of a candle program inside a network of ours.
///
/// Its variables are the store's business once they are adopted under names of their own
/// ([`Params::adopt`](crate::Params::adopt)): then [`Params::backward`](crate::Params::backward) collects their
/// gradients with all others, and optimizers, files and accounts see them. A candle module reads its variables in
/// evaluation, too, so its results there are detached.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use cortical_neuron::{FromModule, Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let scale = Var::new(&[2.0_f32], &Device::Cpu)?;
/// params.adopt("scale", scale.clone())?;
/// let layer = FromModule::new(move |x: &Tensor| x.broadcast_mul(&scale));
/// let x = Tensor::new(&[3.0_f32], &Device::Cpu)?;
/// let mut rng = params.rng("pass");
/// let y = layer.forward(&x, &mut Pass::train(&mut rng))?;
/// params.backward(&y.sum_all()?)?;
/// assert_eq!(params.get("scale")?.grad().expect("a gradient").to_vec1::<f32>()?, [3.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FromModule<M>(M);

impl<M: candle_core::Module> FromModule<M> {
    /// This module as a layer.
    pub fn new(module: M) -> Self {
        Self(module)
    }
}

impl<M: candle_core::Module> Layer for FromModule<M> {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let y = self.0.forward(x)?;
        Ok(if pass.wants_gradients() {
            y
        } else {
            y.detach()
        })
    }
}

/// A layer behind a pointer.
impl<L: Layer + ?Sized> Layer for Box<L> {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        (**self).forward(x, pass)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        (**self).describe(sample)
    }
}

//! One parameter, one buffer.

use crate::pass::Gradients;
use crate::{Error, Pass, Result};
use candle_core::{DType, Device, Tensor, Var};
use cortical_tensor::{GradSlot, Input};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A named weight that training changes, with the slot where its gradient lands.
///
/// Clones are the same parameter.
#[derive(Clone, Debug)]
pub struct Param(Arc<ParamInner>);

#[derive(Debug)]
struct ParamInner {
    name: String,
    var: Var,
    /// The same storage without the graph, for evaluation.
    detached: Tensor,
    slot: GradSlot,
    trainable: AtomicBool,
    /// Whether there is a shape and nothing else; see [`Params::dry`](crate::Params::dry).
    dry: bool,
}

impl Param {
    pub(crate) fn new(name: String, var: Var) -> Self {
        let detached = var.as_detached_tensor();
        Self::make(name, var, detached, false)
    }

    /// A parameter of a dry store: one zero that looks as if it were all elements.
    pub(crate) fn dry(name: String, shape: &[usize], dtype: DType) -> Result<Self> {
        let zero = Var::zeros((), dtype, &Device::Cpu)?;
        let detached = zero.as_detached_tensor().broadcast_as(shape)?;
        Ok(Self::make(name, zero, detached, true))
    }

    fn make(name: String, var: Var, detached: Tensor, dry: bool) -> Self {
        Self(Arc::new(ParamInner {
            name,
            var,
            detached,
            slot: GradSlot::new(),
            trainable: AtomicBool::new(true),
            dry,
        }))
    }

    /// The full name, such as `conv1.weight`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether both are one parameter.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The size of each dimension.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        self.0.detached.dims()
    }

    /// The type of the elements.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.0.var.dtype()
    }

    /// How many elements there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.detached.elem_count()
    }

    /// The parameter as an argument of an operation: the variable with its slot while training, the plain variable in a
    /// pass for candle's own gradients, the bare values in evaluation or when it is frozen.
    #[must_use]
    pub fn input(&self, pass: &Pass<'_>) -> Input<'_> {
        match pass.gradients() {
            Gradients::InSlots if self.is_trainable() => {
                Input::with_slot(&self.0.var, &self.0.slot)
            }
            Gradients::InCandle if self.is_trainable() => Input::from(&self.0.var),
            _ => Input::from(&self.0.detached),
        }
    }

    /// The parameter for candle's own operations (a slice of it, its transpose): the variable while gradients are
    /// wanted, the bare values otherwise.
    #[must_use]
    pub fn tracked(&self, pass: &Pass<'_>) -> &Tensor {
        match pass.gradients() {
            Gradients::None => &self.0.detached,
            _ if self.is_trainable() => self.0.var.as_tensor(),
            _ => &self.0.detached,
        }
    }

    /// The values, outside any graph. They follow later changes of the parameter.
    #[must_use]
    pub fn tensor(&self) -> &Tensor {
        &self.0.detached
    }

    /// The variable, for candle's own operations; its gradient then comes through candle's store, which
    /// [`Params::backward`](crate::Params::backward) adds up as well.
    #[must_use]
    pub fn var(&self) -> &Var {
        &self.0.var
    }

    /// Where the gradient lands.
    #[must_use]
    pub fn slot(&self) -> &GradSlot {
        &self.0.slot
    }

    /// The gradient that has accumulated since it was last cleared.
    #[must_use]
    pub fn grad(&self) -> Option<Tensor> {
        self.0.slot.get()
    }

    /// Whether training changes this parameter.
    #[must_use]
    pub fn is_trainable(&self) -> bool {
        self.0.trainable.load(Ordering::Acquire)
    }

    /// Freezes the parameter (`false`) or lets it train again.
    pub fn set_trainable(&self, trainable: bool) {
        self.0.trainable.store(trainable, Ordering::Release);
    }

    /// Prunes the weights where `mask` is 0 and gives the others back: a pruned weight is exactly 0 from now on, gets
    /// no gradient, and stays 0 whatever an optimizer, its weight decay or its momentum would make of it.
    ///
    /// # Shapes
    /// - `mask`: that of the parameter, of any real dtype
    ///
    /// # Errors
    /// [`Error::ValueShape`]; candle's when the mask cannot be compared with 0.
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use cortical_neuron::{Init, Params};
    /// use cortical_tensor::Seed;
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let params = Params::new(&Device::Cpu, Seed(1));
    /// let weight = params.at("fc").param("weight", &[1, 3], Init::ONES)?;
    /// weight.prune(&Tensor::new(&[[1_u8, 0, 1]], &Device::Cpu)?)?;
    /// assert_eq!(weight.tensor().to_vec2::<f32>()?, [[1.0, 0.0, 1.0]]);
    /// assert_eq!((weight.count(), weight.unpruned()?), (3, 2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn prune(&self, mask: &Tensor) -> Result<()> {
        if mask.dims() != self.dims() {
            return Err(Error::ValueShape {
                name: self.name().to_string(),
                expected: self.dims().to_vec(),
                got: mask.dims().to_vec(),
            });
        }
        let connected = mask.ne(&mask.zeros_like()?)?.contiguous()?;
        let connected = connected.to_device(self.0.var.device())?;
        self.0.slot.set_mask(Some(connected));
        if let Some(grad) = self.grad() {
            self.0.slot.set(Some(self.0.slot.masked(grad)?));
        }
        self.update(|_| Ok(()))
    }

    /// Takes the mask away; what was pruned begins at 0.
    pub fn unprune(&self) {
        self.0.slot.set_mask(None);
    }

    /// The mask (`u8`, 0 where an element is pruned), if there is one.
    #[must_use]
    pub fn mask(&self) -> Option<Tensor> {
        self.0.slot.mask()
    }

    /// How many elements are not pruned.
    ///
    /// # Errors
    /// candle's, when the mask cannot be summed.
    pub fn unpruned(&self) -> Result<usize> {
        match self.mask() {
            Some(mask) => {
                let ones = mask.flatten_all()?.to_vec1::<u8>()?;
                Ok(ones.into_iter().filter(|one| *one != 0).count())
            }
            None => Ok(self.count()),
        }
    }

    /// `values` of this parameter's shape with exact zeros where it is pruned.
    ///
    /// # Errors
    /// candle's, when the shapes differ.
    pub fn masked(&self, values: &Tensor) -> Result<Tensor> {
        Ok(self.0.slot.masked(values.clone())?)
    }

    /// Replaces the values; pruned elements stay 0.
    ///
    /// # Errors
    /// [`Error::ValueShape`], [`Error::ValueDType`]; the old values are then still there.
    pub fn set(&self, value: &Tensor) -> Result<()> {
        self.check(value)?;
        if self.0.dry {
            return Ok(());
        }
        self.update(|var| Ok(var.set(value)?))
    }

    /// Whether `value` has the shape and dtype of this parameter.
    ///
    /// # Errors
    /// [`Error::ValueShape`], [`Error::ValueDType`].
    pub fn check(&self, value: &Tensor) -> Result<()> {
        check_value(self.name(), (self.dims(), self.dtype()), value)
    }

    /// Changes the values in place and notes that they changed, so that a backward pass that has read the old ones
    /// becomes an error. Pruned elements are 0 afterwards, whatever the closure did.
    ///
    /// # Errors
    /// The closure's.
    pub fn update<R>(&self, f: impl FnOnce(&Var) -> Result<R>) -> Result<R> {
        self.0.slot.mark_changed();
        let result = f(&self.0.var);
        if self.0.slot.mask().is_some() && self.count() > 0 {
            self.0.var.set(&self.masked(&self.0.detached)?)?;
        }
        result
    }
}

/// A named tensor that belongs to a model and is saved with it, but is not trained: running statistics, masks.
///
/// Clones are the same buffer.
#[derive(Clone, Debug)]
pub struct Buffer(Arc<BufferInner>);

#[derive(Debug)]
struct BufferInner {
    name: String,
    value: Mutex<Tensor>,
}

impl Buffer {
    pub(crate) fn new(name: String, value: Tensor) -> Self {
        Self(Arc::new(BufferInner {
            name,
            value: Mutex::new(value),
        }))
    }

    /// The full name, such as `bn1.running_mean`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The value.
    #[must_use]
    pub fn tensor(&self) -> Tensor {
        self.0
            .value
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Replaces the value by one of the same shape and dtype.
    ///
    /// # Errors
    /// [`Error::ValueShape`], [`Error::ValueDType`]; the old value is then still there.
    pub fn set(&self, value: &Tensor) -> Result<()> {
        self.check(value)?;
        *self.0.value.lock().unwrap_or_else(PoisonError::into_inner) = value.detach();
        Ok(())
    }

    /// Whether `value` has the shape and dtype of this buffer.
    ///
    /// # Errors
    /// [`Error::ValueShape`], [`Error::ValueDType`].
    pub fn check(&self, value: &Tensor) -> Result<()> {
        let old = self.tensor();
        check_value(self.name(), (old.dims(), old.dtype()), value)
    }
}

fn check_value(name: &str, (dims, dtype): (&[usize], DType), value: &Tensor) -> Result<()> {
    if value.dims() != dims {
        let (expected, got) = (dims.to_vec(), value.dims().to_vec());
        return Err(Error::ValueShape {
            name: name.to_string(),
            expected,
            got,
        });
    }
    if value.dtype() != dtype {
        return Err(Error::ValueDType {
            name: name.to_string(),
            expected: dtype,
            got: value.dtype(),
        });
    }
    Ok(())
}

//! Arguments of operations, and the slots where parameters' gradients land.

use candle_core::{Tensor, Var};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the gradient of one parameter accumulates, outside candle's gradient store.
///
/// An operation that reads a parameter *with* its slot adds the gradient here and returns none to candle, which saves
/// two passes over memory and lets the owner see which parameters got nothing. The slot also counts the parameter's
/// changes, so that a backward pass notices when the values it would differentiate are gone.
#[derive(Clone, Debug, Default)]
pub struct GradSlot(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    grad: Mutex<Option<Tensor>>,
    mask: Mutex<Option<Tensor>>,
    arrivals: AtomicU64,
    version: AtomicU64,
}

impl GradSlot {
    /// An empty slot.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `grad` to what is there; pruned elements get nothing.
    ///
    /// # Errors
    /// candle's, when the shapes or dtypes differ.
    pub fn add(&self, grad: Tensor) -> candle_core::Result<()> {
        let grad = self.masked(grad)?;
        let mut slot = self.0.grad.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(match slot.take() {
            Some(sum) => sum.add(&grad)?,
            None => grad,
        });
        self.0.arrivals.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// How many gradients have been added since the slot was made.
    #[must_use]
    pub fn arrivals(&self) -> u64 {
        self.0.arrivals.load(Ordering::Acquire)
    }

    /// What has accumulated so far.
    #[must_use]
    pub fn get(&self) -> Option<Tensor> {
        self.0
            .grad
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts `grad` in the place of what is there; `None` empties the slot.
    pub fn set(&self, grad: Option<Tensor>) {
        *self.0.grad.lock().unwrap_or_else(PoisonError::into_inner) = grad;
    }

    /// The mask (`u8`, 0 where an element is pruned), if there is one.
    #[must_use]
    pub fn mask(&self) -> Option<Tensor> {
        self.0
            .mask
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Prunes the elements where `mask`, of `u8` and the parameter's shape, is 0; `None` takes the mask away.
    pub fn set_mask(&self, mask: Option<Tensor>) {
        *self.0.mask.lock().unwrap_or_else(PoisonError::into_inner) = mask;
    }

    /// `values` with exact zeros at pruned elements, whatever stood there (a product would keep NaN and the sign).
    ///
    /// # Errors
    /// candle's, when the shapes differ.
    pub fn masked(&self, values: Tensor) -> candle_core::Result<Tensor> {
        match self.mask() {
            Some(mask) => mask.where_cond(&values.contiguous()?, &values.zeros_like()?),
            None => Ok(values),
        }
    }

    /// How often the parameter has been changed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// Says that the parameter's values have been changed.
    pub fn mark_changed(&self) {
        self.0.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether both names lead to one slot.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// An argument of an operation: a tensor, or a parameter together with the slot of its gradient.
///
/// Operations take `impl Into<Input>`, so tensors and variables are passed by reference as they are.
// What is generic is compiled again in every crate that calls it, kernels included. So an operation hands its inputs
// to a function that is not (`inner`, where there is no other) before it calls what depends on the elements' type.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    tensor: &'a Tensor,
    slot: Option<&'a GradSlot>,
}

impl<'a> Input<'a> {
    /// A variable whose gradient goes to `slot` and not to candle's store.
    ///
    /// It takes a [`Var`] and no tensor: only what *is* the variable may keep its gradient from candle. A weight that
    /// is derived (cast, masked, transposed) is an ordinary tensor whose gradient must flow on.
    #[must_use]
    pub fn with_slot(var: &'a Var, slot: &'a GradSlot) -> Self {
        Self {
            tensor: var.as_tensor(),
            slot: Some(slot),
        }
    }

    /// The tensor.
    #[must_use]
    pub fn tensor(&self) -> &'a Tensor {
        self.tensor
    }

    /// The argument as an operation keeps it: contiguous, and owned.
    ///
    /// # Errors
    /// candle's, when the copy of a tensor with gaps fails.
    pub fn operand(self) -> candle_core::Result<Operand> {
        Ok(Operand {
            tensor: self.tensor.contiguous()?,
            slot: self.slot.map(|slot| (slot.clone(), slot.version())),
        })
    }
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self { tensor, slot: None }
    }
}

impl<'a> From<&'a Var> for Input<'a> {
    fn from(var: &'a Var) -> Self {
        Self {
            tensor: var.as_tensor(),
            slot: None,
        }
    }
}

/// An argument that an operation keeps until its backward pass: contiguous, with the slot and the version it had.
#[derive(Clone, Debug)]
pub struct Operand {
    tensor: Tensor,
    slot: Option<(GradSlot, u64)>,
}

impl Operand {
    /// The tensor, contiguous.
    #[must_use]
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// The slot, and the version that the parameter had when the operation read it.
    #[must_use]
    pub fn slot(&self) -> Option<(&GradSlot, u64)> {
        self.slot.as_ref().map(|(slot, version)| (slot, *version))
    }

    /// Whether anybody asks for this argument's gradient.
    #[must_use]
    pub fn wants_gradient(&self) -> bool {
        self.tensor.dtype().is_float() && (self.slot.is_some() || self.tensor.track_op())
    }

    /// The same argument for an operation that works with a converted tensor: the slot stays behind if the tensor is
    /// no longer the variable itself.
    ///
    /// # Errors
    /// The closure's.
    pub fn derive(
        self,
        f: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Self> {
        let tensor = f(&self.tensor)?;
        let slot = if tensor.id() == self.tensor.id() {
            self.slot
        } else {
            None
        };
        Ok(Self { tensor, slot })
    }
}

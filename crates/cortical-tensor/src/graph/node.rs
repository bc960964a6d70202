//! An operation with what it kept, and where its gradients go.

use super::sum::sum_of_gradients;
use super::{Backward, Op, lock};
use crate::input::GradSlot;
use crate::{Error, Result};
use candle_core::{DType, Device, Shape, Tensor};
use std::sync::{Arc, Mutex, OnceLock};

/// One input of an operation.
pub(super) struct Argument {
    /// The input, if the backward pass reads it.
    pub(super) tensor: Option<Tensor>,
    pub(super) shape: Shape,
    pub(super) dtype: DType,
    pub(super) route: Route,
}

/// Where the gradient of an input goes.
pub(super) enum Route {
    /// Nobody asks for it.
    Nowhere,
    /// To the slot of a parameter that had this version in the forward pass.
    Slot(GradSlot, u64),
    /// To the operation that made the input.
    Outlet(Arc<Outlet>),
    /// To candle, as that of this parent of the token.
    Candle(usize),
}

/// Where the gradient of one result goes.
pub(super) struct Outlet {
    pub(super) node: Arc<Node>,
    /// The operation in candle's graph.
    pub(super) token: Tensor,
    /// Which of its results it is.
    pub(super) index: usize,
}

/// The gradients of a token's parents, on their way to the bundles that hand them on.
pub(super) type Cells = Arc<Mutex<Vec<Option<Tensor>>>>;

/// The gradients that have come for an operation's results.
#[derive(Default)]
struct Arrived {
    sums: Vec<Option<Tensor>>,
    count: usize,
}

/// An operation in the graph, shared by the candle ops that stand for it.
pub(super) struct Node {
    op: Box<dyn Op>,
    arguments: Vec<Argument>,
    /// Shape and dtype of each result.
    specs: Vec<(Shape, DType)>,
    /// The result of an operation that has one and reads it.
    output: OnceLock<Tensor>,
    arrived: Mutex<Arrived>,
    pub(super) d_parents: Cells,
}

impl Node {
    pub(super) fn new(
        op: impl Op,
        arguments: Vec<Argument>,
        specs: Vec<(Shape, DType)>,
        parents: usize,
    ) -> Self {
        Self {
            op: Box::new(op),
            arguments,
            output: OnceLock::new(),
            arrived: Mutex::default(),
            d_parents: Arc::new(Mutex::new(vec![None; parents])),
            specs,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.op.name()
    }

    pub(super) fn keep_output(&self, output: Tensor) {
        self.output.get_or_init(|| output);
    }

    /// Takes a gradient of result `index`; `None` stands for zeros.
    pub(super) fn arrive(&self, index: usize, grad: Option<Tensor>) -> Result<()> {
        let mut arrived = lock(&self.arrived);
        arrived.count += 1;
        arrived.sums.resize(self.specs.len(), None);
        let Some(grad) = grad else {
            return Ok(());
        };
        let sum = &mut arrived.sums[index];
        *sum = Some(match sum.take() {
            Some(sum) => sum_of_gradients(&sum, &grad)?,
            None => grad,
        });
        Ok(())
    }

    /// The sums of `count` gradients, contiguous, zeros for results that got none.
    fn take_arrived(&self, count: usize) -> Result<Vec<Tensor>> {
        let Arrived { mut sums, count: n } = std::mem::take(&mut *lock(&self.arrived));
        if n != count {
            return Err(Error::PassFailed { op: self.name() });
        }
        sums.resize(self.specs.len(), None);
        sums.into_iter()
            .zip(&self.specs)
            .map(|(sum, (shape, dtype))| match sum {
                Some(sum) => Ok(sum.contiguous()?),
                None => Ok(Tensor::zeros(shape, *dtype, &Device::Cpu)?),
            })
            .collect()
    }

    /// Runs the operation's backward pass on the `count` gradients that have arrived and sends its gradients on.
    pub(super) fn backward(&self, count: usize) -> Result<()> {
        let op = self.name();
        let d_outputs = self.take_arrived(count)?;
        for argument in &self.arguments {
            match &argument.route {
                Route::Slot(slot, version) if slot.version() != *version => {
                    return Err(Error::ParameterChanged { op });
                }
                _ => {}
            }
        }
        let grads = self.op.backward(&Backward {
            arguments: &self.arguments,
            output: self.output.get(),
            d_outputs,
        })?;
        if grads.len() != self.arguments.len() {
            let (expected, got) = (self.arguments.len(), grads.len());
            return Err(Error::GradientCount { op, expected, got });
        }
        for (argument, grad) in self.arguments.iter().zip(grads) {
            self.send(argument, grad)?;
        }
        Ok(())
    }

    /// Sends the gradient of an input to where it goes.
    fn send(&self, argument: &Argument, grad: Option<Tensor>) -> Result<()> {
        if let Some(grad) = grad.as_ref().filter(|g| g.shape() != &argument.shape) {
            return Err(Error::Shape {
                op: self.name(),
                argument: "gradient of an input",
                expected: format!("{:?}", argument.shape.dims()),
                got: grad.dims().to_vec(),
            });
        }
        let dense = |grad: Option<Tensor>| match grad {
            Some(grad) => Ok(grad),
            None => Tensor::zeros(&argument.shape, argument.dtype, &Device::Cpu),
        };
        match &argument.route {
            Route::Nowhere => {}
            Route::Slot(slot, _) => slot.add(dense(grad)?)?,
            Route::Outlet(outlet) => outlet.node.arrive(outlet.index, grad)?,
            Route::Candle(parent) => lock(&self.d_parents)[*parent] = Some(dense(grad)?),
        }
        Ok(())
    }
}

//! The one door through which an operation enters candle's graph.
//!
//! A candle custom op has at most three inputs and one output, must return a gradient for every tracked input that
//! is not a variable, receives gradients with gaps, and knows nothing of parameters' slots. [`apply`] hides all of
//! that: an [`Op`] has any number of inputs and outputs and is asked only for gradients that somebody wants.
//!
//! How it is done. The forward pass has been computed when [`apply`] is called; it only hangs the results into the
//! graph. In candle's graph an operation is a *token*, a tensor of one number, and each result a *tap* on it. The
//! parents of the token are the inputs that candle must carry a gradient to; a parameter with a slot is none, unless it
//! is the only way to keep the token alive. More than three parents are bundled three at a time into tokens of their
//! own.
//!
//! Gradients between two operations of ours stay out of candle's store, which would fill zeros for each and add: where
//! an input is a tap, its token becomes the parent, and the gradient goes straight to the operation behind it. What
//! candle carries from token to token is the number of these gradients, by which an operation knows that it has all of
//! them and none from a pass that failed.
//!
//! | module | what |
//! |---|---|
//! | `node` | an operation with what it kept, and where its gradients go |
//! | `outlet` | the way from a tensor back to the operation that made it |
//! | `sum` | the sum of gradients that come for one tensor |
//! | `hooks` | the candle ops that stand for all this in candle's graph |

mod hooks;
mod node;
mod outlet;
mod sum;

use crate::Result;
use crate::element;
use crate::input::Operand;
use candle_core::{CpuStorage, DType, Shape, Tensor};
use node::{Argument, Node, Outlet, Route};
use std::sync::{Arc, Mutex, PoisonError};

/// A differentiable operation, after its forward pass: what it kept, and how gradients flow back through it.
pub trait Op: Send + Sync + 'static {
    /// The name that errors and candle's graph show.
    fn name(&self) -> &'static str;

    /// The gradient of each input, in the order of the inputs; `None` for those that [`Backward::wants`] denies.
    ///
    /// A `None` for a wanted input means zero.
    ///
    /// # Errors
    /// Whatever the operation's kernels refuse.
    fn backward(&self, pass: &Backward<'_>) -> Result<Vec<Option<Tensor>>>;

    /// Whether the backward pass reads input `i`. One that it does not read is freed as soon as nobody else needs it.
    fn reads_input(&self, _i: usize) -> bool {
        true
    }

    /// Whether the backward pass reads the output.
    fn reads_output(&self) -> bool {
        true
    }
}

/// What an operation's backward pass is given.
pub struct Backward<'a> {
    arguments: &'a [Argument],
    output: Option<&'a Tensor>,
    d_outputs: Vec<Tensor>,
}

impl Backward<'_> {
    /// Input `i` as it was in the forward pass.
    ///
    /// # Panics
    /// If the operation has said that it does not read it.
    #[must_use]
    pub fn input(&self, i: usize) -> &Tensor {
        let kept = self.arguments[i].tensor.as_ref();
        kept.expect("an input that the operation reads")
    }

    /// The shape of input `i`.
    #[must_use]
    pub fn shape(&self, i: usize) -> &Shape {
        &self.arguments[i].shape
    }

    /// Whether anybody asks for the gradient of input `i`.
    #[must_use]
    pub fn wants(&self, i: usize) -> bool {
        !matches!(self.arguments[i].route, Route::Nowhere)
    }

    /// The output of an operation that has exactly one.
    ///
    /// # Panics
    /// For an operation with several outputs, which keeps what it needs itself, and for one that has said that it does
    /// not read its output.
    #[must_use]
    pub fn output(&self) -> &Tensor {
        self.output
            .expect("the one output of an operation that reads it")
    }

    /// The upstream gradient of output `i`: contiguous, and zeros if the output was not used.
    #[must_use]
    pub fn d_output(&self, i: usize) -> &Tensor {
        &self.d_outputs[i]
    }
}

/// A result of a forward pass that is not a tensor yet.
#[derive(Debug)]
pub struct Output {
    storage: CpuStorage,
    shape: Shape,
}

impl Output {
    /// Values on the CPU and the shape that they have.
    #[must_use]
    pub fn new<T: candle_core::WithDType>(values: Vec<T>, shape: impl Into<Shape>) -> Self {
        Self {
            storage: element::storage(values),
            shape: shape.into(),
        }
    }

    fn dtype(&self) -> DType {
        candle_core::backend::BackendStorage::dtype(&self.storage)
    }
}

/// Hangs the outputs of `op`'s forward pass into candle's graph and returns them as tensors.
///
/// # Errors
/// candle's, when a result cannot be stored.
pub fn apply(op: impl Op, inputs: Vec<Operand>, outputs: Vec<Output>) -> Result<Vec<Tensor>> {
    let parents = parents(&inputs);
    if parents.is_empty() {
        return outputs.into_iter().map(|o| Ok(hooks::source(o)?)).collect();
    }
    let arguments = arguments(&op, inputs, &parents);
    let reads_output = outputs.len() == 1 && op.reads_output();
    let specs = outputs.iter().map(|o| (o.shape.clone(), o.dtype()));
    let node = Arc::new(Node::new(op, arguments, specs.collect(), parents.len()));
    let token = hooks::token(&node, &parents)?;
    let tensors = outputs
        .into_iter()
        .enumerate()
        .map(|(index, output)| {
            let outlet = Outlet {
                node: node.clone(),
                token: token.clone(),
                index,
            };
            hooks::tap(outlet, output)
        })
        .collect::<Result<Vec<_>>>()?;
    if reads_output {
        // Without its history, or the operation would keep itself alive.
        node.keep_output(tensors[0].detach());
    }
    Ok(tensors)
}

/// [`apply`] for an operation with one output.
///
/// # Errors
/// As [`apply`].
pub fn apply_one(op: impl Op, inputs: Vec<Operand>, output: Output) -> Result<Tensor> {
    let mut outputs = apply(op, inputs, vec![output])?;
    Ok(outputs.pop().expect("one output in, one tensor out"))
}

/// One of the tensors that an operation's token hangs on.
struct Parent {
    tensor: Tensor,
    role: Role,
}

/// What a parent stands for.
enum Role {
    /// Input `i`, whose gradient candle carries.
    Input(usize),
    /// The operation that made input `i`, which takes the gradient itself.
    Outlet(usize, Arc<Outlet>),
    /// A parameter that only keeps the token alive.
    Anchor,
}

/// The tensors that candle must know of; none when nobody wants a gradient.
fn parents(inputs: &[Operand]) -> Vec<Parent> {
    let carried: Vec<Parent> = inputs
        .iter()
        .enumerate()
        .filter(|(_, i)| i.slot().is_none() && i.wants_gradient())
        .map(|(i, operand)| match outlet::of(operand.tensor()) {
            Some(outlet) => Parent {
                tensor: outlet.token.clone(),
                role: Role::Outlet(i, outlet),
            },
            None => Parent {
                tensor: operand.tensor().clone(),
                role: Role::Input(i),
            },
        })
        .collect();
    if !carried.is_empty() {
        return carried;
    }
    // Only parameters with slots: one of them holds the token in the graph, and gets no gradient from candle.
    let anchor = inputs.iter().find(|i| i.wants_gradient());
    let anchor = anchor.map(|anchor| Parent {
        tensor: anchor.tensor().clone(),
        role: Role::Anchor,
    });
    anchor.into_iter().collect()
}

/// What the operation keeps of its inputs, and where the gradient of each goes.
fn arguments(op: &impl Op, inputs: Vec<Operand>, parents: &[Parent]) -> Vec<Argument> {
    let route = |i: usize, operand: &Operand| {
        if !operand.wants_gradient() {
            return Route::Nowhere;
        }
        if let Some((slot, version)) = operand.slot() {
            return Route::Slot(slot.clone(), version);
        }
        let parent = parents
            .iter()
            .enumerate()
            .find_map(|(at, p)| match &p.role {
                Role::Input(input) if *input == i => Some(Route::Candle(at)),
                Role::Outlet(input, outlet) if *input == i => Some(Route::Outlet(outlet.clone())),
                _ => None,
            });
        parent.unwrap_or(Route::Nowhere)
    };
    inputs
        .into_iter()
        .enumerate()
        .map(|(i, operand)| Argument {
            route: route(i, &operand),
            shape: operand.tensor().shape().clone(),
            dtype: operand.tensor().dtype(),
            tensor: op.reads_input(i).then(|| operand.tensor().clone()),
        })
        .collect()
}

/// A poisoned lock holds gradients of a pass that failed; the count shows them to the next pass.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

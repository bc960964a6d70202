//! The one door through which an operation enters candle's graph.
//!
//! A candle custom op has at most three inputs and one output, must return a gradient for every tracked input that
//! is not a variable, receives gradients with gaps, and knows nothing of parameters' slots. [`apply`] hides all of that:
//! an [`Op`] has any number of inputs and outputs and is asked only for gradients that somebody wants.
//!
//! How it is done. The forward pass has been computed when [`apply`] is called; it only hangs the results into the
//! graph. The parents of the new node are the inputs that candle must carry a gradient to; a parameter with a slot
//! is none, unless it is the only way to keep the node alive. More than three parents are bundled three at a time into empty *tokens*; with
//! several outputs the node itself is a token and each output a *tap* on it. Gradients pass between node, tokens and
//! taps through shared cells, while candle sees empty tensors.

use crate::element;
use crate::input::Operand;
use crate::{Error, Result};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Device, Layout, Shape, Tensor,
};
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
}

/// What an operation's backward pass is given.
pub struct Backward<'a> {
    inputs: &'a [Operand],
    output: Option<&'a Tensor>,
    d_outputs: Vec<Tensor>,
}

impl Backward<'_> {
    /// Input `i` as it was in the forward pass.
    #[must_use]
    pub fn input(&self, i: usize) -> &Tensor {
        self.inputs[i].tensor()
    }

    /// Whether anybody asks for the gradient of input `i`.
    #[must_use]
    pub fn wants(&self, i: usize) -> bool {
        self.inputs[i].wants_gradient()
    }

    /// The output of an operation that has exactly one.
    ///
    /// # Panics
    /// For an operation with several outputs, which keeps what it needs itself.
    #[must_use]
    pub fn output(&self) -> &Tensor {
        self.output.expect("an operation with one output")
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
}

/// Hangs the outputs of `op`'s forward pass into candle's graph and returns them as tensors.
///
/// # Errors
/// candle's, when a result cannot be stored.
pub fn apply(op: impl Op, inputs: Vec<Operand>, outputs: Vec<Output>) -> Result<Vec<Tensor>> {
    let Some(parents) = parents(&inputs) else {
        return outputs.into_iter().map(|o| Ok(source(o)?)).collect();
    };
    let specs = outputs
        .iter()
        .map(|o| (o.shape.clone(), dtype(&o.storage)))
        .collect();
    let node = Arc::new(Node {
        op: Box::new(op),
        d_outputs: Mutex::new(vec![None; outputs.len()]),
        d_parents: Arc::new(Mutex::new(vec![None; parents.len()])),
        parent_of_input: parent_positions(&inputs, &parents),
        inputs,
        specs,
    });
    let args = bundle(&parents, &node.d_parents)?;
    if let [_] = node.specs[..] {
        let output = outputs.into_iter().next();
        return Ok(vec![connect(
            args,
            Edge {
                node,
                output: Mutex::new(output),
            },
        )?]);
    }
    let edge = Edge {
        node: node.clone(),
        output: Mutex::new(Some(empty_output())),
    };
    let token = connect(args, edge)?;
    outputs
        .into_iter()
        .enumerate()
        .map(|(index, output)| {
            let tap = Tap {
                node: node.clone(),
                index,
                output: Mutex::new(Some(output)),
            };
            Ok(token.apply_op1(tap)?)
        })
        .collect()
}

/// [`apply`] for an operation with one output.
///
/// # Errors
/// As [`apply`].
pub fn apply_one(op: impl Op, inputs: Vec<Operand>, output: Output) -> Result<Tensor> {
    let mut outputs = apply(op, inputs, vec![output])?;
    Ok(outputs.pop().expect("one output in, one tensor out"))
}

/// One input of the graph that candle carries a gradient to.
#[derive(Clone)]
struct Parent {
    tensor: Tensor,
    /// The input it stands for; `None` for a parameter that only keeps the node alive.
    input: Option<usize>,
}

/// The inputs that candle must know of, or `None` when nobody wants a gradient.
fn parents(inputs: &[Operand]) -> Option<Vec<Parent>> {
    let carried: Vec<Parent> = inputs
        .iter()
        .enumerate()
        .filter(|(_, i)| i.slot().is_none() && i.wants_gradient())
        .map(|(i, operand)| Parent {
            tensor: operand.tensor().clone(),
            input: Some(i),
        })
        .collect();
    if !carried.is_empty() {
        return Some(carried);
    }
    // Only parameters with slots: one of them holds the node in the graph, and gets no gradient from candle.
    let anchor = inputs.iter().find(|i| i.wants_gradient())?;
    Some(vec![Parent {
        tensor: anchor.tensor().clone(),
        input: None,
    }])
}

fn parent_positions(inputs: &[Operand], parents: &[Parent]) -> Vec<Option<usize>> {
    (0..inputs.len())
        .map(|i| parents.iter().position(|p| p.input == Some(i)))
        .collect()
}

/// The gradients of a node's parents, on their way to the bundles that hand them on.
type Cells = Arc<Mutex<Vec<Option<Tensor>>>>;

/// Where a bundled argument's gradient comes from.
#[derive(Clone, Copy)]
enum Origin {
    Parent(usize),
    Token,
    /// A parameter that only keeps the node alive: no gradient.
    Anchor,
}

/// An argument of a candle op and where its gradient comes from.
type Arg = (Tensor, Origin);

/// At most three arguments that lead to all parents.
fn bundle(parents: &[Parent], cells: &Cells) -> Result<Vec<Arg>> {
    let mut args: Vec<Arg> = parents
        .iter()
        .enumerate()
        .map(|(i, p)| {
            let origin = if p.input.is_some() {
                Origin::Parent(i)
            } else {
                Origin::Anchor
            };
            (p.tensor.clone(), origin)
        })
        .collect();
    while args.len() > 3 {
        args = args
            .chunks(3)
            .map(|group| {
                let op = Bundle {
                    cells: cells.clone(),
                    origins: group.iter().map(|(_, origin)| *origin).collect(),
                };
                let token = match group {
                    [(a, _)] => a.apply_op1(op),
                    [(a, _), (b, _)] => a.apply_op2(b, op),
                    [(a, _), (b, _), (c, _)] => a.apply_op3(b, c, op),
                    _ => unreachable!("chunks of three hold one to three"),
                }?;
                Ok((token, Origin::Token))
            })
            .collect::<Result<_>>()?;
    }
    Ok(args)
}

fn connect(args: Vec<Arg>, edge: Edge) -> Result<Tensor> {
    let origins = args.iter().map(|(_, origin)| *origin).collect();
    let op = Main { edge, origins };
    Ok(match &args[..] {
        [(a, _)] => a.apply_op1(op),
        [(a, _), (b, _)] => a.apply_op2(b, op),
        [(a, _), (b, _), (c, _)] => a.apply_op3(b, c, op),
        _ => unreachable!("`bundle` leaves one to three arguments"),
    }?)
}

/// The operation in the graph, shared by the candle ops that stand for it.
struct Node {
    op: Box<dyn Op>,
    inputs: Vec<Operand>,
    parent_of_input: Vec<Option<usize>>,
    specs: Vec<(Shape, DType)>,
    d_outputs: Mutex<Vec<Option<Tensor>>>,
    d_parents: Cells,
}

impl Node {
    /// Runs the operation's backward pass: slots get their gradients, the others go to the parents' cells.
    fn backward(&self, output: Option<&Tensor>, d_outputs: Vec<Tensor>) -> Result<()> {
        let op = self.op.name();
        for (slot, version) in self.inputs.iter().filter_map(Operand::slot) {
            if slot.version() != version {
                return Err(Error::ParameterChanged { op });
            }
        }
        let pass = Backward {
            inputs: &self.inputs,
            output,
            d_outputs,
        };
        let grads = self.op.backward(&pass)?;
        if grads.len() != self.inputs.len() {
            let (expected, got) = (self.inputs.len(), grads.len());
            return Err(Error::GradientCount { op, expected, got });
        }
        let mut cells = lock(&self.d_parents);
        for (i, (operand, grad)) in self.inputs.iter().zip(grads).enumerate() {
            if !operand.wants_gradient() {
                continue;
            }
            let grad = match grad {
                Some(grad) => grad,
                None => operand.tensor().zeros_like()?,
            };
            if grad.dims() != operand.tensor().dims() {
                return Err(Error::Shape {
                    op,
                    argument: "gradient of an input",
                    expected: format!("{:?}", operand.tensor().dims()),
                    got: grad.dims().to_vec(),
                });
            }
            match (operand.slot(), self.parent_of_input[i]) {
                (Some((slot, _)), _) => slot.add(grad)?,
                (None, Some(parent)) => cells[parent] = Some(grad),
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// The upstream gradients that taps have left, zeros for outputs that nobody used.
    fn take_d_outputs(&self) -> Result<Vec<Tensor>> {
        let mut taken = lock(&self.d_outputs);
        taken
            .iter_mut()
            .zip(&self.specs)
            .map(|(grad, (shape, dtype))| match grad.take() {
                Some(grad) => Ok(grad),
                None => Ok(Tensor::zeros(shape, *dtype, &Device::Cpu)?),
            })
            .collect()
    }
}

/// A node together with the storage that its candle op returns, once.
struct Edge {
    node: Arc<Node>,
    output: Mutex<Option<Output>>,
}

/// The candle op of the node itself.
struct Main {
    edge: Edge,
    origins: Vec<Origin>,
}

impl Main {
    fn backward(&self, res: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let node = &self.edge.node;
        if node.specs.len() == 1 {
            node.backward(Some(res), vec![grad.contiguous()?])?;
        } else {
            let d_outputs = node.take_d_outputs()?;
            node.backward(None, d_outputs)?;
        }
        hand_on(&self.origins, &node.d_parents)
    }
}

/// Three parents, or tokens of parents, as one empty tensor.
struct Bundle {
    cells: Cells,
    origins: Vec<Origin>,
}

/// What a candle op returns for its arguments: gradients from the cells, empty tensors for tokens.
fn hand_on(origins: &[Origin], cells: &Cells) -> Result<Vec<Option<Tensor>>> {
    origins
        .iter()
        .map(|origin| match origin {
            Origin::Anchor => Ok(None),
            Origin::Token => Ok(Some(Tensor::zeros(0, DType::F32, &Device::Cpu)?)),
            Origin::Parent(i) => Ok(lock(cells)[*i].take()),
        })
        .collect()
}

/// One of several outputs.
struct Tap {
    node: Arc<Node>,
    index: usize,
    output: Mutex<Option<Output>>,
}

impl CustomOp1 for Tap {
    fn name(&self) -> &'static str {
        self.node.op.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        take(&self.output)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        lock(&self.node.d_outputs)[self.index] = Some(grad.contiguous()?);
        Ok(Some(Tensor::zeros(0, DType::F32, &Device::Cpu)?))
    }
}

/// candle's three traits differ only in the number of their arguments.
macro_rules! custom_op {
    ($op:ident, $trait:ident, $($storage:ident $layout:ident $arg:ident $index:tt),+; $grad:ty) => {
        impl $trait for $op {
            fn name(&self) -> &'static str {
                self.op_name()
            }

            fn cpu_fwd(&self, $($storage: &CpuStorage, $layout: &Layout),+) -> candle_core::Result<(CpuStorage, Shape)> {
                $(let _ = ($storage, $layout);)+
                self.take_output()
            }

            fn bwd(&self, $($arg: &Tensor,)+ res: &Tensor, grad: &Tensor) -> candle_core::Result<$grad> {
                $(let _ = $arg;)+
                let mut grads = self.gradients(res, grad)?.into_iter();
                Ok(($({ let _ = $index; grads.next().flatten() }),+))
            }
        }
    };
}

impl Main {
    fn op_name(&self) -> &'static str {
        self.edge.node.op.name()
    }
    fn take_output(&self) -> candle_core::Result<(CpuStorage, Shape)> {
        take(&self.edge.output)
    }
    fn gradients(&self, res: &Tensor, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        self.backward(res, grad)
    }
}

impl Bundle {
    fn op_name(&self) -> &'static str {
        "bundle"
    }
    fn take_output(&self) -> candle_core::Result<(CpuStorage, Shape)> {
        let output = empty_output();
        Ok((output.storage, output.shape))
    }
    fn gradients(&self, _: &Tensor, _: &Tensor) -> Result<Vec<Option<Tensor>>> {
        hand_on(&self.origins, &self.cells)
    }
}

custom_op!(Main, CustomOp1, s1 l1 a1 0; Option<Tensor>);
custom_op!(Main, CustomOp2, s1 l1 a1 0, s2 l2 a2 1; (Option<Tensor>, Option<Tensor>));
custom_op!(Main, CustomOp3, s1 l1 a1 0, s2 l2 a2 1, s3 l3 a3 2; (Option<Tensor>, Option<Tensor>, Option<Tensor>));
custom_op!(Bundle, CustomOp1, s1 l1 a1 0; Option<Tensor>);
custom_op!(Bundle, CustomOp2, s1 l1 a1 0, s2 l2 a2 1; (Option<Tensor>, Option<Tensor>));
custom_op!(Bundle, CustomOp3, s1 l1 a1 0, s2 l2 a2 1, s3 l3 a3 2; (Option<Tensor>, Option<Tensor>, Option<Tensor>));

/// A candle op whose only work is to return a result: a tensor without history.
struct Source(Mutex<Option<Output>>);

impl CustomOp1 for Source {
    fn name(&self) -> &'static str {
        "source"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        take(&self.0)
    }
}

fn source(output: Output) -> candle_core::Result<Tensor> {
    let nothing = Tensor::zeros(0, DType::F32, &Device::Cpu)?;
    nothing.apply_op1_no_bwd(&Source(Mutex::new(Some(output))))
}

fn take(output: &Mutex<Option<Output>>) -> candle_core::Result<(CpuStorage, Shape)> {
    let output = lock(output)
        .take()
        .expect("candle runs the forward pass of an op once");
    Ok((output.storage, output.shape))
}

fn empty_output() -> Output {
    Output::new(Vec::<f32>::new(), 0)
}

fn dtype(storage: &CpuStorage) -> DType {
    candle_core::backend::BackendStorage::dtype(storage)
}

/// A poisoned lock holds gradients of a pass that failed; the next pass replaces them.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

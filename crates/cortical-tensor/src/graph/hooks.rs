//! The candle ops that stand for operations, their results and their bundled parents in candle's graph.

use super::node::{Cells, Node, Outlet};
use super::{Output, Parent, Role, lock, outlet};
use crate::{Result, values};
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Device, Layout, Shape, Tensor, TensorId,
};
use std::sync::{Arc, Mutex, OnceLock};

/// Where the gradient of a candle op's argument comes from.
#[derive(Clone, Copy)]
enum Origin {
    /// From the cell of this parent.
    Parent(usize),
    /// It is the count of one more gradient.
    Token,
    /// A parameter that only keeps the token alive: no gradient.
    Anchor,
}

/// An argument of a candle op and where its gradient comes from.
type Arg = (Tensor, Origin);

/// The token of an operation.
pub(super) fn token(node: &Arc<Node>, parents: &[Parent]) -> Result<Tensor> {
    let args = bundle(parents, &node.d_parents)?;
    let op = Main {
        node: node.clone(),
        origins: args.iter().map(|(_, origin)| *origin).collect(),
    };
    connect(&args, op)
}

/// At most three arguments that lead to all parents.
fn bundle(parents: &[Parent], cells: &Cells) -> Result<Vec<Arg>> {
    let mut args: Vec<Arg> = parents
        .iter()
        .enumerate()
        .map(|(i, p)| {
            let origin = match p.role {
                Role::Input(_) => Origin::Parent(i),
                Role::Outlet(..) => Origin::Token,
                Role::Anchor => Origin::Anchor,
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
                Ok((connect(group, op)?, Origin::Token))
            })
            .collect::<Result<_>>()?;
    }
    Ok(args)
}

fn connect<O>(args: &[Arg], op: O) -> Result<Tensor>
where
    O: CustomOp1 + CustomOp2 + CustomOp3 + Send + Sync + 'static,
{
    Ok(match args {
        [(a, _)] => a.apply_op1(op),
        [(a, _), (b, _)] => a.apply_op2(b, op),
        [(a, _), (b, _), (c, _)] => a.apply_op3(b, c, op),
        _ => unreachable!("a group has one to three arguments"),
    }?)
}

/// The result of an operation as a tensor.
pub(super) fn tap(outlet: Outlet, output: Output) -> Result<Tensor> {
    let (outlet, id) = (Arc::new(outlet), Arc::new(OnceLock::new()));
    let tap = Tap {
        outlet: outlet.clone(),
        id: id.clone(),
        output: Mutex::new(Some(output)),
    };
    let tensor = outlet.token.apply_op1(tap)?;
    outlet::remember(&tensor, &outlet);
    id.get_or_init(|| tensor.id());
    Ok(tensor)
}

/// The candle op behind an operation's token.
struct Main {
    node: Arc<Node>,
    origins: Vec<Origin>,
}

impl Main {
    fn op_name(&self) -> &'static str {
        self.node.name()
    }
    fn gradients(&self, grad: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let count = values::<f64>(&grad.contiguous()?)?[0];
        self.node.backward(count as usize)?;
        hand_on(&self.origins, &self.node.d_parents)
    }
}

/// Three parents, or tokens of parents, as one token.
struct Bundle {
    cells: Cells,
    origins: Vec<Origin>,
}

impl Bundle {
    fn op_name(&self) -> &'static str {
        "bundle"
    }
    fn gradients(&self, _: &Tensor) -> Result<Vec<Option<Tensor>>> {
        hand_on(&self.origins, &self.cells)
    }
}

/// What a candle op returns for its arguments: gradients from the cells, a count of one for tokens.
fn hand_on(origins: &[Origin], cells: &Cells) -> Result<Vec<Option<Tensor>>> {
    origins
        .iter()
        .map(|origin| match origin {
            Origin::Anchor => Ok(None),
            Origin::Token => Ok(Some(one()?)),
            Origin::Parent(i) => Ok(lock(cells)[*i].take()),
        })
        .collect()
}

/// The count of one gradient.
fn one() -> candle_core::Result<Tensor> {
    Tensor::from_vec(vec![1.0_f64], 1, &Device::Cpu)
}

/// The candle op behind a result.
struct Tap {
    outlet: Arc<Outlet>,
    /// The tensor's own id, once it has one.
    id: Arc<OnceLock<TensorId>>,
    output: Mutex<Option<Output>>,
}

impl CustomOp1 for Tap {
    fn name(&self) -> &'static str {
        self.outlet.node.name()
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        take(&self.output)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let Outlet { node, index, .. } = &*self.outlet;
        node.arrive(*index, Some(grad.clone()))?;
        Ok(Some(one()?))
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(id) = self.id.get() {
            outlet::forget(*id);
        }
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
                // A token's value is never read; its shape is that of a count.
                Ok((CpuStorage::F64(vec![0.0]), Shape::from(1)))
            }

            fn bwd(&self, $($arg: &Tensor,)+ _: &Tensor, grad: &Tensor) -> candle_core::Result<$grad> {
                $(let _ = $arg;)+
                let mut grads = self.gradients(grad)?.into_iter();
                Ok(($({ let _ = $index; grads.next().flatten() }),+))
            }
        }
    };
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

/// A result without history.
pub(super) fn source(output: Output) -> candle_core::Result<Tensor> {
    let nothing = Tensor::zeros(0, candle_core::DType::F32, &Device::Cpu)?;
    nothing.apply_op1_no_bwd(&Source(Mutex::new(Some(output))))
}

fn take(output: &Mutex<Option<Output>>) -> candle_core::Result<(CpuStorage, Shape)> {
    let output = lock(output)
        .take()
        .expect("candle runs the forward pass of an op once");
    Ok((output.storage, output.shape))
}

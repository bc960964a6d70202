//! One step of one parameter: fused over its storage in place, or the fallback in candle's operations.

use crate::buffer::{Buffer, Plain, has_master, state_dtype};
use crate::{Algorithm, Result, Step, Tensors};
use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor, Var, WithDType};
use cortical_tensor::values;
use std::cell::RefCell;

/// Moves `var` by the fused update. The gradient is contiguous, of the variable's shape and dtype, and does not share
/// its storage.
pub(crate) fn fused<A: Algorithm>(
    algorithm: &A,
    step: Step,
    var: &Var,
    grad: &Tensor,
    state: &mut [Buffer],
) -> Result<()> {
    for buffer in state.iter_mut() {
        buffer.make_plain()?;
    }
    var.inplace_op1(&InPlace {
        algorithm,
        step,
        dims: var.dims(),
        grad,
        state: RefCell::new(state),
    })?;
    Ok(())
}

/// Moves `var` by candle's operations.
pub(crate) fn fallback<A: Algorithm>(
    algorithm: &A,
    step: Step,
    var: &Var,
    grad: &Tensor,
    state: &mut [Buffer],
) -> Result<()> {
    // candle returns an empty tensor itself from its operations, and a variable cannot be set to itself.
    if var.elem_count() == 0 {
        return Ok(());
    }
    let dtype = state_dtype(var.dtype());
    let mut tensors = state
        .iter()
        .map(|buffer| buffer.to_tensor(var.dims(), var.device()))
        .collect::<Result<Vec<_>>>()?;
    let mut grad = grad.detach().to_dtype(dtype)?;
    if step.grad_scale != 1.0 {
        grad = grad.affine(step.grad_scale, 0.0)?;
    }
    let mut param = var.as_detached_tensor().to_dtype(dtype)?;
    let master = if has_master(var.dtype()) {
        tensors.pop()
    } else {
        None
    };
    if let Some(master) = &master {
        // Where the parameter is no longer the copy rounded, somebody has set it.
        let same = master.to_dtype(var.dtype())?.to_dtype(dtype)?.eq(&param)?;
        param = same.where_cond(master, &param)?;
    }
    let moved = algorithm.fallback(
        step,
        Tensors {
            param: &param,
            grad: &grad,
            state: &mut tensors,
        },
    )?;
    var.set(&moved.to_dtype(var.dtype())?)?;
    if master.is_some() {
        tensors.push(moved);
    }
    for (buffer, tensor) in state.iter_mut().zip(tensors) {
        *buffer = Buffer::Tensor(tensor);
    }
    Ok(())
}

/// candle hands the variable's storage to this op, which is the only way to change it without a copy.
struct InPlace<'a, A> {
    algorithm: &'a A,
    step: Step,
    dims: &'a [usize],
    grad: &'a Tensor,
    // candle calls the op by shared reference, once.
    state: RefCell<&'a mut [Buffer]>,
}

impl<A: Algorithm> InPlace<'_, A> {
    fn run<T: Plain>(&self, buffers: &mut [Buffer], param: &mut [T], grad: &[T]) {
        let mut state: Vec<&mut [T]> = buffers
            .iter_mut()
            .map(|buffer| T::slice_of(buffer).expect("states are made in the parameter's dtype"))
            .collect();
        self.algorithm
            .fused(self.step, self.dims, param, grad, &mut state);
    }

    fn run_whole<T: Plain + WithDType>(&self, param: &mut [T]) -> candle_core::Result<()> {
        let grad = values::<T>(self.grad)?;
        self.run(&mut self.state.borrow_mut(), param, &grad);
        Ok(())
    }

    /// The copy in single precision is moved, and the parameter is that copy rounded.
    fn run_half<T: WithDType>(&self, param: &mut [T]) -> candle_core::Result<()> {
        let mut buffers = self.state.borrow_mut();
        let Some((Buffer::F32(master), states)) = buffers.split_last_mut() else {
            unreachable!("parameters in half precision have a copy as their last state");
        };
        for (copy, p) in master.iter_mut().zip(param.iter()) {
            // Where the parameter is no longer the copy rounded, somebody has set it.
            if T::from_f64(f64::from(*copy)) != *p {
                *copy = p.to_f64() as f32;
            }
        }
        let grad = values::<T>(self.grad)?;
        let grad: Vec<f32> = grad.iter().map(|g| g.to_f64() as f32).collect();
        self.run(states, master, &grad);
        for (p, copy) in param.iter_mut().zip(master.iter()) {
            *p = T::from_f64(f64::from(*copy));
        }
        Ok(())
    }
}

impl<A: Algorithm> InplaceOp1 for InPlace<'_, A> {
    fn name(&self) -> &'static str {
        "optimizer step"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            return Err(candle_core::Error::RequiresContiguous { op: self.name() });
        };
        match storage {
            CpuStorage::F32(p) => self.run_whole(&mut p[start..end]),
            CpuStorage::F64(p) => self.run_whole(&mut p[start..end]),
            CpuStorage::F16(p) => self.run_half(&mut p[start..end]),
            CpuStorage::BF16(p) => self.run_half(&mut p[start..end]),
            _ => unreachable!("the engine takes floating-point parameters only"),
        }
    }
}

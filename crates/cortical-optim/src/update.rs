//! One step of one parameter: a kernel over its storage in place, or a composition of candle's operations.

use crate::buffer::{Buffer, Plain, state_dtype};
use crate::{Algorithm, Composed, Result, Step};
use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor, Var, WithDType};
use cortical_kernels::optimizer::{At, Update};
use cortical_tensor::values;
use std::cell::RefCell;

/// Moves `var` by a kernel. The gradient is contiguous, of the variable's shape and dtype, and does not share its storage.
pub(crate) fn by_kernel<A: Algorithm>(
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
        kernel: algorithm.kernel(step),
        at: At {
            t: step.t,
            grad_scale: step.grad_scale,
        },
        grad,
        state: RefCell::new(state),
    })?;
    Ok(())
}

/// Moves `var` by candle's operations.
pub(crate) fn by_composition<A: Algorithm>(
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
    let moved = algorithm.compose(
        step,
        Composed {
            param: &var.as_detached_tensor().to_dtype(dtype)?,
            grad: &grad,
            state: &mut tensors,
        },
    )?;
    var.set(&moved.to_dtype(var.dtype())?)?;
    for (buffer, tensor) in state.iter_mut().zip(tensors) {
        *buffer = Buffer::Tensor(tensor);
    }
    Ok(())
}

/// candle hands the variable's storage to this op, which is the only way to change it without a copy.
struct InPlace<'a, U> {
    kernel: U,
    at: At,
    grad: &'a Tensor,
    // candle calls the op by shared reference, once.
    state: RefCell<&'a mut [Buffer]>,
}

impl<U: Update> InPlace<'_, U> {
    fn run<T: Plain>(&self, param: &mut [T], grad: &[T]) {
        let mut buffers = self.state.borrow_mut();
        let mut state: Vec<&mut [T]> = buffers
            .iter_mut()
            .map(|buffer| T::slice_of(buffer).expect("states are made in the parameter's dtype"))
            .collect();
        self.kernel.step(self.at, param, grad, &mut state);
    }

    fn run_whole<T: Plain + WithDType>(&self, param: &mut [T]) -> candle_core::Result<()> {
        let grad = values::<T>(self.grad)?;
        self.run(param, &grad);
        Ok(())
    }

    /// Half precision is widened, moved in single precision and rounded once.
    fn run_half<T: WithDType>(&self, param: &mut [T]) -> candle_core::Result<()> {
        let wide = |x: &[T]| -> Vec<f32> { x.iter().map(|x| x.to_f64() as f32).collect() };
        let mut wide_param = wide(param);
        self.run(&mut wide_param, &wide(&values::<T>(self.grad)?));
        for (p, wide) in param.iter_mut().zip(wide_param) {
            *p = T::from_f64(wide.into());
        }
        Ok(())
    }
}

impl<U: Update> InplaceOp1 for InPlace<'_, U> {
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

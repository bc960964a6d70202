//! Layers that only give a tensor another shape, or none at all.

use crate::description::wrong_sample;
use crate::{Description, Error, Layer, Pass, Result};
use candle_core::Tensor;

/// `y = x`: stands where a network may have a layer or none, PyTorch's `nn.Identity`.
///
/// No parameters, no cost.
///
/// # Shapes
/// - input and output: any, the same
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::{Identity, Layer, Pass};
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::new(&[1.0_f32, 2.0], &Device::Cpu)?;
/// assert_eq!(Identity.forward(&x, &mut Pass::eval())?.to_vec1::<f32>()?, [1.0, 2.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity;

impl Layer for Identity {
    fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
        Ok(x.clone())
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        Ok(Description::new("Identity", "", sample)
            .reads("each output is its input")
            .view())
    }
}

/// A dimension counted from the front, or with a negative number from the end, as an index below `rank`.
///
/// # Errors
/// [`Error::Option`] when there is no such dimension.
pub(crate) fn dimension(option: &'static str, dim: i64, rank: usize) -> Result<usize> {
    let from_front = if dim < 0 {
        dim.saturating_add(rank as i64)
    } else {
        dim
    };
    match usize::try_from(from_front) {
        Ok(dim) if dim < rank => Ok(dim),
        _ => Err(Error::Option {
            option,
            expected: "a dimension of the input",
            got: format!("{dim} for {rank} dimensions"),
        }),
    }
}

/// Dimensions `start_dim..=end_dim` in one, PyTorch's `nn.Flatten`: a picture as the row that a dense layer reads.
///
/// No parameters, no cost: elements stay where they are.
///
/// # Shapes
/// - input: any; output: with the product of the dimensions in their place
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_neuron::{Flatten, Layer, Pass};
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::zeros((2, 3, 4, 5), DType::F32, &Device::Cpu)?;
/// assert_eq!(Flatten::default().forward(&x, &mut Pass::eval())?.dims(), [2, 60]);
/// let some = Flatten::new(1, -2);
/// assert_eq!(some.forward(&x, &mut Pass::eval())?.dims(), [2, 12, 5]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Flatten {
    start_dim: i64,
    end_dim: i64,
}

impl Default for Flatten {
    /// Everything but the batch.
    fn default() -> Self {
        Self::new(1, -1)
    }
}

impl Flatten {
    /// From one dimension to another, both included; negative ones count from the end.
    #[must_use]
    pub fn new(start_dim: i64, end_dim: i64) -> Self {
        Self { start_dim, end_dim }
    }

    fn flat(self, dims: &[usize]) -> Result<Vec<usize>> {
        // A scalar flattens to a row of one, as in PyTorch.
        if dims.is_empty() {
            return Ok(vec![1]);
        }
        let start = dimension("start_dim", self.start_dim, dims.len())?;
        let end = dimension("end_dim", self.end_dim, dims.len())?;
        if end < start {
            return Err(Error::Option {
                option: "end_dim",
                expected: "not before start_dim",
                got: format!("{} with start_dim {}", self.end_dim, self.start_dim),
            });
        }
        let mut flat = dims[..start].to_vec();
        flat.push(dims[start..=end].iter().product());
        flat.extend(&dims[end + 1..]);
        Ok(flat)
    }
}

impl Layer for Flatten {
    fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
        Ok(x.reshape(self.flat(x.dims())?)?)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        // Dimensions are counted with the batch, which a sample has not got.
        let batch: Vec<usize> = std::iter::once(1).chain(sample.iter().copied()).collect();
        let flat = self.flat(&batch)?;
        let description = Description::new("Flatten", "", &flat[1..]);
        Ok(description.reads("each output is its input").view())
    }
}

/// One dimension as several, PyTorch's `nn.Unflatten`; one of the sizes may be −1 and follows from the others.
///
/// No parameters, no cost: elements stay where they are.
///
/// # Shapes
/// - input: any; output: with the sizes in the place of the dimension
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_neuron::{Layer, Pass, Unflatten};
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::zeros((2, 60), DType::F32, &Device::Cpu)?;
/// let layer = Unflatten::new(1, &[3, -1, 5]);
/// assert_eq!(layer.forward(&x, &mut Pass::eval())?.dims(), [2, 3, 4, 5]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Unflatten {
    dim: i64,
    sizes: Vec<i64>,
}

impl Unflatten {
    /// The dimension, counted from the end where it is negative, and the sizes it becomes.
    #[must_use]
    pub fn new(dim: i64, sizes: &[i64]) -> Self {
        Self {
            dim,
            sizes: sizes.to_vec(),
        }
    }

    fn shape(&self, dims: &[usize]) -> Result<Vec<usize>> {
        let dim = dimension("dim", self.dim, dims.len())?;
        let known = self.sizes.iter().filter(|size| **size != -1);
        let mut known = known.map(|size| usize::try_from(*size).ok());
        let known = known.try_fold(1_usize, |product, size| product.checked_mul(size?));
        let open = self.sizes.iter().filter(|size| **size == -1).count();
        let rest = match (known, open) {
            (Some(known), 0) if known == dims[dim] => Some(1),
            (Some(known), 1) if known > 0 && dims[dim].is_multiple_of(known) => {
                Some(dims[dim] / known)
            }
            _ => None,
        };
        let Some(rest) = rest else {
            return Err(Error::Option {
                option: "unflattened_size",
                expected: "sizes whose product is the dimension, at most one of them -1",
                got: format!("{:?} for {}", self.sizes, dims[dim]),
            });
        };
        let mut shape = dims[..dim].to_vec();
        shape.extend(
            self.sizes
                .iter()
                .map(|size| usize::try_from(*size).unwrap_or(rest)),
        );
        shape.extend(&dims[dim + 1..]);
        Ok(shape)
    }
}

impl Layer for Unflatten {
    fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
        Ok(x.reshape(self.shape(x.dims())?)?)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let batch: Vec<usize> = std::iter::once(1).chain(sample.iter().copied()).collect();
        let shape = self.shape(&batch)?;
        if shape[0] != 1 {
            return Err(wrong_sample(
                "unflatten",
                "one whose batch is left alone",
                sample,
            ));
        }
        let description = Description::new("Unflatten", "", &shape[1..]);
        Ok(description.reads("each output is its input").view())
    }
}

/// The dimensions of each sample in another order, the batch staying in front: `Permute::new(&[2, 1])` makes the
/// sequences `[steps, features]` that recurrent layers read of `[channels, length]`.
///
/// No parameters; elements are copied to their new place.
///
/// # Shapes
/// - input: `[n, …]` with as many axes behind the batch as there are numbers; output: the same with axis `dims[i]` in
///   the place of axis `i + 1`, the batch being 0
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_neuron::{Layer, Pass, Permute};
/// # fn main() -> cortical_neuron::Result<()> {
/// let x = Tensor::zeros((2, 3, 5), DType::F32, &Device::Cpu)?;
/// let y = Permute::new(&[2, 1])?.forward(&x, &mut Pass::eval())?;
/// assert_eq!(y.dims(), [2, 5, 3]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Permute {
    dims: Vec<usize>,
}

impl Permute {
    /// Each axis behind the batch once, counted from 1, in their new order.
    ///
    /// # Errors
    /// [`Error::Option`] for numbers that are not those of all axes, each once.
    pub fn new(dims: &[usize]) -> Result<Self> {
        let mut sorted = dims.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(1..=dims.len()) {
            return Err(Error::Option {
                option: "dims",
                expected: "each dimension once, counted from 1, as the batch is 0",
                got: format!("{dims:?}"),
            });
        }
        let dims = dims.to_vec();
        Ok(Self { dims })
    }
}

impl Layer for Permute {
    fn forward(&self, x: &Tensor, _: &mut Pass<'_>) -> Result<Tensor> {
        if x.rank() != self.dims.len() + 1 {
            return Err(cortical_tensor::Error::Shape {
                op: "permute",
                argument: "x",
                expected: format!("a batch with {} axes behind", self.dims.len()),
                got: x.dims().to_vec(),
            }
            .into());
        }
        let order: Vec<usize> = std::iter::once(0)
            .chain(self.dims.iter().copied())
            .collect();
        Ok(x.permute(order)?.contiguous()?)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        if sample.len() != self.dims.len() {
            let expected = format!("one of {} axes", self.dims.len());
            return Err(wrong_sample("permute", expected, sample));
        }
        let output: Vec<usize> = self.dims.iter().map(|dim| sample[dim - 1]).collect();
        let description = Description::new("Permute", "", &output);
        Ok(description.reads("each output is an input"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn axes_change_places_and_gradients_go_back() {
        let x = Tensor::arange(0.0_f32, 24.0, &Device::Cpu).unwrap();
        let x = candle_core::Var::from_tensor(&x.reshape((1, 2, 3, 4)).unwrap()).unwrap();
        let layer = Permute::new(&[3, 1, 2]).unwrap();
        let y = layer.forward(&x, &mut Pass::eval()).unwrap();
        assert_eq!(y.dims()[1..], layer.describe(&[2, 3, 4]).unwrap().output);
        let at = |t: &Tensor, place: [usize; 3]| {
            let t = t.get(0).unwrap();
            let t = place.iter().fold(t, |t, i| t.get(*i).unwrap());
            t.to_scalar::<f32>().unwrap()
        };
        assert_eq!(at(&y, [3, 1, 2]), at(&x, [1, 2, 3]));
        let loss = (&y * &y).unwrap().sum_all().unwrap();
        let d_x = loss.backward().unwrap().remove(&x).unwrap();
        assert_eq!(at(&d_x, [1, 2, 3]), 2.0 * at(&x, [1, 2, 3]));
        for dims in [&[0, 1][..], &[1, 1], &[2], &[1, 3]] {
            assert!(Permute::new(dims).is_err(), "{dims:?}");
        }
        assert!(
            Permute::new(&[1])
                .unwrap()
                .forward(&x, &mut Pass::eval())
                .is_err()
        );
    }

    #[test]
    fn dimensions_that_are_not_there_are_refused() {
        let x = Tensor::zeros((2, 6), DType::F32, &Device::Cpu).unwrap();
        let text = |layer: &dyn Layer| {
            layer
                .forward(&x, &mut Pass::eval())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            text(&Flatten::new(0, 2)),
            "end_dim must be a dimension of the input, but is 2 for 2 dimensions"
        );
        assert_eq!(
            text(&Flatten::new(1, 0)),
            "end_dim must be not before start_dim, but is 0 with start_dim 1"
        );
        let sizes =
            "unflattened_size must be sizes whose product is the dimension, at most one of them -1";
        for wrong in [&[4, -1][..], &[2, 2], &[-1, -1], &[-2, -3], &[0, -1]] {
            assert!(
                text(&Unflatten::new(1, wrong)).starts_with(sizes),
                "{wrong:?}"
            );
        }
        let scalar = Tensor::new(1.0_f32, &Device::Cpu).unwrap();
        let flat = Flatten::new(0, -1)
            .forward(&scalar, &mut Pass::eval())
            .unwrap();
        assert_eq!(flat.dims(), [1]);
    }
}

//! What becomes of a tensor's elements in a GGUF file beside their type: other places, or one more.

use crate::{AnyModel, AnyTensor, Error, Result, TensorType};

/// How GGUF files have a tensor otherwise than Hugging Face's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rearrange {
    /// Rows of so many heads, with the two numbers of a rotated pair side by side and not half a head apart.
    Pairs(usize),
    /// Rows are columns.
    Transposed,
    /// One is added to every element: norms that multiply by one more than their parameters.
    PlusOne,
    /// In single precision whatever the other tensors are: llama.cpp adds it to sums of single precision.
    Single,
}

/// Bytes of a transposed tensor that are gathered at a time.
const GATHERED_BYTES: usize = 2 << 20;

impl Rearrange {
    /// The shape that a tensor of `shape` gets.
    pub(super) fn shape(self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        if self == Self::Transposed {
            shape.reverse();
        }
        shape
    }

    /// Whether the tensor has to be in single precision.
    pub(super) fn is_single(self) -> bool {
        matches!(self, Self::Single | Self::PlusOne)
    }

    /// Refuses tensors that cannot be arranged so.
    pub(super) fn check(self, tensor: &AnyTensor) -> Result<()> {
        let is_float = match tensor.kind() {
            TensorType::Plain(element) => element.is_float(),
            TensorType::Quantized(_) => false,
        };
        let fits = match self {
            Self::Pairs(heads) => {
                let rows = tensor.shape().first().copied().unwrap_or(1);
                heads > 0 && rows.is_multiple_of(2 * heads)
            }
            Self::Transposed => tensor.shape().len() == 2,
            Self::PlusOne | Self::Single => true,
        };
        if fits && is_float {
            return Ok(());
        }
        Err(Error::Rearrange {
            name: tensor.name().into(),
            shape: tensor.shape().to_vec(),
            how: self.to_string(),
        })
    }

    /// Reads elements of the rearranged tensor from element `from` on.
    pub(super) fn read(
        self,
        model: &AnyModel,
        tensor: &AnyTensor,
        from: usize,
        out: &mut [f64],
    ) -> Result<()> {
        match self {
            Self::Single => model.read_numbers(tensor.name(), from, out),
            Self::PlusOne => {
                model.read_numbers(tensor.name(), from, out)?;
                out.iter_mut().for_each(|x| *x += 1.0);
                Ok(())
            }
            Self::Pairs(heads) => {
                let [rows, cols] = matrix(tensor.shape());
                let (mut at, mut rest) = (from, out);
                while !rest.is_empty() {
                    let (row, within) = (at / cols, at % cols);
                    let (part, behind) = rest.split_at_mut((cols - within).min(rest.len()));
                    let from = paired(row, heads, rows) * cols + within;
                    model.read_numbers(tensor.name(), from, part)?;
                    (at, rest) = (at + part.len(), behind);
                }
                Ok(())
            }
            Self::Transposed => {
                // Whoever reads takes whole rows, of which [`together`](Self::together) says how many.
                let [rows, cols] = matrix(tensor.shape());
                let (first, count) = (from / rows, out.len() / rows);
                let mut row = vec![0.0; count];
                for i in 0..rows {
                    model.read_numbers(tensor.name(), i * cols + first, &mut row)?;
                    for (j, number) in row.iter().enumerate() {
                        out[j * rows + i] = *number;
                    }
                }
                Ok(())
            }
        }
    }

    /// How many elements are read at a time where `piece` are by default: of a transposed tensor whole rows, and many,
    /// as each of them is spread over the whole tensor.
    pub(super) fn together(self, tensor: &AnyTensor, piece: usize) -> usize {
        match (self, tensor.shape()) {
            (Self::Transposed, &[rows, _]) if rows > 0 => {
                let fit = GATHERED_BYTES / size_of::<f64>() / rows;
                rows * fit.max(1)
            }
            _ => piece,
        }
    }
}

impl std::fmt::Display for Rearrange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pairs(heads) => write!(f, "as {heads} heads whose elements come in pairs"),
            Self::Transposed => f.write_str("with rows for columns"),
            Self::PlusOne => f.write_str("with one added"),
            Self::Single => f.write_str("in single precision"),
        }
    }
}

/// Rows and their elements, where the elements of one dimension are rows of their own.
fn matrix(shape: &[usize]) -> [usize; 2] {
    match shape {
        [] => [1, 1],
        [rows, rest @ ..] => [*rows, rest.iter().product()],
    }
}

/// The row that stands at place `row` once the two numbers of a rotated pair are side by side.
fn paired(row: usize, heads: usize, rows: usize) -> usize {
    let dim = rows / heads;
    let (head, within) = (row / dim, row % dim);
    head * dim + within / 2 + dim / 2 * (within % 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_stand_side_by_side() {
        let order: Vec<usize> = (0..8).map(|row| paired(row, 2, 8)).collect();
        assert_eq!(order, [0, 2, 1, 3, 4, 6, 5, 7]);
        let order: Vec<usize> = (0..6).map(|row| paired(row, 1, 6)).collect();
        assert_eq!(order, [0, 3, 1, 4, 2, 5]);
    }
}

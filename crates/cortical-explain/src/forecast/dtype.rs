//! The form in which weights lie in memory.

use cortical_kernels::quantized::Format;
use cortical_models::language::Weights;

/// The form in which weights lie in memory: single precision, or a format of fewer bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NumberType(Option<Format>);

impl NumberType {
    /// Single precision.
    pub const F32: Self = Self(None);

    /// The type of this name: `f32`, `bf16`, `q8_0`, ...
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if name == "f32" {
            return Some(Self::F32);
        }
        let format = Format::ALL.into_iter().find(|format| format.name() == name);
        format.map(|format| Self(Some(format)))
    }

    /// The names of all of them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ["f32"].into_iter().chain(Format::ALL.map(Format::name))
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.map_or("f32", Format::name)
    }

    /// Whether weights are trained in it.
    pub(super) fn is_trained(self) -> bool {
        matches!(self.0, None | Some(Format::Bf16))
    }

    /// Whether products are of numbers of sixteen bits.
    pub(super) fn is_16_bit(self) -> bool {
        matches!(self.0, Some(Format::Bf16 | Format::F16))
    }

    /// How a language model is opened with such weights.
    pub(super) fn weights(self) -> Weights {
        self.0.map_or(Weights::Single, Weights::Quantized)
    }

    /// Bytes of a tensor of this shape: matrices are quantized, others are not.
    pub(super) fn bytes(self, dims: &[usize]) -> u64 {
        let count = dims
            .iter()
            .map(|dim| *dim as u64)
            .fold(1, u64::saturating_mul);
        let single = count.saturating_mul(4);
        match (self.0, dims) {
            (Some(format), &[rows, cols]) => {
                let row = format.row_bytes(cols);
                row.map_or(single, |row| (rows as u64).saturating_mul(row as u64))
            }
            _ => single,
        }
    }
}

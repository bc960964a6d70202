//! Numbers out of model files, piece by piece.

use crate::entry::Entry;
use crate::error::Result;
use crate::stats::Stats;
use cortical_io::{AnyModel, GgufFile, ModelFiles};
use cortical_models::language::GgufTensors;
use std::sync::Arc;

/// Elements that are read at a time.
pub(crate) const PIECE: usize = 1 << 16;

/// An opened model whose numbers can be read.
#[derive(Debug)]
pub(crate) enum Weights {
    Files(ModelFiles),
    /// PyTorch's and NumPy's.
    Other(Box<AnyModel>),
    /// With the names of the architecture, where it is known.
    Gguf(Arc<GgufFile>, Option<GgufTensors>),
}

impl Weights {
    /// The elements that have to be read together: the others follow them.
    pub(crate) fn unit(&self, entry: &Entry) -> usize {
        let row = entry.shape.last().copied().unwrap_or(1);
        let unit = match self {
            Self::Files(_) | Self::Other(_) => 1,
            Self::Gguf(_, Some(names)) if names.is_transposed(entry.common_name()) => entry.count(),
            Self::Gguf(..) => row,
        };
        unit.max(1)
    }

    /// Reads `len` elements from element `from` on, both multiples of the [`unit`](Self::unit), in the order of
    /// [`common_shape`](Self::common_shape).
    pub(crate) fn read(&self, entry: &Entry, from: usize, len: usize) -> Result<Vec<f64>> {
        match self {
            Self::Files(files) => {
                let mut numbers = vec![0.0; len];
                files.read_numbers(&entry.stored, from, &mut numbers)?;
                Ok(numbers)
            }
            Self::Other(model) => {
                let mut numbers = vec![0.0; len];
                model.read_numbers(&entry.stored, from, &mut numbers)?;
                Ok(numbers)
            }
            Self::Gguf(file, names) => {
                let name = entry.common_name();
                let known = names
                    .as_ref()
                    .filter(|names| names.stored_name(name).is_some());
                let shape = self.common_shape(entry);
                let row = shape.last().copied().unwrap_or(1).max(1);
                let rows = from / row..(from + len) / row;
                let numbers = match known {
                    Some(names) => names.load_rows(name, rows)?,
                    None => file.load_rows(&entry.stored, rows)?,
                };
                Ok(numbers.into_iter().map(f64::from).collect())
            }
        }
    }

    /// The shape that Hugging Face's files would have.
    pub(crate) fn common_shape(&self, entry: &Entry) -> Vec<usize> {
        let known = match self {
            Self::Gguf(_, Some(names)) => names.shape(entry.common_name()),
            _ => None,
        };
        known.unwrap_or_else(|| entry.shape.clone())
    }

    /// What all elements of a tensor come to, read piece by piece.
    pub(crate) fn stats(&self, entry: &Entry) -> Result<Stats> {
        let mut stats = Stats::default();
        for (from, len) in pieces(entry.count(), self.unit(entry)) {
            stats.add(&self.read(entry, from, len)?);
        }
        Ok(stats)
    }
}

/// Where pieces of whole units begin, and their lengths.
pub(crate) fn pieces(count: usize, unit: usize) -> impl Iterator<Item = (usize, usize)> {
    let step = (PIECE / unit).max(1).saturating_mul(unit);
    (0..count)
        .step_by(step)
        .map(move |from| (from, step.min(count - from)))
}

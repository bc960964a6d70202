//! Sparse weights of a file, for layers that compute with them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Tensor;
use cortical_kernels::constant::ConstantMatrix;
use cortical_neuron::Source;

use crate::{TensorFile, TensorInfo};

/// The sparse weights of a file, for layers that compute with them as they lie: dense layers take them in place of
/// parameters, and [`load_rest`](crate::load_rest) loads what is left.
#[derive(Debug)]
pub struct SparseWeights {
    file: TensorFile,
    taken: Mutex<BTreeSet<String>>,
}

impl SparseWeights {
    /// Those of a file; `None` where it has none.
    #[must_use]
    pub fn of(file: TensorFile) -> Option<Self> {
        let has = file.tensors().iter().any(TensorInfo::is_sparse);
        has.then(|| Self {
            file,
            taken: Mutex::default(),
        })
    }

    /// The weights that layers have taken so far.
    #[must_use]
    pub fn taken(&self) -> BTreeSet<String> {
        let taken = self.taken.lock();
        taken.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Source for SparseWeights {
    fn tensor(&self, _: &str, _: &[usize]) -> cortical_neuron::Result<Option<Tensor>> {
        Ok(None)
    }

    fn constant(
        &self,
        name: &str,
        shape: &[usize],
    ) -> cortical_neuron::Result<Option<Arc<dyn ConstantMatrix>>> {
        let Some(info) = self.file.info(name).filter(|info| info.shape() == shape) else {
            return Ok(None);
        };
        let matrix = self.file.sparse(info.name());
        let matrix = matrix.map_err(|why| cortical_neuron::Error::Source {
            name: name.to_owned(),
            source: Box::new(why),
        })?;
        Ok(matrix.map(|matrix| {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.insert(name.to_owned());
            Arc::new(matrix) as Arc<dyn ConstantMatrix>
        }))
    }
}

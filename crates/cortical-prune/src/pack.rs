//! Pruned weights in the form that multiplies fastest: their connections alone, where that pays.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use cortical_dense::Layout;
use cortical_io::TensorFile;
use cortical_kernels::activation::Activation;
use cortical_kernels::constant::ConstantMatrix;
use cortical_kernels::quantized::{Format, QuantizedMatrix};
use cortical_kernels::sparse::{Precision, SparseMatrix};
use cortical_models::language::LanguageModel;
use cortical_models::{Network, Plan};
use cortical_neuron::{Params, Source};
use cortical_tensor::ops::{constant_linear, linear};
use cortical_tensor::{Rng, Seed};

use crate::timing::median;
use crate::{Error, Result};

/// Rounds over all layers: at least and at most, and for how long if it is neither.
const ROUNDS: (usize, usize) = (9, 200);
const PATIENCE: Duration = Duration::from_millis(1500);

/// What packing came to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Packed {
    /// The layers whose connections alone are written now.
    pub packed: Vec<String>,
    /// Pruned layers that multiply faster as they were.
    pub left: Vec<String>,
    /// Milliseconds of one product with each of the packed layers, before and after.
    pub ms: [f64; 2],
}

impl Packed {
    /// In a sentence.
    pub(crate) fn words(&self, rows: usize) -> String {
        let (count, all) = (self.packed.len(), self.packed.len() + self.left.len());
        let [before, after] = self.ms;
        match count {
            0 => format!(
                "none of {all} pruned layers is packed: each multiplies faster as it is, for {rows} at a time"
            ),
            _ => format!(
                "{count} of {all} pruned layers are packed, as they multiply faster by the connections that are left: {before:.3} ms before and {after:.3} ms after, for {rows} at a time"
            ),
        }
    }
}

/// A pruned layer in both forms.
struct Candidate {
    name: String,
    dense: Dense,
    sparse: Arc<SparseMatrix>,
    x: Tensor,
    /// Milliseconds of products in the one form and in the other.
    times: [Vec<f64>; 2],
}

/// A layer's weights with zeros.
enum Dense {
    F32(Tensor),
    Bf16(Arc<QuantizedMatrix>),
}

/// Writes a model file anew, with those of its pruned linear layers packed that multiply faster so.
///
/// Both forms of all layers are measured in turns, one product with each layer after the other, so that a layer finds
/// in the caches what it would find there between its neighbours. At a precision of 16 bits both forms are `bf16`.
///
/// # Errors
/// A file that cannot be read or written.
pub(crate) fn pack(
    path: &Path,
    layers: &BTreeSet<String>,
    precision: Precision,
    rows: usize,
) -> Result<Packed> {
    let file = TensorFile::open(path)?;
    let metadata = file.metadata().clone();
    let mut tensors = file.load_all(&Device::Cpu)?;
    let mut candidates = Vec::new();
    for (name, tensor) in &tensors {
        if layers.contains(name)
            && let Some(candidate) = Candidate::new(name, tensor, precision, rows)?
        {
            candidates.push(candidate);
        }
    }
    measure(&mut candidates)?;
    let mut found = Packed {
        packed: Vec::new(),
        left: Vec::new(),
        ms: [0.0; 2],
    };
    for candidate in candidates {
        let [dense, sparse] = candidate.times.clone().map(median);
        if sparse >= dense {
            found.left.push(candidate.name);
            continue;
        }
        found.ms = [found.ms[0] + dense, found.ms[1] + sparse];
        candidate.replace(&mut tensors)?;
        found.packed.push(candidate.name);
    }
    if !found.packed.is_empty() {
        cortical_io::save_tensors(path, &tensors, &metadata)?;
    }
    Ok(found)
}

/// Takes the time of all layers in turns, in the one form and in the other.
fn measure(candidates: &mut [Candidate]) -> Result<()> {
    let started = Instant::now();
    for round in 0..ROUNDS.1 {
        if round > ROUNDS.0 && started.elapsed() > PATIENCE {
            break;
        }
        for form in 0..2 {
            for candidate in &mut *candidates {
                let ms = candidate.product(form)?;
                // The first round finds nothing in the caches.
                if round > 0 {
                    candidate.times[form].push(ms);
                }
            }
        }
    }
    Ok(())
}

impl Candidate {
    /// `None` for a layer that has lost nothing.
    fn new(name: &str, tensor: &Tensor, precision: Precision, rows: usize) -> Result<Option<Self>> {
        let Ok((outputs, inputs)) = tensor.dims2() else {
            return Ok(None);
        };
        let tensor = tensor.to_dtype(DType::F32)?;
        let weights: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        if weights.iter().all(|weight| *weight != 0.0) {
            return Ok(None);
        }
        let sparse = SparseMatrix::from_dense(outputs, inputs, &weights, precision);
        let dense = match precision {
            Precision::F32 => Dense::F32(tensor),
            _ => {
                let matrix = QuantizedMatrix::quantize(Format::Bf16, outputs, inputs, &weights);
                Dense::Bf16(Arc::new(matrix.map_err(|why| Error::Pack {
                    layer: name.to_owned(),
                    why,
                })?))
            }
        };
        let mut x = vec![0.0; rows * inputs];
        Rng::new(Seed(0), "packing").fill_normal(&mut x, 0.0, 1.0);
        Ok(Some(Self {
            name: name.to_owned(),
            dense,
            sparse: Arc::new(sparse),
            x: Tensor::from_vec(x, (rows, inputs), &Device::Cpu)?,
            times: [Vec::new(), Vec::new()],
        }))
    }

    /// Puts the connections in the place of the weights.
    fn replace(&self, tensors: &mut Vec<(String, Tensor)>) -> Result<()> {
        tensors.retain(|(name, _)| *name != self.name);
        tensors.extend(cortical_io::sparse_tensors(&self.name, &self.sparse)?);
        Ok(())
    }

    /// Milliseconds of a product, dense (0) or sparse (1).
    fn product(&self, form: usize) -> Result<f64> {
        let (x, none) = (&self.x, Activation::Identity);
        let before = Instant::now();
        let y = match (form, &self.dense) {
            (0, Dense::F32(weight)) => linear(x, weight, None, none),
            (0, Dense::Bf16(matrix)) => constant_linear(x, matrix, None, none),
            _ => constant_linear(x, &self.sparse, None, none),
        };
        let y = y.map_err(cortical_neuron::Error::from)?;
        let took = before.elapsed().as_secs_f64() * 1e3;
        std::hint::black_box(y);
        Ok(took)
    }
}

/// The weights of a language model that it can compute with in a form of their own.
pub(crate) fn layers_of_text(model: &LanguageModel) -> BTreeSet<String> {
    let layers = model.projections().into_iter();
    let rows = layers.filter(|layer| layer.layout() == Layout::Rows);
    rows.map(|layer| format!("{}.weight", layer.name()))
        .collect()
}

/// The weights of a network that it can compute with in a form of their own: those for which its layers ask.
pub(crate) fn layers_of_network(plan: &Plan) -> Result<BTreeSet<String>> {
    let asked = Arc::new(Asked::default());
    let params = Params::with_source(&Device::Cpu, Seed(0), DType::F32, asked.clone());
    Network::build(plan, &params)?;
    let names = asked.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(names.clone())
}

/// Remembers which weights are asked for in any form, and has none.
#[derive(Debug, Default)]
struct Asked(Mutex<BTreeSet<String>>);

impl Source for Asked {
    fn tensor(&self, _: &str, _: &[usize]) -> cortical_neuron::Result<Option<Tensor>> {
        Ok(None)
    }

    fn constant(
        &self,
        name: &str,
        _: &[usize],
    ) -> cortical_neuron::Result<Option<Arc<dyn ConstantMatrix>>> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned());
        Ok(None)
    }
}

/// Refuses a model whose weights are packed: what belongs to a neuron cannot be seen in them.
pub(crate) fn refuse_packed(path: &Path) -> Result<()> {
    let file = TensorFile::open(path)?;
    match file.tensors().iter().any(|tensor| tensor.is_sparse()) {
        false => Ok(()),
        true => Err(Error::Unsuited {
            what: "cannot prune",
            path: path.to_owned(),
            why: "its pruned weights are packed; prune what it was made from, or make it again without --pack".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use cortical_io::{Metadata, SparseWeights};
    use cortical_models::ModelSpec;
    use cortical_neuron::{Layer, Pass};

    use super::*;

    /// An MLP of which every other weight is 0, in a file.
    fn pruned(path: &Path) -> (Plan, Vec<(String, Tensor)>) {
        let spec: ModelSpec = "mlp".parse().unwrap();
        let plan = Plan::new(&spec.layers(), &[20], 3).unwrap();
        let params = Params::new(&Device::Cpu, Seed(3));
        Network::build(&plan, &params).unwrap();
        let mut tensors = params.named_tensors();
        for (_, tensor) in tensors.iter_mut().filter(|(_, tensor)| tensor.rank() == 2) {
            let mut weights: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
            weights
                .iter_mut()
                .step_by(2)
                .for_each(|weight| *weight = 0.0);
            *tensor = Tensor::from_vec(weights, tensor.shape(), &Device::Cpu).unwrap();
        }
        cortical_io::save_tensors(path, &tensors, &Metadata::new()).unwrap();
        (plan, tensors)
    }

    fn scores(plan: &Plan, path: &Path) -> (Vec<f32>, usize) {
        let sparse = SparseWeights::of(TensorFile::open(path).unwrap()).map(Arc::new);
        let params = match &sparse {
            Some(sparse) => Params::with_source(&Device::Cpu, Seed(0), DType::F32, sparse.clone()),
            None => Params::new(&Device::Cpu, Seed(0)),
        };
        let network = Network::build(plan, &params).unwrap();
        let taken = sparse.map_or_else(BTreeSet::new, |sparse| sparse.taken());
        cortical_io::load_rest(path, &params, &taken).unwrap();
        let x = Tensor::arange(0.0_f32, 40.0, &Device::Cpu).unwrap();
        let x = (x.reshape((2, 20)).unwrap() / 40.0).unwrap();
        let y = network.forward(&x, &mut Pass::eval()).unwrap();
        (y.flatten_all().unwrap().to_vec1().unwrap(), taken.len())
    }

    #[test]
    fn packed_layers_compute_what_they_did() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let (plan, mut tensors) = pruned(&path);
        let (want, none) = scores(&plan, &path);
        assert_eq!(none, 0);
        let layers = layers_of_network(&plan).unwrap();
        assert!(layers.len() >= 2 && layers.iter().all(|name| name.ends_with(".weight")));
        for (precision, tolerance) in [(Precision::Bf16, 2e-2), (Precision::F32, 1e-5)] {
            let dense = tensors.clone();
            for name in &layers {
                let (_, tensor) = dense.iter().find(|(own, _)| own == name).unwrap();
                let candidate = Candidate::new(name, tensor, precision, 1).unwrap().unwrap();
                candidate.replace(&mut tensors).unwrap();
            }
            cortical_io::save_tensors(&path, &tensors, &Metadata::new()).unwrap();
            let (got, taken) = scores(&plan, &path);
            assert_eq!(taken, layers.len());
            for (a, b) in want.iter().zip(&got) {
                assert!((a - b).abs() < tolerance, "{a} {b}");
            }
            assert!(refuse_packed(&path).is_err());
            tensors = dense;
        }
    }

    #[test]
    fn each_pruned_layer_is_measured_and_a_whole_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let (plan, tensors) = pruned(&path);
        let layers = layers_of_network(&plan).unwrap();
        let found = pack(&path, &layers, Precision::F32, 1).unwrap();
        assert_eq!(found.packed.len() + found.left.len(), layers.len());
        // Whatever was measured, the file holds the same weights.
        let all = TensorFile::open(&path)
            .unwrap()
            .load_all(&Device::Cpu)
            .unwrap();
        for (name, tensor) in &tensors {
            let (_, read) = all.iter().find(|(own, _)| own == name).unwrap();
            let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(values(read), values(tensor), "{name}");
        }
        let ones = Tensor::ones((4, 4), DType::F32, &Device::Cpu).unwrap();
        assert!(
            Candidate::new("whole", &ones, Precision::F32, 1)
                .unwrap()
                .is_none()
        );
    }
}

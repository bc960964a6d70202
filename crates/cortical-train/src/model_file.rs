//! Model files that say what a prediction needs: the network, the preprocessing, what its outputs mean.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device};
use cortical_data::csv::Column;
use cortical_data::{Dataset, Inputs, Preprocess};
use cortical_io::{Metadata, SparseWeights, TensorFile};
use cortical_models::{Kinds, Network, Plan};
use cortical_neuron::{Layer, Params, Pass};
use cortical_tensor::Seed;

use crate::labels::LabelPrediction;
use crate::numbers::NumberPrediction;
use crate::outputs::Outputs;
use crate::{Error, Result};

/// The key and version that model files of ours have; `cortical-io` writes it.
const VERSION: (&str, &str) = ("cortical.model", "1");
const KIND: &str = "cortical.kind";
const CLASSIFIER: &str = "classifier";
const REGRESSOR: &str = "regressor";
const NETWORK: &str = "cortical.network";
const LAYERS: &str = "cortical.layers";
const PREPROCESS: &str = "cortical.preprocess";
const CLASSES: &str = "cortical.classes";
const MULTI_LABEL: &str = "multi-label";
const LABELS: &str = "cortical.labels";
const NUMBERS: &str = "cortical.numbers";
const INPUT_SHAPE: &str = "cortical.input_shape";

/// What a model file says about a network: no time, no path and no number of threads, so that the same training
/// gives the same bytes.
pub(crate) fn metadata(
    kind: &str,
    plan: &Plan,
    preprocess: &Preprocess,
    outputs: &Outputs,
) -> Metadata {
    let json = |value: serde_json::Result<String>| value.expect("numbers and names are JSON");
    let (kind_of_outputs, key, meaning) = match outputs {
        Outputs::Classes(classes) => (CLASSIFIER, CLASSES, serde_json::to_string(classes)),
        Outputs::Numbers(numbers) => (REGRESSOR, NUMBERS, serde_json::to_string(numbers)),
        Outputs::Labels(labels) => (MULTI_LABEL, LABELS, serde_json::to_string(labels)),
    };
    Metadata::from([
        (KIND.to_owned(), kind_of_outputs.to_owned()),
        (NETWORK.to_owned(), kind.to_owned()),
        (LAYERS.to_owned(), plan.to_json()),
        (
            PREPROCESS.to_owned(),
            json(serde_json::to_string(preprocess)),
        ),
        (key.to_owned(), json(meaning)),
        (
            INPUT_SHAPE.to_owned(),
            json(serde_json::to_string(plan.input_shape())),
        ),
    ])
}

/// The columns of the table that the network in a file has learned from; `None` for a file that does not say it.
pub(crate) fn columns(file: &TensorFile) -> Option<Vec<Column>> {
    let preprocess: Preprocess = serde_json::from_str(file.metadata().get(PREPROCESS)?).ok()?;
    Some(preprocess.columns().to_vec())
}

/// The network that a file's metadata describe, without building it; `None` for a file that describes none, or one that
/// cannot be.
///
/// ```no_run
/// let file = cortical_io::TensorFile::open("runs/digits-001/model.safetensors")?;
/// let plan = cortical_train::plan_of(&file).expect("a file that a training wrote");
/// println!("{} parameters", plan.parameters());
/// # Ok::<(), cortical_io::Error>(())
/// ```
#[must_use]
pub fn plan_of(file: &TensorFile) -> Option<Plan> {
    let read = |key: &str| file.metadata().get(key);
    let shape: Vec<usize> = serde_json::from_str(read(INPUT_SHAPE)?).ok()?;
    Plan::from_json(read(LAYERS)?, &shape, outputs(file)?.count()).ok()
}

/// What the outputs of the network in a file mean; `None` for a file that does not say it.
pub(crate) fn outputs(file: &TensorFile) -> Option<Outputs> {
    let read = |key: &str| file.metadata().get(key);
    if let Some(labels) = read(LABELS) {
        return serde_json::from_str(labels).ok().map(Outputs::Labels);
    }
    match read(NUMBERS) {
        Some(numbers) => serde_json::from_str(numbers).ok().map(Outputs::Numbers),
        None => serde_json::from_str(read(CLASSES)?)
            .ok()
            .map(Outputs::Classes),
    }
}

/// The names of the parameters in the order of the way through the network in a file; none where it describes none.
pub(crate) fn parameters(file: &TensorFile) -> Vec<String> {
    let params = Params::dry(usize::MAX);
    let built = plan_of(file).and_then(|plan| Network::build(&plan, &params).ok());
    match built {
        Some(_) => params.all().iter().map(|p| p.name().to_owned()).collect(),
        None => Vec::new(),
    }
}

/// A trained network with everything that a prediction needs.
#[derive(Debug)]
pub struct TrainedModel {
    path: PathBuf,
    network: Network,
    params: Params,
    preprocess: Preprocess,
    outputs: Outputs,
}

/// What a network says about a sample.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Prediction {
    /// The most probable class, as an index.
    pub class: usize,
    /// Its probability.
    pub probability: f64,
    /// The probability of every class.
    pub probabilities: Vec<f64>,
}

impl TrainedModel {
    /// Reads a model file that a training wrote.
    ///
    /// # Errors
    /// A file that cannot be read, does not say what it is, or describes another network than its tensors are for;
    /// sizes are compared before anything is built.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        Self::load_with(path, device, &Kinds::standard())
    }

    /// As [`load`](Self::load) for a network with layers of these kinds.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(path: &Path, device: &Device, kinds: &Kinds) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let reader = Reader { path, file: &file };
        let version = reader.text(VERSION.0)?;
        if version != VERSION.1 {
            return Err(Error::ModelVersion {
                path: path.to_owned(),
                expected: VERSION.1,
                found: version.to_owned(),
            });
        }
        let has = |key: &str| file.metadata().contains_key(key);
        let outputs = match (has(NUMBERS), has(LABELS)) {
            (true, _) => Outputs::Numbers(reader.json(NUMBERS)?),
            (_, true) => Outputs::Labels(reader.json(LABELS)?),
            _ => Outputs::Classes(reader.json(CLASSES)?),
        };
        let preprocess: Preprocess = reader.json(PREPROCESS)?;
        let layers = reader.text(LAYERS)?;
        let plan = Plan::from_json_with(layers, preprocess.input_shape(), outputs.count(), kinds)
            .map_err(|why| reader.misunderstood(LAYERS, why.to_string()))?;
        let counts = file.tensors().iter().map(|tensor| tensor.count());
        let stored = counts.fold(0, usize::saturating_add);
        // Fewer elements than the network needs: it would take memory that the file does not have. Other differences
        // are for `load_into` to list.
        if stored < plan.parameters() {
            return Err(Error::ModelSize {
                path: path.to_owned(),
                described: plan.parameters(),
                stored,
            });
        }
        // Dense layers take sparse weights as they lie; every other layer has them as parameters, dense.
        let sparse = SparseWeights::of(file).map(Arc::new);
        let params = match &sparse {
            Some(sparse) => Params::with_source(device, Seed(0), DType::F32, sparse.clone()),
            None => Params::new(device, Seed(0)),
        };
        let network = Network::build(&plan, &params)?;
        let taken = sparse.map_or_else(BTreeSet::new, |sparse| sparse.taken());
        cortical_io::load_rest(path, &params, &taken)?;
        Ok(Self {
            path: path.to_owned(),
            network,
            params,
            preprocess,
            outputs,
        })
    }

    /// The file it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Its parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What samples go through first.
    #[must_use]
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// What its outputs mean.
    #[must_use]
    pub fn outputs(&self) -> &Outputs {
        &self.outputs
    }

    /// The names of the classes; none where it predicts numbers.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        self.outputs.classes().unwrap_or_default()
    }

    /// Samples to test on, preprocessed as those were that the model has learned from.
    ///
    /// # Errors
    /// Samples of classes that the model does not know; [`Error::SampleShape`] for those of another shape.
    pub fn prepared(&self, dataset: &Dataset) -> Result<Dataset> {
        let dataset = match &self.outputs {
            Outputs::Classes(classes) => dataset.in_classes(classes)?,
            Outputs::Numbers(numbers) => dataset.scaled(numbers.scale())?,
            Outputs::Labels(labels) => match dataset.targets() {
                Some(targets) if targets.names() == labels.names() => dataset.clone(),
                _ => return Err(Error::OtherLabels),
            },
        };
        let shape = self.preprocess.input_shape();
        if dataset.input_shape() != shape {
            return Err(Error::SampleShape {
                expected: shape.to_vec(),
                found: dataset.input_shape().to_vec(),
            });
        }
        Ok(dataset.preprocessed(&self.preprocess)?)
    }

    /// The network with its parameters.
    pub(crate) fn into_network(self) -> (Network, Params) {
        (self.network, self.params)
    }

    /// Predicts the class of every sample; `inputs` are raw, with as many values as the training data had.
    ///
    /// # Errors
    /// [`Error::SampleShape`] for samples of another size; [`Error::NoClasses`] for a network of numbers.
    pub fn predict(&self, inputs: &Inputs, batch_size: usize) -> Result<Vec<Prediction>> {
        self.outputs.classes()?;
        self.each(inputs, batch_size, prediction)
    }

    /// Predicts the numbers of every sample, in the unit of the data.
    ///
    /// # Errors
    /// As [`predict`](Self::predict); [`Error::NoNumbers`] for a network of classes.
    pub fn predict_numbers(
        &self,
        inputs: &Inputs,
        batch_size: usize,
    ) -> Result<Vec<NumberPrediction>> {
        let numbers = self.outputs.numbers()?;
        self.each(inputs, batch_size, |row| numbers.read(row))
    }

    /// Predicts the labels of every sample, where it has any number of them.
    ///
    /// # Errors
    /// As [`predict`](Self::predict); [`Error::OtherLabels`] for a network of something else.
    pub fn predict_labels(
        &self,
        inputs: &Inputs,
        batch_size: usize,
    ) -> Result<Vec<LabelPrediction>> {
        let labels = self.outputs.labels()?;
        self.each(inputs, batch_size, |row| labels.read(row))
    }

    /// What the outputs for every sample say.
    fn each<P>(
        &self,
        inputs: &Inputs,
        batch_size: usize,
        read: impl Fn(&[f32]) -> P,
    ) -> Result<Vec<P>> {
        let shape = self.preprocess.input_shape();
        let inputs = if inputs.shape() == shape {
            inputs.preprocessed(&self.preprocess)?
        } else if inputs.shape().iter().product::<usize>() == self.preprocess.features() {
            inputs.reshaped(shape)?.preprocessed(&self.preprocess)?
        } else {
            return Err(Error::SampleShape {
                expected: shape.to_vec(),
                found: inputs.shape().to_vec(),
            });
        };
        let mut predictions = Vec::with_capacity(inputs.len());
        let batch_size = batch_size.max(1);
        for start in (0..inputs.len()).step_by(batch_size) {
            let rows = start..inputs.len().min(start.saturating_add(batch_size));
            let batch = inputs.tensor(rows, self.params.device())?;
            let logits = self.network.forward(&batch, &mut Pass::eval())?;
            predictions.extend(logits.to_vec2::<f32>()?.iter().map(|row| read(row)));
        }
        Ok(predictions)
    }
}

/// Probabilities out of scores: `exp(x_i − max) / Σ exp(x_j − max)`, in double precision.
pub(crate) fn prediction(logits: &[f32]) -> Prediction {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f64> = logits.iter().map(|x| f64::from(x - max).exp()).collect();
    let sum: f64 = exps.iter().sum();
    let probabilities: Vec<f64> = exps.iter().map(|e| e / sum).collect();
    let class = logits.iter().position(|x| *x == max).unwrap_or(0);
    Prediction {
        class,
        probability: probabilities.get(class).copied().unwrap_or(0.0),
        probabilities,
    }
}

/// The metadata of one file.
struct Reader<'a> {
    path: &'a Path,
    file: &'a TensorFile,
}

impl Reader<'_> {
    fn text(&self, key: &'static str) -> Result<&str> {
        let value = self.file.metadata().get(key);
        value.map(String::as_str).ok_or_else(|| Error::ModelLacks {
            path: self.path.to_owned(),
            key,
        })
    }

    fn json<T: serde::de::DeserializeOwned>(&self, key: &'static str) -> Result<T> {
        let value = serde_json::from_str(self.text(key)?);
        value.map_err(|why| self.misunderstood(key, why.to_string()))
    }

    fn misunderstood(&self, key: &'static str, why: String) -> Error {
        Error::ModelMetadata {
            path: self.path.to_owned(),
            key,
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_however_large_the_scores() {
        for row in [[1.0, 2.0, 3.0], [1e30, -1e30, 0.0], [5.0, 5.0, 5.0]] {
            let prediction = prediction(&row);
            assert!((prediction.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert_eq!(
                prediction.probability,
                prediction.probabilities[prediction.class]
            );
        }
        assert_eq!(prediction(&[1.0, 2.0, 3.0]).class, 2);
    }
}

//! Loading a model of any format into parameters that exist already, by rules.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use cortical_neuron::Params;

use crate::convert::renamed;
use crate::difference::{self, Difference};
use crate::model::assign;
use crate::{AnyModel, AnyTensor, Error, Pattern, Rename, Result, TensorType, load};

/// How a model's tensors become parameters.
///
/// ```
/// use cortical_io::LoadRules;
/// let rules = LoadRules::new().rename("module.*=*".parse()?).transpose("*.c_fc.weight").loose();
/// # Ok::<(), cortical_io::RenameError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct LoadRules {
    renames: Vec<Rename>,
    transposed: Vec<Pattern>,
    is_loose: bool,
}

impl LoadRules {
    /// Strictly: all parameters and buffers, and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives tensors other names, or leaves them out; the first rule that fits counts.
    #[must_use]
    pub fn rename(mut self, rule: Rename) -> Self {
        self.renames.push(rule);
        self
    }

    /// Swaps the last two dimensions of tensors whose new names fit.
    #[must_use]
    pub fn transpose(mut self, names: &str) -> Self {
        self.transposed.push(names.into());
        self
    }

    /// Loads what fits, and reports what does not.
    #[must_use]
    pub fn loose(mut self) -> Self {
        self.is_loose = true;
        self
    }
}

/// What has been loaded, and what has not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// The parameters and buffers that have got new values, in their order.
    pub loaded: Vec<String>,
    /// Those among them whose elements had another type in the file.
    pub converted: Vec<String>,
    /// What is missing, unexpected or of another shape; empty where loading was strict.
    pub differences: Vec<Difference>,
}

/// Loads a model into parameters and buffers, whatever its format and the types of its elements.
///
/// All that is to be loaded is read before the first parameter changes: an error leaves the model as it was.
///
/// # Errors [`Error::Mismatch`] with every difference, where loading is strict; [`Error::Renamed`] where rules give
/// two tensors one name; those of [`AnyModel::load`].
pub fn load_with(model: &AnyModel, params: &Params, rules: &LoadRules) -> Result<LoadReport> {
    let mut offered: BTreeMap<String, &AnyTensor> = BTreeMap::new();
    for tensor in model.tensors() {
        let Some(name) = renamed(&rules.renames, tensor.name()) else {
            continue;
        };
        if let Some(first) = offered.insert(name.clone(), tensor) {
            return Err(Error::Renamed {
                name,
                first: first.name().into(),
                second: tensor.name().into(),
            });
        }
    }
    let (mut differences, mut chosen) = (Vec::new(), Vec::new());
    for (name, parameter) in params.named_tensors() {
        let Some(tensor) = offered.remove(&name) else {
            differences.push(Difference::Missing {
                name,
                shape: parameter.dims().to_vec(),
                nearest: None,
            });
            continue;
        };
        let is_turned = rules.transposed.iter().any(|pattern| pattern.fits(&name));
        let mut got = tensor.shape().to_vec();
        if is_turned && let [.., rows, cols] = &mut got[..] {
            std::mem::swap(rows, cols);
        }
        if got != parameter.dims() {
            let expected = parameter.dims().to_vec();
            differences.push(Difference::Shape {
                name,
                expected,
                got,
            });
            continue;
        }
        chosen.push((name, tensor, is_turned, parameter.dtype()));
    }
    differences.extend(
        offered
            .into_iter()
            .map(|(name, tensor)| Difference::Unexpected {
                name,
                shape: tensor.shape().to_vec(),
            }),
    );
    difference::find_nearest(&mut differences);
    if !(rules.is_loose || differences.is_empty()) {
        return Err(Error::Mismatch {
            origin: model.path().display().to_string(),
            differences,
        });
    }
    let mut report = LoadReport {
        loaded: Vec::new(),
        converted: Vec::new(),
        differences,
    };
    let mut values = Vec::new();
    for (name, tensor, is_turned, dtype) in chosen {
        let read = read(model, tensor)?;
        if read.dtype() != dtype || matches!(tensor.kind(), TensorType::Quantized(_)) {
            report.converted.push(name.clone());
        }
        let turned = || -> candle_core::Result<Tensor> {
            let turned = match is_turned && read.rank() > 1 {
                true => read.t()?.contiguous()?,
                false => read,
            };
            turned.to_dtype(dtype)?.to_device(params.device())
        };
        let value = turned().map_err(|source| Error::Tensor {
            path: model.path().into(),
            name: tensor.name().into(),
            source: Box::new(source),
        })?;
        report.loaded.push(name.clone());
        values.push((name, value));
    }
    assign(params, &values)?;
    Ok(report)
}

/// A tensor in a type that candle has: its own, or double precision.
fn read(model: &AnyModel, tensor: &AnyTensor) -> Result<Tensor> {
    let cpu = &candle_core::Device::Cpu;
    let is_loadable = match tensor.kind() {
        // Candle does not convert these eight bits everywhere.
        TensorType::Plain(element) => element.dtype().is_some_and(|dtype| dtype != DType::F8E4M3),
        TensorType::Quantized(_) => true,
    };
    if is_loadable {
        return model.load(tensor.name(), cpu);
    }
    let bytes = 8 * tensor.count() as u64;
    let named = |why: load::LoadError| why.named(model.path(), tensor.name(), bytes);
    let mut numbers = load::zeros::<f64>(tensor.count()).map_err(named)?;
    model.read_numbers(tensor.name(), 0, &mut numbers)?;
    let made = Tensor::from_vec(numbers, tensor.shape(), cpu);
    made.map_err(|source| named(load::LoadError::Tensor(source)))
}

//! Model files: the parameters and buffers of a [`Params`], saved and loaded by name.

use std::collections::BTreeSet;
use std::path::Path;

use candle_core::{DType, Tensor};
use cortical_neuron::Params;

use crate::difference::{self, Difference};
use crate::{Checkpoint, Error, Metadata, ModelFiles, Result, TensorInfo, save_tensors};

/// Saves all parameters and buffers as a model file: [`save_with`] without metadata of one's own.
///
/// ```
/// use candle_core::Device;
/// use cortical_neuron::{Init, Params};
/// use cortical_tensor::Seed;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("model.safetensors");
/// let model = |seed| -> cortical_neuron::Result<Params> {
///     let params = Params::new(&Device::Cpu, Seed(seed));
///     params.at("fc").param("weight", &[2, 3], Init::KAIMING_UNIFORM)?;
///     Ok(params)
/// };
/// let (trained, fresh) = (model(1)?, model(2)?);
/// cortical_io::save(&path, &trained)?;
/// cortical_io::load_into(&path, &fresh)?;
/// let weight = |params: &Params| params.get("fc.weight").expect("made above").tensor().to_vec2::<f32>();
/// assert_eq!(weight(&fresh)?, weight(&trained)?);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`save_tensors`].
pub fn save(path: impl AsRef<Path>, params: &Params) -> Result<()> {
    save_with(path, params, &Metadata::new())
}

/// Saves all parameters and buffers as a model file with further metadata, such as what a prediction needs.
///
/// Besides `metadata` the file says `format: pt` (names and layouts are PyTorch's, which Hugging Face's tools ask for)
/// and `cortical.model: 1` (it was written here, and the version of the keys that start with `cortical.`). The same
/// parameters and metadata give the same bytes.
///
/// # Errors
/// Those of [`save_tensors`].
pub fn save_with(path: impl AsRef<Path>, params: &Params, metadata: &Metadata) -> Result<()> {
    save_tensors(path, &params.named_tensors(), &model_metadata(metadata))
}

/// `metadata` with what every model file of ours says about itself, for [`Checkpoint::metadata`].
#[must_use]
pub fn model_metadata(metadata: &Metadata) -> Metadata {
    let mut all = metadata.clone();
    all.insert("format".into(), "pt".into());
    all.insert("cortical.model".into(), "1".into());
    all
}

/// Loads a model, in one file or several, into parameters and buffers that exist already: all of them, and nothing
/// else.
///
/// The file's header is compared with the model first, and its elements are all read before the first parameter
/// changes. So an error leaves the model as it was.
///
/// # Errors
/// [`Error::Mismatch`] with every tensor that is missing, unexpected, or of another shape or type; those of
/// [`ModelFiles`].
pub fn load_into(path: impl AsRef<Path>, params: &Params) -> Result<()> {
    load_rest(path, params, &BTreeSet::new())
}

/// As [`load_into`] but for the weights that layers have taken already, as [`SparseWeights`](crate::SparseWeights)
/// hands them out.
///
/// # Errors
/// Those of [`load_into`].
pub fn load_rest(path: impl AsRef<Path>, params: &Params, taken: &BTreeSet<String>) -> Result<()> {
    let path = path.as_ref();
    let file = ModelFiles::open(path)?;
    let rest = || file.tensors().filter(|info| !taken.contains(info.name()));
    let offered = rest()
        .map(|info| (info.name(), info.shape(), info.element().dtype()))
        .collect();
    compare(&path.display().to_string(), params, offered)?;
    let load = |info: &TensorInfo| {
        let name = info.name();
        Ok((name.to_owned(), file.load(name, params.device())?))
    };
    let tensors: Vec<_> = rest().map(load).collect::<Result<_>>()?;
    assign(params, &tensors)
}

impl Checkpoint {
    /// Puts the checkpoint's weights and buffers into `params`, as strictly as [`load_into`].
    ///
    /// # Errors
    /// [`Error::Mismatch`]; the model is then as it was.
    pub fn restore_model(&self, params: &Params) -> Result<()> {
        let offered = self.model.iter();
        let offered = offered
            .map(|(name, tensor)| (name.as_str(), tensor.dims(), Some(tensor.dtype())))
            .collect();
        compare(
            &format!("the checkpoint of step {}", self.state.step),
            params,
            offered,
        )?;
        assign(params, &self.model)
    }
}

/// Refuses tensors that are not exactly the model's, with all differences: first in the model's order, then what is
/// only in the file.
fn compare(
    origin: &str,
    params: &Params,
    offered: Vec<(&str, &[usize], Option<DType>)>,
) -> Result<()> {
    let mut differences = Vec::new();
    let mut rest: std::collections::BTreeMap<_, _> = offered
        .into_iter()
        .map(|(name, shape, dtype)| (name, (shape, dtype)))
        .collect();
    let wanted = params.named_tensors();
    for (name, tensor) in &wanted {
        let name = name.clone();
        match rest.remove(name.as_str()) {
            None => differences.push(Difference::Missing {
                name,
                shape: tensor.dims().to_vec(),
                nearest: None,
            }),
            Some((got, _)) if got != tensor.dims() => {
                let (expected, got) = (tensor.dims().to_vec(), got.to_vec());
                differences.push(Difference::Shape {
                    name,
                    expected,
                    got,
                });
            }
            Some((_, got)) if got != Some(tensor.dtype()) => {
                differences.push(Difference::DType {
                    name,
                    expected: tensor.dtype(),
                    got,
                });
            }
            Some(_) => {}
        }
    }
    let unexpected = |(name, (shape, _)): (&str, (&[usize], _))| Difference::Unexpected {
        name: name.to_owned(),
        shape: shape.to_vec(),
    };
    differences.extend(rest.into_iter().map(unexpected));
    if differences.is_empty() {
        return Ok(());
    }
    difference::find_nearest(&mut differences);
    Err(Error::Mismatch {
        origin: origin.to_owned(),
        differences,
    })
}

/// Gives every tensor to the parameter or buffer of its name; names, shapes and types are known to fit.
pub(crate) fn assign(params: &Params, tensors: &[(String, Tensor)]) -> Result<()> {
    for (name, tensor) in tensors {
        params.set(name, tensor).map_err(|source| Error::Assign {
            name: name.clone(),
            source: Box::new(source),
        })?;
    }
    Ok(())
}

//! What another implementation has computed.

use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use cortical_io::TensorFile;
use std::path::{Path, PathBuf};

const INPUT: &str = "input";
const LOSS_WEIGHT: &str = "loss_weight";
const OUTPUT: &str = "output";
const OUTPUTS: &str = "output.";
const GRADIENTS: &str = "grad.";

/// A file with the outputs of layers and the gradients of parameters, of which only the names are read yet.
#[derive(Debug)]
pub struct Reference {
    path: PathBuf,
    file: TensorFile,
}

impl Reference {
    /// Opens a file that `docs/dump.py` has written.
    ///
    /// # Errors
    /// A file that is no safetensors file, or has no `input` or neither outputs nor gradients.
    pub fn open(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(Error::NotFound { path: path.into() });
        }
        crate::open::refuse_pickle(path)?;
        let file = TensorFile::open(path)?;
        let reference = Self {
            path: path.into(),
            file,
        };
        let has_outputs = reference.modules().next().is_some() || reference.has(OUTPUT);
        if !reference.has(INPUT) || !(has_outputs || reference.parameters().next().is_some()) {
            let names = reference.file.tensors().iter().map(|tensor| tensor.name());
            let shown: Vec<String> = names
                .take(8)
                .map(|name| cortical_io::printable(name, 40))
                .collect();
            return Err(Error::NoReference {
                path: path.into(),
                holds: match shown.is_empty() {
                    true => "no tensor".to_owned(),
                    false => shown.join(", "),
                },
            });
        }
        Ok(reference)
    }

    fn has(&self, name: &str) -> bool {
        self.file.info(name).is_some()
    }

    fn load(&self, name: &str) -> Result<Option<Tensor>> {
        match self.has(name) {
            true => Ok(Some(self.file.load(name, &Device::Cpu)?)),
            false => Ok(None),
        }
    }

    /// The modules that there are outputs of.
    pub(super) fn modules(&self) -> impl Iterator<Item = &str> {
        let names = self.file.tensors().iter().map(|tensor| tensor.name());
        names.filter_map(|name| name.strip_prefix(OUTPUTS))
    }

    /// The parameters that there are gradients of.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &str> {
        let names = self.file.tensors().iter().map(|tensor| tensor.name());
        names.filter_map(|name| name.strip_prefix(GRADIENTS))
    }

    /// What went in: numbers in single precision, or tokens.
    pub(super) fn input(&self) -> Result<Tensor> {
        let input = self
            .load(INPUT)?
            .ok_or_else(|| self.input_error("no such tensor"))?;
        if input.dtype().is_float() {
            return Ok(input.to_dtype(DType::F32)?);
        }
        let tokens = input
            .to_dtype(DType::I64)?
            .flatten_all()?
            .to_vec1::<i64>()?;
        let tokens: Option<Vec<u32>> = tokens.iter().map(|id| u32::try_from(*id).ok()).collect();
        let tokens = tokens.ok_or_else(|| self.input_error("a negative token"))?;
        Ok(Tensor::from_vec(tokens, input.shape(), &Device::Cpu)?)
    }

    pub(super) fn input_error(&self, got: &str) -> Error {
        Error::ReferenceInput {
            path: self.path.clone(),
            got: got.to_owned(),
        }
    }

    /// What came out of the model.
    pub(super) fn output(&self) -> Result<Option<Tensor>> {
        self.load(OUTPUT)
    }

    /// What the loss multiplies the output by.
    pub(super) fn loss_weight(&self) -> Result<Option<Tensor>> {
        self.load(LOSS_WEIGHT)
    }

    /// What came out of a module.
    pub(super) fn output_of(&self, module: &str) -> Result<Option<Tensor>> {
        self.load(&format!("{OUTPUTS}{module}"))
    }

    /// The gradient of a parameter.
    pub(super) fn gradient(&self, parameter: &str) -> Result<Option<Tensor>> {
        self.load(&format!("{GRADIENTS}{parameter}"))
    }
}

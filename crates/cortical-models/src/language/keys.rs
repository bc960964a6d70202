//! What a GGUF file says about its model.

use crate::error::{Error, Result};
use candle_core::Device;
use cortical_io::{GgufFile, GgufValue, printable};

/// The values of a file under the prefix of its architecture.
#[derive(Debug)]
pub(crate) struct Keys<'a> {
    file: &'a GgufFile,
    prefix: &'a str,
}

impl<'a> Keys<'a> {
    /// Those of a file, and the name of its architecture.
    pub(crate) fn new(file: &'a GgufFile) -> (Self, &'a str) {
        let name = file.value(ARCHITECTURE).and_then(GgufValue::as_text);
        let prefix = name.unwrap_or_default();
        (Self { file, prefix }, prefix)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&GgufValue> {
        self.file.value(&format!("{}.{key}", self.prefix))
    }

    pub(crate) fn wrong(&self, key: &str, expected: &str, got: Option<&GgufValue>) -> Error {
        Error::GgufKey {
            key: format!("{}.{key}", self.prefix),
            expected: expected.to_owned(),
            got: got.map_or("missing".to_owned(), ToString::to_string),
        }
    }

    /// The architecture is none of those that are read from GGUF files.
    pub(crate) fn unsupported(&self, supported: &str) -> Error {
        Error::GgufKey {
            key: ARCHITECTURE.to_owned(),
            expected: supported.to_owned(),
            got: printable(&format!("{:?}", self.prefix), 80),
        }
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(GgufValue::as_text)
    }

    /// The value of a key as `read` understands it.
    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&GgufValue) -> Option<T>,
    ) -> Result<Option<T>> {
        self.get(key)
            .map(|value| read(value).ok_or_else(|| self.wrong(key, expected, Some(value))))
            .transpose()
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<usize>> {
        self.read(key, "a whole number of at least 1", |value| {
            let size = value.as_u64().filter(|n| (1..=1 << 40).contains(n))?;
            usize::try_from(size).ok()
        })
    }

    pub(crate) fn need(&self, key: &str) -> Result<usize> {
        self.size(key)?
            .ok_or_else(|| self.wrong(key, "a whole number of at least 1", None))
    }

    pub(crate) fn positive(&self, key: &str) -> Result<Option<f64>> {
        self.read(key, "a number above 0", |value| {
            value.as_f64().filter(|x| x.is_finite() && *x > 0.0)
        })
    }

    /// A finite number above 0, where 0 stands for one that is not there.
    pub(crate) fn positive_or_zero(&self, key: &str) -> Result<Option<f64>> {
        match self.get(key) {
            Some(value) if value.as_f64() == Some(0.0) => Ok(None),
            _ => self.positive(key),
        }
    }

    /// Refuses a value other than the one that changes nothing.
    pub(crate) fn only(&self, key: &str, neutral: f64) -> Result<()> {
        match self.get(key) {
            Some(value) if value.as_f64() != Some(neutral) => Err(self.wrong(
                key,
                &format!("{neutral}, for others are not supported"),
                Some(value),
            )),
            _ => Ok(()),
        }
    }

    /// Whether the file has a tensor of this name.
    pub(crate) fn has_tensor(&self, name: &str) -> bool {
        self.file.info(name).is_some()
    }

    /// Rows of a tensor, if the file has it.
    pub(crate) fn rows(&self, name: &str) -> Option<usize> {
        self.file.info(name)?.shape().first().copied()
    }

    /// Rows of the table of tokens.
    pub(crate) fn vocabulary(&self) -> Result<usize> {
        self.rows("token_embd.weight")
            .ok_or_else(|| self.differs("token_embd.weight is missing".to_owned()))
    }

    /// What each of `pairs` frequencies is divided by, where the file has such a tensor.
    pub(crate) fn factors(&self, name: &str, pairs: usize) -> Result<Option<Vec<f64>>> {
        let Some(info) = self.file.info(name) else {
            return Ok(None);
        };
        if info.shape() != [pairs] {
            let shape = info.shape();
            return Err(self.differs(format!("{name} has shape {shape:?}, not [{pairs}]")));
        }
        let factors = self.file.load(name, &Device::Cpu)?.to_vec1::<f32>()?;
        Ok(Some(factors.into_iter().map(f64::from).collect()))
    }

    fn differs(&self, difference: String) -> Error {
        Error::Tensors {
            origin: self.file.path().display().to_string(),
            differences: vec![difference],
            hint: None,
        }
    }
}

/// Where a file says what its architecture is.
const ARCHITECTURE: &str = "general.architecture";

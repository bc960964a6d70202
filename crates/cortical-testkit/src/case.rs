//! Reference cases: what PyTorch computed, one safetensors file each, read without any of our own crates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// One reference case: a layer, function, loss, optimizer, schedule, clipping or training run with its numbers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Case {
    /// Where the case was read.
    pub path: PathBuf,
    /// `layer`, `function`, `loss`, `optimizer`, `schedule`, `clip` or `run`.
    pub kind: String,
    /// PyTorch's name, such as `Conv2d`.
    pub name: String,
    /// Arguments of PyTorch's constructor or call.
    pub config: Value,
    /// Relative tolerance of `|got - want| <= atol + rtol * |want|`.
    pub rtol: f64,
    /// Absolute tolerance of the same.
    pub atol: f64,
    /// All tensors by name, ordered by name.
    pub tensors: BTreeMap<String, CaseTensor>,
}

/// A tensor of a [`Case`]: dimensions, and elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseTensor {
    /// Dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements, as many as the product of `shape`.
    pub data: Values,
}

/// Elements of a [`CaseTensor`] in the type they were stored in.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Values {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// 64-bit signed integers (class labels, indices).
    I64(Vec<i64>),
    /// 32-bit unsigned integers.
    U32(Vec<u32>),
    /// Bytes, and booleans as 0 and 1.
    U8(Vec<u8>),
}

/// Why a file is not a reference case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// The file or folder cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The bytes are not a safetensors file of the kind that holds a case.
    #[error("{path}: {what} is missing or wrong; regenerate the case", path = path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is missing or wrong.
        what: String,
    },
}

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    /// [`CaseError`] if the file cannot be read or is not a case.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, CaseError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| CaseError::Read {
            path: path.into(),
            source,
        })?;
        parse(path, &bytes).map_err(|what| CaseError::Malformed {
            path: path.into(),
            what,
        })
    }

    /// The tensor called `name`.
    ///
    /// # Panics
    /// If there is none, naming those there are: a test that asks for it cannot go on.
    #[track_caller]
    pub fn tensor(&self, name: &str) -> &CaseTensor {
        match self.tensors.get(name) {
            Some(tensor) => tensor,
            None => {
                let names: Vec<_> = self.tensors.keys().collect();
                panic!(
                    "{}: no tensor {name:?}, there are {names:?}",
                    self.path.display()
                )
            }
        }
    }

    /// All tensors whose name starts with `prefix`, with the rest of the name: `param.` gives `weight`, `bias`.
    pub fn with_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a CaseTensor)> {
        self.tensors
            .iter()
            .filter_map(move |(name, tensor)| Some((name.strip_prefix(prefix)?, tensor)))
    }

    /// [`assert_close`](crate::assert_close) of `got` with the tensor called `name`, by this case's tolerances.
    ///
    /// # Panics
    /// If they are not close or there is no such tensor.
    #[track_caller]
    pub fn assert_close(&self, name: &str, got: &[f64]) {
        let what = format!("{}: {name}", self.path.display());
        crate::assert_close(
            &what,
            got,
            &self.tensor(name).to_f64(),
            self.rtol,
            self.atol,
        );
    }
}

impl CaseTensor {
    /// Elements as `f64`; exact for every stored type but integers above 2^53.
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            Values::F32(v) => v.iter().map(|&x| x.into()).collect(),
            Values::F64(v) => v.clone(),
            Values::I64(v) => v.iter().map(|&x| x as f64).collect(),
            Values::U32(v) => v.iter().map(|&x| x.into()).collect(),
            Values::U8(v) => v.iter().map(|&x| x.into()).collect(),
        }
    }

    /// Elements as `f32`, rounded where the stored type is wider.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.data {
            Values::F32(v) => v.clone(),
            _ => self.to_f64().into_iter().map(|x| x as f32).collect(),
        }
    }

    /// Elements as `u32` where every one of them is such a number (class labels), else `None`.
    pub fn to_u32(&self) -> Option<Vec<u32>> {
        match &self.data {
            Values::U32(v) => Some(v.clone()),
            Values::U8(v) => Some(v.iter().map(|&x| x.into()).collect()),
            Values::I64(v) => v.iter().map(|&x| x.try_into().ok()).collect(),
            Values::F32(_) | Values::F64(_) => None,
        }
    }

    /// Whether the elements are floats, which have gradients, and not indices.
    pub fn is_float(&self) -> bool {
        matches!(self.data, Values::F32(_) | Values::F64(_))
    }
}

/// Paths of all `.safetensors` files directly in `dir`, sorted by name so that reports compare.
///
/// # Errors
/// [`CaseError::Read`] if the folder cannot be listed.
pub fn cases(dir: impl AsRef<Path>) -> Result<Vec<PathBuf>, CaseError> {
    let dir = dir.as_ref();
    let read = |source| CaseError::Read {
        path: dir.into(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "safetensors")
        {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// A case from a whole file. The error says what is wrong.
fn parse(path: &Path, bytes: &[u8]) -> Result<Case, String> {
    let (metadata, tensors) = split(bytes)?;
    let text = |key: &str| {
        metadata[key]
            .as_str()
            .ok_or_else(|| format!("metadata {key:?}"))
    };
    let number = |key: &str| {
        let number = text(key)?
            .parse::<f64>()
            .map_err(|error| format!("metadata {key:?} ({error})"))?;
        // An infinite tolerance would let everything pass.
        let holds = number.is_finite() && number >= 0.0;
        holds
            .then_some(number)
            .ok_or_else(|| format!("metadata {key:?} ({number})"))
    };
    Ok(Case {
        path: path.into(),
        kind: text("kind")?.to_owned(),
        name: text("name")?.to_owned(),
        config: serde_json::from_str(text("config")?)
            .map_err(|error| format!("metadata \"config\" ({error})"))?,
        rtol: number("rtol")?,
        atol: number("atol")?,
        tensors,
    })
}

/// Metadata and tensors of a whole file: 8 bytes with the header's length, the header in JSON, the elements.
pub(crate) fn split(bytes: &[u8]) -> Result<(Value, BTreeMap<String, CaseTensor>), String> {
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .ok_or("the header's length")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| "the header's length")?;
    let (header, data) = rest.split_at_checked(length).ok_or("the header")?;
    let mut header: Map<String, Value> =
        serde_json::from_slice(header).map_err(|error| format!("the header ({error})"))?;
    let metadata = header.remove("__metadata__").ok_or("the metadata")?;
    let mut tensors = BTreeMap::new();
    for (name, info) in &header {
        let tensor = parse_tensor(info, data).ok_or_else(|| format!("tensor {name:?}"))?;
        tensors.insert(name.clone(), tensor);
    }
    Ok((metadata, tensors))
}

/// One entry of the header with its elements, if the shape, the type and the span fit together.
fn parse_tensor(info: &Value, data: &[u8]) -> Option<CaseTensor> {
    let size = |value: &Value| usize::try_from(value.as_u64()?).ok();
    let shape = info["shape"]
        .as_array()?
        .iter()
        .map(size)
        .collect::<Option<Vec<_>>>()?;
    let [start, end] = info["data_offsets"].as_array()?.as_slice() else {
        return None;
    };
    let bytes = data.get(size(start)?..size(end)?)?;
    let data = match info["dtype"].as_str()? {
        "F32" => Values::F32(numbers(bytes, f32::from_le_bytes)?),
        "F64" => Values::F64(numbers(bytes, f64::from_le_bytes)?),
        "I64" => Values::I64(numbers(bytes, i64::from_le_bytes)?),
        "U32" => Values::U32(numbers(bytes, u32::from_le_bytes)?),
        "U8" | "BOOL" => Values::U8(bytes.to_vec()),
        _ => return None,
    };
    let elements = shape
        .iter()
        .try_fold(1_usize, |product, &dim| product.checked_mul(dim))?;
    let stored = match &data {
        Values::F32(v) => v.len(),
        Values::F64(v) => v.len(),
        Values::I64(v) => v.len(),
        Values::U32(v) => v.len(),
        Values::U8(v) => v.len(),
    };
    (elements == stored).then_some(CaseTensor { shape, data })
}

/// Little-endian numbers of `N` bytes each; `None` if a number is cut short.
fn numbers<const N: usize, T>(bytes: &[u8], number: fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (chunks, rest) = bytes.as_chunks::<N>();
    rest.is_empty()
        .then(|| chunks.iter().map(|&chunk| number(chunk)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with this header and these elements.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [
            &(header.len() as u64).to_le_bytes(),
            header.as_bytes(),
            data,
        ]
        .concat()
    }

    const METADATA: &str = r#""__metadata__":{"kind":"layer","name":"Linear","rtol":"1e-4","atol":"1e-05","config":"{\"in_features\": 2, \"bias\": true}"}"#;

    #[test]
    fn a_case_is_read_with_its_tolerances_configuration_and_tensors() {
        let header = format!(
            r#"{{{METADATA},"param.weight":{{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}},"input.1":{{"dtype":"I64","shape":[],"data_offsets":[8,16]}},"param.none":{{"dtype":"F64","shape":[0,3],"data_offsets":[16,16]}}}}"#
        );
        let data = [
            &1.5_f32.to_le_bytes()[..],
            &(-2.0_f32).to_le_bytes(),
            &7_i64.to_le_bytes(),
        ]
        .concat();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b.safetensors"), file(&header, &data)).unwrap();
        std::fs::write(folder.path().join("a.safetensors"), "").unwrap();
        std::fs::write(folder.path().join("README.md"), "").unwrap();
        let paths = cases(folder.path()).unwrap();
        assert_eq!(
            paths,
            [
                folder.path().join("a.safetensors"),
                folder.path().join("b.safetensors")
            ]
        );

        let case = Case::read(&paths[1]).unwrap();
        assert_eq!(
            (case.kind.as_str(), case.name.as_str()),
            ("layer", "Linear")
        );
        assert_eq!((case.rtol, case.atol), (1e-4, 1e-5));
        assert_eq!(
            case.config,
            serde_json::json!({"in_features": 2, "bias": true})
        );
        let weight = case.tensor("param.weight");
        assert_eq!(
            (&weight.shape[..], weight.to_f32()),
            (&[1, 2][..], vec![1.5, -2.0])
        );
        assert_eq!((weight.is_float(), weight.to_u32()), (true, None));
        let label = case.tensor("input.1");
        assert_eq!(
            (label.shape.len(), label.to_u32(), label.is_float()),
            (0, Some(vec![7]), false)
        );
        let params: Vec<_> = case
            .with_prefix("param.")
            .map(|(name, tensor)| (name, tensor.to_f64().len()))
            .collect();
        assert_eq!(params, [("none", 0), ("weight", 2)]);
        case.assert_close("param.weight", &[1.5001, -2.0]);
    }

    #[test]
    fn malformed_files_are_errors_that_say_what_is_wrong() {
        let tensor = |info: &str| file(&format!(r#"{{{METADATA},"x":{info}}}"#), &[0; 8]);
        let check = |bytes: &[u8], want: &str| {
            let got = parse(Path::new("x"), bytes).unwrap_err();
            assert!(got.contains(want), "{got:?} does not contain {want:?}");
        };
        check(b"\0\0\0", "the header's length");
        check(&u64::MAX.to_le_bytes(), "the header");
        check(&file("{", b""), "the header (EOF");
        check(&file("{}", b""), "the metadata");
        check(
            &file(r#"{"__metadata__":{"kind":"layer"}}"#, b""),
            "metadata \"name\"",
        );
        check(
            &file(&format!("{{{METADATA}}}").replace("1e-4", "small"), b""),
            "metadata \"rtol\"",
        );
        for info in [
            r#"{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#,
            r#"{"dtype":"F32","shape":[2],"data_offsets":[0,7]}"#,
            r#"{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#,
            r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#,
            r#"{"dtype":"F32","shape":[18446744073709551615,18446744073709551615],"data_offsets":[0,8]}"#,
            r#"{"dtype":"C64","shape":[1],"data_offsets":[0,8]}"#,
            r#"{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}"#,
            "7",
        ] {
            check(&tensor(info), "tensor \"x\"");
        }
    }

    #[test]
    #[should_panic(expected = "no tensor \"output\", there are []")]
    fn asking_for_a_missing_tensor_names_those_there_are() {
        parse(Path::new("x"), &file(&format!("{{{METADATA}}}"), b""))
            .unwrap()
            .tensor("output");
    }
}

//! The header of a safetensors file: strict reading, canonical writing. Bytes in, bytes out; no files here.
//!
//! A file is 8 bytes with the header's length `n` (little-endian), `n` bytes of JSON, then the tensors' elements:
//!
//! ```text
//! {"__metadata__":{"key":"value"},"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}, …}
//! ```
//!
//! Reading works in one pass through the JSON by visitors that know what may come next, so that nesting, repeated
//! keys and long lists are refused where they start and nothing is built from them.

use std::collections::{BTreeMap, HashMap};
use std::{fmt, io};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

// circle: the entry of a tensor says where the parts of a sparse weight lie
use crate::bitmask::{self, Bitmask};
use crate::{Defect, Element, limits};

/// Key of the header that is not a tensor.
const METADATA: &str = "__metadata__";

/// A tensor in a file: what its header says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    pub(crate) name: String,
    pub(crate) element: Element,
    pub(crate) shape: Vec<usize>,
    /// From the first byte behind the header.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Where the parts of a sparse weight lie.
    pub(crate) bitmask: Option<Box<Bitmask>>,
}

impl TensorInfo {
    /// The tensor's name, such as `conv1.weight`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type of its elements.
    #[must_use]
    pub fn element(&self) -> Element {
        self.element
    }

    /// Its dimensions, outermost first; empty for a scalar.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of its elements.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Size of its elements in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.bitmask {
            Some(parts) => parts.bytes,
            None => self.end - self.start,
        }
    }

    /// Whether only the connections that are left are stored, as a mask and their weights; it loads as the dense
    /// weight.
    #[must_use]
    pub fn is_sparse(&self) -> bool {
        self.bitmask.is_some()
    }
}

/// The checked content of a header. Tensors stand in the order of their bytes in the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) tensors: Vec<TensorInfo>,
    /// Index into `tensors` by name.
    pub(crate) index: HashMap<String, usize>,
}

impl Header {
    /// Reads a header whose file has `data_bytes` bytes behind it.
    pub(crate) fn parse(json: &[u8], data_bytes: u64) -> Result<Self, Defect> {
        let mut found = Found::default();
        let mut parser = serde_json::Deserializer::from_slice(json);
        let read = HeaderSeed(&mut found).deserialize(&mut parser);
        if let Err(error) = read.and_then(|()| parser.end()) {
            // A visitor that refuses something says why in `defect`; the parser's own error is only its echo.
            return Err(found.defect.take().unwrap_or(Defect::Json(error)));
        }
        found
            .tensors
            .sort_by_key(|tensor| (tensor.start, tensor.end));
        check_spans(&found.tensors, data_bytes)?;
        let names = found.tensors.iter().map(|tensor| tensor.name.clone());
        Ok(Self {
            index: names.zip(0..).collect(),
            metadata: found.metadata,
            tensors: found.tensors,
        })
    }

    /// Shows the tensors that stand for a sparse weight as one.
    pub(crate) fn fold(&mut self, read: bitmask::Read<'_>) -> io::Result<Result<(), Defect>> {
        if !self
            .tensors
            .iter()
            .any(|tensor| tensor.name.ends_with(".bitmask"))
        {
            return Ok(Ok(()));
        }
        match bitmask::fold(std::mem::take(&mut self.tensors), read)? {
            Err(defect) => return Ok(Err(defect)),
            Ok(tensors) => self.tensors = tensors,
        }
        let names = self.tensors.iter().map(|tensor| tensor.name.clone());
        self.index = names.zip(0..).collect();
        Ok(Ok(()))
    }

    /// The header's bytes, length included, padded with spaces so that the elements start at a multiple of 8.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let quote = |text: &str| serde_json::Value::from(text).to_string();
        let mut fields = Vec::with_capacity(self.tensors.len() + 1);
        if !self.metadata.is_empty() {
            let pairs = self
                .metadata
                .iter()
                .map(|(k, v)| format!("{}:{}", quote(k), quote(v)));
            fields.push(format!(
                "{}:{{{}}}",
                quote(METADATA),
                pairs.collect::<Vec<_>>().join(",")
            ));
        }
        for TensorInfo {
            name,
            element,
            shape,
            start,
            end,
            ..
        } in &self.tensors
        {
            let shape = shape
                .iter()
                .map(usize::to_string)
                .collect::<Vec<_>>()
                .join(",");
            fields.push(format!(
                r#"{}:{{"dtype":"{element}","shape":[{shape}],"data_offsets":[{start},{end}]}}"#,
                quote(name)
            ));
        }
        let mut json = format!("{{{}}}", fields.join(","));
        while !json.len().is_multiple_of(8) {
            json.push(' ');
        }
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.into_bytes());
        bytes
    }
}

/// Refuses tensors that overlap, leave holes or do not end where the file ends.
fn check_spans(tensors: &[TensorInfo], data_bytes: u64) -> Result<(), Defect> {
    let mut expected = 0;
    for tensor in tensors {
        if tensor.start != expected {
            return Err(Defect::Gap {
                name: tensor.name.clone(),
                expected,
                got: tensor.start,
            });
        }
        expected = tensor.end;
    }
    if expected != data_bytes {
        return Err(Defect::Size {
            expected,
            got: data_bytes,
        });
    }
    Ok(())
}

/// Refuses what could not be a parameter's name, or could do harm where names become paths.
pub(crate) fn check_name(name: &str) -> Result<(), Defect> {
    let bad = name.is_empty()
        || name.len() > limits::NAME_BYTES
        || name == METADATA
        || name.contains(|c: char| c.is_control() || c == '\\')
        || name.starts_with('/')
        || name.split('/').any(|part| part == "..");
    if bad {
        let name = name.chars().take(80).collect();
        return Err(Defect::Name { name });
    }
    Ok(())
}

/// Number of elements of a shape, counting a dimension of 0 as 1: strides of empty tensors must be countable too.
fn count_with_strides(shape: &[u64]) -> Option<u64> {
    let limit = |count: &u64| isize::try_from(*count).is_ok();
    shape.iter().try_fold(1_u64, |count, &dim| {
        count.checked_mul(dim.max(1)).filter(limit)
    })
}

/// Checks one tensor's shape, type and span against each other.
pub(crate) fn check_tensor(
    name: String,
    element: Element,
    shape: Vec<u64>,
    start: u64,
    end: Option<u64>,
) -> Result<TensorInfo, Defect> {
    let bytes = if shape.len() > limits::RANK {
        return Err(Defect::Rank { name });
    } else if shape.contains(&0) {
        count_with_strides(&shape).map(|_| 0)
    } else {
        count_with_strides(&shape).and_then(|count| count.checked_mul(element.size() as u64))
    };
    // A given end is judged below; one to be computed must be countable too.
    let spans = bytes.and_then(|bytes| Some((bytes, end.or(start.checked_add(bytes))?)));
    let Some((expected, end)) = spans else {
        return Err(Defect::TooManyElements { name, shape });
    };
    // Each dimension is at most the countable product, so it fits.
    let shape = shape.into_iter().map(|dim| dim as usize).collect();
    if end.checked_sub(start) != Some(expected) {
        return Err(Defect::Span {
            name,
            shape,
            element,
            expected,
            start,
            end,
        });
    }
    Ok(TensorInfo {
        name,
        element,
        shape,
        start,
        end,
        bitmask: None,
    })
}

/// What the visitors have found so far.
#[derive(Default)]
struct Found {
    metadata: BTreeMap<String, String>,
    seen_metadata: bool,
    names: std::collections::HashSet<String>,
    tensors: Vec<TensorInfo>,
    defect: Option<Defect>,
}

impl Found {
    /// Keeps the typed reason and gives the parser an error to stop with.
    fn refuse<E: serde::de::Error>(&mut self, defect: Defect) -> E {
        let error = E::custom(&defect);
        self.defect = Some(defect);
        error
    }
}

/// The whole header: an object of tensors and at most one `__metadata__`.
struct HeaderSeed<'a>(&'a mut Found);

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a field for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let found = self.0;
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                if std::mem::replace(&mut found.seen_metadata, true) {
                    return Err(found.refuse(Defect::Duplicate { name }));
                }
                map.next_value_seed(MetadataSeed(found))?;
                continue;
            }
            check_name(&name).map_err(|defect| found.refuse(defect))?;
            if found.tensors.len() == limits::TENSORS {
                return Err(found.refuse(Defect::TooManyTensors));
            }
            if !found.names.insert(name.clone()) {
                return Err(found.refuse(Defect::Duplicate { name }));
            }
            let tensor = map.next_value_seed(TensorSeed { name, found })?;
            found.tensors.push(tensor);
        }
        Ok(())
    }
}

/// The metadata: an object of strings.
struct MetadataSeed<'a>(&'a mut Found);

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata, an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            if self.0.metadata.insert(name.clone(), value).is_some() {
                return Err(self.0.refuse(Defect::Duplicate { name }));
            }
        }
        Ok(())
    }
}

/// One tensor: an object of `dtype`, `shape` and `data_offsets`, in any order.
struct TensorSeed<'a> {
    name: String,
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for TensorSeed<'_> {
    type Value = TensorInfo;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<TensorInfo, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TensorSeed<'_> {
    type Value = TensorInfo;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object that describes tensor {:?}", self.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TensorInfo, A::Error> {
        let Self { name, found } = self;
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        while let Some(field) = map.next_key::<String>()? {
            let repeated = match field.as_str() {
                "dtype" => dtype.replace(map.next_value::<String>()?).is_some(),
                "shape" => {
                    let seed = ShapeSeed { name: &name, found };
                    shape.replace(map.next_value_seed(seed)?).is_some()
                }
                "data_offsets" => offsets.replace(map.next_value::<[u64; 2]>()?).is_some(),
                _ => return Err(found.refuse(Defect::UnknownField { name, field })),
            };
            if repeated {
                return Err(found.refuse(Defect::Duplicate { name: field }));
            }
        }
        let missing = |field| Defect::MissingField {
            name: name.clone(),
            field,
        };
        let checked = (|| {
            let dtype = dtype.ok_or_else(|| missing("dtype"))?;
            let shape = shape.ok_or_else(|| missing("shape"))?;
            let [start, end] = offsets.ok_or_else(|| missing("data_offsets"))?;
            let element = Element::from_name(&dtype).ok_or_else(|| {
                let got = dtype.chars().take(40).collect();
                Defect::UnknownElement {
                    name: name.clone(),
                    got,
                }
            })?;
            check_tensor(name.clone(), element, shape, start, Some(end))
        })();
        checked.map_err(|defect| found.refuse(defect))
    }
}

/// The dimensions of a tensor: a list of at most [`limits::RANK`] numbers.
struct ShapeSeed<'a> {
    name: &'a str,
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for ShapeSeed<'_> {
    type Value = Vec<u64>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ShapeSeed<'_> {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the dimensions of tensor {:?}", self.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u64>, A::Error> {
        let mut shape = Vec::with_capacity(limits::RANK);
        while let Some(dim) = seq.next_element::<u64>()? {
            if shape.len() == limits::RANK {
                return Err(self.found.refuse(Defect::Rank {
                    name: self.name.to_owned(),
                }));
            }
            shape.push(dim);
        }
        Ok(shape)
    }
}

//! The three forms that `torch.save` has had: a tar archive at first, pickles one behind the other until 1.5, a zip
//! archive since.

use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};

use super::PytorchDefect as Defect;
use super::tensors::{self, Spec, StorageId, Storages, Tensors};
use crate::archive::{Method, Tar, Zip};
use crate::pickle::{
    self, Budget, Failure as PickleFailure, Global, Node, Pickle, Reader, Stored, Value,
};
use crate::source::read_exact_at;
use crate::{ArchiveDefect, limits};

/// The number that older files begin with, and the version behind it.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const VERSION: i64 = 1001;

/// Why a file is not read.
pub(super) enum Failure {
    Io(io::Error),
    Defect(Defect),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<D: Into<Defect>> From<D> for Failure {
    fn from(defect: D) -> Self {
        Self::Defect(defect.into())
    }
}

impl From<PickleFailure> for Failure {
    fn from(failure: PickleFailure) -> Self {
        match failure {
            PickleFailure::Io(error) => Self::Io(error),
            PickleFailure::Defect(defect) => Self::Defect(defect.into()),
        }
    }
}

/// Whether a file begins as one of PyTorch's may.
pub(super) fn may_be(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || is_legacy(start) || Tar::is_tar(start)
}

/// A pickle of protocol 2 or later whose only content is the magic number.
fn is_legacy(start: &[u8]) -> bool {
    // Later protocols put a frame around it.
    let framed = |bytes: &[u8]| matches!(bytes, [0x80, 2..=5, ..]);
    framed(start)
        && start
            .windows(MAGIC.len())
            .take(32)
            .any(|part| part == MAGIC)
}

/// The tensors of a file.
pub(super) fn read(file: &File, bytes: u64) -> Result<Tensors, Failure> {
    let mut start = [0; 512];
    let count = start
        .len()
        .min(usize::try_from(bytes).unwrap_or(usize::MAX));
    read_exact_at(file, 0, &mut start[..count])?;
    let start = &start[..count];
    let mut budget = Budget::of_file(bytes);
    let (specs, storages) = if start.starts_with(b"PK\x03\x04") {
        zip(file, bytes, &mut budget)?
    } else if is_legacy(start) {
        legacy(file, bytes, &mut budget)?
    } else if Tar::is_tar(start) {
        tar(file, bytes, &mut budget)?
    } else {
        return Err(Defect::Form.into());
    };
    Ok(tensors::place(specs, &storages, bytes)?)
}

type Parts = (Vec<(String, Spec)>, Storages);

/// Bytes `start..start + bytes` of a file, one after the other.
fn reader(file: &File, start: u64, bytes: u64) -> io::Result<Reader<BufReader<&File>>> {
    let mut file = file;
    file.seek(SeekFrom::Start(start))?;
    Ok(Reader::new(BufReader::with_capacity(1 << 16, file), bytes))
}

fn zip(file: &File, bytes: u64, budget: &mut Budget) -> Result<Parts, Failure> {
    let read_at = |at: u64, out: &mut [u8]| read_exact_at(file, at, out);
    let zip = Zip::read(bytes, &read_at)??;
    let mut heads = zip
        .entries
        .iter()
        .filter_map(|e| e.name.strip_suffix("data.pkl"));
    let missing = || ArchiveDefect::Missing {
        name: "data.pkl".to_owned(),
    };
    let prefix = heads.next().ok_or_else(missing)?;
    if heads.next().is_some() {
        return Err(Defect::Frame {
            what: "an archive with two data.pkl",
        }
        .into());
    }
    let is_program = |e: &crate::archive::ZipEntry| e.name.starts_with(&format!("{prefix}code/"));
    if zip.entries.iter().any(is_program) {
        return Err(Defect::TorchScript.into());
    }
    let find = |name: &str| zip.find(&format!("{prefix}{name}"));
    if let Some(order) = find("byteorder") {
        let mut text = vec![0; order.size.min(16) as usize];
        read_at(order.start, &mut text)?;
        if text != b"little" {
            let got = String::from_utf8_lossy(&text);
            let got = crate::printable(&got, 16);
            return Err(Defect::ByteOrder { got }.into());
        }
    }
    let head = find("data.pkl").ok_or_else(missing)?;
    let folder = format!("{prefix}data/");
    let mut storages = Storages::new();
    for entry in &zip.entries {
        let key = entry.name.strip_prefix(&folder);
        if entry.method == Method::Deflated && (key.is_some() || entry.start == head.start) {
            let (name, kind) = (entry.name.clone(), "packed");
            return Err(ArchiveDefect::Kind { name, kind }.into());
        }
        if let Some(key) = key {
            storages.insert(key.to_owned(), [entry.start, entry.size]);
        }
    }
    let mut reader = reader(file, head.start, head.size)?;
    let pickle = pickle::read(&mut reader, budget)?;
    let specs = tensors::walk(&pickle, budget, &|value, name| {
        tensors::rebuilt(&pickle, value, name)
    })?;
    Ok((specs, storages))
}

fn legacy(file: &File, bytes: u64, budget: &mut Budget) -> Result<Parts, Failure> {
    let wrong = |what| Failure::from(Defect::Frame { what });
    let mut reader = reader(file, 0, bytes)?;
    let magic = pickle::read(&mut reader, budget)?;
    if !matches!(magic.node(magic.root()), Some(Node::Long(number)) if **number == MAGIC) {
        return Err(wrong("the number that it begins with"));
    }
    let version = pickle::read(&mut reader, budget)?;
    if version.root() != Value::Int(VERSION) {
        return Err(wrong("the number of its version"));
    }
    let system = pickle::read(&mut reader, budget)?;
    let Some(Node::Dict(pairs)) = system.node(system.root()) else {
        return Err(wrong("what it says of the system that wrote it"));
    };
    let little = |[key, value]: &[Value; 2]| {
        system.text(*key) == Some("little_endian") && *value == Value::Bool(false)
    };
    if pairs.iter().any(little) {
        let got = "big-endian".to_owned();
        return Err(Defect::ByteOrder { got }.into());
    }
    let pickle = pickle::read(&mut reader, budget)?;
    let keys = pickle::read(&mut reader, budget)?;
    let types = storage_types(&pickle);
    let mut storages = Storages::new();
    for key in keys.items(keys.root()).unwrap_or_default() {
        let key = match key {
            Value::Int(number) => number.to_string(),
            key => keys
                .text(*key)
                .ok_or_else(|| wrong("its list of storages"))?
                .to_owned(),
        };
        // A storage that no tensor has is skipped all the same, so its type must be known.
        let id = types.iter().find(|id| id.key == key);
        let size = match id.map(|id| id.stored) {
            Some(Stored::Element(element)) => element.size() as u64,
            Some(Stored::Untyped) => 1,
            Some(Stored::Not(name)) => {
                complex_bytes(name).ok_or_else(|| wrong("its list of storages"))?
            }
            None => return Err(wrong("its list of storages")),
        };
        let count = reader.array().map(u64::from_le_bytes)?;
        let length = count
            .checked_mul(size)
            .ok_or_else(|| wrong("the size of a storage"))?;
        let start = reader.at();
        reader.seek_over(length)?;
        if storages.insert(key, [start, length]).is_some() || storages.len() > limits::TENSORS {
            return Err(wrong("its list of storages"));
        }
    }
    let specs = tensors::walk(&pickle, budget, &|value, name| {
        tensors::rebuilt(&pickle, value, name)
    })?;
    Ok((specs, storages))
}

/// Bytes of a number of a type that is refused where a tensor has it.
fn complex_bytes(name: &str) -> Option<u64> {
    Some(match name {
        "qint8" | "quint8" | "quint4x2" => 1,
        "qint32" => 4,
        "complex64" => 8,
        "complex128" => 16,
        _ => return None,
    })
}

/// Every storage that a pickle names, once.
fn storage_types(pickle: &Pickle) -> Vec<StorageId> {
    let mut all: Vec<StorageId> = Vec::new();
    for value in pickle.persistent() {
        if let Some(id) = tensors::storage_id(pickle, value) {
            all.push(id);
        }
    }
    all.sort_by(|a, b| a.key.cmp(&b.key));
    all.dedup_by(|a, b| a.key == b.key);
    all
}

fn tar(file: &File, bytes: u64, budget: &mut Budget) -> Result<Parts, Failure> {
    let read_at = |at: u64, out: &mut [u8]| read_exact_at(file, at, out);
    let tar = Tar::read(bytes, &read_at)??;
    let wrong = |what| Failure::from(Defect::Frame { what });
    let (start, size) = tar.find("storages")?;
    let mut storages = Storages::new();
    let mut types = std::collections::BTreeMap::new();
    let mut list = reader(file, start, size)?;
    for _ in 0..count(&pickle::read(&mut list, budget)?)
        .ok_or_else(|| wrong("its number of storages"))?
    {
        let head = pickle::read(&mut list, budget)?;
        let found = match head.items(head.root()) {
            Some([Value::Int(key), _, kind]) => match head.global(*kind) {
                Some(Global::Storage(Stored::Element(element))) => Some((key.to_string(), element)),
                _ => None,
            },
            _ => None,
        };
        let (key, element) = found.ok_or_else(|| wrong("the head of a storage"))?;
        let count = list.array().map(u64::from_le_bytes)?;
        let length = count.checked_mul(element.size() as u64);
        let length = length.ok_or_else(|| wrong("the size of a storage"))?;
        let at = start + list.at();
        list.seek_over(length)?;
        types.insert(key.clone(), element);
        storages.insert(key, [at, length]);
    }
    let views = pickle::read(&mut list, budget)?;
    for view in views.items(views.root()).unwrap_or_default() {
        let Some(
            [
                Value::Int(key),
                Value::Int(root),
                Value::Int(first),
                Value::Int(count),
            ],
        ) = views.items(*view)
        else {
            return Err(wrong("its list of views"));
        };
        let root = root.to_string();
        let part = (|| {
            let element = *types.get(&root)?;
            let size = element.size() as u64;
            let [start, bytes] = *storages.get(&root)?;
            let first = u64::try_from(*first).ok()?.checked_mul(size)?;
            let length = u64::try_from(*count).ok()?.checked_mul(size)?;
            let inside = first.checked_add(length)? <= bytes;
            inside.then_some((element, [start + first, length]))
        })();
        let (element, place) = part.ok_or_else(|| wrong("its list of views"))?;
        types.insert(key.to_string(), element);
        storages.insert(key.to_string(), place);
    }
    let (start, size) = tar.find("tensors")?;
    let mut list = reader(file, start, size)?;
    let mut tensors = std::collections::BTreeMap::new();
    for _ in
        0..count(&pickle::read(&mut list, budget)?).ok_or_else(|| wrong("its number of tensors"))?
    {
        let head = pickle::read(&mut list, budget)?;
        let Some([Value::Int(key), Value::Int(storage), _]) = head.items(head.root()) else {
            return Err(wrong("the head of a tensor"));
        };
        let storage = storage.to_string();
        let rank = u64::from(u32::from_le_bytes(list.array()?));
        list.array::<4>()?;
        if rank > limits::RANK as u64 {
            let name = key.to_string();
            return Err(Defect::Tensor(crate::Defect::Rank { name }).into());
        }
        let mut numbers = || {
            (0..rank)
                .map(|_| list.array().map(u64::from_le_bytes))
                .collect::<Result<Vec<u64>, _>>()
        };
        let (shape, strides) = (numbers()?, numbers()?);
        let offset = u64::from_le_bytes(list.array()?);
        let element = *types
            .get(&storage)
            .ok_or_else(|| wrong("the storage of a tensor"))?;
        tensors.insert(*key, (storage, element, offset, shape, strides));
    }
    let (start, size) = tar.find("pickle")?;
    let pickle = pickle::read(&mut reader(file, start, size)?, budget)?;
    let specs = tensors::walk(&pickle, budget, &|value, name| {
        let id = match pickle.node(value) {
            Some(Node::Persistent(id)) => *id,
            // A parameter is a call around its tensor.
            Some(Node::Call(Global::RebuildParameter, args)) => {
                match pickle
                    .items(*args)
                    .and_then(|args| pickle.node(*args.first()?))
                {
                    Some(Node::Persistent(id)) => *id,
                    _ => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let key = match id {
            Value::Int(number) => Some(number),
            id => pickle.text(id).and_then(|text| text.parse().ok()),
        };
        let Some((storage, element, offset, shape, strides)) =
            key.and_then(|key| tensors.get(&key))
        else {
            return Err(Defect::Description { name: name.into() });
        };
        Ok(Some(Spec {
            key: storage.clone(),
            element: *element,
            offset: *offset,
            shape: shape.clone(),
            strides: strides.clone(),
            part: None,
        }))
    })?;
    Ok((specs, storages))
}

/// A number of things; each takes some bytes of the file, so that no number is too large to count up to.
fn count(pickle: &Pickle) -> Option<u64> {
    match pickle.root() {
        Value::Int(count) => u64::try_from(count).ok(),
        _ => None,
    }
}

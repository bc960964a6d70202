//! What a pickle of PyTorch's says of tensors: their names, and where the numbers of each lie.

use std::collections::{BTreeMap, HashSet};

use super::PytorchDefect as Defect;
use crate::pickle::{Budget, Global, Node, Pickle, Stored, Value};
use crate::strided::{Strided, ViewError};
use crate::{Element, TensorInfo, header, limits};

/// Tables in tables in tables.
const DEPTH: usize = 64;
/// A file makes at most so many times its bytes of tensors (views of the same storage are several tensors).
const TOTAL_RATIO: u64 = 8;
/// What the smallest files may make.
const SMALL_BYTES: u64 = 1 << 20;

/// The tensors of a file: what each is, and where its elements lie.
#[derive(Debug, Default)]
pub(super) struct Tensors {
    pub(super) infos: Vec<TensorInfo>,
    pub(super) views: Vec<Strided>,
}

/// Bytes that a tensor's description takes, without its name.
const DESCRIPTION_BYTES: usize = 160;

/// A tensor before its storage is looked up.
pub(super) struct Spec {
    /// The storage's name.
    pub(super) key: String,
    pub(super) element: Element,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
    /// A part of the storage that the tensor is a view of: first element and number.
    pub(super) part: Option<[u64; 2]>,
}

/// Where a storage lies: its first byte and how many.
pub(super) type Storages = BTreeMap<String, [u64; 2]>;

/// What a persistent number in a pickle stands for.
#[derive(Debug, PartialEq)]
pub(super) struct StorageId {
    pub(super) key: String,
    pub(super) stored: Stored,
    /// Elements of all of it.
    pub(super) count: u64,
    pub(super) part: Option<[u64; 2]>,
}

/// The storage that `('storage', type, key, place, count, view)` names.
pub(super) fn storage_id(pickle: &Pickle, id: Value) -> Option<StorageId> {
    let items = pickle.items(id)?;
    let (first, &[kind, key, _, count, ref rest @ ..]) = items.split_first()? else {
        return None;
    };
    if pickle.text(*first)? != "storage" || rest.len() > 1 {
        return None;
    }
    let Some(Global::Storage(stored)) = pickle.global(kind) else {
        return None;
    };
    let key = match key {
        Value::Int(number) => number.to_string(),
        key => pickle.text(key)?.to_owned(),
    };
    let Value::Int(count) = count else {
        return None;
    };
    let part = match rest.first() {
        None | Some(Value::None) => None,
        Some(view) => match pickle.items(*view)? {
            [_, Value::Int(offset), Value::Int(count)] => {
                Some([u64::try_from(*offset).ok()?, u64::try_from(*count).ok()?])
            }
            _ => return None,
        },
    };
    let count = u64::try_from(count).ok()?;
    Some(StorageId {
        key,
        stored,
        count,
        part,
    })
}

/// The tensor that a call makes; `None` for what is none.
pub(super) fn rebuilt(pickle: &Pickle, value: Value, name: &str) -> Result<Option<Spec>, Defect> {
    let mut value = value;
    // A parameter is a call around a call.
    for _ in 0..4 {
        let Some(Node::Call(global, args)) = pickle.node(value) else {
            return Ok(None);
        };
        let args = pickle.items(*args).unwrap_or_default();
        let typed = match global {
            Global::RebuildTensor => false,
            Global::RebuildTensorTyped => true,
            Global::RebuildParameter => match args.first() {
                Some(inner) => {
                    value = *inner;
                    continue;
                }
                None => break,
            },
            _ => return Ok(None),
        };
        return spec(pickle, args, typed, name).map(Some);
    }
    Err(Defect::Description { name: name.into() })
}

fn spec(pickle: &Pickle, args: &[Value], typed: bool, name: &str) -> Result<Spec, Defect> {
    let unclear = || Defect::Description { name: name.into() };
    let &[storage, offset, shape, strides, ref more @ ..] = args else {
        return Err(unclear());
    };
    let Some(Node::Persistent(id)) = pickle.node(storage) else {
        return Err(unclear());
    };
    let id = storage_id(pickle, *id).ok_or_else(unclear)?;
    let (stored, remarks) = match typed {
        false => (id.stored, more.get(2)),
        true => match more.get(2).and_then(|value| pickle.global(*value)) {
            Some(Global::Type(stored)) => (stored, more.get(3)),
            _ => return Err(unclear()),
        },
    };
    // Bits that say that every number has to be conjugated or negated.
    if let Some(Node::Dict(remarks)) = remarks.and_then(|remarks| pickle.node(*remarks))
        && !remarks.is_empty()
    {
        return Err(Defect::Lazy { name: name.into() });
    }
    let element = match stored {
        Stored::Element(element) => element,
        Stored::Not(got) => {
            return Err(Defect::Type {
                name: name.into(),
                got,
            });
        }
        Stored::Untyped => return Err(unclear()),
    };
    let Value::Int(offset) = offset else {
        return Err(unclear());
    };
    // `torch.Size` is a call of its own around the numbers.
    let sizes = |value: Value| match pickle.node(value) {
        Some(Node::Call(Global::Other, args)) => match pickle.items(*args) {
            Some([inner]) => pickle.sizes(*inner),
            _ => None,
        },
        _ => pickle.sizes(value),
    };
    let (Some(shape), Some(strides), Ok(offset)) =
        (sizes(shape), sizes(strides), u64::try_from(offset))
    else {
        return Err(unclear());
    };
    Ok(Spec {
        key: id.key,
        element,
        offset,
        shape,
        strides,
        part: id.part,
    })
}

/// The tensor that a value stands for, if it is one; it gets the name for messages.
pub(super) type FindTensor<'a> = &'a dyn Fn(Value, &str) -> Result<Option<Spec>, Defect>;

/// Every tensor below the root, with the names of the tables and the numbers in the lists that lead to it.
///
/// A few bytes can lead to the same tensors again and again, so names and descriptions are counted too.
pub(super) fn walk(
    pickle: &Pickle,
    budget: &mut Budget,
    tensor: FindTensor<'_>,
) -> Result<Vec<(String, Spec)>, Defect> {
    let mut found = Vec::new();
    // Values that contain each other, or the same ones again and again, would be looked at for ever.
    let mut visits = pickle.len().saturating_mul(16).saturating_add(1024);
    let mut open = vec![(pickle.root(), String::new(), 0)];
    while let Some((value, name, depth)) = open.pop() {
        visits = visits.checked_sub(1).ok_or(Defect::Nested)?;
        if depth > DEPTH {
            return Err(Defect::Nested);
        }
        let shown = if name.is_empty() { "tensor" } else { &name };
        if let Some(spec) = tensor(value, shown)? {
            header::check_name(shown).map_err(Defect::Tensor)?;
            budget.take(DESCRIPTION_BYTES + 2 * shown.len())?;
            if found.len() == limits::TENSORS {
                return Err(Defect::Tensor(crate::Defect::TooManyTensors));
            }
            found.push((shown.to_owned(), spec));
            continue;
        }
        let below = |key: &str| match name.is_empty() {
            true => key.to_owned(),
            false => format!("{name}.{key}"),
        };
        // What is a number or a text has no tensors, and no name is made for it.
        let is_open = |value: &Value| {
            matches!(
                pickle.node(*value),
                Some(
                    Node::Dict(_)
                        | Node::List(_)
                        | Node::Tuple(_)
                        | Node::Call(..)
                        | Node::Persistent(_)
                )
            )
        };
        let at = open.len();
        match pickle.node(value) {
            Some(Node::Dict(pairs)) => {
                for [key, value] in pairs.iter().filter(|[_, value]| is_open(value)) {
                    let name = match key {
                        Value::Int(number) => below(&number.to_string()),
                        key => match pickle.text(*key) {
                            Some(text) if text.len() <= limits::NAME_BYTES => below(text),
                            _ => continue,
                        },
                    };
                    if name.len() > 2 * limits::NAME_BYTES {
                        return Err(Defect::Nested);
                    }
                    budget.take(name.len())?;
                    open.push((*value, name, depth + 1));
                }
            }
            Some(Node::List(items) | Node::Tuple(items)) => {
                for (i, value) in items.iter().enumerate().filter(|(_, value)| is_open(value)) {
                    let name = below(&i.to_string());
                    budget.take(name.len())?;
                    open.push((*value, name, depth + 1));
                }
            }
            _ => {}
        }
        // In the order of the file.
        open[at..].reverse();
    }
    Ok(found)
}

/// Looks the storages up and checks every tensor against its own.
pub(super) fn place(
    specs: Vec<(String, Spec)>,
    storages: &Storages,
    file_bytes: u64,
) -> Result<Tensors, Defect> {
    let mut names = HashSet::new();
    let (mut found, mut total) = (Tensors::default(), 0_u64);
    for (name, spec) in specs {
        if !names.insert(name.clone()) {
            return Err(Defect::Tensor(crate::Defect::Duplicate { name }));
        }
        let Some(&[start, bytes]) = storages.get(&spec.key) else {
            let key = crate::printable(&spec.key, 80);
            return Err(Defect::NoStorage { name, key });
        };
        let size = spec.element.size() as u64;
        let whole = bytes / size;
        let info = header::check_tensor(name.clone(), spec.element, spec.shape.clone(), 0, None)
            .map_err(Defect::Tensor)?;
        let outside = |storage| Defect::Outside {
            name: name.clone(),
            shape: spec.shape.clone(),
            strides: spec.strides.clone(),
            offset: spec.offset,
            storage,
        };
        let [first, count] = spec.part.unwrap_or([0, whole]);
        if first.checked_add(count).is_none_or(|end| end > whole) {
            return Err(outside(whole));
        }
        let view = Strided::view(
            start + first * size,
            count,
            size,
            spec.offset,
            spec.shape.clone(),
            spec.strides.clone(),
        );
        let view = view.map_err(|why| match why {
            ViewError::Outside => outside(count),
            ViewError::Rank => Defect::Description { name: name.clone() },
        })?;
        let bytes = info.bytes();
        total = total.saturating_add(bytes);
        let most = file_bytes
            .saturating_mul(TOTAL_RATIO)
            .saturating_add(SMALL_BYTES);
        if bytes > file_bytes.max(SMALL_BYTES) || total > most {
            return Err(Defect::Repeats {
                name,
                bytes: if total > most { total } else { bytes },
                file: file_bytes,
            });
        }
        found.infos.push(info);
        found.views.push(view);
    }
    match found.infos.is_empty() {
        true => Err(Defect::Empty),
        false => Ok(found),
    }
}

//! From one format to another: names, types and layout change, and of a model of any size only some pieces are in
//! memory.

mod pieces;
mod rearrange;
mod rename;

pub use rearrange::Rearrange;
pub(crate) use rename::renamed;
pub use rename::{Pattern, Rename, RenameError};

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cortical_kernels::quantized::Format;

use crate::atomic::write_together;
use crate::gguf::{self, GgufType, GgufValues};
use crate::numpy::{self, NpzPlan};
use crate::write::{Part, lay_out};
use crate::{AnyModel, AnyTensor, Element, Error, Metadata, Result, TensorType, write_atomic};

/// The name under which safetensors files keep what a GGUF file says beside its tensors, as the bytes that it had.
pub const GGUF_VALUES: &str = "gguf.values";
/// What the metadata say of tensors whose blocks are kept as bytes: this, and the tensor's name.
const GGUF_TYPE: &str = "gguf.type.";

/// How a model is converted.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConvertOptions {
    /// What becomes of numbers with fractions; `None` for what they are. Whole numbers stay what they are.
    pub dtype: Option<TensorType>,
    /// The most bytes of tensors in a safetensors file; several files and an index where there are more.
    pub shard_bytes: Option<u64>,
    /// Other names; the first rule that fits counts.
    pub renames: Vec<Rename>,
    /// Values for a GGUF file, in the place of those that the model has.
    pub gguf_values: Option<GgufValues>,
    /// Tensors that GGUF files have otherwise, by their names before they are changed.
    pub rearranged: BTreeMap<String, Rearrange>,
    /// Vectors that GGUF files have besides, with their names: they follow from the model's configuration.
    pub more: Vec<(String, Vec<f32>)>,
}

/// What has been written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Converted {
    /// The files, the index last.
    pub files: Vec<PathBuf>,
    /// How many tensors.
    pub tensors: usize,
    /// Bytes of their elements.
    pub bytes: u64,
    /// Tensors that rules have left out.
    pub left_out: usize,
    /// Tensors whose blocks are kept as bytes, as the format has no such type.
    pub kept_as_bytes: usize,
}

/// A tensor on its way.
struct Item<'a> {
    name: String,
    from: &'a AnyTensor,
    to: TensorType,
    rearranged: Option<Rearrange>,
}

/// Writes a model in the format of `out`'s ending: `.safetensors`, `.gguf`, `.npz`, or a folder of safetensors files
/// for a path without an ending.
///
/// The files take their places when all of them are on the disk: an error leaves what was there before.
///
/// # Errors
/// [`Error::Ending`]; [`Error::Renamed`] where rules give two tensors one name; [`Error::Quantize`],
/// [`Error::Rearrange`], [`Error::NotLoadable`] for types that are not made; those of reading and writing.
pub fn convert(model: &AnyModel, out: &Path, options: &ConvertOptions) -> Result<Converted> {
    let ending = out
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase());
    let items = items(model, options)?;
    let mut done = match ending.as_deref() {
        Some("safetensors") | None => safetensors(model, &items, out, options),
        Some("gguf") => to_gguf(model, &items, out, options),
        Some("npz") => npz(model, &items, out),
        Some(_) => Err(Error::Ending { path: out.into() }),
    }?;
    done.left_out = model.tensors().len() - items.len();
    Ok(done)
}

/// The tensors under their new names.
fn items<'a>(model: &'a AnyModel, options: &ConvertOptions) -> Result<Vec<Item<'a>>> {
    let mut items: Vec<Item<'a>> = Vec::new();
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    for from in model.tensors() {
        let Some(name) = renamed(&options.renames, from.name()) else {
            continue;
        };
        if let Some(first) = names.insert(name.clone(), from.name()) {
            return Err(Error::Renamed {
                name,
                first: first.into(),
                second: from.name().into(),
            });
        }
        let to = kept_type(model, from).unwrap_or(from.kind());
        let is_float = match to {
            TensorType::Plain(element) => element.is_float(),
            TensorType::Quantized(_) => true,
        };
        let to = match options.dtype {
            Some(dtype) if is_float => dtype,
            _ => to,
        };
        let rearranged = options.rearranged.get(from.name()).copied();
        if let Some(how) = rearranged {
            how.check(from)?;
        }
        items.push(Item {
            name,
            from,
            to,
            rearranged,
        });
    }
    Ok(items)
}

/// The quantized type of a tensor whose blocks a safetensors file keeps as bytes.
fn kept_type(model: &AnyModel, tensor: &AnyTensor) -> Option<TensorType> {
    match tensor.kind() {
        TensorType::Plain(Element::U8) => {}
        _ => return None,
    }
    let files = model.safetensors()?;
    let key = format!("{GGUF_TYPE}{}", tensor.name());
    let name = files
        .files()
        .iter()
        .find_map(|file| file.metadata().get(&key))?;
    let format = Format::ALL
        .into_iter()
        .find(|format| format.name() == name)?;
    let (row, blocks) = (tensor.shape().last()?, format.block_bytes());
    (format.block() > 1 && row.is_multiple_of(blocks)).then_some(TensorType::Quantized(format))
}

fn safetensors(
    model: &AnyModel,
    items: &[Item<'_>],
    out: &Path,
    options: &ConvertOptions,
) -> Result<Converted> {
    let mut metadata: Metadata = model.metadata();
    metadata.retain(|key, _| !key.starts_with(GGUF_TYPE));
    metadata
        .entry("format".into())
        .or_insert_with(|| "pt".into());
    let values = model.gguf().map(|file| file.value_bytes()).transpose()?;
    let mut parts = Vec::new();
    let mut kept = 0;
    for (i, item) in items.iter().enumerate() {
        let shape: Vec<u64> = item.from.shape().iter().map(|dim| *dim as u64).collect();
        let (element, shape) = match item.to {
            TensorType::Plain(element) => (element, shape),
            TensorType::Quantized(format) if item.from.kind() == item.to => {
                // The last dimension counts the bytes of a row.
                let mut shape = shape;
                let row = item.from.shape().last().copied().unwrap_or(0);
                let bytes = format.row_bytes(row).expect("the file has whole blocks");
                if let Some(last) = shape.last_mut() {
                    *last = bytes as u64;
                }
                metadata.insert(format!("{GGUF_TYPE}{}", item.name), format.name().into());
                kept += 1;
                (Element::U8, shape)
            }
            // Bytes that were kept so, and are again.
            TensorType::Quantized(format) if kept_type(model, item.from) == Some(item.to) => {
                metadata.insert(format!("{GGUF_TYPE}{}", item.name), format.name().into());
                kept += 1;
                (Element::U8, shape)
            }
            TensorType::Quantized(format) => {
                return Err(Error::NoSuchType {
                    path: out.into(),
                    kind: format.name().to_uppercase(),
                });
            }
        };
        parts.push(Part {
            name: item.name.clone(),
            element,
            shape,
            from: Some(i),
        });
    }
    if let Some(values) = &values {
        parts.push(Part {
            name: GGUF_VALUES.into(),
            element: Element::U8,
            shape: vec![values.len() as u64],
            from: None,
        });
    }
    let size = |part: &Part<Option<usize>>| {
        let count = part.shape.iter().product::<u64>();
        count.saturating_mul(part.element.size() as u64)
    };
    let bytes = parts.iter().map(size).sum::<u64>();
    let is_folder = out.extension().is_none();
    let single = if is_folder {
        out.join("model.safetensors")
    } else {
        out.to_owned()
    };
    let shards = shards(parts, size, options.shard_bytes.unwrap_or(u64::MAX));
    if is_folder {
        std::fs::create_dir_all(out).map_err(Error::write(out))?;
    }
    let unwritable = |defect| Error::Unwritable {
        path: single.clone(),
        defect,
    };
    let count = shards.len();
    let mut files = Vec::new();
    let mut map = BTreeMap::new();
    for (number, shard) in shards.into_iter().enumerate() {
        let path = if count == 1 {
            single.clone()
        } else {
            numbered(&single, number + 1, count)
        };
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        map.extend(shard.iter().map(|part| (part.name.clone(), name.clone())));
        let own: BTreeSet<String> = shard
            .iter()
            .map(|p| format!("{GGUF_TYPE}{}", p.name))
            .collect();
        let mut metadata = metadata.clone();
        metadata.retain(|key, _| !key.starts_with(GGUF_TYPE) || own.contains(key));
        let (header, parts) = lay_out(shard, &metadata).map_err(unwritable)?;
        files.push((path, header, parts));
    }
    if count > 1 {
        let index = serde_json::json!({ "metadata": { "total_size": bytes }, "weight_map": map });
        let text = serde_json::to_string_pretty(&index).expect("texts and numbers");
        let mut path = single.clone().into_os_string();
        path.push(".index.json");
        files.push((path.into(), text.into_bytes(), Vec::new()));
    }
    write_together(
        &files,
        |file| file.0.clone(),
        |(_, header, parts), out| {
            out.write_all(header)?;
            for part in parts {
                match part.from {
                    Some(i) => item_bytes(model, &items[i], out)?,
                    None => out.write_all(values.as_deref().unwrap_or_default())?,
                }
            }
            Ok(())
        },
    )?;
    Ok(Converted {
        files: files.into_iter().map(|(path, ..)| path).collect(),
        tensors: items.len(),
        bytes,
        left_out: 0,
        kept_as_bytes: kept,
    })
}

/// The elements of a tensor in the type that it gets; blocks that are kept as bytes are those bytes.
fn item_bytes(model: &AnyModel, item: &Item<'_>, out: &mut dyn Write) -> io::Result<()> {
    let to = match item.to {
        TensorType::Quantized(_) if kept_type(model, item.from) == Some(item.to) => {
            item.from.kind()
        }
        to => to,
    };
    pieces::write(model, item.from, to, item.rearranged, out)
}

/// Tensors in the order of the model, as many in a file as fit; one that is larger is alone.
fn shards<T>(parts: Vec<Part<T>>, size: impl Fn(&Part<T>) -> u64, limit: u64) -> Vec<Vec<Part<T>>> {
    let mut shards: Vec<Vec<Part<T>>> = vec![Vec::new()];
    let mut filled = 0_u64;
    for part in parts {
        let bytes = size(&part);
        let last = shards.last_mut().expect("there is always one");
        if !last.is_empty() && filled.saturating_add(bytes) > limit {
            shards.push(vec![part]);
            filled = bytes;
        } else {
            last.push(part);
            filled = filled.saturating_add(bytes);
        }
    }
    shards
}

/// `model.safetensors` becomes `model-00001-of-00002.safetensors`.
fn numbered(single: &Path, number: usize, count: usize) -> PathBuf {
    let stem = single.file_stem().unwrap_or_default().to_string_lossy();
    single.with_file_name(format!("{stem}-{number:05}-of-{count:05}.safetensors"))
}

fn to_gguf(
    model: &AnyModel,
    items: &[Item<'_>],
    out: &Path,
    options: &ConvertOptions,
) -> Result<Converted> {
    let wrong = |defect| Error::UnwritableGguf {
        path: out.into(),
        defect,
    };
    let kept = model
        .info(GGUF_VALUES)
        .filter(|_| model.safetensors().is_some());
    let stored = match (&options.gguf_values, model.gguf(), kept) {
        (Some(values), ..) => values.clone(),
        (None, Some(file), _) => GgufValues::from_bytes(file.value_bytes()?).map_err(wrong)?,
        (None, None, Some(kept)) => {
            let mut bytes = vec![0; kept.bytes() as usize];
            model.read_bytes(GGUF_VALUES, 0, &mut bytes)?;
            GgufValues::from_bytes(bytes).map_err(wrong)?
        }
        (None, None, None) => GgufValues::new(),
    };
    let items: Vec<&Item<'_>> = items
        .iter()
        .filter(|item| item.from.name() != GGUF_VALUES)
        .collect();
    let mut tensors = Vec::new();
    let mut types = Vec::new();
    for item in &items {
        let is_kept = kept_type(model, item.from).is_some();
        let shape = item.from.shape();
        let mut shape = item
            .rearranged
            .map_or(shape.to_vec(), |how| how.shape(shape));
        if let (true, TensorType::Quantized(format)) = (is_kept, item.to)
            && let Some(last) = shape.last_mut()
        {
            *last = *last / format.block_bytes() * format.block();
        }
        let [rows, cols] = match &shape[..] {
            [] => [1, 1],
            shape => {
                let cols = shape[shape.len() - 1];
                [
                    shape
                        .iter()
                        .product::<usize>()
                        .checked_div(cols)
                        .unwrap_or(0),
                    cols,
                ]
            }
        };
        // What is described for llama.cpp has norms and biases in single precision, as it knows no others.
        let changes = !(is_kept || item.from.kind() == item.to) || options.gguf_values.is_some();
        let is_single = item.rearranged.is_some_and(Rearrange::is_single);
        let to = match item.to {
            TensorType::Quantized(_) | TensorType::Plain(_) if is_single => {
                TensorType::Plain(Element::F32)
            }
            // llama.cpp has norms and biases in single precision, and so are rows of no whole blocks.
            TensorType::Quantized(_) if changes && shape.len() < 2 => {
                TensorType::Plain(Element::F32)
            }
            TensorType::Quantized(format) if format.row_bytes(cols).is_none() => {
                TensorType::Plain(Element::F16)
            }
            TensorType::Plain(Element::F16 | Element::BF16) if changes && shape.len() < 2 => {
                TensorType::Plain(Element::F32)
            }
            to => to,
        };
        let kind = GgufType::of(to).ok_or_else(|| Error::NoSuchType {
            path: out.into(),
            kind: to.name(),
        })?;
        let bytes = to
            .bytes(rows, cols)
            .expect("it has been counted in the model");
        tensors.push(gguf::Written {
            name: item.name.clone(),
            kind,
            shape,
            bytes,
        });
        types.push(if is_kept && to == item.to {
            item.from.kind()
        } else {
            to
        });
    }
    for (name, numbers) in &options.more {
        tensors.push(gguf::Written {
            name: name.clone(),
            kind: GgufType::F32,
            shape: vec![numbers.len()],
            bytes: 4 * numbers.len() as u64,
        });
    }
    gguf::check_written(&tensors).map_err(wrong)?;
    let alignment = stored.alignment();
    write_atomic(out, |writer| {
        gguf::write(writer, &stored, alignment, &tensors, |i, writer| {
            let Some(item) = items.get(i) else {
                let (_, numbers) = &options.more[i - items.len()];
                let bytes = numbers.iter().flat_map(|x| x.to_le_bytes());
                return writer.write_all(&bytes.collect::<Vec<u8>>());
            };
            pieces::write(model, item.from, types[i], item.rearranged, writer)
        })
    })?;
    Ok(Converted {
        files: vec![out.into()],
        tensors: tensors.len(),
        bytes: tensors.iter().map(|tensor| tensor.bytes).sum(),
        left_out: 0,
        kept_as_bytes: 0,
    })
}

fn npz(model: &AnyModel, items: &[Item<'_>], out: &Path) -> Result<Converted> {
    let mut plan = Vec::new();
    let mut total = 0;
    for item in items {
        let element = match item.to {
            TensorType::Plain(element) if numpy::descr(element).is_some() => element,
            to => {
                return Err(Error::NoSuchType {
                    path: out.into(),
                    kind: to.name(),
                });
            }
        };
        let count = item.from.count() as u64;
        total += count * element.size() as u64;
        plan.push((item, element));
    }
    write_atomic(out, |writer| {
        let mut archive = NpzPlan::default();
        for (item, element) in &plan {
            let mut fill = |out: &mut dyn Write| {
                pieces::write(
                    model,
                    item.from,
                    TensorType::Plain(*element),
                    item.rearranged,
                    out,
                )
            };
            archive.array(writer, &item.name, *element, item.from.shape(), &mut fill)?;
        }
        archive.finish(writer)
    })?;
    Ok(Converted {
        files: vec![out.into()],
        tensors: plan.len(),
        bytes: total,
        left_out: 0,
        kept_as_bytes: 0,
    })
}

impl GgufType {
    /// The type of a GGUF file for elements that lie so; `None` for those that it does not have here.
    pub(crate) fn of(kind: TensorType) -> Option<Self> {
        match kind {
            TensorType::Plain(Element::F32) => Some(Self::F32),
            TensorType::Plain(Element::F16) => Some(Self::Quantized(Format::F16)),
            TensorType::Plain(Element::BF16) => Some(Self::Quantized(Format::Bf16)),
            TensorType::Plain(_) | TensorType::Quantized(Format::Int8) => None,
            TensorType::Quantized(format) => Some(Self::Quantized(format)),
        }
    }
}

impl GgufValues {
    /// Where tensors may begin, if the values say so.
    fn alignment(&self) -> Option<u64> {
        let found = self.find("general.alignment")?;
        found
            .as_u64()
            .filter(|n| n.is_power_of_two() && *n <= 65_536)
    }
}

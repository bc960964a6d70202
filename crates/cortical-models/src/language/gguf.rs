//! Language models in GGUF files.

use super::config::LanguageConfig;
use super::head::Head;
use super::parts::Change;
use super::source::{Weights, quantize, unreadable};
use crate::error::{Error, Result};
use candle_core::{Device, Tensor};
use cortical_io::{GgufFile, GgufType, printable};
use cortical_kernels::quantized::QuantizedMatrix;
use cortical_neuron::Source;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// A tensor as a GGUF file has it.
#[derive(Debug)]
pub(crate) struct Stored {
    name: String,
    shape: Vec<usize>,
    change: Change,
}

/// The tensors of a model in a GGUF file, by their names in Hugging Face's files.
pub(crate) fn stored(
    file: &GgufFile,
    config: &LanguageConfig,
    head: Head,
) -> BTreeMap<String, Stored> {
    let mut stored = by_name(config, head);
    // A head that was cut loose from the table of tokens begins with what that has.
    if let Some(head) = stored.get_mut("lm_head.weight")
        && file.info(&head.name).is_none()
    {
        head.name = "token_embd.weight".to_owned();
    }
    stored
}

fn by_name(config: &LanguageConfig, head: Head) -> BTreeMap<String, Stored> {
    let tensors = config.tensors_as(config.prefix(), head).into_iter();
    let stored = tensors.filter_map(|tensor| {
        let (name, change) = tensor.gguf?;
        let mut shape = tensor.shape;
        if change == Change::Columns {
            shape.reverse();
        }
        let stored = Stored {
            name,
            shape,
            change,
        };
        Some((tensor.name, stored))
    });
    stored.collect()
}

/// Tensors that are read with the configuration.
const FACTORS: [&str; 3] = [
    "rope_freqs.weight",
    "rope_factors_long.weight",
    "rope_factors_short.weight",
];

/// Compares what the configuration says with what the file has.
pub(crate) fn check(file: &GgufFile, tensors: &BTreeMap<String, Stored>, head: Head) -> Result<()> {
    let mut differences = Vec::new();
    let mut known = FACTORS.map(str::to_owned).to_vec();
    for Stored { name, shape, .. } in tensors.values() {
        match file.info(name) {
            None => differences.push(format!("{name} {shape:?} is missing")),
            Some(info) if info.shape() != shape => differences.push(format!(
                "{name} has shape {:?}, the configuration says {shape:?}",
                info.shape()
            )),
            Some(_) => {}
        }
        known.push(name.clone());
    }
    if head == Head::None {
        known.push("output.weight".to_owned());
    }
    known.sort();
    let unknown = file.tensors().iter().filter(|t| {
        known
            .binary_search_by(|k| k.as_str().cmp(t.name()))
            .is_err()
    });
    differences.extend(unknown.map(|t| {
        format!(
            "{} {:?} is not in the model",
            printable(t.name(), 120),
            t.shape()
        )
    }));
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::Tensors {
        origin: file.path().display().to_string(),
        differences,
        hint: None,
    })
}

/// The tensors of a GGUF file by the names, and in the layout, that Hugging Face's files have: to compare the two.
///
/// ```no_run
/// use cortical_models::language::GgufTensors;
/// let file = cortical_io::GgufFile::open("model.gguf")?;
/// let tensors = GgufTensors::new(file.into())?;
/// let stored = tensors.stored_name("model.layers.0.self_attn.q_proj.weight");
/// assert_eq!(stored, Some("blk.0.attn_q.weight"));
/// let first_row = tensors.load_rows("model.layers.0.self_attn.q_proj.weight", 0..1)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct GgufTensors {
    file: Arc<GgufFile>,
    config: LanguageConfig,
    tensors: BTreeMap<String, Stored>,
}

impl GgufTensors {
    /// The tensors of a file of an architecture that is known.
    ///
    /// # Errors
    /// A file whose keys describe no model that is supported.
    pub fn new(file: Arc<GgufFile>) -> Result<Self> {
        let found = LanguageConfig::from_gguf(&file);
        let (config, head) = found.map_err(Error::in_file(file.path()))?;
        let mut tensors = by_name(&config, head);
        tensors.retain(|_, stored| file.info(&stored.name).is_some());
        Ok(Self {
            file,
            config,
            tensors,
        })
    }

    /// What the file's model is made of.
    #[must_use]
    pub fn config(&self) -> &LanguageConfig {
        &self.config
    }

    /// All tensors that the file has of the model: Hugging Face's name, and the file's.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.tensors.iter();
        all.map(|(name, stored)| (name.as_str(), stored.name.as_str()))
    }

    /// The file's name of a tensor.
    #[must_use]
    pub fn stored_name(&self, name: &str) -> Option<&str> {
        Some(&self.tensors.get(name)?.name)
    }

    /// The shape that Hugging Face's files give a tensor which the file has in `shape`.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let stored = self.tensors.get(name)?;
        let mut shape = self.file.info(&stored.name)?.shape().to_vec();
        if stored.change == Change::Columns {
            shape.reverse();
        }
        Some(shape)
    }

    /// Whether rows of the tensor are columns in the file, so that some rows cost as much as all of them.
    #[must_use]
    pub fn is_transposed(&self, name: &str) -> bool {
        let stored = self.tensors.get(name);
        stored.is_some_and(|stored| stored.change == Change::Columns && stored.shape.len() > 1)
    }

    /// Some rows of a tensor in single precision, in the order in which Hugging Face's files have them.
    ///
    /// # Errors
    /// A name that the file has no tensor for, rows that the tensor does not have; those of the file.
    pub fn load_rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        let no_tensor = || cortical_io::Error::NoTensor {
            path: self.file.path().into(),
            name: name.to_owned(),
        };
        let stored = self.tensors.get(name).ok_or_else(no_tensor)?;
        let info = self.file.info(&stored.name).ok_or_else(no_tensor)?;
        let load = |rows| self.file.load_rows(&stored.name, rows);
        let is_matrix = info.shape().len() > 1;
        Ok(match stored.change {
            Change::PlusOne => {
                let mut numbers = load(rows)?;
                numbers.iter_mut().for_each(|x| *x -= 1.0);
                numbers
            }
            Change::Columns if is_matrix => {
                let (out, input) = (info.shape()[0], info.shape()[1]);
                if rows.end > input {
                    return Err(Error::from(cortical_io::Error::Elements {
                        path: self.file.path().into(),
                        name: name.to_owned(),
                        from: rows.start.saturating_mul(out),
                        asked: rows.len().saturating_mul(out),
                        count: info.count(),
                    }));
                }
                let all = load(0..out)?;
                rows.flat_map(|row| (0..out).map(move |column| column * input + row))
                    .map(|at| all[at])
                    .collect()
            }
            Change::Pairs(heads) if is_matrix => {
                let order = order(heads, info.shape()[0]);
                let mut numbers = Vec::new();
                for row in rows {
                    // One behind the last is left to the file to refuse.
                    let at = if row < info.shape()[0] {
                        order(row)
                    } else {
                        row
                    };
                    numbers.extend(load(at..at.saturating_add(1))?);
                }
                numbers
            }
            Change::Pairs(heads) => {
                let numbers = load(rows)?;
                let order = order(heads, numbers.len());
                (0..numbers.len()).map(|at| numbers[order(at)]).collect()
            }
            Change::None | Change::Columns => load(rows)?,
        })
    }
}

/// Parameters from a GGUF file.
#[derive(Debug)]
pub(crate) struct GgufSource {
    file: Arc<GgufFile>,
    tensors: BTreeMap<String, Stored>,
    weights: Weights,
}

impl GgufSource {
    pub(crate) fn new(
        file: Arc<GgufFile>,
        tensors: BTreeMap<String, Stored>,
        weights: Weights,
    ) -> Self {
        Self {
            file,
            tensors,
            weights,
        }
    }

    /// The tensor of this name, if the file has it.
    fn find(&self, name: &str) -> Option<&Stored> {
        let stored = self.tensors.get(name)?;
        self.file.info(&stored.name).map(|_| stored)
    }
}

/// Where each of `rows` rows is in a file that has the two numbers of a rotated pair side by side.
fn order(heads: usize, rows: usize) -> impl Fn(usize) -> usize {
    let dim = rows / heads;
    let half = dim / 2;
    move |row: usize| {
        let (head, within) = (row / dim, row % dim);
        head * dim + 2 * (within % half) + within / half
    }
}

impl Source for GgufSource {
    fn tensor(&self, name: &str, _shape: &[usize]) -> cortical_neuron::Result<Option<Tensor>> {
        let Some(stored) = self.find(name) else {
            return Ok(None);
        };
        let tensor = self.file.load(&stored.name, &Device::Cpu);
        let tensor = tensor.map_err(unreadable(name))?;
        Ok(Some(match stored.change {
            Change::None => tensor,
            Change::Columns => tensor.t()?.contiguous()?,
            Change::PlusOne => tensor.affine(1.0, -1.0)?,
            Change::Pairs(heads) => {
                let rows = tensor.dim(0)?;
                let order = order(heads, rows);
                let order: Vec<u32> = (0..rows).map(|row| order(row) as u32).collect();
                let order = Tensor::from_vec(order, rows, &Device::Cpu)?;
                tensor.index_select(&order, 0)?
            }
        }))
    }

    fn quantized(
        &self,
        name: &str,
        shape: &[usize],
    ) -> cortical_neuron::Result<Option<Arc<QuantizedMatrix>>> {
        let Some(stored) = self.find(name) else {
            return Ok(None);
        };
        match self.weights {
            Weights::Single | Weights::Bf16 => return Ok(None),
            Weights::Quantized(format) => {
                let info = self.file.info(&stored.name);
                if info.is_none_or(|info| info.kind() != GgufType::Quantized(format)) {
                    let tensor = self.tensor(name, shape)?;
                    return tensor
                        .map(|tensor| quantize(name, &tensor, format))
                        .transpose();
                }
            }
            Weights::Stored => {}
        }
        let quantized = self
            .file
            .quantized(&stored.name)
            .map_err(unreadable(name))?;
        Ok(quantized.map(|quantized| match stored.change {
            Change::Pairs(heads) => {
                let order = order(heads, quantized.rows());
                quantized.reordered(order).into()
            }
            _ => quantized.into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::presets::preset;
    use super::*;

    #[test]
    fn names_lead_to_llama_cpps() {
        let check = |preset_name: &str, name: &str, gguf: &str| {
            let config = preset(preset_name).unwrap().config;
            let stored = by_name(&config, Head::Own);
            assert_eq!(stored[name].name, gguf);
            assert!(!stored.contains_key("model.layers.7.self_attn.z_proj.weight"));
        };
        check(
            "llama2-7b",
            "model.layers.7.self_attn.q_proj.weight",
            "blk.7.attn_q.weight",
        );
        check(
            "gpt2",
            "transformer.h.0.attn.c_attn.bias",
            "blk.0.attn_qkv.bias",
        );
        check("gpt2", "lm_head.weight", "output.weight");
    }

    /// A file of a GPT-2 with one layer of width 4, whose tensor of number `i` begins with `100 i`.
    fn tiny_gpt2() -> (tempfile::TempDir, GgufTensors) {
        let text = |text: &str| {
            let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
            bytes.extend(text.as_bytes());
            bytes
        };
        let sizes = [
            "context_length",
            "embedding_length",
            "block_count",
            "attention.head_count",
        ];
        let (mut values, mut entries, mut data) = (Vec::new(), Vec::new(), Vec::new());
        values.extend(text("general.architecture"));
        values.extend(8_u32.to_le_bytes());
        values.extend(text("gpt2"));
        for (key, size) in sizes.iter().zip([8_u32, 4, 1, 2]) {
            values.extend(text(&format!("gpt2.{key}")));
            values.extend(4_u32.to_le_bytes());
            values.extend(size.to_le_bytes());
        }
        let tensors: [(&str, &[u64]); 3] = [
            ("token_embd.weight", &[4, 6]),
            ("blk.0.attn_qkv.weight", &[4, 12]),
            ("blk.0.attn_qkv.bias", &[12]),
        ];
        for (i, (name, sizes)) in tensors.iter().enumerate() {
            entries.extend(text(name));
            entries.extend((sizes.len() as u32).to_le_bytes());
            entries.extend(sizes.iter().flat_map(|d| d.to_le_bytes()));
            entries.extend(0_u32.to_le_bytes());
            entries.extend((data.len() as u64).to_le_bytes());
            let count = sizes.iter().product::<u64>();
            data.extend((0..count).flat_map(|x| ((100 * i) as f32 + x as f32).to_le_bytes()));
            data.resize(data.len().next_multiple_of(32), 0);
        }
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend((tensors.len() as u64).to_le_bytes());
        bytes.extend((1 + sizes.len() as u64).to_le_bytes());
        bytes.extend(values);
        bytes.extend(entries);
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(data);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        cortical_io::write_atomic(&path, |file| file.write_all(&bytes)).unwrap();
        let file = GgufFile::open(&path).unwrap();
        (folder, GgufTensors::new(file.into()).unwrap())
    }

    #[test]
    fn rows_that_are_columns_in_the_file_are_turned() {
        let (_folder, tensors) = tiny_gpt2();
        let name = "transformer.h.0.attn.c_attn.weight";
        assert_eq!(tensors.stored_name(name), Some("blk.0.attn_qkv.weight"));
        assert_eq!(tensors.names().count(), 3, "those that the file has");
        assert!(tensors.is_transposed(name));
        assert_eq!(tensors.shape(name), Some(vec![4, 12]));
        let all = tensors.load_rows(name, 0..4).unwrap();
        let want: Vec<f32> = (0..4)
            .flat_map(|row| (0..12).map(move |column| (100 + column * 4 + row) as f32))
            .collect();
        assert_eq!(all, want);
        assert_eq!(tensors.load_rows(name, 1..3).unwrap(), want[12..36]);
        let bias = "transformer.h.0.attn.c_attn.bias";
        assert!(!tensors.is_transposed(bias));
        assert_eq!(tensors.load_rows(bias, 0..1).unwrap()[..2], [200.0, 201.0]);
        assert!(tensors.load_rows("nothing", 0..1).is_err());
        assert!(tensors.load_rows(name, 3..5).is_err());
    }
}

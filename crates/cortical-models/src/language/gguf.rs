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
    })
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
}

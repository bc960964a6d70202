//! A model of Hugging Face's files as a GGUF file: names, the order of rows, and what the file says of the model.

use std::collections::BTreeMap;

use cortical_io::{AnyModel, GgufValues, Rename, printable};

use super::config::LanguageConfig;
use super::head::Head;
use super::parts::Change;
use crate::error::{Error, Result};

/// What a conversion to GGUF needs beside the tensors.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GgufExport {
    /// What the file says of the model; a tokenizer may be added.
    pub values: GgufValues,
    /// The file's names for the tensors.
    pub renames: Vec<Rename>,
    /// Heads of the tensors whose rows get another order, by Hugging Face's names.
    pub pairs: BTreeMap<String, usize>,
}

impl GgufExport {
    /// For a model of this configuration with these tensors.
    ///
    /// # Errors
    /// An architecture, or a form of it, that is not written; tensors that are missing, or that it does not have.
    pub fn new(config: &LanguageConfig, model: &AnyModel) -> Result<Self> {
        let unwritten = |what: String| Error::NotExported {
            what,
            model_type: config.model_type(),
        };
        let name = config
            .gguf_name()
            .ok_or_else(|| unwritten("this architecture".to_owned()))?;
        let mut values = GgufValues::new();
        values.text("general.architecture", name);
        values.u32("general.quantization_version", 2);
        let said = config.inner().write_gguf(name, &mut values);
        said.ok_or_else(|| unwritten("this form of its positions, norms or windows".to_owned()))?;
        let is_tied = model.info("lm_head.weight").is_none();
        let head = if is_tied { Head::Tied } else { Head::Own };
        let (mut renames, mut pairs, mut differences) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut known = BTreeMap::new();
        for tensor in config.tensors_as(config.prefix(), head) {
            match model.info(&tensor.name) {
                None => differences.push(format!("{} {:?} is missing", tensor.name, tensor.shape)),
                Some(info) if info.shape() != tensor.shape => differences.push(format!(
                    "{} has shape {:?}, the configuration says {:?}",
                    tensor.name,
                    info.shape(),
                    tensor.shape
                )),
                Some(_) => {}
            }
            let Some((own, change)) = tensor.gguf else {
                return Err(unwritten(format!("tensor {}", tensor.name)));
            };
            match change {
                Change::None => {}
                Change::Pairs(heads) => {
                    pairs.insert(tensor.name.clone(), heads);
                }
                Change::Columns | Change::PlusOne => {
                    return Err(unwritten(format!("tensor {}", tensor.name)));
                }
            }
            known.insert(tensor.name, own);
        }
        for tensor in model.tensors() {
            match known.get(tensor.name()) {
                Some(own) => renames.push(rule(tensor.name(), own)),
                // Frequencies that older files keep; they follow from the configuration.
                None if tensor.name().ends_with("rotary_emb.inv_freq") => {
                    renames.push(rule(tensor.name(), ""));
                }
                None => differences.push(format!(
                    "{} {:?} is not in the model",
                    printable(tensor.name(), 120),
                    tensor.shape()
                )),
            }
        }
        match differences.is_empty() {
            true => Ok(Self {
                values,
                renames,
                pairs,
            }),
            false => Err(Error::Tensors {
                origin: model.path().display().to_string(),
                differences,
            }),
        }
    }
}

fn rule(from: &str, to: &str) -> Rename {
    let rule = format!("{from}={to}");
    rule.parse()
        .expect("names of tensors of the configuration have no `=` or `*`")
}

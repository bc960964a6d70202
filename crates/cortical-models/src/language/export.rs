//! A model of Hugging Face's files as a GGUF file: names, what is arranged otherwise, and what the file says of it.

use std::collections::BTreeMap;

use cortical_io::{AnyModel, AnyTensor, GgufValues, Rearrange, Rename, printable};

use super::config::LanguageConfig;
use super::folder::stored_name;
use super::gguf_description::GgufDescription;
use super::head::Head;
use super::hints;
use super::parts::{Change, Part};
use crate::error::{Error, Result};

/// What a conversion to GGUF needs beside the tensors.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GgufExport {
    /// The architecture's name in the file.
    pub name: &'static str,
    /// What the file says of the model; a tokenizer may be added.
    pub values: GgufValues,
    /// The file's names for the tensors.
    pub renames: Vec<Rename>,
    /// Tensors that the file has otherwise, by Hugging Face's names.
    pub rearranged: BTreeMap<String, Rearrange>,
    /// Vectors that the file has besides.
    pub more: Vec<(String, Vec<f32>)>,
    /// Where what llama.cpp computes differs, or what is left out, in sentences.
    pub remarks: Vec<String>,
}

impl GgufExport {
    /// For a model of this configuration with these tensors, which get other names by the rules before they are looked
    /// at.
    ///
    /// # Errors
    /// An architecture, or a form of it, that is not written; tensors that are missing, or that it does not have.
    pub fn new(config: &LanguageConfig, model: &AnyModel, rules: &[Rename]) -> Result<Self> {
        let unwritten = |what: String| Error::NotExported {
            what,
            model_type: config.model_type(),
        };
        let name = config
            .gguf_name()
            .ok_or_else(|| unwritten("this architecture".to_owned()))?;
        let mut config = config.clone();
        let mut there: BTreeMap<String, &AnyTensor> = BTreeMap::new();
        for tensor in model.tensors() {
            let new = rules.iter().find_map(|rule| rule.apply(tensor.name()));
            let new = new.unwrap_or_else(|| tensor.name().to_owned());
            let first = there.insert(new.clone(), tensor);
            if let Some(first) = first.filter(|_| !new.is_empty()) {
                return Err(Error::from(cortical_io::Error::Renamed {
                    name: new,
                    first: first.name().to_owned(),
                    second: tensor.name().to_owned(),
                }));
            }
        }
        let left_out = there.remove("");
        let has = |name: &str| there.contains_key(name);
        let (prefix, head) = config.settle(&has);
        if head == Head::None && config.head() != Head::None {
            return Err(unwritten("a model without its head".to_owned()));
        }
        let mut out = GgufDescription::new(name, head);
        config.inner().describe_to(&mut out).map_err(unwritten)?;
        let (mut renames, mut rearranged) = (Vec::new(), BTreeMap::new());
        let (mut known, mut differences) = (BTreeMap::new(), Vec::new());
        let (mut missing, mut unexpected) = (Vec::new(), Vec::new());
        let none = BTreeMap::new();
        for tensor in config.tensors_as(prefix, head) {
            let found = stored_name(&tensor.name, &none, &has);
            let found = found.and_then(|name| there.get(&name).copied());
            match found {
                None => {
                    differences.push(format!("{} {:?} is missing", tensor.name, tensor.shape));
                    missing.push((tensor.name.clone(), tensor.shape.clone()));
                }
                Some(info) if info.shape() != tensor.shape => differences.push(format!(
                    "{} has shape {:?}, the configuration says {:?}",
                    tensor.name,
                    info.shape(),
                    tensor.shape
                )),
                Some(_) => {}
            }
            let stored = found
                .map_or(tensor.name.as_str(), |info| info.name())
                .to_owned();
            let (own, change) = match tensor.gguf {
                Some((own, change)) => (own, change),
                None if tensor.name.contains("pooler.") => {
                    out.leave_out("its pooler");
                    (String::new(), Change::None)
                }
                None => return Err(unwritten(format!("tensor {}", tensor.name))),
            };
            let how = match change {
                Change::None if matches!(tensor.part, Part::Positions | Part::Segments) => {
                    Some(Rearrange::Single)
                }
                Change::None => None,
                Change::Pairs(heads) => Some(Rearrange::Pairs(heads)),
                // A bias has no columns.
                Change::Columns => Some(Rearrange::Transposed).filter(|_| tensor.shape.len() == 2),
                Change::PlusOne => Some(Rearrange::PlusOne),
            };
            rearranged.extend(how.map(|how| (stored.clone(), how)));
            known.insert(stored, own);
        }
        for (name, tensor) in &there {
            match known.get(tensor.name()) {
                Some(own) => renames.push(Rename::exact(tensor.name(), own)),
                // Masks and frequencies, which follow from the configuration, and heads for other tasks.
                None if config.inner().is_spare(name) => {
                    if config.head() == Head::None && !name.contains("embeddings.") {
                        out.leave_out("its head");
                    }
                    renames.push(Rename::exact(tensor.name(), ""));
                }
                None => {
                    let (shown, shape) = (printable(name, 120), tensor.shape());
                    differences.push(format!("{shown} {shape:?} is not in the model"));
                    unexpected.push((name.clone(), shape.to_vec()));
                }
            }
        }
        // The rules of the user that leave tensors out.
        if left_out.is_some() {
            renames.extend(rules.iter().cloned());
        }
        match differences.is_empty() {
            true => Ok(Self {
                name,
                values: out.values,
                renames,
                rearranged,
                more: out.more,
                remarks: out.remarks,
            }),
            false => Err(Error::Tensors {
                origin: model.path().display().to_string(),
                differences,
                hint: hints::rename(&missing, &unexpected),
            }),
        }
    }
}

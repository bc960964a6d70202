//! What `adapter_config.json` says: which layers have a change, of which size, and what else was trained.

use super::CONFIG;
use super::patterns::{Layers, Pattern, Targets};
use crate::error::{Error, Result};
use crate::language::json::{HARMLESS_OF_ADAPTERS, JsonFields, short};
use cortical_io::read_text;
use cortical_neuron::Adapters;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A plain LoRA, rsLoRA or DoRA.
#[derive(Debug)]
pub(crate) struct Settings {
    rank: usize,
    alpha: f64,
    dora: bool,
    rslora: bool,
    targets: Targets,
    excluded: Option<Targets>,
    layers: Option<Layers>,
    /// The ranks and `α` of layers that have their own; the first that fits counts.
    ranks: Vec<(Pattern, usize)>,
    alphas: Vec<(Pattern, f64)>,
    /// `modules_to_save`: what the changes' file has whole.
    saved: Vec<String>,
    /// Whether the changes' file has biases.
    biases: bool,
}

/// A layer that may have a change.
#[derive(Clone, Debug)]
pub(crate) struct Module {
    /// Its name here.
    pub(crate) name: String,
    /// Its name in the model that PEFT changed, which may have something before it.
    pub(crate) full: String,
}

/// The fields of an `adapter_config.json`.
pub(crate) fn fields(path: &Path) -> Result<JsonFields> {
    let text = read_text(path, 1 << 20)?;
    let value: Value = serde_json::from_str(&text).map_err(|why| Error::Json { why })?;
    match value {
        Value::Object(map) => Ok(JsonFields::new("", map)),
        other => Err(Error::Config {
            field: CONFIG.to_owned(),
            expected: "an object".to_owned(),
            got: short(&other),
        }),
    }
}

impl Settings {
    /// What a folder's `adapter_config.json` says.
    ///
    /// # Errors
    /// [`Error::UnsupportedConfig`] for what is not a plain LoRA, rsLoRA or DoRA, [`Error::UnknownConfig`] for a field
    /// that nobody knows and that says something; those of the file.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG);
        Self::read_file(&path).map_err(Error::in_file(&path))
    }

    fn read_file(path: &Path) -> Result<Self> {
        let mut fields = fields(path)?;
        let _ = fields.take("base_model_name_or_path");
        fields.only("peft_type", &[json!("LORA")])?;
        for (name, empty) in [
            ("layer_replication", json!([])),
            ("trainable_token_indices", json!([])),
            ("lora_bias", json!(false)),
            ("use_qalora", json!(false)),
            ("target_parameters", json!([])),
            ("ensure_weight_tying", json!(false)),
        ] {
            fields.only(name, &[empty])?;
        }
        // Other first values are made of the model's own weights, which they change.
        let kept = [
            json!(true),
            json!(false),
            json!("gaussian"),
            json!("orthogonal"),
        ];
        fields.only("init_lora_weights", &kept)?;
        // Such changes act behind these tokens only.
        fields.only("alora_invocation_tokens", &[])?;
        let biases = ["none", "all", "lora_only"].map(|name| json!(name));
        let biased = fields.one_of("bias", &biases)?.unwrap_or(0) > 0;
        let targets = fields.take("target_modules");
        let targets = targets.ok_or_else(|| fields.missing("target_modules", "a list of names"))?;
        let targets = Targets::read("target_modules", targets)?;
        let excluded = fields.take("exclude_modules");
        let excluded = excluded.map(|value| Targets::read("exclude_modules", value));
        let settings = Self {
            rank: fields.size("r")?.unwrap_or(8),
            alpha: fields.positive("lora_alpha")?.unwrap_or(8.0),
            dora: fields.flag("use_dora")?.unwrap_or(false),
            rslora: fields.flag("use_rslora")?.unwrap_or(false),
            layers: Layers::read(&mut fields, &targets)?,
            ranks: by_pattern(&mut fields, "rank_pattern", JsonFields::size)?,
            alphas: by_pattern(&mut fields, "alpha_pattern", JsonFields::positive)?,
            saved: fields.texts("modules_to_save")?.unwrap_or_default(),
            biases: biased,
            targets,
            excluded: excluded.transpose()?,
        };
        fields.finish_but("a low-rank change", |name| {
            HARMLESS_OF_ADAPTERS.contains(&name)
        })?;
        Ok(settings)
    }

    /// Whether a layer has a change.
    pub(crate) fn selects(&self, module: &str) -> Result<bool> {
        if let Some(excluded) = &self.excluded
            && excluded.name(module)?
        {
            return Ok(false);
        }
        // What is there whole has no change.
        if self.saved.iter().any(|saved| is_within(module, saved)) || !self.targets.name(module)? {
            return Ok(false);
        }
        match &self.layers {
            Some(layers) => layers.hold(module),
            None => Ok(true),
        }
    }

    /// Whether the changes' file has this module whole.
    pub(crate) fn saves(&self, module: &str) -> bool {
        // As PEFT looks for them: by the ends of their names.
        self.saved
            .iter()
            .any(|saved| module.ends_with(saved.as_str()))
    }

    /// What the changes' file has to have whole.
    pub(crate) fn saved(&self) -> &[String] {
        &self.saved
    }

    /// Whether the changes' file may have biases.
    pub(crate) fn has_biases(&self) -> bool {
        self.biases
    }

    /// The rank and `α` of the change of a layer.
    fn size(&self, module: &str) -> Result<(usize, f64)> {
        Ok((
            first(&self.ranks, module)?.unwrap_or(self.rank),
            first(&self.alphas, module)?.unwrap_or(self.alpha),
        ))
    }

    /// Which of these layers have a change, and of which size.
    ///
    /// # Errors
    /// A regular expression that takes too long.
    pub(crate) fn adapters(&self, modules: &[Module]) -> Result<Adapters> {
        let mut targets = Vec::new();
        let mut own = BTreeMap::new();
        for module in modules {
            if !self.selects(&module.full)? {
                continue;
            }
            let size = self.size(&module.full)?;
            if size != (self.rank, self.alpha) {
                own.insert(module.name.clone(), size);
            }
            targets.push(module.name.clone());
        }
        Ok(Adapters {
            rank: self.rank,
            alpha: self.alpha,
            targets: match self.ends() {
                Some(ends) => ends.to_vec(),
                None => targets,
            },
            dora: self.dora,
            rslora: self.rslora,
            own,
        })
    }

    /// The ends of names, where those and nothing else say which layers have a change.
    fn ends(&self) -> Option<&[String]> {
        let alone = self.excluded.is_none() && self.layers.is_none() && self.saved.is_empty();
        self.targets.ends().filter(|_| alone)
    }
}

/// Whether a module is one of this name, or within one.
fn is_within(module: &str, name: &str) -> bool {
    let parts: Vec<&str> = module.split('.').collect();
    let wanted: Vec<&str> = name.split('.').collect();
    parts
        .windows(wanted.len().max(1))
        .any(|part| *part == *wanted)
}

/// A table of values by regular expressions.
fn by_pattern<T>(
    fields: &mut JsonFields,
    name: &'static str,
    read: impl Fn(&mut JsonFields, &str) -> Result<Option<T>>,
) -> Result<Vec<(Pattern, T)>> {
    let Some(mut table) = fields.table(name)? else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for key in table.names() {
        if let Some(value) = read(&mut table, &key)? {
            Pattern::new(name, &key, &key)?;
            // PEFT takes them for the ends of names.
            found.push((
                Pattern::new(name, &format!(r"(?:.*\.)?(?:{key})"), &key)?,
                value,
            ));
        }
    }
    Ok(found)
}

/// The value of the first pattern that fits; PEFT writes them sorted, as they are here.
fn first<T: Copy>(all: &[(Pattern, T)], module: &str) -> Result<Option<T>> {
    for (pattern, value) in all {
        if pattern.fits(module)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

//! The table `[optim]`: any optimizer of `cortical-optim`, limits on gradients, groups of parameters.

use cortical_models::fields::Fields;
use cortical_optim::{AdamWConfig, Group, Norm, OptimizerConfig, SgdConfig};
use cortical_settings::{FieldError, Line, show};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::schedule::{from_serde, to_table, unknown, wrong_type};

/// The table `[optim]`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OptimRecipe {
    /// The algorithm with its hyperparameters.
    pub config: OptimizerConfig,
    /// The largest norm of all gradients together, if there is a limit.
    pub clip_norm: Option<f64>,
    /// Which norm that is: 2, 1, any p above 0, or infinity.
    pub clip_norm_type: f64,
    /// The largest magnitude of a gradient's element, if there is a limit.
    pub clip_value: Option<f64>,
    /// Whether weight decay acts on biases and on the scales and shifts of norms as well.
    pub decay_norms_and_biases: bool,
    /// Parameters with a learning rate or weight decay of their own; the first that fits a name counts.
    pub groups: Vec<GroupRecipe>,
}

/// Parameters with rates of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GroupRecipe {
    /// A pattern of names, such as `conv*.weight`.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Factor of the learning rate.
    #[serde(default = "one")]
    pub lr_scale: f64,
    /// Weight decay in place of the optimizer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

fn one() -> f64 {
    1.0
}

const KINDS: [&str; 12] = [
    "adamw", "sgd", "adam", "nadam", "radam", "adamax", "adagrad", "adadelta", "rmsprop", "lion",
    "muon", "lamb",
];

/// Our own fields, beside those of the algorithm.
const OWN: [(&str, &str); 5] = [
    ("clip_norm", "the largest norm of all gradients together"),
    ("clip_norm_type", "which norm: 2, 1, another p, or inf"),
    (
        "clip_value",
        "the largest magnitude of a gradient's element",
    ),
    (
        "decay_norms_and_biases",
        "false: weight decay on matrices and kernels only",
    ),
    (
        "groups",
        "such as [{ match = \"conv*\", lr_scale = 0.1, weight_decay = 0.0 }]",
    ),
];

impl OptimRecipe {
    /// This algorithm without limits and groups.
    #[must_use]
    pub fn new(config: OptimizerConfig) -> Self {
        Self {
            config,
            clip_norm: None,
            clip_norm_type: 2.0,
            clip_value: None,
            decay_norms_and_biases: true,
            groups: Vec::new(),
        }
    }

    /// The name in `optim.kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.config.name()
    }

    /// The base learning rate.
    #[must_use]
    pub fn lr(&self) -> f64 {
        self.config.lr()
    }

    /// The norm that [`clip_norm`](Self::clip_norm) limits.
    #[must_use]
    pub fn norm(&self) -> Norm {
        match self.clip_norm_type {
            1.0 => Norm::One,
            2.0 => Norm::Two,
            f64::INFINITY => Norm::Infinity,
            p => Norm::P(p),
        }
    }

    /// The groups as `cortical-optim` takes them.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let group = |recipe: &GroupRecipe| {
            let group = Group::named(&recipe.pattern).lr_scale(recipe.lr_scale);
            match recipe.weight_decay {
                Some(weight_decay) => group.weight_decay(weight_decay),
                None => group,
            }
        };
        let mut groups: Vec<Group> = self.groups.iter().map(group).collect();
        if !self.decay_norms_and_biases {
            groups.push(Group::without_decay());
        }
        groups
    }
}

/// The algorithm of this kind with the numbers that a recipe begins with: PyTorch's but for SGD, which goes nowhere with them.
fn default_of(kind: &str) -> OptimizerConfig {
    if kind == "sgd" {
        return OptimizerConfig::Sgd(SgdConfig {
            lr: 0.05,
            momentum: 0.9,
            weight_decay: 5e-4,
            ..SgdConfig::default()
        });
    }
    let mut table = Table::new();
    table.insert("name".to_owned(), kind.into());
    OptimizerConfig::deserialize(Value::Table(table))
        .unwrap_or(OptimizerConfig::AdamW(AdamWConfig::default()))
}

/// An algorithm's fields without its name.
fn fields_of(config: &OptimizerConfig) -> Table {
    let mut table = to_table(config);
    table.remove("name");
    table
}

pub(super) fn read(table: &Table, base: &OptimRecipe) -> Result<OptimRecipe, FieldError> {
    let mut fields = Fields::new("optim", table);
    let kind: String = fields.or("kind", base.kind().to_owned())?;
    let kind = fields.choose("kind", "optimizer", &kind, &KINDS.map(|kind| (kind, kind)))?;
    let config = if base.kind() == kind {
        base.config
    } else {
        default_of(kind)
    };
    check_numbers(&mut fields)?;
    let groups: Option<Vec<Value>> = fields.get("groups")?;
    let groups = groups.map(|groups| groups.into_iter().map(read_group).collect());
    let recipe = OptimRecipe {
        config: read_config(table, kind, &config)?,
        clip_norm: fields.get("clip_norm")?.or(base.clip_norm),
        clip_norm_type: read_norm_type(table).unwrap_or(base.clip_norm_type),
        clip_value: fields.get("clip_value")?.or(base.clip_value),
        decay_norms_and_biases: fields.or("decay_norms_and_biases", base.decay_norms_and_biases)?,
        groups: groups.transpose()?.unwrap_or_else(|| base.groups.clone()),
    };
    if let Some(norm) = recipe.clip_norm {
        fields.check("clip_norm", norm > 0.0, "a norm above 0", norm)?;
    }
    let p = recipe.clip_norm_type;
    fields.check("clip_norm_type", p > 0.0, "a number above 0", p)?;
    if let Some(value) = recipe.clip_value {
        fields.check("clip_value", value > 0.0, "a number above 0", value)?;
    }
    let lr = recipe.lr();
    fields.check("lr", lr > 0.0, "a learning rate above 0", lr)?;
    recipe.config.validate().map_err(|error| match error {
        cortical_optim::Error::Hyperparameter {
            option,
            expected,
            got,
            ..
        } => FieldError::Range {
            path: format!("optim.{option}"),
            expected: expected.to_owned(),
            found: got.to_string(),
        },
        other => FieldError::Range {
            path: "optim".to_owned(),
            expected: "hyperparameters in their ranges".to_owned(),
            found: other.to_string(),
        },
    })?;
    Ok(recipe)
}

/// What most recipes say, with messages of its own.
fn check_numbers(fields: &mut Fields<'_>) -> Result<(), FieldError> {
    let _: Option<f64> = fields.get("lr")?;
    let betas: Option<Vec<f64>> = fields.get("betas")?;
    if let Some(betas) = betas {
        let holds = betas.len() == 2 && betas.iter().all(|beta| (0.0..1.0).contains(beta));
        let expected = "two shares from 0 to below 1";
        fields.check("betas", holds, expected, format_args!("{betas:?}"))?;
    }
    Ok(())
}

/// TOML has an infinity, which no other number of a recipe may be.
fn read_norm_type(table: &Table) -> Option<f64> {
    match table.get("clip_norm_type")? {
        Value::Float(x) => Some(*x),
        Value::Integer(n) => Some(*n as f64),
        Value::String(text) => Some(text.parse().unwrap_or(f64::NAN)),
        _ => Some(f64::NAN),
    }
}

fn read_group(value: Value) -> Result<GroupRecipe, FieldError> {
    let shown = show(&value);
    let group =
        GroupRecipe::deserialize(value).map_err(|why: toml::de::Error| {
            match from_serde("optim.groups", why.message()) {
                FieldError::Range { path, .. } => FieldError::Type {
                    path,
                    expected: "tables such as { match = \"conv*\", lr_scale = 0.1 }".to_owned(),
                    found: shown,
                },
                other => other,
            }
        })?;
    for (name, x) in [
        ("lr_scale", group.lr_scale),
        ("weight_decay", group.weight_decay.unwrap_or(0.0)),
    ] {
        if !(x >= 0.0 && x.is_finite()) {
            return Err(FieldError::Range {
                path: format!("optim.groups.{name}"),
                expected: "a number of at least 0".to_owned(),
                found: x.to_string(),
            });
        }
    }
    Ok(group)
}

/// The algorithm's own fields over those of `base`.
fn read_config(
    table: &Table,
    kind: &str,
    base: &OptimizerConfig,
) -> Result<OptimizerConfig, FieldError> {
    let mut merged = fields_of(base);
    merged.insert("name".to_owned(), kind.into());
    let own = |name: &str| name == "kind" || OWN.iter().any(|(own, _)| *own == name);
    let mut config = *base;
    for (name, value) in table.iter().filter(|(name, _)| !own(name)) {
        let before = merged.insert(name.clone(), value.clone());
        config = OptimizerConfig::deserialize(Value::Table(merged.clone())).map_err(|why| {
            if why.message().starts_with("unknown field") {
                let known = fields_of(base);
                let known = known.keys().map(String::as_str);
                let known = known.chain(["kind"]).chain(OWN.map(|(own, _)| own));
                let known: Vec<&str> = known.collect();
                return unknown("optim", name, known.iter().copied());
            }
            wrong_type(
                &format!("optim.{name}"),
                value,
                before.as_ref(),
                why.message(),
            )
        })?;
    }
    Ok(config)
}

/// The fields as a recipe shows them, the well-known ones first.
pub(super) fn lines(recipe: &OptimRecipe) -> Vec<Line> {
    let line = |name, value, remark, is_default| Line {
        name,
        value,
        remark,
        is_default,
    };
    let (mut table, mut default) = (
        fields_of(&recipe.config),
        fields_of(&default_of(recipe.kind())),
    );
    let kind = Some(Value::from(recipe.kind()));
    let mut lines = vec![line(
        "kind",
        kind,
        "adamw, sgd, adam, lion, muon, ...",
        false,
    )];
    // The fields of the first recipes, in their order.
    let first: &[(&'static str, &'static str)] = match recipe.config {
        OptimizerConfig::AdamW(_) => &[
            ("lr", "base learning rate"),
            ("betas", "decay of the two running means"),
            ("eps", ""),
            ("weight_decay", ""),
        ],
        OptimizerConfig::Sgd(_) => &[
            ("lr", "base learning rate"),
            ("momentum", ""),
            ("nesterov", ""),
            ("weight_decay", ""),
        ],
        _ => &[("lr", "base learning rate")],
    };
    for (name, remark) in first {
        default.remove(*name);
        lines.push(line(name, table.remove(*name), remark, false));
    }
    for (name, value) in table {
        let is_default = default.get(&name) == Some(&value);
        let name = KNOWN.iter().find(|known| **known == name);
        lines.extend(name.map(|name| line(*name, Some(value), "", is_default)));
    }
    let groups = recipe.groups.iter().map(|g| Value::Table(to_table(g)));
    let groups: Vec<Value> = groups.collect();
    let values = [
        (recipe.clip_norm.map(Value::Float), false),
        (
            Some(Value::Float(recipe.clip_norm_type)),
            recipe.clip_norm_type == 2.0,
        ),
        (
            recipe.clip_value.map(Value::Float),
            recipe.clip_value.is_none(),
        ),
        (
            Some(Value::Boolean(recipe.decay_norms_and_biases)),
            recipe.decay_norms_and_biases,
        ),
        (Some(Value::Array(groups)), recipe.groups.is_empty()),
    ];
    for ((name, remark), (value, is_default)) in OWN.into_iter().zip(values) {
        lines.push(line(name, value, remark, is_default));
    }
    lines
}

/// The names of all hyperparameters.
const KNOWN: [&str; 21] = [
    "adjust_lr_fn",
    "alpha",
    "amsgrad",
    "betas",
    "centered",
    "dampening",
    "decoupled_weight_decay",
    "eps",
    "initial_accumulator_value",
    "lr_decay",
    "maximize",
    "momentum",
    "momentum_decay",
    "nesterov",
    "ns_coefficients",
    "ns_steps",
    "others",
    "rho",
    "weight_decay",
    "lr",
    "name",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_fields_in_its_lines() {
        for kind in KINDS {
            let recipe = OptimRecipe::new(default_of(kind));
            assert_eq!(recipe.kind(), kind);
            let lines = lines(&recipe);
            for name in fields_of(&recipe.config).keys() {
                assert!(lines.iter().any(|line| line.name == name), "{kind} {name}");
            }
        }
    }
}

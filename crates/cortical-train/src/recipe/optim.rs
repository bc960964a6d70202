//! The table `[optim]`: any optimizer of `cortical-optim`, limits on gradients, groups of parameters.

use cortical_optim::{Group, Norm, OptimizerConfig, SgdConfig};
use cortical_settings::{
    FieldError, Line, OneOf, Settings, Table, Value, not_negative, only, positive, rule, setting,
    settings,
};

settings! {
    /// Parameters with rates of their own.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct GroupRecipe {
        /// A pattern of names, such as `conv*.weight`.
        pub pattern as "match": String, "a pattern of names, such as conv*.weight";
        /// Factor of the learning rate.
        pub lr_scale: f64 = 1.0, "factor of the learning rate", not_negative();
        /// Weight decay in place of the optimizer's.
        pub weight_decay: Option<f64>, "weight decay in place of the optimizer's", not_negative().optional();
    }
}

settings! {
    /// The fields of `[optim]` beside those of the algorithm.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct GradientRecipe {
        /// The largest norm of all gradients together; 0 for no limit.
        pub clip_norm: Option<f64> = None, "the largest norm of all gradients together; 0: no limit", not_negative().optional();
        /// Which norm that is: 2, 1, any p above 0, or infinity.
        pub clip_norm_type: NormType = NormType(2.0), "which norm: 2, 1, another p, or inf",
            rule("a number above 0", |p: &NormType| p.0 > 0.0);
        /// The largest magnitude of a gradient's element, if there is a limit.
        pub clip_value: Option<f64> = None, "the largest magnitude of a gradient's element", positive().optional();
        /// Whether weight decay acts on biases and on the scales and shifts of norms as well.
        pub decay_norms_and_biases: bool = true, "false: weight decay on matrices and kernels only";
        /// Parameters with a learning rate or weight decay of their own; the first that fits a name counts.
        pub groups: Vec<GroupRecipe> = Vec::new(),
            "such as [{ match = \"conv*\", lr_scale = 0.1, weight_decay = 0.0 }]";
    }
}

/// Which norm a limit is about: `p` of `(Σ |x|ᵖ)^(1/p)`, or infinity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormType(pub f64);

setting!(
    NormType,
    "a number, or inf",
    |value| match value {
        Value::Float(p) => Some(NormType(*p)),
        Value::Integer(p) => Some(NormType(*p as f64)),
        Value::String(text) => text.parse().ok().map(NormType),
        _ => None,
    },
    |p| Value::Float(p.0)
);

/// The table `[optim]`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct OptimRecipe {
    /// The algorithm with its hyperparameters.
    pub config: OptimizerConfig,
    /// Limits on gradients, and groups of parameters.
    pub gradients: GradientRecipe,
}

/// The path of the table.
const PATH: &str = "optim";

impl OptimRecipe {
    /// This algorithm without limits and groups.
    #[must_use]
    pub fn new(config: OptimizerConfig) -> Self {
        Self {
            config,
            gradients: GradientRecipe::default(),
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

    /// The largest norm that gradients may have together; infinite where there is no limit.
    #[must_use]
    pub fn limit(&self) -> f64 {
        let limit = self.gradients.clip_norm.filter(|norm| *norm > 0.0);
        limit.unwrap_or(f64::INFINITY)
    }

    /// The norm that [`clip_norm`](GradientRecipe::clip_norm) limits.
    #[must_use]
    pub fn norm(&self) -> Norm {
        match self.gradients.clip_norm_type.0 {
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
        let mut groups: Vec<Group> = self.gradients.groups.iter().map(group).collect();
        if !self.gradients.decay_norms_and_biases {
            groups.push(Group::without_decay());
        }
        groups
    }

    /// Reads the table; what it does not say is as in `base`.
    pub(super) fn read(table: &Table, base: &Self) -> Result<Self, FieldError> {
        let names: Vec<&str> = GradientRecipe::names().collect();
        // PyTorch's defaults go nowhere with plain gradient descent, so a recipe begins with others.
        let sgd = OptimizerConfig::Sgd(SgdConfig {
            lr: 0.05,
            momentum: 0.9,
            weight_decay: 5e-4,
            ..SgdConfig::default()
        });
        let config = match base.config {
            OptimizerConfig::Sgd(_) => &base.config,
            _ if table.get("kind").and_then(Value::as_str) == Some(sgd.kind()) => &sgd,
            _ => &base.config,
        };
        let config = OptimizerConfig::read_beside(PATH, table, Some(config), &names)?;
        if config.lr() <= 0.0 {
            return Err(FieldError::Range {
                path: format!("{PATH}.lr"),
                expected: "a learning rate above 0".to_owned(),
                found: config.lr().to_string(),
            });
        }
        Ok(Self {
            config,
            gradients: Settings::read(PATH, &only::<GradientRecipe>(table), Some(&base.gradients))?,
        })
    }

    /// The fields as a recipe shows them.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines = self.config.lines("adamw, sgd, adam, lion, muon, ...");
        lines.extend(self.gradients.lines());
        lines
    }
}

//! Everything that decides how a language model is trained.

use crate::{Error, Override, Result};
use serde::{Deserialize, Serialize};

/// The version of the recipes that this program writes and reads.
pub const LANGUAGE_VERSION: u64 = 1;

/// A recipe for a language model, as TOML.
///
/// ```
/// use cortical_train::LanguageRecipe;
/// let recipe = LanguageRecipe::from_toml("kind = \"language\"\nversion = 1\nmodel = \"llama-tiny\"")?;
/// assert_eq!(recipe.train.block, 256);
/// assert_eq!(LanguageRecipe::from_toml(&recipe.to_toml())?, recipe);
/// # Ok::<(), cortical_train::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageRecipe {
    /// Always `language`.
    pub kind: String,
    /// [`LANGUAGE_VERSION`].
    pub version: u64,
    /// Decides what is random.
    #[serde(default)]
    pub seed: u64,
    /// A preset such as `llama-tiny`, or the folder or GGUF file of a model to train further.
    pub model: String,
    /// The text.
    #[serde(default)]
    pub data: LanguageData,
    /// The loop.
    #[serde(default)]
    pub train: LanguageTrain,
    /// AdamW and its schedule.
    #[serde(default)]
    pub optim: LanguageOptim,
    /// Train low-rank changes in place of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraRecipe>,
}

/// The text that a model learns from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LanguageData {
    /// `moby-dick`, a text file, or a folder of `.txt` files, each a document.
    pub text: String,
    /// `bytes`, `characters`, `bpe-2048` for byte pairs trained on the text, or `model` for that of the model.
    pub tokenizer: String,
    /// The share of the text, at its end, that is held out.
    pub held_out: f64,
}

impl Default for LanguageData {
    fn default() -> Self {
        Self {
            text: "moby-dick".to_owned(),
            tokenizer: "bytes".to_owned(),
            held_out: 0.1,
        }
    }
}

/// The loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LanguageTrain {
    /// Steps of the run.
    pub steps: u64,
    /// Blocks of a step.
    pub batch: usize,
    /// Tokens of a block.
    pub block: usize,
    /// Test on the held-out text every so many steps.
    pub eval_every: u64,
    /// Blocks of a test.
    pub eval_blocks: usize,
    /// Tokens of the text that is written at each test.
    pub sample_tokens: usize,
    /// Checkpoint every so many steps.
    pub checkpoint_every: u64,
    /// Checkpoints that are kept.
    pub keep: usize,
    /// A line of metrics every so many steps.
    pub log_every: u64,
}

impl Default for LanguageTrain {
    fn default() -> Self {
        Self {
            steps: 1000,
            batch: 8,
            block: 256,
            eval_every: 100,
            eval_blocks: 64,
            sample_tokens: 200,
            checkpoint_every: 100,
            keep: 2,
            log_every: 10,
        }
    }
}

/// AdamW, without decay of norms and biases, and a warm-up with half a cosine behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LanguageOptim {
    /// The highest learning rate.
    pub lr: f64,
    /// The lowest at the end, as a share of it.
    pub min_factor: f64,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// Weight decay of matrices.
    pub weight_decay: f64,
    /// AdamW's β₁ and β₂.
    pub betas: [f64; 2],
    /// The most that the gradients' norm may be; 0 for any.
    pub clip_norm: f64,
}

impl Default for LanguageOptim {
    fn default() -> Self {
        Self {
            lr: 3e-3,
            min_factor: 0.1,
            warmup: 50,
            weight_decay: 0.1,
            betas: [0.9, 0.95],
            clip_norm: 1.0,
        }
    }
}

/// Low-rank changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraRecipe {
    /// Their rank.
    pub rank: usize,
    /// Their scale times the rank.
    pub alpha: f64,
    /// The projections that get one.
    pub targets: Vec<String>,
    /// With a length for each weight vector.
    pub dora: bool,
}

impl Default for LoraRecipe {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            targets: vec!["q_proj".to_owned(), "v_proj".to_owned()],
            dora: false,
        }
    }
}

impl LanguageRecipe {
    /// A recipe for this model with what the other fields are by default.
    #[must_use]
    pub fn new(model: &str) -> Self {
        Self {
            kind: "language".to_owned(),
            version: LANGUAGE_VERSION,
            seed: 0,
            model: model.to_owned(),
            data: LanguageData::default(),
            train: LanguageTrain::default(),
            optim: LanguageOptim::default(),
            lora: None,
        }
    }

    /// Whether a recipe is one for a language model.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        let table: Result<toml::Table, _> = text.parse();
        table.is_ok_and(|table| table.get("kind").and_then(toml::Value::as_str) == Some("language"))
    }

    /// Reads a recipe.
    ///
    /// # Errors
    /// [`Error::RecipeSyntax`], [`Error::RecipeVersion`], [`Error::LanguageRecipe`] for a value that makes no sense.
    pub fn from_toml(text: &str) -> Result<Self> {
        let recipe: Self = toml::from_str(text).map_err(|error| Error::RecipeSyntax {
            line: error.span().map_or(1, |span| {
                text[..span.start.min(text.len())].lines().count().max(1)
            }),
            why: error.message().to_owned(),
        })?;
        if recipe.version != LANGUAGE_VERSION || recipe.kind != "language" {
            return Err(Error::RecipeVersion {
                expected: LANGUAGE_VERSION,
                found: recipe.version.to_string(),
            });
        }
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe with some fields set from outside.
    ///
    /// # Errors
    /// [`Error::Field`] for a path that leads nowhere; those of [`LanguageRecipe::from_toml`].
    pub fn with(&self, overrides: &[Override]) -> Result<Self> {
        let mut table: toml::Table = self
            .to_toml()
            .parse()
            .expect("a recipe that we wrote is TOML");
        for set in overrides {
            set.apply(&mut table)?;
        }
        let text = toml::to_string(&table).expect("what was read from TOML can be written as TOML");
        Self::from_toml(&text)
    }

    /// The recipe as TOML, with every default written out.
    ///
    /// # Panics
    /// Never: all of its fields can be written.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe has nothing that TOML cannot say")
    }

    fn check(&self) -> Result<()> {
        let (train, optim) = (&self.train, &self.optim);
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let rules = [
            ("train.steps", train.steps > 0, "at least 1"),
            (
                "train.batch",
                (1..=1 << 20).contains(&train.batch),
                "at least 1",
            ),
            (
                "train.block",
                (2..=1 << 20).contains(&train.block),
                "at least 2",
            ),
            ("train.eval_blocks", train.eval_blocks > 0, "at least 1"),
            ("optim.lr", positive(optim.lr), "a number above 0"),
            (
                "optim.min_factor",
                (0.0..=1.0).contains(&optim.min_factor),
                "from 0 to 1",
            ),
            (
                "data.held_out",
                (0.0..=0.9).contains(&self.data.held_out),
                "from 0 to 0.9",
            ),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            None => Ok(()),
            Some((field, _, expected)) => Err(Error::LanguageRecipe { field, expected }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_come_back_and_wrong_ones_say_where() {
        let mut recipe = LanguageRecipe::new("llama-tiny");
        recipe.lora = Some(LoraRecipe::default());
        assert_eq!(
            LanguageRecipe::from_toml(&recipe.to_toml()).unwrap(),
            recipe
        );
        assert!(LanguageRecipe::is_one(&recipe.to_toml()));
        assert!(!LanguageRecipe::is_one("version = 1"));
        let error = |text: &str| LanguageRecipe::from_toml(text).unwrap_err().to_string();
        let head = "kind = \"language\"\nversion = 1\nmodel = \"llama-tiny\"\n";
        let unknown = error(&format!("{head}[train]\nstep = 3"));
        assert!(
            unknown.contains("line 5") && unknown.contains("step"),
            "{unknown}"
        );
        let senseless = error(&format!("{head}[train]\nblock = 1"));
        assert_eq!(senseless, "recipe: train.block must be at least 2");
        let set = ["train.steps=7", "lora.rank=2"].map(|set| set.parse().unwrap());
        let changed = recipe.with(&set).unwrap();
        assert_eq!((changed.train.steps, changed.lora.unwrap().rank), (7, 2));
        assert!(error("kind = \"language\"\nversion = 9\nmodel = \"x\"").contains("found 9"));
    }
}

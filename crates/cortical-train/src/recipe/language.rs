//! Everything that decides how a language model is trained.

mod parts;

use cortical_models::fields::Fields;
use cortical_optim::{AdamWConfig, OptimizerConfig};
use cortical_settings::FieldError;
use toml::{Table, Value};

use super::section;
use super::write::{Line, values_of, whole, write_sections};
use super::{
    AverageRecipe, CheckpointRecipe, GuardRecipe, LogRecipe, OptimRecipe, Override, ScheduleRecipe,
    StartRecipe, fnv, optim, read,
};
use crate::Result;
pub use parts::{ClassifyRecipe, LanguageData, LanguageTrain, LoraRecipe, StorageType};

/// The version of the recipes that this program writes and reads.
pub const LANGUAGE_VERSION: u64 = 1;

/// A recipe for a language model, as TOML.
///
/// Its tables `[optim]`, `[schedule]`, `[average]`, `[start]`, `[guard]`, `[checkpoint]` and `[log]` are those of every other [recipe](super::Recipe).
///
/// ```
/// use cortical_train::LanguageRecipe;
/// let text = "kind = \"language\"\nversion = 1\nmodel = \"llama-tiny\"";
/// let recipe = LanguageRecipe::from_toml(text, &["optim.lr=1e-3".parse()?])?;
/// assert_eq!((recipe.train.block, recipe.optim.lr()), (256, 1e-3));
/// assert_eq!(LanguageRecipe::from_toml(&recipe.to_toml(), &[])?, recipe);
/// # Ok::<(), cortical_train::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LanguageRecipe {
    /// Decides what is random: first weights, blocks, samples.
    pub seed: u64,
    /// A preset such as `llama-tiny`, or the folder or GGUF file of a model to train further.
    pub model: String,
    /// The text.
    pub data: LanguageData,
    /// How a gradient changes the weights.
    pub optim: OptimRecipe,
    /// How the learning rate changes over the run.
    pub schedule: ScheduleRecipe,
    /// How long, and how much text at a time.
    pub train: LanguageTrain,
    /// Learn classes of texts in place of the next token.
    pub classify: Option<ClassifyRecipe>,
    /// Train low-rank changes in place of the weights.
    pub lora: Option<LoraRecipe>,
    /// A second set of weights that follows the trained ones.
    pub average: AverageRecipe,
    /// Where weights come from, and what of them is trained.
    pub start: StartRecipe,
    /// What happens when something is no number.
    pub guard: GuardRecipe,
    /// When the state is saved.
    pub checkpoint: CheckpointRecipe,
    /// How often metrics are written.
    pub log: LogRecipe,
}

/// The tables that are read by themselves.
const TABLES: [&str; 11] = [
    "data",
    "optim",
    "schedule",
    "train",
    "classify",
    "lora",
    "average",
    "start",
    "guard",
    "checkpoint",
    "log",
];

/// Steps of the warm-up where neither the recipe nor a short run says otherwise.
const WARMUP: u64 = 50;

impl LanguageRecipe {
    /// A recipe for this model with what the other fields are by default: AdamW without decay of norms and biases, and a warm-up with half a
    /// cosine behind it.
    #[must_use]
    pub fn new(model: &str) -> Self {
        let train = LanguageTrain::default();
        Self {
            seed: 0,
            model: model.to_owned(),
            data: LanguageData::default(),
            optim: OptimRecipe {
                clip_norm: Some(1.0),
                decay_norms_and_biases: false,
                ..OptimRecipe::new(adamw(3e-3))
            },
            schedule: ScheduleRecipe::Cosine {
                warmup_steps: WARMUP,
                min_factor: 0.1,
            },
            train,
            classify: None,
            lora: None,
            average: AverageRecipe::default(),
            start: StartRecipe::default(),
            guard: GuardRecipe::default(),
            checkpoint: CheckpointRecipe {
                every_steps: 100,
                ..CheckpointRecipe::default()
            },
            log: LogRecipe {
                every_steps: 10,
                ..LogRecipe::default()
            },
        }
    }

    /// As [`LanguageRecipe::new`] for classes of texts: three epochs of small steps, without a warm-up that might be longer than the run, and all
    /// held-out texts at each test.
    fn of_classes(model: &str) -> Self {
        let mut recipe = Self::new(model);
        recipe.optim.config = adamw(1e-4);
        recipe.schedule = ScheduleRecipe::Cosine {
            warmup_steps: 0,
            min_factor: 0.1,
        };
        recipe.train.epochs = 3;
        recipe.train.max_steps = 0;
        recipe.train.eval_blocks = 0;
        recipe.train.sample_tokens = 0;
        recipe.classify = Some(ClassifyRecipe::default());
        recipe
    }

    /// The recipe's first lines, to which everything else is a default.
    #[must_use]
    pub fn head(&self) -> String {
        let model = Value::from(self.model.as_str());
        format!("kind = \"language\"\nversion = {LANGUAGE_VERSION}\nmodel = {model}\n")
    }

    /// Whether a recipe is one for a language model.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        let table: std::result::Result<Table, _> = text.parse();
        table.is_ok_and(|table| table.get("kind").and_then(Value::as_str) == Some("language"))
    }

    /// Reads a recipe; `overrides` replace single fields.
    ///
    /// # Errors
    /// [`Error::RecipeSyntax`](crate::Error::RecipeSyntax) for text that is no TOML, [`Error::RecipeVersion`](crate::Error::RecipeVersion),
    /// [`Error::Field`](crate::Error::Field) for a field that does not exist, of the wrong type, or with a value that makes no sense.
    pub fn from_toml(text: &str, overrides: &[Override]) -> Result<Self> {
        let mut table = read::parse(text)?;
        for set in overrides {
            set.apply(&mut table)?;
        }
        read::check_version(&table, LANGUAGE_VERSION)?;
        let known = Self::new("").paths();
        Self::read(&table).map_err(|error| read::with_far_hint(error, &known).into())
    }

    fn read(table: &Table) -> Result<Self, FieldError> {
        let empty = Table::new();
        let mut fields = Fields::new("", table);
        let _: u64 = fields.required("version")?;
        let kind: String = fields.required("kind")?;
        fields.choose("kind", "kind of recipe", &kind, &[("language", ())])?;
        let model: String = fields.required("model")?;
        let name = "the name, folder or file of a language model";
        fields.check("model", !model.is_empty(), name, "nothing")?;
        let classifies = table.contains_key("classify");
        let base = match classifies {
            true => Self::of_classes(&model),
            false => Self::new(&model),
        };
        let seed = fields.or("seed", base.seed)?;
        let writable = seed <= i64::MAX as u64;
        fields.check("seed", writable, "at most 9223372036854775807", seed)?;
        for name in TABLES {
            fields.section(name)?;
        }
        fields.finish()?;
        let part = |name: &str| match table.get(name) {
            Some(Value::Table(table)) => table,
            _ => &empty,
        };
        let train = section::read("train", part("train"), &base.train)?;
        let classify = classifies
            .then(|| section::read("classify", part("classify"), &ClassifyRecipe::default()));
        if classifies && train.sample_tokens > 0 {
            return Err(FieldError::Range {
                path: "train.sample_tokens".to_owned(),
                expected: "0, as a model of classes writes no text".to_owned(),
                found: train.sample_tokens.to_string(),
            });
        }
        let lora = table.contains_key("lora");
        let lora = lora.then(|| section::read("lora", part("lora"), &LoraRecipe::default()));
        let schedule = Fields::new("schedule", part("schedule"));
        let schedule = ScheduleRecipe::read(schedule, part("schedule"), &warmed(&base, &train))?;
        if let ScheduleRecipe::Plateau(_) = schedule {
            return Err(FieldError::Range {
                path: "schedule.kind".to_owned(),
                expected: "a schedule over the steps of the run".to_owned(),
                found: "plateau".to_owned(),
            });
        }
        Ok(Self {
            seed,
            model,
            data: section::read("data", part("data"), &base.data)?,
            optim: optim::read(part("optim"), &base.optim)?,
            schedule,
            train,
            classify: classify.transpose()?,
            lora: lora.transpose()?,
            average: section::read("average", part("average"), &base.average)?,
            start: section::read("start", part("start"), &base.start)?,
            guard: section::read("guard", part("guard"), &base.guard)?,
            checkpoint: section::read("checkpoint", part("checkpoint"), &base.checkpoint)?,
            log: section::read("log", part("log"), &base.log)?,
        })
    }

    /// The recipe as TOML with every default written out; reading it gives this recipe again.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::from(
            "# A recipe of cortical: everything that is needed to repeat the training of a language model.\n",
        );
        write_sections(&mut out, self.sections());
        out
    }

    /// A number that tells recipes apart, for checkpoints.
    #[must_use]
    pub fn hash(&self) -> String {
        fnv(values_of(self.sections()).as_bytes())
    }

    /// A short name for run folders: the preset's, or the file's without its ending.
    #[must_use]
    pub fn short_name(&self) -> String {
        super::short_name(&self.model.trim_end_matches(".gguf").replace('.', "-"))
    }

    fn paths(&self) -> Vec<String> {
        super::write::paths_of(self.sections())
    }

    fn sections(&self) -> Vec<(&'static str, Vec<Line>)> {
        let text = |text: &str| Some(Value::from(text));
        let head = [
            ("kind", text("language"), ""),
            ("version", whole(LANGUAGE_VERSION), "of this format"),
            (
                "seed",
                whole(self.seed),
                "draws first weights, blocks and samples",
            ),
            (
                "model",
                text(&self.model),
                "a name that `cortical inspect` knows, a folder or a GGUF file",
            ),
        ];
        let mut sections = vec![
            ("", head.map(Line::from).into()),
            ("data", section::lines(&self.data)),
            ("optim", optim::lines(&self.optim)),
            ("schedule", self.schedule.lines()),
            ("train", section::lines(&self.train)),
        ];
        let classify = self.classify.iter();
        sections.extend(classify.map(|table| ("classify", section::lines(table))));
        sections.extend(self.lora.iter().map(|lora| ("lora", section::lines(lora))));
        sections.extend([
            ("average", section::lines(&self.average)),
            ("start", section::lines(&self.start)),
            ("guard", section::lines(&self.guard)),
            ("checkpoint", section::lines(&self.checkpoint)),
            ("log", section::lines(&self.log)),
        ]);
        sections
    }
}

/// The optimizer of language models.
fn adamw(lr: f64) -> OptimizerConfig {
    OptimizerConfig::AdamW(AdamWConfig {
        lr,
        betas: (0.9, 0.95),
        weight_decay: 0.1,
        ..AdamWConfig::default()
    })
}

/// The schedule of a run whose recipe names none: the warm-up of a short run is a tenth of it.
fn warmed(base: &LanguageRecipe, train: &LanguageTrain) -> ScheduleRecipe {
    match (&base.schedule, train.max_steps) {
        (ScheduleRecipe::Cosine { min_factor, .. }, steps) if steps > 0 => ScheduleRecipe::Cosine {
            warmup_steps: WARMUP.min(steps / 10),
            min_factor: *min_factor,
        },
        (schedule, _) => schedule.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "kind = \"language\"\nversion = 1\nmodel = \"llama-tiny\"\n";

    fn read(text: &str, set: &[&str]) -> Result<LanguageRecipe> {
        let set: Vec<Override> = set.iter().map(|set| set.parse().unwrap()).collect();
        LanguageRecipe::from_toml(text, &set)
    }

    #[test]
    fn what_is_written_reads_back_and_hashes_alike() {
        for set in [
            "seed=3",
            "lora.rank=2",
            "classify={}",
            "classify={ text = 2, label = \"stars\" }",
            "lora={ dora = true, targets = [\"down_proj\"] }",
            "train={ max_steps = 7, accumulate = 2, dtype = \"bf16\", epochs = 2 }",
            "data={ tokenizer = \"bpe-512\", test_fraction = 0 }",
            "optim={ kind = \"muon\", clip_norm = 2 }",
            "optim.groups=[{ match = \"*embed*\", lr_scale = 0.1 }]",
            "schedule.kind=constant",
            "average.kind=ema",
            "guard.on_nan=skip",
            "checkpoint={ every_steps = 5, keep = 1 }",
            "log.csv=true",
        ] {
            let recipe = read(HEAD, &[set]).unwrap();
            let text = recipe.to_toml();
            let again = read(&text, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(recipe, again, "{text}");
            assert_eq!(recipe.hash(), again.hash());
            assert!(LanguageRecipe::is_one(&text));
            assert_ne!(recipe.hash(), read(HEAD, &[]).unwrap().hash(), "{set}");
        }
        assert!(!LanguageRecipe::is_one("version = 1"));
    }

    #[test]
    fn a_short_run_has_a_short_warmup_unless_it_says_otherwise() {
        let warmup = |set: &[&str]| match read(HEAD, set).unwrap().schedule {
            ScheduleRecipe::Cosine { warmup_steps, .. } => warmup_steps,
            other => panic!("{other:?}"),
        };
        assert_eq!(warmup(&[]), 50);
        assert_eq!(warmup(&["train.max_steps=20"]), 2);
        assert_eq!(
            warmup(&["train.max_steps=20", "schedule.warmup_steps=9"]),
            9
        );
    }

    #[test]
    fn mistakes_are_named_with_their_full_path() {
        let check = |set: &str, want: &str| {
            let error = read(HEAD, &[set]).unwrap_err().to_string();
            assert_eq!(error, format!("recipe: {want}"), "{set}");
        };
        check(
            "train.max_step=1",
            "there is no field train.max_step; did you mean train.max_steps?",
        );
        check("lr=1", "there is no field lr; did you mean optim.lr?");
        check(
            "train.block=1",
            "train.block: expected from 2 to 1048576, found 1",
        );
        check(
            "train.max_steps=0",
            "train.max_steps: expected at least 1 where train.epochs is 0, found 0",
        );
        check(
            "train.dtype=f16",
            "train.dtype: expected \"f32\" or \"bf16\", found the text \"f16\"",
        );
        check(
            "data.tokenizer=bpe-many",
            "data.tokenizer: expected auto, model, bytes, characters, or bpe-N for N tokens, such as bpe-2048, found bpe-many",
        );
        check(
            "lora.rank=0",
            "lora.rank: expected from 1 to 65536, found 0",
        );
        check(
            "schedule.kind=plateau",
            "schedule.kind: expected a schedule over the steps of the run, found plateau",
        );
        check(
            "classify.label=text",
            "classify.label: expected another column than that of texts, found \"text\"",
        );
        check(
            "classify.labels=2",
            "there is no field classify.labels; did you mean classify.label?",
        );
        check(
            "kind=speech",
            "kind: there is no kind of recipe \"speech\"; known: language",
        );
        let error = |text: &str| read(text, &[]).unwrap_err().to_string();
        assert!(error(&format!("{HEAD}[train\n")).starts_with("recipe, line 4: "));
        assert!(error("kind = \"language\"\nversion = 9\nmodel = \"x\"").contains("found 9"));
        assert!(error("kind = \"language\"\nversion = 1").contains("model is missing"));
    }
}

//! The tables of a language model's recipe that no other recipe has.

use cortical_data::csv::LabelColumn;
use serde::{Deserialize, Serialize};

use crate::recipe::section::Section;

/// The table `[data]`: what a language model learns from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LanguageData {
    /// `moby-dick`, a text file, or a folder of `.txt` files, each a document; with `[classify]`, a CSV or TSV file.
    pub name: String,
    /// `auto`, `model` for that of the model, `bytes`, `characters`, or `bpe-2048` for byte pairs trained on the text.
    pub tokenizer: String,
    /// The share of the text, at its end, that is held out; of labelled texts the share of each class.
    pub test_fraction: f64,
}

impl Default for LanguageData {
    fn default() -> Self {
        Self {
            name: "moby-dick".to_owned(),
            tokenizer: "auto".to_owned(),
            test_fraction: 0.1,
        }
    }
}

impl Section for LanguageData {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        (
            "name",
            "moby-dick, a text file, a folder of .txt files, or a table of labelled texts",
        ),
        (
            "tokenizer",
            "auto, model, bytes, characters, or bpe-2048 to train one",
        ),
        (
            "test_fraction",
            "held out, from the text's end or of each class",
        ),
    ];
    const FIRST: &'static [&'static str] = &["name", "tokenizer", "test_fraction"];

    fn broken(&self) -> Option<(&'static str, &'static str, String)> {
        let holds = (0.0..=0.9).contains(&self.test_fraction);
        let size = self.tokenizer.strip_prefix("bpe-").map(str::parse::<u32>);
        let known = ["auto", "model", "bytes", "characters"].contains(&self.tokenizer.as_str());
        (!holds)
            .then(|| {
                let found = self.test_fraction.to_string();
                ("test_fraction", "a share from 0 to 0.9", found)
            })
            .or_else(|| {
                let expected =
                    "auto, model, bytes, characters, or bpe-N for N tokens, such as bpe-2048";
                let named = known || matches!(size, Some(Ok(_)));
                (!named).then(|| ("tokenizer", expected, self.tokenizer.clone()))
            })
    }
}

/// The form in which weights lie in memory and in the model's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageType {
    /// 32 bits.
    #[default]
    F32,
    /// The upper 16 of them: half the memory, three digits.
    Bf16,
}

/// The table `[train]` of a language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LanguageTrain {
    /// How often as many tokens as the text has are read; 0 for as many steps as `max_steps` says.
    pub epochs: u64,
    /// Steps after which the run ends; 0 for after its epochs.
    pub max_steps: u64,
    /// Blocks, or labelled texts, of a batch.
    pub batch_size: usize,
    /// Tokens of a block; the most that are read of a labelled text.
    pub block: usize,
    /// Batches whose gradients make one step.
    pub accumulate: u64,
    /// Seconds of training after which the run ends; 0 for no limit. What such a run computes depends on the machine's speed.
    pub time_budget_s: f64,
    /// Steps between two tests on the held-out text; 0 for one at the end.
    pub validate_every: u64,
    /// How many tests in a row may fail to improve before the run ends; 0 for any number.
    pub patience: u64,
    /// Blocks of a test, evenly spread over the held-out text, or labelled texts; 0 for all.
    pub eval_blocks: usize,
    /// Tokens of the text that the model writes at each test.
    pub sample_tokens: usize,
    /// How weights lie in memory and in the model's file.
    pub dtype: StorageType,
}

impl Default for LanguageTrain {
    fn default() -> Self {
        Self {
            epochs: 0,
            max_steps: 1000,
            batch_size: 8,
            block: 256,
            accumulate: 1,
            time_budget_s: 0.0,
            validate_every: 100,
            patience: 0,
            eval_blocks: 64,
            sample_tokens: 200,
            dtype: StorageType::F32,
        }
    }
}

impl Section for LanguageTrain {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        (
            "epochs",
            "how often the text's length is read; 0: as max_steps says",
        ),
        (
            "max_steps",
            "the run ends after so many; 0: after its epochs",
        ),
        ("batch_size", "blocks or texts of a batch"),
        ("block", "tokens of a block, or the most of a labelled text"),
        ("accumulate", "batches whose gradients make one step"),
        ("time_budget_s", "seconds of training; 0: no limit"),
        ("validate_every", "steps between tests; 0: one at the end"),
        (
            "patience",
            "tests without improvement before the end; 0: any number",
        ),
        (
            "eval_blocks",
            "blocks or texts of a test; 0: all that is held out",
        ),
        ("sample_tokens", "tokens that the model writes at a test"),
        ("dtype", "f32, or bf16 for weights of half the size"),
    ];
    const FIRST: &'static [&'static str] = &["epochs", "max_steps", "batch_size", "block"];

    fn broken(&self) -> Option<(&'static str, &'static str, String)> {
        let within = |name, n: u64, least: u64, most: u64, expected| {
            (!(least..=most).contains(&n)).then(|| (name, expected, n.to_string()))
        };
        let (million, billion) = (1 << 20, 1_000_000_000);
        let ends = self.epochs > 0 || self.max_steps > 0;
        within(
            "batch_size",
            self.batch_size as u64,
            1,
            million,
            "from 1 to 1048576",
        )
        .or_else(|| within("block", self.block as u64, 2, million, "from 2 to 1048576"))
        .or_else(|| {
            within(
                "accumulate",
                self.accumulate,
                1,
                million,
                "from 1 to 1048576",
            )
        })
        .or_else(|| within("epochs", self.epochs, 0, billion, "at most 1000000000"))
        .or_else(|| {
            let steps = self.max_steps;
            within("max_steps", steps, 0, 1 << 40, "at most 1099511627776")
        })
        .or_else(|| {
            let expected = "at least 1 where train.epochs is 0";
            (!ends).then(|| ("max_steps", expected, "0".to_owned()))
        })
        .or_else(|| {
            let (budget, expected) = (self.time_budget_s, "a number of at least 0");
            let holds = budget >= 0.0 && budget.is_finite();
            (!holds).then(|| ("time_budget_s", expected, budget.to_string()))
        })
    }
}

/// The table `[lora]`: low-rank changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
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

impl Section for LoraRecipe {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("rank", "numbers that a change is described by, each way"),
        ("alpha", "its scale times the rank"),
        ("targets", "the projections that get one"),
        ("dora", "with a length for each weight vector as well"),
    ];
    const FIRST: &'static [&'static str] = &["rank", "alpha", "targets", "dora"];

    fn broken(&self) -> Option<(&'static str, &'static str, String)> {
        let rank = (!(1..=1 << 16).contains(&self.rank)).then(|| self.rank.to_string());
        let rank = rank.map(|found| ("rank", "from 1 to 65536", found));
        let alpha = self.alpha.is_finite() && self.alpha > 0.0;
        rank.or_else(|| (!alpha).then(|| ("alpha", "a number above 0", self.alpha.to_string())))
            .or_else(|| {
                let expected = "names such as [\"q_proj\", \"v_proj\"]";
                let empty = self.targets.is_empty();
                empty.then(|| ("targets", expected, "none".to_owned()))
            })
    }
}

/// The table `[classify]`: the model learns classes of whole texts, which a table of texts and labels shows it, in place of the next token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ClassifyRecipe {
    /// The column of texts.
    pub text: LabelColumn,
    /// The column of labels.
    pub label: LabelColumn,
}

impl Default for ClassifyRecipe {
    fn default() -> Self {
        Self {
            text: LabelColumn::Name("text".to_owned()),
            label: LabelColumn::Name("label".to_owned()),
        }
    }
}

impl Section for ClassifyRecipe {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("text", "the column of texts, by name or by number from 1"),
        ("label", "the column of labels"),
    ];
    const FIRST: &'static [&'static str] = &["text", "label"];

    fn broken(&self) -> Option<(&'static str, &'static str, String)> {
        let same = self.text == self.label;
        let label =
            toml::Value::try_from(&self.label).map_or_else(|_| String::new(), |v| v.to_string());
        same.then_some(("label", "another column than that of texts", label))
    }
}

//! Recipes as TOML for people: every default written out, every field with a remark.

use cortical_settings::{Line, Settings, Value, join, values, write_table};

use super::read::Head;
use super::{Recipe, TaskRecipe};

impl Recipe {
    /// The recipe as TOML with every default written out; reading it gives this recipe again.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::from(
            "# A recipe of cortical: everything that is needed to repeat a training.\n",
        );
        for (name, lines) in self.tables() {
            write_table(&mut out, name, &lines);
        }
        out
    }

    /// A hash that differs between recipes, for checkpoints: FNV-1a of the fields that are not as by default. So a
    /// later version with more fields still knows the recipes of this one.
    #[must_use]
    pub fn hash(&self) -> String {
        let tables = self.tables();
        let all: String = tables
            .iter()
            .map(|(name, lines)| values(name, lines))
            .collect();
        fnv(all.as_bytes())
    }

    /// The full path of every field.
    pub(super) fn paths(&self) -> Vec<String> {
        let tables = self.tables().into_iter();
        tables
            .flat_map(|(table, lines)| lines.into_iter().map(move |line| join(table, line.name)))
            .collect()
    }

    /// Every table with its fields.
    fn tables(&self) -> Vec<(&'static str, Vec<Line>)> {
        let head = Head {
            seed: self.seed,
            device: self.device,
            ..Head::default()
        };
        let (mut head, mut data, mut train) = (head.lines(), self.data.lines(), self.train.lines());
        let mut own = Vec::new();
        let mut model = None;
        match &self.task {
            TaskRecipe::Samples(samples) => {
                data.extend(samples.data.lines());
                train.extend(samples.train.lines());
                model = Some(("model", samples.model.lines()));
                own.push(("augment", samples.augment.lines()));
            }
            TaskRecipe::Text(text) => {
                head.push(Line {
                    name: "model",
                    value: Some(Value::from(text.model.as_str())),
                    remark: "a name that `cortical inspect` knows, a folder or a GGUF file",
                    is_default: false,
                });
                data.extend(text.data.lines());
                train.extend(text.train.lines());
                own.extend(
                    text.classify
                        .iter()
                        .map(|table| ("classify", table.lines())),
                );
                own.extend(text.lora.iter().map(|table| ("lora", table.lines())));
            }
        }
        let mut tables = vec![("", head), ("data", data)];
        tables.extend(model);
        tables.extend([
            ("optim", self.optim.lines()),
            ("schedule", self.schedule.lines()),
            ("train", train),
        ]);
        tables.extend(own);
        tables.extend([
            ("average", self.average.lines()),
            ("start", self.start.lines()),
        ]);
        tables.extend(self.prune.iter().map(|table| ("prune", table.lines())));
        tables.extend([
            ("guard", self.guard.lines()),
            ("checkpoint", self.checkpoint.lines()),
            ("log", self.log.lines()),
        ]);
        tables
    }
}

/// The hash FNV-1a, as 16 hexadecimal digits.
fn fnv(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

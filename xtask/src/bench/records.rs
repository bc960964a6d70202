//! What was measured, kept in `docs/benchmarks.json`: a run of some workloads replaces their records and leaves the
//! others alone.

use super::instructions::InstructionSet;
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One workload on one side with one number of threads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// The median of the rounds.
    pub(crate) ms: f64,
    /// This side's time divided by ours, the median of the rounds; 1 for ourselves.
    pub(crate) ratio: f64,
    /// How far apart the quartiles of the rounds' ratios are, as a part of their median; older records have none.
    pub(crate) spread: Option<f64>,
    /// The most memory that any round's process had.
    pub(crate) peak_rss_mb: f64,
    /// The least time that the machine allows divided by ours; 0 for others.
    pub(crate) roofline_share: f64,
    /// `compute` or `memory`, the limit that takes the larger part; empty for others.
    pub(crate) bound: String,
    /// When.
    pub(crate) date: String,
}

/// Which workload, with which instructions and how many threads, on which side.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) bench: String,
    pub(crate) isa: InstructionSet,
    pub(crate) threads: usize,
    pub(crate) side: String,
}

/// A table of whole trainings or of other programs, which somebody measured by hand.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Table {
    /// The command, and what else has to be known to measure it again.
    pub(crate) how: String,
    /// When.
    pub(crate) date: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// Titles, and what each says.
pub(crate) type Facts = Vec<(String, String)>;

/// Everything that the page and the tables of other pages show.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Records {
    /// The machine and the versions of the last run with each instruction set: titles and what they say.
    pub(crate) machines: BTreeMap<InstructionSet, Facts>,
    /// All workloads, in the order of the table.
    pub(crate) order: Vec<String>,
    records: BTreeMap<Key, Record>,
    /// What was measured by hand, by the name that a page asks for it with.
    pub(crate) tables: BTreeMap<String, Table>,
}

impl Records {
    pub(crate) fn get(
        &self,
        bench: &str,
        (isa, threads): (InstructionSet, usize),
        side: &str,
    ) -> Option<&Record> {
        self.records.get(&Key {
            bench: bench.to_owned(),
            isa,
            threads,
            side: side.to_owned(),
        })
    }

    /// Keeps what the file will hold, so that a page made from the file is the page made now.
    pub(crate) fn set(&mut self, key: Key, record: Record) {
        let record = Record {
            ms: rounded(record.ms, 4),
            ratio: rounded(record.ratio, 3),
            spread: record.spread.map(|spread| rounded(spread, 3)),
            peak_rss_mb: rounded(record.peak_rss_mb, 1),
            roofline_share: rounded(record.roofline_share, 3),
            ..record
        };
        self.records.insert(key, record);
    }

    /// First and last day of the measurements with an instruction set.
    pub(crate) fn dates(&self, isa: InstructionSet) -> Option<(&str, &str)> {
        let dates = || {
            let records = self.records.iter().filter(|(key, _)| key.isa == isa);
            records.map(|(_, record)| record.date.as_str())
        };
        Some((dates().min()?, dates().max()?))
    }

    /// What the file holds; nothing if there is no file yet.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => return Err(Error::file("read", path)(source)),
        };
        Self::parse(&text).map_err(|reason| Error::Records {
            path: path.to_owned(),
            reason,
        })
    }

    /// What the text of a file holds, or why it holds nothing.
    pub(crate) fn parse(text: &str) -> std::result::Result<Self, String> {
        let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Self::from_json(&value).ok_or_else(|| "a field is missing or of another kind".to_owned())
    }

    fn from_json(value: &Value) -> Option<Self> {
        let mut machines = BTreeMap::new();
        for (isa, facts) in value["machines"].as_object()? {
            let pair =
                |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned()));
            let facts: Option<Facts> = facts.as_array()?.iter().map(pair).collect();
            machines.insert(InstructionSet::named(isa)?, facts?);
        }
        let mut records = BTreeMap::new();
        for line in value["records"].as_array()? {
            records.insert(
                Key {
                    bench: line["bench"].as_str()?.to_owned(),
                    isa: InstructionSet::named(line["isa"].as_str()?)?,
                    threads: usize::try_from(line["threads"].as_u64()?).ok()?,
                    side: line["side"].as_str()?.to_owned(),
                },
                Record {
                    ms: line["ms"].as_f64()?,
                    ratio: line["ratio"].as_f64()?,
                    spread: line["spread"].as_f64(),
                    peak_rss_mb: line["peak_rss_mb"].as_f64()?,
                    roofline_share: line["roofline_share"].as_f64()?,
                    bound: line["bound"].as_str()?.to_owned(),
                    date: line["date"].as_str()?.to_owned(),
                },
            );
        }
        let texts = |value: &Value| -> Option<Vec<String>> {
            let list = value.as_array()?.iter();
            list.map(|text| Some(text.as_str()?.to_owned())).collect()
        };
        let mut tables = BTreeMap::new();
        for (name, table) in value["tables"].as_object().into_iter().flatten() {
            let table = Table {
                how: table["how"].as_str()?.to_owned(),
                date: table["date"].as_str()?.to_owned(),
                head: texts(&table["head"])?,
                rows: table["rows"]
                    .as_array()?
                    .iter()
                    .map(texts)
                    .collect::<Option<_>>()?,
            };
            tables.insert(name.clone(), table);
        }
        Some(Self {
            machines,
            order: texts(&value["order"])?,
            records,
            tables,
        })
    }

    /// The file's text: a line for each record, so that a change is seen as one.
    pub(crate) fn to_text(&self) -> String {
        let line = |(key, record): (&Key, &Record)| {
            let mut object = Map::new();
            object.insert("bench".to_owned(), json!(key.bench));
            object.insert("isa".to_owned(), json!(key.isa.name()));
            object.insert("threads".to_owned(), json!(key.threads));
            object.insert("side".to_owned(), json!(key.side));
            object.insert("ms".to_owned(), json!(record.ms));
            object.insert("ratio".to_owned(), json!(record.ratio));
            object.insert("spread".to_owned(), json!(record.spread));
            object.insert("peak_rss_mb".to_owned(), json!(record.peak_rss_mb));
            object.insert("roofline_share".to_owned(), json!(record.roofline_share));
            object.insert("bound".to_owned(), json!(record.bound));
            object.insert("date".to_owned(), json!(record.date));
            format!("    {}", Value::Object(object))
        };
        let records: Vec<String> = self.records.iter().map(line).collect();
        let facts = |(isa, facts): (&InstructionSet, &Facts)| {
            let lines: Vec<String> = facts
                .iter()
                .map(|pair| format!("      {}", json!(pair)))
                .collect();
            format!("    {}: [\n{}\n    ]", json!(isa.name()), lines.join(",\n"))
        };
        let machines: Vec<String> = self.machines.iter().map(facts).collect();
        let table = |(name, table): (&String, &Table)| {
            let rows: Vec<String> = table
                .rows
                .iter()
                .map(|row| format!("        {}", json!(row)))
                .collect();
            format!(
                "    {}: {{\n      \"how\": {},\n      \"date\": {},\n      \"head\": {},\n      \"rows\": [\n{}\n      ]\n    }}",
                json!(name),
                json!(table.how),
                json!(table.date),
                json!(table.head),
                rows.join(",\n")
            )
        };
        let tables: Vec<String> = self.tables.iter().map(table).collect();
        format!(
            "{{\n  \"machines\": {{\n{}\n  }},\n  \"order\": {},\n  \"records\": [\n{}\n  ],\n  \"tables\": {{\n{}\n  }}\n}}\n",
            machines.join(",\n"),
            json!(self.order),
            records.join(",\n"),
            tables.join(",\n")
        )
    }
}

fn rounded(x: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (x * scale).round() / scale
}

/// The middle of some numbers, the mean of the two middle ones if their number is even.
pub(crate) fn median(numbers: &[f64]) -> f64 {
    quantile(numbers, 0.5)
}

/// How far apart the quartiles are, as a part of the median.
pub(crate) fn spread(numbers: &[f64]) -> f64 {
    (quantile(numbers, 0.75) - quantile(numbers, 0.25)) / median(numbers)
}

/// The number that a part of all lies below, between two of them where it falls there.
fn quantile(numbers: &[f64], part: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = part * last as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    fn two_runs() -> Table {
        Table {
            how: "cortical train".to_owned(),
            date: "2026-11-25".to_owned(),
            head: ["seed", "time"].map(str::to_owned).to_vec(),
            rows: [["1", "60 s"], ["2", "61 s"]]
                .map(|row| row.map(str::to_owned).to_vec())
                .to_vec(),
        }
    }

    pub(crate) const AVX512: InstructionSet = InstructionSet::Avx512;

    /// Two workloads on two sides, and a third that was measured on ours alone.
    pub(crate) fn sample() -> Records {
        let mut records = Records {
            machines: [(
                AVX512,
                vec![("Processor".to_owned(), "Example 1000, 2 threads".to_owned())],
            )]
            .into(),
            order: ["mlp_train_b32", "cnn_train_b64", "adamw_10m"]
                .map(str::to_owned)
                .to_vec(),
            tables: [("two_runs".to_owned(), two_runs())].into(),
            ..Records::default()
        };
        let mut add = |bench: &str, threads, side: &str, ms, ratio| {
            let own = side == "cortical";
            let key = Key {
                bench: bench.to_owned(),
                isa: AVX512,
                threads,
                side: side.to_owned(),
            };
            let record = Record {
                ms,
                ratio,
                spread: Some(0.02),
                peak_rss_mb: if own { 100.0 } else { 400.0 },
                roofline_share: if own { 0.5 } else { 0.0 },
                bound: if own { "compute" } else { "" }.to_owned(),
                date: "2026-11-25".to_owned(),
            };
            records.set(key, record);
        };
        for (threads, factor) in [(1, 1.0), (2, 2.0)] {
            add("mlp_train_b32", threads, "cortical", 1.0 / factor, 1.0);
            add("mlp_train_b32", threads, "torch", 2.0 / factor, 2.0);
            add("cnn_train_b64", threads, "cortical", 40.0 / factor, 1.0);
            add("cnn_train_b64", threads, "torch", 20.0 / factor, 0.5);
            add("cnn_train_b64", threads, "candle-nn", 400.0 / factor, 10.0);
        }
        add("adamw_10m", 1, "cortical", 7.0, 1.0);
        records
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{AVX512, sample};
    use super::*;

    #[test]
    fn records_come_back_as_they_were_written() {
        let records = sample();
        let value = serde_json::from_str(&records.to_text()).expect("it is JSON");
        assert_eq!(Records::from_json(&value), Some(records));
    }

    #[test]
    fn what_is_kept_is_what_is_written() {
        let mut records = sample();
        let key = Key {
            bench: "adamw_10m".to_owned(),
            isa: AVX512,
            threads: 2,
            side: "torch".to_owned(),
        };
        let third = Record {
            ms: 10.0 / 3.0,
            ratio: 1.0 / 3.0,
            spread: Some(0.1 / 3.0),
            peak_rss_mb: 1000.0 / 3.0,
            roofline_share: 1.0 / 3.0,
            bound: String::new(),
            date: "2026-11-26".to_owned(),
        };
        records.set(key, third);
        let value = serde_json::from_str(&records.to_text()).expect("it is JSON");
        assert_eq!(Records::from_json(&value), Some(records));
    }

    #[test]
    fn a_run_of_one_workload_leaves_the_others_alone() {
        let mut records = sample();
        let key = Key {
            bench: "adamw_10m".to_owned(),
            isa: AVX512,
            threads: 1,
            side: "cortical".to_owned(),
        };
        let mut faster = records
            .get("adamw_10m", (AVX512, 1), "cortical")
            .expect("measured")
            .clone();
        faster.ms = 6.0;
        records.set(key, faster);
        assert_eq!(
            records
                .get("adamw_10m", (AVX512, 1), "cortical")
                .map(|r| r.ms),
            Some(6.0)
        );
        assert_eq!(
            records
                .get("mlp_train_b32", (AVX512, 2), "torch")
                .map(|r| r.ms),
            Some(1.0)
        );
    }

    #[test]
    fn a_file_that_is_something_else_is_refused() {
        for text in [
            "{}",
            "{\"machines\": {}, \"order\": [], \"records\": [{\"bench\": 3}]}",
        ] {
            let value = serde_json::from_str(text).expect("it is JSON");
            assert_eq!(Records::from_json(&value), None, "{text}");
        }
        let nowhere = Records::read(Path::new("no/such/file.json")).expect("no file is no error");
        assert_eq!(nowhere, Records::default());
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_spread_is_half_of_the_numbers_wide() {
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0, 5.0]), 2.0 / 3.0);
        assert_eq!(spread(&[2.0, 2.0, 2.0]), 0.0);
        // One number far away changes nothing.
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0, 500.0]), 2.0 / 3.0);
    }
}

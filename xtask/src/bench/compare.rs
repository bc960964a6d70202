//! `bench --peers`: workload by workload the sides take turns, a few steps each, and what they say becomes the page.

use super::chart;
use super::documents;
use super::idle;
use super::instructions::InstructionSet;
use super::machine;
use super::options::Options;
use super::page;
use super::peer::Peer;
use super::records::{Key, Record, Records, median, spread};
use super::sides::{self, Running, Side};
use crate::error::{Error, Result};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Where the results lie, beside the page that is made of them.
pub(crate) const RECORDS: &str = "docs/benchmarks.json";
const PAGE: &str = "docs/benchmarks.md";
const CHART: &str = "docs/benchmarks.svg";
/// Pages with tables of what was measured.
const DOCUMENTS: [&str; 3] = [
    "docs/TRAINING.md",
    "docs/language-models.md",
    "docs/limits.md",
];

/// A turn is about so long, so that it outlasts what a processor does for a moment, and has so many steps.
const TURN_MS: f64 = 60.0;
const STEPS: std::ops::RangeInclusive<usize> = 2..=100;
/// Ratios whose quartiles are further apart than this part of them say nothing.
const MOST_SPREAD: f64 = 0.15;

/// Measures what `options` ask for, keeps it beside what was measured before, and writes page and chart.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let mut records = Records::read(&root.join(RECORDS))?;
    if options.page_only {
        return publish(root, &records);
    }
    let sides = sides::install(root, options)?;
    let own = &sides[0];
    let benches = own.list(root, &options.names)?;
    if options.install_only {
        return Ok(());
    }
    records.order = own.list(root, &[])?;
    let pin = sides::can_pin();
    let isas = match options.isas.is_empty() {
        true => InstructionSet::of_this_machine(),
        false => options.isas.clone(),
    };
    for (nth, &isa) in isas.iter().enumerate() {
        // Only PyTorch can be held to fewer instructions than the machine has.
        let sides: Vec<&Side> = sides
            .iter()
            .filter(|side| nth == 0 || matches!(side.peer, None | Some(Peer::Torch)))
            .collect();
        for bench in &benches {
            let mut last_own_line = Value::Null;
            for &threads in &options.threads {
                idle::warn();
                let mut row = Row::start(root, &sides, bench, (isa, threads), pin)?;
                row.take_turns(options.rounds)?;
                let measured = row.end()?;
                let ran_with = measured[0].0["isa"].as_str().unwrap_or_default();
                if ran_with != isa.name() {
                    return Err(Error::Instructions {
                        asked: isa.name(),
                        got: ran_with.to_owned(),
                    });
                }
                last_own_line = keep(&mut records, bench, (isa, threads), &measured);
            }
            // After every workload, so that a run that is stopped has not been in vain.
            let facts = records.machines.entry(isa).or_default();
            *facts = machine::describe(root, options, &last_own_line, facts)?;
            publish(root, &records)?;
        }
    }
    Ok(())
}

/// What a side said at its end, with the milliseconds of a step in each of its turns.
type Measured = (Value, Vec<f64>);

/// A workload with all its sides, each warm and waiting for its turn.
struct Row<'s> {
    running: Vec<(&'s Side, Running, Vec<f64>)>,
}

impl<'s> Row<'s> {
    fn start(
        root: &Path,
        sides: &[&'s Side],
        bench: &str,
        with: (InstructionSet, usize),
        pin: bool,
    ) -> Result<Self> {
        let mut running = Vec::new();
        for side in sides {
            if let Some(started) = side.start(root, bench, with, pin)? {
                running.push((*side, started, Vec::new()));
            }
        }
        Ok(Self { running })
    }

    /// Every side has its turn in every round, in the other order each time.
    fn take_turns(&mut self, rounds: usize) -> Result<()> {
        let mut steps = Vec::new();
        for (_, side, _) in &mut self.running {
            // The first turn says how many steps the others have.
            let times = side.turn(*STEPS.start())?;
            let fitting = (TURN_MS / median(&times)).ceil() as usize;
            steps.push(fitting.clamp(*STEPS.start(), *STEPS.end()));
        }
        for round in 0..rounds {
            let mut order: Vec<usize> = (0..self.running.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for at in order {
                let (_, side, turns) = &mut self.running[at];
                // The first step finds the caches full of the other side's numbers.
                let times = side.turn(steps[at] + 1)?;
                turns.push(median(&times[1..]));
            }
        }
        Ok(())
    }

    /// By side, ours first.
    fn end(self) -> Result<Vec<Measured>> {
        let ended = self.running.into_iter().map(|(side, running, turns)| {
            let mut said = running.end()?;
            said["side"] = side.name().into();
            Ok((said, turns))
        });
        ended.collect()
    }
}

/// Keeps a row unless the rounds differ too much; gives back what our own side said.
fn keep(
    records: &mut Records,
    bench: &str,
    (isa, threads): (InstructionSet, usize),
    measured: &[Measured],
) -> Value {
    let (own, own_turns) = &measured[0];
    let row: Vec<(String, Record)> = measured
        .iter()
        .map(|(said, turns)| {
            let side = said["side"].as_str().unwrap_or_default().to_owned();
            (side, record(said, turns, own_turns))
        })
        .collect();
    let hidden = row
        .iter()
        .find(|(_, record)| record.spread.is_none_or(|spread| spread > MOST_SPREAD));
    for (side, record) in &row {
        println!(
            "{}, {bench}, {threads} thread(s), {side}: {:.4} ms, {:.2} of ours, half of the rounds within {:.0} %",
            isa.name(),
            record.ms,
            record.ratio,
            record.spread.unwrap_or(f64::NAN) * 100.0
        );
    }
    if let Some((side, _)) = hidden {
        println!(
            "{bench}: the rounds beside {side} differ too much, so the row is not kept; run it again on a quiet machine or with more --rounds"
        );
        return own.clone();
    }
    for (side, record) in row {
        let bench = bench.to_owned();
        let key = Key {
            bench,
            isa,
            threads,
            side,
        };
        records.set(key, record);
    }
    own.clone()
}

/// The medians of one side's rounds; ratios are taken round by round, as a machine has slow minutes.
fn record(said: &Value, turns: &[f64], own: &[f64]) -> Record {
    let number = |key: &str| said[key].as_f64().unwrap_or(0.0);
    let pairs = turns.iter().zip(own);
    let ratios: Vec<f64> = pairs.map(|(turn, own)| turn / own).collect();
    let ms = median(turns);
    Record {
        ms,
        ratio: median(&ratios),
        spread: Some(spread(&ratios)).filter(|spread| spread.is_finite()),
        peak_rss_mb: number("peak_rss_mb"),
        roofline_share: number("roofline_ms") / ms,
        bound: said["bound"].as_str().unwrap_or_default().to_owned(),
        date: machine::today(),
    }
}

/// Writes what was measured, the page, the chart, and the tables of other pages.
fn publish(root: &Path, records: &Records) -> Result<()> {
    let files = [
        (RECORDS, records.to_text()),
        (PAGE, page::render(records)),
        (CHART, chart::render(records)),
    ];
    for (name, text) in files {
        let path = root.join(name);
        fs::write(&path, text).map_err(Error::file("write", &path))?;
    }
    for name in DOCUMENTS {
        let path = root.join(name);
        let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
        let text = documents::filled(&text, records).map_err(|(line, reason)| Error::Document {
            path: path.clone(),
            line,
            reason,
        })?;
        fs::write(&path, text).map_err(Error::file("write", &path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::root;
    use serde_json::json;

    #[test]
    fn ratios_are_taken_round_by_round() {
        let said = json!({ "peak_rss_mb": 30.0, "bound": "memory", "roofline_ms": 2.0 });
        let record = record(&said, &[3.0, 10.0, 4.0], &[1.0, 10.0, 2.0]);
        assert_eq!((record.ms, record.ratio), (4.0, 2.0));
        // A quarter of the way from 1 to 2 and from 2 to 3.
        assert_eq!(record.spread, Some(0.5));
        assert_eq!(
            (
                record.peak_rss_mb,
                record.roofline_share,
                record.bound.as_str()
            ),
            (30.0, 0.5, "memory")
        );
    }

    #[test]
    fn a_row_whose_rounds_differ_too_much_is_not_kept() {
        let row = |turns: [f64; 4]| {
            let said = |side: &str| json!({ "side": side });
            vec![
                (said("cortical"), vec![1.0; 4]),
                (said("torch"), turns.to_vec()),
            ]
        };
        let mut records = Records::default();
        let with = (InstructionSet::Avx2, 1);
        keep(&mut records, "mlp", with, &row([1.0, 2.0, 3.0, 4.0]));
        assert_eq!(records.get("mlp", with, "cortical"), None);
        keep(&mut records, "mlp", with, &row([2.0, 2.1, 2.0, 2.1]));
        let kept = records
            .get("mlp", with, "torch")
            .expect("they differ little");
        assert_eq!((kept.ratio, kept.ms), (2.05, 2.05));
    }

    #[test]
    fn the_page_and_the_chart_say_what_the_records_hold() {
        let root = root();
        let records = Records::read(&root.join(RECORDS)).expect("the records can be read");
        for (name, want) in [
            (PAGE, page::render(&records)),
            (CHART, chart::render(&records)),
        ] {
            let got = fs::read_to_string(root.join(name)).expect(name);
            assert!(
                got == want,
                "{name} is out of date: cargo xtask bench --peers --page"
            );
        }
    }
}

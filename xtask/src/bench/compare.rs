//! `bench --peers`: the sides run in turn, workload by workload, and what they say becomes the page.

use super::chart;
use super::documents;
use super::machine;
use super::options::Options;
use super::page;
use super::records::{Key, Record, Records, median};
use super::sides::{self, Side};
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
    let mut last_own_line = Value::Null;
    for bench in &benches {
        for &threads in &options.threads {
            let measured = rounds(&sides, options.rounds, |side| {
                side.run(root, bench, threads, pin)
            })?;
            for (side, lines) in sides.iter().zip(&measured) {
                let Some(record) = record(lines, &measured[0]) else {
                    continue;
                };
                println!(
                    "{bench}, {threads} thread(s), {}: {:.4} ms, {:.2} of ours",
                    side.name(),
                    record.ms,
                    record.ratio
                );
                let key = Key {
                    bench: bench.clone(),
                    threads,
                    side: side.name().to_owned(),
                };
                records.set(key, record);
            }
            last_own_line = measured[0].last().cloned().unwrap_or_default();
        }
        // After every workload, so that a run that is stopped has not been in vain.
        records.machine = machine::describe(root, options, &last_own_line, &records.machine)?;
        publish(root, &records)?;
    }
    Ok(())
}

/// The lines of each side, one a round; a side that has not this workload has none.
fn rounds(
    sides: &[Side],
    rounds: usize,
    run: impl Fn(&Side) -> Result<Option<Value>>,
) -> Result<Vec<Vec<Value>>> {
    let mut lines = vec![Vec::new(); sides.len()];
    for round in 0..rounds {
        for (side, lines) in sides.iter().zip(&mut lines) {
            // Who had nothing to say in the first round has nothing in the next one.
            if round == lines.len() {
                lines.extend(run(side)?);
            }
        }
    }
    Ok(lines)
}

/// The medians of one side's rounds; ratios are taken round by round, as a machine has slow minutes.
fn record(lines: &[Value], own: &[Value]) -> Option<Record> {
    let number = |line: &Value, key: &str| line[key].as_f64().unwrap_or(0.0);
    let all = |key: &str| -> Vec<f64> { lines.iter().map(|line| number(line, key)).collect() };
    let ratios: Vec<f64> = lines
        .iter()
        .zip(own)
        .map(|(line, own)| number(line, "ms") / number(own, "ms"))
        .collect();
    let last = lines.last()?;
    Some(Record {
        ms: median(&all("ms")),
        ratio: median(&ratios),
        peak_rss_mb: all("peak_rss_mb").into_iter().fold(0.0, f64::max),
        roofline_share: median(&all("roofline_share")),
        bound: last["bound"].as_str().unwrap_or_default().to_owned(),
        date: machine::today(),
    })
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
        let line = |ms: f64| json!({ "ms": ms, "peak_rss_mb": ms * 10.0, "bound": "memory" });
        let own = [line(1.0), line(10.0), line(2.0)];
        let other = [line(3.0), line(10.0), line(4.0)];
        let record = record(&other, &own).expect("there are lines");
        assert_eq!((record.ms, record.ratio), (4.0, 2.0));
        assert_eq!(
            (record.peak_rss_mb, record.bound.as_str()),
            (100.0, "memory")
        );
        assert_eq!(super::record(&[], &own), None);
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

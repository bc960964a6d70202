//! What pruning came to: a table, and a page with curves.

use std::path::Path;

use cortical_report::{LineChart, Page, Series, number};
use serde_json::{Value, json};

use crate::{Figures, Result, Timed};

/// What pruning came to, in the folder of the new run.
const REPORT: &str = "prune.json";
const PAGE: &str = "prune.html";

/// How many neurons of a group stayed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Width {
    /// The layers that make them.
    pub layers: Vec<String>,
    /// How many there were.
    pub before: usize,
    /// How many there are.
    pub after: usize,
}

/// A model before and after.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// What was removed, in words.
    pub method: String,
    /// Before.
    pub before: Figures,
    /// After.
    pub after: Figures,
    /// Groups of neurons that have become smaller.
    pub widths: Vec<Width>,
    /// How long the whole network takes with one group of neurons narrower, where that was measured.
    pub table: Vec<Timed>,
    /// What was measured while training went on: step, and accuracy or perplexity on the validation part.
    pub curve: Vec<(f64, f64)>,
    /// Remarks, a sentence each.
    pub remarks: Vec<String>,
}

impl Report {
    pub(crate) fn new(method: String, before: Figures, after: Figures) -> Self {
        Self {
            method,
            before,
            after,
            widths: Vec::new(),
            table: Vec::new(),
            curve: Vec::new(),
            remarks: Vec::new(),
        }
    }

    /// The rows of a table: what, before, after, and the ratio of the two.
    #[must_use]
    pub fn rows(&self) -> Vec<[String; 4]> {
        let (a, b) = (&self.before, &self.after);
        let mut rows = Vec::new();
        let mut share = |name: &str, a: Option<f64>, b: Option<f64>| {
            if let (Some(a), Some(b)) = (a, b) {
                let points = format!("{:+.2} points", (b - a) * 100.0);
                let percent = |x: f64| format!("{:.2} %", x * 100.0);
                rows.push([name.to_owned(), percent(a), percent(b), points]);
            }
        };
        share("accuracy", a.accuracy, b.accuracy);
        let ratio = |a: f64, b: f64| match a > 0.0 {
            true => format!("{:.3}x", b / a),
            false => String::new(),
        };
        for (name, a, b) in [
            ("perplexity", a.perplexity, b.perplexity),
            ("loss", a.loss, b.loss),
        ] {
            if let (Some(a), Some(b)) = (a, b) {
                rows.push([
                    name.to_owned(),
                    format!("{a:.4}"),
                    format!("{b:.4}"),
                    ratio(a, b),
                ]);
            }
        }
        let mut whole = |name: &str, a: u64, b: u64| {
            let grouped = |n: u64| {
                cortical_models::language::grouped(usize::try_from(n).unwrap_or(usize::MAX))
            };
            rows.push([
                name.to_owned(),
                grouped(a),
                grouped(b),
                ratio(a as f64, b as f64),
            ]);
        };
        whole("parameters", a.parameters as u64, b.parameters as u64);
        let live = |figures: &Figures| (figures.parameters - figures.pruned) as u64;
        if a.pruned + b.pruned > 0 {
            whole("not pruned", live(a), live(b));
        }
        if let (Some(a), Some(b)) = (a.multiply_adds, b.multiply_adds) {
            whole("multiply-adds", a, b);
        }
        whole("file, bytes", a.file_bytes, b.file_bytes);
        for ((batch, a), (_, b)) in a.milliseconds.iter().zip(&b.milliseconds) {
            let faster = format!("{:.2}x as fast", a / b);
            let name = format!("ms for {batch} at a time");
            rows.push([name, format!("{a:.4}"), format!("{b:.4}"), faster]);
        }
        rows
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let widths = self.widths.iter().map(
            |width| json!({ "layers": width.layers, "before": width.before, "after": width.after }),
        );
        let table = self.table.iter().map(|timed| {
            json!({ "layers": timed.layers, "width": timed.width, "ms": timed.ms, "pays": timed.pays })
        });
        json!({
            "method": self.method,
            "before": self.before.to_json(),
            "after": self.after.to_json(),
            "widths": widths.collect::<Vec<_>>(),
            "table": table.collect::<Vec<_>>(),
            "curve": self.curve,
            "remarks": self.remarks,
        })
    }

    /// As a page of its own.
    #[must_use]
    pub fn to_html(&self, title: &str) -> String {
        let mut page = Page::new(title, &self.method);
        let rows: Vec<Vec<String>> = self.rows().into_iter().map(Vec::from).collect();
        page.section("Before and after")
            .table(&["", "before", "after", ""], &rows);
        if !self.curve.is_empty() {
            let classes = self.before.accuracy.is_some();
            let name = if classes {
                "Validation accuracy"
            } else {
                "Validation perplexity"
            };
            let last = self.curve.last().map_or(0.0, |(step, _)| *step);
            let first = self.curve.first().map_or(0.0, |(step, _)| *step);
            let before = self.before.accuracy.or(self.before.perplexity);
            let mut chart = LineChart::new(name, "step")
                .series(Series::new("after pruning", self.curve.clone()));
            if let Some(before) = before {
                let line = [(first, before), (last, before)];
                chart = chart.series(Series::new("before, on the test part", line).faint());
            }
            page.section("While it was trained on")
                .chart(&chart.to_svg());
        }
        if !self.widths.is_empty() {
            let rows: Vec<Vec<String>> = self
                .widths
                .iter()
                .map(|width| {
                    let share = width.after as f64 / width.before.max(1) as f64;
                    let layers = width.layers.join(", ");
                    vec![
                        layers,
                        width.before.to_string(),
                        width.after.to_string(),
                        number(share),
                    ]
                })
                .collect();
            page.section("Neurons")
                .table(&["made by", "before", "after", "share"], &rows);
        }
        if !self.table.is_empty() {
            let mut chart =
                LineChart::new("Milliseconds of the network, one group narrower", "neurons");
            let mut groups: Vec<&Vec<String>> =
                self.table.iter().map(|timed| &timed.layers).collect();
            groups.dedup();
            for layers in groups {
                let own = self.table.iter().filter(|timed| timed.layers == *layers);
                let points = own.map(|timed| (timed.width as f64, timed.ms));
                chart = chart.series(Series::new(&layers.join(", "), points));
            }
            page.section("Width against time, measured first")
                .chart(&chart.to_svg());
        }
        for remark in &self.remarks {
            page.text(remark);
        }
        page.to_html()
    }
}

/// Writes a report for machines and for people into the folder of the new run.
pub(crate) fn write(out: &Path, report: &Report) -> Result<()> {
    let json = format!("{:#}\n", report.to_json());
    let name = out
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let html = report.to_html(&format!("{name}, pruned"));
    for (file, text) in [(REPORT, json), (PAGE, html)] {
        cortical_io::write_atomic(out.join(file), |file| file.write_all(text.as_bytes()))?;
    }
    Ok(())
}

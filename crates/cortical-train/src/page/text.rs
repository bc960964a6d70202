//! What the page of a language model shows beside curves: what it wrote as it learned, or the texts that it is most
//! wrong about.

use cortical_report::{Page, number};
use serde_json::Value;

use super::{Run, percent};
use crate::measured::TextMistake;
use crate::report::Report;

/// Texts that are shown at most.
const SAMPLES: usize = 12;

pub(super) fn sections(run: &Run<'_>, page: &mut Page) {
    mistakes(page, run.report);
    samples(page, run.lines);
}

/// The texts that the model is most wrong about.
fn mistakes(page: &mut Page, report: &Report) {
    if report.mistakes.is_empty() {
        return;
    }
    let row = |mistake: &TextMistake| {
        vec![
            mistake.text.clone(),
            mistake.label.clone(),
            format!("{}, {}", mistake.prediction, percent(mistake.probability)),
            number(mistake.loss),
        ]
    };
    let rows: Vec<Vec<String>> = report.mistakes.iter().map(row).collect();
    page.section("Worst predictions")
        .text("The held-out texts with the highest loss among those that were taken for another class.")
        .table(&["text", "is", "prediction", "#loss"], &rows);
}

/// What the model wrote at its validations, the first and the last among those that are shown.
fn samples(page: &mut Page, lines: &[Value]) {
    let all: Vec<(&Value, &str)> = lines
        .iter()
        .filter_map(|line| Some((line, line["sample"].as_str()?)))
        .filter(|(_, sample)| !sample.is_empty())
        .collect();
    if all.is_empty() {
        return;
    }
    page.section("What it writes").text(
        "At each validation the model continues a text from its first token, with the same draws.",
    );
    let last = all.len() - 1;
    let shown = SAMPLES.min(all.len());
    for at in (0..shown).map(|i| i * last / (shown - 1).max(1)) {
        let (line, sample) = all[at];
        let loss = line["valid_loss"].as_f64().or(line["test_loss"].as_f64());
        let loss = loss.map_or_else(String::new, |loss| {
            format!(", validation loss {}", number(loss))
        });
        page.text(&format!("After step {}{loss}:", line["step"]));
        page.code(sample);
    }
}

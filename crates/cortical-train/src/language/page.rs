//! `report.html` of a language model: curves, what it wrote as it learned, the recipe.

use std::path::Path;

use cortical_report::{LineChart, Page, number};
use serde_json::Value;

use super::observe::{LanguageReport, TextMistake};
use crate::folder::RunPaths;
use crate::page::{environment, mean, norms, percent, scores, steps, tests};
use crate::recipe::LanguageRecipe;

/// Texts that are shown at most.
const SAMPLES: usize = 12;

/// The page of a finished run.
pub(crate) fn page(
    paths: &RunPaths,
    recipe: &LanguageRecipe,
    report: &LanguageReport,
    lines: &[Value],
) -> String {
    let name = paths.root().file_name();
    let name = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let summary = format!(
        "{} on {}, {} parameters, {} steps",
        short(&recipe.model),
        short(&recipe.data.name),
        report.parameters,
        report.steps
    );
    let mut page = Page::new(&name, &summary);
    page.figures(&figures(report, lines));
    let tested = |title: &str, figure: &str| {
        LineChart::new(title, "step").series(tests(lines, "held out", figure))
    };
    if recipe.classify.is_some() {
        let accuracy = tested("Accuracy on held-out texts", "test_accuracy").percent();
        curves(&mut page, lines, "text", &accuracy);
        if let Some(test) = &report.test {
            scores(&mut page, test);
        }
        mistakes(&mut page, report);
    } else {
        let perplexity = tested("Perplexity of the held-out text", "perplexity").log_y();
        curves(&mut page, lines, "token", &perplexity);
        samples(&mut page, lines);
    }
    page.section("Recipe").code(recipe.to_toml().trim_end());
    page.section("Environment")
        .table(&["", ""], &environment(recipe.hash()));
    page.to_html()
}

/// The last part of a path: a page goes to others, who have no use for the rest.
fn short(name: &str) -> &str {
    let last = Path::new(name).file_name().and_then(|last| last.to_str());
    last.unwrap_or(name)
}

/// The figures at the top.
fn figures(report: &LanguageReport, lines: &[Value]) -> Vec<(String, String)> {
    let mut figures = Vec::new();
    let mut add = |name: &str, value: String| figures.push((name.to_owned(), value));
    if let Some(test) = &report.test {
        add("test accuracy", percent(test.accuracy));
        add("test loss", number(test.loss));
        add("macro F1", number(test.macro_f1));
    }
    if let (Some(loss), Some(perplexity)) = (report.test_loss, report.perplexity) {
        add("held-out loss, nats a token", number(loss));
        add("perplexity", number(perplexity));
    }
    add("tokens read", report.tokens.to_string());
    add("seconds of training", number(report.train_seconds));
    if let Some(speed) = mean(lines, "tokens_per_second") {
        add("tokens a second", number(speed));
    }
    if report.trainable < report.parameters {
        let share = report.trainable as f64 / report.parameters.max(1) as f64;
        add("share of parameters trained", percent(share));
    }
    figures
}

/// Loss, a figure of the held-out part, learning rate and gradients over the steps; `unit` is what a loss is of.
fn curves(page: &mut Page, lines: &[Value], unit: &str, held_out: &LineChart) {
    let chart = |title: &str| LineChart::new(title, "step");
    let loss = steps(lines, "step", "loss");
    let smooth = loss.smoothed(0.9);
    page.section("Curves")
        .chart(
            &chart(&format!("Loss, nats a {unit}"))
                .series(loss.faint())
                .series(smooth)
                .series(tests(lines, "held out", "test_loss"))
                .log_y()
                .to_svg(),
        )
        .chart(&held_out.to_svg())
        .chart(
            &chart("Learning rate")
                .series(steps(lines, "step", "lr"))
                .to_svg(),
        );
    norms(page, lines);
}

/// The texts that the model is most wrong about.
fn mistakes(page: &mut Page, report: &LanguageReport) {
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

/// What the model wrote at its tests, the first and the last among those that are shown.
fn samples(page: &mut Page, lines: &[Value]) {
    let all: Vec<(&Value, &str)> = lines
        .iter()
        .filter(|line| line["event"] == "test")
        .filter_map(|line| Some((line, line["sample"].as_str()?)))
        .filter(|(_, sample)| !sample.is_empty())
        .collect();
    if all.is_empty() {
        return;
    }
    page.section("What it writes").text(
        "At each test the model goes on from the first token of the held-out text, with the same draws.",
    );
    let last = all.len() - 1;
    let shown = SAMPLES.min(all.len());
    for at in (0..shown).map(|i| i * last / (shown - 1).max(1)) {
        let (line, sample) = all[at];
        let loss = line["test_loss"].as_f64();
        let loss = loss.map_or_else(String::new, |loss| {
            format!(", held-out loss {}", number(loss))
        });
        page.text(&format!("After step {}{loss}:", line["step"]));
        page.code(sample);
    }
}

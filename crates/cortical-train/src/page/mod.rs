//! `report.html`: a finished run as one page with pictures.

mod numbers;
mod samples;
mod text;
mod values;

use std::path::Path;

use cortical_kernels::isa;
use cortical_report::{LineChart, Matrix, Page, Series, number};
use serde_json::Value;

use crate::evaluate::Evaluation;
use crate::folder::RunPaths;
use crate::label_scores::{LabelScore, LabelScores};
use crate::measured::{Measure, Unit};
use crate::metrics::whole_lines;
use crate::recipe::TaskRecipe;
use crate::report::Report;
use crate::{Recipe, Result};

/// Writes the page of the finished run in `paths`, and returns it. It is made from what lies in the folder and from the
/// data.
///
/// # Errors
/// [`Error::NotFinished`](crate::Error::NotFinished); files or data that cannot be read, a page that cannot be written.
pub fn write_page(paths: &RunPaths) -> Result<String> {
    let (recipe, report) = paths.read_finished()?;
    let lines = whole_lines(&paths.metrics(), u64::MAX)?.unwrap_or_default();
    let lines: Vec<Value> = lines.into_iter().map(|line| line.value).collect();
    let run = Run {
        paths,
        recipe: &recipe,
        report: &report,
        lines: &lines,
    };
    let html = run.page()?.to_html();
    cortical_io::write_atomic(paths.page(), |file| file.write_all(html.as_bytes()))?;
    Ok(html)
}

/// A finished run with the lines of its `metrics.jsonl`.
struct Run<'a> {
    paths: &'a RunPaths,
    recipe: &'a Recipe,
    report: &'a Report,
    lines: &'a [Value],
}

impl Run<'_> {
    fn page(&self) -> Result<Page> {
        let name = self.paths.root().file_name();
        let name = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let summary = format!(
            "{} on {}, {} parameters, {} steps",
            short(self.recipe.model_name()),
            short(&self.recipe.data.name),
            self.report.parameters,
            self.report.steps
        );
        let mut page = Page::new(&name, &summary);
        let opened = match &self.recipe.task {
            TaskRecipe::Samples(_) => Some(samples::Opened::new(self)?),
            TaskRecipe::Text(_) => None,
        };
        let mut figures = self.figures();
        figures.extend(opened.as_ref().and_then(|opened| opened.arithmetic(self)));
        page.figures(&figures);
        self.curves(&mut page);
        if let Some(test) = &self.report.test {
            scores(&mut page, test);
        }
        if let Some(test) = &self.report.numbers {
            numbers::scores(&mut page, test);
        }
        if let Some(test) = &self.report.labels {
            labels(&mut page, test);
        }
        match &opened {
            Some(opened) => opened.sections(&mut page)?,
            None => text::sections(self, &mut page),
        }
        page.section("Recipe")
            .code(self.recipe.to_toml().trim_end());
        page.section("Environment")
            .table(&["", ""], &environment(self.recipe.hash()));
        Ok(page)
    }

    /// The figures at the top.
    fn figures(&self) -> Vec<(String, String)> {
        let (report, mut figures) = (self.report, Vec::new());
        let mut add = |name: &str, value: String| figures.push((name.to_owned(), value));
        let (measure, unit) = (report.task.measure(), report.task.unit());
        if let Some((found, figure)) = report.tested().and_then(|t| Some((t.loss?, t.figure?))) {
            let shown = measure.format(figure).replace(' ', "\u{a0}");
            add(&format!("test {}", measure.title()), shown);
            add(
                &format!("test loss, {}", measure.loss_unit()),
                number(found),
            );
        }
        if let Some(test) = &report.numbers {
            add("test MAE", number(test.mae));
            add("test RMSE", number(test.rmse));
        }
        if let Some(test) = &report.test {
            add("macro F1", number(test.macro_f1));
            if let Some(auroc) = test.auroc {
                add("AUROC", number(auroc));
            }
            if let Some(top) = test.top_5 {
                add("top 5", percent(top));
            }
        }
        if unit == Unit::Tokens {
            add("tokens read", report.seen.to_string());
        }
        add("seconds of training", number(report.train_seconds));
        if let Some(speed) = self.mean(unit.speed()) {
            add(&format!("{} a second", unit.name()), number(speed));
        }
        let trainable = report.trainable.unwrap_or(report.parameters);
        if trainable < report.parameters {
            let share = trainable as f64 / report.parameters.max(1) as f64;
            add("share of parameters trained", percent(share));
        }
        figures
    }

    /// Loss, what is measured beside it, learning rate and gradients over the steps.
    fn curves(&self, page: &mut Page) {
        let chart = |title: &str| LineChart::new(title, "step");
        let measure = self.report.task.measure();
        let loss = self.steps("step", "loss");
        let smooth = loss.smoothed(0.9);
        let epochs = self.series("train", "epoch", "train_loss");
        let mean = if epochs.is_empty() { smooth } else { epochs };
        page.section("Curves").chart(
            &self
                .log_if_positive(chart(&format!("Loss, {}", measure.loss_unit())))
                .series(loss.faint())
                .series(mean)
                .series(self.validations("loss"))
                .to_svg(),
        );
        let name = measure.name();
        let figures = chart(&capital(measure.title()))
            .series(self.steps("step", name).faint())
            .series(self.series("train", "epoch", &format!("train_{name}")))
            .series(self.validations(name));
        let figures = match measure {
            Measure::Accuracy => figures.percent(),
            Measure::R2 | Measure::AveragePrecision => figures,
            Measure::Perplexity => figures.log_y(),
        };
        page.chart(&figures.to_svg());
        page.chart(
            &chart("Learning rate")
                .series(self.steps("step", "lr"))
                .to_svg(),
        );
        let norms = self.steps("step", "grad_norm");
        if !norms.is_empty() {
            let smooth = norms.smoothed(0.9);
            page.chart(
                &chart("Norm of the gradients")
                    .series(norms.faint())
                    .series(smooth)
                    .log_y()
                    .to_svg(),
            );
        }
    }

    /// A chart of losses with powers of ten upwards, but where some are not above 0, as likelihoods may be.
    fn log_if_positive(&self, chart: LineChart) -> LineChart {
        let keys = ["loss", "train_loss", "valid_loss"];
        let losses = self
            .lines
            .iter()
            .flat_map(|line| keys.map(|key| line[key].as_f64()));
        match losses.flatten().any(|loss| loss <= 0.0) {
            true => chart,
            false => chart.log_y(),
        }
    }

    /// The mean of a figure over the lines about steps.
    fn mean(&self, figure: &str) -> Option<f64> {
        let all = self.points("step", figure);
        let sum: f64 = all.iter().map(|(_, value)| value).sum();
        (!all.is_empty()).then(|| sum / all.len() as f64)
    }

    /// A figure of the lines of one kind, by step.
    fn points(&self, event: &str, figure: &str) -> Vec<(f64, f64)> {
        let of_kind = self.lines.iter().filter(|line| line["event"] == event);
        of_kind
            .filter_map(|line| Some((line["step"].as_f64()?, line[figure].as_f64()?)))
            .collect()
    }

    fn series(&self, name: &str, event: &str, figure: &str) -> Series {
        Series::new(name, self.points(event, figure))
    }

    /// A figure of the steps.
    fn steps(&self, name: &str, figure: &str) -> Series {
        self.series(name, "step", figure)
    }

    /// A figure of the validations, those at the ends of epochs and those between; in runs of the first version, of its
    /// tests.
    fn validations(&self, figure: &str) -> Series {
        let mut all = Vec::new();
        for event in ["epoch", "validation", "test"] {
            all.extend(self.points(event, &format!("valid_{figure}")));
            all.extend(self.points(event, &format!("test_{figure}")));
        }
        if figure == "perplexity" {
            all.extend(self.points("test", figure));
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        Series::new("validation", all)
    }
}

/// The last part of a path: a page goes to others, who have no use for the rest.
fn short(name: &str) -> &str {
    let last = Path::new(name).file_name().and_then(|last| last.to_str());
    last.unwrap_or(name)
}

/// A word as a title.
fn capital(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

fn percent(share: f64) -> String {
    format!("{:.2}\u{a0}%", 100.0 * share)
}

/// The confusion matrix, and the classes one by one.
fn scores(page: &mut Page, evaluation: &Evaluation) {
    if !evaluation.confusion.is_empty() {
        page.section("Confusion")
            .wide(&Matrix::new(&evaluation.classes, &evaluation.confusion).to_svg());
    }
    let share = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), percent);
    let rows: Vec<Vec<String>> = evaluation
        .per_class()
        .into_iter()
        .map(|class| {
            vec![
                class.name,
                class.samples.to_string(),
                share(class.precision),
                share(class.recall),
            ]
        })
        .collect();
    page.section("Classes")
        .table(&["class", "#samples", "#precision", "#recall"], &rows);
}

/// The labels one by one, where a sample has any number of them.
fn labels(page: &mut Page, found: &LabelScores) {
    let share = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), percent);
    let row = |label: &LabelScore| {
        let precision = label
            .average_precision
            .map_or_else(|| "–".to_owned(), number);
        vec![
            label.name.clone(),
            label.samples.to_string(),
            precision,
            number(label.threshold),
            share(label.precision),
            share(label.recall),
            share(label.f1),
        ]
    };
    let rows: Vec<Vec<String>> = found.labels.iter().map(row).collect();
    let head = [
        "label",
        "#samples",
        "#average precision",
        "#threshold",
        "#precision",
        "#recall",
        "#F1",
    ];
    let exact = percent(found.exact);
    page.section("Labels")
        .text(&format!(
            "All labels are right in {exact} of the test samples."
        ))
        .table(&head, &rows);
}

/// What the run was made with.
fn environment(hash: String) -> [Vec<String>; 6] {
    [
        ("Cortical", env!("CARGO_PKG_VERSION").to_owned()),
        ("recipe", hash),
        (
            "instruction set of this page's process",
            isa::current().name().to_owned(),
        ),
        (
            "threads of this page's process",
            rayon::current_num_threads().to_string(),
        ),
        ("system", std::env::consts::OS.to_owned()),
        ("processor", std::env::consts::ARCH.to_owned()),
    ]
    .map(|(name, value)| vec![name.to_owned(), value])
}

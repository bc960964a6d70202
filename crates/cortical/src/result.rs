//! What a finished run achieved, for people and for machines, whatever it learned.

use cortical_train::{Report, RunPaths, TaskKind, Unit};
use serde_json::{Map, Value, json};

use crate::scores;
use crate::style::{Style, count, duration};

/// The report as one object.
pub(crate) fn to_json(run: &str, report: &Report) -> Value {
    let mut object = Map::new();
    let mut set = |key: &str, value: Value| object.insert(key.to_owned(), value);
    set("run", json!(run));
    set("task", json!(report.task));
    set("steps", json!(report.steps));
    set("epochs", json!(report.epochs));
    set("train_seconds", json!(report.train_seconds));
    set("parameters", json!(report.parameters));
    set("trainable", json!(report.trainable));
    if report.task.unit() == Unit::Tokens {
        set("tokens", json!(report.seen));
    }
    if report.valid_loss.is_some() {
        set("valid_loss", json!(report.valid_loss));
        let figure = format!("valid_{}", report.task.measure().name());
        set(&figure, json!(report.valid_figure));
    }
    let test = report.tested();
    object.extend(scores::to_json(report.task.measure(), test.as_ref()));
    Value::Object(object)
}

/// The test in one line.
pub(crate) fn headline(report: &Report, style: &Style) -> String {
    let test = report.tested();
    scores::headline(report.task.measure(), test.as_ref(), style)
}

/// The end of a training: scores, and what can be done with the model.
pub(crate) fn finished(run: &str, report: &Report, style: &Style) -> String {
    let mut text = String::from("\n");
    if let Some(test) = &report.test {
        text += &format!("{}\n", scores::details(test, style));
    }
    if let Some(targets) = report
        .numbers
        .as_ref()
        .and_then(|n| scores::target_details(n, style))
    {
        text += &format!("{targets}\n");
    }
    if let Some(labels) = &report.labels {
        text += &format!("{}\n", scores::label_details(labels, style));
    }
    let mut time = format!("{} of training", duration(report.train_seconds));
    if report.task.unit() == Unit::Tokens {
        let rate = report.seen as f64 / report.train_seconds.max(1e-9);
        time += &format!(" ({} tokens a second)", count(rate as u64));
    }
    text += &format!("{} after {time}\n\n", headline(report, style));
    let mut line = |what: &str, which: String| text += &format!("  {what:<15}  {which}\n");
    let command = |verb: &str| style.bold(&format!("cortical {verb}"));
    // Low-rank changes are files of their own.
    if RunPaths::new(run).model().is_file() {
        line("model", format!("{run}/model.safetensors"));
    }
    line("pictures", format!("{run}/report.html"));
    match report.task {
        TaskKind::NextToken => {
            let generate = format!("generate {run} --prompt \"The whale\" --temperature 0.8");
            line("continue a text", command(&generate));
        }
        TaskKind::TextClassification => {
            line("test again", command(&format!("eval {run}")));
            line("other texts", command(&format!("predict {run} texts.csv")));
        }
        _ => line("test again", command(&format!("eval {run}"))),
    }
    text
}

//! What a finished run achieved, for people and for machines, whatever it learned.

use cortical_train::{Report, TaskKind};
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
    if report.task != TaskKind::Classification {
        set("tokens", json!(report.seen));
    }
    if report.valid_loss.is_some() {
        set("valid_loss", json!(report.valid_loss));
        let figure = match report.task {
            TaskKind::NextToken => "valid_perplexity",
            _ => "valid_accuracy",
        };
        set(figure, json!(report.valid_figure));
    }
    set("test_loss", json!(report.test_loss));
    if report.task == TaskKind::NextToken {
        set("perplexity", json!(report.perplexity));
        set("sample", json!(report.sample));
    }
    if let Some(test) = &report.test {
        object.extend(scores::to_json(test));
    }
    Value::Object(object)
}

/// The test in one line.
pub(crate) fn headline(report: &Report, style: &Style) -> String {
    match (&report.test, report.test_loss, report.perplexity) {
        (Some(test), _, _) => scores::headline(test, style),
        (None, Some(loss), Some(perplexity)) => format!(
            "test loss {} nats a token, perplexity {perplexity:.2}",
            style.bold(&format!("{loss:.4}"))
        ),
        _ => "nothing was held out to test on".to_owned(),
    }
}

/// The end of a training: scores, and what can be done with the model.
pub(crate) fn finished(run: &str, report: &Report, style: &Style) -> String {
    let mut text = String::from("\n");
    if let (Some(test), TaskKind::Classification) = (&report.test, report.task) {
        text += &format!("{}\n", scores::details(test, style));
    }
    let mut time = duration(report.train_seconds);
    if report.task != TaskKind::Classification {
        let rate = report.seen as f64 / report.train_seconds.max(1e-9);
        time = format!(
            "{time} of training ({} tokens a second)",
            count(rate as u64)
        );
    } else {
        time += " of training";
    }
    text += &format!("{} after {time}\n\n", headline(report, style));
    let mut line = |what: &str, which: String| text += &format!("  {what:<15}  {which}\n");
    let command = |verb: &str| style.bold(&format!("cortical {verb}"));
    let is_file = report
        .trainable
        .is_none_or(|trained| trained == report.parameters);
    if report.task == TaskKind::Classification || is_file {
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

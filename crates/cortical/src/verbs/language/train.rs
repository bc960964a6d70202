//! `train` and `resume` of language models.

use std::path::Path;

use cortical_io::GgufFile;
use cortical_models::language::preset;
use cortical_train::{
    LanguageEvent, LanguageOutcome, LanguageRecipe, LanguageReport, LanguageRun, Override, in_pool,
    train_language,
};
use serde_json::json;

use crate::Done;
use crate::cli::{Common, TrainArgs};
use crate::error::Result;
use crate::output::{Output, print_line};
use crate::signals;
use crate::style::{Style, count, duration};

/// `cortical train`, if the arguments ask for a language model.
pub(crate) fn train(args: &TrainArgs, common: &Common, output: &Output) -> Result<Option<Done>> {
    let Some(recipe) = recipe(args, common)? else {
        return Ok(None);
    };
    if args.print_recipe {
        print_line(recipe.to_toml().trim_end());
        return Ok(Some(Done::Finished));
    }
    let run = match &args.out {
        Some(root) => LanguageRun::create(root, &recipe)?,
        None => {
            let name = Path::new(&recipe.model).file_stem().unwrap_or_default();
            LanguageRun::create_numbered(Path::new("runs"), &name.to_string_lossy(), &recipe)?
        }
    };
    work(&run, common, output).map(Some)
}

/// `cortical resume`, if the run is one of a language model.
pub(crate) fn resume(root: &Path, common: &Common, output: &Output) -> Result<Option<Done>> {
    match LanguageRun::open(root)? {
        Some(run) => work(&run, common, output).map(Some),
        None => Ok(None),
    }
}

/// The recipe that the arguments ask for, if it is one of a language model.
fn recipe(args: &TrainArgs, common: &Common) -> Result<Option<LanguageRecipe>> {
    let is_model = |name: &str| {
        let path = Path::new(name);
        preset(name).is_some() || path.join("config.json").is_file() || GgufFile::is_gguf(path)
    };
    let text = match &args.recipe {
        Some(file) if file.is_file() => Some(cortical_io::read_text(file, 1 << 20)?),
        _ => None,
    };
    let recipe = match (&text, &args.model) {
        (Some(text), _) if LanguageRecipe::is_one(text) => LanguageRecipe::from_toml(text)?,
        (None, Some(name)) if is_model(name) => LanguageRecipe::new(name),
        _ => return Ok(None),
    };
    let mut set: Vec<Override> = Vec::new();
    set.extend(
        args.model
            .as_deref()
            .map(|name| Override::new("model", found(name))),
    );
    set.extend(
        args.data
            .as_deref()
            .map(|name| Override::new("data.text", found(name))),
    );
    set.extend(args.lr.map(|lr| Override::new("optim.lr", lr)));
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    set.extend(args.batch.map(|n| Override::new("train.batch", whole(n))));
    set.extend(common.seed.map(|n| Override::new("seed", whole(n))));
    set.extend(args.set.iter().cloned());
    Ok(Some(recipe.with(&set)?))
}

/// A file by its absolute path, so that a run finds it again from wherever it is resumed; a name as it is.
fn found(name: &str) -> String {
    match Path::new(name).exists() {
        true => {
            let path = std::path::absolute(name).unwrap_or_else(|_| name.into());
            path.to_string_lossy().into_owned()
        }
        false => name.to_owned(),
    }
}

fn work(run: &LanguageRun, common: &Common, output: &Output) -> Result<Done> {
    let stop = signals::listen()?;
    let outcome = in_pool(common.threads, || {
        train_language(run, &*stop, &mut |event| show(&event, output))
    })??;
    let root = run.paths().root().display().to_string();
    match outcome {
        LanguageOutcome::Stopped {
            step, total_steps, ..
        } => {
            let next = format!("cortical resume {root}");
            let value = json!({
                "run": root, "stopped": true, "steps": step, "total_steps": total_steps, "resume": next,
            });
            output.result(&value, |style| {
                format!(
                    "stopped after step {step} of {total_steps}, everything is saved\ncontinue with: {}",
                    style.bold(&next)
                )
            });
            Ok(Done::Stopped)
        }
        LanguageOutcome::Finished(report) | LanguageOutcome::AlreadyFinished(report) => {
            let value = json!({
                "run": root,
                "steps": report.steps,
                "tokens": report.tokens,
                "train_seconds": report.train_seconds,
                "parameters": report.parameters,
                "trainable": report.trainable,
                "test_loss": report.test_loss,
                "perplexity": report.perplexity,
                "sample": report.sample,
            });
            output.result(&value, |style| finished(&root, &report, style));
            Ok(Done::Finished)
        }
        // The enumeration may grow; what is not known here has nothing to say.
        _ => Ok(Done::Finished),
    }
}

fn show(event: &LanguageEvent<'_>, output: &Output) {
    match event {
        LanguageEvent::Ready {
            config,
            parameters,
            trainable,
            train_tokens,
            test_tokens,
            start_step,
            total_steps,
        } => {
            let share = 100.0 * *trainable as f64 / (*parameters).max(1) as f64;
            output.remark(&format!(
                "{} with {} parameters, {} of them trained ({share:.2} %), on {} tokens, {} held out; steps {} to {}",
                output.err.bold(config.model_type()),
                count(*parameters),
                count(*trainable),
                count(*train_tokens),
                count(*test_tokens),
                start_step + 1,
                count(*total_steps),
            ));
        }
        LanguageEvent::Step { step, loss, lr, .. } if step % 10 == 0 => {
            output.remark(&format!("step {step:>6}  loss {loss:.4}  lr {lr:.2e}"));
        }
        LanguageEvent::Test { step, loss, sample } => {
            let sample = sample.replace('\n', " ");
            output.remark(&format!(
                "step {step:>6}  held-out loss {} (perplexity {:.2})\n  {}",
                output.err.bold(&format!("{loss:.4}")),
                loss.exp(),
                output.err.dim(&sample)
            ));
        }
        _ => {}
    }
}

fn finished(root: &str, report: &LanguageReport, style: &Style) -> String {
    let rate = report.tokens as f64 / report.train_seconds.max(1e-9);
    let loss = match (report.test_loss, report.perplexity) {
        (Some(loss), Some(perplexity)) => format!(
            "held-out loss {} nats a token, perplexity {perplexity:.2}",
            style.bold(&format!("{loss:.4}"))
        ),
        _ => "no text was held out".to_owned(),
    };
    format!(
        "\n{loss} after {} of training ({} tokens a second)\n\n  go on from a prompt  {}\n",
        duration(report.train_seconds),
        count(rate as u64),
        style.bold(&format!(
            "cortical generate {root} --prompt \"The whale\" --temperature 0.8"
        ))
    )
}

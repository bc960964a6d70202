//! `train` and `resume` of language models.

use std::path::Path;

use cortical_io::GgufFile;
use cortical_models::language::preset;
use cortical_train::{
    LanguageEvent, LanguageOutcome, LanguageRecipe, LanguageReport, Material, Override, RunFolder,
    RunPaths, in_pool, train_language, write_page,
};
use serde_json::json;

use crate::Done;
use crate::cli::{Common, TrainArgs};
use crate::error::{Error, Result};
use crate::output::{Output, print_line};
use crate::scores;
use crate::signals;
use crate::style::{self, Style, count, duration, percent};

/// `cortical train`, if the arguments ask for a language model.
pub(crate) fn train(args: &TrainArgs, common: &Common, output: &Output) -> Result<Option<Done>> {
    let Some(recipe) = recipe(args, common)? else {
        return Ok(None);
    };
    if args.print_recipe {
        print_line(recipe.to_toml().trim_end());
        return Ok(Some(Done::Finished));
    }
    if args.fast_dev_run {
        return try_out(&recipe, common, output).map(Some);
    }
    let folder = match &args.out {
        Some(root) => RunFolder::create(root, &recipe)?,
        None => {
            let name = recipe.short_name();
            RunFolder::create_numbered(Path::new("runs"), &name, &recipe)?
        }
    };
    work(folder, &recipe, common, output).map(Some)
}

/// `cortical resume`, if the run is one of a language model.
pub(crate) fn resume(root: &Path, common: &Common, output: &Output) -> Result<Option<Done>> {
    let Some((folder, recipe)) = RunFolder::open_language(root)? else {
        return Ok(None);
    };
    if let Some(found) = common.seed.filter(|seed| *seed != recipe.seed) {
        return Err(Error::OtherSeed {
            run: root.to_owned(),
            expected: recipe.seed,
            found,
        });
    }
    work(folder, &recipe, common, output).map(Some)
}

/// The recipe that the arguments ask for, if it is one of a language model.
fn recipe(args: &TrainArgs, common: &Common) -> Result<Option<LanguageRecipe>> {
    let is_model = |name: &str| {
        let path = Path::new(name);
        preset(name).is_some() || path.join("config.json").is_file() || GgufFile::is_gguf(path)
    };
    let preset = args.preset.as_deref();
    let text = match &args.recipe {
        Some(file) if file.is_file() => Some(cortical_io::read_text(file, 1 << 20)?),
        _ => preset.and_then(LanguageRecipe::preset).map(str::to_owned),
    };
    let text = match (text, &args.model) {
        (Some(text), _) if LanguageRecipe::is_one(&text) => text,
        (None, Some(name)) if is_model(name) => LanguageRecipe::new(&found(name)).head(),
        _ => return Ok(None),
    };
    // A table has labelled texts; a recipe that says so itself, or is about text, stays as it is.
    let is_table = args.recipe.is_none() && args.data.as_deref().is_some_and(is_table);
    let text = if is_table {
        text + "[classify]\n"
    } else {
        text
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
            .map(|name| Override::new("data.name", found(name))),
    );
    set.extend(args.lr.map(|lr| Override::new("optim.lr", lr)));
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let mut number = |path: &str, n: Option<u64>| {
        set.extend(n.map(|n| Override::new(path, whole(n))));
    };
    // So many epochs, however many steps they are.
    number("train.max_steps", args.epochs.map(|_| 0));
    number("train.epochs", args.epochs);
    number("train.batch_size", args.batch);
    if args.fast_dev_run {
        number("train.max_steps", Some(3));
        number("train.eval_blocks", Some(1));
        if !is_table {
            number("train.sample_tokens", Some(8));
        }
        number("checkpoint.every_steps", Some(2));
        number("log.every_steps", Some(1));
    }
    set.extend(
        args.tensorboard
            .then(|| Override::new("log.tensorboard", true)),
    );
    set.extend(common.seed.map(|n| Override::new("seed", whole(n))));
    set.extend(args.set.iter().cloned());
    Ok(Some(LanguageRecipe::from_toml(&text, &set)?))
}

/// Whether data are a table by their name.
fn is_table(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let stem = lower.strip_suffix(".gz").unwrap_or(&lower);
    stem.ends_with(".csv") || stem.ends_with(".tsv")
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

/// `cortical train --fast-dev-run`: everything once, and nothing stays.
fn try_out(recipe: &LanguageRecipe, common: &Common, output: &Output) -> Result<Done> {
    let name = format!("cortical-fast-dev-run-{}", std::process::id());
    let root = std::env::temp_dir().join(name);
    let folder = RunFolder::create(&root, recipe)?;
    let outcome = run(folder, recipe, common, output);
    // It was ours alone; what cannot be removed stays where temporary things are.
    let _ = std::fs::remove_dir_all(&root);
    outcome?;
    let value = json!({ "fast_dev_run": true, "steps": recipe.train.max_steps });
    output.result(&value, |_| "everything works; nothing was kept".to_owned());
    Ok(Done::Finished)
}

/// Trains to the end or to a signal, while a person watches.
fn run(
    folder: RunFolder,
    recipe: &LanguageRecipe,
    common: &Common,
    output: &Output,
) -> Result<LanguageOutcome> {
    let root = folder.paths().root().to_owned();
    let stop = signals::listen()?;
    let outcome = in_pool(common.threads, || {
        train_language(folder, recipe, &*stop, &mut |event| show(&event, output))
    })??;
    if let LanguageOutcome::Finished(_) = outcome
        && let Err(why) = write_page(&RunPaths::new(&root))
    {
        // The model is there; a page that cannot be made must not make the training fail.
        output.warning(&format!("report.html was not written: {why}"));
    }
    Ok(outcome)
}

fn work(
    folder: RunFolder,
    recipe: &LanguageRecipe,
    common: &Common,
    output: &Output,
) -> Result<Done> {
    let root = folder.paths().root().display().to_string();
    match run(folder, recipe, common, output)? {
        LanguageOutcome::Stopped {
            step,
            total_steps,
            checkpoint,
        } => Ok(crate::verbs::train::stopped(
            &root,
            (step, total_steps),
            &checkpoint,
            output,
        )),
        LanguageOutcome::Finished(report) | LanguageOutcome::AlreadyFinished(report) => {
            let mut value = json!({
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
            if let Some(test) = &report.test {
                value["test_accuracy"] = json!(test.accuracy);
            }
            output.result(&value, |style| match &recipe.classify {
                Some(_) => told_apart(&root, &report, style),
                None => foreseen(&root, &report, style),
            });
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
            bytes,
            material,
            start_step,
            total_steps,
        } => {
            let share = 100.0 * *trainable as f64 / (*parameters).max(1) as f64;
            output.remark(&format!(
                "{} with {} parameters, {} of them trained ({share:.2} %), {} of weights and gradients, on {}; steps {} to {}",
                output.err.bold(config.model_type()),
                count(*parameters),
                count(*trainable),
                style::bytes(*bytes),
                of_what(*material),
                start_step + 1,
                count(*total_steps),
            ));
        }
        LanguageEvent::Warning(warning) => output.warning(&warning.to_string()),
        LanguageEvent::EarlyEnd(end) => output.remark(&end.to_string()),
        LanguageEvent::Step { step, loss, lr, .. } if step % 10 == 0 => {
            output.remark(&format!("step {step:>6}  loss {loss:.4}  lr {lr:.2e}"));
        }
        LanguageEvent::Test {
            step,
            loss,
            accuracy: Some(accuracy),
            ..
        } => output.remark(&format!(
            "step {step:>6}  held-out loss {loss:.4}, accuracy {}",
            output.err.bold(&percent(*accuracy))
        )),
        LanguageEvent::Test {
            step, loss, sample, ..
        } => {
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

/// What a model learns from, in words.
fn of_what(material: Material) -> String {
    match material {
        Material::Tokens { train, test } => {
            format!("{} tokens, {} held out", count(train), count(test))
        }
        Material::Texts {
            train,
            test,
            classes,
        } => format!(
            "{} texts of {} classes, {} held out",
            count(train),
            count(classes),
            count(test)
        ),
        // The enumeration may grow; what is not known here has no name.
        _ => "data".to_owned(),
    }
}

/// The end of a training of classes.
fn told_apart(root: &str, report: &LanguageReport, style: &Style) -> String {
    let headline = match &report.test {
        Some(test) => scores::headline(test, style),
        None => "no texts were held out".to_owned(),
    };
    format!(
        "\n{headline} after {}\n\n  pictures     {root}/report.html\n  test again   cortical eval {root}\n  other texts  {}\n",
        speed(report),
        style.bold(&format!("cortical predict {root} texts.csv"))
    )
}

/// The end of a training on text.
fn foreseen(root: &str, report: &LanguageReport, style: &Style) -> String {
    let loss = match (report.test_loss, report.perplexity) {
        (Some(loss), Some(perplexity)) => format!(
            "held-out loss {} nats a token, perplexity {perplexity:.2}",
            style.bold(&format!("{loss:.4}"))
        ),
        _ => "no text was held out".to_owned(),
    };
    format!(
        "\n{loss} after {}\n\n  pictures             {root}/report.html\n  go on from a prompt  {}\n",
        speed(report),
        style.bold(&format!(
            "cortical generate {root} --prompt \"The whale\" --temperature 0.8"
        ))
    )
}

/// How long a training took, and how fast it was.
fn speed(report: &LanguageReport) -> String {
    let rate = report.tokens as f64 / report.train_seconds.max(1e-9);
    let seconds = duration(report.train_seconds);
    format!(
        "{seconds} of training ({} tokens a second)",
        count(rate as u64)
    )
}

//! `train` and `resume`.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use cortical_data::catalog;
use cortical_settings::nearest;
use cortical_train::{
    Observer, Outcome, Override, Recipe, Report, RunFolder, RunPaths, find_lr, in_pool,
    language_presets, presets, read_recipe_file, write_page,
};
use serde_json::{Map, Value, json};

use crate::Done;
use crate::cli::{Common, ResumeArgs, TrainArgs};
use crate::dashboard::Dashboard;
use crate::error::{Error, Result};
use crate::output::{Output, print_line};
use crate::progress::Progress;
use crate::scores;
use crate::signals;
use crate::style::{Style, duration};

/// `cortical train`
pub(crate) fn train(args: &TrainArgs, common: &Common, output: &Output) -> Result<Done> {
    if let Some(done) = super::language::train::train(args, common, output)? {
        return Ok(done);
    }
    let recipe = recipe(args, common)?;
    if args.print_recipe {
        print_recipe(&recipe, common.json);
        return Ok(Done::Finished);
    }
    if args.find_lr {
        return look_for_lr(args, &recipe, common, output);
    }
    let stop = signals::listen()?;
    if args.fast_dev_run {
        return try_out(&recipe, &stop, common, output);
    }
    let folder = match &args.out {
        Some(root) => RunFolder::create(root, &recipe)?,
        None => {
            let name = recipe.data.short_name();
            RunFolder::create_numbered(Path::new("runs"), &name, &recipe)?
        }
    };
    let root = folder.paths().root().to_owned();
    let outcome = work(folder, &recipe, &stop, (common, args.tui), output)?;
    Ok(conclude(&root, &outcome, output))
}

/// `cortical train --find-lr`
fn look_for_lr(
    args: &TrainArgs,
    recipe: &Recipe,
    common: &Common,
    output: &Output,
) -> Result<Done> {
    let path = args.out.clone().unwrap_or_else(|| "lr-finder.html".into());
    let finding = in_pool(common.threads, || find_lr(recipe, 200))??;
    let html = finding.to_html(recipe);
    cortical_io::write_atomic(&path, |file| file.write_all(html.as_bytes()))
        .map_err(cortical_train::Error::from)?;
    let plot = path.display().to_string();
    let value = json!({ "lr": finding.suggestion, "plot": plot, "points": finding.points });
    output.result(&value, |style| match finding.suggestion {
        Some(lr) => format!(
            "try {}\nplot in {plot}",
            style.bold(&format!("--lr {lr:.1e}"))
        ),
        None => format!("the loss never fell; look at {plot}"),
    });
    Ok(Done::Finished)
}

/// `cortical train --fast-dev-run`: everything once, and nothing stays.
fn try_out(recipe: &Recipe, stop: &AtomicBool, common: &Common, output: &Output) -> Result<Done> {
    let name = format!("cortical-fast-dev-run-{}", std::process::id());
    let root = std::env::temp_dir().join(name);
    let folder = RunFolder::create(&root, recipe)?;
    let outcome = work(folder, recipe, stop, (common, false), output);
    // It was ours alone; what cannot be removed stays where temporary things are.
    let _ = std::fs::remove_dir_all(&root);
    outcome?;
    let value = json!({ "fast_dev_run": true, "steps": recipe.train.max_steps });
    output.result(&value, |_| "everything works; nothing was kept".to_owned());
    Ok(Done::Finished)
}

/// `cortical resume`
pub(crate) fn resume(args: &ResumeArgs, common: &Common, output: &Output) -> Result<Done> {
    if let Some(done) = super::language::train::resume(&args.run, common, output)? {
        return Ok(done);
    }
    let stop = signals::listen()?;
    let (folder, recipe) = RunFolder::open(&args.run)?;
    if let Some(found) = common.seed.filter(|seed| *seed != recipe.seed) {
        return Err(Error::OtherSeed {
            run: args.run.clone(),
            expected: recipe.seed,
            found,
        });
    }
    let outcome = work(folder, &recipe, &stop, (common, args.tui), output)?;
    Ok(conclude(&args.run, &outcome, output))
}

/// Trains to the end or to a signal, while a person watches.
fn work(
    folder: RunFolder,
    recipe: &Recipe,
    stop: &AtomicBool,
    (common, tui): (&Common, bool),
    output: &Output,
) -> Result<Outcome> {
    let root = folder.paths().root().to_owned();
    let outcome = in_pool(common.threads, || -> Result<_> {
        let mut watcher: Box<dyn Observer> = match tui && Dashboard::is_possible(output) {
            true => Box::new(Dashboard::new()),
            false => Box::new(Progress::new(output)),
        };
        Ok(cortical_train::train(folder, recipe, stop, &mut *watcher)?)
    })??;
    if let Outcome::Finished(_) = outcome {
        // The model is there; a page that cannot be made must not make the training fail.
        let page = in_pool(common.threads, || write_page(&RunPaths::new(&root)));
        if let Err(why) = page.and_then(|page| page) {
            output.warning(&format!("report.html was not written: {why}"));
        }
    }
    Ok(outcome)
}

/// The recipe that the arguments ask for.
fn recipe(args: &TrainArgs, common: &Common) -> Result<Recipe> {
    let mut overrides = Vec::new();
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let mut set = |path: &str, value: Option<toml::Value>| {
        overrides.extend(value.map(|value| Override::new(path, value)));
    };
    set("data.name", args.data.as_deref().map(toml::Value::from));
    set("model.kind", args.model.as_deref().map(toml::Value::from));
    set("train.epochs", args.epochs.map(|n| whole(n).into()));
    set("train.batch_size", args.batch.map(|n| whole(n).into()));
    set("optim.lr", args.lr.map(toml::Value::from));
    set("seed", common.seed.map(|n| whole(n).into()));
    set(
        "train.overfit_batches",
        args.overfit_batches.map(|n| whole(n).into()),
    );
    set("log.tensorboard", args.tensorboard.then(|| true.into()));
    if args.fast_dev_run {
        for (path, n) in [
            ("train.max_steps", 3),
            ("train.limit_eval_batches", 1),
            ("checkpoint.every_steps", 2),
            ("log.every_steps", 1),
        ] {
            set(path, Some(n.into()));
        }
    }
    overrides.extend(args.set.iter().cloned());
    let mut recipe = match (&args.preset, &args.recipe) {
        (Some(name), _) => {
            let preset = Recipe::preset(name).ok_or_else(|| unknown_preset(name))?;
            Recipe::from_toml("version = 1", Some(&preset), &overrides)?
        }
        (None, Some(file)) => read_recipe_file(file, &overrides)?,
        (None, None) => Recipe::from_toml("version = 1", None, &overrides)?,
    };
    // A run must find its data again from wherever it is resumed.
    let name = &recipe.data.name;
    if !catalog().iter().any(|entry| entry.name == name) && Path::new(name).exists() {
        recipe.data.name = absolute(Path::new(name));
    }
    if let Some(dir) = &recipe.data.dir {
        recipe.data.dir = Some(absolute(dir).into());
    }
    if !recipe.start.from.is_empty() {
        recipe.start.from = absolute(Path::new(&recipe.start.from));
    }
    Ok(recipe)
}

fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.to_string_lossy().into_owned()
}

fn unknown_preset(name: &str) -> Error {
    let names = || {
        let all = presets().iter().copied().chain(language_presets());
        all.map(|preset| preset.name)
    };
    Error::UnknownPreset {
        found: name.to_owned(),
        nearest: nearest(name, names()),
        known: names().collect::<Vec<_>>().join(", "),
    }
}

/// The recipe as TOML, or as one JSON object.
fn print_recipe(recipe: &Recipe, as_json: bool) {
    let text = recipe.to_toml();
    if as_json {
        let table: toml::Table = text.parse().expect("a recipe that we wrote is TOML");
        print_line(&json!({ "recipe": table }).to_string());
    } else {
        print_line(text.trim_end());
    }
}

/// Says that a training was stopped after so many steps of all, and how it goes on.
pub(crate) fn stopped(
    run: &str,
    (step, total_steps): (u64, u64),
    checkpoint: &Path,
    output: &Output,
) -> Done {
    let next = format!("cortical resume {run}");
    let value = json!({
        "run": run,
        "stopped": true,
        "steps": step,
        "total_steps": total_steps,
        "checkpoint": checkpoint.display().to_string(),
        "resume": next,
    });
    output.result(&value, |style| {
        format!(
            "stopped after step {step} of {total_steps}, everything is saved\ncontinue with: {}",
            style.bold(&next)
        )
    });
    Done::Stopped
}

/// Says how a training ended.
fn conclude(root: &Path, outcome: &Outcome, output: &Output) -> Done {
    let run = root.display().to_string();
    let report = match outcome {
        Outcome::Finished(report) => {
            output.result(&finished_json(&run, report), |style| {
                finished_text(&run, report, style)
            });
            return Done::Finished;
        }
        Outcome::Stopped {
            step,
            total_steps,
            checkpoint,
        } => {
            return stopped(&run, (*step, *total_steps), checkpoint, output);
        }
        Outcome::AlreadyFinished(report) => report,
        // The enumeration may grow; what is not known here has nothing to say.
        _ => return Done::Finished,
    };
    output.remark(&format!(
        "the run in {run} is finished already; nothing was done"
    ));
    output.result(&finished_json(&run, report), |style| {
        scores::headline(&report.test, style)
    });
    Done::Finished
}

fn finished_json(run: &str, report: &Report) -> Value {
    let mut object = Map::new();
    object.insert("run".to_owned(), json!(run));
    object.insert("steps".to_owned(), json!(report.steps));
    object.insert("epochs".to_owned(), json!(report.epochs));
    object.insert("train_seconds".to_owned(), json!(report.train_seconds));
    object.insert("parameters".to_owned(), json!(report.parameters));
    object.extend(scores::to_json(&report.test));
    Value::Object(object)
}

fn finished_text(run: &str, report: &Report, style: &Style) -> String {
    format!(
        "\n{}\n{} after {} of training\n\n  model      {run}/model.safetensors\n  pictures   {run}/report.html\n  test again {}\n",
        scores::details(&report.test, style),
        scores::headline(&report.test, style),
        duration(report.train_seconds),
        style.bold(&format!("cortical eval {run}"))
    )
}

//! `train` and `resume`.

use std::path::Path;

use cortical_data::catalog;
use cortical_io::GgufFile;
use cortical_models::language::preset;
use cortical_settings::{Table, Value as Setting, nearest};
use cortical_train::{
    Observer, Outcome, Override, Recipe, RunFolder, RunPaths, TaskKind, TaskRecipe, find_lr,
    in_pool, presets, read_recipe_file, write_page,
};
use serde_json::json;

use crate::auto_columns;
use crate::cli::{Common, ResumeArgs, TrainArgs};
use crate::dashboard::Dashboard;
use crate::done::Done;
use crate::error::{Error, Result};
use crate::out_file::{LR_PAGE, may_write};
use crate::output::Output;
use crate::progress::Progress;
use crate::result;
use crate::signals::{Beginning, End, Listener};
use crate::style::Style;

/// `cortical train`
pub(crate) fn train(args: &TrainArgs, common: &Common, output: &Output) -> Result<Done> {
    let recipe = recipe(args, common, output)?;
    if args.print_recipe {
        print_recipe(&recipe, output);
        return Ok(Done::Finished);
    }
    if args.find_lr {
        return look_for_lr(args, &recipe, common, output);
    }
    let watch = Watch::start(args.tui, common, output)?;
    if args.fast_dev_run {
        return try_out(&recipe, &watch);
    }
    let (root, outcome) = in_pool(common.threads, || {
        let folder = watch.listener.make(|| {
            let folder = match &args.out {
                Some(root) => RunFolder::create(root, &recipe)?,
                None => {
                    let name = recipe.short_name();
                    RunFolder::create_numbered(Path::new("runs"), &name, &recipe)?
                }
            };
            let made = folder.made().cloned();
            let run = folder.paths().root().display().to_string();
            let heard = watch.separate_output();
            let undo: End = Box::new(move || {
                if let Some(made) = made {
                    made.undo();
                }
                heard.error(&Error::NotBegun { run });
                1
            });
            Ok::<_, Error>((folder, undo))
        })?;
        let root = folder.paths().root().to_owned();
        Ok::<_, Error>((root, work(folder, &recipe, &watch)?))
    })??;
    Ok(conclude(&root, &outcome, output))
}

/// Who watches a training, and who may stop it.
struct Watch<'a> {
    listener: Listener,
    tui: bool,
    common: &'a Common,
    output: &'a Output,
}

impl<'a> Watch<'a> {
    /// Listens to signals from now on.
    fn start(tui: bool, common: &'a Common, output: &'a Output) -> Result<Self> {
        Ok(Self {
            listener: Listener::start()?,
            tui,
            common,
            output,
        })
    }

    /// For the thread that hears signals.
    fn separate_output(&self) -> Output {
        Output::new(self.common.json, self.common.quiet)
    }
}

/// `cortical train --find-lr`
fn look_for_lr(
    args: &TrainArgs,
    recipe: &Recipe,
    common: &Common,
    output: &Output,
) -> Result<Done> {
    let path = args.out.clone().unwrap_or_else(|| "lr-finder.html".into());
    let mut reads = vec![Path::new(&recipe.data.name), Path::new(recipe.model_name())];
    reads.extend(args.recipe.as_deref());
    may_write(&path, &LR_PAGE, &reads, args.force)?;
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
fn try_out(recipe: &Recipe, watch: &Watch<'_>) -> Result<Done> {
    let name = format!("cortical-fast-dev-run-{}", std::process::id());
    let root = std::env::temp_dir().join(name);
    let (gone, output) = (root.clone(), watch.separate_output());
    watch.listener.before(move || {
        let _ = std::fs::remove_dir_all(&gone);
        output.error(&Error::NotBegun {
            run: gone.display().to_string(),
        });
        1
    });
    let outcome = in_pool(watch.common.threads, || {
        let folder = RunFolder::create(&root, recipe)?;
        work(folder, recipe, watch)
    });
    // It was ours alone; what cannot be removed stays where temporary things are.
    let _ = std::fs::remove_dir_all(&root);
    if let Outcome::Stopped { step, .. } = outcome?? {
        return Err(Error::TrialStopped {
            step,
            total: recipe.train.max_steps,
        });
    }
    let value = json!({ "fast_dev_run": true, "steps": recipe.train.max_steps });
    let words = |_: &Style| "everything works; nothing was kept".to_owned();
    watch.output.result(&value, words);
    Ok(Done::Finished)
}

/// `cortical resume`
pub(crate) fn resume(args: &ResumeArgs, common: &Common, output: &Output) -> Result<Done> {
    let watch = Watch::start(args.tui, common, output)?;
    let (run, heard) = (args.run.display().to_string(), watch.separate_output());
    watch.listener.before(move || {
        heard.error(&Error::NotResumed { run });
        75
    });
    let outcome = in_pool(common.threads, || -> Result<_> {
        let (mut folder, recipe) = RunFolder::open(&args.run)?;
        if args.changed_data {
            folder.take_changed_data();
        }
        if let Some(found) = common.seed.filter(|seed| *seed != recipe.seed) {
            return Err(Error::OtherSeed {
                run: args.run.clone(),
                expected: recipe.seed,
                found,
            });
        }
        work(folder, &recipe, &watch)
    })??;
    Ok(conclude(&args.run, &outcome, output))
}

/// Trains to the end or to a signal, while a person watches.
fn work(folder: RunFolder, recipe: &Recipe, watch: &Watch<'_>) -> Result<Outcome> {
    let (output, listener) = (watch.output, &watch.listener);
    let root = folder.paths().root().to_owned();
    if watch.tui && !Dashboard::is_possible(output) {
        output.remark("--tui draws on a terminal, and stderr is none: lines instead");
    }
    let watcher: Box<dyn Observer> = match watch.tui && Dashboard::is_possible(output) {
        true => Box::new(Dashboard::new()),
        false => Box::new(Progress::new(output)),
    };
    let mut beginning = Beginning { listener, watcher };
    let outcome = cortical_train::train(folder, recipe, listener.stop(), &mut beginning)?;
    drop(beginning);
    if let Outcome::Finished(_) = outcome {
        // The model is there; a page that cannot be made must not make the training fail.
        if let Err(why) = write_page(&RunPaths::new(&root)) {
            output.warning(&format!("report.html was not written: {why}"));
        }
    }
    Ok(outcome)
}

/// The recipe that the arguments ask for.
fn recipe(args: &TrainArgs, common: &Common, output: &Output) -> Result<Recipe> {
    let base = match &args.preset {
        Some(name) => {
            let preset = presets().iter().find(|preset| preset.name == name);
            let preset = preset.ok_or_else(|| unknown_preset(name))?;
            Some(preset.recipe(&[])?)
        }
        None => None,
    };
    let read = |overrides: &[Override]| match &args.recipe {
        Some(file) => read_recipe_file(file, overrides),
        None => Recipe::from_toml("version = 2", base.as_ref(), overrides),
    };
    let mut overrides = from_options(args, common);
    if args.fast_dev_run {
        let mut all = overrides.clone();
        all.extend(args.set.iter().cloned());
        overrides.extend(fast_dev_run(read(&all)?.kind()));
    }
    overrides.extend(args.set.iter().cloned());
    if args.auto_columns {
        overrides.extend(auto_columns::fields(&read(&overrides)?, output)?);
    }
    let mut recipe = read(&overrides)?;
    make_absolute(&mut recipe);
    Ok(recipe)
}

/// The fields that options of their own set.
fn from_options(args: &TrainArgs, common: &Common) -> Vec<Override> {
    let mut overrides = Vec::new();
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let mut set = |path: &str, value: Option<Setting>| {
        overrides.extend(value.map(|value| Override::new(path, value)));
    };
    set("data.name", args.data.as_deref().map(Setting::from));
    if let Some(name) = args.model.as_deref() {
        if is_language_model(name) {
            set("model", Some(name.into()));
            // A table has labelled texts; a recipe or a preset says itself what it learns.
            let is_free = args.recipe.is_none() && args.preset.is_none();
            if is_free && args.data.as_deref().is_some_and(is_table) {
                set("classify", Some(Setting::Table(Table::new())));
            }
        } else {
            set("model.kind", Some(name.into()));
        }
    }
    // So many epochs, however many steps they are.
    set("train.max_steps", args.epochs.map(|_| 0.into()));
    set("train.epochs", args.epochs.map(|n| whole(n).into()));
    set("train.batch_size", args.batch.map(|n| whole(n).into()));
    set("optim.lr", args.lr.map(Setting::from));
    set("seed", common.seed.map(|n| whole(n).into()));
    set(
        "train.overfit_batches",
        args.overfit_batches.map(|n| whole(n).into()),
    );
    set("log.tensorboard", args.tensorboard.then(|| true.into()));
    overrides
}

/// What makes a run of this task short.
fn fast_dev_run(kind: TaskKind) -> Vec<Override> {
    let common = [
        ("train.max_steps", 3),
        ("checkpoint.every_steps", 2),
        ("log.every_steps", 1),
    ];
    let own: &[(&str, i64)] = match kind {
        TaskKind::NextToken => &[("train.eval_blocks", 1), ("train.sample_tokens", 8)],
        TaskKind::TextClassification => &[("train.eval_blocks", 1)],
        _ => &[("train.limit_eval_batches", 1)],
    };
    let all = common.iter().chain(own);
    all.map(|(path, n)| Override::new(path, *n)).collect()
}

/// Whether a name is one of a language model: of a preset, of a folder as Hugging Face has it, of a GGUF file.
fn is_language_model(name: &str) -> bool {
    let path = Path::new(name);
    preset(name).is_some() || path.join("config.json").is_file() || GgufFile::is_gguf(path)
}

/// Whether data are a table by their name.
fn is_table(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let stem = lower.strip_suffix(".gz").unwrap_or(&lower);
    stem.ends_with(".csv") || stem.ends_with(".tsv")
}

/// A run must find its files again from wherever it is resumed.
pub(super) fn make_absolute(recipe: &mut Recipe) {
    let absolute = |name: &mut String| {
        if Path::new(name).exists() {
            let path = std::path::absolute(&name).unwrap_or_else(|_| name.as_str().into());
            *name = path.to_string_lossy().into_owned();
        }
    };
    let is_text = recipe.kind().is_text();
    if is_text || !catalog().iter().any(|entry| entry.name == recipe.data.name) {
        absolute(&mut recipe.data.name);
    }
    absolute(&mut recipe.start.from);
    match &mut recipe.task {
        TaskRecipe::Samples(samples) => {
            if let Some(dir) = &mut samples.data.dir {
                *dir = std::path::absolute(&dir).unwrap_or_else(|_| dir.clone());
            }
        }
        TaskRecipe::Text(text) if preset(&text.model).is_none() => absolute(&mut text.model),
        _ => {}
    }
}

pub(super) fn unknown_preset(name: &str) -> Error {
    let names = || presets().iter().map(|preset| preset.name);
    Error::UnknownPreset {
        found: name.to_owned(),
        nearest: nearest(name, names()),
        known: names().collect::<Vec<_>>().join(", "),
    }
}

/// The recipe as TOML, or as one JSON object.
fn print_recipe(recipe: &Recipe, output: &Output) {
    let text = recipe.to_toml();
    let table: Table = text.parse().expect("a recipe that we wrote is TOML");
    output.result(&json!({ "recipe": table }), |_| text);
}

/// Says how a training ended.
fn conclude(root: &Path, outcome: &Outcome, output: &Output) -> Done {
    let run = root.display().to_string();
    match outcome {
        Outcome::Finished(report) => {
            output.result(&result::to_json(&run, report), |style| {
                result::finished(&run, report, style)
            });
        }
        Outcome::AlreadyFinished(report) => {
            output.remark(&format!(
                "the run in {run} is finished already; nothing was done"
            ));
            output.result(&result::to_json(&run, report), |style| {
                result::headline(report, style)
            });
        }
        Outcome::Stopped {
            step,
            total_steps,
            checkpoint,
        } => {
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
            return Done::Stopped;
        }
        // The enumeration may grow; what is not known here has nothing to say.
        _ => {}
    }
    Done::Finished
}

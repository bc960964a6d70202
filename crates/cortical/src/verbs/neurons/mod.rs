//! `neurons`

mod language;
mod show;

use std::path::Path;

use cortical_data::csv::{LabelColumn, read_texts};
use cortical_explain::{Shown, Survey, SurveyOptions, page, survey_network, survey_texts};
use cortical_io::GgufFile;
use cortical_models::language::adapter_base;
use cortical_train::{RunPaths, TaskKind, TextModel, in_pool};

use crate::cli::Common;
use crate::cli_observe::NeuronsArgs;
use crate::done::Done;
use crate::error::{Error, Result};
use crate::out_file::{NEURONS_PAGE, may_write};
use crate::output::Output;
use crate::verbs::load_model;
use crate::verbs::test_data::TestData;

/// `cortical neurons`
pub(crate) fn neurons(args: &NeuronsArgs, common: &Common, output: &Output) -> Result<Done> {
    if !args.run.exists() {
        return Err(Error::NotFound {
            path: args.run.clone(),
        });
    }
    if let Some(out) = &args.out {
        let mut reads: Vec<&Path> = vec![&args.run];
        reads.extend(args.data.as_deref().map(Path::new));
        may_write(out, &NEURONS_PAGE, &reads, args.force)?;
    }
    in_pool(common.threads, || look(args, output))??;
    Ok(Done::Finished)
}

fn look(args: &NeuronsArgs, output: &Output) -> Result<()> {
    let paths = RunPaths::new(&args.run);
    if args.data.is_none() && paths.is_run() && !args.changed_data {
        paths.check_data()?;
    }
    if args.run.is_dir()
        && let Some(model) = TextModel::open(&args.run)?
    {
        return of_texts(args, &model, output);
    }
    if is_language_model(&args.run, &paths)? {
        return language::look(args, &paths, output);
    }
    let (model, run) = load_model(&args.run)?;
    let named = TestData {
        run: &args.run,
        data: args.data.as_deref(),
        label: args.label.as_deref(),
    };
    let (data, _) = named.open(&model, run.as_ref(), output)?;
    let rows = spread(args, data.len());
    let data = data.select(&rows)?;
    let survey = survey_network(&model, &data, &options(args))?;
    let at = |row: usize| rows.get(row).copied().unwrap_or(row);
    let show = |row: usize| Shown::of(&data, row);
    finish(args, &survey, data.labels(), (&show, &at), output)
}

/// Whether it continues texts: a run that learned that, a GGUF file, or a folder as Hugging Face and PEFT have them.
fn is_language_model(what: &Path, paths: &RunPaths) -> Result<bool> {
    if GgufFile::is_gguf(what) {
        return Ok(true);
    }
    if paths.is_run() {
        return Ok(paths.read_recipe()?.kind() == TaskKind::NextToken);
    }
    Ok(what.join("config.json").is_file() || adapter_base(what)?.is_some())
}

/// A classifier of texts, over those that its run held out or those of a table.
fn of_texts(args: &NeuronsArgs, model: &TextModel, output: &Output) -> Result<()> {
    let (texts, labels) = match &args.data {
        None => model.held_out(&args.run)?.ok_or_else(|| Error::NoData {
            path: args.run.clone(),
        })?,
        Some(data) => {
            let mut options = model.options();
            if let Some(label) = &args.label {
                options.label = LabelColumn::parse(label);
            }
            let read = read_texts(Path::new(data), &options)?;
            let labels: Option<Vec<u32>> = read.labels.and_then(|all| all.into_iter().collect());
            let labels = labels.ok_or_else(|| Error::NoLabels { path: data.into() })?;
            (read.texts, labels)
        }
    };
    let rows = spread(args, texts.len());
    let texts: Vec<&str> = rows.iter().map(|row| &texts[*row][..]).collect();
    let labels: Vec<u32> = rows.iter().map(|row| labels[*row]).collect();
    let survey = survey_texts(model, &texts, &labels, &options(args))?;
    let at = |row: usize| rows.get(row).copied().unwrap_or(row);
    let show = |row: usize| {
        let text = texts.get(row).copied().unwrap_or_default();
        Ok(Shown::Text(super::one_line(text)))
    };
    finish(args, &survey, &labels, (&show, &at), output)
}

fn options(args: &NeuronsArgs) -> SurveyOptions {
    let mut options = SurveyOptions::default();
    options.layers.clone_from(&args.layer);
    options.silence = args.silence;
    options
}

/// The inputs that are looked at: all, or so many of them, evenly spread.
fn spread(args: &NeuronsArgs, all: usize) -> Vec<usize> {
    let some = args
        .inputs
        .map_or(all, |n| usize::try_from(n).unwrap_or(all))
        .min(all);
    (0..some).map(|i| i * all / some).collect()
}

/// What the page is called.
fn title(args: &NeuronsArgs) -> String {
    let name = args
        .run
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    format!(
        "{} {}",
        crate::out_file::NEURONS_TITLE,
        name.unwrap_or_default()
    )
}

/// How an input looks, and its number in the data.
type Inputs<'a> = (
    &'a dyn Fn(usize) -> cortical_explain::Result<Shown>,
    &'a dyn Fn(usize) -> usize,
);

fn finish(
    args: &NeuronsArgs,
    survey: &Survey,
    labels: &[u32],
    (shown, at): Inputs<'_>,
    output: &Output,
) -> Result<()> {
    if let Some(out) = &args.out {
        write(out, &page(&title(args), survey, labels, shown)?)?;
    }
    let value = show::to_json(args, survey, labels, at);
    output.result(&value, |style| show::text(args, survey, labels, at, style));
    for remark in &survey.remarks {
        output.remark(remark);
    }
    if let Some(out) = &args.out {
        output.remark(&format!("wrote {}", out.display()));
    }
    Ok(())
}

fn write(out: &Path, html: &str) -> Result<()> {
    Ok(cortical_io::write_atomic(out, |file| {
        file.write_all(html.as_bytes())
    })?)
}

//! `search`

use std::path::Path;

use cortical_train::{
    Found, Override, Recipe, SearchMethod, SearchRequest, Trial, in_pool, presets,
    read_recipe_file, search, write_page,
};
use serde_json::{Value, json};

use crate::cli::Common;
use crate::cli_search::{Method, SearchArgs};
use crate::done::Done;
use crate::error::Result;
use crate::output::Output;
use crate::signals::Listener;
use crate::style::{Style, count, duration, number};
use crate::table::{Align, Table};
use crate::verbs::train::{make_absolute, unknown_preset};

/// `cortical search`
pub(crate) fn run(args: &SearchArgs, common: &Common, output: &Output) -> Result<Done> {
    let recipe = recipe(args, common)?;
    let root = args.out.clone().unwrap_or_else(|| {
        let name = format!("{}-search", recipe.short_name());
        Path::new("runs").join(name)
    });
    let request = SearchRequest {
        recipe,
        axes: args.axes.clone(),
        method: match args.method {
            Method::Grid => SearchMethod::Grid,
            Method::Random => SearchMethod::Random(args.trials),
            Method::Halving => SearchMethod::Halving(args.trials),
        },
        folds: args.folds,
        root: root.clone(),
    };
    let listener = Listener::start()?;
    // Whatever is stopped is gone on with.
    listener.begin();
    let mut watch = |trial: &Trial| output.remark(&in_a_line(trial));
    let found = in_pool(common.threads, || {
        search(&request, listener.stop(), &mut watch)
    })??;
    let best = found.trials.first().filter(|best| best.score.is_some());
    if let Some(best) = best
        && !found.stopped
        && let Err(why) = write_page(&cortical_train::RunPaths::new(&best.run))
    {
        output.warning(&format!("report.html was not written: {why}"));
    }
    output.result(&to_json(&root, &found), |style| words(&root, &found, style));
    Ok(match found.stopped {
        true => Done::Stopped,
        false => Done::Finished,
    })
}

/// The recipe that all runs have in common.
fn recipe(args: &SearchArgs, common: &Common) -> Result<Recipe> {
    let mut set = args.set.clone();
    let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    set.extend(common.seed.map(|seed| Override::new("seed", whole(seed))));
    let mut recipe = match args.recipe.is_file() {
        true => read_recipe_file(&args.recipe, &set)?,
        false => {
            let name = args.recipe.to_string_lossy();
            let preset = presets().iter().find(|preset| preset.name == name);
            preset.ok_or_else(|| unknown_preset(&name))?.recipe(&set)?
        }
    };
    make_absolute(&mut recipe);
    Ok(recipe)
}

fn in_a_line(trial: &Trial) -> String {
    let set = trial
        .set
        .iter()
        .map(|(path, value)| format!("{path}={value}"));
    let score = trial.score.map_or_else(|| "no score".to_owned(), number);
    let epochs = count(trial.epochs);
    format!(
        "  trial {}, {epochs} epochs: {score}  {}",
        trial.number,
        set.collect::<Vec<_>>().join(" ")
    )
}

fn to_json(root: &Path, found: &Found) -> Value {
    let trial = |trial: &Trial| {
        let set = trial
            .set
            .iter()
            .cloned()
            .map(|(path, value)| (path, Value::String(value)));
        json!({
            "trial": trial.number,
            "set": set.collect::<serde_json::Map<_, _>>(),
            "score": trial.score,
            "deviation": trial.deviation,
            "epochs": trial.epochs,
            "train_seconds": trial.seconds,
            "run": trial.run.display().to_string(),
        })
    };
    json!({
        "search": root.display().to_string(),
        "stopped": found.stopped,
        "judge": found.judge,
        "trials": found.trials.iter().map(trial).collect::<Vec<_>>(),
    })
}

fn words(root: &Path, found: &Found, style: &Style) -> String {
    let paths = found.trials.first().map_or_else(Vec::new, |first| {
        first.set.iter().map(|(path, _)| path.as_str()).collect()
    });
    let mut columns = vec![("trial", Align::Right)];
    columns.extend(paths.into_iter().map(|path| (path, Align::Right)));
    columns.push((&found.judge, Align::Right));
    columns.extend([("epochs", Align::Right), ("training", Align::Right)]);
    let mut table = Table::new(&columns);
    for trial in &found.trials {
        let mut cells = vec![trial.number.to_string()];
        cells.extend(trial.set.iter().map(|(_, value)| value.clone()));
        cells.push(match (trial.score, trial.deviation) {
            (None, _) => "diverged".to_owned(),
            (Some(score), None) => number(score),
            (Some(score), Some(deviation)) => format!("{} ± {}", number(score), number(deviation)),
        });
        cells.extend([count(trial.epochs), duration(trial.seconds)]);
        table.row(cells);
    }
    let mut text = table.render(style);
    let best = found.trials.first().filter(|best| best.score.is_some());
    if found.stopped {
        let folder = root.display();
        text += &format!(
            "\nstopped, everything is saved: the same command with --out {folder} goes on"
        );
    } else if let Some(best) = best {
        text += &format!("\nbest: trial {}, {}", best.number, best.run.display());
    }
    text
}

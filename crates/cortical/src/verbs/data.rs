//! `data`

use cortical_data::csv::LabelColumn;
use cortical_data::{Entry, Text, catalog, texts};
use cortical_settings::Setting;
use cortical_train::{Override, Recipe};
use serde_json::{Value, json};

use crate::auto_columns;
use crate::cli::DataArgs;
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::style::{Style, count, number, shape};
use crate::table::{Align, Table};

/// `cortical data`
pub(crate) fn data(args: &DataArgs, output: &Output) -> Result<Done> {
    match &args.name {
        None => list(output),
        Some(name) => describe(name, args, output)?,
    }
    Ok(Done::Finished)
}

/// Whether a data set is here, in a word or a command.
fn availability(entry: &Entry) -> String {
    match entry.install {
        None => "embedded".to_owned(),
        Some(_) if entry.is_available(None) => "on this machine".to_owned(),
        Some(install) => install.to_owned(),
    }
}

/// Every data set of the catalog.
fn list(output: &Output) {
    let samples = |entry: &Entry| match entry.test_samples {
        Some(test) => format!("{} + {}", count(entry.samples), count(test)),
        None => count(entry.samples),
    };
    let entries: Vec<Value> = catalog()
        .iter()
        .map(|entry| {
            let mut value = json!(entry);
            value["available"] = json!(entry.is_available(None));
            value
        })
        .collect();
    output.result(&json!({ "data": entries, "texts": texts() }), |style| {
        let mut table = Table::new(&[
            ("name", Align::Left),
            ("samples", Align::Right),
            ("shape", Align::Left),
            ("classes", Align::Right),
            ("where", Align::Left),
        ]);
        for entry in catalog() {
            table.row(vec![
                entry.name.to_owned(),
                samples(entry),
                shape(entry.input_shape),
                match entry.targets.len() {
                    0 => entry.classes.len().to_string(),
                    _ => "numbers".to_owned(),
                },
                availability(entry),
            ]);
        }
        for text in texts() {
            let dash = || "-".to_owned();
            let place = "embedded, for language models".to_owned();
            table.row(vec![
                text.name.to_owned(),
                dash(),
                "text".to_owned(),
                dash(),
                place,
            ]);
        }
        let hint = "  A CSV file with a label column, or a folder of IDX files, is a data set too.";
        format!("{}\n{hint}", table.render(style))
    });
}

/// The text that language models learn from.
fn describe_text(text: &Text, output: &Output) -> Result<()> {
    let content = text.read()?;
    let (bytes, lines) = (content.len(), content.lines().count());
    let words = content.split_whitespace().count();
    let mut value = json!(text);
    value["bytes"] = json!(bytes);
    value["lines"] = json!(lines);
    value["words"] = json!(words);
    output.result(&value, |style| {
        format!(
            "  {}: {}\n  source: {}\n  licence: {}\n  {} bytes, {} lines, {} words; language models learn from it: cortical train --model llama-tiny --data {}",
            style.bold(text.name),
            text.summary,
            text.source,
            text.licence,
            count(bytes),
            count(lines),
            count(words),
            text.name
        )
    });
    Ok(())
}

/// One data set, opened.
fn describe(name: &str, args: &DataArgs, output: &Output) -> Result<()> {
    if let Some(text) = texts().iter().find(|text| text.name == name) {
        return describe_text(text, output);
    }
    let read =
        |set: &[Override]| Recipe::from_toml("version = 2", Some(&Recipe::for_data(name)), set);
    let mut set = args.set.clone();
    if let Some(label) = &args.label {
        let label = LabelColumn::parse(label).to_value();
        set.extend(label.map(|label| Override::new("data.label", label)));
    }
    if args.auto_columns {
        set.extend(auto_columns::fields(&read(&set)?, output)?);
    }
    let recipe = read(&set)?;
    if recipe.data.name != name {
        return Err(Error::OtherData {
            expected: name.to_owned(),
            found: recipe.data.name,
        });
    }
    let mut options = recipe.samples()?.options(&recipe.data);
    // What is held out while training is held out of the part to learn from.
    options.valid_fraction = 0.0;
    let splits = cortical_data::open(name, &options)?;
    let (train, test) = (&splits.train, &splits.test);
    let entry = catalog().iter().find(|entry| entry.name == name);
    let counts = train.class_counts().into_iter().zip(test.class_counts());
    let classes: Vec<(String, usize, usize)> = train
        .classes()
        .iter()
        .zip(counts)
        .map(|(class, (train, test))| (class.clone(), train, test))
        .collect();
    let rows: Vec<Value> = classes
        .iter()
        .map(|(class, train, test)| json!({ "class": class, "train_samples": train, "test_samples": test }))
        .collect();
    let mut value = json!({
        "name": name,
        "summary": entry.map(|entry| entry.summary),
        "licence": entry.map(|entry| entry.licence),
        "source": entry.map(|entry| entry.source),
        "understood": splits.about().summary,
        "notes": splits.about().notes,
        "input_shape": train.input_shape(),
        "train_samples": train.len(),
        "test_samples": test.len(),
        "classes": rows,
    });
    let targets: Vec<TargetRow> = train.targets().map_or_else(Vec::new, |targets| {
        let scale = targets.scale();
        let all = scale.names().iter().enumerate();
        all.map(|(at, name)| (name.clone(), scale.mean()[at], scale.std()[at]))
            .collect()
    });
    if !targets.is_empty() {
        let row =
            |(name, mean, std): &TargetRow| json!({ "target": name, "mean": mean, "std": std });
        value["targets"] = targets.iter().map(row).collect();
    }
    output.result(&value, |style| {
        let mut text = heading(name, entry, style);
        let about = splits.about();
        for line in std::iter::once(&about.summary).chain(&about.notes) {
            if !line.is_empty() {
                text += &format!("  {line}\n");
            }
        }
        text += &format!(
            "  {} samples of shape {}: {} to learn from, {} to test on\n\n",
            count(train.len() + test.len()),
            shape(train.input_shape()),
            count(train.len()),
            count(test.len())
        );
        if !targets.is_empty() {
            return text + &target_table(&targets, style);
        }
        let mut table = Table::new(&[
            ("class", Align::Left),
            ("train", Align::Right),
            ("test", Align::Right),
        ]);
        for (class, train, test) in &classes {
            table.row(vec![class.clone(), count(*train), count(*test)]);
        }
        text + &table.render(style)
    });
    Ok(())
}

/// A number to predict: its name, and its mean and standard deviation in the part to learn from.
type TargetRow = (String, f64, f64);

fn target_table(targets: &[TargetRow], style: &Style) -> String {
    let mut table = Table::new(&[
        ("target", Align::Left),
        ("mean", Align::Right),
        ("deviation", Align::Right),
    ]);
    for (name, mean, std) in targets {
        table.row(vec![name.clone(), number(*mean), number(*std)]);
    }
    table.render(style)
}

/// What the catalog says about a data set.
fn heading(name: &str, entry: Option<&Entry>, style: &Style) -> String {
    let Some(entry) = entry else {
        return format!("  {}\n", style.bold(name));
    };
    format!(
        "  {}: {}\n  source: {}\n  licence: {}\n",
        style.bold(name),
        entry.summary,
        entry.source,
        entry.licence
    )
}

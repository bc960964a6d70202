//! Recipes of the first version, in the words of today's.
//!
//! The first recipes held out nothing but a test part, and chose by it: early stopping, plateau schedules and `best/`
//! looked at what was to be the measure in the end. Such a recipe is refused with what to change; every other one means
//! the same today, without a validation part.

use cortical_settings::{Table, Value};

use super::RECIPE_VERSION;
use crate::{Error, Result};

/// The fields of the earliest recipes of language models, and their names since they share the tables of all others.
const RENAMED: [(&str, &str); 10] = [
    ("data.text", "data.name"),
    ("data.held_out", "data.test_fraction"),
    ("train.steps", "train.max_steps"),
    ("train.batch", "train.batch_size"),
    ("train.eval_every", "train.validate_every"),
    ("train.checkpoint_every", "checkpoint.every_steps"),
    ("train.keep", "checkpoint.keep"),
    ("train.log_every", "log.every_steps"),
    ("optim.min_factor", "schedule.min_factor"),
    ("optim.warmup", "schedule.warmup_steps"),
];

/// Moves a field to where it stands today, unless it stands there already.
fn rename(table: &mut Table, before: &str, after: &str) {
    let (Some((old, before)), Some((new, after))) = (before.split_once('.'), after.split_once('.'))
    else {
        return;
    };
    let old = table.get_mut(old).and_then(Value::as_table_mut);
    let Some(value) = old.and_then(|section| section.remove(before)) else {
        return;
    };
    let new = table
        .entry(new)
        .or_insert_with(|| Value::Table(Table::new()));
    if let Some(section) = new.as_table_mut() {
        section.entry(after).or_insert(value);
    }
}

/// Brings a recipe to today's version.
///
/// # Errors
/// [`Error::RecipeVersion`] for a newer or a missing version, [`Error::OldRecipe`] for one that chose by its test part.
pub(super) fn upgrade(table: &mut Table) -> Result<()> {
    let current = RECIPE_VERSION as i64;
    match table.get("version") {
        Some(Value::Integer(version)) if *version == current => return Ok(()),
        Some(Value::Integer(1)) => {}
        found => {
            return Err(Error::RecipeVersion {
                expected: RECIPE_VERSION,
                found: found.map_or("none".to_owned(), Value::to_string),
            });
        }
    }
    let at = |table: &Table, path: &str| -> Option<Value> {
        let (section, name) = path.split_once('.')?;
        table.get(section)?.get(name).cloned()
    };
    let chose = |path: &str| matches!(at(table, path), Some(Value::Integer(n)) if n > 0);
    let plateau = at(table, "schedule.kind") == Some(Value::from("plateau"));
    let has_validation = at(table, "data.valid_fraction").is_some();
    let field = match () {
        () if has_validation => None,
        () if chose("train.patience") => Some("train.patience"),
        () if chose("checkpoint.keep_best") => Some("checkpoint.keep_best"),
        () if plateau => Some("schedule.kind = \"plateau\""),
        () => None,
    };
    if let Some(field) = field {
        return Err(Error::OldRecipe { field });
    }
    table.insert("version".to_owned(), Value::Integer(current));
    if table.get("kind").and_then(Value::as_str) == Some("language") {
        table.remove("kind");
        for (before, after) in RENAMED {
            rename(table, before, after);
        }
    }
    let mut section = |name: &str| {
        let table = table
            .entry(name)
            .or_insert_with(|| Value::Table(Table::new()));
        table.as_table_mut().map(std::mem::take)
    };
    if let Some(mut data) = section("data") {
        data.entry("valid_fraction").or_insert(Value::Float(0.0));
        table.insert("data".to_owned(), Value::Table(data));
    }
    if let Some(Value::Table(train)) = table.get_mut("train")
        && let Some(Value::String(monitor)) = train.get_mut("monitor")
    {
        *monitor = monitor.replacen("test_", "valid_", 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::Recipe;

    #[test]
    fn an_old_recipe_means_the_same_without_a_validation_part() {
        let text = "version = 1\n[data]\nname = \"iris\"\n[train]\nmonitor = \"test_accuracy\"";
        let old = Recipe::from_toml(text, None, &[]).unwrap();
        assert_eq!(old.data.valid_fraction, 0.0);
        assert_eq!(old.train.monitor, crate::Monitor::ValidAccuracy);
        let text = "kind = \"language\"\nversion = 1\nmodel = \"llama-tiny\"";
        let old = Recipe::from_toml(text, None, &[]).unwrap();
        assert_eq!(
            (old.data.valid_fraction, old.data.test_fraction),
            (0.0, 0.1)
        );
    }

    #[test]
    fn the_earliest_recipe_of_a_language_model_means_the_same() {
        let old = r#"
kind = "language"
version = 1
seed = 3
model = "llama-tiny"
data = { text = "notes.txt", tokenizer = "bytes", held_out = 0.2 }
optim = { lr = 0.002, min_factor = 0.3, warmup = 7, weight_decay = 0.1, betas = [0.9, 0.95], clip_norm = 0.0 }
[train]
steps = 500
batch = 4
block = 64
eval_every = 50
eval_blocks = 16
sample_tokens = 20
checkpoint_every = 30
keep = 5
log_every = 15
"#;
        let new = r#"
version = 2
seed = 3
model = "llama-tiny"
data = { name = "notes.txt", tokenizer = "bytes", test_fraction = 0.2, valid_fraction = 0 }
optim = { lr = 0.002, clip_norm = 0 }
schedule = { min_factor = 0.3, warmup_steps = 7 }
train = { max_steps = 500, batch_size = 4, block = 64, validate_every = 50, eval_blocks = 16, sample_tokens = 20 }
checkpoint = { every_steps = 30, keep = 5 }
log.every_steps = 15
"#;
        let read = |text: &str| Recipe::from_toml(text, None, &[]).unwrap();
        assert_eq!(read(old), read(new));
    }

    #[test]
    fn an_old_recipe_that_chose_by_its_test_part_is_refused() {
        for (text, field) in [
            ("[train]\npatience = 2", "train.patience"),
            ("[checkpoint]\nkeep_best = 2", "checkpoint.keep_best"),
            (
                "[schedule]\nkind = \"plateau\"",
                "schedule.kind = \"plateau\"",
            ),
        ] {
            let old = format!("version = 1\n{text}");
            let error = Recipe::from_toml(&old, None, &[]).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!(
                    "recipe: version 1 chose by the test part ({field}); say version = 2, and data.valid_fraction = 0.1 to choose by samples that are neither learned from nor tested on"
                )
            );
            assert!(error.is_usage());
            let new = format!("version = 2\n{text}");
            Recipe::from_toml(&new, None, &[]).unwrap();
        }
    }
}

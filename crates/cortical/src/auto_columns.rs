//! `--auto-columns`: what the columns of a table seem to hold, as fields of a recipe.

use std::path::Path;

use cortical_data::csv::{LabelColumn, Looks, guess_columns};
use cortical_settings::{Setting, Value};
use cortical_train::{Override, Recipe};

use crate::error::{Error, Result};
use crate::output::Output;

/// The fields that have the recipe's table read as its columns seem, beside what it says of them already. What each
/// column is taken for is said.
///
/// # Errors
/// Data that are no table; a table that cannot be read.
pub(crate) fn fields(recipe: &Recipe, output: &Output) -> Result<Vec<Override>> {
    let name = &recipe.data.name;
    let path = Path::new(name);
    let samples = recipe.samples()?;
    if !path.is_file() {
        return Err(Error::NoColumns { data: name.clone() });
    }
    let found = guess_columns(path, &samples.options(&recipe.data).csv)?;
    let own = &samples.data;
    let (mut one_hot, mut dates, mut ignore) =
        (own.one_hot.clone(), own.dates.clone(), own.ignore.clone());
    let title = |column: &LabelColumn| match column {
        LabelColumn::Name(name) => name.clone(),
        LabelColumn::Number(number) => format!("column {number}"),
    };
    let mut gaps = false;
    for guess in found {
        let what = match guess.looks {
            Looks::Numbers => "numbers".to_owned(),
            Looks::Dates => {
                dates.push(guess.column.clone());
                "dates, as days since 1970".to_owned()
            }
            Looks::Categories(count) => {
                one_hot.push(guess.column.clone());
                format!("{count} categories")
            }
            Looks::Unlike => {
                ignore.push(guess.column.clone());
                "neither numbers, dates nor categories: left out".to_owned()
            }
            _ => continue,
        };
        gaps |= guess.missing > 0 && guess.looks != Looks::Unlike;
        let missing = match guess.missing {
            0 => String::new(),
            some => format!(", {some} missing"),
        };
        output.remark(&format!("{}: {what}{missing}", title(&guess.column)));
    }
    if gaps && own.missing == cortical_data::Missing::Refuse {
        output.remark(
            "values are missing: data.missing says what becomes of them, such as mean or drop",
        );
    }
    let set = |path: &str, columns: &[LabelColumn]| {
        let all = columns.iter().filter_map(LabelColumn::to_value).collect();
        (!columns.is_empty()).then(|| Override::new(path, Value::Array(all)))
    };
    let all = [
        set("data.one_hot", &one_hot),
        set("data.dates", &dates),
        set("data.ignore", &ignore),
    ];
    Ok(all.into_iter().flatten().collect())
}

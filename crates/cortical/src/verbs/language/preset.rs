//! `inspect` of a language model that is not there: its sizes, and with `--why` how they come about.

use cortical_models::language::{Account, LanguageConfig, presets};
use serde_json::json;

use crate::done::Done;
use crate::error::Result;
use crate::output::Output;
use crate::style::{bytes, count};
use crate::table::{Align, Table};

/// Names of all presets.
pub(crate) fn names() -> String {
    let names: Vec<&str> = presets().iter().map(|preset| preset.name).collect();
    names.join(", ")
}

/// `cortical inspect llama2-7b`
pub(crate) fn inspect(
    name: &str,
    config: &LanguageConfig,
    why: bool,
    output: &Output,
) -> Result<Done> {
    let account = Account::new(config);
    let parts: Vec<_> = account
        .lines
        .iter()
        .map(|line| json!({ "part": line.part, "formula": line.formula, "parameters": line.count }))
        .collect();
    let value = json!({
        "model": name,
        "architecture": config.model_type(),
        "parameters": account.total,
        "parts": parts,
        "remarks": account.remarks,
        "layers": config.layers(),
        "hidden_size": config.hidden_size(),
        "vocab_size": config.vocab_size(),
        "positions": config.max_positions(),
    });
    output.result(&value, |style| {
        let total = account.total as u64;
        let mut text = format!(
            "  {} ({}): {} parameters\n  {} layers of width {}, {} tokens, {} positions\n  {} in f32, {} in bf16, {} in q8_0, {} in q4_1\n",
            style.bold(name),
            config.model_type(),
            style.bold(&count(account.total)),
            config.layers(),
            count(config.hidden_size()),
            count(config.vocab_size()),
            count(config.max_positions()),
            bytes(total.saturating_mul(4)),
            bytes(total.saturating_mul(2)),
            bytes((total / 32).saturating_mul(34)),
            bytes((total / 32).saturating_mul(20)),
        );
        if why {
            let mut table = Table::new(&[
                ("part", Align::Left),
                ("how many", Align::Left),
                ("parameters", Align::Right),
                ("share", Align::Right),
            ]);
            for line in &account.lines {
                let share = 100.0 * line.count as f64 / account.total.max(1) as f64;
                table.row(vec![
                    line.part.to_owned(),
                    line.formula.clone(),
                    count(line.count),
                    format!("{share:.2} %"),
                ]);
            }
            text += &format!("\n{}\n", table.render(style));
            for remark in &account.remarks {
                text += &format!("  {remark}\n");
            }
        } else {
            text += &style.dim("  --why explains the number part by part\n");
        }
        text
    });
    Ok(Done::Finished)
}

//! `logits`

use candle_core::{Device, Tensor};
use cortical_neuron::Pass;
use cortical_text::{Tokenizer, check_length};
use serde_json::json;

use crate::cli_language::LogitsArgs;
use crate::done::Done;
use crate::error::Result;
use crate::out_file::{LOGITS, may_write};
use crate::output::Output;
use crate::style::shape;
use crate::table::{Align, Table};

/// Positions that are shown to people.
const SHOWN: usize = 16;

/// `cortical logits`
pub(crate) fn logits(args: &LogitsArgs, output: &Output) -> Result<Done> {
    super::exists(&args.model.model)?;
    may_write(&args.out, &LOGITS, &[&args.model.model], args.force)?;
    let loaded = super::open(&args.model, output)?;
    let ids = match &args.text {
        Some(text) => Tokenizer::open(&args.model.model)?.encode(text)?,
        None => args.ids.clone(),
    };
    check_length(&loaded.model, ids.len(), args.model.beyond_context)?;
    let input = Tensor::from_slice(&ids, (1, ids.len()), &Device::Cpu)?;
    let mut pass = Pass::eval();
    let hidden = loaded.model.hidden(&input, None, &mut pass)?;
    let (name, result) = match loaded.model.has_head() {
        true => ("logits", loaded.model.scores(&hidden, &mut pass)?),
        false => ("last_hidden_state", hidden),
    };
    let result = result.squeeze(0)?;
    let saved = vec![
        (name.to_owned(), result.clone()),
        ("ids".to_owned(), input.squeeze(0)?),
    ];
    cortical_io::save_tensors(&args.out, &saved, &Default::default())?;
    let best: Vec<u32> = result.argmax(1)?.to_vec1()?;
    let value = json!({
        "file": args.out.display().to_string(),
        "tensor": name,
        "shape": result.dims(),
        "ids": ids,
        "argmax": loaded.model.has_head().then_some(&best),
    });
    let rows: Vec<Vec<f32>> = result.narrow(0, 0, ids.len().min(SHOWN))?.to_vec2()?;
    output.result(&value, |style| {
        let mut text = format!(
            "  {} {} in {}\n",
            style.bold(name),
            shape(result.dims()),
            args.out.display()
        );
        if loaded.model.has_head() {
            let mut table = Table::new(&[
                ("position", Align::Right),
                ("token", Align::Right),
                ("likeliest next", Align::Right),
                ("its logit", Align::Right),
            ]);
            for (at, row) in rows.iter().enumerate() {
                let next = best[at];
                let score = row.get(next as usize).copied().unwrap_or(f32::NAN);
                table.row(vec![
                    at.to_string(),
                    ids[at].to_string(),
                    next.to_string(),
                    format!("{score:.4}"),
                ]);
            }
            text += &format!("\n{}", table.render(style));
            if ids.len() > SHOWN {
                text += &format!("  and {} more\n", ids.len() - SHOWN);
            }
        }
        text
    });
    Ok(Done::Finished)
}

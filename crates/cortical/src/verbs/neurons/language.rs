//! `neurons` of a language model: heads over a prompt, units over a text.

use cortical_explain::{LanguageSurvey, TextTokens, language_page, survey_language};
use cortical_models::language::{self, LoadOptions};
use cortical_text::Tokenizer;
use cortical_train::{RunPaths, TaskKind, test_tokens};
use serde_json::{Value, json};

use super::show::{FIGURES, figures, layer_json, layers, unit_json};
use super::{options, title, write};
use crate::cli_observe::NeuronsArgs;
use crate::error::Result;
use crate::output::Output;
use crate::style::{Style, count};
use crate::table::{Align, Table};

/// Tokens that are looked at where nobody says how many, of a prompt that nobody gave, and of a prompt at most.
const TOKENS: usize = 2048;
const PROMPT: usize = 24;
const PROMPT_MOST: usize = 128;
/// The most bytes of a text that are read.
const TEXT_BYTES: u64 = 64 << 20;
/// Tokens of a neuron that are shown: there are tens of thousands of neurons.
const TOPS: usize = 3;

pub(super) fn look(args: &NeuronsArgs, paths: &RunPaths, output: &Output) -> Result<()> {
    let tokenizer = Tokenizer::open(&args.run)?;
    let mut prompt = match &args.prompt {
        Some(prompt) => tokenizer.encode(prompt)?,
        None => Vec::new(),
    };
    let mut ids = text(args, paths, &tokenizer)?;
    if ids.is_empty() {
        ids.clone_from(&prompt);
    }
    let most = args
        .inputs
        .map_or(TOKENS, |n| usize::try_from(n).unwrap_or(usize::MAX));
    ids.truncate(most);
    if prompt.is_empty() {
        prompt = ids.iter().copied().take(PROMPT).collect();
    }
    let given = prompt.len();
    prompt.truncate(PROMPT_MOST);
    let loaded = language::open(&args.run, &LoadOptions::default())?;
    let tokens = |ids: &[u32]| TextTokens::new(&tokenizer, ids);
    let found = survey_language(
        &loaded.model,
        tokens(&ids)?,
        tokens(&prompt)?,
        &options(args),
    );
    let mut survey = found?;
    if given > PROMPT_MOST {
        survey.remarks.push(format!(
            "attention is shown over the first {PROMPT_MOST} of the prompt's {given} tokens"
        ));
    }
    if let Some(out) = &args.out {
        write(out, &language_page(&title(args), &survey))?;
    }
    output.result(&to_json(args, &survey), |style| shown(args, &survey, style));
    for remark in &survey.remarks {
        output.remark(remark);
    }
    if let Some(out) = &args.out {
        output.remark(&format!("wrote {}", out.display()));
    }
    Ok(())
}

/// The text that neurons are looked at with: the one that is named, what the run held out, or none.
fn text(args: &NeuronsArgs, paths: &RunPaths, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let is_run = paths.is_run() && paths.read_recipe()?.kind() == TaskKind::NextToken;
    match &args.data {
        data if is_run => {
            // A prompt is enough, too.
            if data.is_none() && args.prompt.is_some() {
                return Ok(Vec::new());
            }
            Ok(test_tokens(paths, data.as_deref())?)
        }
        None => Ok(Vec::new()),
        Some(name) => {
            let known = cortical_data::texts().iter().find(|text| text.name == name);
            let text = match known {
                Some(known) => known.read()?,
                None => cortical_io::read_text(name, TEXT_BYTES)?,
            };
            // More characters than that cannot be needed for so many tokens of any tokenizer.
            let most = args
                .inputs
                .map_or(TOKENS, |n| usize::try_from(n).unwrap_or(usize::MAX));
            let end = text
                .char_indices()
                .nth(most.saturating_mul(32))
                .map_or(text.len(), |(at, _)| at);
            Ok(tokenizer.encode_part(&text[..end])?)
        }
    }
}

fn to_json(args: &NeuronsArgs, survey: &LanguageSurvey) -> Value {
    let [neurons, dead, saturated] = survey.counts();
    let layers = survey.layers.iter().map(|layer| {
        let units = layer.units.iter().map(|unit| {
            let mut value = unit_json(unit);
            let tops = unit.top.iter().take(TOPS).map(|top| {
                json!({
                    "token": top.input,
                    "output": top.output,
                    "word": survey.text.words.get(top.input),
                    "context": survey.text.context(top.input),
                })
            });
            value["top"] = tops.collect();
            if let Some(effect) = &unit.silenced {
                value["silenced"] = json!({ "loss": effect.loss });
            }
            value
        });
        layer_json(layer, units.collect())
    });
    let attention = survey.attention.iter().map(|layer| {
        let heads = layer.heads.iter().enumerate().map(|(at, head)| {
            let [first, before, own] = head.shares;
            json!({
                "head": at,
                "habit": head.habit(),
                "breadth": head.breadth,
                "distance": head.distance,
                "first": first,
                "before": before,
                "itself": own,
            })
        });
        json!({ "name": layer.name, "queries": layer.size[0], "keys": layer.size[1], "heads": heads.collect::<Vec<_>>() })
    });
    json!({
        "run": args.run.display().to_string(),
        "tokens": survey.text.ids.len(),
        "prompt": survey.prompt.words,
        "loss": survey.loss,
        "silenced_on": survey.silenced_on,
        "neurons": neurons,
        "dead": dead,
        "saturated": saturated,
        "attention": attention.collect::<Vec<_>>(),
        "layers": layers.collect::<Vec<_>>(),
        "page": args.out.as_ref().map(|out| out.display().to_string()),
        "remarks": survey.remarks,
    })
}

fn shown(args: &NeuronsArgs, survey: &LanguageSurvey, style: &Style) -> String {
    let mut heads = Table::new(&[
        ("attention", Align::Left),
        ("head", Align::Right),
        ("looks at", Align::Left),
        ("tokens at once", Align::Right),
        ("tokens back", Align::Right),
    ]);
    for layer in &survey.attention {
        for (at, head) in layer.heads.iter().enumerate() {
            heads.row(vec![
                layer.name.clone(),
                at.to_string(),
                head.habit().to_owned(),
                format!("{:.1}", head.breadth),
                format!("{:.1}", head.distance),
            ]);
        }
    }
    let mut text = format!("{}\n{}", heads.render(style), layers(&survey.layers, style));
    let measured = survey.silenced_on > 0;
    for layer in &survey.layers {
        let mut columns = FIGURES.to_vec();
        if measured {
            columns.push(("loss without", Align::Right));
        }
        columns.push(("excited by", Align::Left));
        let mut table = Table::new(&columns);
        for unit in layer.by_weight().into_iter().take(args.units) {
            let mut cells = figures(unit);
            if measured {
                let effect = unit.silenced.as_ref();
                cells.push(effect.map_or_else(String::new, |e| format!("{:+.4}", e.loss)));
            }
            let tops = unit.top.iter().take(TOPS);
            let words: Vec<String> = tops.map(|top| survey.text.context(top.input)).collect();
            cells.push(words.join(" · "));
            table.row(cells);
        }
        text += &format!("\n{}\n{}", style.bold(&layer.name), table.render(style));
        let more = layer.units.len().saturating_sub(args.units);
        if more > 0 {
            text += &format!("  {}\n", style.dim(&format!("and {} more", count(more))));
        }
    }
    let tokens = count(survey.text.ids.len());
    text += &match survey.loss {
        Some(loss) => format!("\nloss {loss:.4} nats a token over {tokens} tokens"),
        None => format!("\nlooked at {tokens} tokens"),
    };
    if measured {
        text += &format!(
            "; without each neuron measured on {}",
            count(survey.silenced_on)
        );
    }
    text
}

//! `verify`

use cortical_explain::{
    Compared, Departure, GRADIENT_FACTOR, Reference, Verifiable, Verification, verify as compare,
};
use cortical_train::in_pool;
use serde_json::{Value, json};

use crate::cli::Common;
use crate::cli_observe::VerifyArgs;
use crate::done::Done;
use crate::error::Result;
use crate::output::Output;
use crate::style::{Style, count, shape};
use crate::table::{Align, Table};

/// Names that are listed for people, and rows of what departs.
const LISTED: usize = 20;

/// `cortical verify`
pub(crate) fn verify(args: &VerifyArgs, common: &Common, output: &Output) -> Result<Done> {
    let found = in_pool(common.threads, || -> Result<Verification> {
        let reference = Reference::open(&args.against)?;
        let model = Verifiable::open(&args.model)?;
        Ok(compare(&model, &reference, args.tolerance)?)
    })??;
    output.result(&to_json(args, &found), |style| text(args, &found, style));
    Ok(match found.agrees() {
        true => Done::Finished,
        false => Done::Differs,
    })
}

/// An error for machines: JSON has no infinity.
fn number(error: f64) -> Value {
    match error.is_finite() {
        true => json!(error),
        false => json!("infinite"),
    }
}

fn compared(compared: &Compared, departs: bool) -> Value {
    json!({
        "name": compared.name,
        "error": number(compared.error),
        "so_far": number(compared.so_far),
        "departs": departs,
        "shapes": compared.shapes,
    })
}

fn to_json(args: &VerifyArgs, found: &Verification) -> Value {
    let layers = found
        .layers
        .iter()
        .map(|layer| compared(layer, found.departs(layer)));
    let gradients = found
        .gradients
        .iter()
        .map(|gradient| compared(gradient, found.gradient_departs(gradient)));
    let departure = found.departure.as_ref().map(|departure| match departure {
        Departure::Forward { layer, behind } => {
            json!({ "in": "forward", "layer": layer, "behind": behind })
        }
        Departure::Output { behind } => json!({ "in": "output", "behind": behind }),
        Departure::Gradient { parameter, ahead } => {
            json!({ "in": "gradient", "parameter": parameter, "ahead": ahead })
        }
        _ => Value::Null,
    });
    json!({
        "model": args.model.display().to_string(),
        "reference": args.against.display().to_string(),
        "tolerance": found.tolerance,
        "gradient_tolerance": found.tolerance * GRADIENT_FACTOR,
        "agrees": found.agrees(),
        "departure": departure,
        "output": found.output.as_ref().map(|output| compared(output, found.departs(output))),
        "layers": layers.collect::<Vec<_>>(),
        "gradients": gradients.collect::<Vec<_>>(),
        "missing_layers": found.missing_layers,
        "extra_layers": found.extra_layers,
        "missing_parameters": found.missing_parameters,
        "extra_parameters": found.extra_parameters,
        "remarks": found.remarks,
    })
}

/// An error for people.
fn short(error: f64) -> String {
    match error.is_finite() {
        true => format!("{error:.2e}"),
        false => "infinite".to_owned(),
    }
}

fn text(args: &VerifyArgs, found: &Verification, style: &Style) -> String {
    let mut text = String::new();
    let mut table = Table::new(&[
        ("layer", Align::Left),
        ("error alone", Align::Right),
        ("error so far", Align::Right),
        ("", Align::Left),
    ]);
    let verdict = |compared: &Compared, departs: bool| match (&compared.shapes, departs) {
        (Some([ours, theirs]), _) => format!("{} here, {} there", shape(ours), shape(theirs)),
        (None, true) => "departs".to_owned(),
        (None, false) => String::new(),
    };
    let shown = |departs: bool, rows: usize| args.all || (departs && rows < LISTED);
    let mut rows = 0;
    for layer in found.layers.iter().chain(&found.output) {
        let departs = found.departs(layer);
        if shown(departs, rows) {
            rows += 1;
            let cells = [
                short(layer.error),
                short(layer.so_far),
                verdict(layer, departs),
            ];
            table.row([layer.name.clone()].into_iter().chain(cells).collect());
        }
    }
    if rows > 0 {
        text += &format!("{}\n", table.render(style));
    }
    let mut table = Table::new(&[
        ("gradient, on the way back", Align::Left),
        ("error", Align::Right),
        ("", Align::Left),
    ]);
    let mut rows = 0;
    for gradient in &found.gradients {
        let departs = found.gradient_departs(gradient);
        if shown(departs, rows) {
            rows += 1;
            let cells = [short(gradient.error), verdict(gradient, departs)];
            table.row([gradient.name.clone()].into_iter().chain(cells).collect());
        }
    }
    if rows > 0 {
        text += &format!("{}\n", table.render(style));
    }
    for (what, names) in [
        (
            "modules of the reference that are not compared",
            &found.missing_layers,
        ),
        (
            "layers that the reference does not have",
            &found.extra_layers,
        ),
        (
            "parameters of the reference that are missing",
            &found.missing_parameters,
        ),
        (
            "parameters that the reference does not have",
            &found.extra_parameters,
        ),
    ] {
        if !names.is_empty() {
            let shown: Vec<&str> = names.iter().take(LISTED).map(String::as_str).collect();
            let more = match names.len().saturating_sub(LISTED) {
                0 => String::new(),
                more => format!(" and {} more", count(more)),
            };
            text += &format!(
                "  {} {}{more}\n",
                style.dim(&format!("{what}:")),
                shown.join(", ")
            );
        }
    }
    for remark in &found.remarks {
        text += &format!("  {remark}\n");
    }
    text + "\n" + &conclusion(found, style)
}

fn conclusion(found: &Verification, style: &Style) -> String {
    let counts = format!(
        "{} layers within {:.0e} and {} gradients within {:.0e} of the reference, relative to it",
        count(found.layers.len()),
        found.tolerance,
        count(found.gradients.len()),
        found.tolerance * GRADIENT_FACTOR,
    );
    let after = |name: &Option<String>, agrees: &str| match name {
        Some(name) => format!("; {name}, {agrees}, agrees"),
        None => String::new(),
    };
    match &found.departure {
        None if found.agrees() => format!("{} {counts}", style.green("agrees:")),
        None => format!(
            "{} what both have agrees ({counts}), but parameters are missing or extra",
            style.red("differs:")
        ),
        Some(Departure::Forward { layer, behind }) => format!(
            "{} {} is the first layer whose output departs{}",
            style.red("departs in the forward pass:"),
            style.bold(layer),
            after(behind, "computed before it")
        ),
        Some(Departure::Output { behind }) => format!(
            "{} every layer agrees, but the output of the model does not{}",
            style.red("departs in the forward pass:"),
            after(behind, "the last one")
        ),
        Some(Departure::Gradient { parameter, ahead }) => format!(
            "{} all outputs agree, but the gradient of {} is the first to depart on the way back{}",
            style.red("departs in the gradient only:"),
            style.bold(parameter),
            after(ahead, "reached before it")
        ),
        Some(_) => style.red("departs"),
    }
}

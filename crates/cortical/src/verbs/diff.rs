//! `diff`

use cortical_explain::{Change, Contents, TensorDiff, diff as compare};
use serde_json::{Value, json};

use crate::cli::DiffArgs;
use crate::done::Done;
use crate::error::Result;
use crate::output::Output;
use crate::style::{count, percent, shape};
use crate::table::{Align, Table};

/// Names that are listed for people.
const LISTED: usize = 20;

/// `cortical diff`
pub(crate) fn diff(args: &DiffArgs, output: &Output) -> Result<Done> {
    let (before, after) = (Contents::open(&args.before)?, Contents::open(&args.after)?);
    let found = compare(&before, &after)?;
    let modules = found.modules(args.depth);
    let total = found.total();
    let tensors: Vec<Value> = found.tensors.iter().map(tensor).collect();
    let summary = modules.iter().map(|(name, tensors, change)| {
        let mut value = figures(change);
        value["name"] = json!(name);
        value["tensors"] = json!(tensors);
        value
    });
    let summary: Vec<Value> = summary.collect();
    let value = json!({
        "before": args.before.display().to_string(),
        "after": args.after.display().to_string(),
        "same": found.is_same(),
        "total": figures(&total),
        "modules": summary,
        "tensors": tensors,
        "missing": found.missing,
        "new": found.new,
        "remarks": found.remarks,
    });
    output.result(&value, |style| {
        let mut text = String::new();
        let columns = [
            "relative",
            "cosine",
            "largest",
            "zeros before",
            "zeros after",
        ];
        let numeric = columns.map(|name| (name, Align::Right));
        if !args.summary && !found.tensors.is_empty() {
            let mut columns = vec![
                ("tensor", Align::Left),
                ("shape", Align::Left),
                ("dtype", Align::Left),
            ];
            columns.extend(numeric);
            let mut table = Table::new(&columns);
            for tensor in &found.tensors {
                let mut cells = vec![
                    tensor.name.clone(),
                    both(&shape(&tensor.shapes[0]), &shape(&tensor.shapes[1])),
                    both(&tensor.dtypes[0], &tensor.dtypes[1]),
                ];
                cells.extend(tensor.change.as_ref().map(columns_of).unwrap_or_default());
                table.row(cells);
            }
            text += &format!("{}\n", table.render(style));
        }
        let mut columns = vec![("module", Align::Left), ("tensors", Align::Right)];
        columns.extend(numeric);
        let mut table = Table::new(&columns);
        let compared = modules.iter().map(|(_, tensors, _)| tensors).sum::<usize>();
        let all = ("all".to_owned(), compared, total);
        for (name, tensors, change) in modules.iter().chain([&all]) {
            let mut cells = vec![name.clone(), count(*tensors)];
            cells.extend(columns_of(change));
            table.row(cells);
        }
        text += &table.render(style);
        if found.is_same() {
            text += "\n  every tensor has the same numbers in both\n";
        }
        for (what, names) in [
            ("only in the first", &found.missing),
            ("only in the second", &found.new),
        ] {
            if !names.is_empty() {
                let shown = names
                    .iter()
                    .take(LISTED)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", ");
                let more = match names.len().saturating_sub(LISTED) {
                    0 => String::new(),
                    more => format!(" and {} more", count(more)),
                };
                text += &format!("\n  {} {shown}{more}\n", style.dim(&format!("{what}:")));
            }
        }
        for remark in &found.remarks {
            text += &format!("\n  {remark}\n");
        }
        text
    });
    Ok(Done::Finished)
}

/// One text for both, or both.
fn both(a: &str, b: &str) -> String {
    match a == b {
        true => a.to_owned(),
        false => format!("{a} → {b}"),
    }
}

fn columns_of(change: &Change) -> Vec<String> {
    vec![
        format!("{:.3e}", change.relative()),
        format!("{:.6}", change.cosine()),
        format!("{:.3e}", change.difference.largest),
        percent(change.sides[0].sparsity()),
        percent(change.sides[1].sparsity()),
    ]
}

fn tensor(tensor: &TensorDiff) -> Value {
    let mut value = tensor.change.as_ref().map_or(json!({}), figures);
    value["name"] = json!(tensor.name);
    value["shapes"] = json!(tensor.shapes);
    value["dtypes"] = json!(tensor.dtypes);
    value
}

fn figures(change: &Change) -> Value {
    let [before, after] = &change.sides;
    json!({
        "same": change.is_same(),
        "relative": change.relative(),
        "cosine": change.cosine(),
        "largest": change.difference.largest,
        "norms": [before.norm(), after.norm()],
        "sparsity": [before.sparsity(), after.sparsity()],
        "non_finite": [before.non_finite, after.non_finite],
    })
}

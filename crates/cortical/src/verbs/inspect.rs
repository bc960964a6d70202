//! `inspect`

use cortical_explain::{Contents, Node, Stats, Text};
use serde_json::{Value, json};

use crate::cli::InspectArgs;
use crate::done::Done;
use crate::error::Result;
use crate::output::Output;
use crate::style::{Style, bytes, count, percent};
use crate::table::{Align, Table};

/// Characters of a metadata value that are shown to people.
const VALUE_CHARS: usize = 100;

/// `cortical inspect`
pub(crate) fn inspect(args: &InspectArgs, output: &Output) -> Result<Done> {
    let mut contents = Contents::open(&args.what)?;
    if let Some(tokens) = args.context {
        contents = contents.at_context(tokens);
    }
    let root = match args.stats {
        false => contents.tree(),
        true => {
            let stats: cortical_explain::Result<Vec<Stats>> = contents
                .entries
                .iter()
                .map(|entry| contents.stats(entry))
                .collect();
            contents.tree_with(&stats?)
        }
    };
    let explained = args.why.then(|| contents.explain());
    let mut value = machines(&contents, &root, args.depth);
    if let Some((lines, remarks)) = &explained {
        let parts = lines.iter().map(|line| {
            json!({ "part": line.part, "formula": line.formula, "parameters": line.parameters })
        });
        value["parts"] = parts.collect();
        value["why"] = json!(remarks);
    }
    output.result(&value, |style| {
        let mut text = heading(&contents, style);
        match &explained {
            Some((lines, remarks)) => {
                text += &why(lines, contents.parameters(), style);
                text += &sentences(remarks);
            }
            None => {
                text += &modules(&contents, &root, args.depth, style);
                text += &kinds(&contents, style);
                if contents.metadata.is_empty() {
                    text += &style.dim("\n  --why explains the number of parameters\n");
                }
            }
        }
        let ties = contents.ties.iter();
        text += &sentences(
            &ties
                .map(|(name, kept)| format!("{name} is {kept}"))
                .collect::<Vec<_>>(),
        );
        text += &sentences(&contents.remarks);
        if explained.is_none() {
            text += &metadata(&contents, style);
        }
        text
    });
    Ok(Done::Finished)
}

/// Everything for machines: the tensors in a row, and the modules as a tree.
fn machines(contents: &Contents, root: &Node, depth: Option<usize>) -> Value {
    let tensors = contents.entries.iter().map(|entry| {
        json!({
            "name": entry.name,
            "shape": entry.shape,
            "dtype": entry.dtype,
            "parameters": entry.parameters(),
            "kind": entry.kind.name(),
            "buffer": entry.is_buffer,
            "trainable": entry.trainable,
            "multiply_adds": entry.multiply_adds,
        })
    });
    let tensors: Vec<Value> = tensors.collect();
    let kinds = contents.kinds().into_iter();
    let kinds: serde_json::Map<String, Value> = kinds
        .map(|(kind, count)| (kind.name().to_owned(), json!(count)))
        .collect();
    let ties: serde_json::Map<String, Value> = contents
        .ties
        .iter()
        .map(|(name, kept)| (name.clone(), json!(kept)))
        .collect();
    let mut value = json!({
        "what": contents.what,
        "parameters": contents.parameters(),
        "trainable": contents.trainable(),
        "bytes": contents.bytes(),
        "multiply_adds": contents.multiply_adds(),
        "kinds": kinds,
        "ties": ties,
        "tensors": tensors,
        "modules": nodes(&root.children, depth),
        "metadata": contents.metadata,
        "remarks": contents.remarks,
    });
    let key = if contents.what == "preset" {
        "model"
    } else {
        "file"
    };
    value[key] = json!(contents.path.display().to_string());
    if let Some(stats) = &root.stats {
        value["stats"] = numbers(stats);
    }
    if let Some(config) = &contents.config {
        value["architecture"] = json!(config.model_type());
        value["layers"] = json!(config.layers());
        value["hidden_size"] = json!(config.hidden_size());
        value["vocab_size"] = json!(config.vocab_size());
        value["positions"] = json!(config.max_positions());
    }
    if let Some(text) = &contents.text {
        value["context"] = json!(text.tokens);
        let attention = text.attention.iter().map(|(_, products)| *products);
        value["attention_multiply_adds"] = json!(attention.fold(0, u64::saturating_add));
    }
    value
}

fn nodes(all: &[Node], depth: Option<usize>) -> Value {
    let nodes = all.iter().map(|node| {
        let mut value = json!({
            "name": node.name,
            "times": node.times,
            "parameters": node.parameters,
            "formula": node.formula,
            "multiply_adds": node.multiply_adds,
            "trainable": node.trainable,
        });
        if let Some(tensor) = &node.tensor {
            value["shape"] = json!(tensor.shape);
            value["dtype"] = json!(tensor.dtype);
            value["buffer"] = json!(tensor.is_buffer);
        }
        if let Some(stats) = &node.stats {
            value["stats"] = numbers(stats);
        }
        if !node.children.is_empty() && depth.is_none_or(|depth| depth > 1) {
            value["modules"] = nodes(&node.children, depth.map(|depth| depth - 1));
        }
        value
    });
    nodes.collect()
}

fn numbers(stats: &Stats) -> Value {
    json!({
        "norm": stats.norm(),
        "rms": stats.rms(),
        "mean": stats.mean(),
        "largest": stats.largest,
        "sparsity": stats.sparsity(),
        "non_finite": stats.non_finite,
    })
}

/// What it is, and its totals.
fn heading(contents: &Contents, style: &Style) -> String {
    let parameters = contents.parameters();
    let mut text = format!(
        "  {} ({})\n",
        style.bold(&contents.path.display().to_string()),
        contents.what
    );
    text += &format!(
        "  {} parameters in {} tensors",
        style.bold(&count(parameters)),
        count(contents.entries.len())
    );
    if let Some(size) = contents.bytes() {
        text += &format!(", {}", bytes(size));
    }
    if let Some(trainable) = contents
        .trainable()
        .filter(|trainable| *trainable < parameters)
    {
        text += &format!(", {} of them trained", count(trainable));
    }
    text += "\n";
    if let Some(config) = &contents.config {
        text += &format!(
            "  {}: {} layers of width {}, {} tokens, {} positions\n",
            config.model_type(),
            config.layers(),
            count(config.hidden_size()),
            count(config.vocab_size()),
            count(config.max_positions()),
        );
    }
    match (contents.multiply_adds(), &contents.text) {
        (
            Some(n),
            Some(Text {
                tokens, attention, ..
            }),
        ) => {
            let attention = attention.iter().map(|(_, products)| *products);
            let attention = attention.fold(0, u64::saturating_add);
            text += &format!(
                "  {} multiply-adds for a text of {} tokens (--context says how many), {} of them attention's\n",
                count(n),
                count(*tokens),
                percent(attention as f64 / n.max(1) as f64),
            );
        }
        (Some(n), None) => text += &format!("  {} multiply-adds a sample\n", count(n)),
        (None, _) => {}
    }
    if contents.bytes().is_none() {
        let total = parameters as u64;
        text += &format!(
            "  {} in f32, {} in bf16, {} in q8_0, {} in q4_1\n",
            bytes(total.saturating_mul(4)),
            bytes(total.saturating_mul(2)),
            bytes((total / 32).saturating_mul(34)),
            bytes((total / 32).saturating_mul(20)),
        );
    }
    text
}

/// The modules as a table, what is inside of one below it.
fn modules(contents: &Contents, root: &Node, depth: Option<usize>, style: &Style) -> String {
    let with_costs = contents.multiply_adds().is_some();
    let is_split = contents
        .trainable()
        .is_some_and(|n| n < contents.parameters());
    let with_types = contents.bytes().is_some();
    let mut columns = vec![("module", Align::Left), ("formula", Align::Left)];
    columns.extend(with_types.then_some(("dtype", Align::Left)));
    columns.extend([("parameters", Align::Right), ("share", Align::Right)]);
    columns.extend(with_costs.then_some(("multiply-adds", Align::Right)));
    columns.extend(is_split.then_some(("trained", Align::Right)));
    if root.stats.is_some() {
        columns.extend(["zeros", "rms", "norm", "largest"].map(|name| (name, Align::Right)));
    }
    let mut table = Table::new(&columns);
    let total = contents.parameters();
    let mut row = |node: &Node, level: usize| {
        let is_buffer = node.tensor.as_ref().is_some_and(|tensor| tensor.is_buffer);
        let mut cells = vec![
            format!("{}{}", "  ".repeat(level), node.name),
            node.formula.clone(),
        ];
        if with_types {
            let dtype = node.tensor.as_ref().and_then(|tensor| tensor.dtype.clone());
            cells.push(dtype.unwrap_or_default());
        }
        cells.push(if is_buffer {
            "buffer".to_owned()
        } else {
            count(node.parameters)
        });
        cells.push(match is_buffer {
            true => String::new(),
            false => percent(node.parameters as f64 / total.max(1) as f64),
        });
        if with_costs {
            cells.push(if node.multiply_adds > 0 {
                count(node.multiply_adds)
            } else {
                String::new()
            });
        }
        if is_split {
            cells.push(match node.trainable {
                Some(0) => "frozen".to_owned(),
                Some(n) => count(n),
                None => String::new(),
            });
        }
        if let Some(stats) = &node.stats {
            cells.push(percent(stats.sparsity()));
            cells.extend([stats.rms(), stats.norm(), stats.largest].map(|x| format!("{x:.4e}")));
        }
        table.row(cells);
    };
    let mut alike = Vec::new();
    walk(
        &root.children,
        0,
        depth.unwrap_or(usize::MAX),
        &mut |node, level| {
            if node.times > 1 {
                alike.push(node.name.clone());
            }
            row(node, level);
        },
    );
    let mut text = format!("\n{}", table.render(style));
    if !alike.is_empty() {
        let names = alike.join("; ");
        let said = format!(
            "\n  blocks that are alike stand once: what stands inside of {names} is that of one\n"
        );
        text += &style.dim(&said);
    }
    text
}

fn walk(nodes: &[Node], level: usize, depth: usize, row: &mut impl FnMut(&Node, usize)) {
    for node in nodes.iter().filter(|_| level < depth) {
        row(node, level);
        walk(&node.children, level + 1, depth, row);
    }
}

/// Totals by kind.
fn kinds(contents: &Contents, style: &Style) -> String {
    let total = contents.parameters().max(1) as f64;
    let kinds = contents.kinds().into_iter();
    let kinds = kinds.map(|(kind, n)| {
        format!(
            "{} {} ({})",
            kind.name(),
            count(n),
            percent(n as f64 / total)
        )
    });
    format!(
        "\n  {} {}\n",
        style.dim("by kind:"),
        kinds.collect::<Vec<_>>().join(", ")
    )
}

fn why(lines: &[cortical_explain::Line], total: usize, style: &Style) -> String {
    let mut table = Table::new(&[
        ("part", Align::Left),
        ("how many", Align::Left),
        ("parameters", Align::Right),
        ("share", Align::Right),
    ]);
    for line in lines {
        table.row(vec![
            line.part.clone(),
            line.formula.clone(),
            count(line.parameters),
            percent(line.parameters as f64 / total.max(1) as f64),
        ]);
    }
    format!("\n{}\n", table.render(style))
}

fn sentences(all: &[String]) -> String {
    all.iter()
        .map(|sentence| format!("  {sentence}\n"))
        .collect()
}

/// What the file says about itself, shortened for people.
fn metadata(contents: &Contents, style: &Style) -> String {
    let lines = contents
        .metadata
        .iter()
        .map(|(key, value)| format!("  {} {}\n", style.dim(&format!("{key}:")), shown(value)));
    let lines: String = lines.collect();
    match lines.is_empty() {
        true => lines,
        false => format!("\n{lines}"),
    }
}

/// A value shortened for people.
fn shown(value: &str) -> String {
    let plain = value.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = plain.take(VALUE_CHARS).collect();
    if value.chars().count() > VALUE_CHARS {
        shown += " ...";
    }
    shown
}

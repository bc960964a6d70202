//! Settings as TOML for people: every default written out, every field with a remark.

use std::fmt::Write;

use toml::Value;

/// A field, its value and a remark; a field without a value is written as a comment.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The field's name.
    pub name: &'static str,
    /// Its value, if it is given.
    pub value: Option<Value>,
    /// What a person should know about it.
    pub remark: &'static str,
    /// Whether the value is the default.
    pub is_default: bool,
}

/// Writes a table with its name above it, remarks in a column; a table without a name is a file's beginning.
pub fn write_table(out: &mut String, name: &str, lines: &[Line]) {
    // Writing to a string cannot fail.
    if !name.is_empty() {
        let _ = writeln!(out, "\n[{name}]");
    }
    let assignments: Vec<String> = lines.iter().map(assignment).collect();
    let short = assignments.iter().map(String::len).filter(|&len| len <= 32);
    let width = short.max().unwrap_or(0);
    for (Line { remark, .. }, assignment) in lines.iter().zip(assignments) {
        let _ = if remark.is_empty() {
            writeln!(out, "{assignment}")
        } else {
            writeln!(out, "{assignment:width$}  # {remark}")
        };
    }
}

fn assignment(Line { name, value, .. }: &Line) -> String {
    match value {
        // A list of tables or of words is easier to read with a line for each.
        Some(Value::Array(list)) if list.iter().any(Value::is_table) => {
            let list: String = list.iter().map(|one| format!("  {one},\n")).collect();
            format!("{name} = [\n{list}]")
        }
        // TOML's own writer spells 1e-8 out.
        Some(Value::Float(x)) if *x != 0.0 && x.abs() < 1e-3 => format!("{name} = {x:e}"),
        Some(value) => format!("{name} = {value}"),
        None => format!("# {name} ="),
    }
}

/// Every field that is not as by default with its value, a line each: what tells two settings apart, also for a later
/// version that knows more fields.
#[must_use]
pub fn values(name: &str, lines: &[Line]) -> String {
    let mut out = String::new();
    for line in lines.iter().filter(|line| !line.is_default) {
        if let Some(value) = &line.value {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{name}.{} = {value}", line.name);
        }
    }
    out
}

//! Recipes as TOML for people: every default written out, every field with a remark.

use std::fmt::Write;

use cortical_data::csv::LabelColumn;
use toml::Value;

use super::read::normalize_name;
use super::section;
use super::{DeviceRecipe, RECIPE_VERSION, Recipe, optim};

/// A field, its value and a remark; a field without a value is written as a comment.
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) value: Option<Value>,
    pub(super) remark: &'static str,
    /// Whether recipes once did not have this field, and it is as it was before: then it does not count in the hash.
    pub(super) is_addition: bool,
}

impl From<(&'static str, Option<Value>, &'static str)> for Line {
    fn from((name, value, remark): (&'static str, Option<Value>, &'static str)) -> Self {
        Self {
            name,
            value,
            remark,
            is_addition: false,
        }
    }
}

fn lines<const N: usize>(fields: [(&'static str, Option<Value>, &'static str); N]) -> Vec<Line> {
    fields.into_iter().map(Line::from).collect()
}

pub(super) fn whole(n: impl TryInto<i64>) -> Option<Value> {
    Some(Value::Integer(n.try_into().unwrap_or(i64::MAX)))
}

fn number(x: f64) -> Option<Value> {
    Some(Value::Float(x))
}

fn text(text: &str) -> Option<Value> {
    Some(Value::from(text))
}

impl Recipe {
    /// The recipe as TOML with every default written out; reading it gives this recipe again.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::from(
            "# A recipe of cortical: everything that is needed to repeat a training.\n",
        );
        write_sections(&mut out, self.sections());
        out
    }

    /// Every field that counts with its value, a line each.
    pub(super) fn values(&self) -> String {
        values_of(self.sections())
    }

    /// The full path of every field.
    pub(super) fn paths(&self) -> Vec<String> {
        paths_of(self.sections())
    }

    fn sections(&self) -> Vec<(&'static str, Vec<Line>)> {
        let DeviceRecipe::Cpu = self.device;
        let head = lines([
            ("version", whole(RECIPE_VERSION), "of this format"),
            (
                "seed",
                whole(self.seed),
                "draws initial weights, the order of samples and dropout",
            ),
            ("device", text("cpu"), ""),
        ]);
        vec![
            ("", head),
            ("data", self.data_lines()),
            ("model", self.model_lines()),
            ("optim", optim::lines(&self.optim)),
            ("schedule", self.schedule.lines()),
            ("train", section::lines(&self.train)),
            ("augment", section::lines(&self.augment)),
            ("average", section::lines(&self.average)),
            ("start", section::lines(&self.start)),
            ("guard", section::lines(&self.guard)),
            ("checkpoint", section::lines(&self.checkpoint)),
            ("log", section::lines(&self.log)),
        ]
    }

    fn data_lines(&self) -> Vec<Line> {
        let data = &self.data;
        let shape = data.input_shape.as_ref().map(|shape| {
            let sizes = shape.iter().map(|&n| i64::try_from(n).unwrap_or(i64::MAX));
            Value::from(sizes.collect::<Vec<_>>())
        });
        let column = |column: &LabelColumn| match column {
            LabelColumn::Number(n) => Value::Integer(i64::try_from(*n).unwrap_or(i64::MAX)),
            LabelColumn::Name(name) => Value::from(name.as_str()),
        };
        let label = data.label.as_ref().map(column);
        let columns = |all: &[LabelColumn]| {
            (!all.is_empty()).then(|| Value::from(all.iter().map(column).collect::<Vec<_>>()))
        };
        let dir = data
            .dir
            .as_ref()
            .map(|dir| Value::from(dir.to_string_lossy().as_ref()));
        lines([
            (
                "name",
                text(&data.name),
                "a data set, a CSV file or a folder of pictures or IDX files",
            ),
            (
                "test_fraction",
                number(data.test_fraction),
                "held out, where the data has no test part",
            ),
            (
                "split_seed",
                whole(data.split_seed),
                "draws what is held out",
            ),
            (
                "normalize",
                text(normalize_name(data.normalize)),
                "auto, none, unit or standardize",
            ),
            (
                "input_shape",
                shape,
                "the shape of a sample, such as [1, 8, 8]",
            ),
            (
                "label",
                label,
                "name or number of a CSV file's label column; the last one by default",
            ),
            (
                "one_hot",
                columns(&data.one_hot),
                "a CSV file's columns of categories",
            ),
            (
                "ignore",
                columns(&data.ignore),
                "a CSV file's columns that are not read",
            ),
            (
                "folds",
                data.folds.and_then(whole),
                "parts of a cross-validation",
            ),
            (
                "fold",
                data.folds.and_then(|_| whole(data.fold)),
                "which of them is tested on, from 0",
            ),
            ("dir", dir, "a folder to look into first"),
        ])
    }

    fn model_lines(&self) -> Vec<Line> {
        let lines = self.model.lines().into_iter();
        lines
            .map(|line| Line::from((line.name, line.value, line.remark)))
            .collect()
    }
}

/// The tables of a recipe with their fields.
type Sections = Vec<(&'static str, Vec<Line>)>;

/// Writes every table with its name above it.
pub(super) fn write_sections(out: &mut String, sections: Sections) {
    for (section, lines) in sections {
        if !section.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "\n[{section}]");
        }
        write_lines(out, &lines);
    }
}

/// Every field that counts with its value, a line each.
pub(super) fn values_of(sections: Sections) -> String {
    let mut out = String::new();
    for (section, lines) in sections {
        for line in lines.iter().filter(|line| !line.is_addition) {
            if let Some(value) = &line.value {
                let _ = writeln!(out, "{section}.{} = {value}", line.name);
            }
        }
    }
    out
}

/// The full path of every field.
pub(super) fn paths_of(sections: Sections) -> Vec<String> {
    let path = |section: &str, name: &str| match section {
        "" => name.to_owned(),
        section => format!("{section}.{name}"),
    };
    let paths = sections.iter();
    paths
        .flat_map(|(section, lines)| lines.iter().map(|line| path(section, line.name)))
        .collect()
}

/// Writes fields with their remarks in a column.
fn write_lines(out: &mut String, lines: &[Line]) {
    let assignments: Vec<String> = lines
        .iter()
        .map(|Line { name, value, .. }| match value {
            Some(Value::Array(layers)) if *name == "layers" => {
                let layers: String = layers.iter().map(|layer| format!("  {layer},\n")).collect();
                format!("{name} = [\n{layers}]")
            }
            // TOML's own writer spells 1e-8 out.
            Some(Value::Float(x)) if *x != 0.0 && x.abs() < 1e-3 => format!("{name} = {x:e}"),
            Some(value) => format!("{name} = {value}"),
            None => format!("# {name} ="),
        })
        .collect();
    let short = assignments.iter().map(String::len).filter(|&len| len <= 32);
    let width = short.max().unwrap_or(0);
    for (Line { remark, .. }, assignment) in lines.iter().zip(assignments) {
        // Writing to a string cannot fail.
        let _ = if remark.is_empty() {
            writeln!(out, "{assignment}")
        } else {
            writeln!(out, "{assignment:width$}  # {remark}")
        };
    }
}

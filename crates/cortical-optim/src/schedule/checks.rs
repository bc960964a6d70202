//! Which fields of a schedule make sense together, and how schedules stand inside others and in files.

use super::value::one_cycle_steps;
use super::{Schedule, tables};
use crate::{Error, Result};
use cortical_settings::{Broken, FieldError, OneOf, Setting};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeMap;
use toml::{Table, Value};

impl Schedule {
    /// Checks that the numbers make a schedule.
    ///
    /// # Errors
    /// [`Error::Schedule`] names the field, its range and the value that came.
    pub fn validate(&self) -> Result<()> {
        self.broken()
            .map_or(Ok(()), |broken| Err(Error::schedule(broken)))
    }
}

pub(super) fn one_cycle(cycle: &tables::OneCycle) -> Option<Broken> {
    let steps = one_cycle_steps(cycle.total_steps, cycle.epochs, cycle.steps_per_epoch);
    if steps == 0 {
        return Some(Broken::new("total_steps", "at least 1", steps));
    }
    let expected = "at most 0.5 with three phases";
    (cycle.three_phase && cycle.pct_start > 0.5)
        .then(|| Broken::new("pct_start", expected, cycle.pct_start))
}

pub(super) fn warmup_cosine(cosine: &tables::WarmupCosine) -> Option<Broken> {
    (cosine.total_steps <= cosine.warmup_steps)
        .then(|| Broken::new("total_steps", "above warmup_steps", cosine.total_steps))
}

pub(super) fn chained(chained: &tables::Chained) -> Option<Broken> {
    let cosine = |s: &Schedule| matches!(s, Schedule::Cosine { .. });
    let known = |s: &Schedule| s.scales() || s.sets() || cosine(s);
    if !chained.schedules.iter().all(known) {
        let expected = "schedules without others that set the learning rate inside";
        return Some(Broken::new("schedules", expected, "one with such"));
    }
    chained.schedules.iter().find_map(Schedule::broken)
}

pub(super) fn sequential(sequence: &tables::Sequential) -> Option<Broken> {
    let (schedules, milestones) = (&sequence.schedules, &sequence.milestones);
    if schedules.len() != milestones.len().saturating_add(1) {
        let expected = "one fewer than schedules";
        return Some(Broken::new("milestones", expected, milestones.len()));
    }
    let pair = milestones.windows(2).find(|pair| pair[0] >= pair[1]);
    if let Some(pair) = pair {
        return Some(Broken::new("milestones", "ascending", pair[1]));
    }
    schedules.iter().find_map(Schedule::broken)
}

/// Other names of fields: PyTorch's, and `name` for `kind`.
const OTHER_NAMES: [(&str, &str); 5] = [
    ("name", "kind"),
    ("T_max", "t_max"),
    ("T_0", "t_0"),
    ("T_mult", "t_mult"),
    ("schedulers", "schedules"),
];

/// A table with our names for PyTorch's.
fn renamed(mut table: Table) -> Table {
    for (theirs, ours) in OTHER_NAMES {
        if let Some(value) = table.remove(theirs) {
            table.insert(ours.to_owned(), value);
        }
    }
    table
}

impl Setting for Schedule {
    fn expected() -> String {
        "a table with the kind of a schedule".to_owned()
    }

    fn from_value(path: &str, value: &Value) -> Result<Self, FieldError> {
        match value {
            Value::Table(table) => Self::read(path, &renamed(table.clone()), None),
            other => Err(Self::wrong_type(path, other)),
        }
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::Table(self.to_table()))
    }
}

impl Setting for Box<Schedule> {
    fn expected() -> String {
        Schedule::expected()
    }

    fn from_value(path: &str, value: &Value) -> Result<Self, FieldError> {
        Schedule::from_value(path, value).map(Box::new)
    }

    fn to_value(&self) -> Option<Value> {
        (**self).to_value()
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        named(self.to_table()).serialize(serializer)
    }
}

/// The table with `name` for `kind`, those inside as well.
fn named(table: Table) -> Table {
    let inner = |value: Value| match value {
        Value::Table(table) => Value::Table(named(table)),
        Value::Array(list) => Value::Array(
            list.into_iter()
                .map(|value| match value {
                    Value::Table(table) => Value::Table(named(table)),
                    other => other,
                })
                .collect(),
        ),
        other => other,
    };
    let name = |name: String| match name.as_str() {
        "kind" => "name".to_owned(),
        _ => name,
    };
    let fields = table.into_iter();
    fields
        .map(|(key, value)| (name(key), inner(value)))
        .collect()
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What is null in JSON is not given.
        let fields: BTreeMap<String, Option<Value>> = Deserialize::deserialize(deserializer)?;
        let fields = fields.into_iter();
        let table = fields.filter_map(|(name, value)| Some((name, value?)));
        Self::read("schedule", &renamed(table.collect()), None).map_err(de::Error::custom)
    }
}

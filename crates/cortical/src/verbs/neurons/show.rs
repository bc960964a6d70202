//! What neurons do, for people and for machines.

use cortical_explain::{LayerSurvey, State, Survey, Unit};
use serde_json::{Map, Value, json};

use crate::cli_observe::NeuronsArgs;
use crate::style::{Style, count, percent, shape};
use crate::table::{Align, Table};

/// Inputs of a neuron in the terminal.
const TOPS: usize = 3;

/// The survey as one object.
pub(super) fn to_json(
    args: &NeuronsArgs,
    survey: &Survey,
    labels: &[u32],
    at: &dyn Fn(usize) -> usize,
) -> Value {
    let [neurons, dead, saturated] = survey.counts();
    let class = |class: usize| survey.classes.get(class).map(String::as_str);
    let layers: Vec<Value> = survey
        .layers
        .iter()
        .map(|layer| {
            let units = layer.units.iter().map(|unit| {
                let mut value = unit_json(unit);
                value["class"] = json!(unit.class.and_then(|(at, _)| class(at)));
                value["selectivity"] = json!(unit.class.map(|(_, selectivity)| selectivity));
                let tops = unit.top.iter().map(|top| {
                    let label = labels
                        .get(top.input)
                        .and_then(|label| class(*label as usize));
                    json!({ "input": at(top.input), "output": top.output, "class": label })
                });
                value["top"] = tops.collect();
                if let Some(effect) = &unit.silenced {
                    let recall = survey.classes.iter().zip(&effect.recall);
                    let recall: Map<String, Value> = recall
                        .map(|(name, change)| (name.clone(), json!(change)))
                        .collect();
                    value["silenced"] = json!({
                        "loss": effect.loss,
                        "accuracy": effect.accuracy,
                        "recall": recall,
                        "hurts": effect.hurt().and_then(|(at, _)| class(at)),
                    });
                }
                if let Some(orientation) = unit.orientation {
                    value["orientation"] = json!({
                        "name": orientation.name(),
                        "degrees": orientation.degrees,
                        "strength": orientation.strength,
                    });
                }
                value
            });
            layer_json(layer, units.collect())
        })
        .collect();
    json!({
        "run": args.run.display().to_string(),
        "inputs": survey.inputs,
        "classes": survey.classes,
        "loss": survey.loss,
        "accuracy": survey.accuracy,
        "silenced_on": survey.silenced_on,
        "neurons": neurons,
        "dead": dead,
        "saturated": saturated,
        "layers": layers,
        "page": args.out.as_ref().map(|out| out.display().to_string()),
        "remarks": survey.remarks,
    })
}

/// What is known of a neuron of any model.
pub(super) fn unit_json(unit: &Unit) -> Value {
    json!({
        "neuron": unit.index,
        "mean": unit.mean,
        "spread": unit.spread,
        "lowest": unit.range[0],
        "highest": unit.range[1],
        "fires": unit.fires,
        "state": unit.state.name(),
    })
}

pub(super) fn layer_json(layer: &LayerSurvey, units: Vec<Value>) -> Value {
    json!({
        "name": layer.name,
        "shape": layer.shape,
        "channels": layer.channels_first,
        "dead": layer.count(State::Dead),
        "saturated": layer.count(State::Saturated),
        "units": units,
    })
}

/// The survey as tables.
pub(super) fn text(
    args: &NeuronsArgs,
    survey: &Survey,
    labels: &[u32],
    at: &dyn Fn(usize) -> usize,
    style: &Style,
) -> String {
    let mut text = layers(&survey.layers, style);
    let class = |class: usize| survey.classes.get(class).cloned().unwrap_or_default();
    let measured = survey.silenced_on > 0;
    for layer in &survey.layers {
        let mut columns = FIGURES.to_vec();
        columns.extend([("class", Align::Left), ("selectivity", Align::Right)]);
        if measured {
            columns.push(("loss without", Align::Right));
            columns.push(("accuracy", Align::Right));
            columns.push(("hurts most", Align::Left));
        }
        if layer.filters.is_some() {
            columns.push(("edges", Align::Left));
        }
        columns.push(("excited by", Align::Left));
        let mut table = Table::new(&columns);
        for unit in layer.by_weight().into_iter().take(args.units) {
            let mut cells = figures(unit);
            cells.push(unit.class.map_or_else(String::new, |(at, _)| class(at)));
            cells.push(
                unit.class
                    .map_or_else(String::new, |(_, s)| format!("{s:.2}")),
            );
            if measured {
                let effect = unit.silenced.as_ref();
                cells.push(effect.map_or_else(String::new, |e| format!("{:+.4}", e.loss)));
                let change = effect.and_then(|e| e.accuracy);
                cells.push(change.map_or_else(String::new, points));
                let hurt = effect.and_then(cortical_explain::Effect::hurt);
                cells.push(hurt.map_or_else(String::new, |(at, change)| {
                    format!("{} {}", class(at), points(change))
                }));
            }
            if layer.filters.is_some() {
                cells.push(
                    unit.orientation
                        .map_or_else(String::new, |o| o.name().to_owned()),
                );
            }
            let tops = unit.top.iter().take(TOPS).map(|top| {
                let label = labels.get(top.input).map(|label| class(*label as usize));
                format!("{} ({})", at(top.input), label.unwrap_or_default())
            });
            cells.push(tops.collect::<Vec<_>>().join(", "));
            table.row(cells);
        }
        text += &format!("\n{}\n{}", style.bold(&layer.name), table.render(style));
        let more = layer.units.len().saturating_sub(args.units);
        if more > 0 {
            text += &format!("  {}\n", style.dim(&format!("and {} more", count(more))));
        }
    }
    text += &format!(
        "\naccuracy {} and loss {:.4} over {} inputs",
        percent(survey.accuracy),
        survey.loss,
        count(survey.inputs)
    );
    if measured {
        text += &format!(
            "; without each neuron measured on {} of them, changes of accuracy in points",
            count(survey.silenced_on)
        );
    }
    text
}

/// A change of a share in points.
fn points(change: f64) -> String {
    format!("{:+.2}", 100.0 * change)
}

/// The columns of a unit's [`figures`].
pub(super) const FIGURES: [(&str, Align); 5] = [
    ("neuron", Align::Right),
    ("mean", Align::Right),
    ("spread", Align::Right),
    ("fires", Align::Right),
    ("state", Align::Left),
];

/// Place, mean, spread, share of inputs, state.
pub(super) fn figures(unit: &Unit) -> Vec<String> {
    vec![
        unit.index.to_string(),
        format!("{:.4}", unit.mean),
        format!("{:.4}", unit.spread),
        percent(unit.fires),
        unit.state.name().to_owned(),
    ]
}

/// The layers, a line each.
pub(super) fn layers(layers: &[LayerSurvey], style: &Style) -> String {
    let mut table = Table::new(&[
        ("layer", Align::Left),
        ("output", Align::Left),
        ("neurons", Align::Right),
        ("dead", Align::Right),
        ("saturated", Align::Right),
        ("fire on average", Align::Right),
    ]);
    for layer in layers {
        let fires: f64 = layer.units.iter().map(|unit| unit.fires).sum();
        table.row(vec![
            layer.name.clone(),
            shape(&layer.shape),
            count(layer.units.len()),
            count(layer.count(State::Dead)),
            count(layer.count(State::Saturated)),
            percent(fires / layer.units.len().max(1) as f64),
        ]);
    }
    table.render(style)
}

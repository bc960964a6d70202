//! Gathers what each neuron gives, layer by layer, while a network computes.

use super::unit::{LayerSurvey, State, Top, Unit};
use crate::error::Result;
use candle_core::{DType, Tensor};
use cortical_kernels::activation::Activation;
use cortical_neuron::{Observer, View};
use std::collections::HashMap;

/// Inputs that are kept for each neuron.
const TOPS: usize = 9;
/// The share of an activation's range that counts as its end, and the share of outputs there from which a neuron is
/// saturated.
const END: f32 = 0.01;
const SATURATED: f64 = 0.95;
/// The end of the name of what a feed-forward layer's neurons give.
pub(super) const UNITS: &str = ".input";

/// Where a layer's neurons stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) channels_first: bool,
    pub(super) activation: Activation,
}

/// The ends of what an activation can give, where it has two.
fn ends(activation: Activation) -> Option<[f32; 2]> {
    match activation {
        Activation::Sigmoid | Activation::Hardsigmoid => Some([0.0, 1.0]),
        Activation::Tanh | Activation::Softsign => Some([-1.0, 1.0]),
        Activation::Relu6 => Some([0.0, 6.0]),
        Activation::Hardtanh { low, high } => Some([low as f32, high as f32]),
        _ => None,
    }
}

/// What was seen of one neuron.
#[derive(Clone, Debug)]
struct Seen {
    sum: f64,
    squares: f64,
    range: [f32; 2],
    fired: u64,
    near_ends: u64,
    /// The sum of the means of positive outputs over the inputs of each class.
    of_class: Vec<f64>,
    top: Vec<Top>,
}

/// What was seen of one layer.
#[derive(Debug)]
struct Layer {
    name: String,
    shape: Vec<usize>,
    place: Place,
    outputs: u64,
    inputs: u64,
    of_class: Vec<u64>,
    units: Vec<Seen>,
}

/// Observes layers that have a place, and the insides of feed-forward layers.
pub(super) struct Collector<'a> {
    places: HashMap<String, Place>,
    wanted: Box<dyn Fn(&str) -> bool + 'a>,
    classes: usize,
    layers: Vec<Layer>,
    at: HashMap<String, usize>,
    /// The inputs that go through now, and their classes.
    rows: Vec<(usize, Option<usize>)>,
    /// Whether each row of a text is an input by itself.
    by_row: bool,
    failed: Option<candle_core::Error>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        places: Vec<(String, Place)>,
        classes: usize,
        wanted: impl Fn(&str) -> bool + 'a,
    ) -> Self {
        Self {
            places: places.into_iter().collect(),
            wanted: Box::new(wanted),
            classes,
            layers: Vec::new(),
            at: HashMap::new(),
            rows: Vec::new(),
            by_row: false,
            failed: None,
        }
    }

    /// The same where every token of a text is an input.
    pub(super) fn by_row(mut self) -> Self {
        self.by_row = true;
        self
    }

    /// These inputs go through next.
    pub(super) fn begin(&mut self, rows: &[usize], labels: &[u32]) {
        let label = |row: &usize| labels.get(*row).map(|label| *label as usize);
        self.rows = rows.iter().map(|row| (*row, label(row))).collect();
    }

    fn add(&mut self, name: &str, place: Place, output: &Tensor) -> candle_core::Result<()> {
        let dims = output.dims();
        let output = match (self.by_row, dims) {
            (true, &[1, rows, units]) => output.reshape((rows, units))?,
            _ => output.clone(),
        };
        let dims = output.dims();
        // What has no row for each input is none of a neuron's answers to it: a table of positions.
        if dims.len() < 2 || dims[0] != self.rows.len() || output.elem_count() == 0 {
            return Ok(());
        }
        let first = place.channels_first || (self.by_row && dims.len() == 2);
        let (units, positions) = match first {
            true => (dims[1], dims[2..].iter().product::<usize>()),
            false => (
                dims[dims.len() - 1],
                dims[1..dims.len() - 1].iter().product(),
            ),
        };
        let values = output.detach().to_dtype(DType::F32)?.flatten_all()?;
        let values = values.to_vec1::<f32>()?;
        let at = *self.at.entry(name.to_owned()).or_insert_with(|| {
            self.layers
                .push(Layer::new(name, &dims[1..], place, units, self.classes));
            self.layers.len() - 1
        });
        let layer = &mut self.layers[at];
        if layer.units.len() != units {
            return Ok(());
        }
        layer.outputs += (self.rows.len() * positions) as u64;
        layer.inputs += self.rows.len() as u64;
        let steps = match first {
            true => (positions, 1),
            false => (1, units),
        };
        for (i, (row, label)) in self.rows.iter().enumerate() {
            if let Some(count) = label.and_then(|label| layer.of_class.get_mut(label)) {
                *count += 1;
            }
            let own = &values[i * units * positions..][..units * positions];
            for (unit, seen) in layer.units.iter_mut().enumerate() {
                let start = unit * steps.0;
                let outputs = (0..positions).map(|at| own[start + at * steps.1]);
                seen.add(outputs, *row, *label, ends(place.activation));
            }
        }
        Ok(())
    }

    /// What was seen, layer by layer.
    ///
    /// # Errors
    /// What went wrong while looking.
    pub(super) fn finish(self) -> Result<Vec<LayerSurvey>> {
        if let Some(failed) = self.failed {
            return Err(failed.into());
        }
        Ok(self.layers.into_iter().map(Layer::finish).collect())
    }
}

impl Observer for Collector<'_> {
    fn activation(&mut self, layer: &str, output: &Tensor) {
        let inside = layer.ends_with(UNITS).then(Place::default);
        let Some(place) = self.places.get(layer).copied().or(inside) else {
            return;
        };
        if self.failed.is_none()
            && (self.wanted)(layer)
            && let Err(why) = self.add(layer, place, output)
        {
            self.failed = Some(why);
        }
    }

    fn wants(&self, view: View) -> bool {
        view == View::Units
    }
}

impl Seen {
    fn new(classes: usize) -> Self {
        Self {
            sum: 0.0,
            squares: 0.0,
            range: [f32::INFINITY, f32::NEG_INFINITY],
            fired: 0,
            near_ends: 0,
            of_class: vec![0.0; classes],
            top: Vec::with_capacity(TOPS + 1),
        }
    }

    /// The outputs for one input.
    fn add(
        &mut self,
        outputs: impl Iterator<Item = f32>,
        row: usize,
        label: Option<usize>,
        ends: Option<[f32; 2]>,
    ) {
        let (mut highest, mut positive, mut count) = (f32::NEG_INFINITY, 0.0_f64, 0_u64);
        for output in outputs {
            count += 1;
            let wide = f64::from(output);
            self.sum += wide;
            self.squares += wide * wide;
            self.range = [self.range[0].min(output), self.range[1].max(output)];
            highest = highest.max(output);
            positive += wide.max(0.0);
            if let Some([low, high]) = ends {
                let near = END * (high - low);
                self.near_ends += u64::from(output - low <= near || high - output <= near);
            }
        }
        self.fired += u64::from(highest > 0.0);
        if let Some(sum) = label.and_then(|label| self.of_class.get_mut(label)) {
            *sum += positive / count.max(1) as f64;
        }
        let place = self.top.partition_point(|top| top.output >= highest);
        if place < TOPS && highest > f32::NEG_INFINITY {
            self.top.insert(
                place,
                Top {
                    input: row,
                    output: highest,
                },
            );
            self.top.truncate(TOPS);
        }
    }
}

impl Layer {
    fn new(name: &str, shape: &[usize], place: Place, units: usize, classes: usize) -> Self {
        Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            place,
            outputs: 0,
            inputs: 0,
            of_class: vec![0; classes],
            units: vec![Seen::new(classes); units],
        }
    }

    fn finish(self) -> LayerSurvey {
        let outputs = self.outputs.max(1) as f64;
        let unit = |(index, seen): (usize, Seen)| {
            let mean = seen.sum / outputs;
            let share = seen.near_ends as f64 / outputs;
            Unit {
                index,
                mean,
                spread: (seen.squares / outputs - mean * mean).max(0.0).sqrt(),
                range: seen.range,
                fires: seen.fired as f64 / self.inputs.max(1) as f64,
                state: match seen.range[0] == seen.range[1] {
                    true => State::Dead,
                    false if share >= SATURATED => State::Saturated,
                    false => State::Alive,
                },
                class: preferred(&seen.of_class, &self.of_class),
                // All inputs excite a dead neuron alike.
                top: match seen.range[0] == seen.range[1] {
                    true => Vec::new(),
                    false => seen.top,
                },
                silenced: None,
                orientation: None,
            }
        };
        LayerSurvey {
            name: self.name,
            shape: self.shape,
            channels_first: self.place.channels_first,
            units: self.units.into_iter().enumerate().map(unit).collect(),
            filters: None,
        }
    }
}

/// The class with the highest mean, and by how much it stands out.
fn preferred(sums: &[f64], counts: &[u64]) -> Option<(usize, f64)> {
    let all = sums.iter().zip(counts).enumerate();
    let means = all.filter(|(_, (_, count))| **count > 0);
    let means: Vec<(usize, f64)> = means
        .map(|(class, (sum, n))| (class, sum / *n as f64))
        .collect();
    let &(class, most) = means.iter().rev().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let others = means.iter().filter(|(other, _)| *other != class);
    let (mut sum, mut count) = (0.0, 0_u64);
    for (other, mean) in others {
        sum += mean * counts[*other] as f64;
        count += counts[*other];
    }
    let rest = if count > 0 {
        sum / count as f64
    } else {
        return None;
    };
    (most + rest > 0.0).then(|| (class, (most - rest) / (most + rest)))
}

//! What single neurons do: how strongly they answer, to which inputs, and what is lost without them.
//!
//! A neuron is a unit of a layer's output: a column of a dense layer, a channel of a convolution, a unit inside a
//! feed-forward layer. Nothing here knows the kinds of layers: an observer of the pass sees what each gives, and takes
//! a neuron away by putting zeros in its place.

mod collect;
mod language;
mod orientation;
mod page;
mod silence;
mod subject;
mod unit;

pub use language::{AttentionHead, AttentionLayer, LanguageSurvey, TextTokens, survey_language};
pub use orientation::Orientation;
pub use page::{language_page, page};
pub use subject::{Shown, survey_network, survey_texts};
pub use unit::{Effect, Filters, LayerSurvey, State, Top, Unit};

use crate::error::Result;
use collect::Collector;
use cortical_neuron::Pass;
use silence::Baseline;
use subject::Subject;

/// Multiply-adds that finding out what is lost without each neuron may cost where nobody says how many inputs it is
/// measured on: less than a minute of two processors.
const BUDGET: u64 = 4_000_000_000_000;
/// Inputs on which that is measured, at most and at least.
const SILENCED_ON: usize = 1000;
const SILENCED_AT_LEAST: usize = 16;

/// How neurons are looked at.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SurveyOptions {
    /// Only layers whose names match one of these, where `*` stands for any characters; all for none.
    pub layers: Vec<String>,
    /// Inputs on which the loss without each neuron is measured: 0 not to, `None` for as many as a minute or so allows.
    pub silence: Option<usize>,
}

impl SurveyOptions {
    fn names(&self, layer: &str) -> bool {
        self.layers.is_empty() || self.layers.iter().any(|pattern| matches(pattern, layer))
    }
}

/// Whether a name is one that a pattern with `*` means.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|end| {
            let mut ends = end.char_indices().map(|(at, _)| at).chain([end.len()]);
            ends.any(|at| matches(rest, &end[at..]))
        }),
    }
}

/// What the neurons of a network do over some inputs.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Inputs that were looked at.
    pub inputs: usize,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// The mean loss over all inputs in nats, and the share that was classified rightly.
    pub loss: f64,
    /// The share of inputs that was classified rightly.
    pub accuracy: f64,
    /// Inputs on which the effect of each neuron was measured; 0 where it was not.
    pub silenced_on: usize,
    /// The layers in the order in which they compute.
    pub layers: Vec<LayerSurvey>,
    /// What a reader should know.
    pub remarks: Vec<String>,
}

impl Survey {
    /// How many neurons there are in all layers, how many of them are dead and how many saturated.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        counts(&self.layers)
    }
}

fn counts(layers: &[LayerSurvey]) -> [usize; 3] {
    let units = || layers.iter().flat_map(|layer| &layer.units);
    let of = |state: State| units().filter(|unit| unit.state == state).count();
    [units().count(), of(State::Dead), of(State::Saturated)]
}

/// Looks at all neurons of a model over all its inputs, then takes them away one by one.
fn survey(subject: &dyn Subject, options: &SurveyOptions) -> Result<Survey> {
    let places = subject.places()?;
    let mut remarks = Vec::new();
    let mut collector = Collector::new(places, subject.classes().len(), |name| options.names(name));
    let mut scores = silence::Scores::new(subject.classes().len());
    let rows: Vec<usize> = (0..subject.labels().len()).collect();
    for batch in subject.batches(&rows) {
        collector.begin(&batch, subject.labels());
        let logits = subject.forward(&batch, &mut Pass::eval().observed_by(&mut collector))?;
        scores.add(&logits, &batch, subject.labels())?;
    }
    let mut layers = collector.finish()?;
    let units: usize = layers.iter().map(|layer| layer.units.len()).sum();
    if layers.is_empty() {
        remarks.push(match options.layers.is_empty() {
            true => "no layer has neurons to look at".to_owned(),
            false => format!("no layer is called {}", options.layers.join(" or ")),
        });
    }
    let affordable = options.silence.unwrap_or_else(|| {
        let each = subject.multiply_adds().saturating_mul(units as u64).max(1);
        usize::try_from(BUDGET / each).map_or(SILENCED_ON, |inputs| inputs.min(SILENCED_ON))
    });
    let silenced_on = match affordable.min(rows.len()) {
        few if options.silence.is_none() && few < SILENCED_AT_LEAST.min(rows.len()) => {
            remarks.push(format!(
                "{units} neurons are too many to take each away within a minute or so; name layers (--layer) or a number of inputs (--silence)"
            ));
            0
        }
        n => n,
    };
    if silenced_on > 0 && units > 0 {
        // Evenly spread: samples are often sorted by their classes.
        let some: Vec<usize> = (0..silenced_on)
            .map(|i| i * rows.len() / silenced_on)
            .collect();
        let baseline = Baseline::new(subject, &some)?;
        for layer in &mut layers {
            baseline.effects(layer)?;
        }
    }
    let measured = scores.finish();
    Ok(Survey {
        inputs: rows.len(),
        classes: subject.classes().to_vec(),
        loss: measured.loss,
        accuracy: measured.accuracy,
        silenced_on,
        layers,
        remarks,
    })
}

#[cfg(test)]
mod tests;

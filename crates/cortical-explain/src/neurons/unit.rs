//! What is known about a neuron.

use super::orientation::Orientation;

/// Whether a neuron still says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its output depends on the input.
    Alive,
    /// Its output was the same for every input.
    Dead,
    /// At least 95 % of its outputs are within 1 % of an end of what its activation can give.
    Saturated,
}

impl State {
    /// The state in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Dead => "dead",
            Self::Saturated => "saturated",
        }
    }
}

/// An input that excites a neuron.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Top {
    /// Which input, from 0; of a text that a language model reads, which token.
    pub input: usize,
    /// The neuron's highest output for it.
    pub output: f32,
}

/// What changes when a neuron is silenced: its output is 0 for every input.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// How much higher the mean loss is, in nats.
    pub loss: f64,
    /// By how much the share of inputs that are classified rightly changes.
    pub accuracy: Option<f64>,
    /// The same for each class by itself; `None` for a class without inputs.
    pub recall: Vec<Option<f64>>,
}

impl Effect {
    /// The class that loses most of its recall, and the change.
    #[must_use]
    pub fn hurt(&self) -> Option<(usize, f64)> {
        let all = self.recall.iter().enumerate();
        let changes = all.filter_map(|(class, change)| Some((class, (*change)?)));
        let worst = changes.min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        worst.filter(|(_, change)| *change < 0.0)
    }
}

/// What a neuron does over all inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Its place in the layer, from 0.
    pub index: usize,
    /// The mean of all its outputs.
    pub mean: f64,
    /// Their standard deviation.
    pub spread: f64,
    /// The lowest and the highest.
    pub range: [f32; 2],
    /// The share of inputs to which it answers with a number above 0, anywhere.
    pub fires: f64,
    /// Whether it still says something.
    pub state: State,
    /// The class that it answers to most, and how much more than to the others: `(a − b) / (a + b)` with `a` the mean
    /// of its positive outputs over that class and `b` over all other classes; 1 for a neuron of one class, 0 for one
    /// that cannot tell them apart (Morcos et al. 2018). `None` without classes, or if it never fires.
    pub class: Option<(usize, f64)>,
    /// The inputs that excite it most, the strongest first.
    pub top: Vec<Top>,
    /// What is lost without it, where that was measured.
    pub silenced: Option<Effect>,
    /// The edges that it answers to, for a filter that reads pictures.
    pub orientation: Option<Orientation>,
}

/// The neurons of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSurvey {
    /// The layer.
    pub name: String,
    /// The shape of its output for one input.
    pub shape: Vec<usize>,
    /// Whether its neurons are channels, each of which answers at many places.
    pub channels_first: bool,
    /// Its neurons, by their places.
    pub units: Vec<Unit>,
    /// The weights of its neurons as pictures, channels, height and width, if it is a convolution that reads them.
    pub filters: Option<Filters>,
}

/// The weights of filters.
#[derive(Clone, Debug, PartialEq)]
pub struct Filters {
    /// Channels, height and width of one.
    pub shape: [usize; 3],
    /// Those of one filter after those of another.
    pub values: Vec<f32>,
}

impl Filters {
    /// The weights of one filter.
    #[must_use]
    pub fn of(&self, unit: usize) -> &[f32] {
        let size: usize = self.shape.iter().product();
        let start = unit.saturating_mul(size);
        self.values
            .get(start..start.saturating_add(size))
            .unwrap_or_default()
    }
}

impl LayerSurvey {
    /// The neurons, those first without which most is lost, or, where that was not measured, those that answer to one
    /// class or most of all.
    #[must_use]
    pub fn by_weight(&self) -> Vec<&Unit> {
        let weight = |unit: &Unit| match (&unit.silenced, unit.class) {
            (Some(effect), _) => (effect.accuracy.map_or(0.0, |change| -change), effect.loss),
            (None, Some((_, selectivity))) => (selectivity, f64::from(unit.range[1])),
            (None, None) => (f64::from(unit.range[1]), 0.0),
        };
        let mut units: Vec<&Unit> = self.units.iter().collect();
        units.sort_by(|a, b| {
            let ((a1, a2), (b1, b2)) = (weight(a), weight(b));
            b1.total_cmp(&a1)
                .then(b2.total_cmp(&a2))
                .then(a.index.cmp(&b.index))
        });
        units
    }

    /// How many of its neurons are in this state.
    #[must_use]
    pub fn count(&self, state: State) -> usize {
        self.units.iter().filter(|unit| unit.state == state).count()
    }
}

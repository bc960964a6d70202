//! Layers as data: what a recipe says and a model file keeps. Each kind of layer stands in one file with its settings
//! and is named once more in [`Kinds::standard`].

mod attention;
mod conv;
mod conv_transpose;
mod dense;
mod dropout;
mod embedding;
mod kind;
mod norm;
mod per_axis;
mod pointwise;
mod pool;
mod recurrent;
mod residual;
pub(crate) mod segment;
mod shape;
mod site;
#[cfg(test)]
mod tests;
mod upsample;
mod walk;
mod width;

pub(crate) use dropout::probability;
pub use kind::{AnyLayer, LayerKind};
pub use site::Site;
pub use width::{NeuronGroup, Role, Shapes, Slice, Width, Widths};

use std::any::Any;
use std::sync::{Arc, LazyLock};

use cortical_settings::{FieldError, Line, Setting, Settings, nearest};
use toml::{Table, Value};

use crate::error::Result;
use kind::{AnySettings, Of, wrong_type};

/// The longest list of layers: candle's backward pass recurses through each of them.
const LAYERS_MAX: usize = 2_000;

/// A layer of a network, without the sizes that follow from its input.
///
/// In a recipe a layer is a table with one key, or a word where there is nothing to set:
///
/// ```toml
/// layers = [
///   { conv2d = { out_channels = 32, kernel_size = 3, activation = "relu", max_pool = 2 } },
///   { conv2d = { out_channels = 32, kernel_size = 3, bias = false } },
///   { batch_norm = { activation = "relu" } },
///   { max_pool2d = 2 },
///   "flatten",
///   { dropout = 0.25 },
///   { linear = { out_features = 128, activation = "relu", name = "fc1" } },
///   { activation = "tanh" },
///   { linear = "classes" },
/// ]
/// ```
#[derive(Clone)]
pub struct LayerSpec {
    name: Option<String>,
    settings: Arc<dyn AnySettings>,
}

impl LayerSpec {
    fn new(name: Option<String>, settings: Arc<dyn AnySettings>) -> Self {
        Self { name, settings }
    }

    /// The name of the layer's kind, as a recipe writes it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.settings.kind()
    }

    /// The prefix of its parameters' names, if it is given.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Reads a layer of a standard kind; messages call it `path`.
    ///
    /// # Errors
    /// As [`Kinds::read`].
    pub fn from_value(path: &str, value: &Value) -> Result<Self, FieldError> {
        Kinds::shared().read(path, value)
    }

    /// The layer as a recipe writes it, with every default filled in.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.settings.to_value(self.name())
    }

    /// What layers of this kind are called where nothing else is said.
    pub(crate) fn prefix(&self) -> &'static str {
        self.settings.prefix()
    }

    pub(crate) fn advice(&self) -> &'static str {
        self.settings.advice()
    }

    /// The layer with what follows from the number of classes.
    pub(crate) fn resolved(&self, classes: usize) -> Self {
        Self::new(self.name.clone(), self.settings.resolved(classes))
    }

    /// Where neurons lie behind the layer.
    fn widths(&self, site: &Site<'_>, input: &Width, all: &mut Widths) -> Result<Width> {
        self.settings.widths(site, input, all)
    }

    /// The layer of this name with the sizes of these tensors.
    fn narrowed(&self, place: &str, shapes: Shapes<'_>) -> Result<Self> {
        let settings = self.settings.narrowed(place, shapes)?;
        Ok(Self::new(self.name.clone(), settings))
    }

    /// The layer under a name.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// The settings, if the layer is of this kind.
    fn settings<K: LayerKind>(&self) -> Option<&K::Settings> {
        let settings: &dyn Any = &*self.settings;
        settings.downcast_ref::<Of<K>>().map(|of| &of.0)
    }

    /// Makes the layer.
    pub(crate) fn build(&self, site: &Site<'_>) -> Result<AnyLayer> {
        self.settings.build(site)
    }
}

impl std::fmt::Debug for LayerSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.to_value())
    }
}

impl PartialEq for LayerSpec {
    fn eq(&self, other: &Self) -> bool {
        self.to_value() == other.to_value()
    }
}

impl Setting for LayerSpec {
    fn expected() -> String {
        "a layer such as \"flatten\" or { linear = { out_features = 10 } }".to_owned()
    }

    fn from_value(path: &str, value: &Value) -> Result<Self, FieldError> {
        Self::from_value(path, value)
    }

    fn to_value(&self) -> Option<Value> {
        Some(Self::to_value(self))
    }
}

/// What is known about a kind of layer.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name: &'static str,
    summary: &'static str,
    fields: &'static [(&'static str, &'static str)],
    defaults: fn() -> Vec<Option<Value>>,
    read: fn(&str, &Value, &Kinds) -> Result<LayerSpec, FieldError>,
}

/// The kinds of layers that a recipe can name.
///
/// ```
/// use cortical_models::Kinds;
/// let kinds = Kinds::standard();
/// let value = toml::Value::from("flaten");
/// let error = kinds.read("model.layers[0]", &value).unwrap_err();
/// assert_eq!(error.to_string(), "model.layers[0]: there is no kind of layer \"flaten\"; did you mean \"flatten\"?");
/// ```
#[derive(Clone, Debug)]
pub struct Kinds(Vec<Entry>);

impl Kinds {
    /// The kinds that come with this crate.
    #[must_use]
    pub fn standard() -> Self {
        Self(Vec::new())
            .with::<attention::DecoderBlockKind>()
            .with::<attention::EncoderLayer>()
            .with::<attention::GroupedQuery>()
            .with::<attention::MultiHead>()
            .with::<attention::FeedForward>()
            .with::<conv::Conv<1>>()
            .with::<conv::Conv<2>>()
            .with::<conv::Conv<3>>()
            .with::<conv_transpose::ConvTranspose<1>>()
            .with::<conv_transpose::ConvTranspose<2>>()
            .with::<conv_transpose::ConvTranspose<3>>()
            .with::<dense::Bilinear>()
            .with::<dense::GatedUnit>()
            .with::<dense::Linear>()
            .with::<dropout::AlphaDropout<false>>()
            .with::<dropout::Dropout>()
            .with::<dropout::ChannelDropout<1>>()
            .with::<dropout::ChannelDropout<2>>()
            .with::<dropout::ChannelDropout<3>>()
            .with::<dropout::AlphaDropout<true>>()
            .with::<embedding::Embedding>()
            .with::<norm::BatchNorm>()
            .with::<norm::GroupNorm>()
            .with::<norm::InstanceNorm>()
            .with::<norm::LayerNorm>()
            .with::<norm::RmsNorm>()
            .with::<pointwise::Activate>()
            .with::<pointwise::Glu>()
            .with::<pointwise::PRelu>()
            .with::<pointwise::RRelu>()
            .with::<pointwise::Softmax<{ pointwise::LOGARITHMS }>>()
            .with::<pointwise::Softmax<{ pointwise::SHARES }>>()
            .with::<pointwise::Softmax<{ pointwise::OF_NEGATED }>>()
            .with::<pool::AdaptivePool<1, { pool::AVG }>>()
            .with::<pool::AdaptivePool<2, { pool::AVG }>>()
            .with::<pool::AdaptivePool<3, { pool::AVG }>>()
            .with::<pool::AdaptivePool<1, { pool::MAX }>>()
            .with::<pool::AdaptivePool<2, { pool::MAX }>>()
            .with::<pool::AdaptivePool<3, { pool::MAX }>>()
            .with::<pool::AvgPool<1>>()
            .with::<pool::AvgPool<2>>()
            .with::<pool::AvgPool<3>>()
            .with::<pool::GlobalPool<{ pool::AVG }>>()
            .with::<pool::GlobalPool<{ pool::MAX }>>()
            .with::<pool::MaxPool<1>>()
            .with::<pool::MaxPool<2>>()
            .with::<pool::MaxPool<3>>()
            .with::<recurrent::Memory<{ recurrent::GRU }>>()
            .with::<recurrent::Memory<{ recurrent::LSTM }>>()
            .with::<recurrent::Memory<{ recurrent::RNN }>>()
            .with::<residual::Residual>()
            .with::<residual::Sequential>()
            .with::<shape::Flatten>()
            .with::<shape::Identity>()
            .with::<shape::Permute>()
            .with::<shape::Unflatten>()
            .with::<upsample::PixelShuffle<false>>()
            .with::<upsample::PixelShuffle<true>>()
            .with::<upsample::Upsample>()
    }

    /// The standard kinds, made once.
    pub(crate) fn shared() -> &'static Self {
        static STANDARD: LazyLock<Kinds> = LazyLock::new(Kinds::standard);
        &STANDARD
    }

    /// The same with one more kind; it takes the place of one of the same name.
    #[must_use]
    pub fn with<K: LayerKind>(mut self) -> Self {
        self.0.retain(|entry| entry.name != K::KIND);
        self.0.push(Entry {
            name: K::KIND,
            summary: K::SUMMARY,
            fields: K::Settings::FIELDS,
            defaults: K::Settings::default_values,
            read: kind::read::<K>,
        });
        self
    }

    /// Every kind's name with what it does.
    pub fn summaries(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.0.iter().map(|entry| (entry.name, entry.summary))
    }

    /// The settings of a kind by name with their defaults and remarks; none for a kind that is not there.
    #[must_use]
    pub fn settings_of(&self, kind: &str) -> Vec<Line> {
        let entry = self.0.iter().find(|entry| entry.name == kind);
        let fields = entry.map_or(Vec::new(), |entry| {
            entry.fields.iter().zip((entry.defaults)()).collect()
        });
        let line = |(&(name, remark), value)| Line {
            name,
            value,
            remark,
            is_default: true,
        };
        fields.into_iter().map(line).collect()
    }

    /// Reads a layer; messages call it `path`.
    ///
    /// # Errors
    /// A kind or a field that does not exist, a missing field, a value of the wrong type or outside its range.
    pub fn read(&self, path: &str, value: &Value) -> Result<LayerSpec, FieldError> {
        let empty = Value::Table(Table::new());
        let (kind, options) = match value {
            Value::String(kind) => (kind.as_str(), &empty),
            Value::Table(table) if table.len() == 1 => match table.iter().next() {
                Some((kind, options)) => (kind.as_str(), options),
                None => return Err(LayerSpec::wrong_type(path, value)),
            },
            other => return Err(LayerSpec::wrong_type(path, other)),
        };
        match self.0.iter().find(|entry| entry.name == kind) {
            Some(entry) => (entry.read)(&format!("{path}.{kind}"), options, self),
            None => {
                let names = self.0.iter().map(|entry| entry.name);
                Err(FieldError::Name {
                    path: path.to_owned(),
                    what: "kind of layer",
                    found: kind.chars().take(60).collect(),
                    nearest: nearest(kind, names.clone()).map(|near| format!("{near:?}")),
                    known: names.map(str::to_owned).collect(),
                })
            }
        }
    }

    /// Reads a list of layers; messages call it `path`.
    ///
    /// # Errors
    /// What is no list, or a list of more than 2,000 layers; those of [`read`](Self::read).
    pub fn read_list(&self, path: &str, value: &Value) -> Result<Vec<LayerSpec>, FieldError> {
        let Some(list) = value.as_array() else {
            return Err(wrong_type(path, "a list", value));
        };
        if list.len() > LAYERS_MAX {
            return Err(FieldError::Range {
                path: path.to_owned(),
                expected: format!("at most {LAYERS_MAX} layers"),
                found: list.len().to_string(),
            });
        }
        let read = |(i, value)| self.read(&format!("{path}[{i}]"), value);
        list.iter().enumerate().map(read).collect()
    }
}

//! `linear`, `bilinear`, `gated_unit`

use candle_core::Tensor;
use cortical_dense::{
    Bilinear as BilinearLayer, GatedUnit as GatedUnitLayer, Linear as LinearLayer,
};
use cortical_kernels::activation::Activation;
use cortical_neuron::{Description, Layer, Pass, product};
use cortical_settings::{FieldError, Setting, at_least, rule, settings};
use toml::Value;

use super::{AnyLayer, LayerKind, Shapes, Site, Width as Lie, Widths};
use crate::activations::ActivationSetting;
use crate::error::Result;

/// How many outputs a layer has: a number, or as many as the data has classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// This many.
    Fixed(usize),
    /// One for each class, written `"classes"`.
    Classes,
}

impl Width {
    /// The number, where there are so many classes.
    fn of(self, classes: usize) -> usize {
        match self {
            Self::Fixed(n) => n,
            Self::Classes => classes,
        }
    }
}

impl Setting for Width {
    fn expected() -> String {
        "a whole number or \"classes\"".to_owned()
    }

    fn from_value(path: &str, value: &Value) -> std::result::Result<Self, FieldError> {
        match value {
            Value::String(text) if text == "classes" => Ok(Self::Classes),
            other => match usize::from_value(path, other) {
                Ok(n) => Ok(Self::Fixed(n)),
                Err(_) => Err(Self::wrong_type(path, other)),
            },
        }
    }

    fn to_value(&self) -> Option<Value> {
        match self {
            Self::Fixed(n) => n.to_value(),
            Self::Classes => Some(Value::from("classes")),
        }
    }
}

settings! {
    /// The settings of a dense layer.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct LinearSettings {
        out_features: Width, "number of neurons, or \"classes\"",
            rule("at least 1", |width: &Width| *width != Width::Fixed(0));
        bias: bool = true, "whether each neuron has a bias";
        activation: ActivationSetting = ActivationSetting::default(), "what each neuron does with its sum";
    }
}

/// A row of neurons that read everything.
pub(super) struct Linear;

impl LayerKind for Linear {
    const KIND: &'static str = "linear";
    const SUMMARY: &'static str =
        "neurons that read everything, of a row or of each step of a sequence";
    const PREFIX: &'static str = "fc";
    const SHORT: &'static str = "out_features";
    const EXAMPLE: &'static str =
        "a number of outputs, or { out_features = 128, activation = \"relu\" }";
    type Settings = LinearSettings;

    fn resolve(settings: &mut LinearSettings, classes: usize) {
        settings.out_features = Width::Fixed(settings.out_features.of(classes));
    }

    fn build(settings: &LinearSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let out_features = settings.out_features.of(site.classes());
        let config = LinearLayer::config(site.features()?, out_features)
            .bias(settings.bias)
            .activation(settings.activation.0);
        Ok(Box::new(config.build(site.scope())?))
    }

    fn widths(
        settings: &LinearSettings,
        site: &Site<'_>,
        input: &Lie,
        all: &mut Widths,
    ) -> Result<Lie> {
        let last = site.input().len() - 1;
        match input.axis() == last {
            true => all.reads(site, &["weight"], 1, input),
            false => all.fix(input),
        }
        let neurons = all.neurons(settings.out_features.of(site.classes()));
        let tensors: &[&str] = if settings.bias {
            &["weight", "bias"]
        } else {
            &["weight"]
        };
        all.makes(site, tensors, 0, &neurons);
        Ok(neurons.along(last))
    }

    fn narrow(settings: &mut LinearSettings, place: &str, shapes: Shapes<'_>) -> Result<()> {
        let width = shapes.length(place, "weight", 0);
        settings.out_features = width.map_or(settings.out_features, Width::Fixed);
        Ok(())
    }
}

settings! {
    /// The settings of neurons that read pairs.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct BilinearSettings {
        out_features: usize, "number of neurons", at_least(1);
        bias: bool = true, "whether each neuron has a bias";
    }
}

/// Neurons that read every pair of inputs.
pub(super) struct Bilinear;

impl LayerKind for Bilinear {
    const KIND: &'static str = "bilinear";
    const SUMMARY: &'static str = "neurons that read the product of every pair of inputs";
    const PREFIX: &'static str = "bilinear";
    const SHORT: &'static str = "out_features";
    const EXAMPLE: &'static str = "a number of outputs, or { out_features = 16, bias = false }";
    type Settings = BilinearSettings;

    fn build(settings: &BilinearSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let features = site.features()?;
        let config = BilinearLayer::config(features, features, settings.out_features);
        let pairs = config.bias(settings.bias).build(site.scope())?;
        Ok(Box::new(WithItself(pairs, settings.out_features)))
    }
}

/// A bilinear layer both of whose inputs are the same.
struct WithItself(BilinearLayer, usize);

impl Layer for WithItself {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        self.0.forward(x, x, pass)
    }

    fn describe(&self, sample: &[usize]) -> cortical_neuron::Result<Description> {
        let rows = &sample[..sample.len().saturating_sub(1)];
        let output: Vec<usize> = rows.iter().copied().chain([self.1]).collect();
        let rows = usize::try_from(product(rows)).unwrap_or(usize::MAX);
        Ok(self.0.describe(rows)?.output(&output))
    }
}

settings! {
    /// The settings of neurons that gate each other.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct GatedSettings {
        out_features: usize, "number of pairs of neurons", at_least(1);
        gate: ActivationSetting = ActivationSetting(Activation::Sigmoid), "what the gate does with its sum";
        bias: bool = true, "whether each neuron has a bias";
    }
}

/// Neurons that gate each other.
pub(super) struct GatedUnit;

impl LayerKind for GatedUnit {
    const KIND: &'static str = "gated_unit";
    const SUMMARY: &'static str =
        "pairs of neurons that read everything, one letting the other through";
    const PREFIX: &'static str = "gated";
    const SHORT: &'static str = "out_features";
    const EXAMPLE: &'static str = "a number of outputs, or { out_features = 64, gate = \"silu\" }";
    type Settings = GatedSettings;

    fn build(settings: &GatedSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let (features, gate) = (site.features()?, settings.gate.0);
        let config = GatedUnitLayer::config(features, settings.out_features, gate);
        Ok(Box::new(config.bias(settings.bias).build(site.scope())?))
    }
}

//! Layers of layers: `residual`, `sequential`

use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{BatchNorm as BatchNormLayer, Description, Layer, Pass, product};
use cortical_settings::{FieldError, Rule, Settings, join, rule, settings};
use cortical_tensor::ops;
use toml::{Table, Value};

use super::norm::BatchNorm;
use super::segment::{self, Segment};
use super::{AnyLayer, Kinds, LayerKind, LayerSpec, Shapes, Site, Width, Widths};
use crate::activations::ActivationSetting;
use crate::error::Result;

/// The place of the layers on the way past a block.
const SHORTCUT: &str = "shortcut";

/// At least one layer.
fn some() -> Rule<Vec<LayerSpec>> {
    rule("at least one layer", |layers: &Vec<LayerSpec>| {
        !layers.is_empty()
    })
}

/// Takes a list of layers out of a table and reads it.
fn take_list(
    path: &str,
    table: &mut Table,
    name: &str,
    kinds: &Kinds,
) -> Result<Option<Vec<LayerSpec>>, FieldError> {
    let list: Option<Value> = table.remove(name);
    list.map(|list| kinds.read_list(&join(path, name), &list))
        .transpose()
}

/// The layers with what follows from the number of classes.
fn resolve(layers: &mut [LayerSpec], classes: usize) {
    for layer in layers {
        *layer = layer.resolved(classes);
    }
}

settings! {
    /// The settings of a residual block.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct ResidualSettings {
        layers: Vec<LayerSpec>, "the layers whose output is added to the input", some();
        shortcut: Option<Vec<LayerSpec>>, "layers on the way past them, where they change the shape";
        activation: ActivationSetting = ActivationSetting::default(), "what happens to the sum";
    }
}

/// Layers that only have to learn what is to be added.
pub(super) struct Residual;

impl LayerKind for Residual {
    const KIND: &'static str = "residual";
    const SUMMARY: &'static str =
        "layers whose output is added to their input, or to that of a shortcut";
    const PREFIX: &'static str = "block";
    const SHORT: &'static str = "layers";
    const EXAMPLE: &'static str =
        "a list of layers, or { layers = [...], shortcut = [...], activation = \"relu\" }";
    type Settings = ResidualSettings;

    fn read(path: &str, table: &Table, kinds: &Kinds) -> Result<ResidualSettings, FieldError> {
        let mut rest = table.clone();
        let base = ResidualSettings {
            shortcut: take_list(path, &mut rest, "shortcut", kinds)?,
            activation: ActivationSetting::default(),
            layers: match take_list(path, &mut rest, "layers", kinds)? {
                Some(layers) => layers,
                None => return ResidualSettings::read(path, &rest, None),
            },
        };
        ResidualSettings::read(path, &rest, Some(&base))
    }

    fn resolve(settings: &mut ResidualSettings, classes: usize) {
        resolve(&mut settings.layers, classes);
        resolve(
            settings.shortcut.as_deref_mut().unwrap_or_default(),
            classes,
        );
    }

    fn build(settings: &ResidualSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let (scope, input, classes) = (site.scope(), site.input(), site.classes());
        let specs = segment::named(&settings.layers)?;
        let (specs, end) = match specs.split_last() {
            Some((last, before)) => match last.settings::<BatchNorm>() {
                // The block's activation is the norm's where it has none of its own.
                Some(norm) if norm.activation == ActivationSetting::default() => {
                    (before, Some((last, norm)))
                }
                _ => (&specs[..], None),
            },
            None => (&specs[..], None),
        };
        let layers = Segment::build(specs, scope, input, classes)?;
        let norm = end.map(|(spec, norm)| {
            let at = (specs.len(), spec.name());
            let site = segment::site(spec, at, scope, layers.output(), classes);
            let norm = BatchNorm::make(norm, settings.activation, &site);
            norm.map_err(|error| site.blame(error))
        });
        let norm = norm.transpose()?;
        let shortcut = settings.shortcut.as_deref();
        let shortcut = shortcut
            .map(|specs| Segment::build(specs, &scope.at(SHORTCUT), input, classes))
            .transpose()?;
        // A norm leaves the shape as it is.
        let output = layers.output();
        if shortcut.as_ref().map_or(input, Segment::output) != output {
            let expected = format!(
                "an input of shape {output:?}, that of its layers' output, on the way past them"
            );
            return Err(site.wrong_input(
                expected,
                "give the block a shortcut whose layers change the shape in the same way",
            ));
        }
        let activation = settings.activation.0;
        Ok(Box::new(Block {
            layers,
            norm,
            shortcut,
            activation,
        }))
    }

    fn widths(
        settings: &ResidualSettings,
        site: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        let (layers, shortcut) = places(site.scope().path());
        let layers = all.through(&settings.layers, site, &layers, input)?;
        let past = match &settings.shortcut {
            Some(specs) => all.through(specs, site, &shortcut, input)?,
            None => input.clone(),
        };
        // What is added has to be there on both ways.
        Ok(all.join(&past, &layers))
    }

    fn narrow(settings: &mut ResidualSettings, place: &str, shapes: Shapes<'_>) -> Result<()> {
        let (layers, shortcut) = places(place);
        shapes.narrow(&mut settings.layers, &layers)?;
        match &mut settings.shortcut {
            Some(specs) => shapes.narrow(specs, &shortcut),
            None => Ok(()),
        }
    }
}

/// Where the layers of a block are, and those on the way past them.
fn places(block: &str) -> (String, String) {
    (block.to_owned(), format!("{block}.{SHORTCUT}"))
}

/// Layers and the way past them. With a batch norm at the end, its scaling, the sum and the activation are one pass
/// over memory.
struct Block {
    layers: Segment,
    norm: Option<BatchNormLayer>,
    shortcut: Option<Segment>,
    activation: Activation,
}

impl Layer for Block {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        let y = self.layers.forward(x, pass)?;
        let past = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x, pass)?,
            None => x.clone(),
        };
        match &self.norm {
            Some(norm) => norm.forward_residual(&y, &past, pass),
            None => Ok(ops::residual(&past, &y, self.activation)?),
        }
    }

    fn describe(&self, sample: &[usize]) -> cortical_neuron::Result<Description> {
        let (mut parts, output) = self.layers.describe_links(sample)?;
        if let Some(norm) = &self.norm {
            parts.push(norm.describe(&output)?);
        }
        let layers = Description::of_parts("Sequential", "", parts, &output);
        let mut parts = vec![layers];
        if let Some(shortcut) = &self.shortcut {
            parts.push(shortcut.describe(sample)?);
        }
        // The sum is the norm's output where there is one.
        let sum = self.norm.is_none().then(|| product(&output));
        let description = Description::of_parts("Residual", "", parts, &output).keeping(sum);
        Ok(description.reads("each neuron reads one of the layer's and one of the shortcut's"))
    }
}

settings! {
    /// The settings of layers in a row.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct SequentialSettings {
        layers: Vec<LayerSpec>, "the layers", some();
    }
}

/// Layers under a name of their own.
pub(super) struct Sequential;

impl LayerKind for Sequential {
    const KIND: &'static str = "sequential";
    const SUMMARY: &'static str = "layers in a row, under a name of their own";
    const PREFIX: &'static str = "seq";
    const SHORT: &'static str = "layers";
    const EXAMPLE: &'static str = "a list of layers, or { name = \"encoder\", layers = [...] }";
    type Settings = SequentialSettings;

    fn read(path: &str, table: &Table, kinds: &Kinds) -> Result<SequentialSettings, FieldError> {
        let mut rest = table.clone();
        let Some(layers) = take_list(path, &mut rest, "layers", kinds)? else {
            return SequentialSettings::read(path, &rest, None);
        };
        SequentialSettings::read(path, &rest, Some(&SequentialSettings { layers }))
    }

    fn resolve(settings: &mut SequentialSettings, classes: usize) {
        resolve(&mut settings.layers, classes);
    }

    fn build(settings: &SequentialSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let (scope, classes) = (site.scope(), site.classes());
        Ok(Box::new(Segment::build(
            &settings.layers,
            scope,
            site.input(),
            classes,
        )?))
    }

    fn widths(
        settings: &SequentialSettings,
        site: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        all.through(&settings.layers, site, site.scope().path(), input)
    }

    fn narrow(settings: &mut SequentialSettings, place: &str, shapes: Shapes<'_>) -> Result<()> {
        shapes.narrow(&mut settings.layers, place)
    }
}

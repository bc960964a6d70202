//! Layers of layers: `residual`, `sequential`

use cortical_neuron::Residual as ResidualLayer;
use cortical_settings::{FieldError, Rule, Settings, join, rule, settings};
use toml::{Table, Value};

use super::segment::Segment;
use super::{AnyLayer, Kinds, LayerKind, LayerSpec, Site};
use crate::activations::ActivationSetting;
use crate::error::Result;

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
        let inner = |layers: &[LayerSpec], name: &str| {
            let scope = match name {
                "" => site.scope().clone(),
                name => site.scope().at(name),
            };
            Segment::build(layers, &scope, site.input(), site.classes())
        };
        let layers = inner(&settings.layers, "")?;
        let shortcut = settings.shortcut.as_deref();
        let shortcut = shortcut.map(|list| inner(list, "shortcut")).transpose()?;
        let past = shortcut.as_ref().map_or(site.input(), Segment::output);
        if past != layers.output() {
            let expected = format!(
                "an input of shape {:?}, that of its layers' output, on the way past them",
                layers.output()
            );
            return Err(site.wrong_input(
                expected,
                "give the block a shortcut whose layers change the shape in the same way",
            ));
        }
        let mut block = ResidualLayer::new(layers).activation(settings.activation.0);
        if let Some(shortcut) = shortcut {
            block = block.shortcut(shortcut);
        }
        Ok(Box::new(block))
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
}

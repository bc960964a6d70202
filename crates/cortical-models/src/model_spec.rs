//! A whole network as data: a preset by name, or a list of layers.

use std::sync::Arc;

use cortical_settings::{FieldError, Line, Setting, choose, join, refuse_unknown};
use toml::{Table, Value};

use crate::layers::{Kinds, LayerSpec};
use crate::presets::{AnyPreset, PRESETS};

/// The kind of a network that is listed layer by layer.
const LAYERS: &str = "layers";

/// The network that a recipe asks for: a preset by name, or whatever the recipe lists.
#[derive(Clone)]
pub struct ModelSpec(Model);

#[derive(Clone)]
enum Model {
    Preset(Arc<dyn AnyPreset>),
    Layers(Vec<LayerSpec>),
}

/// What is known about a kind of network before it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its name in `model.kind`.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
}

impl ModelSpec {
    /// The kinds of networks that a recipe can name.
    pub fn kinds() -> impl Iterator<Item = Kind> {
        let presets = PRESETS.iter().map(|preset| Kind {
            name: preset.name,
            summary: preset.summary,
        });
        let listed = Kind {
            name: LAYERS,
            summary: "layer by layer: layers = [{ linear = 64 }, ...]",
        };
        presets.chain([listed])
    }

    /// A network of these layers.
    #[must_use]
    pub fn listed(layers: Vec<LayerSpec>) -> Self {
        Self(Model::Layers(layers))
    }

    /// The name of this kind in `model.kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.0 {
            Model::Preset(preset) => preset.name(),
            Model::Layers(_) => LAYERS,
        }
    }

    /// Reads the table `[model]`, which messages call `path`.
    ///
    /// ```
    /// use cortical_models::ModelSpec;
    /// let table: toml::Table = "kind = \"lenett\"".parse()?;
    /// let error = ModelSpec::read("model", &table).unwrap_err();
    /// assert_eq!(error.to_string(), "model.kind: there is no kind of network \"lenett\"; did you mean \"lenet\"?");
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    ///
    /// # Errors
    /// A kind or a field that does not exist, a value of the wrong type or outside its range.
    pub fn read(path: &str, table: &Table) -> Result<Self, FieldError> {
        Self::read_with(path, table, Kinds::shared())
    }

    /// As [`read`](Self::read), with layers of these kinds.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with(path: &str, table: &Table, kinds: &Kinds) -> Result<Self, FieldError> {
        let list = table.get(LAYERS);
        if let Some(list) = list.filter(|list| !list.is_array()) {
            return Err(FieldError::Type {
                path: join(path, LAYERS),
                expected: "a list".to_owned(),
                found: cortical_settings::show(list),
            });
        }
        let at_kind = join(path, "kind");
        let kind = match table.get("kind") {
            Some(kind) => String::from_value(&at_kind, kind)?,
            None if list.is_some() => LAYERS.to_owned(),
            None => {
                return Err(FieldError::Missing {
                    path: at_kind,
                    expected: String::expected(),
                });
            }
        };
        let names: Vec<_> = Self::kinds().map(|kind| (kind.name, kind.name)).collect();
        let kind = choose(&at_kind, "kind of network", &kind, &names)?;
        let spec = match PRESETS.iter().find(|preset| preset.name == kind) {
            Some(preset) => {
                let own = preset.fields.iter().map(|(name, _)| *name);
                refuse_fields(path, table, kind, own)?;
                let mut own = table.clone();
                own.remove(LAYERS);
                own.remove("kind");
                Self(Model::Preset((preset.read)(path, &own)?))
            }
            None => {
                refuse_fields(path, table, kind, std::iter::empty())?;
                Self(Model::Layers(read_layers(
                    &join(path, LAYERS),
                    list,
                    kinds,
                )?))
            }
        };
        match (&spec.0, list) {
            (Model::Preset(_), Some(_)) => Err(FieldError::Range {
                path: at_kind,
                expected: "\"layers\" beside a list of layers, or no list".to_owned(),
                found: format!("{kind:?}"),
            }),
            _ => Ok(spec),
        }
    }

    /// The fields of the table `[model]` with their values and remarks, in the order in which a person writes them.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let line = |name, value, remark| Line {
            name,
            value: Some(value),
            remark,
            is_default: false,
        };
        let mut lines = vec![line("kind", Value::from(self.kind()), KINDS_REMARK)];
        match &self.0 {
            Model::Preset(preset) => lines.extend(preset.lines()),
            Model::Layers(layers) => {
                let layers = layers.iter().map(LayerSpec::to_value).collect();
                lines.push(line(LAYERS, Value::Array(layers), ""));
            }
        }
        lines
    }

    /// The table `[model]` with every default filled in, in the order in which a person writes it.
    #[must_use]
    pub fn to_fields(&self) -> Vec<(&'static str, Value)> {
        let lines = self.lines().into_iter();
        lines
            .filter_map(|line| Some((line.name, line.value?)))
            .collect()
    }

    /// The layers of the network, in order.
    #[must_use]
    pub fn layers(&self) -> Vec<LayerSpec> {
        match &self.0 {
            Model::Preset(preset) => preset.layers(),
            Model::Layers(layers) => layers.clone(),
        }
    }

    /// The shape of the samples that a preset is for where nobody says otherwise, and how many classes they have;
    /// `None` for layers that are listed.
    #[must_use]
    pub fn usual_samples(&self) -> Option<(&'static [usize], usize)> {
        match &self.0 {
            Model::Preset(preset) => Some(preset.samples()),
            Model::Layers(_) => None,
        }
    }

    /// The preset that suits samples of a shape best: a network that every data set can start with.
    #[must_use]
    pub fn suggested_for(input_shape: &[usize]) -> Self {
        let name = match input_shape {
            [_, height, width] if *height >= 20 && *width >= 20 => "lenet",
            [_, height, width] if *height >= 4 && *width >= 4 => "digits-cnn",
            _ => "mlp",
        };
        name.parse()
            .expect("a preset of that name whose settings have defaults")
    }
}

/// The names of the kinds, beside the field.
const KINDS_REMARK: &str = "digits-cnn, lenet, mlp, softmax, resnet20 or layers";

/// The list of layers of a network that has no other kind.
fn read_layers(
    path: &str,
    list: Option<&Value>,
    kinds: &Kinds,
) -> Result<Vec<LayerSpec>, FieldError> {
    let Some(list) = list else {
        return Err(FieldError::Missing {
            path: path.to_owned(),
            expected: "a list of layers".to_owned(),
        });
    };
    let layers = kinds.read_list(path, list)?;
    if layers.is_empty() {
        return Err(FieldError::Range {
            path: path.to_owned(),
            expected: "at least one layer".to_owned(),
            found: "none".to_owned(),
        });
    }
    Ok(layers)
}

impl PartialEq for ModelSpec {
    fn eq(&self, other: &Self) -> bool {
        self.to_fields() == other.to_fields()
    }
}

impl std::fmt::Debug for ModelSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Model::Preset(preset) => preset.fmt(f),
            Model::Layers(layers) => f.debug_list().entries(layers).finish(),
        }
    }
}

impl std::str::FromStr for ModelSpec {
    type Err = FieldError;

    /// A kind by its name, with its defaults.
    fn from_str(kind: &str) -> Result<Self, FieldError> {
        let table = Table::from_iter([("kind".to_owned(), Value::from(kind))]);
        Self::read("model", &table)
    }
}
/// Refuses fields that a network of this kind does not have.
fn refuse_fields(
    path: &str,
    table: &Table,
    kind: &str,
    own: impl Iterator<Item = &'static str> + Clone,
) -> Result<(), FieldError> {
    let known = [LAYERS, "kind"].into_iter().chain(own);
    let is_known = |name: &String| known.clone().any(|known| known == name);
    let others = |name: &String| -> Vec<String> {
        let has = |fields: &[(&str, _)]| fields.iter().any(|(field, _)| field == name);
        let presets = PRESETS.iter().filter(|preset| has(preset.fields));
        presets.map(|preset| format!("{:?}", preset.name)).collect()
    };
    let unknown = table.keys().filter(|name| !is_known(name));
    for name in unknown {
        let owners = others(name);
        if !owners.is_empty() {
            return Err(FieldError::OtherKind {
                path: join(path, name),
                at: join(path, "kind"),
                owners,
                here: kind.to_owned(),
            });
        }
    }
    refuse_unknown(path, table, known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ModelSpec, FieldError> {
        let table: Table = text.parse().unwrap();
        ModelSpec::read("model", &table)
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in [
            "kind = \"digits-cnn\"",
            "kind = \"lenet\"",
            "kind = \"mlp\"\nhidden = [3, 4]\nactivation = \"tanh\"\ndropout = 0.5",
            "kind = \"mlp\"\nhidden = []",
            "kind = \"softmax\"",
            "layers = [{ linear = 3 }, \"flatten\"]",
        ] {
            let spec = read(text).unwrap();
            let table = spec.to_fields().into_iter().map(|(k, v)| (k.to_owned(), v));
            let again = ModelSpec::read("model", &table.collect()).unwrap();
            assert_eq!(spec, again, "{text}");
        }
    }

    #[test]
    fn every_preset_lists_layers_by_its_name() {
        let names: Vec<&str> = ModelSpec::kinds().map(|kind| kind.name).collect();
        for name in names.iter().filter(|name| **name != "layers") {
            let spec: ModelSpec = name.parse().unwrap();
            assert_eq!(spec.kind(), *name);
            assert!(!spec.layers().is_empty());
        }
        let (last, others) = names.split_last().unwrap();
        assert_eq!(KINDS_REMARK, format!("{} or {last}", others.join(", ")));
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, want: &str| {
            assert_eq!(read(text).unwrap_err().to_string(), want, "{text}");
        };
        check("", "model.kind is missing; expected text in quotes");
        check(
            "kind = \"layers\"",
            "model.layers is missing; expected a list of layers",
        );
        check(
            "layers = []",
            "model.layers: expected at least one layer, found none",
        );
        check(
            "kind = \"lenet\"\nlayers = [\"flatten\"]",
            "model.kind: expected \"layers\" beside a list of layers, or no list, found \"lenet\"",
        );
        check(
            "kind = \"lenet\"\nhidden = [3]",
            "model.hidden is a setting of model.kind = \"mlp\", which is \"lenet\" here",
        );
        check(
            "kind = \"mlp\"\nhidden = [3, 0]",
            "model.hidden: expected sizes of at least 1, found [3, 0]",
        );
        check(
            "kind = \"mlp\"\ndropout = 1.5",
            "model.dropout: expected a probability from 0 to below 1, found 1.5",
        );
        check(
            "layers = [{ linear = 3 }, { linear = { out_features = 3, activation = 1 } }]",
            "model.layers[1].linear.activation: expected text in quotes, found the number 1",
        );
    }
}

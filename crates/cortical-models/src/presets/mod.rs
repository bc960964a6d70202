//! Networks by name: each preset is a function from a few settings to a list of layers, named once more in [`PRESETS`].

mod digits_cnn;
mod lenet;
mod mlp;
mod resnet20;
mod softmax;

use std::fmt::Debug;
use std::sync::Arc;

use cortical_settings::{FieldError, Line, Setting, Settings};
use toml::Table;

use crate::layers::LayerSpec;

/// A network by name.
pub(crate) trait Preset: Settings + Debug + Send + Sync + 'static {
    /// The name in `model.kind`.
    const NAME: &'static str;

    /// What it is, in a line.
    const SUMMARY: &'static str;

    /// The samples that it is for where nobody says otherwise: their shape, and how many classes they have.
    const SAMPLES: (&'static [usize], usize);

    /// Its layers, as a recipe would list them: a TOML array.
    fn layers(&self) -> String;
}

/// A preset with its settings, whichever it is.
pub(crate) trait AnyPreset: Debug + Send + Sync {
    fn name(&self) -> &'static str;
    fn samples(&self) -> (&'static [usize], usize);
    fn layers(&self) -> Vec<LayerSpec>;
    fn lines(&self) -> Vec<Line>;
}

impl<P: Preset> AnyPreset for P {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn samples(&self) -> (&'static [usize], usize) {
        P::SAMPLES
    }

    fn layers(&self) -> Vec<LayerSpec> {
        let list = format!("layers = {}", Preset::layers(self));
        let table: Table = list.parse().expect("a preset writes TOML");
        Setting::from_value("layers", &table["layers"])
            .expect("a preset lists layers that there are")
    }

    fn lines(&self) -> Vec<Line> {
        Settings::lines(self)
    }
}

/// Reads a preset's settings.
type Read = fn(&str, &Table) -> Result<Arc<dyn AnyPreset>, FieldError>;

/// What is known about a preset without its settings.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) fields: &'static [(&'static str, &'static str)],
    pub(crate) read: Read,
}

impl Entry {
    const fn of<P: Preset>() -> Self {
        Self {
            name: P::NAME,
            summary: P::SUMMARY,
            fields: P::FIELDS,
            read: |path, table| Ok(Arc::new(P::read(path, table, None)?)),
        }
    }
}

/// Every preset.
pub(crate) const PRESETS: &[Entry] = &[
    Entry::of::<digits_cnn::DigitsCnn>(),
    Entry::of::<lenet::LeNet>(),
    Entry::of::<mlp::Mlp>(),
    Entry::of::<softmax::Softmax>(),
    Entry::of::<resnet20::ResNet20>(),
];

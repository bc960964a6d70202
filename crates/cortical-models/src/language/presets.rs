//! The published sizes of well-known models.

use super::architectures;
use super::config::LanguageConfig;

/// A model by its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// The name in lower case.
    pub name: &'static str,
    /// What it is made of.
    pub config: LanguageConfig,
}

/// The preset of this name.
#[must_use]
pub fn preset(name: &str) -> Option<Preset> {
    presets().into_iter().find(|preset| preset.name == name)
}

/// All presets, those of an architecture together.
#[must_use]
pub fn presets() -> Vec<Preset> {
    architectures::all()
        .flat_map(|architecture| architecture.presets())
        .map(|(name, config)| Preset {
            name,
            config: LanguageConfig::of(config),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_comes_back_from_its_file() {
        for preset in presets() {
            let text = preset.config.to_json().unwrap();
            let back = LanguageConfig::from_json(&text).unwrap();
            assert_eq!(back, preset.config, "{}", preset.name);
        }
    }
}

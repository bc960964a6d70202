//! The table of architectures: one line each.

mod bert;
mod gemma2;
mod gemma3;
mod gpt2;
mod llama;
mod mistral;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;
mod smollm3;

use super::architecture::Architecture;

/// Every architecture there is.
const TABLE: [&dyn Architecture; 11] = [
    &llama::Llama,
    &mistral::Mistral,
    &qwen2::Qwen2,
    &qwen3::Qwen3,
    &gemma2::Gemma2,
    &gemma3::Gemma3,
    &phi3::Phi3,
    &olmo2::Olmo2,
    &smollm3::SmolLm3,
    &gpt2::Gpt2,
    &bert::Bert,
];

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static dyn Architecture> {
    TABLE.into_iter()
}

/// That of a `model_type` in a `config.json`.
pub(crate) fn by_model_type(name: &str) -> Option<&'static dyn Architecture> {
    all().find(|known| known.names().model_type == name)
}

/// That of a `general.architecture` in a GGUF file.
pub(crate) fn by_gguf(name: &str) -> Option<&'static dyn Architecture> {
    all().find(|known| known.names().gguf == Some(name))
}

/// The names that `config.json` files have, in a sentence: "llama, mistral and bert".
pub(crate) fn model_types() -> String {
    listed(all().map(|known| known.names().model_type), "and")
}

/// The names that GGUF files have, in a sentence: "llama, qwen2 or gpt2".
pub(crate) fn gguf_names() -> String {
    listed(all().filter_map(|known| known.names().gguf), "or")
}

fn listed(names: impl Iterator<Item = &'static str>, last: &str) -> String {
    let names: Vec<&str> = names.collect();
    match names.split_last() {
        Some((end, [])) => (*end).to_owned(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
        None => String::new(),
    }
}

/// The heads over classes of texts.
pub(crate) fn is_classifier(name: &str) -> bool {
    all().any(|known| known.names().classifier.0 == name)
}

/// What may stand before the names of a model's body.
pub(crate) fn bodies() -> Vec<&'static str> {
    let mut bodies: Vec<&str> = all().map(|known| known.names().body).collect();
    bodies.sort_unstable();
    bodies.dedup();
    bodies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        let mut names: Vec<&str> = all().map(|known| known.names().model_type).collect();
        names.extend(all().map(|known| known.names().class));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        let gguf: Vec<&str> = all().filter_map(|known| known.names().gguf).collect();
        assert!(gguf.iter().all(|name| by_gguf(name).is_some()));
        assert!(by_model_type("mamba").is_none());
    }
}

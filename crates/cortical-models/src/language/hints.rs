//! Names that would fit: what a message says beside what does not.

use std::collections::BTreeSet;

use cortical_io::{AnyModel, fitting_rename};

use super::architectures;
use super::head::Head;
use crate::error::Error;

/// A tensor's name and shape.
pub(crate) type Named = (String, Vec<usize>);

/// The rule by which tensors that nobody expects would be those that are missing, in words.
pub(crate) fn rename(missing: &[Named], unexpected: &[Named]) -> Option<String> {
    let (rule, count) = fitting_rename(missing, unexpected)?;
    Some(format!(
        "; {count} of {} names fit with the rule '{rule}', as `cortical convert --rename` takes it",
        unexpected.len()
    ))
}

impl Error {
    /// Adds to the error of an architecture that is unknown whose names the model's tensors have, or would have by a
    /// rule of `--rename`.
    #[must_use]
    pub fn with_names_of(self, model: &AnyModel) -> Self {
        match self {
            Self::ModelType { got, supported, .. } => Self::ModelType {
                got,
                supported,
                hint: architecture(model.tensors().iter().map(|tensor| tensor.name())),
            },
            Self::File { path, source } => Self::File {
                path,
                source: Box::new(source.with_names_of(model)),
            },
            other => other,
        }
    }
}

/// The architecture whose tensors are called as most of these are, be it with another beginning.
fn architecture<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: BTreeSet<String> = names.map(numberless).collect();
    let mut best: Option<(usize, &str, Option<String>)> = None;
    for known in architectures::all() {
        let Some((_, config)) = known.presets().into_iter().next() else {
            continue;
        };
        // Whether the head has weights of its own is a model's affair and no architecture's.
        let head = match config.head() {
            Head::None => Head::None,
            Head::Own | Head::Tied => Head::Own,
        };
        let tensors = config.tensors(config.names().body, head);
        let own: BTreeSet<String> = tensors.iter().map(|t| numberless(&t.name)).collect();
        let list = |names: BTreeSet<&String>| -> Vec<Named> {
            names
                .into_iter()
                .map(|name| (name.clone(), Vec::new()))
                .collect()
        };
        let same = own.intersection(&names).count();
        let missing = list(own.difference(&names).collect());
        let unexpected = list(names.difference(&own).collect());
        let renamed = fitting_rename(&missing, &unexpected);
        // A rule that says a block's number is of no use for the others.
        let renamed = renamed.filter(|(rule, _)| !rule.contains('0'));
        let (more, rule) = renamed.map_or((0, None), |(rule, count)| (count, Some(rule)));
        let fits = same + more;
        let is_most = 2 * fits > names.len();
        if is_most && best.as_ref().is_none_or(|(most, ..)| fits > *most) {
            best = Some((fits, known.names().model_type, rule));
        }
    }
    let (_, model_type, rule) = best?;
    let with = rule.map_or(String::new(), |rule| {
        format!(", with --rename '{rule}' of `cortical convert`")
    });
    Some(format!(
        ". Its tensors are called as those of {model_type}{with}: if it computes the same, say \"model_type\": \"{model_type}\" in its config.json"
    ))
}

/// A name in which every number is 0.
fn numberless(name: &str) -> String {
    let part = |part: &'_ str| match part.bytes().all(|b| b.is_ascii_digit()) {
        true => "0".to_owned(),
        false => part.to_owned(),
    };
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_the_architecture_that_has_them() {
        let check = |names: &[&str], want: Option<&str>| {
            let found = architecture(names.iter().copied());
            match (&found, want) {
                (Some(found), Some(want)) => assert!(found.contains(want), "{found}"),
                (found, want) => assert_eq!(found.is_some(), want.is_some(), "{found:?}"),
            }
        };
        let llama = |prefix: &str| -> Vec<String> {
            let rest = "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj mlp.gate_proj mlp.up_proj mlp.down_proj input_layernorm post_attention_layernorm";
            rest.split(' ')
                .map(|name| format!("{prefix}layers.17.{name}.weight"))
                .chain([format!("{prefix}embed_tokens.weight")])
                .collect()
        };
        let names = llama("model.");
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        check(&names, Some("as those of llama: if"));
        let names = llama("backbone.net.");
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        check(
            &names,
            Some("of llama, with --rename 'backbone.net.*=model.*'"),
        );
        check(
            &["h.3.ln_1.bias", "h.3.attn.c_attn.weight", "wte.weight"],
            Some("of gpt2"),
        );
        check(&["conv1.weight", "fc.bias"], None);
        check(&[], None);
    }
}

//! What layers are called on both sides: models are wrapped, and what wraps them stands before every name.

use super::reference::Reference;
use cortical_neuron::Params;
use std::collections::BTreeSet;

/// How the model's names become the reference's.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Names {
    /// What the model's names begin with and the reference's do not.
    without: String,
    /// What the reference's names begin with and the model's do not.
    with: String,
}

impl Names {
    /// The names that let most parameters meet.
    pub(super) fn new(reference: &Reference, params: &Params) -> Self {
        let theirs: BTreeSet<&str> = reference.parameters().chain(reference.modules()).collect();
        let own = params.all();
        let ours: Vec<&str> = own.iter().map(|param| param.name()).collect();
        let layer = |name: &str| name.rsplit_once('.').map(|(layer, _)| layer.to_owned());
        let meet = |names: &Self| {
            let met = ours.iter().filter(|name| {
                let found = names.theirs(name);
                theirs.contains(&found[..])
                    || layer(&found).is_some_and(|l| theirs.contains(&l[..]))
            });
            met.count()
        };
        let first = |name: &&str| name.split_once('.').map(|(first, _)| format!("{first}."));
        let own: BTreeSet<String> = ours.iter().filter_map(first).collect();
        let foreign: BTreeSet<String> = theirs.iter().filter_map(first).collect();
        let without = own.into_iter().map(|without| Self {
            without,
            with: String::new(),
        });
        let with = foreign.into_iter().map(|with| Self {
            without: String::new(),
            with,
        });
        let (mut best, mut most) = (Self::default(), meet(&Self::default()));
        for names in without.chain(with) {
            let count = meet(&names);
            // Only where more meet: names as they are are preferred.
            if count > most {
                (best, most) = (names, count);
            }
        }
        best
    }

    /// The reference's name.
    pub(super) fn theirs(&self, ours: &str) -> String {
        let rest = ours.strip_prefix(&self.without[..]).unwrap_or(ours);
        format!("{}{rest}", self.with)
    }

    /// How names were understood, where they are not the same.
    pub(super) fn remark(&self) -> Option<String> {
        match (&self.without[..], &self.with[..]) {
            ("", "") => None,
            ("", with) => Some(format!(
                "the reference's names begin with {with:?}, the model's do not"
            )),
            (without, _) => Some(format!(
                "the model's names begin with {without:?}, the reference's do not"
            )),
        }
    }
}

//! Which layers of a model are to carry a low-rank change.

/// Which linear layers get a low-rank change (LoRA, DoRA), and of what kind. A store holds it
/// ([`Params::adapt`](crate::Params::adapt)), and the layers that are built from then on ask for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapters {
    /// `r`: the rank of the change.
    pub rank: usize,
    /// `α`: the change is scaled by `α / r`.
    pub alpha: f64,
    /// The last parts of the names of the layers that get one, such as `q_proj`.
    pub targets: Vec<String>,
    /// DoRA: the length of each weight vector is a parameter of its own.
    pub dora: bool,
}

impl Adapters {
    /// Whether the layer at `path` gets a change.
    #[must_use]
    pub fn names(&self, path: &str) -> bool {
        self.targets.iter().any(|target| {
            path == target
                || path
                    .strip_suffix(target.as_str())
                    .is_some_and(|rest| rest.ends_with('.'))
        })
    }

    /// `α / r`
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }
}

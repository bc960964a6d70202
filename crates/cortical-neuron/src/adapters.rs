//! Which layers of a model are to carry a low-rank change.

use std::collections::BTreeMap;

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
    /// rsLoRA: the change is scaled by `α / √r` instead.
    pub rslora: bool,
    /// The rank and `α` of layers that have their own, by their whole names.
    pub own: BTreeMap<String, (usize, f64)>,
}

impl Default for Adapters {
    /// Rank 8, `α` 8 and no layers, as PEFT has it.
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 8.0,
            targets: Vec::new(),
            dora: false,
            rslora: false,
            own: BTreeMap::new(),
        }
    }
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

    /// The rank of the change of the layer at `path`, and what it is scaled by: `α / r`, or `α / √r`.
    ///
    /// ```
    /// use cortical_neuron::Adapters;
    /// let mut adapters = Adapters { rank: 4, alpha: 8.0, ..Adapters::default() };
    /// adapters.own.insert("layers.1.q_proj".to_owned(), (16, 8.0));
    /// assert_eq!(adapters.size("layers.0.q_proj"), (4, 2.0));
    /// assert_eq!(adapters.size("layers.1.q_proj"), (16, 0.5));
    /// adapters.rslora = true;
    /// assert_eq!(adapters.size("layers.1.q_proj"), (16, 2.0));
    /// ```
    #[must_use]
    pub fn size(&self, path: &str) -> (usize, f64) {
        let (rank, alpha) = self
            .own
            .get(path)
            .copied()
            .unwrap_or((self.rank, self.alpha));
        let by = match self.rslora {
            true => (rank as f64).sqrt(),
            false => rank as f64,
        };
        (rank, alpha / by)
    }
}

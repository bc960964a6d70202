//! Parameter groups: which parameters get a learning rate or weight decay of their own.

use crate::Result;
use crate::algorithm::not_negative;
use cortical_neuron::Param;

/// A rule that picks parameters, and what is different for them.
///
/// A parameter belongs to the first group whose rule it meets, and to none if it meets no rule.
///
/// ```
/// use cortical_optim::Group;
/// let head = Group::matching("head", |p| p.name().starts_with("fc2.")).lr_scale(10.0);
/// let rest = Group::without_decay();
/// # let _ = (head, rest);
/// ```
pub struct Group {
    name: String,
    rule: Box<dyn Fn(&Param) -> bool>,
    lr_scale: f64,
    weight_decay: Option<f64>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name)
            .field("lr_scale", &self.lr_scale)
            .field("weight_decay", &self.weight_decay)
            .finish_non_exhaustive()
    }
}

impl Group {
    /// A group of the parameters that meet `rule`; `name` is for messages.
    #[must_use]
    pub fn matching(name: &str, rule: impl Fn(&Param) -> bool + 'static) -> Self {
        Self {
            name: name.to_string(),
            rule: Box::new(rule),
            lr_scale: 1.0,
            weight_decay: None,
        }
    }

    /// A group of the parameters whose names fit a [pattern](fits), such as `"layers.*.bias"`.
    #[must_use]
    pub fn named(pattern: &str) -> Self {
        let owned = pattern.to_string();
        Self::matching(pattern, move |p| fits(&owned, p.name()))
    }

    /// Biases and the scales and shifts of norms, recognised by having one dimension at most, without weight decay.
    ///
    /// # Source
    /// He et al., "Bag of tricks for image classification with convolutional neural networks" (2019), section 3.1.
    #[must_use]
    pub fn without_decay() -> Self {
        Self::matching("without decay", |p| p.dims().len() <= 1).weight_decay(0.0)
    }

    /// Multiplies the optimizer's learning rate for this group, whatever a schedule makes of it.
    #[must_use]
    pub fn lr_scale(mut self, scale: f64) -> Self {
        self.lr_scale = scale;
        self
    }

    /// The weight decay of this group.
    #[must_use]
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = Some(weight_decay);
        self
    }

    /// The name for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn holds(&self, param: &Param) -> bool {
        (self.rule)(param)
    }

    /// The factor of the learning rate and the weight decay, checked.
    pub(crate) fn overrides(&self) -> Result<(f64, Option<f64>)> {
        not_negative("group", &[("lr_scale", self.lr_scale)])?;
        if let Some(weight_decay) = self.weight_decay {
            not_negative("group", &[("weight_decay", weight_decay)])?;
        }
        Ok((self.lr_scale, self.weight_decay))
    }
}

/// Whether a name fits a pattern, in which `*` stands for any characters, dots included, and everything else for
/// itself.
///
/// ```
/// use cortical_optim::fits;
/// assert!(fits("*.bias", "layers.0.fc.bias"));
/// assert!(fits("conv*", "conv1.weight") && !fits("conv*", "fc.weight"));
/// assert!(!fits("conv1", "conv1.weight"));
/// ```
#[must_use]
pub fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    // The first place of each part leaves the most for those that follow.
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, want) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a.b", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("a*b*a", "aba", true),
            ("a*a", "a", false),
            ("*.weight", "fc.weight", true),
            ("**norm*", "layer.norm.bias", true),
            ("é*", "été", true),
        ] {
            assert_eq!(fits(pattern, name), want, "{pattern} {name}");
        }
    }
}

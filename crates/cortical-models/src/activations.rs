//! Activations by the names that recipes use.

use cortical_kernels::activation::Activation;

/// The names, PyTorch's in lower case, and what they stand for.
pub(crate) const ACTIVATIONS: &[(&str, Activation)] = &[
    ("identity", Activation::Identity),
    ("relu", Activation::Relu),
    ("relu6", Activation::Relu6),
    ("leaky_relu", Activation::LEAKY_RELU),
    ("elu", Activation::ELU),
    ("selu", Activation::Selu),
    ("celu", Activation::CELU),
    ("gelu", Activation::Gelu),
    ("gelu_tanh", Activation::GeluTanh),
    ("silu", Activation::Silu),
    ("mish", Activation::Mish),
    ("sigmoid", Activation::Sigmoid),
    ("tanh", Activation::Tanh),
    ("softplus", Activation::SOFTPLUS),
    ("softsign", Activation::Softsign),
    ("hardswish", Activation::Hardswish),
    ("hardsigmoid", Activation::Hardsigmoid),
    ("hardtanh", Activation::HARDTANH),
    ("log_sigmoid", Activation::LogSigmoid),
    ("tanhshrink", Activation::Tanhshrink),
];

/// The name of an activation that came from [`ACTIVATIONS`].
pub(crate) fn name(activation: Activation) -> &'static str {
    ACTIVATIONS
        .iter()
        .find(|(_, known)| *known == activation)
        .map_or("identity", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_differ() {
        for (known, activation) in ACTIVATIONS {
            assert_eq!(name(*activation), *known);
        }
    }
}

//! Dense layers, one after the other.

use cortical_kernels::activation::Activation;
use cortical_settings::{Setting, rule, settings};

use super::Preset;
use crate::activations::ActivationSetting;
use crate::layers::probability;

settings! {
    /// Dense layers, one after the other.
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct Mlp {
        hidden: Vec<usize> = vec![64], "neurons of each hidden layer",
            rule("sizes of at least 1", |hidden: &Vec<usize>| !hidden.contains(&0));
        activation: ActivationSetting = ActivationSetting(Activation::Relu), "";
        dropout: f64 = 0.0, "after each hidden layer", probability();
    }
}

impl Preset for Mlp {
    const NAME: &'static str = "mlp";
    const SUMMARY: &'static str =
        "dense layers: hidden = [64], activation = \"relu\", dropout = 0.0";

    const SAMPLES: (&'static [usize], usize) = (&[1, 8, 8], 10);

    fn layers(&self) -> String {
        let activation = self
            .activation
            .to_value()
            .expect("an activation has a value");
        let mut layers = "[\"flatten\"".to_owned();
        for (i, size) in self.hidden.iter().enumerate() {
            let name = i + 1;
            layers += &format!(
                ", {{ linear = {{ name = \"fc{name}\", out_features = {size}, activation = {activation} }} }}"
            );
            if self.dropout > 0.0 {
                layers += &format!(", {{ dropout = {:?} }}", self.dropout);
            }
        }
        let name = self.hidden.len() + 1;
        layers + &format!(", {{ linear = {{ name = \"fc{name}\", out_features = \"classes\" }} }}]")
    }
}

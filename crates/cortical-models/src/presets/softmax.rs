//! Multinomial logistic regression.

use cortical_settings::settings;

use super::Preset;

settings! {
    /// One dense layer.
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct Softmax {}
}

impl Preset for Softmax {
    const NAME: &'static str = "softmax";
    const SUMMARY: &'static str = "one dense layer: multinomial logistic regression";

    const SAMPLES: (&'static [usize], usize) = (&[1, 8, 8], 10);

    fn layers(&self) -> String {
        r#"["flatten", { linear = { name = "fc1", out_features = "classes" } }]"#.to_owned()
    }
}

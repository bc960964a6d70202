//! A convolutional network for small pictures.

use cortical_settings::settings;

use super::Preset;

settings! {
    /// Two padded 3×3 convolutions of 32 filters, the second pooled, and two dense layers with dropout between.
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct DigitsCnn {}
}

impl Preset for DigitsCnn {
    const NAME: &'static str = "digits-cnn";
    const SUMMARY: &'static str =
        "two 3x3 convolutions, pooling, two dense layers, dropout: for small pictures";

    const SAMPLES: (&'static [usize], usize) = (&[1, 8, 8], 10);

    fn layers(&self) -> String {
        r#"[
            { conv2d = { name = "conv1", out_channels = 32, kernel_size = 3, padding = 1, activation = "relu" } },
            { conv2d = { name = "conv2", out_channels = 32, kernel_size = 3, padding = 1, activation = "relu", max_pool = 2 } },
            "flatten",
            { dropout = 0.25 },
            { linear = { name = "fc1", out_features = 64, activation = "relu" } },
            { dropout = 0.25 },
            { linear = { name = "fc2", out_features = "classes" } },
        ]"#
        .to_owned()
    }
}

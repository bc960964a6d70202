//! LeNet in the size that today's introductions use.

use cortical_settings::settings;

use super::Preset;

settings! {
    /// Two 3×3 convolutions of 32 and 64 filters, the second pooled, and dense layers of 128 neurons and of one for
    /// each class (LeCun et al. 1998).
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct LeNet {}
}

impl Preset for LeNet {
    const NAME: &'static str = "lenet";
    const SUMMARY: &'static str =
        "convolutions of 32 and 64 filters, pooling, dense layers of 128 and the classes";

    const SAMPLES: (&'static [usize], usize) = (&[1, 28, 28], 10);

    fn layers(&self) -> String {
        r#"[
            { conv2d = { name = "conv1", out_channels = 32, kernel_size = 3, activation = "relu" } },
            { conv2d = { name = "conv2", out_channels = 64, kernel_size = 3, activation = "relu", max_pool = 2 } },
            "flatten",
            { linear = { name = "fc1", out_features = 128, activation = "relu" } },
            { linear = { name = "fc2", out_features = "classes" } },
        ]"#
        .to_owned()
    }
}

//! The residual network of 20 layers for pictures of CIFAR's size.

use cortical_settings::settings;

use super::Preset;

settings! {
    /// A 3×3 convolution of 16 filters, three stages of three residual blocks of 16, 32 and 64 filters, the mean of
    /// each channel and a dense layer (He et al., "Deep residual learning for image recognition", 2015, section 4.2).
    ///
    /// Where a stage halves the picture, the shortcut is a 1×1 convolution with a batch norm, the paper's option B:
    /// 272,474 parameters for three channels and ten classes.
    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct ResNet20 {}
}

/// Residual blocks of a stage.
const BLOCKS: usize = 3;

/// A block of two 3×3 convolutions.
fn block(name: &str, filters: usize, stride: usize) -> String {
    let conv = |stride: usize| {
        format!(
            "{{ conv2d = {{ out_channels = {filters}, kernel_size = 3, stride = {stride}, padding = 1, bias = false }} }}"
        )
    };
    let shortcut = match stride {
        1 => String::new(),
        _ => format!(
            "shortcut = [
                {{ conv2d = {{ name = \"0\", out_channels = {filters}, kernel_size = 1, stride = {stride}, bias = false }} }},
                {{ batch_norm = {{ name = \"1\" }} }},
            ], "
        ),
    };
    let (first, second) = (conv(stride), conv(1));
    format!(
        "{{ residual = {{ name = \"{name}\", {shortcut}activation = \"relu\", layers = [
            {first}, {{ batch_norm = {{ activation = \"relu\" }} }}, {second}, \"batch_norm\",
        ] }} }}"
    )
}

impl Preset for ResNet20 {
    const NAME: &'static str = "resnet20";
    const SUMMARY: &'static str =
        "nine residual blocks of 16, 32 and 64 filters: for pictures of 32x32";

    const SAMPLES: (&'static [usize], usize) = (&[3, 32, 32], 10);

    fn layers(&self) -> String {
        let stem = "{ conv2d = { name = \"conv1\", out_channels = 16, kernel_size = 3, padding = 1, bias = false } },
            { batch_norm = { name = \"bn1\", activation = \"relu\" } }";
        let mut layers = vec![stem.to_owned()];
        for (stage, filters) in [16, 32, 64].into_iter().enumerate() {
            for i in 0..BLOCKS {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                layers.push(block(&format!("layer{}.{i}", stage + 1), filters, stride));
            }
        }
        layers.push("\"global_avg_pool\"".to_owned());
        layers.push("{ linear = { name = \"fc\", out_features = \"classes\" } }".to_owned());
        format!("[{}]", layers.join(",\n"))
    }
}

//! The arguments of `convert`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use cortical_io::{Element, Rename, TensorType};
use cortical_kernels::quantized::Format;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical convert pytorch_model.bin model.safetensors --dtype bf16\n  cortical convert checkpoint.pt model.safetensors --rename 'state_dict.*=*' --rename 'optimizer.*='\n  cortical convert models/large models/split --shard 2GB\n  cortical convert model.gguf numbers.safetensors --dtype f16\n  cortical convert model.gguf smaller.gguf --dtype q4_k\n  cortical convert models/smollm2 smollm2.gguf --dtype q8_0\n  cortical convert arrays.npz arrays.safetensors\n\nThe ending of OUT says the format: .safetensors, .gguf, .npz, or none for a folder of safetensors files. Whatever the size of the model, only pieces of it are in memory. Nothing in a file of PyTorch's is executed."
)]
pub(crate) struct ConvertArgs {
    /// A safetensors file, its index or folder, a GGUF file, what torch.save wrote, or .npy and .npz
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// What to write
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// What becomes of numbers with fractions; they stay as they are when absent. Quantized ones are for GGUF
    #[arg(long, value_name = "TYPE", value_parser = dtypes())]
    pub(crate) dtype: Option<TensorType>,
    /// The most bytes of a safetensors file, such as 2GB or 500MB; more files and an index where that is not enough
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) shard: Option<u64>,
    /// Other names: 'a.*=b.*'; the first rule that fits counts, and without a new name tensors are left out
    #[arg(long, value_name = "RULE")]
    pub(crate) rename: Vec<Rename>,
    /// Replace what stands at OUT
    #[arg(long)]
    pub(crate) force: bool,
}

/// The types that can be made.
const TYPES: [(&str, TensorType); 8] = [
    ("f32", TensorType::Plain(Element::F32)),
    ("f16", TensorType::Plain(Element::F16)),
    ("bf16", TensorType::Plain(Element::BF16)),
    ("f64", TensorType::Plain(Element::F64)),
    ("q8_0", TensorType::Quantized(Format::Q8_0)),
    ("q4_0", TensorType::Quantized(Format::Q4_0)),
    ("q4_1", TensorType::Quantized(Format::Q4_1)),
    ("q4_k", TensorType::Quantized(Format::Q4K)),
];

fn dtypes() -> impl TypedValueParser<Value = TensorType> {
    PossibleValuesParser::new(TYPES.map(|(name, _)| name)).map(|name| {
        let found = TYPES.into_iter().find(|(known, _)| *known == name);
        found.expect("the parser lets only these through").1
    })
}

/// A number of bytes with or without a unit: powers of 1000, and of 1024 with an `i`.
fn size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit.trim().to_lowercase().as_str() {
        "" | "b" => Some(1),
        "kb" => Some(1_000),
        "mb" => Some(1_000_000),
        "gb" => Some(1_000_000_000),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gib" => Some(1 << 30),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(factor);
    let bytes = bytes.and_then(|(number, factor)| number.checked_mul(factor));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "expected a size such as 2GB or 500MB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("2GB"), Ok(2_000_000_000));
        assert_eq!(size("5 MiB"), Ok(5 << 20));
        assert_eq!(size("17"), Ok(17));
        for text in ["", "GB", "2TB", "0", "-1", "1.5GB", "99999999999GB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}

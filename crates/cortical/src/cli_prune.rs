//! The arguments of `prune`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use cortical_train::Override;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical prune runs/digits-001 --out runs/half --neurons 0.5\n  cortical prune runs/digits-001 --out runs/fast --target-latency 20ms\n  cortical prune runs/digits-001 --out runs/sparse --sparsity 0.9 --ramp 0.5 --epochs 3 --pack\n  cortical prune runs/digits-001 --out runs/ticket --sparsity 0.8 --rewind\n  cortical prune smollm2.gguf --out smollm2-half --sparsity 0.5 --method wanda --calibrate notes.txt\n  cortical prune smollm2.gguf --out smollm2-narrow --intermediate 0.5",
    group = ArgGroup::new("amount").required(true).multiple(true)
)]
pub(crate) struct PruneArgs {
    /// The folder of a finished run; or a language model: a folder as Hugging Face has it or a GGUF file
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// The folder of the new run or model
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Remove this share of the neurons and channels of a network, which becomes smaller and faster
    #[arg(long, value_name = "SHARE", value_parser = share, group = "amount")]
    pub(crate) neurons: Option<f64>,
    /// Remove neurons until a pass takes no longer than this, such as 0.3ms
    #[arg(long, value_name = "TIME", value_parser = milliseconds, group = "amount", conflicts_with_all = ["neurons", "sparsity"])]
    pub(crate) target_latency: Option<f64>,
    /// Remove neurons until a pass is so many times as fast
    #[arg(long, value_name = "N", value_parser = speedup, group = "amount", conflicts_with_all = ["neurons", "sparsity", "target_latency"])]
    pub(crate) target_speedup: Option<f64>,
    /// Set this share of the weights to 0 for good; the model keeps its shape
    #[arg(long, value_name = "SHARE", value_parser = share, group = "amount", conflicts_with = "neurons")]
    pub(crate) sparsity: Option<f64>,
    /// Keep so many of each so many weights of a row, such as 2:4
    #[arg(long, value_name = "N:M", group = "amount", conflicts_with_all = ["neurons", "sparsity", "target_latency", "target_speedup"])]
    pub(crate) pattern: Option<String>,
    /// Remove this share of a language model's heads, each with the queries that share its keys and values
    #[arg(long, value_name = "SHARE", value_parser = share, group = "amount", conflicts_with_all = ["neurons", "sparsity", "pattern"])]
    pub(crate) heads: Option<f64>,
    /// Remove this share of the neurons of a language model's feed-forward parts
    #[arg(long, value_name = "SHARE", value_parser = share, group = "amount", conflicts_with_all = ["neurons", "sparsity", "pattern"])]
    pub(crate) intermediate: Option<f64>,
    /// What makes a weight or a neuron important: magnitude, random, movement for a network's weights, wanda for a
    /// language model
    #[arg(long, value_name = "NAME", default_value = "magnitude")]
    pub(crate) method: String,
    /// Look for the least important ones in the whole network (global), in each layer, or in each row. When absent:
    /// global for weights of a network, layer for neurons and language models, row for wanda
    #[arg(long, value_name = "NAME")]
    pub(crate) scope: Option<String>,
    /// The share of the training over which the sparsity rises; 0: at once
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share_or_all)]
    pub(crate) ramp: f64,
    /// Find the weights by what the whole training has made of them, then train again from the beginning, or from this
    /// step, without them: a lottery ticket
    #[arg(long, value_name = "STEP", num_args = 0..=1, default_missing_value = "0", requires = "sparsity")]
    pub(crate) rewind: Option<u64>,
    /// With --rewind: trainings after which weights go
    #[arg(long, value_name = "N", default_value_t = 1, requires = "rewind", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,
    /// Write pruned linear layers as the connections that are left, where this machine multiplies faster so: of single
    /// precision, or rounded to bf16. Their values are read by what knows compressed-tensors' sparse-bitmask
    #[arg(long, value_name = "PRECISION", num_args = 0..=1, default_missing_value = "f32")]
    pub(crate) pack: Option<String>,
    /// Names of weights that are left alone, such as fc2.*; may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// How often every sample is seen afterwards; 0 for no training. When absent: 1 for a network, 0 for a language
    /// model, as in RUN with --rewind
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<u64>,
    /// Base learning rate of that training; as in RUN when absent
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) lr: Option<f64>,
    /// Set any field of the new run's recipe; may be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<Override>,
    /// Measure the time for so many samples, or tokens, at once; may be repeated. The first is what a target is for
    #[arg(long, value_name = "N", default_values_t = [1, 64], value_parser = batch)]
    pub(crate) batch: Vec<usize>,
    /// A text that shows what a language model reads; the embedded novel when absent
    #[arg(long, value_name = "FILE")]
    pub(crate) calibrate: Option<PathBuf>,
    /// Tokens of it that are read
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = tokens)]
    pub(crate) tokens: usize,
    /// A text on which a language model's perplexity is measured; another part of the embedded novel when absent
    #[arg(long, value_name = "FILE")]
    pub(crate) test: Option<PathBuf>,
}

/// A share of what there is, not all of it.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if 0.0 < share && share < 1.0 => Ok(share),
        _ => Err("expected a share above 0 and below 1, such as 0.5".to_owned()),
    }
}

/// A share from nothing to all.
fn share_or_all(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share from 0 to 1, such as 0.5".to_owned()),
    }
}

/// A time in milliseconds.
fn milliseconds(text: &str) -> Result<f64, String> {
    let units = [("us", 1e-3), ("µs", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let found = units.iter().find_map(|(unit, ms)| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        Some(number * ms)
    });
    match found {
        Some(ms) if ms.is_finite() && ms > 0.0 => Ok(ms),
        _ => Err("expected a time with its unit, such as 0.3ms, 300us or 1s".to_owned()),
    }
}

/// How many times as fast.
fn speedup(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(times) if times > 1.0 && times <= 1e4 => Ok(times),
        _ => Err("expected a number above 1, such as 2".to_owned()),
    }
}

/// A number of samples.
fn batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=65_536).contains(&n) => Ok(n),
        _ => Err("expected a number from 1 to 65536".to_owned()),
    }
}

/// A number of tokens.
fn tokens(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=1 << 24).contains(&n) => Ok(n),
        _ => Err("expected a number from 1 to 16777216".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, want) in [
            ("0.3ms", 0.3),
            ("300us", 0.3),
            ("2 ms", 2.0),
            ("1s", 1000.0),
        ] {
            assert!((milliseconds(text).unwrap() - want).abs() < 1e-12, "{text}");
        }
        for text in ["", "3", "ms", "-1ms", "0ms", "infms", "1h"] {
            assert!(milliseconds(text).is_err(), "{text}");
        }
    }
}

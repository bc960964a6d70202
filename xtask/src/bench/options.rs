//! What `cargo xtask bench --peers` understands.

use super::instructions::InstructionSet;
use super::peer::Peer;
use crate::error::{Error, Result};
use std::path::PathBuf;

/// The arguments, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Numbers of threads to measure with, one after the other.
    pub(crate) threads: Vec<usize>,
    /// How often each side has its turn.
    pub(crate) rounds: usize,
    /// What both sides are held to, one after the other; everything that the machine has if there are none.
    pub(crate) isas: Vec<InstructionSet>,
    /// Who runs besides us.
    pub(crate) peers: Vec<Peer>,
    /// A Python that has the pinned PyTorch already.
    pub(crate) python: Option<PathBuf>,
    /// Parts of workloads' names; all workloads if there are none.
    pub(crate) names: Vec<String>,
    /// Whether only to build and install what will run, so that a measurement can then run undisturbed.
    pub(crate) install_only: bool,
    /// Whether everything that runs was built and installed before, by `--install`.
    pub(crate) ready: bool,
    /// Whether only to write the page and the chart anew from what was measured before.
    pub(crate) page_only: bool,
}

const USAGE: &str = "usage: cargo xtask bench --peers [--threads 1,2] [--rounds 15] [--isa amx,avx512,avx2] [--sides torch,candle-nn,burn-flex] \
                     [--fast] [--python PROGRAM] [--install | --ready | --page] [NAME…]";
/// What `--fast` measures: training, forward with backward, and inference of one.
const FAST: [&str; 4] = ["_train_", "_fwdbwd", "_b1", "_decode"];

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self {
            threads: vec![1, 2],
            rounds: 15,
            isas: Vec::new(),
            peers: Peer::ALL.to_vec(),
            python: None,
            names: Vec::new(),
            install_only: false,
            ready: false,
            page_only: false,
        };
        // First, so that what is said besides counts.
        let is_fast = args.iter().any(|arg| arg == "--fast");
        if is_fast {
            (options.rounds, options.peers) = (5, vec![Peer::Torch]);
        }
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().map(String::as_str).unwrap_or_default();
            match arg.as_str() {
                "--peers" | "--fast" => {}
                "--install" => options.install_only = true,
                "--ready" => options.ready = true,
                "--page" => options.page_only = true,
                "--threads" => options.threads = list(value(), |text| whole(text, 1024))?,
                "--isa" => options.isas = list(value(), InstructionSet::named)?,
                "--rounds" => options.rounds = whole(value(), 1000).ok_or_else(|| wrong(arg))?,
                "--sides" => options.peers = list(value(), Peer::named)?,
                "--python" => options.python = Some(PathBuf::from(value())),
                _ if arg.starts_with('-') => return Err(wrong(arg)),
                _ => options.names.push(arg.clone()),
            }
        }
        if options.names.is_empty() && is_fast {
            options.names = FAST.map(str::to_owned).to_vec();
        }
        Ok(options)
    }
}

/// Parts that are separated by commas.
fn list<T>(text: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
    let parts = text
        .split(',')
        .map(|part| read(part).ok_or_else(|| wrong(part)));
    parts.collect()
}

fn whole(text: &str, most: usize) -> Option<usize> {
    text.parse().ok().filter(|n| (1..=most).contains(n))
}

fn wrong(got: &str) -> Error {
    Error::UnknownArgument {
        verb: "bench --peers",
        got: got.to_owned(),
        expected: USAGE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&args)
    }

    #[test]
    fn arguments_may_come_in_any_order() {
        let options = parse("mlp --threads 2,4 --peers --rounds 5 cnn --sides torch").unwrap();
        assert_eq!(options.threads, [2, 4]);
        assert_eq!((options.rounds, options.peers), (5, vec![Peer::Torch]));
        assert_eq!(options.names, ["mlp", "cnn"]);
        assert!(!options.install_only && !options.page_only);
        let options = parse("--peers --isa avx2,avx512").unwrap();
        let [_, avx512, avx2] = InstructionSet::ALL;
        assert_eq!(options.isas, [avx2, avx512]);
        assert!(parse("--peers --install").unwrap().install_only);
        assert!(parse("--peers --ready").unwrap().ready);
    }

    #[test]
    fn the_fast_way_is_a_few_rounds_of_a_few_beside_pytorch() {
        let options = parse("--fast --peers").unwrap();
        assert_eq!((options.rounds, options.peers), (5, vec![Peer::Torch]));
        assert_eq!(options.names, FAST);
        let options = parse("--peers cnn --rounds 2 --sides burn-flex --fast").unwrap();
        assert_eq!((options.rounds, options.peers), (2, vec![Peer::Burn]));
        assert_eq!(options.names, ["cnn"]);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (line, got) in [
            ("--peers --quick", "--quick"),
            ("--peers --threads 0", "0"),
            ("--peers --threads 1,", ""),
            ("--peers --rounds", "--rounds"),
            ("--peers --sides torch,jax", "jax"),
            ("--peers --isa sse", "sse"),
        ] {
            let message = parse(line).expect_err(line).to_string();
            let expected = format!("`bench --peers` does not understand `{got}`; usage: ");
            assert!(message.starts_with(&expected), "{message}");
        }
    }
}

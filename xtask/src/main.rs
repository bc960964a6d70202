//! The workspace's own chores, in Rust so that they run wherever the crates do: `cargo xtask help`.

mod allowed;
mod audit;
mod bench;
mod cases;
mod ci;
mod command;
mod error;
mod fetch;
mod fuzz;
mod manifest;
mod modules;
mod publish;
mod python;
mod rust_source;
mod survive;
mod tidy;
mod tree;

use error::{Error, Result};
use std::process::ExitCode;

const HELP: &str = "\
Chores of the Cortical workspace.

usage: cargo xtask VERB

  tidy            tiers, allowed dependencies, docs on every file, unsafe and files at home, ...
  ci              format, tidy, clippy, tests, doc tests, some thousand damaged files, docs, packages
  audit           licences, bans and sources of what we compile (installs cargo-deny into .cache/)
  bench [ARGS]    the criterion benches; ARGS go to criterion
  bench --peers   our workloads beside PyTorch, candle-nn and Burn, into docs/benchmarks.md
                  (--threads 1,2 --rounds 15 --isa amx,avx512,avx2 --sides torch,.. --python PROGRAM NAME..;
                  --fast: a few, in fewer rounds, beside PyTorch; --install: only what has to be built, --ready: it has been; --page: write the page anew)
  fetch [NAME..]  data and models into .cache/; lists them without a name, --all for all
  cases           computes the reference cases anew with the pinned PyTorch;
                  --run [--dir FOLDER] runs cases and counts passed, failed, skipped; --models checks published models
                  (--python PROGRAM: with a Python that has it already)
  publish         --dry-run: packs every published crate, lowest tier first, and builds each from its package;
                  --since REVISION asks cargo-semver-checks what programs that use them would miss
                  (--no-verify: packs only)
  survive         kills a training at each of its changes of the disk and resumes it (installs strace)
                  (--every N: at each Nth only)
  fuzz            gives the command 20,000 damaged and hostile files: no panic, no signal, none over 5 s or over twice the
                  file + 128 MiB (--minutes N, --cases N, --seed N; --case N: that one again)
  help            this text
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            // Wrong usage and work that failed have different exit codes, as the command itself does.
            ExitCode::from(match error {
                Error::UnknownVerb { .. } | Error::UnknownArgument { .. } => 2,
                _ => 1,
            })
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let (verb, rest) = match args.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("help", args),
    };
    match verb {
        "tidy" => no_arguments("tidy", rest).and_then(|()| tidy::run()),
        "ci" => no_arguments("ci", rest).and_then(|()| ci::run()),
        "audit" => no_arguments("audit", rest).and_then(|()| audit::run()),
        "bench" => bench::run(rest),
        "fetch" => fetch::run(rest),
        "cases" => cases::run(rest),
        "fuzz" => fuzz::run(rest),
        "publish" => publish::run(rest),
        "survive" => survive::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(Error::UnknownVerb {
            got: verb.to_owned(),
        }),
    }
}

fn no_arguments(verb: &'static str, args: &[String]) -> Result<()> {
    match args.first() {
        None => Ok(()),
        Some(got) => Err(Error::UnknownArgument {
            verb,
            got: got.clone(),
            expected: "it takes no arguments".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str], want: &str) {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let error = run(&args).expect_err("the arguments are wrong");
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn wrong_usage_is_told() {
        check(
            &["tidie"],
            "unknown verb `tidie`; run `cargo xtask help` to see the verbs there are",
        );
        check(
            &["ci", "--fast"],
            "`ci` does not understand `--fast`; it takes no arguments",
        );
    }
}

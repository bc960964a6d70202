//! The command `cortical`: train, resume, evaluate, predict and inspect neural networks, and run language models.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 75 stopped on request
//! with everything saved.

mod auto_columns;
mod cli;
mod cli_convert;
mod cli_language;
mod cli_observe;
mod cli_prune;
mod cli_search;
#[cfg(feature = "serve")]
mod cli_serve;
mod cli_shell;
mod dashboard;
mod done;
mod error;
mod escape;
mod out_file;
mod output;
mod progress;
mod result;
mod scores;
mod signals;
mod speed;
mod style;
mod table;
mod verbs;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use cortical_kernels::alloc::CachingAllocator;
use cortical_train::in_pool;
use serde_json::json;

use crate::cli::{Cli, Verb};
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;

// Activations that come back at every step need no fresh pages at every step.
#[global_allocator]
static ALLOCATOR: CachingAllocator = CachingAllocator::new();

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(refuse(&error)),
    };
    keep_caught_panics_quiet();
    let output = Output::new(cli.common.json, cli.common.quiet);
    let done = run(&cli, &output).and_then(|done| output.close().map(|()| done));
    match done {
        Ok(Done::Finished) => ExitCode::SUCCESS,
        Ok(Done::Differs) => ExitCode::FAILURE,
        Ok(Done::Stopped) => ExitCode::from(75),
        Err(error) => {
            output.error(&error);
            ExitCode::from(if error.is_usage() { 2 } else { 1 })
        }
    }
}

/// The crates whose panics `cortical-text` makes errors of.
const CAUGHT: [&str; 2] = ["/tokenizers-", "/minijinja-"];

/// Some checks of the crates that read tokenizers and templates are panics. `cortical-text` makes errors of them, which
/// say what a person needs to know.
fn keep_caught_panics_quiet() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_caught = panic
            .location()
            .is_some_and(|place| CAUGHT.iter().any(|part| place.file().contains(part)));
        if !is_caught {
            report(panic);
        }
    }));
}

fn run(cli: &Cli, output: &Output) -> Result<Done> {
    let common = &cli.common;
    // These compute from beginning to end, so all of it belongs to threads of a pool.
    let pooled = |work: &(dyn Fn() -> Result<Done> + Sync)| -> Result<Done> {
        in_pool(common.threads, work)?
    };
    match &cli.verb {
        Verb::Train(args) => verbs::train::train(args, common, output),
        Verb::Search(args) => verbs::search::run(args, common, output),
        Verb::Resume(args) => verbs::train::resume(args, common, output),
        Verb::Eval(args) => verbs::eval::eval(args, common, output),
        Verb::Predict(args) => verbs::predict::predict(args, common, output),
        Verb::Inspect(args) => verbs::inspect::inspect(args, output),
        Verb::Plan(args) => verbs::plan::plan(args, common, output),
        Verb::Diff(args) => verbs::diff::diff(args, output),
        Verb::Prune(args) => verbs::prune::prune(args, common, output),
        Verb::Neurons(args) => verbs::neurons::neurons(args, common, output),
        Verb::Verify(args) => verbs::verify::verify(args, common, output),
        Verb::Generate(args) => {
            pooled(&|| verbs::language::generate::generate(args, common, output))
        }
        Verb::Chat(args) => pooled(&|| verbs::language::chat::chat(args, common, output)),
        Verb::Logits(args) => pooled(&|| verbs::language::logits::logits(args, output)),
        Verb::Merge(args) => pooled(&|| verbs::language::merge::merge(args, output)),
        Verb::Convert(args) => pooled(&|| verbs::convert::convert(args, output)),
        Verb::Tokens(args) => verbs::language::tokens::tokens(args, output),
        #[cfg(feature = "serve")]
        Verb::Serve(args) => verbs::serve::serve(args, common, output),
        Verb::Perplexity(args) => pooled(&|| verbs::language::perplexity::perplexity(args, output)),
        Verb::Data(args) => verbs::data::data(args, output),
        Verb::Report(args) => verbs::report::report(args, output),
        Verb::Completions(args) => verbs::shell::completions(args, output),
        Verb::Man(args) => verbs::shell::man(args, output),
    }
}

/// Says what clap has to say: help on stdout, or what is wrong with the arguments. Returns the exit code.
fn refuse(error: &clap::Error) -> u8 {
    let wants_json = std::env::args_os().any(|arg| arg == "--json");
    let output = Output::new(wants_json, false);
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    if error.kind() == ErrorKind::DisplayVersion && wants_json {
        output.streamed(&about());
    } else if error.use_stderr() {
        let text = error.render().to_string();
        if std::env::args_os().any(|arg| escape::is_hostile(&arg.to_string_lossy())) {
            output.line(text.trim_end());
        } else {
            // Where stderr fails, nobody is left to be told.
            let _ = error.print();
        }
        let message = text.lines().next().unwrap_or_default();
        let message = message.trim_start_matches("error: ");
        output.streamed(&json!({ "error": message }));
    } else if let Err(why) = error.print()
        && why.kind() != std::io::ErrorKind::BrokenPipe
    {
        output.error(&Error::Stdout { why });
        return 1;
    }
    match output.close() {
        Ok(()) => code,
        Err(why) => {
            output.error(&why);
            1
        }
    }
}

/// What this program was built with.
fn features() -> Vec<&'static str> {
    let all = [
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
        ("serve", cfg!(feature = "serve")),
    ];
    let built = all.into_iter().filter(|(_, is_built)| *is_built);
    built.map(|(name, _)| name).collect()
}

/// The program and what it found of the machine, for `--version --json`.
fn about() -> serde_json::Value {
    json!({
        "name": "cortical",
        "version": env!("CARGO_PKG_VERSION"),
        "instruction_set": cortical_kernels::isa::current().name(),
        "threads": std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        "features": features(),
    })
}

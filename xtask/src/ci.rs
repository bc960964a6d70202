//! `ci`: everything that must hold before a change is taken in, cheapest first, stopping at the first failure.

use crate::command;
use crate::error::{Error, Result};
use crate::fuzz;
use crate::publish::{self, Verify};
use crate::tidy;
use crate::tree::root;
use std::path::Path;
use std::time::Instant;

/// A step's name and what it does.
type Step = (&'static str, fn(&Path) -> Result<()>);

const STEPS: &[Step] = &[
    ("format", |root| cargo(root, &["fmt", "--all", "--check"])),
    ("tidy", |_| tidy::run()),
    ("clippy", clippy),
    ("tests", |root| {
        cargo(root, &["test", "--workspace", "--all-targets", "--locked"])
    }),
    ("doc tests", |root| {
        cargo(root, &["test", "--workspace", "--doc", "--locked"])
    }),
    ("fuzz", fuzz::run_built),
    ("docs", docs),
    ("package", |root| publish::package(root, Verify::Not)),
];

/// Runs every step and prints how long each took.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let start = Instant::now();
    let mut taken = Vec::new();
    for (name, step) in STEPS {
        println!("==> {name}");
        let start = Instant::now();
        let result = step(&root);
        let seconds = start.elapsed().as_secs_f64();
        if let Err(error) = result {
            return Err(Error::Step {
                step: name,
                seconds,
                reason: error.to_string(),
            });
        }
        println!("<== {name}: {seconds:.1} s");
        taken.push(format!("{name} {seconds:.1} s"));
    }
    println!(
        "ci is green in {:.1} s: {}",
        start.elapsed().as_secs_f64(),
        taken.join(", ")
    );
    Ok(())
}

fn cargo(root: &Path, args: &[&str]) -> Result<()> {
    command::cargo(root).args(args).run()
}

fn clippy(root: &Path) -> Result<()> {
    let args = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    cargo(root, &args)
}

fn docs(root: &Path) -> Result<()> {
    command::cargo(root)
        .args(["doc", "--workspace", "--no-deps", "--locked"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
}

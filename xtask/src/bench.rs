//! `bench`: the criterion benches of the package `cortical-bench`, and with `--peers` the comparison with other
//! libraries.

mod chart;
mod compare;
pub(crate) mod documents;
mod idle;
mod instructions;
mod machine;
mod options;
mod page;
mod peer;
pub(crate) mod records;
mod sides;

use crate::command;
use crate::error::Result;
use crate::tree::root;

const PACKAGE: &str = "cortical-bench";

/// Runs the criterion benches, whose arguments are `args` (a filter, `--quick`, `--save-baseline NAME`), or compares
/// with others.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| arg == "--peers") {
        return compare::run(&root(), &options::Options::parse(args)?);
    }
    command::cargo(&root())
        .args(["bench", "--locked", "--package", PACKAGE, "--benches", "--"])
        .args(args)
        .run()
}

//! `bench`: the criterion benches of the package `cortical-bench`.

use crate::command;
use crate::error::{Error, Result};
use crate::tree::{Tree, root};

const PACKAGE: &str = "cortical-bench";

/// Runs the benches; `args` go to criterion (a filter, `--quick`, `--save-baseline NAME`).
pub(crate) fn run(args: &[String]) -> Result<()> {
    let tree = Tree::load()?;
    if !tree.packages.iter().any(|package| package.name == PACKAGE) {
        return Err(Error::NoPackage {
            package: PACKAGE,
            mend: "the benches live in benches/ once a crate has something to measure",
        });
    }
    command::cargo(&root())
        .args(["bench", "--locked", "--package", PACKAGE, "--"])
        .args(args)
        .run()
}

//! `cases`: computes the committed reference cases anew, with our own script and the pinned PyTorch.

use crate::command;
use crate::error::{Error, Result};
use crate::python::{NEEDS_PYTHON, environment};
use crate::tree::root;
use std::path::PathBuf;

const FOLDER: &str = "crates/cortical-conformance/cases";

/// Runs the script in a virtual environment that is made on first use, or with `--python PROGRAM`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let root = root();
    let cases = root.join(FOLDER);
    let python = match args {
        [] => environment(&root, "python", &cases.join("requirements.txt"))?,
        [flag, program] if flag == "--python" => PathBuf::from(program),
        [got, ..] => {
            return Err(Error::UnknownArgument {
                verb: "cases",
                got: got.clone(),
                expected:
                    "it takes nothing, or --python PROGRAM for a Python that has the pinned PyTorch"
                        .to_owned(),
            });
        }
    };
    // The script is given its folder relative to the root, so no path of this machine can end up in a case.
    command::new(&python, NEEDS_PYTHON)
        .within(&root)
        .args([format!("{FOLDER}/make_cases.py"), FOLDER.to_owned()])
        .run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_argument_is_told() {
        let error = run(&["--fast".to_owned()]).expect_err("there is no such argument");
        assert!(
            error
                .to_string()
                .starts_with("`cases` does not understand `--fast`; it takes nothing")
        );
    }
}

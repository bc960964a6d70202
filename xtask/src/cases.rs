//! `cases`: computes the committed reference cases anew, with our own script and the pinned PyTorch; runs the cases of
//! a folder; checks published models.

use crate::command;
use crate::error::{Error, Result};
use crate::python::{NEEDS_PYTHON, environment};
use crate::tree::root;
use std::path::{Path, PathBuf};

const FOLDER: &str = "crates/cortical-conformance/cases";

/// Runs the script in a virtual environment that is made on first use, or with `--python PROGRAM`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let root = root();
    let cases = root.join(FOLDER);
    let verb: Vec<&str> = args.iter().map(String::as_str).collect();
    let python = match args {
        _ if verb == ["--run"] => return conformance(&root, RUNNER, &[]),
        _ if matches!(verb[..], ["--run", "--dir", _] | ["--dir", _, "--run"]) => {
            let folder = verb.iter().find(|arg| !arg.starts_with("--"));
            // The runner starts in the root, so a folder is told from where this was started.
            let here = std::env::current_dir().map_err(Error::file("find", Path::new(".")))?;
            return conformance(&root, RUNNER, &[here.join(folder.unwrap_or(&"."))]);
        }
        _ if verb == ["--models"] => {
            return conformance(&root, "check-models", &[root.join(".cache")]);
        }
        [] => environment(&root, "python", &cases.join("requirements.txt"))?,
        [flag, program] if flag == "--python" => PathBuf::from(program),
        [got, ..] => {
            return Err(Error::UnknownArgument {
                verb: "cases",
                got: got.clone(),
                expected:
                    "it takes nothing, --python PROGRAM for a Python that has the pinned PyTorch, --run [--dir FOLDER], or --models"
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

const RUNNER: &str = "cortical-conformance";

/// Starts a program of the package that knows our crates; this one stays light.
pub(crate) fn conformance(root: &Path, program: &str, args: &[PathBuf]) -> Result<()> {
    command::cargo(root)
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "cortical-conformance",
        ])
        .args(["--bin", program, "--"])
        .args(args)
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

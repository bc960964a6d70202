//! `cases`: computes the committed reference cases anew, with our own script and the pinned PyTorch.

use crate::command;
use crate::error::{Error, Result};
use crate::tree::root;
use std::fs;
use std::path::{Path, PathBuf};

const FOLDER: &str = "crates/cortical-conformance/cases";
const NEEDS_PYTHON: &str = "install Python 3 with venv (apt-get install python3-venv)";

/// Runs the script in a virtual environment that is made on first use, or with `--python PROGRAM`.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let root = root();
    let cases = root.join(FOLDER);
    let python = match args {
        [] => environment(&root, &cases.join("requirements.txt"))?,
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

/// The Python of a virtual environment in `.cache/` that holds exactly what `requirements` names.
fn environment(root: &Path, requirements: &Path) -> Result<PathBuf> {
    let wanted = fs::read_to_string(requirements).map_err(Error::file("read", requirements))?;
    let home = root.join(".cache/python");
    let python = home.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    // Written last, so that an interrupted installation is started again.
    let stamp = home.join("installed.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    command::new("python3", NEEDS_PYTHON)
        .args(["-m", "venv", "--clear"])
        .args([&home])
        .run()?;
    command::new(&python, NEEDS_PYTHON)
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .args([requirements])
        .run()?;
    fs::write(&stamp, wanted).map_err(Error::file("write", &stamp))?;
    Ok(python)
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

    #[test]
    fn missing_requirements_are_told_before_anything_is_installed() {
        let root = root();
        let error = environment(&root, &root.join("no-such/requirements.txt"));
        let message = error.expect_err("there is no such file").to_string();
        assert!(message.starts_with("cannot read "), "{message}");
    }
}

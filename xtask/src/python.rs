//! Virtual environments of Python with pinned packages.

use crate::command;
use crate::error::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// What to say where there is no Python.
pub(crate) const NEEDS_PYTHON: &str = "install Python 3 with venv (apt-get install python3-venv)";

/// The Python of a virtual environment in `.cache/` that holds exactly what `requirements` names.
pub(crate) fn environment(root: &Path, name: &str, requirements: &Path) -> Result<PathBuf> {
    let wanted = fs::read_to_string(requirements).map_err(Error::file("read", requirements))?;
    let home = root.join(".cache").join(name);
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
    use crate::tree::root;

    #[test]
    fn missing_requirements_are_told_before_anything_is_installed() {
        let root = root();
        let error = environment(&root, "python", &root.join("no-such/requirements.txt"));
        let message = error.expect_err("there is no such file").to_string();
        assert!(message.starts_with("cannot read "), "{message}");
    }
}

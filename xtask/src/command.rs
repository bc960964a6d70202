//! Other programs: started, watched, and named in full when they fail.

use crate::error::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A program with its arguments, and what to do when it is not there.
pub(crate) struct Program {
    command: Command,
    mend: &'static str,
}

/// A program found on the path; `mend` tells a person without it what to install, or what it is for.
pub(crate) fn new(program: impl AsRef<OsStr>, mend: &'static str) -> Program {
    Program {
        command: Command::new(program),
        mend,
    }
}

/// The cargo that runs this xtask, in `folder`.
pub(crate) fn cargo(folder: &Path) -> Program {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    new(cargo, "install Rust from https://rustup.rs").within(folder)
}

impl Program {
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The command as a person would type it.
    pub(crate) fn line(&self) -> String {
        let program = Path::new(self.command.get_program());
        let program = program.file_name().unwrap_or(program.as_os_str());
        std::iter::once(program)
            .chain(self.command.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Runs it with its output on our own, and fails when it fails.
    pub(crate) fn run(mut self) -> Result<()> {
        // No chore asks a person anything, so a child that waits for an answer must see the end of input.
        self.command.stdin(Stdio::null());
        let status = self
            .command
            .status()
            .map_err(|source| self.not_started(source))?;
        self.judge(status)
    }

    /// Runs it and gives what it printed.
    pub(crate) fn read(mut self) -> Result<String> {
        self.command.stderr(Stdio::inherit());
        self.captured()
    }

    /// As `read`, for a program whose failure is an answer rather than an error.
    pub(crate) fn read_quietly(mut self) -> Result<String> {
        self.command.stderr(Stdio::null());
        self.captured()
    }

    /// Starts it, to be talked to through its input and output.
    pub(crate) fn start(mut self) -> Result<Child> {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        self.command
            .spawn()
            .map_err(|source| self.not_started(source))
    }

    fn captured(mut self) -> Result<String> {
        self.command.stdin(Stdio::null());
        let output = self
            .command
            .output()
            .map_err(|source| self.not_started(source))?;
        self.judge(output.status)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn not_started(&self, source: std::io::Error) -> Error {
        Error::Start {
            program: self.command.get_program().to_string_lossy().into_owned(),
            mend: self.mend,
            source,
        }
    }

    fn judge(&self, status: ExitStatus) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        Err(Error::Failed {
            line: self.line(),
            status: status.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::root;

    #[test]
    fn a_missing_program_says_what_to_do() {
        let error = new("no-such-program-anywhere", "install it with apt-get").run();
        let message = error.expect_err("it does not exist").to_string();
        assert!(
            message.starts_with("cannot start `no-such-program-anywhere`"),
            "{message}"
        );
        assert!(message.ends_with("install it with apt-get"), "{message}");
    }

    #[test]
    fn a_failing_program_is_named_with_its_arguments() {
        let error = cargo(&root()).args(["no-such-verb"]).read_quietly();
        let message = error.expect_err("cargo refuses it").to_string();
        assert!(
            message.contains("cargo no-such-verb` failed (exit status: 101)"),
            "{message}"
        );
    }

    #[test]
    fn output_is_read() {
        let version = cargo(&root())
            .args(["--version"])
            .read()
            .expect("cargo runs");
        assert!(version.starts_with("cargo 1."), "{version}");
    }
}

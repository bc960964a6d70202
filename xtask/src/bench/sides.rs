//! The programs that are compared: how each is built, and how one workload of it is run.

use super::PACKAGE;
use super::instructions::InstructionSet;
use super::options::Options;
use super::peer::Peer;
use crate::command::{self, Program};
use crate::error::{Error, Result};
use crate::python;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};

/// A program that is ready to run.
pub(crate) struct Side {
    /// `None` is ourselves.
    pub(crate) peer: Option<Peer>,
    program: PathBuf,
    /// What comes before the workload's name.
    args: Vec<String>,
}

/// Builds our own program and installs the others; the first of the result is our own.
pub(crate) fn install(root: &Path, options: &Options) -> Result<Vec<Side>> {
    if !options.ready {
        command::cargo(root)
            .args(["build", "--release", "--locked", "--package", PACKAGE])
            .args(["--bin", "workloads"])
            .run()?;
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let own = Side {
        peer: None,
        program: target.join("release/workloads"),
        args: Vec::new(),
    };
    let mut sides = vec![own];
    for peer in &options.peers {
        sides.push(match peer {
            Peer::Torch => torch(root, options)?,
            Peer::Candle => package(root, *peer, "candle", options)?,
            Peer::Burn => package(root, *peer, "burn", options)?,
        });
    }
    Ok(sides)
}

fn torch(root: &Path, options: &Options) -> Result<Side> {
    let folder = root.join("benches/peers/torch");
    let program = match &options.python {
        Some(program) => program.clone(),
        None => python::environment(root, "python-peers", &folder.join("requirements.txt"))?,
    };
    Ok(Side {
        peer: Some(Peer::Torch),
        program,
        args: vec![folder.join("torch_peer.py").to_string_lossy().into_owned()],
    })
}

/// A Cargo package outside the workspace, built beside it.
fn package(root: &Path, peer: Peer, folder: &str, options: &Options) -> Result<Side> {
    let target = root.join(".cache/peers").join(folder);
    if !options.ready {
        // In its own folder, so that the workspace's configuration is not its own.
        command::cargo(&root.join("benches/peers").join(folder))
            .args(["build", "--release", "--locked", "--target-dir"])
            .args([&target])
            .run()?;
    }
    Ok(Side {
        peer: Some(peer),
        program: target.join(format!("release/{folder}-peer")),
        args: Vec::new(),
    })
}

impl Side {
    pub(crate) fn name(&self) -> &'static str {
        self.peer.map_or("cortical", Peer::name)
    }

    /// The names of our own workloads that `names` pick.
    pub(crate) fn list(&self, root: &Path, names: &[String]) -> Result<Vec<String>> {
        let listing = command::new(&self.program, "it was built just now")
            .within(root)
            .args(["--list"])
            .args(names)
            .read()?;
        Ok(listing.lines().map(str::to_owned).collect())
    }

    /// Starts one workload in a process of its own, which is then warm and stands still; `None` if this side does not
    /// have it.
    pub(crate) fn start(
        &self,
        root: &Path,
        bench: &str,
        (isa, threads): (InstructionSet, usize),
        pin: bool,
    ) -> Result<Option<Running>> {
        let mut program = self.pinned(threads == 1 && pin).within(root);
        for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"] {
            program = program.env(variable, threads.to_string());
        }
        for (variable, value) in isa.limits(self.peer) {
            program = program.env(variable, value);
        }
        let mut child = program.args(&self.args).args(["--turns", bench]).start()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err(self.no_result(bench));
        };
        let mut running = Running {
            side: self.name(),
            bench: bench.to_owned(),
            child,
            input: Some(input),
            output: BufReader::new(output),
        };
        let warm = running.line()?;
        match (warm.is_empty(), self.peer) {
            (false, _) => running.stand_still(true)?,
            // It ended without a word.
            (true, Some(_)) => return Ok(None),
            (true, None) => return Err(self.no_result(bench)),
        }
        Ok(Some(running))
    }

    fn no_result(&self, bench: &str) -> Error {
        Error::NoResult {
            side: self.name(),
            bench: bench.to_owned(),
        }
    }

    /// On one processor alone, if there is a program that does that.
    fn pinned(&self, pin: bool) -> Program {
        let mend = "`cargo xtask bench --peers --install` builds and installs what is compared";
        if pin {
            // The first processor also serves most of the system's interrupts.
            let last = std::thread::available_parallelism().map_or(0, |n| n.get() - 1);
            command::new("taskset", "it is part of util-linux")
                .args(["-c".to_owned(), last.to_string()])
                .args([&self.program])
        } else {
            command::new(&self.program, mend)
        }
    }
}

/// Whether a process can be kept on one processor.
pub(crate) fn can_pin() -> bool {
    command::new("taskset", "")
        .args(["-c", "0", "true"])
        .read_quietly()
        .is_ok()
}

/// A side at one workload. Its process stands still, spinning threads and all, while it is another's turn.
pub(crate) struct Running {
    side: &'static str,
    bench: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// Milliseconds of each of so many steps.
    pub(crate) fn turn(&mut self, steps: usize) -> Result<Vec<f64>> {
        self.stand_still(false)?;
        let asked = self
            .input
            .as_mut()
            .map(|input| writeln!(input, "{steps}").and_then(|()| input.flush()));
        let line = match asked {
            Some(Ok(())) => self.line()?,
            _ => String::new(),
        };
        self.stand_still(true)?;
        let times: Option<Vec<f64>> = serde_json::from_str(&line).ok();
        let times = times.filter(|times| times.len() == steps);
        times.ok_or_else(|| self.no_result())
    }

    /// What it says at its end.
    pub(crate) fn end(mut self) -> Result<Value> {
        self.stand_still(false)?;
        drop(self.input.take());
        let said = serde_json::from_str(&self.line()?);
        // Whatever it says afterwards is of no interest, and how it ends neither.
        let _ = self.child.wait();
        let said = said
            .ok()
            .filter(|said: &Value| said["bench"] == self.bench.as_str());
        said.ok_or_else(|| self.no_result())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(_) => Ok(line),
            Err(_) => Err(self.no_result()),
        }
    }

    fn no_result(&self) -> Error {
        Error::NoResult {
            side: self.side,
            bench: self.bench.clone(),
        }
    }

    fn stand_still(&self, still: bool) -> Result<()> {
        let signal = if still { "-STOP" } else { "-CONT" };
        command::new("kill", "it is part of procps")
            .args([signal.to_owned(), self.child.id().to_string()])
            .run()
    }
}

impl Drop for Running {
    /// Nobody is left waiting for a turn when a measurement fails.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The programs that are compared: how each is built, and how one workload of it is run.

use super::PACKAGE;
use super::options::Options;
use super::peer::Peer;
use crate::command::{self, Program};
use crate::error::{Error, Result};
use crate::python;
use serde_json::Value;
use std::path::{Path, PathBuf};

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

    /// Runs one workload in a process of its own and returns its line; `None` if this side does not have it.
    pub(crate) fn run(
        &self,
        root: &Path,
        bench: &str,
        threads: usize,
        pin: bool,
    ) -> Result<Option<Value>> {
        let mut program = self.pinned(threads == 1 && pin).within(root);
        for variable in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"] {
            program = program.env(variable, threads.to_string());
        }
        let output = program.args(&self.args).args([bench]).read()?;
        let lines: Vec<Value> = output
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["bench"] == bench)
            .collect();
        match lines.into_iter().next() {
            Some(line) if line["ms"].is_f64() => Ok(Some(line)),
            None if self.peer.is_some() => Ok(None),
            _ => Err(Error::NoResult {
                side: self.name(),
                bench: bench.to_owned(),
            }),
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

//! Kills a training at every change that it makes to the disk, fails each of them, and compares what comes after with
//! an undisturbed run.
//!
//! strace does it: it counts the system calls of a run, and then kills the process at the first, second, third … of
//! each kind (`inject=CALL:signal=SIGKILL:when=N`), or has the call fail as on a full or broken disk (`error=ENOSPC`,
//! `error=EIO`). After each run a second one resumes; it must end with the same `model.safetensors`, byte by byte. Some
//! runs more are killed at random moments.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::{command, tree};

/// A run of half a second with everything that has state: dropout, accumulation, averages, a learning rate that waits
/// for tests.
const RECIPE: &str = r#"version = 2
[data]
name = "iris"
[model]
kind = "mlp"
hidden = [8]
dropout = 0.2
[optim]
kind = "adamw"
lr = 0.02
clip_norm = 1.0
[schedule]
kind = "plateau"
patience = 1
[train]
epochs = 4
batch_size = 11
accumulate = 3
label_smoothing = 0.1
mixup = 0.2
prefetch = 2
[average]
kind = "ema"
decay = 0.9
[checkpoint]
every_steps = 3
keep_best = 2
[log]
every_steps = 2
"#;

/// The calls that change the disk.
const CALLS: [&str; 6] = ["write", "fsync", "fdatasync", "rename", "mkdir", "unlink"];
/// Runs that are killed at random moments.
const RANDOM: u32 = 40;
/// How long a run may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(120);

/// What is done to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    Kill,
    NoSpace,
    BrokenDisk,
}

impl Blow {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::NoSpace => "ENOSPC",
            Self::BrokenDisk => "EIO",
        }
    }

    fn injection(self, call: &str, when: usize) -> String {
        let what = match self {
            Self::Kill => "signal=SIGKILL",
            Self::NoSpace => "error=ENOSPC",
            Self::BrokenDisk => "error=EIO",
        };
        format!("inject={call}:{what}:when={when}")
    }
}

/// How many runs of a kind there were, and how many ended as the undisturbed one.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    runs: usize,
    identical: usize,
}

/// Runs the chore. `--every N` takes each Nth call only.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let every = match args {
        [] => 1,
        [flag, n] if flag == "--every" => {
            n.parse().ok().filter(|n| *n > 0).ok_or_else(|| wrong(n))?
        }
        [other, ..] => return Err(wrong(other)),
    };
    install_strace()?;
    let root = tree::root();
    command::cargo(&root)
        .args(["build", "--package", "cortical"])
        .run()?;
    let bench = Bench::new(&root)?;
    let calls = bench.count_calls()?;
    println!(
        "undisturbed: {} bytes of model; calls {calls:?}",
        bench.want.len()
    );

    let mut tallies: BTreeMap<(Blow, &str), Tally> = BTreeMap::new();
    let mut lost = Vec::new();
    for (&call, &count) in &calls {
        for blow in [Blow::Kill, Blow::NoSpace, Blow::BrokenDisk] {
            let tally = tallies.entry((blow, call)).or_default();
            for when in (1..=count).step_by(every) {
                let what = format!("{} at {call} {when}", blow.name());
                let identical = bench.strike(&blow.injection(call, when))?;
                tally.runs += 1;
                tally.identical += usize::from(identical);
                lost.extend((!identical).then_some(what));
            }
        }
    }
    let mut random = Tally::default();
    for i in 0..RANDOM {
        let after = bench.undisturbed.mul_f64(f64::from(i) / f64::from(RANDOM));
        random.runs += 1;
        if bench.kill_after(after)? {
            random.identical += 1;
        } else {
            lost.push(format!("SIGKILL after {after:?}"));
        }
    }
    report(&tallies, random);
    if lost.is_empty() {
        return Ok(());
    }
    Err(Error::NotIdentical { runs: lost })
}

fn wrong(got: &str) -> Error {
    Error::UnknownArgument {
        verb: "survive",
        got: got.to_owned(),
        expected: "it takes --every N, or nothing".to_owned(),
    }
}

fn report(tallies: &BTreeMap<(Blow, &str), Tally>, random: Tally) {
    println!("| what happens | at each | runs | resumed to the identical model |");
    println!("|---|---|---:|---:|");
    let mut all = random;
    for ((blow, call), tally) in tallies {
        println!(
            "| {} | `{call}` | {} | {} |",
            blow.name(),
            tally.runs,
            tally.identical
        );
        all.runs += tally.runs;
        all.identical += tally.identical;
    }
    println!(
        "| SIGKILL | random moments | {} | {} |",
        random.runs, random.identical
    );
    println!("| **all** | | {} | {} |", all.runs, all.identical);
}

fn install_strace() -> Result<()> {
    let there = Command::new("strace")
        .arg("-V")
        .stdout(Stdio::null())
        .status();
    if there.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    command::new("apt-get", "install strace by hand")
        .args(["install", "--yes", "--no-install-recommends", "strace"])
        .run()
}

/// Where runs are made and struck.
struct Bench {
    program: PathBuf,
    folder: PathBuf,
    /// The model of the undisturbed run, and how long that took.
    want: Vec<u8>,
    undisturbed: Duration,
}

impl Bench {
    fn new(root: &Path) -> Result<Self> {
        let folder = root.join(".cache/survive");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
        let recipe = folder.join("recipe.toml");
        fs::write(&recipe, RECIPE).map_err(Error::file("write", &recipe))?;
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let mut bench = Self {
            program: target.join("debug/cortical"),
            folder,
            want: Vec::new(),
            undisturbed: Duration::ZERO,
        };
        let started = Instant::now();
        bench.finish(bench.train(&[]))?;
        bench.undisturbed = started.elapsed();
        bench.want = bench.model()?;
        Ok(bench)
    }

    fn run_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    fn model(&self) -> Result<Vec<u8>> {
        let path = self.run_folder().join("model.safetensors");
        fs::read(&path).map_err(Error::file("read", path))
    }

    /// `cortical train` in an empty folder, under another program if one is given.
    fn train(&self, under: &[&str]) -> Command {
        let _ = fs::remove_dir_all(self.run_folder());
        let mut command = match under.split_first() {
            Some((program, args)) => {
                let mut command = Command::new(program);
                command.args(args).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(["train", "--quiet", "--threads", "1", "--recipe"]);
        command.arg(self.folder.join("recipe.toml"));
        command.arg("--out").arg(self.run_folder());
        command
    }

    fn resume(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["resume", "--quiet", "--threads", "2"]);
        command.arg(self.run_folder());
        command
    }

    /// Runs a command to its end, however it ends.
    fn finish(&self, mut command: Command) -> Result<bool> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let started = Instant::now();
        let mut child = command.spawn().map_err(Error::file("run", &self.program))?;
        loop {
            match child
                .try_wait()
                .map_err(Error::file("run", &self.program))?
            {
                Some(status) => return Ok(status.success()),
                None if started.elapsed() > STUCK => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Ok(false);
                }
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// How often the most busy thread of an undisturbed run makes each call.
    fn count_calls(&self) -> Result<BTreeMap<&'static str, usize>> {
        let log = self.folder.join("calls");
        let trace = format!("trace={}", CALLS.join(","));
        let log_text = log.to_string_lossy().into_owned();
        self.finish(self.train(&["strace", "-f", "-qq", "-e", &trace, "-o", &log_text]))?;
        let text = fs::read_to_string(&log).map_err(Error::file("read", &log))?;
        let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for line in text.lines() {
            // `1234  fsync(5) = 0`; what strace resumes was counted when it began.
            let Some((thread, call)) = line.split_once(char::is_whitespace) else {
                continue;
            };
            let name = call.trim_start().split('(').next().unwrap_or_default();
            *counts.entry((thread, name)).or_default() += 1;
        }
        let most = |call: &&'static str| {
            let of_call = counts.iter().filter(|((_, name), _)| name == call);
            (*call, of_call.map(|(_, count)| *count).max().unwrap_or(0))
        };
        Ok(CALLS.iter().map(most).collect())
    }

    /// One run with an injection, one that resumes; whether the model is that of the undisturbed run.
    fn strike(&self, injection: &str) -> Result<bool> {
        self.finish(self.train(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", injection]))?;
        self.is_identical_afterwards()
    }

    /// One run that is killed after a while.
    fn kill_after(&self, after: Duration) -> Result<bool> {
        let mut command = self.train(&[]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut child = command.spawn().map_err(Error::file("run", &self.program))?;
        std::thread::sleep(after);
        let _ = child.kill();
        let _ = child.wait();
        self.is_identical_afterwards()
    }

    fn is_identical_afterwards(&self) -> Result<bool> {
        if self.run_folder().join("recipe.toml").exists() {
            self.finish(self.resume())?;
        } else {
            // Struck before there was a run: nothing to resume, and nothing in the way of a new one.
            self.finish_anew()?;
        }
        Ok(self.model().is_ok_and(|model| model == self.want))
    }

    /// The same run once more in the folder as it was left.
    fn finish_anew(&self) -> Result<bool> {
        let mut command = Command::new(&self.program);
        command.args(["train", "--quiet", "--threads", "1", "--recipe"]);
        command.arg(self.folder.join("recipe.toml"));
        command.arg("--out").arg(self.run_folder());
        self.finish(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injections_are_what_strace_reads() {
        assert_eq!(
            Blow::Kill.injection("fsync", 3),
            "inject=fsync:signal=SIGKILL:when=3"
        );
        assert_eq!(
            Blow::NoSpace.injection("write", 1),
            "inject=write:error=ENOSPC:when=1"
        );
    }

    #[test]
    fn other_arguments_are_refused() {
        for args in [&["--fast"][..], &["--every", "0"], &["--every", "x"]] {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            let error = run(&args).expect_err("the arguments are wrong").to_string();
            assert!(error.contains("it takes --every N"), "{error}");
        }
    }
}

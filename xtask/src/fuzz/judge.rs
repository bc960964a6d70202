//! One run of the command, watched: how it ends, how long it takes, how much memory it has at most.

use super::targets::Target;
use crate::error::{Error, Result};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How much of a processor's time a case may take: on a busy machine it waits for more of others'.
const SECONDS_MAX: u64 = 5;
/// How long it may wait for whatever it waits for.
const WAIT_SECONDS_MAX: u64 = 120;
/// What `/proc` counts a process's time in: hundredths of a second on every Linux.
const TICKS: u64 = 100;
/// The address space of a process, in KiB: 2 GiB.
const ADDRESS_SPACE_KIB: u64 = 2 << 20;
/// What a process may have besides twice its file.
const MEMORY_BYTES: u64 = 128 << 20;
/// Success, failure, wrong usage, stopped on request.
const EXIT_CODES: [i32; 4] = [0, 1, 2, 75];

/// What became of a case.
pub(super) enum Verdict {
    /// The file was used.
    Done,
    /// It was refused with an error.
    Refused { said: String },
    /// The command did what it must not.
    Finding {
        what: String,
        /// What it said on stderr.
        said: String,
    },
}

pub(super) struct Judge {
    program: PathBuf,
}

impl Judge {
    pub(super) fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// The command under a limit of its address space, where the system knows one.
    pub(super) fn command(&self, args: &str, place: &Path) -> Command {
        let mut command = Command::new("sh");
        let limit = format!("ulimit -v {ADDRESS_SPACE_KIB} 2>/dev/null; exec \"$0\" \"$@\"");
        command.arg("-c").arg(limit).arg(&self.program);
        command
            .args(args.split_whitespace())
            .args(["--threads", "1"])
            .current_dir(place)
            .env("RUST_BACKTRACE", "0");
        command
    }

    pub(super) fn run(&self, target: &Target, place: &Path, bytes: u64) -> Result<Verdict> {
        let log = place.join("stderr");
        let errors = fs::File::create(&log).map_err(Error::file("make", &log))?;
        let mut child = self
            .command(target.args, place)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .map_err(Error::file("run", &self.program))?;
        let (started, mut peak) = (Instant::now(), 0);
        let status = loop {
            peak = peak.max(peak_bytes(child.id()));
            if let Some(status) = child
                .try_wait()
                .map_err(Error::file("wait for", &self.program))?
            {
                break Some(status);
            }
            let took = match busy(child.id()) {
                Some(busy) if started.elapsed() < Duration::from_secs(WAIT_SECONDS_MAX) => busy,
                _ => started.elapsed(),
            };
            if took > Duration::from_secs(SECONDS_MAX) {
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let mut said = Vec::new();
        let file = fs::File::open(&log).map_err(Error::file("read", &log))?;
        file.take(1 << 16)
            .read_to_end(&mut said)
            .map_err(Error::file("read", &log))?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let most = bytes.saturating_mul(2).saturating_add(MEMORY_BYTES);
        Ok(match judge(status, &said, peak, most) {
            Some(what) => Verdict::Finding { what, said },
            None if status.is_some_and(|status| status.success()) => Verdict::Done,
            None => Verdict::Refused { said },
        })
    }
}

/// What is wrong with the end of a process; `None` for its status if it took too long.
fn judge(status: Option<ExitStatus>, said: &str, peak: u64, most: u64) -> Option<String> {
    let Some(status) = status else {
        return Some(format!("it took more than {SECONDS_MAX} s"));
    };
    if said.contains("panicked at") {
        return Some("it panicked".to_owned());
    }
    match status.code() {
        None => Some(format!("it was ended by a signal ({status})")),
        Some(code) if !EXIT_CODES.contains(&code) => {
            Some(format!("it ended with exit code {code}"))
        }
        Some(_) if peak > most => Some(format!(
            "it had {} MiB of memory, more than {}",
            peak >> 20,
            most >> 20
        )),
        Some(_) => None,
    }
}

/// The time that a process has had a processor for so far, where `/proc` tells.
fn busy(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the command's name, which may have spaces: the state, and from the twelfth on the times.
    let mut times = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<u64>().ok();
    let all = ticks()?.checked_add(ticks()?)?;
    Some(Duration::from_millis(all * 1000 / TICKS))
}

/// The most memory that a process has had so far, where `/proc` tells; what it takes within its last millisecond is not
/// seen, but the limit of its address space holds there too.
fn peak_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn every_bad_end_is_found() {
        let code = |code: i32| Some(ExitStatus::from_raw(code << 8));
        let what = |status, said, peak| judge(status, said, peak, 10 << 20).unwrap_or_default();
        for good in EXIT_CODES {
            assert_eq!(what(code(good), "error: wrong", 10 << 20), "");
        }
        assert_eq!(what(None, "", 0), "it took more than 5 s");
        assert_eq!(
            what(code(1), "thread 'main' panicked at x", 0),
            "it panicked"
        );
        assert_eq!(what(code(101), "", 0), "it ended with exit code 101");
        assert!(what(Some(ExitStatus::from_raw(6)), "", 0).starts_with("it was ended by a signal"));
        assert_eq!(
            what(code(0), "", 11 << 20),
            "it had 11 MiB of memory, more than 10"
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_time_of_a_process_is_seen() {
        let process = std::process::id();
        let before = busy(process).expect("Linux tells");
        let started = Instant::now();
        while busy(process).expect("Linux tells") < before + Duration::from_millis(30) {
            assert!(started.elapsed() < Duration::from_secs(60));
        }
        assert!(started.elapsed() >= Duration::from_millis(10));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_memory_of_a_process_is_seen() {
        assert!(peak_bytes(std::process::id()) > 1 << 20);
    }
}

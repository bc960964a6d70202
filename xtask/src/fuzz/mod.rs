//! Feeds the command thousands of damaged and hostile files and judges how it ends: no panic, no signal, not for long,
//! and not with more memory than the file is worth.
//!
//! Case number N of a seed is always the same: the generator starts anew for each. `seeds` makes what is whole,
//! `mutate` damages it as each format invites it, `judge` runs the command in a process of its own and looks on.

mod checksums;
mod gguf;
mod judge;
mod mutate;
mod random;
mod seeds;
mod targets;

use crate::error::{Error, Result};
use crate::{command, tree};
use judge::{Judge, Verdict};
use random::Random;
use seeds::Seeds;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use targets::{TARGETS, Target};

/// How many cases `ci` runs.
const CI_CASES: u64 = 3000;

/// What is asked for.
struct Plan {
    seed: u64,
    cases: std::ops::Range<u64>,
    until: Option<Duration>,
}

impl Plan {
    fn read(args: &[String]) -> Result<Self> {
        let mut plan = Self {
            seed: 1,
            cases: 0..20_000,
            until: None,
        };
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            let number = args.next().and_then(|value| value.parse::<u64>().ok());
            match (flag.as_str(), number) {
                ("--seed", Some(seed)) => plan.seed = seed,
                ("--cases", Some(count)) => plan.cases = 0..count,
                ("--case", Some(case)) => plan.cases = case..case.saturating_add(1),
                ("--minutes", Some(minutes)) => {
                    plan.cases = 0..u64::MAX;
                    plan.until = Some(Duration::from_secs(minutes.saturating_mul(60)));
                }
                _ => {
                    return Err(Error::UnknownArgument {
                        verb: "fuzz",
                        got: flag.clone(),
                        expected: "it takes --minutes N, --cases N, --case N and --seed N"
                            .to_owned(),
                    });
                }
            }
        }
        Ok(plan)
    }
}

/// Runs the chore: 20,000 cases, or as many as asked for.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let plan = Plan::read(args)?;
    let root = tree::root();
    command::cargo(&root)
        .args([
            "build",
            "--quiet",
            "--locked",
            "--workspace",
            "--bin",
            "cortical",
        ])
        .run()?;
    search(&plan, &root)
}

/// A few thousand cases for the command as `ci` has built it for its tests.
pub(crate) fn run_built(root: &Path) -> Result<()> {
    let plan = Plan {
        seed: 1,
        cases: 0..CI_CASES,
        until: None,
    };
    search(&plan, root)
}

fn search(plan: &Plan, root: &Path) -> Result<()> {
    let folder = root.join(".cache/fuzz");
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).map_err(Error::file("make", &folder))?;
    // A copy, so that what is built meanwhile changes nothing.
    let (built, program) = (target.join("debug/cortical"), folder.join("cortical"));
    fs::copy(&built, &program).map_err(Error::file("copy", built))?;
    let judge = Judge::new(program);
    let seeds = Seeds::make(root, &folder, &judge)?;
    whole(&seeds, &judge, &folder)?;
    let started = Instant::now();
    let shared = Bench {
        plan,
        judge: &judge,
        seeds: &seeds,
        folder: &folder,
        next: AtomicU64::new(plan.cases.start),
        found: Mutex::default(),
        done: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    };
    let bench = &shared;
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers)
            .map(|worker| scope.spawn(move || bench.work(worker, started)))
            .collect();
        for worker in running {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok::<_, Error>(())
    })?;
    let found = shared
        .found
        .into_inner()
        .unwrap_or_else(|lock| lock.into_inner());
    println!(
        "fuzz: {} cases of seed {} in {:.0} s, {} refused, {} findings",
        shared.done.into_inner(),
        plan.seed,
        started.elapsed().as_secs_f64(),
        shared.refused.into_inner(),
        found.len()
    );
    match found.is_empty() {
        true => Ok(()),
        false => Err(Error::Findings { cases: found }),
    }
}

/// Every file is used before it is damaged: damage to what is refused anyway would show nothing.
fn whole(seeds: &Seeds, judge: &Judge, folder: &Path) -> Result<()> {
    let place = folder.join("whole");
    for target in TARGETS {
        seeds.copy(target, &place)?;
        let file = place.join(target.file);
        if target.is_checkpoint {
            checksums::mend_checkpoint(&file)?;
        }
        let bytes = fs::metadata(&file)
            .map_err(Error::file("read", &file))?
            .len();
        let said = match judge.run(target, &place, bytes)? {
            Verdict::Done => continue,
            Verdict::Refused { said } => said,
            Verdict::Finding { what, said } => format!("{what}: {said}"),
        };
        return Err(Error::Seed {
            name: target.name,
            said: said.trim().to_owned(),
        });
    }
    Ok(())
}

/// What the workers share.
struct Bench<'a> {
    plan: &'a Plan,
    judge: &'a Judge,
    seeds: &'a Seeds,
    folder: &'a Path,
    next: AtomicU64,
    found: Mutex<Vec<String>>,
    done: AtomicU64,
    refused: AtomicU64,
}

impl Bench<'_> {
    fn work(&self, worker: usize, started: Instant) -> Result<()> {
        let place = self.folder.join(format!("worker-{worker}"));
        loop {
            let case = self.next.fetch_add(1, Ordering::Relaxed);
            let is_over = self
                .plan
                .until
                .is_some_and(|until| started.elapsed() >= until);
            if case >= self.plan.cases.end || is_over {
                return Ok(());
            }
            self.case(case, &place)?;
        }
    }

    fn case(&self, case: u64, place: &Path) -> Result<()> {
        let mut random = Random::new(self.plan.seed, case);
        // Every kind in turn, so that a few cases meet all.
        let target = &TARGETS[(case % TARGETS.len() as u64) as usize];
        self.seeds.copy(target, place)?;
        let file = place.join(target.file);
        let whole = fs::read(&file).map_err(Error::file("read", &file))?;
        let damaged = mutate::mutate(target.format, &whole, &mut random);
        fs::write(&file, &damaged).map_err(Error::file("write", &file))?;
        if target.is_checkpoint {
            checksums::mend_checkpoint(&file)?;
        }
        let verdict = self.judge.run(target, place, damaged.len() as u64)?;
        self.done.fetch_add(1, Ordering::Relaxed);
        match verdict {
            Verdict::Done => {}
            Verdict::Refused { .. } => {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            Verdict::Finding { what, said } => self.keep(case, target, &file, &what, &said)?,
        }
        Ok(())
    }

    /// Tells of a finding and keeps its file.
    fn keep(&self, case: u64, target: &Target, file: &Path, what: &str, said: &str) -> Result<()> {
        let seed = self.plan.seed;
        let kept = self.folder.join(format!("findings/{seed}-{case}"));
        fs::create_dir_all(&kept).map_err(Error::file("make", &kept))?;
        let name = Path::new(target.file).file_name().unwrap_or_default();
        fs::copy(file, kept.join(name)).map_err(Error::file("copy", file))?;
        println!(
            "finding: case {case}, {}: {what}\n  cortical {}\n  file: {}\n  again: cargo xtask fuzz --seed {seed} --case {case}",
            target.name,
            target.args,
            kept.join(name).display()
        );
        for line in said.lines().take(6) {
            println!("  | {line}");
        }
        let mut found = self.found.lock().unwrap_or_else(|lock| lock.into_inner());
        found.push(format!("{case} ({}: {what})", target.name));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Plan> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Plan::read(&args)
    }

    #[test]
    fn arguments_are_read_and_others_refused() {
        let plan = read(&["--seed", "3", "--case", "7"]).expect("both are known");
        assert_eq!((plan.seed, plan.cases), (3, 7..8));
        let plan = read(&["--minutes", "2"]).expect("it is known");
        assert_eq!(plan.until, Some(Duration::from_secs(120)));
        for args in [&["--fast"][..], &["--cases"], &["--seed", "x"]] {
            let error = read(args)
                .err()
                .expect("the arguments are wrong")
                .to_string();
            assert!(error.contains("it takes --minutes N"), "{error}");
        }
    }
}

//! Runs workloads and prints a JSON line for each: `workloads [--threads N] [--list | --turns] [NAME…]`.
//!
//! A name picks every workload whose own name contains it; without one all of them run. With `--list` their names are
//! printed instead. Threads are as many as asked for, or as `RAYON_NUM_THREADS` says, or one for each processor.
//!
//! With `--turns` one workload, named in full, takes turns with another program's: when it is warm, and after each
//! turn, it prints the milliseconds of the turn's steps as a JSON array, and a line of input says how many steps the
//! next turn has. The end of the input ends the run.

use cortical_bench::error::{Error, Result};
use cortical_bench::measure::Turns;
use cortical_bench::workloads::{Size, all, chosen};
use cortical_kernels::alloc::CachingAllocator;
use cortical_kernels::roofline::Roofline;
use std::io::{BufRead, Write};
use std::process::ExitCode;
use std::time::Duration;

// Activations that come back at every step need no fresh pages at every step.
#[global_allocator]
static ALLOCATOR: CachingAllocator = CachingAllocator::new();

/// How long each limit of the machine is measured.
const ROOFLINE_EFFORT: Duration = Duration::from_millis(150);

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if error.is_usage() { 2 } else { 1 })
        }
    }
}

#[derive(Default)]
struct Arguments {
    threads: Option<usize>,
    list: bool,
    turns: bool,
    names: Vec<String>,
}

impl Arguments {
    fn parse(args: impl Iterator<Item = String>) -> Result<Self> {
        let mut parsed = Self::default();
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.strip_prefix("--threads") {
                Some("") => parsed.threads = Some(threads(&args.next().unwrap_or_default())?),
                Some(rest) if rest.starts_with('=') => parsed.threads = Some(threads(&rest[1..])?),
                _ if arg == "--list" => parsed.list = true,
                _ if arg == "--turns" => parsed.turns = true,
                _ if arg.starts_with('-') => return Err(Error::UnknownOption { got: arg }),
                _ => parsed.names.push(arg),
            }
        }
        Ok(parsed)
    }
}

fn threads(text: &str) -> Result<usize> {
    let number = text.parse().ok().filter(|n| (1..=1024).contains(n));
    number.ok_or_else(|| Error::Threads {
        got: text.to_owned(),
    })
}

/// Turns of which the standard input says how long they are.
struct FromInput;

impl Turns for FromInput {
    fn next(&mut self, last: &[f64]) -> Option<usize> {
        let mut line = String::new();
        writeln!(std::io::stdout(), "{last:?}").ok()?;
        std::io::stdin().lock().read_line(&mut line).ok()?;
        line.trim().parse().ok()
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let mut workloads = chosen(all(Size::Full), &arguments.names)?;
    if arguments.turns {
        workloads.retain(|workload| arguments.names.iter().any(|name| name == workload.name()));
        if workloads.len() != 1 {
            return Err(Error::Turns {
                got: workloads.len(),
            });
        }
    }
    if arguments.list {
        // A reader that has gone away ends the run without fuss, here and below.
        let _ = workloads
            .iter()
            .try_for_each(|workload| writeln!(std::io::stdout(), "{}", workload.name()));
        return Ok(());
    }
    cortical_train::in_pool(arguments.threads, || {
        let mut limits = None;
        for workload in workloads {
            let row = match arguments.turns {
                true => workload.run_in_turns(&mut FromInput)?,
                false => workload.run()?,
            };
            // Measured behind the first workload, whose memory it would count as otherwise.
            let limits = limits.get_or_insert_with(|| Roofline::measure(ROOFLINE_EFFORT));
            if writeln!(std::io::stdout(), "{}", row.to_json(limits)).is_err() {
                return Ok(());
            }
        }
        Ok(())
    })?
}

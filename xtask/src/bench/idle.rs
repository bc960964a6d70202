//! Whether the machine has anything else to do.

use std::fs;
use std::time::Duration;

/// How long the machine is watched.
const WATCHED: Duration = Duration::from_millis(300);
/// The part of the processors' time that a system uses for itself.
const QUIET: f64 = 0.04;

/// Says so where other programs are at work while all sides stand still.
pub(crate) fn warn() {
    let before = times();
    std::thread::sleep(WATCHED);
    if let (Some(before), Some(after)) = (before, times()) {
        let busy = busy(before, after);
        if busy > QUIET {
            println!(
                "warning: other programs use {:.0} % of this machine, which shows in what is measured now",
                busy * 100.0
            );
        }
    }
}

/// Ticks of all processors since the start: all, and those without work.
fn times() -> Option<[u64; 2]> {
    parsed(&fs::read_to_string("/proc/stat").ok()?)
}

fn parsed(stat: &str) -> Option<[u64; 2]> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Option<Vec<u64>> = line
        .split_whitespace()
        .map(|tick| tick.parse().ok())
        .collect();
    let ticks = ticks?;
    // Idle, and waiting for a disk.
    Some([ticks.iter().sum(), ticks.get(3..5)?.iter().sum()])
}

fn busy([all_before, idle_before]: [u64; 2], [all, idle]: [u64; 2]) -> f64 {
    let (all, idle) = (all - all_before, idle - idle_before);
    match all {
        0 => 0.0,
        all => (all - idle.min(all)) as f64 / all as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_tell_how_busy_a_machine_was() {
        let before = parsed("cpu  100 0 20 1000 5 0 0 0 0 0\ncpu0 1 2\n").unwrap();
        let after = parsed("cpu  130 0 20 1060 15 0 0 0 0 0\n").unwrap();
        assert_eq!(busy(before, after), 0.3);
        assert_eq!(busy(after, after), 0.0);
        assert_eq!(parsed("no processors"), None);
        assert_eq!(parsed("cpu  1 2\n"), None);
    }
}

//! What was measured on: processor, memory, limits, versions, date.

use super::options::Options;
use super::peer::Peer;
use crate::command;
use crate::error::{Error, Result};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Titles and facts; `own` is a line of our own program. A fact of `before` stays if this run cannot tell it.
pub(crate) fn describe(
    root: &Path,
    options: &Options,
    own: &Value,
    before: &[(String, String)],
) -> Result<Vec<(String, String)>> {
    let mut facts: Vec<(String, String)> = before.to_vec();
    let mut say = |title: &str, fact: Option<String>| {
        let Some(fact) = fact.filter(|fact| !fact.is_empty()) else {
            return;
        };
        match facts.iter_mut().find(|(known, _)| known == title) {
            Some((_, known)) => *known = fact,
            None => facts.push((title.to_owned(), fact)),
        }
    };
    say("Processor", processor());
    say("Memory", memory());
    let number = |key: &str| own[key].as_f64().unwrap_or_default();
    let limits = own["peak_gflops"].is_f64().then(|| {
        format!(
            "{:.0} GFLOP/s, {:.0} GB/s from cache, {:.0} GB/s from memory",
            number("peak_gflops"),
            number("cache_gb_s"),
            number("memory_gb_s")
        )
    });
    let threads = own["threads"].as_u64().unwrap_or_default();
    say(&format!("Measured limits with {threads} thread(s)"), limits);
    say(
        "Compiler",
        command::new("rustc", "")
            .args(["--version"])
            .read_quietly()
            .ok()
            .map(trimmed),
    );
    let commit = ["rev-parse", "--short=10", "HEAD"];
    say(
        "Cortical",
        command::new("git", "")
            .within(root)
            .args(commit)
            .read_quietly()
            .ok()
            .map(trimmed),
    );
    for peer in &options.peers {
        say(peer.title(), Some(version(root, *peer)?));
    }
    Ok(facts)
}

fn trimmed(text: String) -> String {
    text.trim().to_owned()
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    let name = line.split(':').nth(1)?.trim();
    let threads = std::thread::available_parallelism().ok()?;
    Some(format!("{name}, {threads} hardware threads"))
}

fn memory() -> Option<String> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(format!("{:.0} GiB", kib / f64::from(1 << 20)))
}

/// The version that a side's own file pins.
fn version(root: &Path, peer: Peer) -> Result<String> {
    let (file, before) = match peer {
        Peer::Torch => ("torch/requirements.txt", "torch=="),
        Peer::Candle => ("candle/Cargo.toml", "candle-nn = \"="),
        Peer::Burn => ("burn/Cargo.toml", "burn = { version = \"="),
    };
    let path = root.join("benches/peers").join(file);
    let text = fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    let line = text.lines().find_map(|line| line.strip_prefix(before));
    let version = line.map(|rest| rest.split('"').next().unwrap_or_default());
    Ok(version.unwrap_or_default().to_owned())
}

/// Today in UTC, as `2026-11-25`.
pub(crate) fn today() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    date(seconds / 86_400)
}

/// The date so many days after the first of January 1970.
fn date(mut days: u64) -> String {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::root;

    #[test]
    fn days_become_dates() {
        for (days, want) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_453, "2025-12-31"),
            (20_782, "2026-11-25"),
        ] {
            assert_eq!(date(days), want);
        }
    }

    #[test]
    fn every_peer_pins_a_version() {
        for peer in Peer::ALL {
            let version = version(&root(), peer).expect("its file is there");
            assert!(
                version.split('.').count() == 3,
                "{}: {version:?}",
                peer.name()
            );
        }
    }
}

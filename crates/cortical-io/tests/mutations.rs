//! Thousands of damaged files of every format: none makes a panic, takes long, or takes much more memory than it has
//! bytes.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::Device;
use cortical_io::AnyModel;

/// Files that are damaged, and how often each.
const CASES: usize = 250;
/// What a file may take besides its size, and what the process itself keeps of freed memory.
const MEMORY_BYTES: u64 = 8 << 20;
const TIME_MAX: Duration = Duration::from_millis(100);

/// Numbers that are the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let mixed = (self.0 >> 33) ^ self.0;
        (mixed % limit.max(1) as u64) as usize
    }
}

/// One to three damages: bits, large and small numbers, pieces that are gone, doubled or somewhere else, a cut.
fn damaged(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            break;
        }
        // The heads of files are where they are most easily hurt.
        let reach = if random.below(2) == 0 {
            bytes.len()
        } else {
            bytes.len().min(600)
        };
        let at = random.below(reach);
        let len = (1 + random.below(24)).min(bytes.len() - at);
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, b'.', b'(', b'R'][random.below(8)],
            2 => {
                let value = [
                    0,
                    1,
                    u64::MAX,
                    1 << 31,
                    1 << 32,
                    1 << 40,
                    i64::MAX as u64,
                    1 << 62,
                ][random.below(8)];
                let width = [2, 4, 8][random.below(3)];
                let place = bytes.iter_mut().skip(at).take(width);
                place
                    .zip(value.to_le_bytes())
                    .for_each(|(byte, new)| *byte = new);
            }
            3 => drop(bytes.drain(at..at + len)),
            4 => {
                let piece = bytes[at..at + len].to_vec();
                let place = random.below(bytes.len() + 1);
                bytes.splice(place..place, piece);
            }
            5 => bytes.truncate(at),
            _ => {
                let piece = vec![
                    [b'9', b'[', b']', 0, 0xff, b'2'][random.below(6)];
                    1 + random.below(5000)
                ];
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// The most memory that this process has had; 0 where the system does not say.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// Opens a file, and reads its tensors as long as they are small.
fn use_up(path: &Path) -> bool {
    let Ok(model) = AnyModel::open(path) else {
        return false;
    };
    for tensor in model.tensors().iter().take(64) {
        if tensor.bytes() <= 1 << 16 {
            let _ = model.load(tensor.name(), &Device::Cpu);
            let mut numbers = vec![0.0; tensor.count().min(100)];
            let _ = model.read_numbers(tensor.name(), 0, &mut numbers);
        }
    }
    true
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension() {
            None if path.is_dir() => files(&path, found),
            Some(ending)
                if ["pt", "npz", "npy", "gguf", "safetensors"]
                    .iter()
                    .any(|e| ending == *e) =>
            {
                found.push(path);
            }
            _ => {}
        }
    }
}

#[test]
fn no_damage_makes_a_panic_or_takes_much() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut seeds = Vec::new();
    for folder in ["pytorch", "numpy", "gguf"] {
        files(&fixtures.join(folder), &mut seeds);
    }
    seeds.sort();
    let index = br#"{"metadata": {"total_size": 12}, "weight_map": {"a": "case"}}"#;
    let folder = tempfile::tempdir().unwrap();
    let (path, index_path) = (folder.path().join("case"), folder.path().join("case.json"));
    std::fs::write(&path, b"").unwrap();
    // What the libraries below take for themselves at their first use.
    for seed in &seeds {
        use_up(seed);
    }
    let (before, mut count, mut used, mut largest) = (peak_bytes(), 0, 0, 0);
    let contents = seeds
        .iter()
        .map(|seed| (std::fs::read(seed).unwrap(), &path));
    for (seed, (whole, path)) in contents.chain([(index.to_vec(), &index_path)]).enumerate() {
        for case in 0..CASES {
            let mut random = Random((seed * CASES + case) as u64);
            let bytes = damaged(&whole, &mut random);
            std::fs::write(path, &bytes).unwrap();
            // Slower than that three times is not the machine's doing.
            let took = (0..3).map(|_| {
                let started = Instant::now();
                used += usize::from(use_up(path));
                started.elapsed()
            });
            let quick = took.into_iter().any(|took| took <= TIME_MAX);
            assert!(quick, "seed {seed}, case {case} takes long");
            largest = largest.max(bytes.len() as u64);
            count += 1;
        }
    }
    assert!(
        count >= 5000 && used > 100,
        "{count} cases, {used} of them used"
    );
    let grown = peak_bytes() - before;
    assert!(
        grown <= largest + MEMORY_BYTES,
        "{grown} bytes more for files of at most {largest}"
    );
}

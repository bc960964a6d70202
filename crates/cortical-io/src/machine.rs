//! How much memory this machine has.

/// The bytes of memory that a process may use here: what the system says of RAM and swap, or the limit of its control
/// group where that is lower. `None` where the system does not say.
#[must_use]
pub fn machine_memory() -> Option<u64> {
    let whole = total(&std::fs::read_to_string("/proc/meminfo").ok()?)?;
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse().ok());
    Some(limit.map_or(whole, |limit: u64| limit.min(whole)))
}

/// RAM and swap from the text of Linux's `/proc/meminfo`, which counts in KiB.
fn total(meminfo: &str) -> Option<u64> {
    let entry = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    };
    Some(entry("MemTotal:")?.saturating_add(entry("SwapTotal:").unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_and_swap_add_up_and_other_text_says_nothing() {
        let text = "MemTotal:       16384 kB\nMemFree:  1 kB\nSwapTotal:  1024 kB\n";
        assert_eq!(total(text), Some((16384 + 1024) << 10));
        assert_eq!(total("MemTotal: 2 kB"), Some(2048));
        for text in [
            "",
            "MemTotal:",
            "MemTotal: many kB",
            "MemTotal: 5",
            "MemTotal: 18446744073709551615 kB",
        ] {
            assert_eq!(total(text), None, "{text}");
        }
    }
}

//! How much memory this machine has.

/// The bytes of memory that a process may use here: what the system says of RAM and swap, or the limit of its control
/// group or of its address space (`ulimit -v`) where that is lower. `None` where the system does not say.
#[must_use]
pub fn machine_memory() -> Option<u64> {
    let read = |path| std::fs::read_to_string(path).ok();
    let whole = total(&read("/proc/meminfo")?)?;
    let group = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    let process = read("/proc/self/limits").and_then(|text| address_space(&text));
    Some([group, process].into_iter().flatten().fold(whole, u64::min))
}

/// The bytes of memory that this process holds now. `None` where the system does not say.
#[must_use]
pub fn resident_memory() -> Option<u64> {
    resident(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// What a process holds, from the text of Linux's `/proc/self/status`, which counts in KiB.
fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The soft limit of the address space from the text of Linux's `/proc/self/limits`; `None` for none.
fn address_space(limits: &str) -> Option<u64> {
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
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
    fn what_a_process_holds_is_read() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t   2048 kB\n"), Some(2 << 20));
        assert_eq!(resident("Name:\tx\n"), None);
    }

    #[test]
    fn the_address_space_may_be_limited() {
        let line = |limit: &str| {
            format!("Max cpu time  1\nMax address space   {limit}  unlimited  bytes\n")
        };
        assert_eq!(address_space(&line("2147483648")), Some(2 << 30));
        assert_eq!(address_space(&line("unlimited")), None);
        assert_eq!(address_space(""), None);
    }

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

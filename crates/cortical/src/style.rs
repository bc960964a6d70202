//! A few colours, where somebody sees them.

use std::io::IsTerminal;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const END: &str = "\x1b[0m";

/// Colours on or off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    on: bool,
}

impl Style {
    /// Colours on a terminal, unless `NO_COLOR` is set or the terminal is dumb.
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            on: stream.is_terminal() && !unwanted && !dumb,
        }
    }

    /// No colours.
    pub(crate) fn plain() -> Self {
        Self { on: false }
    }

    /// Colours on or off, whatever the stream is.
    #[cfg(test)]
    pub(crate) fn new(on: bool) -> Self {
        Self { on }
    }

    /// The codes that it may write: none where it is off.
    pub(crate) fn codes(self) -> impl Iterator<Item = &'static str> {
        let all = [BOLD, DIM, RED, GREEN, YELLOW, END];
        all.into_iter().filter(move |_| self.on)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on {
            format!("{code}{text}{END}")
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint(BOLD, text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint(DIM, text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint(RED, text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint(GREEN, text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint(YELLOW, text)
    }
}

/// A whole number with separators: 1,199,882.
pub(crate) fn count(n: impl TryInto<u64>) -> String {
    let digits = n.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share as a percentage with two decimals.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// Sizes of a shape: 1×28×28; `scalar` for none.
pub(crate) fn shape(sizes: &[usize]) -> String {
    if sizes.is_empty() {
        return "scalar".to_owned();
    }
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    sizes.join("×")
}

/// A quantity for people: five digits.
pub(crate) fn number(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e9).contains(&size) {
        return format!("{x:.4e}");
    }
    let decimals = 4 - (size.log10().floor() as i64).min(4);
    let text = format!("{x:.*}", decimals.max(0) as usize);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A time for people.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{hours} h {minutes:02} min")
    } else {
        format!("{minutes} min {seconds:02} s")
    }
}

/// A number of bytes for people.
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = n as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    if unit == "bytes" {
        format!("{n} bytes")
    } else {
        format!("{size:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(
            [count(7_u64), count(1000_u64), count(1_199_882_u64)],
            ["7", "1,000", "1,199,882"]
        );
        assert_eq!(
            [duration(7.25), duration(61.0), duration(7260.0)],
            ["7.2 s", "1 min 01 s", "2 h 01 min"]
        );
        assert_eq!(
            [bytes(7), bytes(1536), bytes(5 << 30)],
            ["7 bytes", "1.5 KiB", "5.0 GiB"]
        );
        assert_eq!([shape(&[]), shape(&[1, 28, 28])], ["scalar", "1×28×28"]);
        assert_eq!(percent(0.97493), "97.49 %");
        let numbers = [
            0.0, 35.8179, -0.5, 12.0, 123456.7, 0.00123456, 1e-7, -2.5e12,
        ];
        let want = [
            "0",
            "35.818",
            "-0.5",
            "12",
            "123457",
            "0.0012346",
            "1.0000e-7",
            "-2.5000e12",
        ];
        assert_eq!(numbers.map(number), want);
    }
}

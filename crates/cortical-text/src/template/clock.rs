//! The time as templates ask for it: `strftime_now`, which transformers gives them.

use super::measure::refuse;
use minijinja::Error;
use std::time::{SystemTime, UNIX_EPOCH};

/// The most bytes of a format.
const FORMAT_BYTES: usize = 256;
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The time of now in UTC, as Python's `datetime.strftime` writes it in the C locale.
pub(super) fn strftime_now(format: &str) -> Result<String, Error> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let since = since.unwrap_or_default();
    strftime(format, since.as_secs(), since.subsec_micros())
}

/// A time by its parts.
struct Time {
    year: i64,
    /// From 0.
    month: usize,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micro: i64,
    /// From 0, a Sunday.
    weekday: i64,
    /// From 0.
    yearday: i64,
    seconds: u64,
}

impl Time {
    fn of(seconds: u64, micro: u32) -> Self {
        let (days, rest) = ((seconds / 86_400) as i64, (seconds % 86_400) as i64);
        // Years of 400 begin with March, so that a leap day is the last one.
        let from_march = days + 719_468;
        let (era, in_era) = (
            from_march.div_euclid(146_097),
            from_march.rem_euclid(146_097),
        );
        let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
        let in_year = in_era - (365 * year + year / 4 - year / 100);
        let month = (5 * in_year + 2) / 153;
        let day = in_year - (153 * month + 2) / 5 + 1;
        let month = (month + 2) % 12;
        let year = year + era * 400 + i64::from(month < 2);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month as usize];
        Self {
            year,
            month: month as usize,
            day,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
            micro: micro.into(),
            weekday: (days + 4).rem_euclid(7),
            yearday: before + day - 1 + i64::from(is_leap && month > 1),
            seconds,
        }
    }

    /// The year and week of ISO 8601: weeks begin with Mondays, and belong to the year of their Thursday.
    fn iso(&self) -> (i64, i64) {
        let monday = (self.weekday + 6) % 7;
        let thursday = self.seconds as i64 + (3 - monday) * 86_400;
        let thursday = Self::of(thursday.max(0) as u64, 0);
        (thursday.year, thursday.yearday / 7 + 1)
    }
}

/// A time of seconds since 1970 and microseconds.
fn strftime(format: &str, seconds: u64, micro: u32) -> Result<String, Error> {
    if format.len() > FORMAT_BYTES {
        return Err(refuse("a format of the time is too long"));
    }
    let time = Time::of(seconds, micro);
    let mut out = String::new();
    let mut rest = format.chars();
    while let Some(next) = rest.next() {
        if next != '%' {
            out.push(next);
            continue;
        }
        let begun = rest.clone();
        let mut sign = rest.next();
        // As glibc has it: without padding, with spaces, with zeros, in capitals.
        let flag = sign.filter(|sign| "-_0^".contains(*sign));
        if flag.is_some() {
            sign = rest.next();
        }
        match sign.and_then(|sign| written(&time, sign, flag)) {
            Some(text) if flag == Some('^') => out.push_str(&text.to_uppercase()),
            Some(text) => out.push_str(&text),
            // Unknown signs stay as they are.
            None => {
                out.push('%');
                rest = begun;
            }
        }
    }
    Ok(out)
}

/// What stands for a sign.
fn written(time: &Time, sign: char, flag: Option<char>) -> Option<String> {
    let padded = |number: i64, width: usize, with: char| match (flag, with) {
        (Some('-'), _) => number.to_string(),
        (Some('_'), _) | (None | Some('^'), ' ') => format!("{number:width$}"),
        _ => format!("{number:0width$}"),
    };
    let two = |number: i64| padded(number, 2, '0');
    let (day, month) = (DAYS[time.weekday as usize], MONTHS[time.month]);
    let twelve = (time.hour + 11) % 12 + 1;
    let half = if time.hour < 12 { "AM" } else { "PM" };
    let within = |format: &str| strftime(format, time.seconds, time.micro as u32).ok();
    Some(match sign {
        'a' => day[..3].to_owned(),
        'A' => day.to_owned(),
        'b' | 'h' => month[..3].to_owned(),
        'B' => month.to_owned(),
        'c' => within("%a %b %e %H:%M:%S %Y")?,
        'C' => two(time.year / 100),
        'd' => two(time.day),
        'D' | 'x' => within("%m/%d/%y")?,
        'e' => padded(time.day, 2, ' '),
        'f' => format!("{:06}", time.micro),
        'F' => within("%Y-%m-%d")?,
        'g' => two(time.iso().0 % 100),
        'G' => time.iso().0.to_string(),
        'H' => two(time.hour),
        'I' => two(twelve),
        'j' => padded(time.yearday + 1, 3, '0'),
        'k' => padded(time.hour, 2, ' '),
        'l' => padded(twelve, 2, ' '),
        'm' => two(time.month as i64 + 1),
        'M' => two(time.minute),
        'n' => "\n".to_owned(),
        'p' => half.to_owned(),
        'P' => half.to_lowercase(),
        'r' => within("%I:%M:%S %p")?,
        'R' => within("%H:%M")?,
        's' => time.seconds.to_string(),
        'S' => two(time.second),
        't' => "\t".to_owned(),
        'T' | 'X' => within("%H:%M:%S")?,
        'u' => ((time.weekday + 6) % 7 + 1).to_string(),
        'U' => two((time.yearday + 7 - time.weekday) / 7),
        'V' => two(time.iso().1),
        'w' => time.weekday.to_string(),
        'W' => two((time.yearday + 7 - (time.weekday + 6) % 7) / 7),
        'y' => two(time.year % 100),
        'Y' => time.year.to_string(),
        // A time without a zone.
        'z' | 'Z' => String::new(),
        '%' => "%".to_owned(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_python_writes_them() {
        let check = |seconds: u64, format: &str, want: &str| {
            assert_eq!(strftime(format, seconds, 4_567).unwrap(), want, "{format}");
        };
        let all = "%a %A %b %B|%c|%d %e %-d %_d %m %-m %y %Y %C|%H %I %-I %M %S %p %f|%j %U %W %w %u %V %G %g|%D %F %T %R %x %X %r|%z%Z%%|%^a %^B|%k %l";
        check(
            1_709_210_096,
            all,
            "Thu Thursday Feb February|Thu Feb 29 12:34:56 2024|29 29 29 29 02 2 24 2024 20|12 12 12 34 56 PM 004567|060 08 09 4 4 09 2024 24|02/29/24 2024-02-29 12:34:56 12:34 02/29/24 12:34:56 12:34:56 PM|%|THU FEBRUARY|12 12",
        );
        check(
            1_609_459_199,
            all,
            "Thu Thursday Dec December|Thu Dec 31 23:59:59 2020|31 31 31 31 12 12 20 2020 20|23 11 11 59 59 PM 004567|366 52 52 4 4 53 2020 20|12/31/20 2020-12-31 23:59:59 23:59 12/31/20 23:59:59 11:59:59 PM|%|THU DECEMBER|23 11",
        );
        check(
            1_609_459_200,
            all,
            "Fri Friday Jan January|Fri Jan  1 00:00:00 2021|01  1 1  1 01 1 21 2021 20|00 12 12 00 00 AM 004567|001 00 00 5 5 53 2020 20|01/01/21 2021-01-01 00:00:00 00:00 01/01/21 00:00:00 12:00:00 AM|%|FRI JANUARY| 0 12",
        );
        // What is no sign stays.
        check(0, "%Q % %-q é%", "%Q % %-q é%");
        assert!(strftime(&"%c".repeat(200), 0, 0).is_err());
        assert!(strftime_now("%Y").unwrap().parse::<u32>().unwrap() > 2025);
    }
}

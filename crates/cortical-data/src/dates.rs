//! Dates as numbers: days since 1970, and the parts of a date.

/// How many numbers the parts of a date are: year, month, day of the month, day of the week.
pub(crate) const PARTS: usize = 4;

/// The days from the first of January 1970 to a date and, behind it, a time of the day: `2024-03-31`, `2024/03/31` or
/// `31.03.2024`, then `T` or a blank and `12:30`, `12:30:00` or `12:30:00.5`, with a `Z` or without.
pub(crate) fn days(text: &str) -> Option<f64> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time.trim_start())),
        None => (text, None),
    };
    let part = |text: &str, digits: std::ops::RangeInclusive<usize>| -> Option<i64> {
        let fits = digits.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| text.parse().ok()).flatten()
    };
    let parts: Vec<&str> = date.split(['-', '/', '.']).collect();
    let is_one = |sign: char| date.matches(sign).count() == 2;
    let (year, month, day) = match parts[..] {
        [year, month, day] if is_one('-') || is_one('/') => {
            (part(year, 4..=4)?, part(month, 1..=2)?, part(day, 1..=2)?)
        }
        [day, month, year] if is_one('.') => {
            (part(year, 4..=4)?, part(month, 1..=2)?, part(day, 1..=2)?)
        }
        _ => return None,
    };
    if !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    let whole = days_before(year, month, day) as f64;
    let Some(time) = time else {
        return Some(whole);
    };
    let time = time.strip_suffix('Z').unwrap_or(time);
    let mut parts = time.split(':');
    let hour = part(parts.next()?, 1..=2).filter(|hour| *hour < 24)?;
    let minute = part(parts.next()?, 2..=2).filter(|minute| *minute < 60)?;
    let second = match parts.next() {
        None => 0.0,
        Some(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            let second: f64 = text.parse().ok()?;
            Some(second).filter(|second| (0.0..61.0).contains(second))?
        }
        Some(_) => return None,
    };
    parts
        .next()
        .is_none()
        .then(|| whole + (hour as f64 * 3600.0 + minute as f64 * 60.0 + second) / 86_400.0)
}

/// Year, month, day of the month and day of the week (Monday is 0) of a number of days since 1970.
///
/// # Source
/// H. Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013): eras of 400 years that begin in March.
pub(crate) fn parts(days: f64) -> [f64; PARTS] {
    let number = days.floor() as i64;
    let shifted = number + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // The first of January 1970 was a Thursday.
    let weekday = (number + 3).rem_euclid(7);
    [year, month, day, weekday].map(|part| part as f64)
}

/// Days from 1970 to a date; the inverse of [`parts`].
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

/// How many days a month has.
fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_and_days_are_dates() {
        for (text, want) in [
            ("1970-01-01", 0.0),
            ("1969-12-31", -1.0),
            ("2000/02/29", 11_016.0),
            ("31.03.2024", 19_813.0),
            ("2024-03-31T12:00:00Z", 19_813.5),
            ("2024-03-31 6:00", 19_813.25),
        ] {
            assert_eq!(days(text), Some(want), "{text}");
        }
        for text in [
            "",
            "2023-02-29",
            "2024-13-01",
            "2024-00-01",
            "24-03-31",
            "3/31/2024",
            "2024-03.31",
            "2024-03-31T24:00",
            "2024-03-31T12",
            "2024-03-31T12:00:inf",
            "2024-03-31T12:00:00+02:00",
            "12:30:00",
            "1.2.3",
            "２０２４-01-01",
        ] {
            assert_eq!(days(text), None, "{text}");
        }
        for number in (-800_000..800_000).step_by(97) {
            let [year, month, day, weekday] = parts(f64::from(number)).map(|part| part as i64);
            assert_eq!(days_before(year, month, day), i64::from(number));
            assert!((1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day));
            assert_eq!(weekday, (i64::from(number) + 3).rem_euclid(7));
        }
        // A Sunday.
        assert_eq!(parts(19_813.9), [2024.0, 3.0, 31.0, 6.0]);
    }
}

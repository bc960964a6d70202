//! Texts and numbers as a page shows them.

/// A text whose characters mean nothing to HTML and SVG any more.
///
/// ```
/// assert_eq!(cortical_report::escape("a < b & \"c\""), "a &lt; b &amp; &quot;c&quot;");
/// ```
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML has no place for the other control characters, not even escaped.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A number with about four significant digits, short: `12.5k`, `3e-7`, `0.25`.
///
/// ```
/// use cortical_report::number;
/// assert_eq!([number(0.25), number(12_500.0), number(3e-7)], ["0.25", "12.5k", "3e-7"]);
/// ```
#[must_use]
pub fn number(x: f64) -> String {
    if !x.is_finite() {
        return x.to_string();
    }
    let size = x.abs();
    let short = |x: f64, digits: usize| {
        let text = format!("{x:.digits$}");
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    };
    match size {
        0.0 => "0".to_owned(),
        s if s < 1e-4 => {
            let text = format!("{x:.2e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
            format!("{mantissa}e{exponent}")
        }
        s if s < 0.01 => short(x, 6),
        s if s < 1.0 => short(x, 4),
        s if s < 10.0 => short(x, 3),
        s if s < 100.0 => short(x, 2),
        s if s < 1e4 => short(x, 1),
        s if s < 1e6 => format!("{}k", short(x / 1e3, 1)),
        s if s < 1e9 => format!("{}M", short(x / 1e6, 2)),
        s if s < 1e15 => format!("{}G", short(x / 1e9, 2)),
        _ => format!("{x:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (x, want) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.001, "0.001"),
            (0.00012, "0.00012"),
            (99.99, "99.99"),
            (9999.0, "9999"),
            (10_000.0, "10k"),
            (1_234_567.0, "1.23M"),
            (2.5e9, "2.5G"),
            (1e20, "1.00e20"),
            (-4.56e-9, "-4.56e-9"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(x), want);
        }
    }

    #[test]
    fn what_markup_would_read_is_escaped() {
        assert_eq!(escape("<script>'\u{0}\n"), "&lt;script&gt;&#39;\u{fffd}\n");
    }
}

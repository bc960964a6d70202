//! Text of strangers on a terminal: what would move its cursor, change its title or hide what stands there is shown,
//! not done.

use std::borrow::Cow;

use crate::style::Style;

/// Characters that turn the direction of what follows, so that it reads as something else.
const DIRECTIONS: [std::ops::RangeInclusive<char>; 3] = [
    '\u{200e}'..='\u{200f}',
    '\u{202a}'..='\u{202e}',
    '\u{2066}'..='\u{2069}',
];

/// The text with control characters as `\u{1b}`, but for new lines, tabs and, where `style` is on, its own colours.
pub(crate) fn escape(text: &str, style: Style) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = style.codes().find(|code| rest.starts_with(code));
        let taken = colour.map_or(c.len_utf8(), str::len);
        match (colour, is_dangerous(c)) {
            (None, true) => shown.extend(c.escape_debug()),
            _ => shown += &rest[..taken],
        }
        rest = &rest[taken..];
    }
    Cow::Owned(shown)
}

/// Whether a text has what [`escape`] shows.
pub(crate) fn is_hostile(text: &str) -> bool {
    text.chars().any(is_dangerous)
}

/// JSON, of which the writer leaves some control characters as they are; all of them stand inside strings.
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_dangerous) {
        return Cow::Borrowed(json);
    }
    let escaped = json.chars().map(|c| match is_dangerous(c) {
        true => format!("\\u{:04x}", c as u32),
        false => c.to_string(),
    });
    Cow::Owned(escaped.collect())
}

fn is_dangerous(c: char) -> bool {
    let is_control = c.is_control() && !matches!(c, '\n' | '\t');
    is_control || DIRECTIONS.iter().any(|range| range.contains(&c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_do_is_shown() {
        let plain = Style::new(false);
        let hostile = "a\x1b[2Jb\r\u{9b}31m\x07\u{202e}c\nd\te\x7f";
        let shown = "a\\u{1b}[2Jb\\r\\u{9b}31m\\u{7}\\u{202e}c\nd\te\\u{7f}";
        assert_eq!(escape(hostile, plain), shown);
        assert_eq!(escape("naïve é ✓\n", plain), "naïve é ✓\n");
    }

    #[test]
    fn our_own_colours_pass_where_they_are_on() {
        let on = Style::new(true);
        let text = on.bold("name") + &on.red("x") + "\x1b[5mblinks";
        let kept = on.bold("name") + &on.red("x") + "\\u{1b}[5mblinks";
        assert_eq!(escape(&text, on), kept);
        let off = escape(&text, Style::new(false)).into_owned();
        assert!(!off.contains('\x1b'), "{off}");
    }

    #[test]
    fn json_stays_json() {
        let value = serde_json::json!({ "a": "\u{9b}\u{202e}\x1b\x7f\n" });
        let text = value.to_string();
        let escaped = escape_json(&text);
        assert!(!escaped.chars().any(is_dangerous), "{escaped}");
        let read: serde_json::Value = serde_json::from_str(&escaped).unwrap();
        assert_eq!(read, value);
    }
}

//! Text of strangers' files in messages.

/// `text` as a message may quote it: what would act on a terminal or turn the direction of the line is written out as
/// `\u{…}`, and of more than `limit` characters the first ones are kept, with `…`.
///
/// ```
/// assert_eq!(cortical_io::printable("a\u{1b}[31mb\nc", 20), "a\\u{1b}[31mb\\nc");
/// assert_eq!(cortical_io::printable("abcdef", 3), "abc…");
/// ```
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == limit {
            out.push('…');
            break;
        }
        match c {
            c if c.is_control() => out.extend(c.escape_default()),
            // Marks of direction, joiners and what has no width.
            '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}' => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

//! Damage to a file: of its bytes, of what a text says, and of the parts that its format is made of, with lengths and
//! checksums that fit again.

use super::checksums::{crc32, from_stored_gzip, stored_gzip};
use super::random::Random;

/// What a file is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Numbers, words and brackets: JSON, TOML, CSV, templates.
    Text,
    /// A header in JSON behind its length, then numbers.
    Safetensors,
    /// Lengths and words in the first part, then numbers.
    Gguf,
    /// Chunks with checksums.
    Png,
    /// A text or numbers in gzip.
    Gzip,
    /// Anything else.
    Bytes,
}

/// What stands in the place of a number.
const NUMBERS: [&str; 18] = [
    "0",
    "-1",
    "1",
    "2",
    "255",
    "65536",
    "2147483648",
    "4294967295",
    "4294967297",
    "9007199254740993",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "100000000000",
    "1e308",
    "-1e-320",
    "nan",
    "0.5",
];

/// What stands in the place of a word.
const WORDS: [&str; 16] = [
    "",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "../../etc/passwd",
    "\\u0000",
    "\u{1b}[2J",
    "\u{202e}",
    "{% for x in range(999999999) %}x{% endfor %}",
    "{{ 'x' * 999999999 }}",
    "(((((((((((a+)+)+)+)+)+)+)+)+)+)+)$",
    "\\ud800",
    "é\u{301}",
    "llama",
];

/// The most that a file grows by.
const GROWTH: usize = 1 << 16;

/// One file, damaged once to four times.
pub(super) fn mutate(format: Format, whole: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=random.below(4) {
        bytes = once(format, &bytes, random);
    }
    bytes
}

fn once(format: Format, bytes: &[u8], random: &mut Random) -> Vec<u8> {
    // Bytes are damaged in files of every format, but mostly their format is.
    if random.below(4) == 0 {
        return damage_bytes(bytes, 0..bytes.len(), random);
    }
    match format {
        Format::Text => damage_text(bytes, random),
        Format::Safetensors => damage_header(bytes, random),
        Format::Gguf => damage_bytes(bytes, 0..bytes.len().min(2048), random),
        Format::Png => damage_chunk(bytes, random),
        Format::Gzip => damage_packed(bytes, random),
        Format::Bytes => damage_bytes(bytes, 0..bytes.len(), random),
    }
}

/// Bits, numbers and pieces within `part` of the bytes.
fn damage_bytes(bytes: &[u8], part: std::ops::Range<usize>, random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    let at = part.start + random.below(part.len());
    let len = (1 + random.below(64)).min(bytes.len() - at.min(bytes.len()));
    match random.below(7) {
        0 => out
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|byte| *byte ^= 1 << random.below(8)),
        1 => out.truncate(at),
        2 => {
            // A number of four or eight bytes that is as large or as small as there are.
            let value: u64 = *random.pick(&[
                &0,
                &1,
                &0x7fff_ffff,
                &0xffff_ffff,
                &0x7fff_ffff_ffff_ffff,
                &u64::MAX,
                &(1 << 40),
            ]);
            let width = [4, 8][random.below(2)];
            let place = out.iter_mut().skip(at & !3).take(width);
            place
                .zip(value.to_le_bytes())
                .for_each(|(byte, new)| *byte = new);
        }
        3 => {
            let piece = bytes
                .iter()
                .skip(at)
                .take(len)
                .copied()
                .collect::<Vec<u8>>();
            let place = random.below(out.len() + 1);
            out.splice(place..place, piece);
        }
        4 => drop(out.drain(at.min(out.len())..(at + len).min(out.len()))),
        5 => out
            .iter_mut()
            .skip(at)
            .take(len)
            .for_each(|byte| *byte = [0, 0xff, b'9', b'['][len % 4]),
        _ => {
            let piece = vec![(random.next() & 0xff) as u8; 1 + random.below(GROWTH)];
            out.splice(at.min(out.len())..at.min(out.len()), piece);
        }
    }
    out
}

/// Where a number, a word or a text in quotes begins and ends.
fn tokens(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        let inside = c.is_alphanumeric() || matches!(c, '.' | '-' | '+' | '_');
        match (inside, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                found.push(from..at);
                start = None;
            }
            _ => {}
        }
    }
    found.extend(start.map(|from| from..text.len()));
    found
}

fn damage_text(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return damage_bytes(bytes, 0..bytes.len(), random);
    };
    let tokens = tokens(text);
    let Some(token) = tokens.get(random.below(tokens.len())).cloned() else {
        return damage_bytes(bytes, 0..bytes.len(), random);
    };
    let mut out = text.to_owned();
    let is_number = text[token.clone()].starts_with(|c: char| c.is_ascii_digit() || c == '-');
    match random.below(8) {
        0..=3 if is_number => out.replace_range(token, random.pick(&NUMBERS)),
        0..=1 => out.replace_range(token, random.pick(&WORDS)),
        2 => out.replace_range(token, &"x".repeat(1 + random.below(GROWTH))),
        3 => out.replace_range(token, random.pick(&NUMBERS)),
        4 => {
            // A line comes again, or goes.
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let at = random.below(lines.len());
            let again = random.below(3);
            let each = lines.iter().enumerate();
            out = each
                .flat_map(|(i, line)| std::iter::repeat_n(*line, if i == at { again } else { 1 }))
                .collect();
        }
        5 => {
            let (open, close) = [
                ("[", "]"),
                ("{\"a\":", "}"),
                ("(", ")"),
                ("{{", "}}"),
                ("-", ""),
            ][random.below(5)];
            let depth = 1 + random.below(GROWTH / 8);
            let nested = format!(
                "{}{}{}",
                open.repeat(depth),
                &text[token.clone()],
                close.repeat(depth)
            );
            out.replace_range(token, &nested);
        }
        6 => {
            let other = tokens[random.below(tokens.len())].clone();
            out.replace_range(token, &text[other]);
        }
        _ => out.insert_str(token.start, random.pick(&WORDS)),
    }
    out.into_bytes()
}

/// Damage within the header of a safetensors file, whose length fits again.
fn damage_header(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let whole = bytes.split_first_chunk::<8>().and_then(|(length, rest)| {
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        rest.split_at_checked(length)
    });
    let Some((header, data)) = whole else {
        return damage_bytes(bytes, 0..bytes.len(), random);
    };
    let header = damage_text(header, random);
    [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()
}

/// Damage to what a gzip file holds, whose lengths and checksum fit again.
fn damage_packed(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    match from_stored_gzip(bytes) {
        Some(inner) => stored_gzip(&damage_text(&inner, random)),
        None => damage_bytes(bytes, 0..bytes.len(), random),
    }
}

/// Damage within a chunk of a PNG picture, whose length and checksum fit again.
fn damage_chunk(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    const SIGNATURE: usize = 8;
    let mut chunks = Vec::new();
    let mut rest = bytes.get(SIGNATURE..).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((chunk, after)) = after.split_at_checked(length.saturating_add(4)) else {
            break;
        };
        chunks.push(chunk.to_vec());
        rest = after.get(4..).unwrap_or_default();
    }
    if chunks.is_empty() {
        return damage_bytes(bytes, 0..bytes.len(), random);
    }
    let at = random.below(chunks.len());
    if random.below(6) == 0 {
        let again = chunks[at].clone();
        chunks.insert(random.below(chunks.len() + 1), again);
    } else {
        // Behind the chunk's name.
        let (name, data) = chunks[at].split_at(4);
        chunks[at] = [name, &damage_bytes(data, 0..data.len(), random)].concat();
    }
    let mut out = bytes[..SIGNATURE].to_vec();
    for chunk in chunks {
        out.extend(((chunk.len() - 4) as u32).to_be_bytes());
        out.extend(&chunk);
        out.extend(crc32(&chunk).to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_damages_the_same_way_every_time_whatever_the_bytes() {
        let files: [&[u8]; 5] = [
            b"",
            b"\x01",
            b"{\"a\": [1, 2.5, \"x\"]}\n",
            &[0xff; 300],
            b"\x02\0\0\0\0\0\0\0{}1234",
        ];
        for format in [
            Format::Text,
            Format::Safetensors,
            Format::Gguf,
            Format::Png,
            Format::Gzip,
            Format::Bytes,
        ] {
            for file in files {
                for case in 0..300 {
                    let damaged = || mutate(format, file, &mut Random::new(1, case));
                    assert!(damaged() == damaged(), "{format:?} {case}");
                }
            }
        }
    }

    #[test]
    fn what_is_packed_comes_out_again() {
        for length in [0, 1, 0xffff, 0x1_0000, 200_000] {
            let bytes: Vec<u8> = (0..length).map(|i: usize| (i % 251) as u8).collect();
            assert!(
                from_stored_gzip(&stored_gzip(&bytes)) == Some(bytes),
                "{length}"
            );
        }
        assert_eq!(from_stored_gzip(b"no gzip"), None);
        // What zlib makes of it.
        let want = [
            0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1, 3, 0, 0xfc, 0xff, b'a', b'b', b'c', 0xc2,
            0x41, 0x24, 0x35, 3, 0, 0, 0,
        ];
        assert_eq!(stored_gzip(b"abc"), want);
        let table = stored_gzip(b"a,b,c\n1,2,x\n");
        let inside = (0..100).filter(|case| {
            let damaged = damage_packed(&table, &mut Random::new(1, *case));
            from_stored_gzip(&damaged).is_some()
        });
        assert_eq!(inside.count(), 100);
    }

    #[test]
    fn a_damaged_header_has_its_length() {
        let file = [&2_u64.to_le_bytes()[..], b"{}", b"data"].concat();
        let text = [&9_u64.to_le_bytes()[..], b"{\"a\": 17}", b"data"].concat();
        for case in 0..200 {
            let damaged = damage_header(&text, &mut Random::new(1, case));
            let length = u64::from_le_bytes(*damaged.first_chunk().expect("a length")) as usize;
            assert!(
                length + 12 == damaged.len() && damaged.ends_with(b"data"),
                "{case}"
            );
        }
        assert_eq!(tokens("a 1.5 [-2]"), [0..1, 2..5, 7..9]);
        assert!(!damage_header(&file, &mut Random::new(1, 1)).is_empty());
    }
}

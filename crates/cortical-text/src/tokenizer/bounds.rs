//! What a description of a tokenizer promises, compared with what is there, before the library believes it.

use serde_json::Value;

/// The deepest steps in each other, and the most steps of one part.
const DEPTH: usize = 16;
const STEPS: usize = 256;
/// How many times as long a text may become by the steps of one part.
const GROWTH: f64 = 256.0;
/// The most bytes that a step may put before a text.
const ADDED_BYTES: usize = 1 << 12;

/// Parts of a description that are steps which change a text, and the field of those inside a sequence.
const PARTS: [(&str, &str); 4] = [
    ("normalizer", "normalizers"),
    ("pre_tokenizer", "pretokenizers"),
    ("post_processor", "processors"),
    ("decoder", "decoders"),
];

/// Checks the steps of a `tokenizer.json`, and says how many times as long a text may become by its normalizers.
pub(super) fn check(text: &str) -> Result<f64, String> {
    let mut normalized = 1.0;
    for (name, value) in fields(text).ok_or("it is no JSON object")? {
        let name: String = serde_json::from_str(name).map_err(|why| why.to_string())?;
        let Some((_, inner)) = PARTS.iter().find(|(part, _)| *part == name) else {
            continue;
        };
        let value = serde_json::from_str(value).map_err(|why| format!("its {name}: {why}"))?;
        let mut steps = 0;
        let growth =
            growth(&value, inner, 0, &mut steps).map_err(|why| format!("its {name} {why}"))?;
        if growth > GROWTH {
            return Err(format!(
                "its {name} can make a text {growth:.0} times as long; at most {GROWTH} times is allowed"
            ));
        }
        if name == "normalizer" {
            normalized = growth;
        }
    }
    Ok(normalized)
}

/// How many times as long a text may become by a step and those inside it.
fn growth(value: &Value, inner: &str, depth: usize, steps: &mut usize) -> Result<f64, String> {
    *steps += 1;
    if depth > DEPTH || *steps > STEPS {
        return Err(format!(
            "has steps that are more than {DEPTH} deep, or more than {STEPS}"
        ));
    }
    if let Some(list) = value[inner].as_array() {
        let mut product = 1.0;
        for step in list {
            product *= growth(step, inner, depth + 1, steps)?;
        }
        return Ok(product);
    }
    let text = |value: &Value| value.as_str().map_or(0, str::len);
    let times = match value["type"].as_str().unwrap_or_default() {
        "Precompiled" => {
            return precompiled(value["precompiled_charsmap"].as_str().unwrap_or_default());
        }
        "Replace" => {
            let new = text(&value["content"]);
            match text(&value["pattern"]["String"]) {
                // A pattern may be found between all characters.
                0 => new + 1,
                old => new.div_ceil(old),
            }
        }
        "Prepend" if text(&value["prepend"]) > ADDED_BYTES => {
            return Err(format!("puts more than {ADDED_BYTES} bytes before a text"));
        }
        "ByteLevel" | "BertNormalizer" => 2,
        "TemplateProcessing" => {
            let parts = value["single"].as_array().into_iter().flatten();
            parts.filter(|part| part["Sequence"]["id"] == "A").count()
        }
        _ => 1,
    };
    Ok(times.max(1) as f64)
}

/// How many times as long a text may become by SentencePiece's table of characters, whose first number is the length
/// of what follows.
fn precompiled(text: &str) -> Result<f64, String> {
    let bytes = base64(text).ok_or("has a precompiled_charsmap that is no base64")?;
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Err(format!(
            "has a precompiled_charsmap of {} bytes",
            bytes.len()
        ));
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length == 0 || !length.is_multiple_of(4) || length > rest.len() {
        return Err(format!(
            "has a precompiled_charsmap that says it has {length} bytes of a trie where {} are left",
            rest.len()
        ));
    }
    // What characters become, each ended by a zero.
    let longest = rest[length..].split(|byte| *byte == 0).map(<[u8]>::len);
    Ok(longest.max().unwrap_or(0).max(1) as f64)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for c in group {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let [_, all @ ..] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        bytes.extend_from_slice(&all[..group.len() - 1]);
    }
    Some(bytes)
}

/// The names and values of a JSON object, as they stand there: a vocabulary is not read for it.
pub(super) fn fields(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut rest = text
        .trim_start_matches('\u{feff}')
        .trim_start()
        .strip_prefix('{')?
        .trim_start();
    let mut fields = Vec::new();
    while !rest.starts_with('}') {
        let (name, behind) = rest.split_at(length(rest)?);
        let behind = behind.trim_start().strip_prefix(':')?.trim_start();
        let (value, behind) = behind.split_at(length(behind)?);
        fields.push((name, value));
        rest = behind.trim_start();
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if rest.starts_with('}') => {}
            None => return None,
        }
    }
    Some(fields)
}

/// The bytes of the JSON value that a text begins with.
fn length(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => {
                quoted = !quoted;
                if !quoted && depth == 0 {
                    return Some(at + 1);
                }
            }
            _ if quoted => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' | b',' if depth == 0 => return (at > 0).then_some(at),
            b']' | b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_without_reading_their_values() {
        let text = r#" { "a\"}" : [1, {"b": "]"}] , "c":-1.5e3,"d" : "x\\" ,"e":null} "#;
        let want = [
            (r#""a\"}""#, r#"[1, {"b": "]"}]"#),
            (r#""c""#, "-1.5e3"),
            (r#""d""#, r#""x\\""#),
            (r#""e""#, "null"),
        ];
        assert_eq!(fields(text).unwrap(), want);
        assert_eq!(fields("{}").unwrap(), []);
        for wrong in [
            "",
            "[]",
            "{",
            r#"{"a"}"#,
            r#"{"a": [}"#,
            r#"{"a": 1 "b": 2}"#,
        ] {
            assert!(fields(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn base64_is_read() {
        assert_eq!(base64("aGVsbG8=").unwrap(), b"hello");
        assert_eq!(
            base64("/////wAAAAA=").unwrap(),
            [255, 255, 255, 255, 0, 0, 0, 0]
        );
        assert_eq!(base64("?"), None);
    }
}

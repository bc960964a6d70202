//! Checksums made right again, so that damage gets past them.

use crate::error::{Error, Result};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The CRC-32 of zip, PNG and checkpoints.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc = crc >> 1 ^ (0xedb8_8320 * low);
        }
    }
    !crc
}

/// What stands before the bytes of a gzip file as [`stored_gzip`] writes it.
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The most bytes of a block that is not compressed.
const STORED: usize = 0xffff;

/// A gzip file of these bytes, not compressed.
pub(super) fn stored_gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GZIP_HEAD.to_vec();
    let blocks = bytes.len().div_ceil(STORED).max(1);
    for block in 0..blocks {
        let part = &bytes[block * STORED..bytes.len().min((block + 1) * STORED)];
        let length = part.len() as u16;
        out.push(u8::from(block + 1 == blocks));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(part);
    }
    out.extend(crc32(bytes).to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out
}

/// The bytes in a file of [`stored_gzip`]; `None` for any other.
pub(super) fn from_stored_gzip(file: &[u8]) -> Option<Vec<u8>> {
    let mut rest = file.strip_prefix(&GZIP_HEAD)?;
    let mut bytes = Vec::new();
    loop {
        let (head, behind) = rest.split_first_chunk::<5>()?;
        let length = u16::from_le_bytes([head[1], head[2]]).into();
        let (part, behind) = behind.split_at_checked(length)?;
        bytes.extend(part);
        rest = behind;
        match head[0] {
            0 => {}
            1 => return (rest.len() == 8).then_some(bytes),
            _ => return None,
        }
    }
}

/// The order in which a checkpoint's checksum sees the fields of its state.
const STATE_FIELDS: [&str; 9] = [
    "step",
    "epoch",
    "position",
    "random",
    "schedule",
    "optimizer",
    "metrics",
    "instruction_set",
    "recipe_hash",
];

/// Writes the `state.json` beside `file` anew with sizes and checksums that fit, unless it is no JSON any more.
pub(super) fn mend_checkpoint(file: &Path) -> Result<()> {
    let folder = file.parent().unwrap_or(file);
    let path = folder.join("state.json");
    let text = fs::read(&path).map_err(Error::file("read", &path))?;
    let Ok(mut state) = serde_json::from_slice::<Value>(&text) else {
        return Ok(());
    };
    if let Some(files) = state.get_mut("files").and_then(Value::as_object_mut) {
        for (name, record) in files {
            let Ok(bytes) = fs::read(folder.join(name)) else {
                continue;
            };
            *record = serde_json::json!({"bytes": bytes.len(), "crc32": crc32(&bytes)});
        }
    }
    let field = |key: &str| state.get(key).unwrap_or(&Value::Null).to_string();
    let fields = STATE_FIELDS.iter().filter_map(|key| {
        let value = state.get("state")?.get(key)?;
        Some(format!("\"{key}\":{value}"))
    });
    let seen = format!(
        "{{\"format\":{},\"version\":{},\"state\":{{{}}},\"files\":{}}}",
        field("format"),
        field("version"),
        fields.collect::<Vec<_>>().join(","),
        field("files")
    );
    if let Some(fields) = state.as_object_mut() {
        fields.insert("crc32".to_owned(), crc32(seen.as_bytes()).into());
    }
    fs::write(&path, state.to_string()).map_err(Error::file("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_its_catalogue() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}

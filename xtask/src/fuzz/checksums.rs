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

//! Event files for TensorBoard: records of protocol buffers, written by hand, for they are few.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Error, Result};

/// An event file that grows. Each process begins one of its own; TensorBoard reads all in a folder.
#[derive(Debug)]
pub(crate) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::file(folder))?;
        let now = now();
        let mut number = 0_u32;
        loop {
            // TensorBoard looks for this beginning, and sorts by the time in it.
            let name = format!("events.out.tfevents.{:010}.cortical.{number}", now as u64);
            let path = folder.join(name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let mut events = Self { path, file };
                    let version = bytes_field(3, b"brain.Event:2");
                    events.record(&[double_field(1, now), version].concat())?;
                    return Ok(events);
                }
                Err(why) if why.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(why) => return Err(Error::file(path)(why)),
            }
        }
    }

    /// The figures of one step, by name.
    pub(crate) fn scalars<'n>(
        &mut self,
        step: u64,
        figures: impl Iterator<Item = (&'n str, f64)>,
    ) -> Result<()> {
        // Event { wall_time: 1, step: 2, summary: 5 { value: 1 { tag: 1, simple_value: 2 } } }
        let mut summary = Vec::new();
        for (name, figure) in figures {
            let value = [
                bytes_field(1, name.as_bytes()),
                float_field(2, figure as f32),
            ]
            .concat();
            summary.extend(bytes_field(1, &value));
        }
        let event = [
            double_field(1, now()),
            varint_field(2, step),
            bytes_field(5, &summary),
        ];
        self.record(&event.concat())
    }

    /// A record: its length, a checksum of that, the bytes, a checksum of those.
    fn record(&mut self, bytes: &[u8]) -> Result<()> {
        let length = (bytes.len() as u64).to_le_bytes();
        let record = [
            &length[..],
            &masked(crc32c(&length)).to_le_bytes(),
            bytes,
            &masked(crc32c(bytes)).to_le_bytes(),
        ]
        .concat();
        let written = self.file.write_all(&record);
        written.map_err(Error::file(&self.path))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn varint_field(field: u64, n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3, &mut out);
    varint(n, &mut out);
    out
}

fn double_field(field: u64, x: f64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3 | 1, &mut out);
    out.extend(x.to_le_bytes());
    out
}

fn float_field(field: u64, x: f32) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3 | 5, &mut out);
    out.extend(x.to_le_bytes());
    out
}

fn bytes_field(field: u64, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(field << 3 | 2, &mut out);
    varint(bytes.len() as u64, &mut out);
    out.extend(bytes);
    out
}

/// CRC-32 with Castagnoli's polynomial, bit by bit: events are small and few.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// The format's way to keep checksums of checksums apart.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_castagnolis() {
        // The check value of the polynomial, and that of RFC 3720, B.4.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn records_are_framed_and_hold_the_figures() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path()).unwrap();
        events.scalars(300, [("loss", 0.5)].into_iter()).unwrap();
        let second = EventFile::create(folder.path()).unwrap();
        assert_ne!(second.path, events.path);

        let bytes = fs::read(&events.path).unwrap();
        let mut rest = &bytes[..];
        let mut records = Vec::new();
        while !rest.is_empty() {
            let length: [u8; 8] = rest[..8].try_into().unwrap();
            let n = u64::from_le_bytes(length) as usize;
            assert_eq!(rest[8..12], masked(crc32c(&length)).to_le_bytes());
            let body = &rest[12..12 + n];
            assert_eq!(rest[12 + n..16 + n], masked(crc32c(body)).to_le_bytes());
            records.push(body.to_vec());
            rest = &rest[16 + n..];
        }
        assert_eq!(records.len(), 2);
        assert!(records[0].ends_with(b"\x1a\x0dbrain.Event:2"));
        // step: 300; summary with one value: tag "loss", simple_value 0.5
        let want = b"\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\x00\x3f";
        assert!(records[1].ends_with(want), "{:x?}", records[1]);
    }
}

//! What is read has limits, which hold while it is read.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use cortical_data::csv::{CsvOptions, TextOptions, read, read_from, read_texts};
use cortical_data::{OpenOptions, Preprocess, idx, open, open_features, read_picture};

/// Bytes without end that count what was taken from them.
struct Endless<'a>(&'static [u8], &'a mut u64);

impl Read for Endless<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let from = (*self.1 % self.0.len() as u64) as usize;
        for (i, byte) in out.iter_mut().enumerate() {
            *byte = self.0[(from + i) % self.0.len()];
        }
        *self.1 += out.len() as u64;
        Ok(out.len())
    }
}

#[test]
fn rows_without_end_are_refused_while_they_are_read() {
    let check = |start: &[u8], bytes: &'static [u8], message: &str| {
        let mut taken = 0;
        let reader = start.chain(BufReader::new(Endless(bytes, &mut taken)));
        let error = read_from(reader, Path::new("t.csv"), &CsvOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(taken < 20 << 20, "{taken} bytes were read");
    };
    let long = "expected rows of at most 16777216 bytes, found a longer one; is this a table?";
    check(b"", b"\0", &format!("t.csv, line 1: {long}"));
    check(b"x,y\n", b"1", &format!("t.csv, line 2: {long}"));
    // A quote that never ends, over many lines.
    check(
        b"\"",
        b"0123456789012345678901234567890\n",
        &format!("t.csv, line 1: {long}"),
    );
    let wide = "1,".repeat(300_000);
    let error = read_from(wide.as_bytes(), Path::new("t.csv"), &CsvOptions::default());
    assert_eq!(
        error.unwrap_err().to_string(),
        "t.csv, line 1: expected at most 262144 columns, found more; is this a table?"
    );
}

#[test]
fn names_are_no_texts() {
    let long = "x".repeat(5000);
    let check = |text: &str, at: &str| {
        let read = read_from(text.as_bytes(), Path::new("t.csv"), &CsvOptions::default());
        let message =
            format!("t.csv, {at}: expected cells of at most 4096 bytes, found a longer one");
        assert_eq!(read.unwrap_err().to_string(), message);
    };
    check(&format!("1,a\n2,{long}\n"), "line 2, column 2");
    check(&format!("{long},y\n1,a\n2,b\n"), "line 1, column 1");
}

#[test]
fn a_stream_that_grows_beyond_measure_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.gz");
    let pack = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    // A gibibyte of labels, in members of a mebibyte each.
    let header = pack(&[0, 0, 8, 1, 0x40, 0, 0, 0]);
    let zeros = pack(&vec![0; 1 << 20]).repeat(1 << 10);
    fs::write(&path, [header, zeros].concat()).unwrap();
    let error = idx::read_labels(&path).unwrap_err().to_string();
    assert!(
        error.contains("it becomes more than 256 times as large, as few data do; decompress it if it is meant to be so"),
        "{error}"
    );
    assert!(error.contains("cannot be read at byte 66"), "{error}");
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.csv");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let link = folder.path().join("link.csv");
    std::os::unix::fs::symlink(&pipe, &link).unwrap();
    let saved = Preprocess::identity(&[2]).unwrap();
    let csv = CsvOptions::default();
    let start = Instant::now();
    for path in [&pipe, &link, Path::new("/dev/zero"), folder.path()] {
        let end = format!(
            "{}: expected a file, found a folder, a pipe or a device",
            path.display()
        );
        let check = |error: cortical_data::Error| assert_eq!(error.to_string(), end);
        check(read(path, &csv).unwrap_err());
        check(read_texts(path, &TextOptions::default()).unwrap_err());
        check(read_picture(path).unwrap_err());
        check(idx::read_labels(path).unwrap_err());
        if !path.is_dir() {
            check(open_features(path, &saved, &csv).unwrap_err());
            check(open(path.to_str().unwrap(), &OpenOptions::default()).unwrap_err());
        }
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// Ten thousand classes cost about ten times as much as a thousand.
#[test]
fn many_classes_cost_what_their_rows_cost() {
    let table = |classes: usize| {
        let row = |i: usize| format!("1,2,3,{i},c{}\n", i % classes);
        (0..30_000).map(row).collect::<String>()
    };
    let folder = tempfile::tempdir().unwrap();
    let time = |classes: usize| {
        let path = folder.path().join(format!("{classes}.csv"));
        fs::write(&path, table(classes)).unwrap();
        let start = Instant::now();
        let splits = open(path.to_str().unwrap(), &OpenOptions::default()).unwrap();
        assert_eq!(splits.train.classes().len(), classes);
        start.elapsed()
    };
    let few = time(10);
    let many = time(10_000);
    assert!(many < few * 10 + Duration::from_secs(1), "{few:?} {many:?}");
}

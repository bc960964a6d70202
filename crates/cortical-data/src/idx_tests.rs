//! Tests of the IDX reader: whole files, files cut at every byte, files that lie, and any bytes at all.

use super::*;
use candle_core::Device;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;
use tempfile::TempDir;

/// An IDX file of unsigned bytes.
fn idx(sizes: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, UNSIGNED_BYTES, sizes.len() as u8];
    file.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    file.extend(elements);
    file
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Two pictures of 2×3 pixels.
fn two_pictures() -> Vec<u8> {
    idx(&[2, 2, 3], &(0..12).collect::<Vec<u8>>())
}

fn parse(bytes: &[u8]) -> Result<Images> {
    read_images_from(bytes, Path::new("t.idx"))
}

/// A folder with three training and two test pictures, each file as `change` leaves it.
fn folder(change: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        (
            "train-images-idx3-ubyte",
            idx(&[3, 1, 2], &[0, 1, 2, 3, 4, 5]),
        ),
        ("train-labels-idx1-ubyte", idx(&[3], &[0, 2, 1])),
        (
            "t10k-images-idx3-ubyte.gz",
            gzip(&idx(&[2, 1, 2], &[6, 7, 8, 9])),
        ),
        ("t10k-labels-idx1-ubyte.gz", gzip(&idx(&[2], &[3, 0]))),
    ] {
        if let Some(bytes) = change(name, bytes) {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
    }
    folder
}

/// Writes one file into a folder of its own and reads it from there.
fn read_file(bytes: &[u8]) -> Result<Images> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.idx");
    std::fs::write(&path, bytes).unwrap();
    read_images(&path)
}

/// The part of a message after the path.
fn message(error: &Error) -> String {
    let text = error.to_string();
    text.split_once("t.idx").unwrap().1.to_owned()
}

#[test]
fn pictures_come_as_they_were_written() {
    let want = Images {
        rows: 2,
        columns: 3,
        pixels: (0..12).collect(),
    };
    assert_eq!(parse(&two_pictures()).unwrap(), want);
    assert_eq!(read_file(&two_pictures()).unwrap(), want);
    assert_eq!(read_file(&gzip(&two_pictures())).unwrap(), want);
    assert_eq!(want.into_inputs().unwrap().shape(), [1, 2, 3]);
}

#[test]
fn a_file_cut_at_any_byte_says_where_it_ends() {
    let whole = two_pictures();
    for cut in 0..whole.len() {
        let expected = if cut < 16 { 16 } else { 28 };
        let want =
            format!(", byte {cut}: expected {expected} bytes in all, found the end of the file");
        assert_eq!(message(&parse(&whole[..cut]).unwrap_err()), want);
        assert_eq!(message(&read_file(&whole[..cut]).unwrap_err()), want);
        let packed = gzip(&whole[..cut]);
        assert_eq!(message(&read_file(&packed).unwrap_err()), want, "packed");
    }
    let packed = gzip(&whole);
    for cut in 2..packed.len() {
        let error = read_file(&packed[..cut]).unwrap_err();
        assert!(matches!(error, Error::Read { .. }), "{cut}: {error}");
        assert!(
            message(&error).starts_with(": cannot be read at byte "),
            "{error}"
        );
    }
}

#[test]
fn files_that_lie_are_refused() {
    let check = |bytes: &[u8], want: &str| {
        assert_eq!(message(&parse(bytes).unwrap_err()), want);
        assert_eq!(message(&read_file(bytes).unwrap_err()), want);
        assert_eq!(message(&read_file(&gzip(bytes)).unwrap_err()), want);
    };
    let with = |offset: usize, bytes: &[u8]| {
        let mut file = two_pictures();
        file[offset..offset + bytes.len()].copy_from_slice(bytes);
        file
    };
    check(
        b"PK\x03\x04",
        ", byte 0: expected the two zero bytes an IDX file begins with, found [50, 4b]",
    );
    check(
        &with(2, &[0x0d]),
        ", byte 2: expected element type 0x08 (unsigned bytes), found 0x0d",
    );
    check(
        &idx(&[12], &[0; 12]),
        ", byte 3: expected 3 dimension(s) for images, found 1",
    );
    check(
        &with(8, &[0; 4]),
        ", byte 8: expected a size of at least 1 for dimension 1, found 0",
    );
    check(
        &with(4, &[0xff; 12]),
        ", byte 4: expected at most 2147483648 elements, found a header that claims [4294967295, 4294967295, 4294967295]",
    );
    check(
        &with(4, &[0, 2, 0, 1, 0, 0, 1, 0, 0, 0, 0, 64]),
        ", byte 4: expected at most 2147483648 elements, found a header that claims [131073, 256, 64]",
    );
    // 2^31 elements are allowed, and nothing is taken for them before they arrive.
    check(
        &with(4, &[0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 64]),
        ", byte 28: expected 2147483664 bytes in all, found the end of the file",
    );
    let mut longer = two_pictures();
    longer.extend([7, 7]);
    check(
        &longer,
        ", byte 28: expected the end of the file, found more bytes",
    );
    let mut broken = gzip(&two_pictures());
    let crc = broken.len() - 8;
    broken[crc] ^= 1;
    let error = read_file(&broken).unwrap_err();
    assert!(
        message(&error).starts_with(": cannot be read at byte 28: "),
        "{error}"
    );
    let none = read_images(Path::new("no/t.idx")).unwrap_err();
    assert!(
        message(&none).starts_with(": cannot be read at byte 0: "),
        "{none}"
    );
}

#[test]
fn a_folder_is_two_parts_with_the_same_classes() {
    let folder = folder(|_, bytes| Some(bytes));
    let splits = read_folder(folder.path(), None).unwrap();
    assert_eq!(splits.train.labels(), [0, 2, 1]);
    assert_eq!(splits.test.labels(), [3, 0]);
    assert_eq!(splits.train.classes(), ["0", "1", "2", "3"]);
    let x = splits.test.inputs().tensor(0..2, &Device::Cpu).unwrap();
    assert_eq!(x.dims(), [2, 1, 1, 2]);
    assert_eq!(
        x.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
        [6.0, 7.0, 8.0, 9.0]
    );
    let named = read_folder(folder.path(), Some(&["a", "b", "c", "d", "e"])).unwrap();
    assert_eq!(named.test.classes()[4], "e");
}

#[test]
fn a_folder_that_does_not_fit_together_is_refused() {
    let check = |folder: TempDir, classes: Option<&[&str]>, text: &str| {
        let error = read_folder(folder.path(), classes).unwrap_err().to_string();
        let place = folder.path().display().to_string();
        assert_eq!(error.replace(&place, "F"), text);
    };
    check(
        folder(|name, bytes| (!name.starts_with("t10k-labels")).then_some(bytes)),
        None,
        "F: expected a file t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz, found neither",
    );
    check(
        folder(|name, bytes| {
            Some(if name.starts_with("train-labels") {
                idx(&[2], &[0, 1])
            } else {
                bytes
            })
        }),
        None,
        "F/train-images-idx3-ubyte has 3 images, but F/train-labels-idx1-ubyte has 2 labels; they do not belong together",
    );
    check(
        folder(|_, bytes| Some(bytes)),
        Some(&["a", "b", "c"]),
        "F/t10k-labels-idx1-ubyte.gz, byte 8: expected a label below 3, found 3",
    );
    check(
        folder(|name, bytes| {
            Some(if name.starts_with("t10k-images") {
                idx(&[2, 2, 1], &[0; 4])
            } else {
                bytes
            })
        }),
        None,
        "expected samples of shape [1, 1, 2], found [1, 2, 1]; the data do not fit this model",
    );
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..80),
        honest in 0usize..16,
        pack: bool,
    ) {
        // Without a beginning that is right, random bytes would seldom get past the first check.
        let start = idx(&[1, 2, 3], &[]);
        let honest = honest.min(bytes.len());
        bytes[..honest].copy_from_slice(&start[..honest]);
        if let Ok(images) = parse(&bytes) {
            prop_assert_eq!(images.pixels.len() % (images.rows * images.columns), 0);
        }
        let _ = read_labels_from(&bytes[..], Path::new("t.idx"));
        let bytes = if pack { [&files::GZIP_MAGIC[..], &[8, 0], &bytes].concat() } else { bytes };
        let _ = read_file(&bytes);
    }
}

//! Pictures read back, and what is refused.

use super::*;
use crate::{Features, OpenOptions, Preprocess, csv::CsvOptions, open, open_features};
use candle_core::Device;
use proptest::prelude::*;
use std::fs;

/// The colour types of PNG.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Color {
    Grey = 0,
    Rgb = 2,
    Indexed = 3,
    GreyAlpha = 4,
    Rgba = 6,
}

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind, data].concat();
    let mut crc = flate2::Crc::new();
    crc.update(&body);
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], &body, &crc.sum().to_be_bytes()].concat()
}

/// A PNG file out of rows as they are before compression, each with its filter.
fn png_file(color: Color, depth: u8, size: [u32; 2], interlaced: u8, rows: &[u8]) -> Vec<u8> {
    let [width, height] = size.map(u32::to_be_bytes);
    let header = [&width[..], &height, &[depth, color as u8, 0, 0, interlaced]].concat();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut zlib, rows).unwrap();
    let data = zlib.finish().unwrap();
    let half = data.len() / 2;
    [
        &PNG[..],
        &chunk(b"IHDR", &header),
        &chunk(b"tEXt", b"skipped"),
        &chunk(b"PLTE", &[9, 8, 7, 1, 2, 3]),
        &chunk(b"IDAT", &data[..half]),
        &chunk(b"IDAT", &data[half..]),
        &chunk(b"IEND", b""),
    ]
    .concat()
}

/// A PNG file of bytes, not filtered.
fn png_of(color: Color, width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let rows = pixels.chunks(pixels.len() / height as usize);
    let rows: Vec<u8> = rows.flat_map(|row| [&[0], row].concat()).collect();
    png_file(color, 8, [width, height], 0, &rows)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A grey picture of 2 x 2 pixels.
fn small(x: u8) -> Vec<u8> {
    png_of(Color::Grey, 2, 2, &[x; 4])
}

/// A JPEG file: 16 x 16 pixels, red above and blue below, made by another program.
const JPEG_FILE: &[u8] = include_bytes!("../../data/test/halves.jpg");

#[test]
fn every_kind_of_png_becomes_bytes_channel_after_channel() {
    let folder = tempfile::tempdir().unwrap();
    let check = |color, pixels: &[u8], channels: usize, want: &[u8]| {
        write(folder.path(), "x.png", &png_of(color, 2, 1, pixels));
        let picture = read_picture(&folder.path().join("x.png")).unwrap();
        assert_eq!(
            (picture.channels, picture.height, picture.width),
            (channels, 1, 2)
        );
        assert_eq!(picture.bytes, want, "{color:?}");
    };
    check(Color::Grey, &[5, 6], 1, &[5, 6]);
    check(Color::GreyAlpha, &[5, 0, 6, 9], 1, &[5, 6]);
    check(Color::Rgb, &[1, 2, 3, 4, 5, 6], 3, &[1, 4, 2, 5, 3, 6]);
    check(
        Color::Rgba,
        &[1, 2, 3, 0, 4, 5, 6, 0],
        3,
        &[1, 4, 2, 5, 3, 6],
    );
    check(Color::Indexed, &[1, 0], 3, &[1, 9, 2, 8, 3, 7]);
}

#[test]
fn few_bits_many_bits_filters_and_interlacing_are_read() {
    let grey = |depth, size, interlaced, rows: &[u8]| {
        png::decode(&png_file(Color::Grey, depth, size, interlaced, rows))
            .unwrap()
            .bytes
    };
    assert_eq!(
        grey(1, [10, 1], 0, &[0, 0b1010_0000, 0b0100_0000]),
        [255, 0, 255, 0, 0, 0, 0, 0, 0, 255]
    );
    assert_eq!(grey(2, [3, 1], 0, &[0, 0b0001_1100]), [0, 85, 255]);
    assert_eq!(grey(4, [2, 1], 0, &[0, 0x1f]), [17, 255]);
    assert_eq!(grey(16, [2, 1], 0, &[0, 7, 200, 9, 100]), [7, 9]);
    // Each filter once, by hand: left, above, their mean, and Paeth's choice.
    let rows = [1, 10, 5, 2, 1, 1, 3, 10, 10, 4, 1, 255];
    assert_eq!(grey(8, [2, 4], 0, &rows), [10, 15, 11, 16, 15, 25, 16, 24]);
    // Of 3 x 3 pixels, Adam7 takes the first, then (2, 0), then row 2 of even columns, then odd columns of even rows,
    // then odd rows.
    let rows = [0, 0, 0, 2, 0, 20, 22, 0, 1, 0, 21, 0, 10, 11, 12];
    assert_eq!(grey(8, [3, 3], 1, &rows), [0, 1, 2, 10, 11, 12, 20, 21, 22]);
}

#[test]
fn a_jpeg_has_its_colours() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "x.jpeg", JPEG_FILE);
    let picture = read_picture(&folder.path().join("x.jpeg")).unwrap();
    assert_eq!(
        (picture.channels, picture.height, picture.width),
        (3, 16, 16)
    );
    let at = |channel: usize, y: usize| picture.bytes[(channel * 16 + y) * 16 + 8];
    assert!(
        at(0, 2) > 240 && at(2, 2) < 15,
        "red: {} {}",
        at(0, 2),
        at(2, 2)
    );
    assert!(
        at(0, 13) < 15 && at(2, 13) > 240,
        "blue: {} {}",
        at(0, 13),
        at(2, 13)
    );
}

#[test]
fn a_folder_for_each_class_is_a_data_set() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..10 {
        write(folder.path(), &format!("dark/{i}.png"), &small(i));
        write(folder.path(), &format!("light/{i}.PNG"), &small(255 - i));
    }
    write(folder.path(), "light/notes.txt", b"not a picture");
    write(folder.path(), "light/.hidden.png", b"nor this");
    let path = folder.path().to_str().unwrap();
    let splits = open(path, &OpenOptions::default()).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (16, 4));
    assert_eq!(splits.train.classes(), ["dark", "light"]);
    assert_eq!(splits.train.input_shape(), [1, 2, 2]);
    for part in [&splits.train, &splits.test] {
        let x = part.inputs().tensor(0..part.len(), &Device::Cpu).unwrap();
        let x = x.flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
        for (row, label) in x.iter().zip(part.labels()) {
            assert_eq!(u32::from(row[0] > 0.5), *label);
        }
    }
    let options = OpenOptions {
        input_shape: Some(vec![3, 4, 5]),
        ..OpenOptions::default()
    };
    assert_eq!(open(path, &options).unwrap().test.input_shape(), [3, 4, 5]);
    let predicted = |what: &str| -> Features {
        let saved = Preprocess::new(&[1, 2, 2], 255.0, vec![], vec![]).unwrap();
        open_features(&folder.path().join(what), &saved, &CsvOptions::default()).unwrap()
    };
    let light = predicted("light");
    assert_eq!(light.inputs.len(), 10);
    assert!(light.files[9].ends_with("light/9.PNG"), "{:?}", light.files);
    let one = predicted("dark/9.png").inputs;
    assert_eq!((one.len(), one.raw_row(0).unwrap()), (1, vec![9.0; 4]));
}

#[test]
fn parts_of_their_own_are_kept_apart_and_one_coloured_picture_colours_all() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        write(folder.path(), &format!("train/{class}/1.png"), &small(1));
    }
    let colour = png_of(Color::Rgb, 2, 2, &[7; 12]);
    write(folder.path(), "val/a/1.png", &colour);
    write(folder.path(), "val/b/1.png", &small(3));
    let path = folder.path().to_str().unwrap();
    let splits = open(path, &OpenOptions::default()).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (2, 2));
    assert_eq!(splits.train.input_shape(), [3, 2, 2]);
    write(folder.path(), "val/c/1.png", &small(3));
    let error = open(path, &OpenOptions::default()).unwrap_err().to_string();
    assert!(
        error.ends_with("c: expected one of the classes of the training part, a, b"),
        "{error}"
    );
}

#[test]
fn three_parts_are_known_in_letters_of_any_case() {
    for valid in ["valid", "Val", "VALIDATION"] {
        let folder = tempfile::tempdir().unwrap();
        for class in ["a", "b"] {
            for i in 0..4 {
                write(
                    folder.path(),
                    &format!("Train/{class}/{i}.png"),
                    &small(10 * i),
                );
            }
            write(
                folder.path(),
                &format!("{valid}/{class}/1.png"),
                &small(200),
            );
        }
        // A part that is held out need not have every class.
        write(folder.path(), "TEST/b/1.png", &small(250));
        let path = folder.path().to_str().unwrap();
        let options = OpenOptions {
            valid_fraction: 0.5,
            normalize: crate::Normalize::Standardize,
            ..OpenOptions::default()
        };
        let splits = open(path, &options).unwrap();
        let valid = splits.valid.as_ref().unwrap();
        assert_eq!(splits.train.classes(), ["a", "b"]);
        assert_eq!(
            [splits.train.len(), valid.len(), splits.test.len()],
            [8, 2, 1]
        );
        assert_eq!(valid.inputs().raw_row(0).unwrap()[0], 200.0);
        assert_eq!(splits.test.labels(), [1]);
        // Statistics are those of the training part.
        assert_eq!(splits.train.preprocess().mean(), [15.0 / 255.0]);
        assert_eq!(valid.preprocess(), splits.train.preprocess());
        // A fold comes out of the training part; the validation part stays.
        let folded = OpenOptions {
            fold: Some((2, 0)),
            ..options
        };
        let splits = open(path, &folded).unwrap();
        let valid = splits.valid.as_ref().unwrap();
        assert_eq!(
            [splits.train.len(), valid.len(), splits.test.len()],
            [4, 2, 4]
        );
        write(folder.path(), "tesT/a/1.png", &small(1));
        let error = open(path, &folded).unwrap_err().to_string();
        assert!(
            error.contains(": the same part of the data as ")
                && error.ends_with("; expected one of them"),
            "{error}"
        );
    }
}

#[test]
fn what_is_no_picture_or_does_not_fit_is_named() {
    let refused = |files: &[(&str, &[u8])], shape: Option<Vec<usize>>| {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            write(folder.path(), name, bytes);
        }
        let options = OpenOptions {
            input_shape: shape,
            ..OpenOptions::default()
        };
        let error = open(folder.path().to_str().unwrap(), &options).unwrap_err();
        error
            .to_string()
            .replace(folder.path().to_str().unwrap(), "F")
    };
    let wide = png_of(Color::Grey, 3, 2, &[0; 6]);
    assert_eq!(
        refused(&[("a/1.png", &small(0)), ("b/1.png", &wide)], None),
        "F/b/1.png: expected 2 x 2 pixels as in the other pictures, found 3 x 2; say data.input_shape=[1, 2, 2] to bring all to one size"
    );
    assert_eq!(
        refused(&[("a/1.png", &small(0)), ("b/1.png", b"GIF89a")], None),
        "F/b/1.png: cannot be read as a PNG or JPEG picture: it is a GIF; save it as PNG"
    );
    assert_eq!(
        refused(&[("a/1.png", &small(0))], None),
        "F: expected a folder with PNG or JPEG pictures for each of at least two classes, or such folders in train and test (and valid, val or validation), found 1"
    );
    assert_eq!(
        refused(
            &[("a/1.png", &small(0)), ("b/1.png", &small(0))],
            Some(vec![4])
        ),
        "F: expected samples of shape [4], as rows of a table are, found pictures or a folder for them; they have the shape [1 or 3, height, width]"
    );
    let mut cut = small(0);
    cut.truncate(50);
    let said = refused(&[("a/1.png", &small(0)), ("b/1.png", &cut)], None);
    assert!(
        said.starts_with("F/b/1.png: cannot be read as a PNG or JPEG picture: "),
        "{said}"
    );
}

#[test]
fn a_header_that_lies_about_its_size_takes_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut huge = small(0);
    // The header's width and height with its checksum.
    huge[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let header = huge[16..29].to_vec();
    huge[8..33].copy_from_slice(&chunk(b"IHDR", &header));
    write(folder.path(), "x.png", &huge);
    let error = read_picture(&folder.path().join("x.png"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("it is 2147483647 x 2147483647; expected from 1 to 67108864 pixels"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_rows_and_header_are_read_or_refused(
        header in prop::array::uniform5(0_u8..20), rows in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let [width, height, depth, color, interlaced] = header;
        let mut file = png_file(Color::Grey, depth, [width.into(), height.into()], interlaced, &rows);
        file[25] = color;
        let fixed = chunk(b"IHDR", &file[16..29]);
        file[8..33].copy_from_slice(&fixed);
        if let Ok(picture) = png::decode(&file) {
            prop_assert_eq!(picture.bytes.len(), picture.channels * picture.height * picture.width);
        }
    }

    #[test]
    fn damaged_pictures_are_errors_and_never_panics(jpeg: bool, at in 0_usize..1000, byte: u8, cut in 0_usize..1000) {
        let mut bytes = if jpeg { JPEG_FILE.to_vec() } else { small(7) };
        let at = 8 + at % (bytes.len() - 8);
        bytes[at] = byte;
        bytes.truncate(8 + cut % bytes.len());
        let _ = if jpeg { jpeg::decode(&bytes) } else { png::decode(&bytes) };
    }
}

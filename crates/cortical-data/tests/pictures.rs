//! Pictures as cameras, archives and broken copies leave them.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::path::{Path, PathBuf};

use cortical_data::{Error, OpenOptions, PictureDefect, Pixels, open, read_picture};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data/test")
        .join(name)
}

fn put(folder: &Path, name: &str, from: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::copy(file(from), path).unwrap();
}

fn is_unreadable(read: &Result<Pixels, Error>) -> bool {
    let Err(Error::Picture { defect, .. }) = read else {
        return false;
    };
    matches!(defect, PictureDefect::Unreadable { .. })
}

#[test]
fn a_picture_that_ends_early_is_refused() {
    let error = read_picture(&file("cut20.jpg")).unwrap_err().to_string();
    assert!(
        error.ends_with("cut20.jpg: cannot be read as a PNG or JPEG picture: it ends early: the last part of the picture is missing"),
        "{error}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.jpg");
    for name in ["halves.jpg", "exif3.jpg", "dots.png"] {
        let whole = fs::read(file(name)).unwrap();
        for end in (1..whole.len()).rev().step_by(11) {
            fs::write(&path, &whole[..end]).unwrap();
            assert!(is_unreadable(&read_picture(&path)), "{name} up to {end}");
        }
        // Whatever follows the end is none of the picture.
        fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        assert!(read_picture(&path).is_ok(), "{name}");
    }
}

#[test]
fn a_picture_is_turned_as_its_camera_was() {
    let upright = read_picture(&file("exif_none.jpg")).unwrap();
    let turned = read_picture(&file("exif3.jpg")).unwrap();
    assert_eq!(
        (turned.height, turned.width),
        (upright.height, upright.width)
    );
    // The same picture, stored upside down and compressed so: equal but for what JPEG loses.
    let far = |(a, b): (&u8, &u8)| a.abs_diff(*b) > 60;
    let differences = turned
        .bytes
        .iter()
        .zip(&upright.bytes)
        .filter(|pair| far(*pair))
        .count();
    assert!(differences * 50 < upright.bytes.len(), "{differences}");
    let as_stored = turned.bytes.iter().rev().zip(&upright.bytes);
    assert!(as_stored.filter(|pair| far(*pair)).count() * 5 > upright.bytes.len());
}

#[test]
fn folders_that_are_no_classes_are_left_out_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for class in ["cat", "dog"] {
        for i in 0..5 {
            put(folder.path(), &format!("{class}/{i}.jpg"), "halves.jpg");
        }
    }
    put(folder.path(), "__MACOSX/cat/1.jpg", "halves.jpg");
    put(folder.path(), "__MACOSX/2.jpg", "halves.jpg");
    fs::create_dir(folder.path().join("unsorted")).unwrap();
    fs::write(folder.path().join("unsorted/readme.txt"), "").unwrap();
    let splits = open(path, &OpenOptions::default()).unwrap();
    assert_eq!(splits.train.classes(), ["cat", "dog"]);
    assert_eq!(
        splits.about().summary,
        "10 pictures, 16 x 16 pixels, coloured, 2 classes"
    );
    let notes = &splits.about().notes;
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert_eq!(notes[0], "left out: the folder __MACOSX, which is no class");
    assert!(
        notes[1].starts_with("left out: the folder ") && notes[1].contains("unsorted"),
        "{notes:?}"
    );
}

#[test]
fn parts_that_lack_a_class_or_have_an_empty_one_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for name in ["train/cat", "train/dog", "Test/dog", "Val/cat"] {
        put(folder.path(), &format!("{name}/1.jpg"), "halves.jpg");
    }
    put(folder.path(), "__MACOSX/train/cat/1.jpg", "halves.jpg");
    fs::create_dir(folder.path().join("Test/bird")).unwrap();
    let splits = open(path, &OpenOptions::default()).unwrap();
    assert_eq!(splits.test.labels(), [1]);
    assert_eq!(splits.valid.as_ref().unwrap().labels(), [0]);
    assert_eq!(splits.train.classes(), ["cat", "dog"]);
    assert_eq!(
        splits.about().summary,
        "2 pictures for training, 1 for validation, 1 for testing, 16 x 16 pixels, coloured, 2 classes"
    );
    assert!(splits.about().notes[0].contains("bird"));
    put(folder.path(), "Test/bird/1.jpg", "halves.jpg");
    let error = open(path, &OpenOptions::default()).unwrap_err().to_string();
    assert!(
        error.ends_with("bird: expected one of the classes of the training part, cat, dog"),
        "{error}"
    );
}

//! Pictures as cameras, archives and broken copies leave them.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::path::{Path, PathBuf};

use cortical_data::csv::CsvOptions;
use cortical_data::{
    Error, OpenOptions, PictureDefect, Pixels, Preprocess, open, open_features, read_picture,
};

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
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert_eq!(
        notes[0],
        "left out: the folder __MACOSX, not taken for a class"
    );
    assert_eq!(
        notes[1],
        "left out: the folder unsorted, without a picture called .png, .jpg or .jpeg"
    );
    assert_eq!(
        notes[2],
        "left out: 1 file not called .png, .jpg or .jpeg (1 .txt), such as unsorted/readme.txt"
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
    assert_eq!(
        splits.about().notes,
        [
            "left out: the folder __MACOSX, not taken for a class",
            "left out: the folder Test/bird, without a picture called .png, .jpg or .jpeg",
        ]
    );
    put(folder.path(), "Test/bird/1.jpg", "halves.jpg");
    let error = open(path, &OpenOptions::default()).unwrap_err().to_string();
    assert!(
        error.ends_with("bird: expected one of the classes of the training part, cat, dog"),
        "{error}"
    );
}

/// Two classes of five pictures each.
fn cats_and_dogs(folder: &Path) {
    for class in ["cat", "dog"] {
        for i in 0..5 {
            put(folder, &format!("{class}/{i}.jpg"), "halves.jpg");
        }
    }
}

fn refused(folder: &Path) -> String {
    let path = folder.to_str().unwrap();
    let error = open(path, &OpenOptions::default()).unwrap_err();
    error.to_string().replace(path, "F")
}

#[test]
fn whatever_is_left_out_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    };
    cats_and_dogs(folder.path());
    put(folder.path(), "cat/more/1.jpg", "halves.jpg");
    put(folder.path(), "@eaDir/1.jpg", "halves.jpg");
    put(folder.path(), "beside.jpg", "halves.jpg");
    fs::create_dir(folder.path().join("dog/d.png")).unwrap();
    for name in ["cat/1.webp", "cat/2.webp", "dog/a.gif", "list"] {
        write(name);
    }
    let path = folder.path().to_str().unwrap();
    let splits = open(path, &OpenOptions::default()).unwrap();
    assert_eq!(splits.train.classes(), ["cat", "dog"]);
    assert_eq!(splits.train.len() + splits.test.len(), 10);
    assert_eq!(
        splits.about().notes,
        [
            "left out: the folder @eaDir, not taken for a class",
            "left out: the folders cat/more, dog/d.png, as the pictures of a class lie in its own folder",
            "left out: the picture beside.jpg, beside the folders of the classes",
            "left out: 4 files not called .png, .jpg or .jpeg (1 without an ending, 1 .gif, 2 .webp), such as list",
        ]
    );
}

#[test]
fn what_is_taken_for_which_part_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["train", "Validation", "unlabelled"] {
        put(folder.path(), &format!("{part}/cat/1.jpg"), "halves.jpg");
        put(folder.path(), &format!("{part}/dog/1.jpg"), "halves.jpg");
    }
    let path = folder.path().to_str().unwrap();
    let splits = open(path, &OpenOptions::default()).unwrap();
    let notes = &splits.about().notes;
    assert_eq!(
        notes[0],
        "left out: the folder unlabelled, not called like a part of the data: train, valid or test"
    );
    assert!(
        notes[1]
            .starts_with("there is no folder test, so the folder Validation is what is tested on"),
        "{notes:?}"
    );
}

#[test]
fn folders_that_cannot_be_understood_name_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["training", "testing"] {
        put(folder.path(), &format!("{part}/cat/1.jpg"), "halves.jpg");
        put(folder.path(), &format!("{part}/dog/1.jpg"), "halves.jpg");
    }
    assert_eq!(
        refused(folder.path()),
        "F: expected a folder with PNG or JPEG pictures for each of at least two classes, or such folders in train and test (and valid, val or validation), found 0; there are the folders testing, training"
    );
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "cat/1.jpg", "halves.jpg");
    fs::create_dir(folder.path().join("dog")).unwrap();
    fs::write(folder.path().join("dog/1.webp"), "x").unwrap();
    let said = refused(folder.path());
    assert!(
        said.ends_with("found 1; there are the folders dog, files of other kinds (1 .webp)"),
        "{said}"
    );
}

#[cfg(unix)]
#[test]
fn what_is_called_a_picture_and_is_none_is_refused() {
    let broken = |make: fn(&Path)| {
        let folder = tempfile::tempdir().unwrap();
        cats_and_dogs(folder.path());
        make(&folder.path().join("cat/x.png"));
        refused(folder.path())
    };
    let said = broken(|path| std::os::unix::fs::symlink("/dev/zero", path).unwrap());
    assert_eq!(
        said,
        "F/cat/x.png: expected a file, found a folder, a pipe or a device"
    );
    let said = broken(|path| std::os::unix::fs::symlink("nowhere.png", path).unwrap());
    assert!(
        said.starts_with("F/cat/x.png: cannot be read at byte 0"),
        "{said}"
    );
    let said = broken(|path| {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    });
    assert_eq!(
        said,
        "F/cat/x.png: expected a file, found a folder, a pipe or a device"
    );
}

#[test]
fn pictures_to_predict_are_found_in_the_folders_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let saved = Preprocess::new(&[3, 4, 4], 255.0, vec![], vec![]).unwrap();
    let read = |name: &str, saved: &Preprocess| {
        let path = folder.path().join(name);
        open_features(&path, saved, &CsvOptions::default())
    };
    let message = |name: &str, saved: &Preprocess| {
        let error = read(name, saved).unwrap_err().to_string();
        error.replace(folder.path().to_str().unwrap(), "F")
    };
    fs::create_dir(folder.path().join("set")).unwrap();
    fs::write(folder.path().join("set/a.webp"), "x").unwrap();
    assert_eq!(
        message("set", &saved),
        "F/set: expected pictures called .png, .jpg or .jpeg in it or in its folders, found none; there are files of other kinds (1 .webp)"
    );
    for name in [
        "set/b/2.jpg",
        "set/a/1.jpg",
        "set/c/d/3.jpg",
        "set/@eaDir/4.jpg",
    ] {
        put(folder.path(), name, "halves.jpg");
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink("..", folder.path().join("set/a/round")).unwrap();
    let found = read("set", &saved).unwrap();
    let names: Vec<_> = found
        .files
        .iter()
        .map(|file| file.strip_prefix(folder.path()).unwrap())
        .collect();
    assert_eq!(
        names,
        ["set/a/1.jpg", "set/b/2.jpg", "set/c/d/3.jpg"].map(Path::new)
    );
    assert_eq!(found.inputs.len(), 3);
    assert_eq!(
        found.about.notes[0],
        "left out: the folder @eaDir, not taken for a class"
    );
    // A file called so is no table, however it begins.
    for (name, bytes, why) in [
        ("zero.png", &b""[..], "it is empty"),
        ("a.gif", b"GIF89a", "it is a GIF; save it as PNG"),
        (
            "t.jpg",
            b"1,2,3\n",
            "its first bytes are those of another format",
        ),
    ] {
        fs::write(folder.path().join(name), bytes).unwrap();
        let want = format!("F/{name}: cannot be read as a PNG or JPEG picture: {why}");
        assert_eq!(message(name, &saved), want);
    }
    // Nor are pictures rows of a table.
    let rows = Preprocess::new(&[4], 1.0, vec![], vec![]).unwrap();
    assert!(
        message("set", &rows)
            .starts_with("F/set: expected samples of shape [4], as rows of a table are")
    );
}

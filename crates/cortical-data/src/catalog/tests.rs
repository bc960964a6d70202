//! Names that are known, and how data sets are divided and prepared.

use super::*;

#[test]
fn the_catalog_tells_the_truth() {
    let options = OpenOptions::default();
    for entry in catalog()
        .iter()
        .filter(|entry| entry.test_samples.is_none())
    {
        let splits = open(entry.name, &options).unwrap();
        assert_eq!(splits.train.len() + splits.test.len(), entry.samples);
        for part in [&splits.train, &splits.test] {
            assert_eq!(part.input_shape(), entry.input_shape, "{}", entry.name);
            assert_eq!(part.classes(), entry.classes, "{}", entry.name);
        }
    }
}

#[test]
fn an_unknown_name_is_told_its_neighbour() {
    let check = |name: &str, text: &str| {
        let error = open(name, &OpenOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), text);
    };
    check(
        "digit",
        "there is no data set, file or folder called \"digit\" (did you mean \"digits\"?); data sets: concrete, digits, edges, iris, fashion-mnist; a path names a CSV file, a safetensors table, or a folder of pictures or with four IDX files",
    );
    check(
        "no/such.csv",
        "there is no data set, file or folder called \"no/such.csv\"; data sets: concrete, digits, edges, iris, fashion-mnist; a path names a CSV file, a safetensors table, or a folder of pictures or with four IDX files",
    );
}

#[test]
fn fashion_mnist_is_found_in_the_data_folder_first() {
    let folder = tempfile::tempdir().unwrap();
    let open_there = |normalize| {
        let options = OpenOptions {
            data_dir: Some(folder.path().to_owned()),
            normalize,
            ..OpenOptions::default()
        };
        open("fashion-mnist", &options)
    };
    let inside = folder.path().join("fashion-mnist");
    std::fs::create_dir(&inside).unwrap();
    let images = [
        &idx::IMAGES_MAGIC[..],
        &[0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 51, 255],
    ]
    .concat();
    let labels = [0, 0, 8, 1, 0, 0, 0, 2, 9, 0];
    for part in ["train", "t10k"] {
        std::fs::write(inside.join(format!("{part}-images-idx3-ubyte")), &images).unwrap();
        std::fs::write(inside.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
    let splits = open_there(Normalize::Auto).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (2, 2));
    assert_eq!(
        splits.test.classes()[splits.test.labels()[0] as usize],
        "Ankle boot"
    );
    let x = splits
        .test
        .inputs()
        .tensor(0..2, &candle_core::Device::Cpu)
        .unwrap();
    assert_eq!(
        x.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
        [0.2, 1.0]
    );
    // The same folder by its path has no names for the classes.
    let path = inside.to_str().unwrap();
    let unnamed = open(path, &OpenOptions::default()).unwrap();
    assert_eq!(unnamed.train.classes()[9], "9");
    assert_eq!(
        open_there(Normalize::Standardize)
            .unwrap()
            .train
            .preprocess()
            .mean(),
        [0.6]
    );
}

#[test]
fn a_data_set_that_is_not_installed_says_how_to_install_it() {
    let error = Error::NotInstalled {
        name: "fashion-mnist",
        looked_in: "a, b".into(),
        install: FASHION_INSTALL,
    };
    assert_eq!(
        error.to_string(),
        "the files of fashion-mnist are not on this machine; looked in a, b; install them with `apt-get install dataset-fashion-mnist` or name their folder"
    );
    let folders = folders("fashion-mnist", Some(Path::new("d")));
    let folders: Vec<_> = folders.iter().map(|f| f.to_str().unwrap()).collect();
    assert_eq!(
        folders,
        [
            "d/fashion-mnist",
            "d",
            "/usr/share/datasets/fashion-mnist",
            ".cache/fashion-mnist",
            ".cache/fashion-mnist/usr/share/datasets/fashion-mnist"
        ]
    );
}

#[test]
fn statistics_come_from_the_training_part_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let rows: String = (0..20).map(|i| format!("{i},{}\n", i % 2)).collect();
    std::fs::write(&path, rows).unwrap();
    let splits = open(path.to_str().unwrap(), &OpenOptions::default()).unwrap();
    assert_eq!((splits.train.len(), splits.test.len()), (16, 4));
    let train = (0..16).map(|row| splits.train.inputs().raw_row(row).unwrap()[0]);
    let mean = train.sum::<f32>() / 16.0;
    assert_eq!(splits.train.preprocess().mean(), [mean]);
    assert_eq!(splits.train.preprocess(), splits.test.preprocess());
    assert_ne!(mean, 9.5, "the mean of all twenty rows");
}

#[test]
fn validation_comes_out_of_what_a_fold_leaves_to_learn_from() {
    let parts = |fold, valid_fraction| {
        let options = OpenOptions {
            seed: Seed(3),
            fold,
            valid_fraction,
            ..OpenOptions::default()
        };
        let splits = open("iris", &options).unwrap();
        for (name, part) in splits.parts() {
            assert_eq!(part.preprocess(), splits.train.preprocess(), "{name}");
        }
        let raw = |part: &Dataset| -> Vec<_> {
            (0..part.len())
                .flat_map(|row| part.inputs().raw_row(row).unwrap())
                .collect()
        };
        (
            raw(&splits.train),
            splits.valid.as_ref().map(raw).unwrap_or_default(),
            raw(&splits.test),
        )
    };
    for fold in [None, Some((5, 2))] {
        let (train, none, test) = parts(fold, 0.0);
        assert!(none.is_empty());
        let (fewer, valid, same) = parts(fold, 0.1);
        assert_eq!(test, same);
        assert_eq!((valid.len(), fewer.len()), (4 * 12, 4 * 108));
        assert_eq!(train.len(), 4 * 120);
    }
}

#[test]
fn seed_and_fraction_decide_what_is_held_out() {
    let held_out = |seed, test_fraction| {
        let options = OpenOptions {
            seed: Seed(seed),
            test_fraction,
            normalize: Normalize::None,
            ..OpenOptions::default()
        };
        let test = open("iris", &options).unwrap().test;
        test.inputs()
            .tensor(0..test.len(), &candle_core::Device::Cpu)
            .unwrap()
            .to_vec2::<f32>()
            .unwrap()
    };
    assert_eq!(held_out(1, 0.5).len(), 75);
    assert_eq!(held_out(1, 0.2).len(), 30);
    assert_ne!(held_out(1, 0.2), held_out(2, 0.2));
}

#[test]
fn columns_can_be_seen_as_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    std::fs::write(&path, "1,2,3,4,a\n5,6,7,8,b\n".repeat(5)).unwrap();
    let options = OpenOptions {
        input_shape: Some(vec![1, 2, 2]),
        ..OpenOptions::default()
    };
    let splits = open(path.to_str().unwrap(), &options).unwrap();
    assert_eq!(splits.train.input_shape(), [1, 2, 2]);
    assert_eq!(splits.train.preprocess().mean().len(), 1);
}

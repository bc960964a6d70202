//! Tables as people and other programs write them: headers, labels, gaps, and columns in another order than a model's.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};

use candle_core::Device;
use cortical_data::csv::{
    self, Column, ColumnKind, CsvOptions, LabelColumn, read_features_from, read_from,
};
use cortical_data::{
    Dataset, Features, Inputs, Normalize, OpenOptions, Preprocess, Result, iris, open,
    open_features,
};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("data/test")
        .join(name)
}

fn parse(text: &str) -> Result<Dataset> {
    read_from(text.as_bytes(), Path::new("t.csv"), &CsvOptions::default())
}

fn rows(inputs: &Inputs) -> Vec<Vec<f32>> {
    let all = inputs.tensor(0..inputs.len(), &Device::Cpu).unwrap();
    all.to_vec2().unwrap()
}

fn labelled(name: &str) -> CsvOptions {
    CsvOptions {
        label: Some(LabelColumn::Name(name.to_owned())),
        ..CsvOptions::default()
    }
}

/// Labels all of which are classes.
fn known(labels: Option<Vec<Option<u32>>>) -> Option<Vec<u32>> {
    labels?.into_iter().collect()
}

/// What a model trained on a table keeps of it, through the form in which it is saved.
fn saved(dataset: &Dataset) -> Preprocess {
    let fitted = Preprocess::fit(Normalize::Auto, dataset.inputs()).unwrap();
    serde_json::from_str(&serde_json::to_string(&fitted).unwrap()).unwrap()
}

#[test]
fn a_header_of_numbers_is_a_header() {
    let read = csv::read(&file("intheader.csv"), &CsvOptions::default()).unwrap();
    assert_eq!(read.len(), 60);
    assert_eq!(read.classes(), ["blue", "green", "red"]);
    assert_eq!(
        read.about().summary,
        "60 rows, 4 numbers, label \"colour\" with 3 classes, header in line 1"
    );
    assert_eq!(read.inputs().raw_row(0).unwrap()[0], 0.386);
    // The other file has names, and the same rows.
    let named = csv::read(&file("named.csv"), &CsvOptions::default()).unwrap();
    assert_eq!(rows(named.inputs()), rows(read.inputs()));
}

#[test]
fn a_label_that_says_that_there_is_none_is_refused() {
    for word in [
        "nan", "NaN", "-nan", "NA", "n/a", "#N/A", "<NA>", "null", "?",
    ] {
        for text in [
            format!("x,y\n1,a\n2,{word}\n3,b\n"),
            format!("1,{word}\n2,a\n3,b\n"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            let end = format!(
                "column 2: expected a label, found {word:?}, which says that there is none; take the row out or give the class another name"
            );
            assert!(error.ends_with(&end), "{text}{error}");
        }
    }
    // Sodium, and what is the absence of something.
    let read = parse("1,Na\n2,None\n3,-\n4,none\n").unwrap();
    assert_eq!(read.classes(), ["-", "Na", "None", "none"]);
    // Python writes that for a missing value too, so it is said.
    let notes = &read.about().notes;
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("\"None\" is taken for a class")),
        "{notes:?}"
    );
    let read = parse("1,Na\n2,none\n3,Na\n4,none\n").unwrap();
    assert!(read.about().notes.is_empty(), "{:?}", read.about());
}

#[test]
fn a_models_columns_are_found_by_their_names() {
    let trained = csv::read(&file("named.csv"), &CsvOptions::default()).unwrap();
    let preprocess = saved(&trained);
    let names: Vec<_> = preprocess
        .columns()
        .iter()
        .map(|c| c.name.as_deref())
        .collect();
    assert_eq!(
        names,
        ["height", "width", "depth", "mass", "colour"].map(Some)
    );
    let options = CsvOptions {
        classes: Some(trained.classes().to_vec()),
        ..CsvOptions::default()
    };
    let seen = trained.preprocessed(&preprocess).unwrap();
    let read =
        |name: &str| -> Features { open_features(&file(name), &preprocess, &options).unwrap() };
    for name in ["named.csv", "reordered.csv", "reordered_nolabel.csv"] {
        assert_eq!(rows(&read(name).inputs), rows(seen.inputs()), "{name}");
    }
    assert_eq!(
        known(read("reordered.csv").labels).as_deref(),
        Some(trained.labels())
    );
    assert_eq!(read("reordered_nolabel.csv").labels, None);
    assert_eq!(
        read("reordered_nolabel.csv").about.summary,
        "60 rows, 4 numbers, header in line 1"
    );
}

#[test]
fn other_columns_than_a_models_are_refused_with_both_lists() {
    let trained = csv::read(&file("named.csv"), &CsvOptions::default()).unwrap();
    let options = CsvOptions {
        columns: saved(&trained).columns().to_vec(),
        classes: Some(trained.classes().to_vec()),
        ..CsvOptions::default()
    };
    let read = |text: &str| read_features_from(text.as_bytes(), Path::new("t.csv"), 4, &options);
    for header in [
        "mass,depth,width",
        "mass,depth,width,height,colour,age",
        "mass,depth,width,hight,colour",
        "mass,depth,width,height,color",
        "a,b,c,d",
        "height,width,depth,4",
    ] {
        let text = format!(
            "{header}\n{}\n",
            vec!["1"; header.split(',').count()].join(",")
        );
        let list = header.replace(',', ", ");
        assert_eq!(
            read(&text).unwrap_err().to_string(),
            format!(
                "t.csv, line 1: expected the columns height, width, depth, mass (and colour for the label) as in the table that the model was trained with, found {list}"
            )
        );
    }
    // Without a header the places count, with a label at its place or none.
    for text in ["1,2,3,4\n", "1,2,3,4,red\n"] {
        assert_eq!(rows(&read(text).unwrap().inputs), [[1.0, 2.0, 3.0, 4.0]]);
    }
    assert_eq!(
        read("1,2,3\n").unwrap_err().to_string(),
        "t.csv, line 1: expected 4 (or one more with a label) cells separated by commas, found 3"
    );
    assert_eq!(
        read("1,2,x,4\n").unwrap_err().to_string(),
        "t.csv, line 1, column 3: expected a number, found \"x\"; if the column holds categories, name it in data.one_hot, or leave it out by data.ignore"
    );
    // Training on from a model takes its columns too, and needs the label.
    let text = "mass,colour,depth,width,height\n4,red,3,2,1\n5,blue,5,5,5\n";
    let on = read_from(text.as_bytes(), Path::new("t.csv"), &options).unwrap();
    assert_eq!(rows(on.inputs())[0], [1.0, 2.0, 3.0, 4.0]);
    let text = "mass,depth,width,height\n4,3,2,1\n";
    let error = read_from(text.as_bytes(), Path::new("t.csv"), &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "t.csv, line 1: expected a label column beside the model's columns, found none"
    );
}

#[test]
fn numbers_as_names_are_found_in_any_order_too() {
    let trained = csv::read(&file("intheader.csv"), &CsvOptions::default()).unwrap();
    let columns = saved(&trained).columns().to_vec();
    let read = |text: &str| {
        let columns = columns.clone();
        let options = CsvOptions {
            columns,
            ..CsvOptions::default()
        };
        read_features_from(text.as_bytes(), Path::new("t.csv"), 4, &options)
    };
    let turned = read("3,2,1,0\n40.5,30.5,20.5,10.5\n").unwrap();
    assert_eq!(rows(&turned.inputs), [[10.5, 20.5, 30.5, 40.5]]);
    let error = read("0,1,2,4\n1,1,1,1\n").unwrap_err().to_string();
    assert!(error.contains("expected the columns 0, 1, 2, 3"), "{error}");
    assert_eq!(rows(&read("5.5,6,7,8\n").unwrap().inputs).len(), 1);
}

#[test]
fn labels_that_are_not_last_are_known_again() {
    let trained = csv::read(&file("labelfirst.csv"), &labelled("y")).unwrap();
    let options = CsvOptions {
        classes: Some(trained.classes().to_vec()),
        ..CsvOptions::default()
    };
    let read = open_features(&file("labelfirst.csv"), &saved(&trained), &options).unwrap();
    assert_eq!(known(read.labels).as_deref(), Some(trained.labels()));
    assert_eq!(rows(&read.inputs).len(), 80);
    // Without a header the place of the label is kept.
    let first = CsvOptions {
        label: Some(LabelColumn::Number(1)),
        ..CsvOptions::default()
    };
    let bare = "1,0.5,2\n0,1.5,3\n1,2.5,4\n";
    let trained = read_from(bare.as_bytes(), Path::new("t.csv"), &first).unwrap();
    let options = CsvOptions {
        columns: saved(&trained).columns().to_vec(),
        classes: Some(trained.classes().to_vec()),
        ..CsvOptions::default()
    };
    let read = read_features_from(bare.as_bytes(), Path::new("t.csv"), 2, &options).unwrap();
    assert_eq!(known(read.labels).as_deref(), Some(trained.labels()));
}

#[test]
fn times_in_milliseconds_stay_apart() {
    let splits = open(
        file("timestamps.csv").to_str().unwrap(),
        &OpenOptions::default(),
    )
    .unwrap();
    assert!(splits.about().notes.is_empty(), "{:?}", splits.about());
    // One number per row tells the classes apart: all of one class lie below all of the other.
    let seen = rows(splits.train.inputs());
    let of = |class: u32| {
        let all = seen.iter().zip(splits.train.labels());
        all.filter(move |(_, label)| **label == class)
            .map(|(row, _)| row[0])
    };
    let last_early = of(0).fold(f32::MIN, f32::max);
    let first_late = of(1).fold(f32::MAX, f32::min);
    assert!(last_early < first_late, "{last_early} {first_late}");
    // The saved form gives the same numbers.
    let json = serde_json::to_string(splits.train.preprocess()).unwrap();
    let again: Preprocess = serde_json::from_str(&json).unwrap();
    assert_eq!(&again, splits.train.preprocess());
    let options = CsvOptions::default();
    let all = open_features(&file("timestamps.csv"), &again, &options).unwrap();
    let mean = rows(&all.inputs)
        .iter()
        .map(|row| f64::from(row[0]))
        .sum::<f64>()
        / 200.0;
    assert!(mean.abs() < 0.2, "{mean}");
}

#[test]
fn a_column_without_a_difference_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let open_with = |text: &str, normalize| {
        std::fs::write(&path, text).unwrap();
        let options = OpenOptions {
            normalize,
            ..OpenOptions::default()
        };
        open(path.to_str().unwrap(), &options)
            .unwrap()
            .about()
            .notes
            .clone()
    };
    let table = |header: &str| {
        let rows = (0..40).map(|i| format!("{},7,{}\n", 1_700_000_000_000_u64 + i, i % 2));
        rows.fold(header.to_owned(), |text, row| text + &row)
    };
    let note = "the same value in every row of the training part";
    assert_eq!(
        open_with(&table("when,seven,kind\n"), Normalize::Auto),
        [format!("{note}: column \"seven\"")]
    );
    // Without standardising, single precision makes the first column one value.
    assert_eq!(
        open_with(&table(""), Normalize::None),
        [format!("{note}: column 1, column 2")]
    );
}

#[test]
fn a_column_that_counts_the_rows_is_named() {
    let about = |text: &str| parse(text).unwrap().about().notes.clone();
    let table = ",x,kind\n0,5.5,a\n1,4.5,b\n2,5.5,a\n";
    assert_eq!(
        about(table),
        ["column 1 has no name and counts the rows; data.ignore=[1] leaves it out"]
    );
    assert!(about(&table.replace("\n2,", "\n7,")).is_empty());
    assert!(about(&table.replace(",x", "id,x")).is_empty());
}

#[test]
fn a_table_of_tensors_in_double_precision_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    let times: Vec<f64> = (0..10).map(|i| 1.7e12 + f64::from(i)).collect();
    let labels: Vec<u32> = (0..10).map(|i| i % 2).collect();
    let cpu = &Device::Cpu;
    let tensors = [
        (
            "inputs".to_owned(),
            candle_core::Tensor::from_vec(times, (10, 1), cpu).unwrap(),
        ),
        (
            "labels".to_owned(),
            candle_core::Tensor::new(labels, cpu).unwrap(),
        ),
    ];
    cortical_io::save_tensors(&path, &tensors, &std::collections::BTreeMap::default()).unwrap();
    let splits = open(path.to_str().unwrap(), &OpenOptions::default()).unwrap();
    assert_eq!(splits.about().summary, "10 samples of shape [1], 2 classes");
    let mut seen: Vec<f32> = rows(splits.train.inputs()).concat();
    seen.sort_by(f32::total_cmp);
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
}

#[test]
fn files_from_before_columns_had_names_are_read_as_they_were() {
    let old = r#"{"input_shape":[3],"range":1.0,"mean":[],"std":[],"columns":["ignored",{"one_hot":["blue","red"]},"number"]}"#;
    let preprocess: Preprocess = serde_json::from_str(old).unwrap();
    assert_eq!(serde_json::to_string(&preprocess).unwrap(), old);
    let options = CsvOptions {
        columns: preprocess.columns().to_vec(),
        ..CsvOptions::default()
    };
    for text in [
        "9,red,0.5\n",
        "9,red,0.5,a\n",
        "id,colour,size\n9,red,0.5\n",
    ] {
        let read = read_features_from(text.as_bytes(), Path::new("t.csv"), 3, &options);
        assert_eq!(rows(&read.unwrap().inputs), [[0.0, 1.0, 0.5]], "{text}");
    }
    let twice = vec![
        Column::named("a", ColumnKind::Number),
        Column::named("b", ColumnKind::Label),
        Column::named("c", ColumnKind::Label),
    ];
    let error = Preprocess::identity(&[1])
        .unwrap()
        .with_columns(twice)
        .unwrap_err();
    assert!(
        error.to_string().contains("to have one label at most"),
        "{error}"
    );
}

/// The bits of the embedded iris are those of its numbers in single precision.
#[test]
fn iris_has_the_bits_that_it_had() {
    let text = include_str!("../data/iris.csv");
    let iris = iris().unwrap();
    for (row, line) in text.lines().skip(1).enumerate() {
        let want: Vec<f32> = line
            .split(',')
            .take(4)
            .map(|x| x.parse().unwrap())
            .collect();
        assert_eq!(iris.inputs().raw_row(row).unwrap(), want);
    }
    assert!(iris.preprocess().columns().is_empty());
    let fitted = Preprocess::fit(Normalize::Auto, iris.inputs()).unwrap();
    assert!(!serde_json::to_string(&fitted).unwrap().contains("precise"));
    // From a file the same numbers are standardised in double precision: the same within the last bits.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/iris.csv");
    let file = csv::read(&path, &CsvOptions::default()).unwrap();
    let precise = Preprocess::fit(Normalize::Auto, file.inputs()).unwrap();
    let a = rows(iris.preprocessed(&fitted).unwrap().inputs());
    let b = rows(file.preprocessed(&precise).unwrap().inputs());
    let difference = a
        .iter()
        .flatten()
        .zip(b.iter().flatten())
        .map(|(a, b)| (a - b).abs());
    let largest = difference.fold(0.0, f32::max);
    assert!(largest < 2e-6, "{largest}");
}

#[test]
fn a_label_that_is_a_quantity_is_no_class() {
    let table = |label: &dyn Fn(usize) -> String, rows: usize| {
        let rows = (0..rows).map(|i| format!("{i},{}\n", label(i)));
        let text: String = std::iter::once("x,y\n".to_owned()).chain(rows).collect();
        csv::read_from(text.as_bytes(), "t.csv".as_ref(), &CsvOptions::default())
    };
    let price = table(&|i| format!("{}.25", i), 800)
        .unwrap_err()
        .to_string();
    assert!(
        price.contains("found 800 different numbers as labels of 800 rows"),
        "{price}"
    );
    assert!(table(&|i| i.to_string(), 60).is_err());
    // Ten digits, hundred words of one row each, and a rating in halves are classes.
    assert!(table(&|i| (i % 10).to_string(), 40).is_ok());
    assert!(table(&|i| format!("word{i}"), 100).is_ok());
    assert!(table(&|i| format!("{}.5", i % 30), 600).is_ok());
}

#[test]
fn a_category_with_a_comma_is_one_in_messages() {
    let text = "x,colour,y\n1,\"blue, dark\",a\n2,red,b\n3,red,a\n";
    let options = CsvOptions {
        one_hot: vec![LabelColumn::Name("colour".to_owned())],
        ..CsvOptions::default()
    };
    let table = read_from(text.as_bytes(), Path::new("t.csv"), &options).unwrap();
    let columns = table.preprocess().columns().to_vec();
    let options = CsvOptions {
        columns,
        ..CsvOptions::default()
    };
    let other = text.replace("blue, dark", "green");
    let error = read_from(other.as_bytes(), Path::new("t.csv"), &options).unwrap_err();
    let want = "expected one of the categories \"blue, dark\", red, found \"green\"";
    assert!(error.to_string().contains(want), "{error}");
}

#[test]
fn what_is_no_table_of_numbers_says_what_to_do() {
    let error = |text: &str| parse(text).unwrap_err().to_string();
    let cell = |cell: &str| error(&format!("x,y,kind\n\"{cell}\",1,a\n2,3,b\n"));
    for (text, advice) in [
        ("2024-01-31", "dates are no numbers"),
        ("2024-01-31T12:00:00Z", "dates are no numbers"),
        ("31.12.2024", "dates are no numbers"),
        ("1/31/24 10:00", "dates are no numbers"),
        ("12:30:00", "dates are no numbers"),
        ("1_000", "without signs between their digits"),
        ("1,000", "without signs between their digits"),
        ("0,5", "with a point before the fraction"),
        ("0x1F", "data.ignore"),
        ("B12", "data.one_hot"),
        ("red", "data.one_hot"),
    ] {
        let said = cell(text);
        let want = format!("t.csv, line 2, column 1: expected a number, found \"{text}\"; ");
        assert!(said.starts_with(&want) && said.contains(advice), "{said}");
    }
    for (text, want) in [
        (
            "x;y;kind\n1;2;a\n",
            "found 1; it has semicolons: save the file with commas",
        ),
        (
            "x\ty\tkind\n1\t2\ta\n",
            "found 1; it has tabs: a file called .tsv",
        ),
        ("x|y|kind\n1|2|a\n", "found 1; it has bars"),
        ("PK\u{3}\u{4}\u{14}\n", "found 1; it is a spreadsheet"),
        ("PAR1\u{15}\n", "found 1; it is a Parquet file"),
        ("<!DOCTYPE html>\n", "found 1; it is HTML"),
        ("{\n\"x\": [1]}\n", "found 1; it is JSON"),
        (
            "# mine\nx,y\n1,a\n",
            "found 1; it is a remark: take the line out",
        ),
        ("x\n1\n", "separated by commas, found 1"),
        (
            "x,y,kind\r1,2,a\r3,4,b\r",
            "t.csv, line 1: expected lines that end with a line feed, found carriage returns alone",
        ),
    ] {
        let said = error(text);
        assert!(said.contains(want), "{said}");
    }
    let tabs = csv::read_from(
        "x,y,kind\n1,2,a\n".as_bytes(),
        Path::new("t.tsv"),
        &CsvOptions::default(),
    );
    let said = tabs.unwrap_err().to_string();
    let want =
        "cells separated by tabs, found 1; it has commas: a file called .csv is read with those";
    assert!(said.ends_with(want), "{said}");
}

#[test]
fn classes_that_are_written_in_two_ways_are_named() {
    let notes = |labels: [&str; 4]| {
        let row = |(i, label): (usize, &str)| format!("{i}.5,{label}\n");
        let rows: String = labels.into_iter().enumerate().map(row).collect();
        parse(&format!("x,label\n{rows}"))
            .unwrap()
            .about()
            .notes
            .clone()
    };
    let note = |alike: &str| {
        vec![format!(
            "classes that differ in nothing but how they are written: {alike}; write them alike if they are the same"
        )]
    };
    assert_eq!(notes(["0", "1", "0.0", "01"]), note("0 and 0.0, 1 and 01"));
    assert_eq!(notes(["Red", "green", "red", "green"]), note("Red and red"));
    assert!(notes(["1", "2", "10", "1"]).is_empty());
    assert!(notes(["inf", "Infinity", "a", "b"]).is_empty());
}

//! Tests of the CSV reader: what it takes, and the text of what it refuses.

use super::*;
use crate::error::{CsvDefect, Error};
use crate::inputs::Inputs;
use candle_core::Device;
use proptest::prelude::*;

fn parse(text: &str, options: &CsvOptions) -> Result<Dataset> {
    read_from(text.as_bytes(), Path::new("t.csv"), options)
}

fn labelled(label: &str) -> CsvOptions {
    CsvOptions {
        label: Some(LabelColumn::parse(label)),
        ..CsvOptions::default()
    }
}

fn of_classes(classes: &[&str]) -> CsvOptions {
    CsvOptions {
        classes: Some(classes.iter().map(|&c| c.to_owned()).collect()),
        ..CsvOptions::default()
    }
}

fn values(inputs: &Inputs) -> Vec<Vec<f32>> {
    let all = inputs.tensor(0..inputs.len(), &Device::Cpu).unwrap();
    all.to_vec2().unwrap()
}

#[test]
fn the_label_column_is_found() {
    let check = |text: &str, options: &CsvOptions, want: [[f32; 2]; 2], labels: [u32; 2]| {
        let dataset = parse(text, options).unwrap();
        assert_eq!(values(dataset.inputs()), want, "{text:?}");
        assert_eq!(dataset.labels(), labels, "{text:?}");
        assert_eq!(dataset.classes(), ["a", "b"], "{text:?}");
    };
    let want = [[1.0, 2.0], [3.0, 4.0]];
    let last = CsvOptions::default();
    check("1,2,b\n3,4,a\n", &last, want, [1, 0]);
    check("x,y,label\n1,2,b\n3,4,a", &last, want, [1, 0]);
    check(
        "x,label,y\r\n1,a,2\r\n3,b,4",
        &labelled("label"),
        want,
        [0, 1],
    );
    check("x,label,y\n1,a,2\n3,b,4", &labelled("2"), want, [0, 1]);
    check("a,1,2\nb,3,4", &labelled("1"), want, [0, 1]);
    check("\"1\", 2 ,\"a\"\n3e0,+4.0,\"b\"\n", &last, want, [0, 1]);
    // A header whose names are all numbers is a header when the label is asked for by name.
    check(
        "7,8,9\n1,2,a\n3,4,b\n",
        &CsvOptions {
            label: Some(LabelColumn::Name("9".into())),
            ..last.clone()
        },
        want,
        [0, 1],
    );
}

#[test]
fn classes_sort_as_numbers_when_they_are() {
    let check = |labels: &[&str], want: &[&str]| {
        let text: String = labels.iter().map(|l| format!("1,{l}\n")).collect();
        let dataset = parse(&text, &CsvOptions::default()).unwrap();
        assert_eq!(dataset.classes(), want);
        let named = dataset
            .labels()
            .iter()
            .map(|&y| &dataset.classes()[y as usize]);
        assert!(named.eq(labels.iter()), "labels still name their class");
    };
    check(&["10", "9", "-1", "9"], &["-1", "9", "10"]);
    check(&["10", "9", "x"], &["10", "9", "x"]);
    check(&["1.0", "1", "0.5"], &["0.5", "1", "1.0"]);
}

#[test]
fn malformed_files_say_where_and_what() {
    let last = CsvOptions::default();
    let check = |text: &str, options: &CsvOptions, message: &str| {
        assert_eq!(
            parse(text, options).unwrap_err().to_string(),
            message,
            "{text:?}"
        );
    };
    let empty = |line| {
        format!("t.csv, line {line}: expected at least one row of data, found the end of the file")
    };
    check("", &last, &empty(0));
    check("\n\n", &last, &empty(2));
    check("x,y\n", &last, &empty(1));
    check(
        "1,2,a\n\n1,b\n",
        &last,
        "t.csv, line 3: expected 3 cells separated by commas, found 2",
    );
    check(
        "1;2;a\n",
        &last,
        "t.csv, line 1: expected at least 2 (features and a label) cells separated by commas, found 1; it has semicolons: save the file with commas between its cells, and points in its numbers",
    );
    check(
        "1,2,a\n1,2x,b\n",
        &last,
        "t.csv, line 2, column 2: expected a number, found \"2x\"",
    );
    check(
        ",2,a\n1,2,b\n",
        &last,
        "t.csv, line 1, column 1: expected a number, found \"\"; fill it in by data.missing=mean (median, most_frequent), or leave the row out by data.missing=drop",
    );
    for found in ["inf", "-infinity", "1e39"] {
        let message = format!(
            "t.csv, line 2, column 1: expected a finite number within the range of f32, found {found:?}"
        );
        check(&format!("1,a\n{found},b\n"), &last, &message);
    }
    check(
        "1,a\n2,\n",
        &last,
        "t.csv, line 2, column 2: expected a label, found an empty cell",
    );
    check(
        "1,a\n2,a\n",
        &last,
        "t.csv, line 2: expected labels of at least two classes, found only \"a\"; is column 2 the label?",
    );
    check(
        "x,y\n1,a\n2,b\n",
        &labelled("z"),
        "t.csv, line 1: expected a label column \"z\", found the columns x, y",
    );
    check(
        "x,x\n1,a\n2,b\n",
        &labelled("x"),
        "t.csv, line 1: expected a label column \"x\", found it more than once",
    );
    for number in ["0", "3"] {
        let message = format!(
            "t.csv, line 1: expected a label column {number} (columns count from 1), found 2 columns"
        );
        check("1,a\n2,b\n", &labelled(number), &message);
    }
    check(
        "1,a\n2,c\n",
        &of_classes(&["a", "b"]),
        "t.csv, line 2, column 2: expected a label among a, b, found \"c\"",
    );
    let long = "y".repeat(100);
    check(
        &format!("1,a\n{long},b\n"),
        &last,
        &format!(
            "t.csv, line 2, column 1: expected a number, found \"{}…\"",
            &long[..40]
        ),
    );
}

#[test]
fn a_row_to_predict_from_needs_no_label() {
    let check = |text: &str, options: &CsvOptions, labels: Option<&[Option<u32>]>| {
        let features = read_features_from(text.as_bytes(), Path::new("t.csv"), 2, options).unwrap();
        assert_eq!(values(&features.inputs), [[1.0, 2.0]], "{text:?}");
        assert_eq!(features.labels.as_deref(), labels, "{text:?}");
    };
    let known = of_classes(&["b", "a"]);
    check("1,2\n", &known, None);
    check("x,y\n1,2\n", &known, None);
    check("1,2,a\n", &known, Some(&[Some(1)]));
    check("x,y,z\n1,2,a\n", &known, Some(&[Some(1)]));
    check("1,2,whatever\n", &CsvOptions::default(), None);
    let some = CsvOptions {
        may_lack_labels: true,
        ..known.clone()
    };
    check("x,y,z\n1,2,\n", &some, Some(&[None]));
    check("x,y,z\n1,2,new\n", &some, Some(&[None]));
    check("1,2,b\n", &some, Some(&[Some(0)]));

    let refuse = |text: &str, message: &str| {
        let error = read_features_from(text.as_bytes(), Path::new("t.csv"), 2, &known).unwrap_err();
        assert_eq!(error.to_string(), message);
    };
    refuse(
        "1,2,3,a\n",
        "t.csv, line 1: expected 2 (or one more with a label) cells separated by commas, found 4",
    );
    refuse(
        "1,2,c\n",
        "t.csv, line 1, column 3: expected a label among b, a, found \"c\"",
    );
    refuse(
        "x,y\n",
        "t.csv, line 1: expected at least one row of data, found the end of the file",
    );
}

/// A table with a number of the row, a colour, a length and a kind.
const ANIMALS: &str = "row,colour,length,kind\n1,red,0.5,a\n2,blue,1.5,b\n3,red,2.5,a\n";

fn animals(one_hot: &[&str], ignore: &[&str]) -> CsvOptions {
    let columns = |names: &[&str]| names.iter().map(|name| LabelColumn::parse(name)).collect();
    CsvOptions {
        one_hot: columns(one_hot),
        ignore: columns(ignore),
        ..CsvOptions::default()
    }
}

#[test]
fn categories_become_a_number_each_and_a_model_keeps_them() {
    for options in [
        animals(&["colour"], &["row"]),
        animals(&["2"], &["1"]),
        animals(&["colour"], &["1"]),
    ] {
        let dataset = parse(ANIMALS, &options).unwrap();
        let want = [[0.0, 1.0, 0.5], [1.0, 0.0, 1.5], [0.0, 1.0, 2.5]];
        assert_eq!(
            values(dataset.inputs()),
            want,
            "blue before red, then the length"
        );
        let columns = dataset.preprocess().columns().to_vec();
        let colours = ColumnKind::OneHot(vec!["blue".into(), "red".into()]);
        let want = [
            Column::named("row", ColumnKind::Ignored),
            Column::named("colour", colours),
            Column::named("length", ColumnKind::Number),
            Column::named("kind", ColumnKind::Label),
        ];
        assert_eq!(columns, want);

        // What a model keeps of it reads later rows alike: with and without header and label, whatever the order of the
        // rows.
        let fitted = crate::Preprocess::fit(crate::Normalize::Auto, dataset.inputs()).unwrap();
        let json = serde_json::to_string(&fitted).unwrap();
        let saved: crate::Preprocess = serde_json::from_str(&json).unwrap();
        assert_eq!(saved.columns(), columns);
        let later = CsvOptions {
            columns,
            ..CsvOptions::default()
        };
        for text in [
            "9,blue,7\n",
            "row,colour,length\n9,blue,7\n",
            "9,blue,7,b\n",
        ] {
            let read = read_features_from(text.as_bytes(), Path::new("t.csv"), 3, &later);
            assert_eq!(values(&read.unwrap().inputs), [[1.0, 0.0, 7.0]], "{text}");
        }
        let unknown =
            read_features_from(&b"9,blue,7\n9,green,7\n"[..], Path::new("t.csv"), 3, &later);
        assert_eq!(
            unknown.unwrap_err().to_string(),
            "t.csv, line 2, column 2: expected one of the categories blue, red, found \"green\""
        );
        let short = read_features_from(&b"blue,7\n"[..], Path::new("t.csv"), 3, &later);
        assert_eq!(
            short.unwrap_err().to_string(),
            "t.csv, line 1: expected 3 (or one more with a label) cells separated by commas, found 2"
        );
    }
}

#[test]
fn columns_that_are_not_there_are_named() {
    let check = |options: &CsvOptions, message: &str| {
        assert_eq!(parse(ANIMALS, options).unwrap_err().to_string(), message);
    };
    check(
        &animals(&["color"], &[]),
        "t.csv, line 1: expected a column of categories \"color\", found the columns row, colour, length, kind",
    );
    check(
        &animals(&[], &["7"]),
        "t.csv, line 1: expected a column to ignore 7 (columns count from 1), found 4 columns",
    );
    check(
        &animals(&[], &["1", "2", "3"]),
        "t.csv, line 1: expected a column that is read, found all of them to be ignored",
    );
    check(
        &animals(&[], &["row"]),
        "t.csv, line 2, column 2: expected a number, found \"red\"; if the column holds categories, name it in data.one_hot, or leave it out by data.ignore",
    );
    let many: String = (0..5000).map(|i| format!("c{i},{}\n", i % 2)).collect();
    assert_eq!(
        parse(&many, &animals(&["1"], &[])).unwrap_err().to_string(),
        "t.csv, line 4097, column 1: expected at most 4096 categories, found \"c4096\""
    );
    let empty = parse("a,1\n,2\n", &animals(&["1"], &[])).unwrap_err();
    assert_eq!(
        empty.to_string(),
        "t.csv, line 2, column 1: expected a category, found \"\"; make it one of its own by data.missing=category, fill it in by data.missing=most_frequent, or leave the row out by data.missing=drop"
    );
}

#[test]
fn tabs_separate_the_cells_of_tsv() {
    let text = "x\ty\tkind\n1\t 2 \ta,b\n3\t4\tc\n";
    let dataset = read_from(text.as_bytes(), Path::new("t.TSV"), &CsvOptions::default()).unwrap();
    assert_eq!(values(dataset.inputs()), [[1.0, 2.0], [3.0, 4.0]]);
    assert_eq!(dataset.classes(), ["a,b", "c"]);
    let empty = read_from(
        &b"1\t2\ta\n\t\t\n"[..],
        Path::new("t.tsv"),
        &CsvOptions::default(),
    );
    let message = "t.tsv, line 2, column 1: expected a number, found \"\"; fill it in by data.missing=mean (median, most_frequent), or leave the row out by data.missing=drop";
    assert_eq!(empty.unwrap_err().to_string(), message);
    let semicolons = CsvOptions {
        separator: Some(b';'),
        ..CsvOptions::default()
    };
    assert_eq!(parse("1;a\n2;b\n", &semicolons).unwrap().len(), 2);
}

#[test]
fn known_classes_keep_their_order_and_may_be_absent() {
    let dataset = parse("1,b\n2,b\n", &of_classes(&["c", "b", "a"])).unwrap();
    assert_eq!(dataset.classes(), ["c", "b", "a"]);
    assert_eq!(dataset.labels(), [1, 1]);
}

#[test]
fn label_columns_are_written_as_a_person_would() {
    let check = |json: &str, want: LabelColumn| {
        assert_eq!(serde_json::from_str::<LabelColumn>(json).unwrap(), want);
        assert_eq!(serde_json::to_string(&want).unwrap(), json);
    };
    check("3", LabelColumn::Number(3));
    check("\"species\"", LabelColumn::Name("species".into()));
}

/// Text that is CSV more often than random bytes are.
fn csv_like() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        "1", "2.5", "-3e4", "nan", "a", "b", ",", ",", ",", "\n", "\n", "\r\n", "\"", " ", "\t",
        "é", "\u{feff}",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..200), csv_like()],
        label in prop_oneof![Just(None), (0usize..5).prop_map(|n| Some(LabelColumn::Number(n))), Just(Some(LabelColumn::Name("a".into())))],
    ) {
        for one_hot in [vec![], vec![LabelColumn::Number(1)]] {
            let options = CsvOptions { label: label.clone(), one_hot, ..CsvOptions::default() };
            let _ = read_from(&bytes[..], Path::new("t.tsv"), &options);
            for names in [[None, None, None], [Some("a"), Some("b"), Some("1")]] {
                let kinds = [ColumnKind::OneHot(vec!["a".into(), "1".into()]), ColumnKind::Number, ColumnKind::Label];
                let columns = names.iter().zip(kinds);
                let columns = columns.map(|(name, kind)| Column { name: name.map(str::to_owned), kind }).collect();
                let options = CsvOptions { columns, ..options.clone() };
                let _ = read_features_from(&bytes[..], Path::new("t.csv"), 2, &options);
                let _ = read_from(&bytes[..], Path::new("t.csv"), &options);
            }
        }
        let options = CsvOptions { label, ..CsvOptions::default() };
        if let Ok(dataset) = read_from(&bytes[..], Path::new("t.csv"), &options) {
            prop_assert!(!dataset.is_empty() && dataset.classes().len() > 1);
        }
        let _ = read_features_from(&bytes[..], Path::new("t.csv"), 2, &options);
    }

    #[test]
    fn any_table_written_with_quotes_is_read_back(
        rows in prop::collection::vec((prop::num::f32::NORMAL, "[^\0]{1,8}"), 2..20)
            .prop_filter("labels that say that there is none", |rows| !rows.iter().any(|row| missing::is_no_label(&row.1))),
    ) {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let text: String = rows.iter().map(|(x, label)| format!("{x:?},{}\n", quoted(label))).collect();
        match parse(&text, &CsvOptions::default()) {
            Ok(dataset) => for (row, (x, label)) in rows.iter().enumerate() {
                prop_assert_eq!(dataset.inputs().raw_row(row).unwrap(), [*x]);
                prop_assert_eq!(&dataset.classes()[dataset.labels()[row] as usize], label);
            },
            Err(Error::Csv { defect, .. }) if matches!(*defect, CsvDefect::OneClass { .. }) => prop_assert!(rows.iter().all(|row| row.1 == rows[0].1)),
            Err(error) => prop_assert!(false, "{error}\n{text}"),
        }
    }
}

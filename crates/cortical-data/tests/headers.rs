//! What the first row of a table is: the names of its columns, or numbers like any other row.

use std::path::Path;

use cortical_data::csv::{CsvOptions, read_from};
use cortical_data::{Dataset, Result};

fn parse(text: &str) -> Result<Dataset> {
    read_from(text.as_bytes(), Path::new("t.csv"), &CsvOptions::default())
}

#[test]
fn what_the_first_row_is_follows_from_the_table() {
    let check = |text: &str, summary: &str| {
        let read = parse(text).unwrap_or_else(|error| panic!("{text}{error}"));
        assert_eq!(read.about().summary, summary, "{text}");
    };
    let body = "0.5,7,a\n1.5,8,b\n2.5,9,a\n3.5,1,b\n";
    let header = "4 rows, 2 numbers, label \"kind\" with 2 classes, header in line 1";
    for first in [
        "x,y,kind",
        "1,y,kind",
        "0,1,kind",
        "1,2,kind",
        "\n\nx,y,kind",
    ] {
        let header = match first.starts_with('\n') {
            true => header.replace("line 1", "line 3"),
            false => header.to_owned(),
        };
        check(&format!("{first}\n{body}"), &header);
    }
    check(
        &format!("7,2,a\n{body}"),
        "5 rows, 2 numbers, label in column 3 with 2 classes, no header",
    );
    // What stands over words as labels is a number, over numbers a word.
    check(
        &format!("7,3,12\n{body}"),
        "4 rows, 2 numbers, label \"12\" with 2 classes, header in line 1",
    );
    check(
        "7,3,target\n4,5,0\n2,8,1\n9,1,0\n",
        "3 rows, 2 numbers, label \"target\" with 2 classes, header in line 1",
    );
    // Years, and names in no order over numbers with fractions.
    check(
        "2019,2020,2021,kind\n5,6,1,a\n4,3,2,b\n5,6,1,a\n4,3,2,b\n",
        "4 rows, 3 numbers, label \"kind\" with 2 classes, header in line 1",
    );
    check(
        "7,3,kind\n0.5,7.5,a\n1.5,8.5,b\n2.5,9.5,a\n3.5,1.5,b\n",
        "4 rows, 2 numbers, label \"kind\" with 2 classes, header in line 1",
    );
    // pandas' numbers over all columns and its empty cell over the rows' own numbers.
    check(
        ",0,1,2,kind\n0,5.5,6.5,1.5,a\n1,4.5,3.5,2.5,b\n2,5.5,6.5,1.5,a\n",
        "3 rows, 4 numbers, label \"kind\" with 2 classes, header in line 1",
    );
    check(
        "0,1,2,3,4\n5,6,1,2,0\n4,3,2,9,4\n5,6,1,2,0\n4,3,2,9,4\n",
        "4 rows, 4 numbers, label \"4\" with 2 classes, header in line 1",
    );
    // A class of its own in the first row is no header by that alone, nor where every class has one row.
    check(
        "7,2,c\n5,8,a\n9,3,b\n1,8,a\n4,9,b\n",
        "5 rows, 2 numbers, label in column 3 with 3 classes, no header",
    );
    check(
        "1,2,b\n3,4,a\n",
        "2 rows, 2 numbers, label in column 3 with 2 classes, no header",
    );
    check(
        "1,2,3,4,c\n3,4,1,1,a\n7,4,1,1,b\n",
        "3 rows, 4 numbers, label in column 5 with 3 classes, no header",
    );
}

#[test]
fn a_first_row_of_numbers_is_no_class_without_a_word() {
    let body = |end: &str| -> String {
        let classes = ["red", "green", "blue"];
        let row = |i: usize| format!("{}.25,{}{end},{}\n", i % 7, (i * 3) % 5, classes[i % 3]);
        (0..12).map(row).collect()
    };
    // Decimal numbers over the columns, and a word over the labels that is none of them.
    for header in [
        "1100.5,1101.25,variety",
        "0,0.1,colour",
        "1e-3,1e-2,colour",
        "0.5,1.5,y",
        "7,2,kind",
    ] {
        for end in ["", ".5"] {
            let text = format!("{header}\n{}", body(end));
            match parse(&text) {
                Ok(read) => {
                    assert_eq!(read.classes(), ["blue", "green", "red"], "{text}");
                    assert_eq!(read.len(), 12, "{text}");
                }
                Err(error) => {
                    let cells = header.replace(',', ", ");
                    let want = format!(
                        "t.csv, line 1: ({cells}) may be the header, or a row of a class of its own; say which with data.header=true or data.header=false"
                    );
                    assert_eq!(error.to_string(), want);
                }
            }
        }
    }
    // Wavelengths, evenly apart or not.
    let wide = |header: &str| {
        let row = |i: usize| format!("0.{i},0.{i}5,0.1,{}\n", ["a", "b"][i % 2]);
        let text = format!("{header}\n{}", (0..8).map(row).collect::<String>());
        parse(&text).unwrap().about().summary.clone()
    };
    assert_eq!(
        wide("1100.5,1101.0,1101.5,variety"),
        "8 rows, 3 numbers, label \"variety\" with 2 classes, header in line 1"
    );
}

#[test]
fn columns_that_are_counted_are_a_header_at_any_width() {
    let check = |text: &str, line: &str, note: Option<&str>| {
        let read = parse(text).unwrap_or_else(|error| panic!("{text}{error}"));
        let about = read.about();
        assert!(about.summary.ends_with(line), "{text}{about:?}");
        let found = about.notes.iter().find(|note| note.starts_with("line 1 "));
        assert_eq!(found.map(String::as_str), note, "{text}");
    };
    let note =
        "line 1 (0, 1, 2) is taken as the header; if it is a row of data, say data.header=false";
    check(
        "0,1,2\n0.5,1.5,0\n0.1,0.2,2\n0.3,0.4,1\n0.5,0.1,2\n",
        "header in line 1",
        Some(note),
    );
    let note =
        "line 1 (0, 1) is taken as the header; if it is a row of data, say data.header=false";
    check("0,1\n0.5,0\n0.1,1\n0.2,1\n", "header in line 1", Some(note));
    let note =
        "line 1 (0, 1, 2) is taken as a row of data; if it is the header, say data.header=true";
    check("0,1,2\n5,1,0\n7,2,2\n3,4,1\n", "no header", Some(note));
    let note =
        "line 1 (1, 2, 3) is taken as a row of data; if it is the header, say data.header=true";
    check(
        "1,2,3\n0.5,0.1,1\n0.7,0.2,2\n0.3,0.4,3\n0.1,0.4,3\n",
        "no header",
        Some(note),
    );
    check(
        "2,1,3\n0.5,0.1,1\n0.7,0.2,2\n0.3,0.4,3\n0.1,0.4,3\n",
        "no header",
        None,
    );
    // An empty name over the numbers of the rows is pandas' as well.
    check(
        ",0,1,2\n0,5,1,0\n1,7,2,2\n2,3,4,1\n",
        "header in line 1",
        None,
    );
    check(
        "0,1,2,3,4\n5,6,1,2,0\n4,3,2,9,4\n5,6,1,2,0\n",
        "header in line 1",
        None,
    );
    check("5,6,1\n4,3,2\n5,6,1\n", "no header", None);
}

#[test]
fn a_header_can_be_said_to_be_there_or_not() {
    let read = |text: &str, header: bool| {
        let options = CsvOptions {
            header: Some(header),
            ..CsvOptions::default()
        };
        read_from(text.as_bytes(), Path::new("t.csv"), &options)
    };
    let table = "0,1,kind\n5,8,a\n9,3,b\n1,8,a\n";
    assert_eq!(read(table, true).unwrap().len(), 3);
    assert_eq!(read(table, false).unwrap().len(), 4);
    assert_eq!(read("5,8,a\n9,3,b\n1,8,a\n", true).unwrap().len(), 2);
}

#[test]
fn a_gap_or_a_mistake_in_the_first_row_is_an_error_as_in_any_other() {
    let check = |text: &str, message: &str| {
        assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
    };
    for gap in ["", "NA", "nan", "?", "null", "#N/A"] {
        let advice = "; fill it in by data.missing=mean (median, most_frequent), or leave the row out by data.missing=drop";
        for (line, column, text) in [
            (1, 2, format!("1.5,{gap},a\n2,3,b\n4,5,a\n")),
            (2, 2, format!("2,3,b\n1.5,{gap},a\n4,5,a\n")),
            (1, 1, format!("{gap},{gap},a\n2,3,b\n4,5,a\n")),
        ] {
            let message = format!(
                "t.csv, line {line}, column {column}: expected a number, found {gap:?}{advice}"
            );
            check(&text, &message);
        }
    }
    check(
        "1.5,3x,a\n2,3,b\n4,5,a\n",
        "t.csv, line 1, column 2: expected a number, found \"3x\"",
    );
    check(
        ",3,a\n2,3,b\n4,5,a\n",
        "t.csv, line 1, column 1: expected a number, found \"\"; fill it in by data.missing=mean (median, most_frequent), or leave the row out by data.missing=drop",
    );
}

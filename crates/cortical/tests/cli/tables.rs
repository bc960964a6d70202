//! Tables as people have them: gaps, dates, columns of words, rare classes; and predictions for other programs.

use serde_json::Value;

use crate::support::Place;

/// Rows of a number, a colour and a date, of which some are missing, and a class that all of them tell.
fn table() -> String {
    let row = |i: usize| {
        let kind = i % 2;
        let x = match i % 9 {
            0 => ["", "NA", "nan", "?"][i / 9 % 4].to_owned(),
            rest => format!("{}", rest + 10 * kind),
        };
        let colour = match i % 7 {
            0 => "",
            _ => ["red", "blue"][kind],
        };
        format!(
            "{i},{x},{colour},2024-{:02}-{:02},{}\n",
            1 + i % 12,
            1 + i % 28,
            ["dn", "up"][kind]
        )
    };
    "id,x,colour,when,kind\n".to_owned() + &(0..160).map(row).collect::<String>()
}

const COLUMNS: &str =
    "--set data.ignore=[id] --set data.one_hot=[colour] --set data.date_parts=[when]";

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn missing_values_are_refused_with_what_to_do_and_then_filled_alike_everywhere() {
    let place = Place::new();
    place.write("t.csv", table());
    let train = format!("train --data t.csv {COLUMNS} --epochs 12");
    let said = place.run(&format!("{train} --out run")).expect(1);
    let want = "line 2, column 2: expected a number, found \"\"; fill it in by data.missing=mean (median, most_frequent), or leave the row out by data.missing=drop";
    assert!(said.err.contains(want), "{}", said.err);
    let dates = train.replace("--set data.date_parts=[when]", "");
    let said = place
        .run(&format!("{dates} --set data.missing=mean --out run"))
        .expect(1);
    assert!(
        said.err.contains("name the column in data.dates"),
        "{}",
        said.err
    );
    place.write(
        "new.csv",
        "when,colour,x\n2024-03-04,,\n2024-03-04,blue,?\n2024-03-04,,15\n",
    );
    for how in ["mean", "median", "most_frequent"] {
        let trained = place.run(&format!(
            "{train} --set data.missing={how} --out {how} --json"
        ));
        let trained = trained.expect(0).json();
        assert!(number(&trained["test_accuracy"]) > 0.8, "{how}: {trained}");
        let tested = place.run(&format!("eval {how} --json")).expect(0).json();
        assert_eq!(tested["test_loss"], trained["test_loss"], "{how}");
        let found = place
            .run(&format!("predict {how} new.csv --json"))
            .expect(0)
            .json();
        assert_eq!(found["predictions"].as_array().unwrap().len(), 3);
        let again = place
            .run(&format!("eval {how} --data t.csv --json"))
            .expect(0)
            .json();
        assert!(number(&again["test_accuracy"]) > 0.8, "{how}: {again}");
    }
    // A category of its own, and rows left out; numbers that are missing are filled by neither.
    let said = place
        .run(&format!("{train} --set data.missing=category --out own"))
        .expect(1);
    assert!(
        said.err.contains("expected a number, found \"\""),
        "{}",
        said.err
    );
    let own = train.replace("data.ignore=[id]", "data.ignore=[id,x]");
    place
        .run(&format!(
            "{own} --set data.missing=category --out own --quiet"
        ))
        .expect(0);
    // The column that was left out in training may hold anything.
    place.run("predict own new.csv").expect(0);
    place.write(
        "bare.csv",
        "id,x,colour,when\n1,2,,2024-03-04\n1,2,NA,2024-03-04\n",
    );
    let found = place.run("predict own bare.csv --json").expect(0).json();
    assert_eq!(found["predictions"][0], found["predictions"][1]);
    let said = place
        .run(&format!("{train} --set data.missing=drop --out dropped"))
        .expect(0);
    assert!(
        said.err.contains("rows with missing values left out"),
        "{}",
        said.err
    );
    let said = place.run("predict dropped new.csv").expect(1);
    assert!(said.err.contains("fills none in"), "{}", said.err);
}

#[test]
fn dates_are_days_or_their_parts() {
    let place = Place::new();
    let row = |i: usize| {
        format!(
            "2024-{:02}-{:02},{}\n",
            1 + i % 12,
            1 + i % 28,
            3 * (i % 12)
        )
    };
    place.write(
        "t.csv",
        "when,y\n".to_owned() + &(0..168).map(row).collect::<String>(),
    );
    let numbers = "train --data t.csv --set data.target=numbers --epochs 60 --json";
    for how in ["dates", "date_parts"] {
        let trained = place.run(&format!("{numbers} --set data.{how}=[when] --out {how}"));
        let trained = trained.expect(0).json();
        assert!(number(&trained["r2"]) > 0.9, "{how}: {trained}");
        place.write("new.csv", "when\n15.07.2024\n");
        let found = place
            .run(&format!("predict {how} new.csv --json"))
            .expect(0)
            .json();
        let y = number(&found["predictions"][0]["values"]["y"]);
        assert!((y - 18.0).abs() < 5.0, "{how}: {found}");
        place.write("bad.csv", "when\n2024-02-30\n");
        let said = place.run(&format!("predict {how} bad.csv")).expect(1);
        assert!(said.err.contains("expected a date such as"), "{}", said.err);
    }
}

#[test]
fn columns_are_recognised_when_that_is_asked_for_and_said() {
    let place = Place::new();
    place.write("t.csv", table());
    let train = "train --data t.csv --auto-columns --set data.missing=mean --epochs 12";
    let said = place.run(&format!("{train} --out run")).expect(0);
    for part in [
        "id: numbers",
        "x: numbers, 18 missing",
        "colour: 2 categories, 23 missing",
        "when: dates",
    ] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    let recipe = String::from_utf8(place.read("run/recipe.toml")).unwrap();
    assert!(
        recipe.contains("one_hot = [\"colour\"]") && recipe.contains("dates = [\"when\"]"),
        "{recipe}"
    );
    let said = place
        .run("data t.csv --auto-columns --set data.missing=drop")
        .expect(0);
    assert!(
        said.out
            .contains("1 column of categories, 1 column of dates"),
        "{}",
        said.out
    );
    let said = place.run("train --data digits --auto-columns").expect(2);
    assert!(
        said.err
            .contains("--auto-columns looks at the columns of a CSV file"),
        "{}",
        said.err
    );
}

#[test]
fn predictions_are_written_with_the_columns_beside_them() {
    let place = Place::new();
    place
        .run("train --data iris --epochs 20 --out run --quiet")
        .expect(0);
    place.write(
        "new.csv",
        "a,b,c,d,note\n5.1,3.5,1.4,0.2,\"x, \"\"y\"\"\"\n6.3,3.3,6.0,2.5,007\n",
    );
    place.write("plain.csv", "5.1,3.5,1.4,0.2\n6.3,3.3,6.0,2.5\n");
    place.run("predict run plain.csv --out found.csv").expect(0);
    let text = String::from_utf8(place.read("found.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(
        lines.next().unwrap(),
        "column 1,column 2,column 3,column 4,prediction,probability,probability of setosa,probability of versicolor,probability of virginica"
    );
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("5.1,3.5,1.4,0.2,setosa,0."),
        "{text}"
    );
    assert_eq!(lines.count(), 1);
    place
        .run("predict run plain.csv --out found.jsonl --quiet")
        .expect(0);
    let text = String::from_utf8(place.read("found.jsonl")).unwrap();
    let row: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(
        (&row["column 1"], &row["prediction"]),
        (&6.3.into(), &"virginica".into())
    );
    let shares =
        ["setosa", "versicolor", "virginica"].map(|c| number(&row[format!("probability of {c}")]));
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{row}");
    // Its own files are replaced, others are not, and what is read never is.
    place.run("predict run plain.csv --out found.csv").expect(0);
    place.write("mine.csv", "a,b\n");
    for (out, code) in [("mine.csv", 2), ("plain.csv", 2), ("found.xlsx", 2)] {
        place
            .run(&format!("predict run plain.csv --out {out}"))
            .expect(code);
    }
    place
        .run("predict run plain.csv --out mine.csv --force")
        .expect(0);
    // Numbers, with the names of their columns and cells that need quotes.
    place.write(
        "t.csv",
        "a,note,y\n".to_owned()
            + &(0..40)
                .map(|i| format!("{i},n{},{}\n", i % 2, 2 * i))
                .collect::<String>(),
    );
    place
        .run("train --data t.csv --set data.target=numbers --set data.one_hot=[note] --set train.loss=gaussian --epochs 5 --out num --quiet")
        .expect(0);
    place.write("more.csv", "y,note,a\n1,\"n1\",3\n2,n0,4\n");
    place.run("predict num more.csv --out num.csv").expect(0);
    let text = String::from_utf8(place.read("num.csv")).unwrap();
    assert!(
        text.starts_with("y,note,a,prediction of y,deviation of y\n1,n1,3,"),
        "{text}"
    );
}

#[test]
fn weights_have_rare_classes_recognised() {
    let place = Place::new();
    // Two classes that overlap, one of them rare.
    let row = |i: usize| {
        let rare = i.is_multiple_of(10);
        let x = (i * 7919 % 101) as f64 / 50.0 + if rare { 1.0 } else { 0.0 };
        format!("{x},{}\n", if rare { "rare" } else { "usual" })
    };
    place.write(
        "t.csv",
        "x,kind\n".to_owned() + &(0..600).map(row).collect::<String>(),
    );
    let train = "train --data t.csv --epochs 30 --set data.test_fraction=0.4 --json";
    let recall = |set: &str, out: &str| {
        let trained = place
            .run(&format!("{train} {set} --out {out}"))
            .expect(0)
            .json();
        number(&trained["per_class"][0]["accuracy"])
    };
    let (plain, balanced) = (
        recall("", "plain"),
        recall("--set train.class_weights=balanced", "balanced"),
    );
    let given = recall("--set train.class_weights=[9,1]", "given");
    assert!(
        balanced > plain + 0.1 && given > plain + 0.1,
        "{plain} {balanced} {given}"
    );
    for (weights, want) in [
        (
            "[1,2,3]",
            "train.class_weights has 3 numbers, but there are 2 classes",
        ),
        ("[1,-1]", "train.class_weights: expected none, balanced"),
        ("some", "train.class_weights: expected none, balanced"),
    ] {
        let said = place
            .run(&format!(
                "{train} --set train.class_weights={weights} --out no"
            ))
            .expect(2);
        assert!(said.err.contains(want), "{weights}: {}", said.err);
    }
}

#[test]
fn a_row_has_any_number_of_labels() {
    let place = Place::new();
    let row = |i: usize| {
        let (a, b) = (i % 10, i / 10 % 10);
        let yes = |is: bool| if is { "yes" } else { "no" };
        format!(
            "{a},{b},{},{},{}\n",
            u8::from(a > 5),
            yes(b > 3),
            u8::from(a + b > 14)
        )
    };
    let rows: String = (0..400).map(row).collect();
    place.write("t.csv", "a,b,high,wide,rare\n".to_owned() + &rows);
    let train = "train --data t.csv --set data.target=labels --set data.targets=[high,wide,rare] --epochs 40 --json";
    let thresholds = "--set train.thresholds=[0.5,0.5,0.3] --out run";
    let trained = place.run(&format!("{train} {thresholds}")).expect(0).json();
    assert_eq!(trained["task"], "multi-label");
    assert!(number(&trained["average_precision"]) > 0.95, "{trained}");
    assert!(number(&trained["exact"]) > 0.8 && number(&trained["valid_average_precision"]) > 0.9);
    assert_eq!(trained["per_label"][2]["threshold"], 0.3);
    let tested = place.run("eval run --json").expect(0).json();
    assert_eq!(tested["per_label"], trained["per_label"]);
    let again = place.run("eval run --data t.csv --json").expect(0).json();
    assert!(number(&again["average_precision"]) > 0.95, "{again}");
    place.write("new.csv", "9,9\n0,0\n0,9\n");
    let predict = "predict run new.csv --out found.jsonl --json";
    let found = place.run(predict).expect(0).json();
    let labels = |at: usize| found["predictions"][at]["labels"].to_string();
    assert_eq!(
        [labels(0), labels(1), labels(2)],
        ["[\"high\",\"wide\",\"rare\"]", "[]", "[\"wide\"]"]
    );
    let lines = String::from_utf8(place.read("found.jsonl")).unwrap();
    assert!(lines.contains("\"prediction of high\":1"), "{lines}");
    let page = String::from_utf8(place.read("run/report.html")).unwrap();
    assert!(page.contains("All labels are right in"));
    let words = place.run("eval run").expect(0).out;
    assert!(words.contains("test average precision"), "{words}");
    place.write("bad.csv", "a,y\n1,0\n2,2\n");
    let said = place
        .run("train --data bad.csv --set data.target=labels --out no")
        .expect(1);
    let want = "line 3, column 2: expected a number to predict, found \"2\"; whether a label is there is 0 or 1";
    assert!(said.err.contains(want), "{}", said.err);
    for (set, want) in [
        (
            "train.thresholds=[0.5,0.5]",
            "train.thresholds has 2 numbers, but there are 3 labels",
        ),
        (
            "train.thresholds=2",
            "train.thresholds: expected numbers from 0 to 1",
        ),
        (
            "train.balanced=true",
            "train.balanced is a setting for data.target = \"classes\"",
        ),
    ] {
        let said = place
            .run(&format!("{train} --set {set} --out no"))
            .expect(2);
        assert!(said.err.contains(want), "{set}: {}", said.err);
    }
}

#[test]
fn a_search_has_a_run_for_each_setting_and_goes_on() {
    let place = Place::new();
    let search = "search iris --set train.epochs=6 --try optim.lr=1e-6,1e-2 --try model.hidden=[8],[16,16] --out found";
    let found = place.run(&format!("{search} --json")).expect(0).json();
    assert_eq!(found["judge"], "valid_loss");
    let trials = found["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 4);
    assert_eq!(trials[0]["set"]["optim.lr"], "0.01");
    let best = trials[0]["run"].as_str().unwrap();
    place.run(&format!("eval {best}")).expect(0);
    assert!(place.path(best).join("report.html").is_file());
    let started = std::time::Instant::now();
    let again = place.run(&format!("{search} --json")).expect(0).json();
    assert_eq!(again, found);
    assert!(started.elapsed().as_secs() < 20);
    let words = place.run(search).expect(0).out;
    assert!(
        words.contains("model.hidden") && words.contains("best: trial"),
        "{words}"
    );
    let other = "search iris --try optim.lr=1e-3 --out found";
    let said = place.run(other).expect(2);
    assert!(said.err.contains("holds another search"), "{}", said.err);
    let random = "search concrete --set train.epochs=4 --method halving --trials 3 --try optim.lr=1e-4..1e-1 --folds 2 --out halved --json";
    let found = place.run(random).expect(0).json();
    assert_eq!(found["judge"], "loss over 2 folds");
    assert_eq!(
        (&found["trials"][0]["epochs"], &found["trials"][2]["epochs"]),
        (&4.into(), &1.into())
    );
    for (line, want) in [
        ("search iris --try optim.lr", "expected FIELD=V1,V2"),
        ("search iriss --try optim.lr=1", "did you mean \"iris\""),
        ("search iris --try optim.lr=1e-3..1e-1", "is a range"),
        ("search iris --try optim.lrr=1", "optim.lrr"),
    ] {
        let said = place.run(&format!("{line} --out none")).expect(2);
        assert!(said.err.contains(want), "{line}: {}", said.err);
        assert!(!place.path("none").exists());
    }
}

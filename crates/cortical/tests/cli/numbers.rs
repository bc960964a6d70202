//! Numbers as targets: from a table to predictions in the unit of the data.

use serde_json::Value;

use crate::support::{Place, Said};

/// A short training on the embedded numbers.
const QUICK: &str = "train --preset concrete --epochs 8 --set checkpoint.every_steps=20";

/// Rows of two numbers, with two that follow from them in other units.
fn table(rows: usize) -> String {
    let row = |i: usize| {
        let (a, b) = ((i % 7) as f64, (i % 11) as f64 / 4.0);
        format!("{a},{b},{},{}\n", 1e6 + 5e4 * a - 2e4 * b, a * b * 1e-6)
    };
    "a,b,price,mass\n".to_owned() + &(0..rows).map(row).collect::<String>()
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[track_caller]
fn refused(place: &Place, line: &str, code: i32, want: &str) {
    let said: Said = place.run(line).expect(code);
    assert!(said.err.contains(want), "{line}: {}", said.err);
    let folder = line
        .split_whitespace()
        .skip_while(|part| *part != "--out")
        .nth(1);
    if let Some(folder) = folder {
        assert!(!place.path(folder).exists(), "{line} left {folder}");
    }
}

#[test]
fn the_embedded_numbers_are_learned_and_tested_alike_everywhere() {
    let place = Place::new();
    let trained = place
        .run(&format!("{QUICK} --out run --json"))
        .expect(0)
        .json();
    assert_eq!(trained["task"], "regression");
    let (r2, rmse) = (number(&trained["r2"]), number(&trained["rmse"]));
    assert!(
        r2 > 0.5 && rmse < 12.0 && number(&trained["mae"]) < rmse,
        "{trained}"
    );
    assert!(number(&trained["valid_r2"]) > 0.5, "{trained}");
    let tested = place.run("eval run --json").expect(0).json();
    for key in [
        "r2",
        "mae",
        "rmse",
        "test_loss",
        "per_target",
        "test_samples",
    ] {
        assert_eq!(tested[key], trained[key], "{key}");
    }
    assert!(tested.get("tokens").is_none() && tested.get("test_accuracy").is_none());
    let said = place.run("eval run").expect(0);
    assert!(
        said.out.contains("test R² 0.") && said.out.contains("RMSE"),
        "{}",
        said.out
    );
    let page = String::from_utf8(place.read("run/report.html")).unwrap();
    for part in [
        "test R²",
        "strength: predicted",
        "predicted less true",
        "<circle",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let metrics = String::from_utf8(place.read("run/metrics.jsonl")).unwrap();
    assert!(
        metrics.contains("\"valid_r2\"") && !metrics.contains("accuracy"),
        "{metrics}"
    );
    // One row as a person writes it, in the unit of the data; the file may say what is right.
    place.write(
        "mix.csv",
        "cement,slag,ash,water,superplasticizer,coarse_aggregate,fine_aggregate,age\n540,0,0,162,2.5,1040,676,28\n",
    );
    let found = place.run("predict run mix.csv --json").expect(0).json();
    let strength = number(&found["predictions"][0]["values"]["strength"]);
    assert!((20.0..120.0).contains(&strength), "{found}");
    assert!(found.get("r2").is_none());
    place.write(
        "more.csv",
        "strength,cement,slag,ash,water,superplasticizer,coarse_aggregate,fine_aggregate,age\n79.99,540,0,0,162,2.5,1040,676,28\n,540,0,0,162,2.5,1055,676,28\n61.89,540,0,0,162,2.5,1055,676,28\n",
    );
    let more = place.run("predict run more.csv --json").expect(0).json();
    assert_eq!(more["predictions"][0], found["predictions"][0]);
    assert!(number(&more["mae"]) > 0.0, "{more}");
    let words = place.run("predict run more.csv").expect(0);
    assert!(words.err.contains("over 2 rows"), "{}", words.err);
    refused(
        &place,
        "eval run --data mix.csv",
        1,
        "lacks what is predicted (strength)",
    );
    refused(
        &place,
        "eval run --data more.csv",
        1,
        "line 3, column 1: expected a number to predict, found \"\"",
    );
}

#[test]
fn several_numbers_of_other_units_are_learned_together() {
    let place = Place::new();
    place.write("t.csv", table(220));
    let train = "train --data t.csv --set data.target=numbers --set data.targets=[mass,price] --epochs 60 --out run --json";
    let trained = place.run(train).expect(0).json();
    assert!(number(&trained["r2"]) > 0.9, "{trained}");
    let each = trained["per_target"].as_array().unwrap();
    assert_eq!(
        (&each[0]["target"], &each[1]["target"]),
        (&"price".into(), &"mass".into())
    );
    assert!(
        number(&each[0]["mae"]) > 100.0 && number(&each[1]["mae"]) < 1e-5,
        "{trained}"
    );
    // By name, in another order, and without what is predicted.
    place.write("new.csv", "mass,b,price,a\n0,2,1,3\n");
    place.write("bare.csv", "3,2\n");
    let named = place.run("predict run new.csv --json").expect(0).json();
    let bare = place.run("predict run bare.csv --json").expect(0).json();
    assert_eq!(named["predictions"], bare["predictions"]);
    let values = &bare["predictions"][0]["values"];
    assert!((number(&values["price"]) - 1.11e6).abs() < 4e4, "{values}");
    assert!((number(&values["mass"]) - 6e-6).abs() < 3e-6, "{values}");
    let words = place.run("eval run").expect(0).out;
    assert!(words.contains("price") && words.contains("mass"), "{words}");
}

#[test]
fn every_loss_learns_and_a_gaussian_says_how_sure_it_is() {
    let place = Place::new();
    place.write("t.csv", table(200));
    for loss in ["mae", "huber", "gaussian"] {
        let train = format!(
            "train --data t.csv --set data.target=numbers --set data.label=price --set data.ignore=[mass] --set train.loss={loss} --epochs 40 --out {loss} --json"
        );
        let trained = place.run(&train).expect(0).json();
        assert!(number(&trained["r2"]) > 0.9, "{loss}: {trained}");
        let tested = place.run(&format!("eval {loss} --json")).expect(0).json();
        assert_eq!(tested["test_loss"], trained["test_loss"], "{loss}");
        place.write("bare.csv", "a,b\n3,2\n");
        let found = place
            .run(&format!("predict {loss} bare.csv --json"))
            .expect(0)
            .json();
        let deviation = &found["predictions"][0]["deviations"]["price"];
        assert_eq!(deviation.is_number(), loss == "gaussian", "{found}");
        if loss == "gaussian" {
            assert!(
                number(deviation) > 0.0 && number(deviation) < 1e5,
                "{found}"
            );
            let words = place.run("predict gaussian bare.csv").expect(0).out;
            assert!(words.contains('±'), "{words}");
        }
    }
}

#[test]
fn a_column_of_quantities_is_proposed_as_numbers_and_hostile_tables_are_refused() {
    let place = Place::new();
    place.write("t.csv", table(60));
    refused(
        &place,
        "train --data t.csv --out run",
        1,
        "look like a quantity; predict it as a number with --set data.target=numbers",
    );
    let numbers = "--set data.target=numbers --out run";
    let rows = |cell: &str| format!("x,y\n1,2\n2,3\n{cell}\n4,5\n5,6\n6,7\n7,8\n8,9\n");
    for (cell, want) in [
        (
            "3,nan",
            "line 4, column 2: expected a number to predict, found \"nan\"; take the row out",
        ),
        (
            "3,",
            "line 4, column 2: expected a number to predict, found \"\"",
        ),
        ("3,inf", "which is not finite or beyond 1e300"),
        ("3,1e301", "which is not finite or beyond 1e300"),
        (
            "3,red",
            "words are classes, which data.target=classes predicts",
        ),
        (
            "nan,3",
            "line 4, column 1: expected a number, found \"nan\"; fill it in by data.missing=mean",
        ),
    ] {
        place.write("h.csv", rows(cell));
        refused(&place, &format!("train --data h.csv {numbers}"), 1, want);
    }
    place.write("constant.csv", "x,y\n1,2\n2,2\n3,2\n4,2\n5,2\n6,2\n");
    let want = "the target \"y\" is 2 in every sample that is learned from";
    refused(
        &place,
        &format!("train --data constant.csv {numbers}"),
        1,
        want,
    );
    for (set, want) in [
        (
            "data.target=numbers --set train.balanced=true",
            "train.balanced is a setting for data.target = \"classes\"",
        ),
        (
            "train.loss=mae",
            "train.loss is a setting for data.target = \"numbers\"",
        ),
        (
            "data.targets=[y]",
            "data.targets: expected nothing, unless data.target is numbers or labels",
        ),
        (
            "data.target=numbers --set train.monitor=valid_accuracy",
            "what is measured of numbers that belong to rows of numbers is r2",
        ),
    ] {
        refused(
            &place,
            &format!("train --data t.csv --set {set} --out run"),
            2,
            want,
        );
    }
    let pictures = "train --data digits --set data.target=numbers --out run";
    refused(&place, pictures, 2, "say data.target=classes");
    let twice =
        "train --data t.csv --set data.target=numbers --set data.targets=[mass,4] --out run";
    refused(&place, twice, 1, "column 4 is named twice");
}

#[test]
fn numbers_of_extreme_units_are_learned_as_others() {
    let place = Place::new();
    for (name, offset, unit) in [
        ("tiny", 0.0, 1e-200),
        ("huge", 0.0, 1e200),
        ("far", 1e9, 1.0),
    ] {
        let row = |i: usize| {
            let x = (i % 13) as f64;
            format!("{x},{:e}\n", offset + unit * (3.0 * x - 5.0))
        };
        place.write(
            "t.csv",
            "x,y\n".to_owned() + &(0..130).map(row).collect::<String>(),
        );
        let train =
            format!("train --data t.csv --set data.target=numbers --epochs 40 --out {name} --json");
        let trained = place.run(&train).expect(0).json();
        assert!(number(&trained["r2"]) > 0.98, "{name}: {trained}");
        let rmse = number(&trained["rmse"]) / unit;
        assert!(rmse > 0.0 && rmse < 2.0, "{name}: {trained}");
        assert!(
            String::from_utf8(place.read(format!("{name}/report.html")))
                .unwrap()
                .contains("<circle")
        );
        place.write("new.csv", "x\n4\n");
        let found = place
            .run(&format!("predict {name} new.csv --json"))
            .expect(0)
            .json();
        let y = number(&found["predictions"][0]["values"]["y"]);
        assert!(((y - offset) / unit - 7.0).abs() < 3.0, "{name}: {found}");
    }
}

#[test]
fn what_is_for_classes_refuses_a_network_of_numbers() {
    let place = Place::new();
    place
        .run(&format!(
            "{QUICK} --out run --quiet --set train.max_steps=5"
        ))
        .expect(0);
    refused(
        &place,
        "neurons run",
        1,
        "the network predicts numbers or several labels",
    );
    place.run("inspect run").expect(0);
    place.run("inspect run/model.safetensors").expect(0);
    place.run("plan run --no-trial").expect(0);
    let listed = place.run("data").expect(0).out;
    assert!(listed.contains("concrete"), "{listed}");
    let told = place.run("data concrete --json").expect(0).json();
    assert_eq!(told["targets"][0]["target"], "strength");
    // A model of numbers begins another of the same numbers, and none of classes.
    let next = "train --data concrete --set start.from=run --epochs 1 --quiet --out next";
    place.run(next).expect(0);
    let other =
        "train --data iris --set model.kind=mlp --set start.from=run --epochs 1 --out other";
    refused(&place, other, 1, "strength");
}

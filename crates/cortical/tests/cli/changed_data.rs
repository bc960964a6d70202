//! A run knows its data: what changed under it is said, and it stops.

use crate::support::Place;

/// Rows of two classes that a network tells apart at once.
fn rows(count: usize) -> String {
    let row = |i: usize| format!("{i},{},{}\n", i % 7, if i < 40 { "low" } else { "high" });
    let rows = (0..count).map(row);
    std::iter::once("x,y,class\n".to_owned())
        .chain(rows)
        .collect()
}

/// Trains, changes what `change` changes, and holds `eval` and `resume` to saying so.
fn check(train: &str, change: impl Fn(&Place), words: &str) {
    let place = Place::new();
    place.write("rows.csv", rows(80));
    place.write("long.txt", "the whale and the sea ".repeat(200));
    place.write(
        "texts.csv",
        "text,label\n".to_owned() + &"good film,pos\nbad film,neg\n".repeat(12),
    );
    place.run(&format!("{train} --out run")).expect(0);
    place.run("eval run").expect(0);
    // As if it had been stopped before its end.
    std::fs::remove_file(place.path("run/report.json")).unwrap();
    change(&place);
    for verb in ["eval", "resume"] {
        let said = place.run(&format!("{verb} run")).expect(1);
        assert!(said.err.contains(words), "{verb}: {}", said.err);
        assert!(said.err.contains("--changed-data"), "{verb}: {}", said.err);
    }
    // The checkpoint knows it as well.
    std::fs::remove_file(place.path("run/data.json")).unwrap();
    let said = place.run("resume run").expect(1);
    assert!(said.err.contains(words), "{}", said.err);
    let said = place.run("resume run --changed-data").expect(0);
    assert!(
        said.err.contains("warning: the data have changed"),
        "{}",
        said.err
    );
    // From now on it belongs to the new data.
    place.run("eval run").expect(0);
}

#[test]
fn rows_that_are_added_or_shuffled_are_noticed() {
    let train = "train --data rows.csv --epochs 2 --batch 16 --set checkpoint.every_steps=3";
    check(
        train,
        |place| place.write("rows.csv", rows(81)),
        "rows.csv had ",
    );
    let turned = |place: &Place| {
        let all = rows(80);
        let (head, body) = all.split_once('\n').unwrap();
        let body: Vec<&str> = body.lines().rev().collect();
        place.write("rows.csv", format!("{head}\n{}\n", body.join("\n")));
    };
    check(train, turned, "bytes, but other ones");
}

#[test]
fn texts_that_change_are_noticed() {
    let model = "train --model llama-tiny --batch 2 --set train.block=16 --set checkpoint.every_steps=2 --set train.eval_blocks=1";
    check(
        &format!("{model} --data long.txt --set train.max_steps=4"),
        |place| place.write("long.txt", "the whale and the boat ".repeat(200)),
        "long.txt had ",
    );
    check(
        &format!("{model} --data texts.csv --set train.max_steps=4"),
        |place| {
            place.write(
                "texts.csv",
                "text,label\n".to_owned() + &"good,pos\nbad film,neg\n".repeat(12),
            );
        },
        "texts.csv had ",
    );
}

#[test]
fn data_that_are_part_of_the_program_cannot_change() {
    let place = Place::new();
    place
        .run("train --data iris --epochs 1 --out run")
        .expect(0);
    assert!(!place.path("run/data.json").exists());
}

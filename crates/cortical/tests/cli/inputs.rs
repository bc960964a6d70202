//! What people give to the command: other classes, labels that are not there, pipes in the place of files.

use crate::support::Place;

/// Rows of two classes, called as one likes.
fn table(classes: [&str; 2]) -> String {
    let row = |i: usize| format!("{}.5,{},{}\n", i, i % 7, classes[usize::from(i < 20)]);
    "x,y,kind\n".to_owned() + &(0..40).map(row).collect::<String>()
}

/// A folder of grey pictures as the command reads them: dark ones in one class, light ones in the other.
fn pictures(place: &Place, folder: &str, [dark, light]: [&str; 2]) {
    for (class, value) in [(dark, 5), (light, 250)] {
        for i in 0..10 {
            let path = place.path(&format!("{folder}/{class}"));
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join(format!("{i}.png")), png(value)).unwrap();
        }
    }
}

/// A grey PNG of 4 x 4 pixels of one value: stored, not compressed.
fn png(value: u8) -> Vec<u8> {
    let rows: Vec<u8> = (0..4)
        .flat_map(|_| [0, value, value, value, value])
        .collect();
    let size = rows.len() as u16;
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in &rows {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    let zlib = [
        &[0x78, 1, 1][..],
        &size.to_le_bytes(),
        &(!size).to_le_bytes(),
        &rows,
        &((b << 16) | a).to_be_bytes(),
    ];
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let body = [kind, data].concat();
        let mut crc = u32::MAX;
        for byte in &body {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
            }
        }
        [
            &(data.len() as u32).to_be_bytes()[..],
            &body,
            &(!crc).to_be_bytes(),
        ]
        .concat()
    };
    [
        &b"\x89PNG\r\n\x1a\n"[..],
        &chunk(b"IHDR", &[0, 0, 0, 4, 0, 0, 0, 4, 8, 0, 0, 0, 0]),
        &chunk(b"IDAT", &zlib.concat()),
        &chunk(b"IEND", b""),
    ]
    .concat()
}

#[test]
fn classes_of_other_pictures_are_known_by_their_names() {
    let place = Place::new();
    pictures(&place, "plain", ["dn", "up"]);
    // In this order the names sort the other way round.
    pictures(&place, "case", ["dn", "Up"]);
    pictures(&place, "other", ["apple", "zebra"]);
    let train =
        "train --data plain --set model.kind=\"softmax\" --epochs 20 --batch 4 --lr 0.05 --out run";
    place.run(train).expect(0);
    let eval = |data: &str| place.run(&format!("eval run --data {data} --json"));
    assert_eq!(eval("plain").expect(0).json()["test_accuracy"], 1.0);
    let said = eval("case").expect(0);
    assert_eq!(said.json()["test_accuracy"], 1.0);
    assert!(
        said.err.contains("another case taken: Up as up"),
        "{}",
        said.err
    );
    let said = eval("other").expect(1);
    let want = "expected the classes dn, up, found apple, zebra";
    assert!(said.err.contains(want), "{}", said.err);
    // A network that tells others apart begins no training of these with its last layer.
    let from = "train --data other --set model.kind=\"softmax\" --set start.from=run --epochs 1 --out next";
    let said = place.run(from);
    assert_ne!(said.code, Some(0), "{said:?}");
    assert!(said.err.contains("start.replace"), "{}", said.err);
    assert!(
        said.err.contains("dn, up") && said.err.contains("apple, zebra"),
        "{}",
        said.err
    );
    // Pictures are predicted wherever they lie in the folder.
    let said = place.run("predict run plain --json").expect(0);
    assert_eq!(said.json()["predictions"].as_array().unwrap().len(), 20);
    std::fs::create_dir(place.path("empty")).unwrap();
    let said = place.run("predict run empty").expect(1);
    assert!(
        said.err.contains("empty: expected pictures"),
        "{}",
        said.err
    );
}

#[test]
fn a_label_that_is_not_there_is_refused_and_one_that_is_unknown_is_not_scored() {
    let place = Place::new();
    place.write("base.csv", table(["low", "high"]));
    place
        .run("train --data base.csv --epochs 2 --out run")
        .expect(0);
    for line in [
        "eval run --data base.csv --label nope",
        "predict run base.csv --label nope",
        "predict run base.csv --label 1",
        "predict run base.csv --label 9",
        "eval run --data digits --label x",
    ] {
        let said = place.run(line);
        assert_ne!(said.code, Some(0), "{line}: {said:?}");
        assert!(said.err.contains("expected "), "{line}: {}", said.err);
    }
    place.run("eval run --label kind").expect(2);
    place.run("predict run base.csv --label kind").expect(0);
    // A table to predict, as competitions hand them out.
    place.write("test.csv", "x,y,kind\n1,2,\n2,3,low\n30,3,new\n");
    let said = place.run("predict run test.csv --json").expect(0);
    assert_eq!(said.json()["predictions"].as_array().unwrap().len(), 3);
    assert!(said.err.contains("of 1 are right"), "{}", said.err);
    assert!(
        said.err.contains("2 have none that the model knows"),
        "{}",
        said.err
    );
    place.write("blank.csv", "x,y,kind\n1,2,\n2,3,\n");
    let said = place.run("predict run blank.csv --json").expect(0);
    assert!(said.json().get("accuracy").is_none(), "{}", said.out);
    // To test on there must be labels.
    let said = place.run("eval run --data test.csv").expect(1);
    assert!(
        said.err.contains("test.csv, line 2, column 3"),
        "{}",
        said.err
    );
}

#[cfg(unix)]
#[test]
fn pipes_in_the_place_of_files_are_refused() {
    let place = Place::new();
    place.write("base.csv", table(["low", "high"]));
    place
        .run("train --data base.csv --epochs 1 --out run")
        .expect(0);
    let pipe = |name: &str| {
        let _ = std::fs::remove_file(place.path(name));
        let made = std::process::Command::new("mkfifo")
            .arg(place.path(name))
            .status();
        assert!(made.unwrap().success());
    };
    // Whatever is read of a folder, and what is locked in it.
    pipe("run/.lock");
    let said = place.run("resume run").expect(1);
    assert!(
        said.err.contains(".lock is not a regular file"),
        "{}",
        said.err
    );
    std::fs::remove_file(place.path("run/.lock")).unwrap();
    std::fs::rename(place.path("run/model.safetensors"), place.path("kept")).unwrap();
    pipe("run/model.safetensors");
    let said = place.run("eval run --data base.csv").expect(1);
    assert!(
        said.err.contains("model.safetensors is not a regular file"),
        "{}",
        said.err
    );
    std::fs::remove_file(place.path("run/model.safetensors")).unwrap();
    std::fs::rename(place.path("kept"), place.path("run/model.safetensors")).unwrap();
    for (name, verb) in [
        ("config.json", "logits folder --ids 1 --out new"),
        ("adapter_config.json", "logits folder --ids 1 --out new"),
        ("tokenizer.json", "tokens folder A"),
        ("generation_config.json", "tokens folder A"),
    ] {
        let _ = std::fs::remove_dir_all(place.path("folder"));
        std::fs::create_dir(place.path("folder")).unwrap();
        place.write("folder/tokenizer.json", letters(40));
        pipe(&format!("folder/{name}"));
        let said = place.run(verb).expect(1);
        let want = format!("{name} is not a regular file");
        assert!(said.err.contains(&want), "{}", said.err);
    }
    pipe("run/metrics.jsonl");
    let said = place.run("report run").expect(1);
    assert!(
        said.err.contains("metrics.jsonl is not a regular file"),
        "{}",
        said.err
    );
    pipe("run/report.json");
    for line in ["report run", "eval run"] {
        let said = place.run(line).expect(1);
        assert!(
            said.err.contains("report.json is not a regular file"),
            "{line}: {}",
            said.err
        );
    }
}

#[test]
fn a_recipe_that_is_wrong_names_its_file() {
    let place = Place::new();
    place.write("mine.toml", "version = 2\n[train]\nepoch = 3\n");
    let error = |line: &str| {
        let said = place.run(line).expect(2);
        said.err.lines().next().unwrap_or_default().to_owned()
    };
    let of_file = "error: mine.toml: there is no field train.epoch; did you mean train.epochs?";
    assert_eq!(error("train --recipe mine.toml"), of_file);
    assert_eq!(error("train --recipe mine.toml --seed 3"), of_file);
    // What the command line says is not the file's.
    place.write("good.toml", "version = 2\n");
    assert_eq!(
        error("train --recipe good.toml --set train.epoch=3"),
        "error: recipe: there is no field train.epoch; did you mean train.epochs?"
    );
    place.write("torn.toml", "version = 2\n[train\n");
    let said = error("train --recipe torn.toml");
    assert!(said.starts_with("error: torn.toml, line 2: "), "{said}");
}

#[test]
fn arguments_that_are_refused_are_shown_escaped() {
    let place = Place::new();
    let output = place.command(["x\u{7}\u{202e}y\r"]).output().unwrap();
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(shown.contains("x\\u{7}\\u{202e}y\\r"), "{shown:?}");
    assert!(
        !shown.contains('\u{7}') && !shown.contains('\u{202e}'),
        "{shown:?}"
    );
}

#[test]
fn a_run_that_lost_its_model_says_so() {
    let place = Place::new();
    place
        .run("train --data iris --epochs 1 --out run")
        .expect(0);
    std::fs::remove_file(place.path("run/model.safetensors")).unwrap();
    let _ = std::fs::remove_dir_all(place.path("run/checkpoints"));
    let want = "the run in run is finished, but its model.safetensors is gone; bring the file back";
    for line in ["report run", "inspect run", "predict run x.csv", "eval run"] {
        let said = place.run(line);
        assert_ne!(said.code, Some(0), "{line}");
        assert!(said.err.contains(want), "{line}: {}", said.err);
    }
}

#[test]
fn a_folder_that_cannot_be_made_says_what_is_in_the_way() {
    let place = Place::new();
    place.write("base.csv", "1,2\n");
    for (out, want) in [
        (
            "base.csv",
            "base.csv cannot be made, as base.csv is no folder",
        ),
        (
            "base.csv/x",
            "base.csv/x cannot be made, as base.csv is no folder",
        ),
    ] {
        let said = place
            .run(&format!("train --data iris --epochs 1 --out {out}"))
            .expect(2);
        assert!(said.err.contains(want), "{}", said.err);
    }
    assert_eq!(place.read("base.csv"), b"1,2\n");
    #[cfg(target_os = "linux")]
    {
        let said = place
            .run("train --data iris --epochs 1 --out /proc/x")
            .expect(1);
        assert!(
            said.err.contains("no folder can be made at /proc/x ("),
            "{}",
            said.err
        );
    }
}

/// A tokenizer of so many characters, from `A` on.
fn letters(count: u8) -> String {
    let each: serde_json::Map<String, serde_json::Value> = (0..count)
        .map(|i| (char::from(b'A' + i).to_string(), i.into()))
        .collect();
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": each, "merges": [],
        },
    })
    .to_string()
}

#[test]
fn short_texts_and_broken_templates_name_their_files() {
    let place = Place::new();
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../cortical-models/fixtures/llama"
    );
    for file in ["config.json", "model.safetensors"] {
        std::fs::create_dir_all(place.path("model")).unwrap();
        std::fs::copy(
            format!("{model}/{file}"),
            place.path(&format!("model/{file}")),
        )
        .unwrap();
    }
    place.write("model/tokenizer.json", letters(40));
    place.write("short.txt", "A");
    let said = place.run("perplexity model short.txt").expect(1);
    let want = "short.txt: the text has 1 tokens; at least 2 are needed";
    assert!(said.err.contains(want), "{}", said.err);
    place.run("perplexity model short.txt --window 1").expect(2);
    place.run("perplexity model short.txt --skip 0").expect(2);
    // A text that is shorter than a window is read with half of itself as context.
    place.write("four.txt", "ABCD");
    let said = place.run("perplexity model four.txt --json").expect(0);
    assert_eq!(said.json()["counted"], 2);
    place.write("model/chat_template.jinja", "{{ 1|nothing }}");
    let said = place.run("chat model --say A -n 1").expect(1);
    assert!(
        said.err
            .contains("model/chat_template.jinja: the chat template fails: "),
        "{}",
        said.err
    );
    place.write(
        "model/chat_template.jinja",
        "{% if unk_token == 'U' and eos_token == 'E' %}ABC{% endif %}",
    );
    place.write(
        "model/tokenizer_config.json",
        r#"{"unk_token": {"content": "U"}, "eos_token": "E"}"#,
    );
    place.run("chat model --say A -n 1").expect(0);
    place.write("model/tokenizer_config.json", "{");
    let said = place.run("chat model --say A -n 1").expect(1);
    assert!(
        said.err.contains("model/tokenizer_config.json is no JSON"),
        "{}",
        said.err
    );
}

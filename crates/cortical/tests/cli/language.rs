//! Language models from outside.

use cortical_io::TensorFile;
use serde_json::{Value, json};

use crate::support::{Place, Said};

/// A small model, trained for two steps on a text of its own.
pub(crate) fn trained() -> Place {
    let place = Place::new();
    let line = "the sea, the open sea, and the white whale in it. ";
    place.write("text.txt", line.repeat(20));
    let small = "--set train.block=16 --set train.batch_size=2 --set train.max_steps=2 --set train.sample_tokens=4";
    place
        .run(&format!(
            "train --model llama-tiny --data text.txt --out base {small}"
        ))
        .expect(0);
    place
        .run(&format!(
            "train --model base --data text.txt --out adapted --set lora.rank=2 --lr 0.1 {small}"
        ))
        .expect(0);
    place
}

/// The scores of some tokens.
fn logits(place: &Place, model: &str) -> Vec<f32> {
    let file = format!("{model}.safetensors");
    place
        .run(&format!("logits {model} --ids 116,104,101,32 --out {file}"))
        .expect(0);
    let file = TensorFile::open(place.path(&file)).unwrap();
    let scores = file.load("logits", &candle_core::Device::Cpu).unwrap();
    scores.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_merged_model_computes_what_the_adapted_one_does() {
    let place = trained();
    let said = place.run("merge adapted --out merged").expect(0);
    assert!(said.out.contains("6 low-rank changes"), "{}", said.out);
    let far = |a: &[f32], b: &[f32]| {
        let each = a.iter().zip(b).map(|(a, b)| (a - b).abs());
        each.fold(0.0, f32::max)
    };
    let [base, adapted, merged] = ["base", "adapted", "merged"].map(|name| logits(&place, name));
    assert!(far(&adapted, &merged) < 1e-4);
    assert!(far(&base, &merged) > 1e-3, "training changed something");
    let tokens = place.run("tokens merged whale").expect(0).out;
    assert_eq!(tokens, place.run("tokens base whale").expect(0).out);
    let said = place.run("merge adapted --out merged").expect(2);
    assert!(said.err.contains("exists already"), "{}", said.err);
}

#[test]
fn many_prompts_have_the_texts_of_each_alone() {
    let place = trained();
    let prompts = ["the", "the white whale in it. the sea", "s"];
    let lines = format!(
        "{}\n\n{}\n{}\n",
        json!(prompts[0]),
        json!({ "prompt": prompts[1], "id": "b", "max_tokens": 5 }),
        json!({ "prompt": prompts[2], "seed": 9 }),
    );
    place.write("prompts.jsonl", lines);
    let options = "--temperature 1 --stop z";
    let line = "generate base --prompts prompts.jsonl --seed 3 --together 2 --max-tokens 12";
    let line = format!("{line} {options}");
    let said = place.run(&line).expect(0);
    assert!(said.err.contains("3 prompts, 2 at a time"), "{}", said.err);
    let written: Vec<Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(written.len(), 3);
    for (i, (got, prompt)) in written.iter().zip(prompts).enumerate() {
        let (seed, limit) = ([3, 3, 9][i], [12, 5, 12][i]);
        let options = format!("{options} --max-tokens {limit} --seed {seed} --json");
        let args = ["generate", "base", "--prompt", prompt];
        let args = args.into_iter().chain(options.split_whitespace());
        let alone: Said = place.command(args).output().unwrap().into();
        let alone = alone.expect(0).json();
        for field in ["text", "ids", "tokens", "stop", "seed", "prompt"] {
            assert_eq!(got[field], alone[field], "{i} {field}");
        }
        assert_eq!(got["line"], [1, 3, 4][i]);
    }
    assert_eq!(written[1]["id"], "b");

    for (bad, want) in [
        (
            "{\"prompt\": 3}",
            "bad.jsonl, line 1: prompt: expected a text, found 3",
        ),
        (
            "\"a\"\n{\"promt\": \"x\"}",
            "line 2: found the field \"promt\"",
        ),
        ("{\"ids\": [70000]}", "--ids has 70000"),
        ("\"\"", "line 1: there is nothing to go on from"),
        ("[1]", "expected an object with a prompt, found [1]"),
        ("{\"prompt\": \"a\", \"ids\": [1]}", "either prompt or ids"),
        ("{", "line 1: EOF"),
    ] {
        place.write("bad.jsonl", bad);
        let said = place.run("generate base --prompts bad.jsonl");
        assert_ne!(said.code, Some(0));
        assert!(said.err.contains(want), "{want}: {}", said.err);
        assert_eq!(said.out, "");
    }
}

#[test]
fn a_prompt_that_was_read_goes_on_from_its_file() {
    let place = trained();
    let run = |prompt: &str, cache: &str| {
        let args = [
            "generate",
            "base",
            "--json",
            "--max-tokens",
            "6",
            "--prompt",
            prompt,
        ];
        let mut command = place.command(args);
        command.args(cache.split_whitespace());
        Said::from(command.output().unwrap())
    };
    let prompt = "the sea, the open sea, and the white whale";
    let plain = run(prompt, "").expect(0).json();
    let first = run(prompt, "--prompt-cache read.bin").expect(0).json();
    assert_eq!(first["ids"], plain["ids"]);
    let again = run(prompt, "--prompt-cache read.bin").expect(0);
    assert!(
        again.err.contains("41 of 42 tokens were read before"),
        "{}",
        again.err
    );
    assert_eq!(again.json()["ids"], plain["ids"]);
    // Another end of the same beginning.
    let other = run("the sea, the open boat", "--prompt-cache read.bin").expect(0);
    assert!(other.err.contains("18 of 22 tokens"), "{}", other.err);
    place.write("wrong.bin", "mine");
    let said = run(prompt, "--prompt-cache wrong.bin").expect(1);
    assert!(said.err.contains("is no prompt that"), "{}", said.err);
    assert_eq!(place.read("wrong.bin"), b"mine");
}

#[test]
fn a_text_has_no_label_column() {
    let place = trained();
    let said = place.run("eval base --data text.txt --label foo").expect(2);
    let want = "found \"text.txt\", which has no columns";
    assert!(said.err.contains(want), "{}", said.err);
    place.run("eval base --data text.txt").expect(0);
}

#[test]
fn low_rank_changes_of_a_fresh_model_make_a_whole_one() {
    let place = trained();
    let small =
        "--set train.block=16 --set train.max_steps=1 --set train.sample_tokens=0 --batch 2";
    let line = "train --model llama-tiny --data text.txt --set lora.rank=4 --out fresh";
    let said = place.run(&format!("{line} {small}")).expect(0);
    assert!(said.out.contains("fresh/model.safetensors"), "{}", said.out);
    place
        .run("generate fresh --prompt the --max-tokens 2")
        .expect(0);
    place.run("eval fresh").expect(0);
}

#[test]
fn the_preset_is_a_recipe_whose_fields_can_be_set() {
    let place = Place::new();
    let line = "train --preset moby-dick --print-recipe --set train.max_steps=3 --lr 0.1";
    let said = place.run(line).expect(0);
    for part in [
        "model = \"llama-tiny\"",
        "name = \"moby-dick\"",
        "max_steps = 3 ",
        "validate_every = 200",
        "lr = 0.1 ",
    ] {
        assert!(said.out.contains(part), "{part}\n{}", said.out);
    }
}

#[test]
fn a_table_of_texts_makes_a_model_of_classes() {
    let place = trained();
    let row = |i: usize| ["awful,bad\n", "lovely,good\n"][i % 2];
    let table: String = (0..20).map(row).collect();
    place.write("reviews.csv", format!("text,label\n{table}"));
    place.write("new.txt", "lovely\n\nawful\n");
    let line = "train --model adapted --data reviews.csv --epochs 1 --batch 4 --out opinions";
    let said = place.run(line).expect(0);
    assert!(
        said.err
            .contains("16 texts to learn from, 2 to validate on, 2 to test on, 2 classes"),
        "{}",
        said.err
    );
    assert!(
        said.out.contains("cortical predict opinions"),
        "{}",
        said.out
    );

    let said = place.run("predict opinions new.txt --json").expect(0);
    let found: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(found["predictions"].as_array().unwrap().len(), 2);
    assert_eq!(found["predictions"][1]["text"], "awful");
    let said = place.run("predict opinions reviews.csv").expect(0);
    assert!(said.err.contains("of 20 are right"), "{}", said.err);
    let said = place.run("eval opinions").expect(0);
    assert!(said.out.contains("of 2 right"), "{}", said.out);
    // Data sets of the program are no texts.
    let said = place.run("eval opinions --data iris").expect(2);
    assert!(said.err.contains("iris does not exist"), "{}", said.err);
    let said = place.run("generate opinions --prompt x").expect(2);
    assert!(
        said.err.contains("use `cortical predict opinions"),
        "{}",
        said.err
    );
    place.run("merge opinions --out whole").expect(0);
    let [a, b] = ["opinions", "whole"].map(|model| {
        let line = format!("predict {model} new.txt --quiet");
        place.run(&line).expect(0).out
    });
    assert_eq!(a, b);
}

#[test]
fn options_of_a_training_mean_the_same_for_every_task() {
    let place = Place::new();
    let line = "the sea, the open sea, and the white whale in it. ";
    place.write("text.txt", line.repeat(20));
    let model = "train --model llama-tiny --data text.txt --set train.block=16 --batch 2 --set train.sample_tokens=4";
    let said = place
        .run(&format!("{model} --find-lr --out plot.html --json"))
        .expect(0);
    assert!(!said.json()["points"].as_array().unwrap().is_empty());
    assert!(!place.path("runs").exists(), "nothing was trained");

    let said = place
        .run(&format!("{model} --print-recipe --json"))
        .expect(0);
    assert_eq!(said.json()["recipe"]["model"], "llama-tiny");

    // The same batch again and again, so that its loss falls fast.
    let said = place
        .run(&format!(
            "{model} --overfit-batches 1 --lr 3e-3 --set train.max_steps=12 --set log.every_steps=1 --out one --json"
        ))
        .expect(0);
    assert_eq!(said.json()["epochs"], 12, "an epoch is one batch");
    let lines = String::from_utf8(place.read("one/metrics.jsonl")).unwrap();
    let losses: Vec<f64> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|line| line["event"] == "step")
        .map(|line| line["loss"].as_f64().unwrap())
        .collect();
    assert!(losses[11] < 0.7 * losses[0], "{losses:?}");

    let said = place
        .run(&format!("{model} --set train.mixup=0.2"))
        .expect(2);
    assert!(
        said.err
            .contains("train.mixup is a setting for pictures and tables"),
        "{}",
        said.err
    );
    let said = place
        .run("train --preset iris --model llama-tiny")
        .expect(2);
    assert!(
        said.err
            .contains("expected a recipe that learns classes of pictures"),
        "{}",
        said.err
    );
    let said = place
        .run(&format!(
            "{model} --set data.valid_fraction=0 --set train.patience=2"
        ))
        .expect(2);
    assert!(
        said.err
            .contains("train.patience chooses by validation samples"),
        "{}",
        said.err
    );
}

#[test]
fn texts_that_are_too_long_are_refused() {
    let place = trained();
    let ids = |count: usize| vec!["116"; count].join(",");
    let refused = |line: &str| {
        let said = place.run(line).expect(1);
        assert!(said.out.is_empty(), "{}", said.out);
        let part = "has 257 tokens, and the model was made for 256";
        assert!(said.err.contains(part), "{line}: {}", said.err);
        assert!(said.err.contains("--beyond-context"), "{}", said.err);
    };
    let long = ids(257);
    refused(&format!("generate base --ids {long} -n 2"));
    refused(&format!("logits base --ids {long} --out far.safetensors"));
    place.write("long.txt", "x".repeat(257));
    refused("perplexity base long.txt --window 300");
    place.run("perplexity base long.txt").expect(0);
    let far = format!("generate base --ids {long} -n 2 --beyond-context --json");
    assert_eq!(place.run(&far).expect(0).json()["tokens"], 2);
    // One that just fits is followed by one token, and it says why it ends.
    let full = format!("generate base --ids {} -n 9 --json", ids(256));
    let said = place.run(&full).expect(0).json();
    assert_eq!(
        (&said["tokens"], &said["stop"]),
        (&1.into(), &"positions".into())
    );
}

#[test]
fn texts_that_are_no_text_are_refused() {
    let place = trained();
    place.write("broken.txt", b"a line\nand one \xff of bytes");
    let parts = ["broken.txt is not UTF-8", "line 2", "byte 15"];
    let train =
        "train --model llama-tiny --data broken.txt --set train.block=16 --set train.max_steps=1";
    for line in [
        "perplexity base broken.txt",
        "perplexity base broken.txt --bytes 20",
        train,
    ] {
        let said = place.run(line).expect(1);
        for part in parts {
            assert!(said.err.contains(part), "{line}: {}", said.err);
        }
    }
    // A character that the limit cuts is nobody's fault.
    place.write("whole.txt", "aaaaaaaé");
    let said = place
        .run("perplexity base whole.txt --bytes 8 --skip 1 --json")
        .expect(0);
    assert_eq!(said.json()["bytes"], 7);
    place.write("half.txt", b"aaaaaaa\xc3");
    place.run("perplexity base half.txt").expect(1);
}

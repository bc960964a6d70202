//! `inspect`, `plan` and `diff`.

use serde_json::json;

use crate::support::{Place, QUICK};

#[test]
fn inspect_shows_modules_and_explains_numbers() {
    let place = Place::new();
    let said = place.run("inspect llama2-70b --depth 3").expect(0);
    for part in [
        "68,976,648,192 parameters in 723 tensors",
        "0-79               80 × 855,654,400  68,452,352,000",
        "what stands inside of 0-79 is that of one",
        "by kind: feed-forward 56,371,445,760 (81.73 %)",
    ] {
        assert!(said.out.contains(part), "{part}\n{}", said.out);
    }
    assert!(!said.out.contains("self_attn"), "{}", said.out);
    let all = place.run("inspect llama2-70b").expect(0);
    assert!(all.out.contains("q_proj.weight"), "{}", all.out);
    let why = place.run("inspect llama2-70b --why").expect(0);
    assert!(why.out.contains("80 layers × 1,024 · 8,192"), "{}", why.out);
    assert!(why.out.contains("grouped queries: 64 heads"), "{}", why.out);

    // A folder that has nothing but its description.
    std::fs::create_dir(place.path("hub")).unwrap();
    place.write("hub/config.json", "{\"model_type\": \"gpt2\"}");
    let said = place.run("inspect hub --json").expect(0).json();
    assert_eq!(said["parameters"], 124_439_808);
    assert_eq!(
        said["ties"],
        json!({ "lm_head.weight": "transformer.wte.weight" })
    );
    let said = place.run("inspect hub --why --json").expect(0).json();
    assert_eq!(said["parts"][0]["formula"], "50,257 · 768");
    let said = place.run("inspect hub --stats").expect(2);
    assert!(
        said.err.contains("hub has no weights, only a description"),
        "{}",
        said.err
    );
}

#[test]
fn inspect_says_what_a_run_froze() {
    let place = Place::new();
    place.run(&format!("{QUICK} --out a")).expect(0);
    let freeze = "--set start.from=a --set start.freeze=[fc1.*] --out b";
    place.run(&format!("{QUICK} {freeze}")).expect(0);
    let said = place.run("inspect b").expect(0);
    assert!(said.out.contains("195 of them trained"), "{}", said.out);
    assert!(said.out.contains("frozen"), "{}", said.out);
    let said = place.run("inspect b --stats --json").expect(0).json();
    assert_eq!(said["trainable"], 195);
    assert!(said["stats"]["norm"].as_f64().unwrap() > 0.0);
    assert_eq!(said["modules"][0]["modules"][0]["stats"]["non_finite"], 0);

    // The frozen layer is what it was, the other one is not.
    let said = place.run("diff a b --json").expect(0).json();
    let [weight, bias, head, _] = &said["tensors"].as_array().unwrap()[..] else {
        panic!("{said}");
    };
    assert_eq!(
        (&weight["name"], &weight["same"]),
        (&json!("fc1.weight"), &json!(true))
    );
    assert_eq!(
        (&bias["relative"], &bias["cosine"]),
        (&json!(0.0), &json!(1.0))
    );
    assert!(head["largest"].as_f64().unwrap() > 0.0);
    assert_eq!(said["modules"][0]["name"], "fc1");
    let said = place.run("diff a a").expect(0);
    assert!(
        said.out
            .contains("every tensor has the same numbers in both"),
        "{}",
        said.out
    );
    let said = place.run("diff a llama2-7b").expect(0);
    assert!(
        said.out
            .contains("only in the second: model.embed_tokens.weight"),
        "{}",
        said.out
    );
    place.run("diff a nowhere/b").expect(2);
}

#[test]
fn inspect_knows_networks_and_recipes() {
    let place = Place::new();
    let said = place.run("inspect resnet20 --json").expect(0).json();
    assert_eq!(said["parameters"], 272_474);
    assert_eq!(said["multiply_adds"], 40_813_184);
    let said = place.run("inspect lenet").expect(0);
    assert!(said.out.contains("1,199,882 parameters"), "{}", said.out);
    assert!(
        said.out.contains("for samples of shape [1, 28, 28]"),
        "{}",
        said.out
    );
    place.write(
        "my.toml",
        "version = 2\n[data]\nname = \"iris\"\n[model]\nkind = \"mlp\"\nhidden = [9]",
    );
    let said = place.run("inspect my.toml --json").expect(0).json();
    assert_eq!(said["parameters"], 9 * 5 + 3 * 10);
    let said = place.run("inspect iris --json").expect(0).json();
    assert_eq!(said["parameters"], 515);
    let said = place.run("inspect resnet21").expect(2);
    assert!(
        said.err.contains("did you mean \"resnet20\"?"),
        "{}",
        said.err
    );
    let said = place
        .run("inspect gpt2 --context 10 --json")
        .expect(0)
        .json();
    let attention = 12 * 2 * 768 * (10 * 11 / 2);
    assert_eq!(said["context"], 10);
    assert_eq!(said["attention_multiply_adds"], attention);
    assert_eq!(
        said["multiply_adds"],
        10 * (50_257 * 768 + 12 * 12 * 768 * 768) + attention
    );
}

#[test]
fn plan_tells_memory_arithmetic_and_time() {
    let place = Place::new();
    // A card by its name: nothing is measured, so every figure is known.
    let plan = "plan llama2-7b --context 2048 --batch 1 --dtype bf16 --json";
    let said = place.run(&format!("{plan} --device h100")).expect(0).json();
    let weights = 2 * 6_738_415_616_u64;
    let memory = &said["training"]["memory"];
    assert_eq!(
        (&memory["weights"], &memory["gradients"]),
        (&json!(weights), &json!(weights))
    );
    assert_eq!(said["training"]["fits"], false);
    assert_eq!(said["training"]["measured_ms"], json!(null));
    assert_eq!(said["inference"]["fits"], true);
    // 32 blocks, keys and values of 4,096 numbers.
    assert_eq!(
        said["decoding"]["memory"]["cache"],
        2048_u64 * 32 * 2 * 4096 * 4
    );
    let floor = said["decoding"]["floor_ms"].as_f64().unwrap();
    assert!(
        (4.0..6.0).contains(&floor),
        "13.5 GB at 3,350 GB/s are 4 ms, and the cache: {floor}"
    );

    let said = place
        .run("plan digits-cnn --data digits --batch 32 --json")
        .expect(0)
        .json();
    let training = &said["training"];
    assert!(training["fits"] == true && training["measured_ms"].as_f64().unwrap() > 0.0);
    assert!(training["memory"]["data"].as_u64().unwrap() >= 1797 * (64 + 4));
    assert_eq!(said["machine"]["name"], "this machine");

    // The use of a model in a folder is tried on its files.
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../cortical-models/fixtures/llama"
    );
    let said = place
        .run(&format!("plan {folder} --context 8 --json"))
        .expect(0);
    for part in ["inference", "decoding"] {
        let ms = said.json()[part]["measured_ms"].as_f64();
        assert!(ms.is_some_and(|ms| ms > 0.0), "{part}: {ms:?}");
    }

    let cluster = "plan gpt2 --device a100 --batch 8 --machines 4 --link 100Gbit";
    let said = place.run(cluster).expect(0);
    for part in [
        "data parallel",
        "optimizer sharding",
        "fully sharded",
        "tensor parallel",
        "pipeline",
    ] {
        assert!(said.out.contains(part), "{part}\n{}", said.out);
    }
    let said = place.run(&format!("{cluster} --json")).expect(0).json();
    let gradients = said["training"]["memory"]["gradients"].as_u64().unwrap();
    assert_eq!(said["machines"][0]["wire_bytes"], gradients * 6 / 4);

    // A recipe, a run, and what is none of them.
    place.write(
        "my.toml",
        "version = 2\n[data]\nname = \"iris\"\n[train]\nbatch_size = 8",
    );
    let said = place.run("plan my.toml --no-trial --json").expect(0).json();
    assert_eq!(
        (&said["training"]["batch"], &said["parameters"]),
        (&json!(8), &json!(515))
    );
    place.run(&format!("{QUICK} --out r")).expect(0);
    let said = place
        .run("plan r --no-trial --optimizer sgd --json")
        .expect(0)
        .json();
    assert_eq!(
        (&said["parameters"], &said["optimizer"]),
        (&json!(515), &json!("sgd"))
    );
    let said = place.run("plan nothing --no-trial").expect(2);
    assert!(
        said.err.contains("there is no model of that name"),
        "{}",
        said.err
    );
    place.run("plan lenet --device h900").expect(2);
    place.run("plan lenet --machines 2 --link fast").expect(2);
}

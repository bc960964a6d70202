//! `inspect` and `diff`.

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

//! `neurons` and `verify`.

use serde_json::Value;

use crate::support::{Place, QUICK};

/// A table of two classes whose first column says which.
fn table() -> String {
    let rows = (0..40).map(|i| match i % 2 {
        0 => format!("{},{},low\n", i % 7, i % 5),
        _ => format!("{},{},high\n", 20 + i % 7, i % 5),
    });
    format!("a,b,label\n{}", rows.collect::<String>())
}

#[test]
fn neurons_of_a_table_and_of_pictures_are_shown_in_three_ways() {
    let place = Place::new();
    place.write("table.csv", table());
    place
        .run("train --data table.csv --epochs 4 --out t --quiet")
        .expect(0);
    let said = place
        .run("neurons t --data table.csv --out page.html --json")
        .expect(0);
    let found = said.json();
    assert_eq!(
        (&found["inputs"], &found["silenced_on"]),
        (&40.into(), &40.into())
    );
    let layers = found["layers"].as_array().unwrap();
    assert_eq!(layers.last().unwrap()["units"].as_array().unwrap().len(), 2);
    let unit = &layers[0]["units"][0];
    for key in [
        "mean",
        "spread",
        "fires",
        "state",
        "class",
        "selectivity",
        "top",
        "silenced",
    ] {
        assert!(unit.get(key).is_some(), "{key}: {unit}");
    }
    assert!(unit["silenced"]["recall"]["low"].is_number(), "{unit}");
    let page = String::from_utf8(place.read("page.html")).unwrap();
    assert!(
        page.contains("<title>Neurons of t</title>") && !page.contains("http"),
        "{page}"
    );
    // Its own page is replaced, another one is not.
    place
        .run("neurons t --out page.html --silence 0 --quiet")
        .expect(0);
    place.write("mine.html", "mine");
    let said = place.run("neurons t --out mine.html --json").expect(2);
    assert!(
        said.json()["error"].as_str().unwrap().contains("--force"),
        "{}",
        said.out
    );
    place
        .run("neurons t --out mine.html --force --silence 0 --quiet")
        .expect(0);

    place
        .run("train --preset edges --set train.max_steps=4 --out e --quiet")
        .expect(0);
    let said = place
        .run("neurons e --inputs 60 --silence 8 --layer conv* --out e.html")
        .expect(0);
    for part in [
        "conv1",
        "selectivity",
        "hurts most",
        "edges",
        "over 60 inputs",
        "measured on 8",
    ] {
        assert!(said.out.contains(part), "{part}\n{}", said.out);
    }
    let page = String::from_utf8(place.read("e.html")).unwrap();
    assert!(
        page.matches("data:image/png").count() > 8,
        "filters and pictures that excite"
    );
    let found = place
        .run("neurons e --inputs 60 --silence 0 --layer conv1 --json")
        .expect(0)
        .json();
    assert_eq!(
        found["layers"][0]["units"][0]["orientation"]["degrees"]
            .as_f64()
            .map(|d| (0.0..180.0).contains(&d)),
        Some(true)
    );
    let said = place.run("neurons e --layer nix --json").expect(0).json();
    assert!(
        said["remarks"][0]
            .as_str()
            .unwrap()
            .contains("no layer is called nix")
    );
}

#[test]
fn neurons_of_texts_and_language_models_are_shown_by_what_excites_them() {
    let place = Place::new();
    place.write("text.txt", "the white whale in the open sea. ".repeat(40));
    place.write(
        "reviews.csv",
        "text,label\n".to_owned() + &"good,pos\nbad,neg\n".repeat(10),
    );
    let small = "--batch 2 --quiet --set train.block=16 --set train.max_steps=1";
    place
        .run(&format!(
            "train --model llama-tiny --data text.txt {small} --out base"
        ))
        .expect(0);
    let said = place
        .run("neurons base --inputs 30 --silence 0 --out heads.html --json")
        .expect(0);
    let found = said.json();
    assert_eq!(found["tokens"], 30);
    assert!(
        found["attention"][0]["heads"][0]["habit"].is_string(),
        "{}",
        found["attention"]
    );
    let top = &found["layers"][0]["units"][0]["top"][0];
    let word = top["word"].as_str().unwrap();
    assert!(
        top["context"]
            .as_str()
            .unwrap()
            .ends_with(&format!("[{word}]")),
        "{top}"
    );
    let page = String::from_utf8(place.read("heads.html")).unwrap();
    assert!(page.contains("data:image/png"), "pictures of heads");
    let layer = found["layers"][0]["name"].as_str().unwrap();
    let said = place
        .run(&format!(
            "neurons base --prompt whale --layer {layer} --silence 4"
        ))
        .expect(0);
    assert!(
        said.out.contains("looks at") && said.out.contains("loss without"),
        "{}",
        said.out
    );

    place
        .run(&format!(
            "train --model base --data reviews.csv {small} --out classes"
        ))
        .expect(0);
    let said = place
        .run("neurons classes --data reviews.csv --inputs 4 --silence 0")
        .expect(0);
    assert!(
        said.out.contains("down_proj.input") && said.out.contains("(pos)"),
        "{}",
        said.out
    );

    // A model without a run needs something to read.
    std::fs::create_dir(place.path("hub")).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(
            place.path(&format!("base/{name}")),
            place.path(&format!("hub/{name}")),
        )
        .unwrap();
    }
    let said = place.run("neurons hub --json").expect(2);
    assert!(
        said.json()["error"].as_str().unwrap().contains("--prompt"),
        "{}",
        said.out
    );
    place
        .run("neurons hub --prompt whale --silence 0 --quiet")
        .expect(0);
}

#[test]
fn what_has_no_neurons_is_refused() {
    let place = Place::new();
    place.run(&format!("{QUICK} --out run --quiet")).expect(0);
    place.write(
        "broken.safetensors",
        &place.read("run/model.safetensors")[..200],
    );
    place.write("empty.csv", "");
    std::fs::create_dir(place.path("folder")).unwrap();
    for (line, code) in [
        ("neurons nowhere --json", 2),
        ("neurons folder --json", 2),
        ("neurons broken.safetensors --data iris --json", 1),
        ("neurons run --data empty.csv --json", 1),
        ("neurons run --inputs 0 --json", 2),
        ("verify nowhere --against broken.safetensors --json", 1),
        ("verify run --against nowhere.safetensors --json", 2),
        ("verify run --against run/model.safetensors --json", 2),
        (
            "verify run --against broken.safetensors --tolerance 0 --json",
            2,
        ),
    ] {
        let said = place.run(line);
        assert_eq!(said.code, Some(code), "{line}: {} {}", said.out, said.err);
        assert!(said.json()["error"].is_string(), "{line}: {}", said.out);
    }
}

#[test]
fn verify_names_the_layer_and_fails_where_something_departs() {
    let references = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../cortical-explain/tests/references"
    );
    let place = Place::new();
    let against = format!("--against {references}/llama.reference.safetensors");
    let said = place
        .run(&format!("verify {references}/llama {against}"))
        .expect(0);
    assert!(said.out.contains("agrees:"), "{}", said.out);
    let found: Value = place
        .run(&format!("verify {references}/llama {against} --json"))
        .expect(0)
        .json();
    assert_eq!(found["agrees"], true);
    // Another eps than PyTorch had.
    std::fs::create_dir(place.path("other")).unwrap();
    let config = std::fs::read_to_string(format!("{references}/llama/config.json")).unwrap();
    place.write(
        "other/config.json",
        config.replace("\"rms_norm_eps\": 0.01", "\"rms_norm_eps\": 1e-5"),
    );
    std::fs::copy(
        format!("{references}/llama/model.safetensors"),
        place.path("other/model.safetensors"),
    )
    .unwrap();
    let said = place.run(&format!("verify other {against}")).expect(1);
    assert!(
        said.out
            .contains("model.layers.0.input_layernorm is the first layer"),
        "{}",
        said.out
    );
    let found = place
        .run(&format!("verify other {against} --json"))
        .expect(1)
        .json();
    assert_eq!(
        found["departure"]["layer"],
        "model.layers.0.input_layernorm"
    );
    assert_eq!(found["departure"]["behind"], "model.embed_tokens");
    place
        .run(&format!("verify other {against} --tolerance 1e9"))
        .expect(0);
}

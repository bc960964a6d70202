//! Numbers of parameters are transformers' own, for configurations of published models (`totals/make.py` made them).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use cortical_explain::Contents;
use cortical_models::language::Head;
use serde_json::Value;

#[test]
fn totals_are_those_of_transformers() {
    let all: Vec<Value> = serde_json::from_str(include_str!("totals/totals.json")).unwrap();
    assert!(all.len() >= 12);
    let mut ties = 0;
    for model in all {
        let name = model["name"].as_str().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.json");
        std::fs::write(&config, model["config"].to_string()).unwrap();
        // A folder that has only its config.json, and the file by itself.
        for path in [folder.path(), &config] {
            let contents = Contents::open(path).unwrap();
            let parameters = contents.parameters();
            assert_eq!(
                Some(parameters as u64),
                model["parameters"].as_u64(),
                "{name}"
            );
            let kinds = contents.kinds().into_iter().map(|(_, n)| n).sum::<usize>();
            assert_eq!(kinds, parameters, "{name}");
            let root = contents.tree();
            assert_eq!(root.parameters, parameters, "{name}");
            let (lines, _) = contents.explain();
            assert_eq!(
                lines.iter().map(|line| line.parameters).sum::<usize>(),
                parameters,
                "{name}"
            );
            let is_tied = contents.config.as_ref().unwrap().head() == Head::Tied;
            assert_eq!(contents.ties.len(), usize::from(is_tied), "{name}");
            ties += contents.ties.len();
        }
    }
    assert!(ties >= 8, "tied models are among them");
}

#[test]
fn what_differs_between_13b_and_70b_is_said() {
    let said = |name: &str| {
        let contents = Contents::open(name.as_ref()).unwrap();
        let (lines, remarks) = contents.explain();
        let keys = lines.iter().find(|line| line.part == "keys").unwrap();
        (keys.formula.clone(), remarks.join("\n"))
    };
    let (keys, remarks) = said("llama2-13b");
    assert_eq!(keys, "40 layers × 5,120 · 5,120");
    assert!(!remarks.contains("grouped"), "{remarks}");
    let (keys, remarks) = said("llama2-70b");
    assert_eq!(keys, "80 layers × 1,024 · 8,192");
    assert!(
        remarks.contains("grouped queries: 64 heads of queries share 8 of keys and values"),
        "{remarks}"
    );
}

#[test]
fn a_token_costs_every_weight_but_the_tables_and_what_it_sees() {
    let cost = |name: &str| {
        let contents = Contents::open(name.as_ref()).unwrap().at_context(10);
        let attention = 2 * contents.config.as_ref().unwrap().hidden_size() as u64 * (10 * 11 / 2);
        let layers = contents.config.as_ref().unwrap().layers() as u64;
        let whole = contents.multiply_adds().unwrap();
        (whole - layers * attention) / 10
    };
    // 6,738,415,616 less the table of tokens and 65 norms.
    assert_eq!(cost("llama2-7b"), 6_738_415_616 - 32_000 * 4096 - 65 * 4096);
    // The table is the head as well: 50,257 · 768 + 12 · (768 · 2,304 + 768 · 768 + 2 · 768 · 3,072).
    assert_eq!(cost("gpt2"), 50_257 * 768 + 12 * 12 * 768 * 768);
}

//! `prune`: what comes of it is an ordinary run, and what makes no sense is refused.

use crate::support::{Place, QUICK};

#[test]
fn a_pruned_network_is_an_ordinary_run() {
    let place = Place::new();
    place.run(&format!("{QUICK} --out a")).expect(0);
    for (out, options) in [
        ("half", "--neurons 0.5 --batch 1"),
        ("sparse", "--sparsity 0.8 --ramp 0.5 --batch 1"),
        ("packed", "--sparsity 0.95 --pack --batch 1"),
        ("ticket", "--sparsity 0.5 --rewind 2 --rounds 2 --batch 1"),
        ("untrained", "--pattern 2:4 --epochs 0 --batch 1"),
    ] {
        let said = place
            .run(&format!("prune a --out {out} {options} --json"))
            .expect(0)
            .json();
        let (before, after) = (&said["before"], &said["after"]);
        let count = |value: &serde_json::Value, name: &str| value[name].as_u64().unwrap();
        if out == "half" {
            assert!(
                count(after, "parameters") < count(before, "parameters"),
                "{said}"
            );
            assert!(
                count(after, "multiply_adds") < count(before, "multiply_adds"),
                "{said}"
            );
            assert!(
                count(after, "file_bytes") < count(before, "file_bytes"),
                "{said}"
            );
            assert!(!said["widths"].as_array().unwrap().is_empty(), "{said}");
        } else {
            assert_eq!(after["parameters"], before["parameters"]);
            assert!(count(after, "pruned") > 0, "{said}");
            assert!(place.path(&format!("{out}/masks.safetensors")).is_file());
        }
        assert!(after["milliseconds"][0]["ms"].as_f64().unwrap() > 0.0);
        let tested = place.run(&format!("eval {out} --json")).expect(0).json();
        assert_eq!(tested["test_accuracy"], after["accuracy"]);
        place.run(&format!("inspect {out}")).expect(0);
        place.run(&format!("resume {out}")).expect(0);
        let page = String::from_utf8(place.read(format!("{out}/prune.html"))).unwrap();
        assert!(page.contains("Before and after"));
    }
    // A network that was pruned loses neurons as well, and its weights stay away.
    let said = place
        .run("prune sparse --out both --neurons 0.5 --json")
        .expect(0)
        .json();
    assert!(said["after"]["pruned"].as_u64().unwrap() > 0, "{said}");
    // The same request finds its run finished; another one finds another run.
    place.run("prune a --out half --neurons 0.5").expect(0);
    let said = place.run("prune a --out half --neurons 0.25").expect(2);
    assert!(said.err.contains("half holds another run"), "{}", said.err);
}

#[test]
fn what_makes_no_sense_is_refused_and_leaves_nothing() {
    let place = Place::new();
    place.run(&format!("{QUICK} --out a")).expect(0);
    for (options, want) in [
        ("", "required"),
        ("--neurons 1.5", "expected a share above 0 and below 1"),
        ("--neurons 0.5 --sparsity 0.5", "cannot be used with"),
        ("--neurons 0.5 --method wanda", "magnitude or random"),
        ("--neurons 0.5 --scope row", "--scope layer or global"),
        ("--neurons 0.5 --ramp 0.5", "are for weights"),
        ("--neurons 0.5 --pack", "--pack is for single weights"),
        ("--sparsity 0.5 --pack f8", "expected f32 or bf16"),
        ("--heads 0.5", "are for language models"),
        ("--sparsity 0.5 --method wanda", "is for language models"),
        (
            "--sparsity 0.5 --method magnitud",
            "did you mean \"magnitude\"",
        ),
        ("--pattern 4:2", "such as 2:4"),
        ("--target-latency 3", "with its unit"),
        ("--rewind", "--sparsity"),
        ("--sparsity 0.5 --exclude fc*", "nothing is left to prune"),
    ] {
        let said = place.run(&format!("prune a --out x {options}"));
        assert!(
            matches!(said.code, Some(1 | 2)),
            "{options}: {:?}",
            said.code
        );
        assert!(said.err.contains(want), "{options}: {}", said.err);
        assert!(!place.path("x").exists(), "{options}");
    }
    let said = place.run("prune nowhere --out x --neurons 0.5").expect(2);
    assert!(said.err.contains("nowhere does not exist"), "{}", said.err);
}

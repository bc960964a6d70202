//! Our crates compute what PyTorch computed: every committed case passes, or is skipped by a name that is written down.

use cortical_conformance::{Stop, cases, run};

/// The cases that nothing here can run yet, a name a line. A new case that is skipped is not among them and fails the
/// test.
const SKIPPED: &str = include_str!("skipped.txt");

#[test]
fn every_case_passes_or_is_skipped_by_name() {
    let allowed: Vec<&str> = SKIPPED.lines().collect();
    let (mut failed, mut skipped) = (Vec::new(), Vec::new());
    for case in cases().expect("the cases are committed") {
        let outcome = run(&case);
        match &outcome.result {
            Ok(seen) => assert!(seen.compared > 0, "{}", outcome.name),
            Err(stop) if stop.is_skip() => {
                if !allowed.contains(&outcome.name.as_str()) {
                    failed.push(format!("{outcome}, which skipped.txt does not name"));
                }
                skipped.push(outcome.name);
            }
            Err(_) => failed.push(outcome.to_string()),
        }
    }
    for name in allowed {
        if !skipped.iter().any(|skipped| skipped == name) {
            failed.push(format!("skipped.txt names {name}, which is not skipped"));
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

#[test]
fn a_wrong_number_fails_and_says_where() {
    let all = cases().expect("the cases are committed");
    for file in [
        "layer-Linear-plain.safetensors",
        "optimizer-SGD-plain.safetensors",
        "schedule-StepLR-plain.safetensors",
        "clip-clip_grad_norm_-two.safetensors",
    ] {
        let plain = all.iter().find(|case| case.path.ends_with(file));
        let plain = plain.expect("the case is committed");
        for (name, tensor) in &plain.tensors {
            let mut case = plain.clone();
            let moved: Vec<f32> = tensor.to_f32().iter().map(|x| x + 0.01).collect();
            let changed = case.tensors.get_mut(name).expect("it was just there");
            changed.data = cortical_testkit::Values::F32(moved);
            let outcome = run(&case);
            let stop = outcome.result.expect_err(name);
            assert!(matches!(stop, Stop::Values { .. }), "{name}: {stop}");
        }
    }
}

#[test]
fn what_the_runner_does_not_know_is_skipped_with_the_reason() {
    let all = cases().expect("the cases are committed");
    let mut case = all
        .iter()
        .find(|case| case.name == "Linear")
        .expect("the case is committed")
        .clone();
    case.config["sparse"] = true.into();
    let stop = run(&case).result.expect_err("an unknown option");
    assert_eq!(
        (stop.is_skip(), stop.to_string().as_str()),
        (true, "sparse = true is not known")
    );
    case.name = "Nonlinear".to_owned();
    let stop = run(&case).result.expect_err("an unknown layer");
    assert!(stop.is_skip() && stop.to_string() == "no layer called \"Nonlinear\" is known");
}

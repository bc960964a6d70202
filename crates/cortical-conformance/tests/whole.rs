//! Every committed case is whole, every kind is there, and a case that is not whole is noticed.

use cortical_conformance::{cases, defects};
use std::collections::BTreeMap;

#[test]
fn every_case_is_whole() {
    for case in cases().expect("the cases are committed") {
        assert_eq!(defects(&case), [""; 0], "{}", case.path.display());
        assert!(
            case.rtol > 0.0 && case.rtol <= 1e-3,
            "{}",
            case.path.display()
        );
        assert!(
            case.atol > 0.0 && case.atol <= 1e-4,
            "{}",
            case.path.display()
        );
    }
}

#[test]
fn every_kind_is_there() {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases().expect("the cases are committed") {
        *kinds.entry(case.kind).or_default() += 1;
    }
    for (kind, at_least) in [
        ("clip", 6),
        ("function", 9),
        ("layer", 150),
        ("loss", 35),
        ("optimizer", 21),
        ("run", 3),
        ("schedule", 13),
    ] {
        let count = kinds.get(kind).copied().unwrap_or_default();
        assert!(
            count >= at_least,
            "{count} cases of kind {kind}, expected at least {at_least}"
        );
    }
}

#[test]
fn a_case_that_is_not_whole_is_noticed() {
    let all = cases().expect("the cases are committed");
    let is = |kind: &str, name: &str| {
        let found = all
            .iter()
            .find(|case| case.kind == kind && case.name == name);
        found.expect("the case is committed").clone()
    };

    let mut linear = is("layer", "Linear");
    linear.tensors.remove("d_param.weight");
    linear.tensors.remove("d_output");
    assert_eq!(
        defects(&linear),
        ["d_output is missing", "d_param.weight is missing"]
    );

    let mut adamw = is("optimizer", "AdamW");
    adamw.tensors.remove("after.3.1");
    let shape = &mut adamw
        .tensors
        .get_mut("after.2.0")
        .expect("two steps were taken")
        .shape;
    *shape = vec![12];
    let want = [
        "grad.2.0 is [4, 3] but after.2.0 is [12]",
        "after.3.1 is missing",
    ];
    assert_eq!(defects(&adamw), want);

    let mut step = is("schedule", "StepLR");
    step.tensors.clear();
    assert_eq!(defects(&step), ["lr is missing"]);

    let mut run = is("run", "lenet12");
    run.kind = "walk".to_owned();
    assert_eq!(defects(&run), ["the kind \"walk\" is not known"]);
}

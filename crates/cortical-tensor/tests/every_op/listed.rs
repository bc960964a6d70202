//! No public operation goes without an entry in the table and a reference case.

use crate::subject::{Case, Subject};
use crate::table::table;
use std::collections::BTreeSet;
use std::path::Path;

/// The functions that a module gives out: the names in its `pub use` that begin with a small letter.
fn functions(source: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for (start, _) in source.match_indices("\npub use ") {
        let statement = source[start..].split(';').next().unwrap_or_default();
        let names = statement.rsplit("::").next().unwrap_or_default();
        for name in names.split([',', '{', '}']).map(str::trim) {
            if name.starts_with(|c: char| c.is_ascii_lowercase()) {
                found.insert(name);
            }
        }
    }
    found
}

/// What is missing, a sentence each.
fn complaints(
    public: &BTreeSet<&str>,
    table: &[Subject],
    cases: &[String],
    skipped: &str,
    runner: &str,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for op in public {
        if !table.iter().any(|subject| subject.op == *op) {
            complaints.push(format!(
                "{op} has no entry in the table: no gradient of it is checked"
            ));
        }
    }
    for subject in table {
        let op = subject.op;
        if !public.contains(op) {
            complaints.push(format!("{op} is in the table but no public operation"));
        }
        match subject.case {
            Case::None("") => {
                complaints.push(format!("{op} has neither a reference case nor a reason"));
            }
            Case::None(_) => {}
            Case::Of(_, prefix) | Case::Layer(_, prefix) => {
                let runs = |case: &&String| !skipped.lines().any(|name| name == case.as_str());
                if cases
                    .iter()
                    .filter(|case| case.starts_with(prefix))
                    .find(runs)
                    .is_none()
                {
                    complaints.push(format!("{op}: no case {prefix}… is there and run"));
                }
                let called = match subject.case {
                    Case::Layer(layer, _) => format!("{layer}::config("),
                    Case::Of(called, _) => format!("ops::{called}("),
                    Case::None(_) => continue,
                };
                if !runner.contains(&called) {
                    complaints.push(format!(
                        "{op}: the runner of the cases never calls {called}"
                    ));
                }
            }
        }
    }
    complaints
}

/// What the module of operations gives out.
const SOURCE: &str = include_str!("../../src/ops/mod.rs");
/// The cases that nothing runs.
const SKIPPED: &str = include_str!("../../../cortical-conformance/tests/skipped.txt");

#[test]
fn every_public_operation_has_a_gradient_check_and_a_reference_case() {
    let conformance = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cortical-conformance");
    // The runner of the cases calls operations by name.
    let runner = cortical_testkit::rust_sources(&conformance.join("src")).expect("it is committed");
    let cases = cortical_testkit::cases(conformance.join("cases")).expect("they are committed");
    let cases: Vec<String> = (cases.iter())
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_string()))
        .collect();
    let public = functions(SOURCE);
    assert!(public.len() > 80 && public.contains("conv2d"), "{public:?}");
    let complaints = complaints(&public, &table(), &cases, SKIPPED, &runner);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn what_is_missing_is_named() {
    let source = "mod a;\npub use a::{Options, first, second};\npub use b::third;\nuse c::fourth;";
    let public = functions(source);
    assert_eq!(public, BTreeSet::from(["first", "second", "third"]));
    let subject = |op, case| crate::subject::subject(op, case, |_, t| Ok(t[0].clone()));
    let table = [
        subject("first", Case::Of("first", "layer-First-")),
        subject("second", Case::Of("second", "layer-Second-")),
        subject("fifth", Case::None("")),
    ];
    let cases = ["layer-First-plain", "layer-Second-plain"].map(String::from);
    let got = complaints(
        &public,
        &table,
        &cases,
        "layer-Second-plain\n",
        "ops::first(x) ops::second(x)",
    );
    let want = [
        "third has no entry in the table: no gradient of it is checked",
        "second: no case layer-Second-… is there and run",
        "fifth is in the table but no public operation",
        "fifth has neither a reference case nor a reason",
    ];
    assert_eq!(got, want);
    let got = complaints(&public, &table[..1], &cases, "", "nothing");
    assert!(
        got.contains(&"first: the runner of the cases never calls ops::first(".to_string()),
        "{got:?}"
    );
}

//! Every family of kernels has a bench, whose two sides compute the same.

use candle_core::DType;
use cortical_bench::families::{Family, NO_FAMILY, all};
use cortical_bench::workloads::Size;
use std::collections::BTreeSet;

/// The modules that the crate of kernels gives out.
const SOURCE: &str = include_str!("../../crates/cortical-kernels/src/lib.rs");

fn modules(source: &str) -> BTreeSet<&str> {
    let names = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "));
    names.map(|name| name.trim_end_matches(';')).collect()
}

/// What is missing, a sentence each.
fn complaints(modules: &BTreeSet<&str>, benches: &BTreeSet<&str>) -> Vec<String> {
    let others: BTreeSet<&str> = NO_FAMILY.iter().map(|(name, _)| *name).collect();
    let missing = modules
        .iter()
        .filter(|m| !benches.contains(*m) && !others.contains(*m));
    let unknown = benches.union(&others).filter(|m| !modules.contains(*m));
    let both = benches.intersection(&others);
    missing
        .map(|m| format!("{m} has no bench"))
        .chain(unknown.map(|m| format!("{m} is no module of kernels")))
        .chain(both.map(|m| format!("{m} is a family or none")))
        .collect()
}

#[test]
fn every_family_of_kernels_has_a_bench() {
    let families = all(Size::Tiny).expect("tiny inputs");
    let benches: BTreeSet<&str> = families.iter().map(|family| family.module).collect();
    let found = modules(SOURCE);
    assert!(found.len() > 25 && found.contains("matmul"), "{found:?}");
    assert_eq!(complaints(&found, &benches), [] as [String; 0]);
}

#[test]
fn what_is_missing_is_named() {
    let source = "pub mod matmul;\nmod scratch;\npub mod fresh;\npub mod alloc;";
    let got = complaints(&modules(source), &BTreeSet::from(["matmul", "gone"]));
    assert!(got.contains(&"fresh has no bench".to_owned()), "{got:?}");
    assert!(
        got.contains(&"gone is no module of kernels".to_owned()),
        "{got:?}"
    );
    assert!(
        !got.iter()
            .any(|text| text.starts_with("matmul") || text.starts_with("scratch"))
    );
}

fn check(family: &Family) -> Result<(), String> {
    let at = format!("{} against {}", family.name, family.opponent);
    let run = |side: &cortical_bench::families::Run| side().map_err(|e| format!("{at}: {e}"));
    let (ours, theirs) = (run(&family.ours)?, run(&family.theirs)?);
    if ours.len() != theirs.len() || ours.is_empty() {
        return Err(format!("{at}: {} and {} tensors", ours.len(), theirs.len()));
    }
    for (a, b) in ours.iter().zip(&theirs) {
        let numbers = |t: &candle_core::Tensor| {
            let flat = t.to_dtype(DType::F64).and_then(|t| t.flatten_all());
            flat.and_then(|t| t.to_vec1::<f64>())
                .map_err(|e| format!("{at}: {e}"))
        };
        let (x, y) = (numbers(a)?, numbers(b)?);
        let close = |(x, y): (&f64, &f64)| (x - y).abs() <= 1e-4 * (1.0 + y.abs());
        if a.dims() != b.dims() || !x.iter().all(|x| x.is_finite()) {
            return Err(format!("{at}: {a:?} and {b:?}"));
        }
        if family.same && !x.iter().zip(&y).all(close) {
            return Err(format!("{at}: {x:?} and {y:?}"));
        }
    }
    Ok(())
}

#[test]
fn both_sides_compute_the_same() {
    let families = all(Size::Tiny).expect("tiny inputs");
    let failures: Vec<String> = families.iter().filter_map(|f| check(f).err()).collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

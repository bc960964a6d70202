//! Far from zero, and where numbers end, our crates compute what PyTorch computes: in both precisions, on every
//! instruction set that this machine has, as layers and operations, of contiguous and strided tensors, and as
//! fallbacks.

use cortical_conformance::{Extreme, Stop, extremes, run};
use cortical_kernels::isa::{InstructionSet, limited_to};

const SETS: [InstructionSet; 4] = [
    InstructionSet::Portable,
    InstructionSet::Avx2,
    InstructionSet::Avx512,
    InstructionSet::Amx,
];

#[test]
fn every_extreme_is_pytorchs() {
    let mut failed = Vec::new();
    let all = extremes().expect("the cases are committed");
    assert!(all.len() > 100, "{} cases", all.len());
    for Extreme { single, double } in &all {
        for set in SETS {
            for (precision, case) in [("f32", single), ("f64", double)] {
                let outcome = limited_to(set, || run(case));
                match &outcome.result {
                    Ok(seen) => assert!(seen.compared > 0, "{}", outcome.name),
                    Err(_) => failed.push(format!("{} {precision}: {outcome}", set.name())),
                }
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn a_wrong_number_fails_in_both_precisions() {
    let all = extremes().expect("the cases are committed");
    let found = all
        .iter()
        .find(|e| e.single.path.ends_with("layer-GELU-plain"));
    let Extreme { single, double } = found.expect("the case is committed");
    for mut case in [single.clone(), double.clone()] {
        for what in ["output", "exact.output"] {
            if let Some(tensor) = case.tensors.get_mut(what) {
                let moved = tensor.to_f32().iter().map(|x| x + 0.01).collect();
                tensor.data = cortical_testkit::Values::F32(moved);
            }
        }
        let stop = run(&case).result.expect_err("the output is wrong");
        assert!(matches!(stop, Stop::Values { .. }), "{stop}");
    }
}

//! Every workload at a tiny size: it runs, its checksum is a number that does not depend on threads, and its line is
//! JSON.

use cortical_bench::measure::Row;
use cortical_bench::workloads::{Size, all, chosen};
use cortical_kernels::roofline::Roofline;
use serde_json::Value;
use std::process::Command;

const ROOFLINE: Roofline = Roofline {
    gflops: 100.0,
    cache_gb_s: 50.0,
    memory_gb_s: 10.0,
};

/// How many there are.
const WORKLOADS: usize = 33;

fn rows(threads: usize) -> Vec<Row> {
    let run = || {
        let workloads = all(Size::Tiny).into_iter();
        workloads
            .map(|workload| workload.run().expect("a workload of ours runs"))
            .collect()
    };
    cortical_train::in_pool(Some(threads), run).expect("there are threads")
}

#[test]
fn every_workload_runs_and_threads_do_not_change_what_it_computes() {
    let (one, two) = (rows(1), rows(2));
    assert_eq!(one.len(), WORKLOADS);
    for (one, two) in one.iter().zip(&two) {
        assert_eq!((one.threads, two.threads), (1, 2));
        let same = one.checksum.to_bits() == two.checksum.to_bits();
        assert!(same, "{}: {} {}", one.bench, one.checksum, two.checksum);
        let line: Value = serde_json::from_str(&one.to_json(&ROOFLINE).to_string()).unwrap();
        assert_eq!(line["peer"], "cortical");
        assert_eq!(line["bench"], one.bench.as_str());
        for key in ["ms", "rate", "checksum", "roofline_ms", "roofline_share"] {
            assert!(line[key].is_f64(), "{}: {key}", one.bench);
        }
        assert!(line["unit"].is_string());
        assert!(
            ["compute", "memory"]
                .iter()
                .any(|bound| line["bound"] == *bound)
        );
        assert!(
            one.cost.floor(&ROOFLINE).0 > 0.0,
            "{} costs nothing",
            one.bench
        );
    }
}

#[test]
fn names_pick_workloads_by_what_they_contain() {
    let picked = |names: &[&str]| -> Vec<String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let workloads = chosen(all(Size::Tiny), &names).unwrap();
        workloads.iter().map(|w| w.name().to_owned()).collect()
    };
    assert_eq!(picked(&[]).len(), WORKLOADS);
    assert_eq!(
        picked(&["mlp_infer", "adamw"]),
        ["mlp_infer_b1", "adamw_10m"]
    );
    assert_eq!(picked(&["cnn_infer", "cnn_train"]).len(), 3);
}

#[test]
fn the_program_lists_what_it_would_run() {
    let program = env!("CARGO_BIN_EXE_workloads");
    let output = Command::new(program)
        .args(["--list", "infer"])
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(
        output.stdout,
        b"mlp_infer_b1\ncnn_infer_b64\ncnn_infer_b1\n"
    );
}

#[test]
fn the_program_says_what_it_does_not_know_and_exits_with_2() {
    let refused = |args: &[&str]| {
        let program = env!("CARGO_BIN_EXE_workloads");
        let output = Command::new(program).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused(&["mlp", "no-such"]);
    let expected = "error: no workload's name contains \"no-such\"; there are gemm_f32_256, ";
    assert!(said.starts_with(expected), "{said}");
    assert!(said.ends_with(", safetensors_load_400mb\n"), "{said}");
    let said = refused(&["--fast"]);
    assert!(
        said.starts_with("error: --fast is no option; usage: "),
        "{said}"
    );
    let said = refused(&["--threads", "0"]);
    let expected = "error: --threads takes a number from 1 to 1024, but was given \"0\"\n";
    assert_eq!(said, expected);
}

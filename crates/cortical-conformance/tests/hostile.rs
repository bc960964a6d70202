//! Files from strangers: each is one failed case with a reason, never a panic, an endless run or the machine's memory.

use cortical_conformance::{Stop, cases, run, run_file};
use cortical_testkit::{Case, CaseTensor, Values};
use serde_json::json;

fn committed(kind: &str, name: &str) -> Case {
    let all = cases().expect("the cases are committed");
    let found = all
        .into_iter()
        .find(|case| case.kind == kind && case.name == name);
    found.expect("the case is committed")
}

#[test]
fn sizes_that_no_memory_holds_are_refused_before_anything_is_made() {
    let huge = 1_u64 << 40;
    for (name, key, value) in [
        ("Linear", "out_features", json!(huge)),
        ("Linear", "in_features", json!(u64::MAX)),
        ("Embedding", "num_embeddings", json!(huge)),
        ("Linear", "out_features", json!(1_000_000)),
        ("Conv2d", "out_channels", json!(1_000_000)),
        ("Conv2d", "kernel_size", json!([100_000, 100_000])),
        ("Conv2d", "padding", json!(1_000_000_000)),
        ("MaxPool2d", "kernel_size", json!(-3)),
        ("AdaptiveAvgPool2d", "output_size", json!(huge)),
        ("Upsample", "scale_factor", json!(1e12)),
        ("LSTM", "hidden_size", json!(900_000)),
        ("LSTM", "num_layers", json!(1_000_000)),
        ("MultiheadAttention", "num_heads", json!(0)),
        ("GroupNorm", "num_groups", json!(0)),
        ("Conv2d", "groups", json!(0)),
        ("Conv2d", "stride", json!(0)),
        ("LayerNorm", "normalized_shape", json!([])),
        ("Softmax", "dim", json!(-9)),
        ("Flatten", "start_dim", json!(7)),
    ] {
        let mut case = committed("layer", name);
        case.config[key] = value;
        let stop = run(&case).result.expect_err(name);
        assert!(
            !matches!(stop, Stop::Panicked { .. }),
            "{name} {key}: {stop}"
        );
    }
}

#[test]
fn cases_that_lack_what_they_need_fail_with_a_reason() {
    let all = cases().expect("the cases are committed");
    let differentiated = |case: &&Case| ["layer", "function", "loss"].contains(&case.kind.as_str());
    for case in all.iter().filter(differentiated).step_by(3) {
        for name in case.tensors.keys() {
            let mut poor = case.clone();
            poor.tensors.remove(name);
            if let Err(stop) = run(&poor).result {
                assert!(
                    !matches!(stop, Stop::Panicked { .. }),
                    "{}: {name}: {stop}",
                    case.path.display()
                );
            }
            let mut other = case.clone();
            let odd = CaseTensor {
                shape: vec![0, 3],
                data: Values::F32(Vec::new()),
            };
            other.tensors.insert(name.clone(), odd);
            if let Err(stop) = run(&other).result {
                assert!(
                    !matches!(stop, Stop::Panicked { .. }),
                    "{}: {name}: {stop}",
                    case.path.display()
                );
            }
        }
    }
}

#[test]
fn files_that_are_no_cases_are_reported() {
    let folder = std::env::temp_dir().join(format!("cortical-hostile-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let metadata = |rtol: &str| {
        format!(
            r#"{{"__metadata__":{{"kind":"layer","name":"ReLU","config":"{{}}","rtol":"{rtol}","atol":"0"}}}}"#
        )
    };
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("short", vec![1, 2, 3]),
        ("long-header", u64::MAX.to_le_bytes().to_vec()),
        ("no-json", header("{")),
        ("deep", header(&"[".repeat(100_000))),
        ("metadata-is-text", header(r#"{"__metadata__":"layer"}"#)),
        ("tolerance", header(&metadata("inf"))),
        ("nan", header(&metadata("NaN"))),
        (
            "overflow",
            header(
                r#"{"__metadata__":{},"x":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,0]}}"#,
            ),
        ),
    ] {
        let path = folder.join(format!("{name}.safetensors"));
        std::fs::write(&path, bytes).unwrap();
        let outcome = run_file(&path);
        let stop = outcome.result.expect_err(name);
        assert!(
            matches!(stop, Stop::Unreadable(_)) && !stop.is_skip(),
            "{name}: {stop}"
        );
    }
    assert!(
        run_file(&folder.join("not-there.safetensors"))
            .result
            .is_err()
    );
    let stop = run_file(&folder).result.expect_err("a folder is no case");
    assert!(!stop.is_skip(), "{stop}");
    std::fs::remove_dir_all(&folder).unwrap();
}

//! Differences of models, by hand and across formats.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor};
use cortical_explain::{Contents, Diff, diff};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../cortical-models/fixtures")
        .join(name)
}

fn save(path: &Path, tensors: &[(&str, Tensor)]) {
    let tensors: Vec<(String, Tensor)> = tensors
        .iter()
        .map(|(name, tensor)| ((*name).to_owned(), tensor.clone()))
        .collect();
    cortical_io::save_tensors(path, &tensors, &Default::default()).unwrap();
}

fn differ(a: &Path, b: &Path) -> Diff {
    diff(&Contents::open(a).unwrap(), &Contents::open(b).unwrap()).unwrap()
}

fn row(numbers: &[f32]) -> Tensor {
    Tensor::new(numbers, &Device::Cpu).unwrap()
}

#[test]
fn figures_are_those_of_the_definition() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (
        folder.path().join("a.safetensors"),
        folder.path().join("b.safetensors"),
    );
    save(
        &a,
        &[
            ("h.0.w", row(&[1.0, 0.0, 2.0, 2.0])),
            ("h.0.same", row(&[f32::NAN, 1.0, f32::INFINITY])),
            ("h.1.w", row(&[0.0, 0.0])),
            ("gone", row(&[1.0])),
            ("other", row(&[1.0, 2.0])),
        ],
    );
    let half = row(&[1.0, 0.0, 2.0, 0.0]).to_dtype(DType::BF16).unwrap();
    save(
        &b,
        &[
            ("h.0.w", half),
            ("h.0.same", row(&[f32::NAN, 1.0, f32::INFINITY])),
            ("h.1.w", row(&[0.0, 3.0])),
            ("fresh", row(&[1.0])),
            ("other", row(&[1.0, 2.0, 3.0])),
        ],
    );
    let found = differ(&a, &b);
    assert_eq!(
        (&found.missing[..], &found.new[..]),
        (&["gone".to_owned()][..], &["fresh".to_owned()][..])
    );
    let of = |name: &str| {
        found
            .tensors
            .iter()
            .find(|tensor| tensor.name == name)
            .unwrap()
    };
    let w = of("h.0.w").change.unwrap();
    assert_eq!(of("h.0.w").dtypes, ["F32", "BF16"]);
    assert_eq!(w.relative(), 2.0 / 3.0);
    assert!((w.cosine() - 5.0 / (3.0 * 5_f64.sqrt())).abs() < 1e-15);
    assert_eq!(w.difference.largest, 2.0);
    assert_eq!((w.sides[0].sparsity(), w.sides[1].sparsity()), (0.25, 0.5));
    let same = of("h.0.same").change.unwrap();
    assert!(same.is_same());
    assert_eq!(same.sides[0].non_finite, 2);
    let born = of("h.1.w").change.unwrap();
    assert_eq!((born.relative(), born.cosine()), (f64::INFINITY, 0.0));
    assert!(of("other").change.is_none());
    assert_eq!(of("other").shapes, [vec![2], vec![3]]);
    let modules = found.modules(2);
    assert_eq!(
        modules
            .iter()
            .map(|(name, n, _)| (name.as_str(), *n))
            .collect::<Vec<_>>(),
        [("h.0", 2), ("h.1", 1)]
    );
    assert!(!found.is_same());
    assert!(
        differ(&a, &a)
            .tensors
            .iter()
            .all(|tensor| tensor.change.unwrap().is_same())
    );
    assert!(differ(&a, &a).is_same());
}

#[test]
fn a_gguf_file_is_its_safetensors_whatever_it_calls_and_orders() {
    // Rotated pairs side by side, norms with the one added, fused projections, tied heads.
    for name in [
        "llama",
        "llama-grouped-tied",
        "gemma2",
        "gemma3",
        "olmo2",
        "phi3",
        "qwen3",
        "smollm3",
    ] {
        let folder = fixture(name);
        for (a, b) in [
            (folder.join("model.gguf"), folder.clone()),
            (folder.clone(), folder.join("model.gguf")),
        ] {
            let found = differ(&a, &b);
            assert_eq!(
                (found.missing.len(), found.new.len()),
                (0, 0),
                "{name}: {found:?}"
            );
            assert!(!found.tensors.is_empty());
            for tensor in &found.tensors {
                let change = tensor.change.unwrap();
                // The one that Gemma's files add to norms costs the last bits of a single precision number.
                assert!(change.difference.largest < 2e-7, "{name}: {tensor:?}");
            }
        }
    }
}

#[test]
fn tied_heads_and_prefixes_are_seen_through() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (
        folder.path().join("a.safetensors"),
        folder.path().join("b.safetensors"),
    );
    save(
        &a,
        &[
            ("bert.x.weight", row(&[1.0])),
            ("bert.y.weight", row(&[2.0])),
        ],
    );
    save(&b, &[("x.weight", row(&[1.0])), ("y.weight", row(&[2.0]))]);
    for (a, b, side) in [(&a, &b, "first"), (&b, &a, "second")] {
        let found = differ(a, b);
        assert!(found.is_same(), "{found:?}");
        assert_eq!(
            found.remarks,
            [format!(
                "names of the {side} are compared without \"bert.\""
            )]
        );
    }
    // The alias of a head that is stored for the table.
    let tied = fixture("llama-tied-alias");
    assert!(differ(&tied, &tied).is_same());
}

#[test]
fn a_description_has_nothing_to_compare() {
    let described = Contents::open("gpt2".as_ref()).unwrap();
    let error = diff(&described, &described).unwrap_err().to_string();
    assert!(
        error.starts_with("gpt2 has no weights, only a description"),
        "{error}"
    );
}

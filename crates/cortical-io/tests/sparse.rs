//! Weights with severed connections: four tensors in a file, one tensor for whoever reads it.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use cortical_io::{Metadata, ModelFiles, TensorFile, save_tensors, sparse_tensors};
use cortical_kernels::sparse::{Precision, SparseMatrix};

const ROWS: usize = 3;
const COLS: usize = 11;

/// Two thirds of the weights are zero; one row has none that is not.
fn dense() -> Vec<f32> {
    let weight = |i: usize| match (i / COLS, i % 3) {
        (1, _) | (_, 1 | 2) => 0.0,
        _ => 0.5 + i as f32,
    };
    (0..ROWS * COLS).map(weight).collect()
}

fn parts(precision: Precision) -> Vec<(String, Tensor)> {
    let matrix = SparseMatrix::from_dense(ROWS, COLS, &dense(), precision);
    let mut tensors = sparse_tensors("fc.weight", &matrix).unwrap();
    let bias = Tensor::new(&[1.0_f32, 2.0, 3.0], &Device::Cpu).unwrap();
    tensors.push(("fc.bias".to_owned(), bias));
    tensors
}

fn save(folder: &Path, tensors: &[(String, Tensor)]) -> PathBuf {
    let path = folder.join("model.safetensors");
    save_tensors(&path, tensors, &Metadata::new()).unwrap();
    path
}

#[test]
fn a_sparse_weight_is_one_tensor_that_loads_dense_or_as_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    for (precision, dtype) in [(Precision::F32, DType::F32), (Precision::Bf16, DType::BF16)] {
        let path = save(folder.path(), &parts(precision));
        let file = TensorFile::open(&path).unwrap();
        let mut names: Vec<_> = file.tensors().iter().map(|t| t.name()).collect();
        names.sort_unstable();
        assert_eq!(names, ["fc.bias", "fc.weight"]);
        let info = file.info("fc.weight").unwrap();
        assert!(info.is_sparse() && info.shape() == [ROWS, COLS]);
        let values = if dtype == DType::F32 { 4 } else { 2 };
        assert_eq!(info.bytes(), 7 * values + 3 * 2 + 3 * 8 + 2 * 8);
        let loaded = file.load("fc.weight", &Device::Cpu).unwrap();
        assert_eq!(loaded.dtype(), dtype);
        let loaded = loaded.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        assert_eq!(loaded.to_vec1::<f32>().unwrap(), dense());
        let matrix = file.sparse("fc.weight").unwrap().unwrap();
        assert_eq!(
            matrix,
            SparseMatrix::from_dense(ROWS, COLS, &dense(), precision)
        );
        assert!(file.sparse("fc.bias").unwrap().is_none());
        let all = file.load_all(&Device::Cpu).unwrap();
        assert_eq!(all.len(), 2);
    }
}

#[test]
fn any_piece_of_it_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), &parts(Precision::Bf16));
    let file = TensorFile::open(&path).unwrap();
    let want: Vec<f64> = dense().into_iter().map(f64::from).collect();
    for from in 0..want.len() {
        for to in from..=want.len() {
            let mut got = vec![f64::NAN; to - from];
            file.read_numbers("fc.weight", from, &mut got).unwrap();
            assert_eq!(got, want[from..to], "{from}..{to}");
        }
    }
}

#[test]
fn an_index_lists_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = parts(Precision::F32);
    let path = save(folder.path(), &tensors);
    std::fs::rename(&path, folder.path().join("a.safetensors")).unwrap();
    let listed: Vec<String> = tensors
        .iter()
        .map(|(name, _)| format!("{name:?}: \"a.safetensors\""))
        .collect();
    let index = |listed: &[String]| {
        let json = format!("{{\"weight_map\": {{{}}}}}", listed.join(", "));
        std::fs::write(folder.path().join("model.safetensors.index.json"), json).unwrap();
        ModelFiles::open(folder.path())
    };
    let files = index(&listed).unwrap();
    assert!(files.sparse("fc.weight").unwrap().is_some());
    let more = [
        &listed[..],
        &["\"fc.weight\": \"a.safetensors\"".to_owned()],
    ]
    .concat();
    let error = index(&more).unwrap_err().to_string();
    assert!(error.contains("fc.weight"), "{error}");
}

#[test]
fn parts_that_do_not_fit_together_are_refused_and_single_ones_are_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let cpu = &Device::Cpu;
    let with = |part: &str, tensor: Tensor| {
        let mut tensors = parts(Precision::F32);
        let name = format!("fc.weight.{part}");
        tensors.iter_mut().find(|(n, _)| *n == name).unwrap().1 = tensor;
        let path = save(folder.path(), &tensors);
        let file = TensorFile::open(&path)?;
        let mut first = [0.0; 12];
        let piece = file.read_numbers("fc.weight", 11, &mut first);
        file.load("fc.weight", cpu).map(|_| ()).and(piece)
    };
    let zeros = |shape: &[usize], dtype| Tensor::zeros(shape, dtype, cpu).unwrap();
    for (part, tensor, want) in [
        (
            "shape",
            Tensor::new(&[3_i64, 17], cpu).unwrap(),
            "says [3, 17]",
        ),
        (
            "shape",
            Tensor::new(&[-3_i64, 11], cpu).unwrap(),
            "the mask is for 3 rows of 2 bytes",
        ),
        ("shape", zeros(&[2], DType::F32), "must be I64 of shape [2]"),
        (
            "shape",
            Tensor::new(&[3_i64, 9], cpu).unwrap(),
            "row 0 of the mask has bits behind its last column",
        ),
        (
            "bitmask",
            zeros(&[3, 2], DType::F32),
            "must be U8 of two dimensions",
        ),
        (
            "bitmask",
            zeros(&[3, 2], DType::U8),
            "the mask has 0 connections, 7 values are there",
        ),
        (
            "compressed",
            zeros(&[2, 4], DType::F32),
            "must be F32, F16 or BF16 of one dimension",
        ),
        (
            "compressed",
            zeros(&[6], DType::F32),
            "the mask has 7 connections, 6 values are there",
        ),
        (
            "row_offsets",
            zeros(&[4], DType::I64),
            "must be I64 of shape [3]",
        ),
        (
            "row_offsets",
            Tensor::new(&[0_i64, -1, 4], cpu).unwrap(),
            "row 1 begins at value",
        ),
    ] {
        let error = with(part, tensor).unwrap_err().to_string();
        assert!(
            error.contains(want) && error.contains("fc.weight"),
            "{part}: {error}"
        );
    }
    // Without one of them nothing stands for a weight.
    let mut tensors = parts(Precision::F32);
    tensors.retain(|(name, _)| !name.ends_with("shape"));
    let file = TensorFile::open(save(folder.path(), &tensors)).unwrap();
    assert!(file.info("fc.weight").is_none() && file.info("fc.weight.bitmask").is_some());
}

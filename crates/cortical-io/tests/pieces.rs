//! Parts of tensors are read as the whole is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::{DType, Device, Tensor};
use cortical_io::{Error, ModelFiles, TensorFile, save_tensors};

#[test]
fn numbers_of_every_type_are_those_that_load_gives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    // More than a thread reads at a time, of the widest type.
    let count = (1 << 15) + 100;
    let numbers: Vec<f32> = (0..count).map(|i| (i % 117) as f32).collect();
    let tensor = Tensor::from_vec(numbers.clone(), count, &Device::Cpu).unwrap();
    let types = [
        DType::U8,
        DType::I16,
        DType::F16,
        DType::BF16,
        DType::U32,
        DType::I32,
        DType::F32,
        DType::I64,
        DType::F64,
    ];
    let tensors: Vec<(String, Tensor)> = types
        .iter()
        .map(|dtype| (dtype.as_str().to_owned(), tensor.to_dtype(*dtype).unwrap()))
        .collect();
    save_tensors(&path, &tensors, &Default::default()).unwrap();
    let file = TensorFile::open(&path).unwrap();
    let files = ModelFiles::open(&path).unwrap();
    for (name, _) in &tensors {
        for (from, len) in [
            (0, count),
            (0, 0),
            (count, 0),
            (3, 7),
            (count - 1, 1),
            (5, count - 5),
        ] {
            let mut got = vec![-1.0; len];
            file.read_numbers(name, from, &mut got).unwrap();
            let want: Vec<f64> = numbers[from..from + len]
                .iter()
                .map(|x| f64::from(*x))
                .collect();
            assert_eq!(got, want, "{name} {from} {len}");
            files.read_numbers(name, from, &mut got).unwrap();
            assert_eq!(got, want, "{name} {from} {len}");
        }
    }
    let wrong = |from, len| {
        file.read_numbers("f32", from, &mut vec![0.0; len])
            .unwrap_err()
    };
    for (from, len) in [(count, 1), (0, count + 1), (usize::MAX, 1)] {
        assert!(matches!(wrong(from, len), Error::Elements { .. }));
    }
    assert!(
        wrong(count, 1)
            .to_string()
            .ends_with("has 32868 elements; 1 from number 32868 on are asked for")
    );
    let error = file.read_numbers("nothing", 0, &mut []).unwrap_err();
    assert!(matches!(error, Error::NoTensor { .. }), "{error}");
}

#[test]
fn rows_are_read_with_room_for_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    // More bytes than are read at a time, so that a piece holds the last row and the room behind it.
    let (own, width) = (700, 401);
    let numbers: Vec<f32> = (0..own * width).map(|i| i as f32).collect();
    let tensor = Tensor::from_slice(&numbers, (own, width), &Device::Cpu).unwrap();
    let scalar = Tensor::new(1_f32, &Device::Cpu).unwrap();
    let halves = tensor.to_dtype(DType::BF16).unwrap();
    let all = [("a", &tensor), ("half", &halves), ("scalar", &scalar)];
    let all = all.map(|(name, t)| (name.to_owned(), t.clone()));
    save_tensors(&path, &all, &Default::default()).unwrap();
    let file = TensorFile::open(&path).unwrap();
    for rows in [0, own, own + 1, 2 * own] {
        for (name, t) in [("a", &tensor), ("half", &halves)] {
            let got = file.load_with_room(name, rows, &Device::Cpu).unwrap();
            assert_eq!(got.dims(), [rows.max(own), width], "{name}");
            let got = got.to_dtype(DType::F32).unwrap();
            let got = got.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let want = t.to_dtype(DType::F32).unwrap();
            let mut want = want.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            want.resize(got.len(), 0.0);
            assert_eq!(got, want, "{name} with {rows} rows");
        }
    }
    let error = file.load_with_room("scalar", 3, &Device::Cpu).unwrap_err();
    assert!(matches!(error, Error::NotLoadable { .. }), "{error}");
    let error = file.load_with_room("b", 3, &Device::Cpu).unwrap_err();
    assert!(matches!(error, Error::NoTensor { .. }), "{error}");
}

//! What is saved is loaded with the same bits, and the same tensors give the same bytes.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use cortical_io::{Defect, Error, Metadata, TensorFile, limits, save_tensors};
use cortical_testkit::strategies::{Layout, shape_and_layout};
use proptest::prelude::*;

type Named = Vec<(String, Tensor)>;

const DTYPES: [DType; 10] = [
    DType::U8,
    DType::F8E4M3,
    DType::I16,
    DType::F16,
    DType::BF16,
    DType::U32,
    DType::I32,
    DType::F32,
    DType::I64,
    DType::F64,
];

/// A tensor of any bits, NaNs included, in a layout.
fn tensor(dtype: DType, shape: &[usize], layout: Layout, seed: u8) -> Tensor {
    let base = layout.base_shape(shape);
    let len = base.iter().product::<usize>() * dtype.size_in_bytes();
    let bytes: Vec<u8> = (0..len)
        .map(|i| (i as u8).wrapping_mul(37).wrapping_add(seed))
        .collect();
    let base = Tensor::from_raw_buffer(&bytes, dtype, &base, &Device::Cpu).unwrap();
    match layout {
        Layout::Contiguous => base,
        Layout::Transposed { a, b } => base.transpose(a, b).unwrap(),
        Layout::Narrowed { dim, before, .. } => base.narrow(dim, before, shape[dim]).unwrap(),
        Layout::Broadcast { .. } => base.broadcast_as(shape).unwrap(),
        other => panic!("the layout {other:?} is new"),
    }
}

/// The bits of a tensor.
fn bytes(tensor: &Tensor) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one");
    save_tensors(&path, &[("x".into(), tensor.clone())], &Metadata::new()).unwrap();
    let file = std::fs::read(&path).unwrap();
    let header = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    file[8 + header..].to_vec()
}

fn named() -> impl Strategy<Value = Named> {
    let one = (
        "[a-zé\"](\\.?[a-z\"]){0,5}",
        0..DTYPES.len(),
        shape_and_layout(0..=4, 0..=5),
        any::<u8>(),
    );
    proptest::collection::vec(one, 0..6).prop_map(|all| {
        let mut named = Named::new();
        for (name, dtype, (shape, layout), seed) in all {
            if named.iter().all(|(other, _)| *other != name) {
                named.push((name, tensor(DTYPES[dtype], &shape, layout, seed)));
            }
        }
        named
    })
}

fn save(path: &Path, named: &Named, metadata: &Metadata) -> Vec<u8> {
    save_tensors(path, named, metadata).unwrap();
    std::fs::read(path).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn saving_then_loading_keeps_every_bit_and_saving_again_every_byte(
        named in named(),
        metadata in proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let saved = save(&path, &named, &metadata);
        let reversed = named.iter().rev().cloned().collect();
        prop_assert!(save(&folder.path().join("b"), &reversed, &metadata) == saved, "order matters");

        for file in [TensorFile::open(&path).unwrap(), TensorFile::map(&path).unwrap()] {
            prop_assert_eq!(file.metadata(), &metadata);
            prop_assert_eq!(file.tensors().len(), named.len());
            for (name, tensor) in &named {
                let loaded = file.load(name, &Device::Cpu).unwrap();
                prop_assert_eq!(loaded.dtype(), tensor.dtype());
                prop_assert_eq!(loaded.dims(), tensor.dims());
                prop_assert!(bytes(&loaded) == bytes(tensor), "the bits of {} changed", name);
            }
            let all = file.load_all(&Device::Cpu).unwrap();
            prop_assert!(save(&folder.path().join("c"), &all, &metadata) == saved, "bytes changed");
        }
    }
}

#[test]
fn the_bytes_of_a_file_are_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let cpu = Device::Cpu;
    let named: Named = vec![
        (
            "fc.weight".into(),
            Tensor::new(&[[1.0_f32, -2.0]], &cpu).unwrap(),
        ),
        ("fc.bias".into(), Tensor::new(0.5_f32, &cpu).unwrap()),
        ("label".into(), Tensor::new(&[7_u8], &cpu).unwrap()),
        ("step".into(), Tensor::new(&[3_i64], &cpu).unwrap()),
    ];
    let metadata = [("what", "a \"test\""), ("format", "pt")].map(|(k, v)| (k.into(), v.into()));
    let got = save(&folder.path().join("x"), &named, &metadata.into());
    let header = concat!(
        r#"{"__metadata__":{"format":"pt","what":"a \"test\""},"#,
        r#""step":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"#,
        r#""fc.bias":{"dtype":"F32","shape":[],"data_offsets":[8,12]},"#,
        r#""fc.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[12,20]},"#,
        r#""label":{"dtype":"U8","shape":[1],"data_offsets":[20,21]}}"#,
    );
    let padded = format!("{header:<width$}", width = header.len().next_multiple_of(8));
    let data = [
        &3_i64.to_le_bytes()[..],
        &0.5_f32.to_le_bytes(),
        &1.0_f32.to_le_bytes(),
        &(-2.0_f32).to_le_bytes(),
        &[7],
    ];
    let want = [
        &(padded.len() as u64).to_le_bytes(),
        padded.as_bytes(),
        &data.concat(),
    ]
    .concat();
    assert_eq!(got, want, "{}", String::from_utf8_lossy(&got));
}

#[test]
fn tensors_of_several_chunks_keep_their_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    let values: Vec<f32> = (0..1_000_003).map(|i| i as f32).collect();
    let large = Tensor::from_vec(values.clone(), values.len(), &Device::Cpu).unwrap();
    save_tensors(&path, &[("large".into(), large)], &Metadata::new()).unwrap();
    for file in [
        TensorFile::open(&path).unwrap(),
        TensorFile::map(&path).unwrap(),
    ] {
        assert_eq!(file.info("large").unwrap().bytes(), 4_000_012);
        let loaded = file
            .load("large", &Device::Cpu)
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        assert!(loaded == values);
    }
}

#[test]
fn what_could_not_be_read_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let scalar = || Tensor::new(1_f32, &Device::Cpu).unwrap();
    let check = |named: Named, metadata: Metadata, want: fn(&Defect) -> bool| {
        match save_tensors(&path, &named, &metadata) {
            Err(Error::Unwritable { defect, .. }) => assert!(want(&defect), "{defect}"),
            other => panic!("{other:?}"),
        }
        assert!(!path.exists());
    };
    let none = Metadata::new;
    let long = "x".repeat(limits::NAME_BYTES + 1);
    for name in [
        "",
        "a\nb",
        "../../etc/passwd",
        "a/../b",
        "..",
        "/etc/passwd",
        "a\\b",
        "__metadata__",
        &long,
    ] {
        check(vec![(name.into(), scalar())], none(), |d| {
            matches!(d, Defect::Name { .. })
        });
    }
    check(
        vec![("a".into(), scalar()), ("a".into(), scalar())],
        none(),
        |d| matches!(d, Defect::Duplicate { name } if name == "a"),
    );
    let deep = scalar().reshape(&[1; limits::RANK + 1]).unwrap();
    check(vec![("a".into(), deep)], none(), |d| {
        matches!(d, Defect::Rank { .. })
    });
    let metadata = [("k".to_owned(), "x".repeat(limits::HEADER_BYTES as usize))].into();
    check(vec![], metadata, |d| {
        matches!(d, Defect::HeaderTooLong { .. })
    });
    let many = (0..=limits::TENSORS)
        .map(|i| (i.to_string(), scalar()))
        .collect();
    check(many, none(), |d| matches!(d, Defect::TooManyTensors));
}

//! Files of other libraries are read: every tensor has the bytes that the library's own reader gives.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};

use candle_core::Device;
use cortical_io::{AnyModel, Error, GgufFile, NumpyFile, PytorchDefect, PytorchFile, TensorFile};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

/// The file has exactly the tensors of the safetensors file, bit for bit, whole and in pieces.
fn check(name: &str, expected: &str) {
    let model = AnyModel::open(fixture(name)).unwrap();
    let want = TensorFile::open(fixture(expected)).unwrap();
    let mut names: Vec<_> = model.tensors().iter().map(|t| t.name()).collect();
    let mut wanted: Vec<_> = want.tensors().iter().map(|t| t.name()).collect();
    names.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(names, wanted, "{name}");
    let wanted = AnyModel::open(fixture(expected)).unwrap();
    for info in wanted.tensors() {
        let (tensor, what) = (info.name(), format!("{name}: {}", info.name()));
        let got = model.info(tensor).unwrap();
        assert_eq!(
            (got.shape(), got.kind()),
            (info.shape(), info.kind()),
            "{what}"
        );
        let all = |model: &AnyModel| {
            let mut bytes = vec![0; info.bytes() as usize];
            model.read_bytes(tensor, 0, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(all(&model), all(&wanted), "{what}");
        let mut last = vec![0; all(&wanted).len() / info.count().max(1)];
        if info.count() > 0 {
            model
                .read_bytes(tensor, info.bytes() - last.len() as u64, &mut last)
                .unwrap();
            assert!(all(&wanted).ends_with(&last), "{what}");
        }
        match (
            model.load(tensor, &Device::Cpu),
            wanted.load(tensor, &Device::Cpu),
        ) {
            (Ok(a), Ok(b)) => {
                assert_eq!((a.dims(), a.dtype()), (b.dims(), b.dtype()), "{what}");
                assert_eq!(format!("{a:?} {a}"), format!("{b:?} {b}"), "{what}");
            }
            (Err(Error::NotLoadable { .. }), Err(Error::NotLoadable { .. })) => {}
            (a, b) => panic!("{what}: {a:?} {b:?}"),
        }
    }
}

#[test]
fn what_torch_saves_is_read() {
    for protocol in 2..=5 {
        check(
            &format!("pytorch/zip-{protocol}.pt"),
            "pytorch/zip.safetensors",
        );
        check(
            &format!("pytorch/legacy-{protocol}.pt"),
            "pytorch/old.safetensors",
        );
    }
    check("pytorch/new.pt", "pytorch/new.safetensors");
    check("pytorch/views.pt", "pytorch/views.safetensors");
    check("pytorch/views-legacy.pt", "pytorch/views.safetensors");
    check("pytorch/one.pt", "pytorch/one.safetensors");
    check("pytorch/tar.pt", "pytorch/tar.safetensors");
}

#[test]
fn what_numpy_saves_is_read() {
    check("numpy/arrays.npz", "numpy/arrays.safetensors");
    check("numpy/packed.npz", "numpy/arrays.safetensors");
    let one = |file: &str| {
        let file = NumpyFile::open(fixture(file)).unwrap();
        let [info] = file.tensors() else { panic!() };
        let array = file.load(info.name(), &Device::Cpu).unwrap();
        (info.name().to_owned(), format!("{array}"))
    };
    let f4 = one("numpy/single.npy");
    assert_eq!(f4.0, "single");
    assert!(f4.1.contains("[[0., 1., 2.],\n [3., 4., 0.]]"), "{}", f4.1);
    let turned = one("numpy/turned.npy").1;
    assert!(
        turned.contains("[[0., 1., 2.],\n [3., 4., 5.]]"),
        "{turned}"
    );
    assert_eq!(one("numpy/version-2.npy").1, one("numpy/version-3.npy").1);
}

#[test]
fn quantized_weights_are_what_llama_cpps_library_says() {
    let file = GgufFile::open(fixture("gguf/quantized.gguf")).unwrap();
    let want = TensorFile::open(fixture("gguf/quantized.safetensors")).unwrap();
    assert_eq!(file.tensors().len(), 14);
    for info in want.tensors() {
        let bits = |tensor: candle_core::Result<candle_core::Tensor>| {
            let numbers = tensor
                .unwrap()
                .flatten_all()
                .unwrap()
                .to_vec1::<f32>()
                .unwrap();
            numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let got = file.load(info.name(), &Device::Cpu).unwrap();
        assert_eq!(got.dims(), info.shape());
        let want = want.load(info.name(), &Device::Cpu).unwrap();
        let (got, want) = (bits(Ok(got)), bits(Ok(want)));
        let first = got.iter().zip(&want).position(|(a, b)| a != b);
        assert_eq!((first, got.len()), (None, want.len()), "{}", info.name());
    }
}

#[test]
fn what_is_not_read_is_refused_by_its_name() {
    for (name, reason) in [
        ("system", "posix.system"),
        ("system-legacy", "posix.system"),
        ("module", "torch.nn.modules.linear.Linear"),
        ("complex", "tensor \"a\" has elements of type complex64"),
        ("complex-legacy", "complex128"),
        ("quantized", "torch._utils._rebuild_qtensor"),
        ("sparse", "torch._utils._rebuild_sparse_tensor"),
        ("conjugated", "conjugated or negated"),
        ("negated", "conjugated or negated"),
        ("numpy", "numpy"),
        ("script", "TorchScript"),
        ("no-tensors", "no tensors"),
    ] {
        let path = fixture(&format!("pytorch/refused/{name}.pt"));
        let error = PytorchFile::open(&path).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, Error::Pytorch { .. }), "{message}");
        assert!(message.contains(reason), "{name}: {message}");
        assert!(PytorchFile::may_be(&path), "{name}");
    }
    for (name, reason) in [
        ("object", "\"|O\""),
        ("big-endian", "\">f4\""),
        ("records", "records"),
        ("text", "\"<U1\""),
    ] {
        let error = AnyModel::open(fixture(&format!("numpy/refused/{name}.npy"))).unwrap_err();
        assert!(matches!(error, Error::Numpy { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{name}: {error}");
    }
    let path = fixture("numpy/single.npy");
    let error = PytorchFile::open(&path).unwrap_err();
    assert!(
        matches!(&error, Error::Pytorch { defect, .. } if matches!(**defect, PytorchDefect::Form)),
        "{error}"
    );
}

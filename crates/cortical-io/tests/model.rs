//! A model file holds all of a model; one that does not fit is refused with every difference and changes nothing.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use candle_core::{DType, Device, Tensor, Var};
use cortical_io::{
    Checkpoint, Difference, Error, Metadata, TensorFile, load_into, save, save_tensors, save_with,
};
use cortical_neuron::{Init, Params};
use cortical_tensor::Seed;

fn zeros(shape: &[usize], dtype: DType) -> Tensor {
    Tensor::zeros(shape, dtype, &Device::Cpu).unwrap()
}

/// A model with two layers, a buffer and an integer.
fn model(seed: u64) -> Params {
    let params = Params::new(&Device::Cpu, Seed(seed));
    let conv = params.at("conv");
    conv.param("weight", &[4, 1, 3, 3], Init::KAIMING_UNIFORM)
        .unwrap();
    conv.param("bias", &[4], Init::KAIMING_UNIFORM).unwrap();
    conv.buffer(
        "running_mean",
        &Tensor::full(seed as f32, 4, &Device::Cpu).unwrap(),
    )
    .unwrap();
    conv.buffer(
        "num_batches_tracked",
        &Tensor::new(seed as i64, &Device::Cpu).unwrap(),
    )
    .unwrap();
    params
        .at("fc")
        .param("weight", &[2, 4], Init::KAIMING_UNIFORM)
        .unwrap();
    params
}

fn values(params: &Params) -> Vec<(String, Vec<f64>)> {
    let numbers = |t: Tensor| {
        t.to_dtype(DType::F64)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap()
    };
    params
        .named_tensors()
        .into_iter()
        .map(|(name, tensor)| (name, numbers(tensor)))
        .collect()
}

#[test]
fn a_model_is_loaded_as_it_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (saved, fresh) = (model(1), model(2));
    assert_ne!(values(&saved), values(&fresh));
    let classes: Metadata = [("classes".to_owned(), "[\"cat\"]".to_owned())].into();
    save_with(&path, &saved, &classes).unwrap();
    load_into(&path, &fresh).unwrap();
    assert_eq!(values(&saved), values(&fresh));

    let file = TensorFile::open(&path).unwrap();
    let metadata: Vec<_> = file
        .metadata()
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        metadata,
        [
            ("classes", "[\"cat\"]"),
            ("cortical.model", "1"),
            ("format", "pt")
        ]
    );

    let again = folder.path().join("again.safetensors");
    save_with(&again, &fresh, &classes).unwrap();
    assert_eq!(
        std::fs::read(&path).unwrap(),
        std::fs::read(&again).unwrap()
    );
}

#[test]
fn a_file_that_does_not_fit_is_refused_with_every_difference_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.safetensors");
    let tensors = [
        ("conv.weight".to_owned(), zeros(&[4, 1, 3, 3], DType::F32)),
        ("conv.bias".to_owned(), zeros(&[5], DType::F32)),
        ("conv.running_mean".to_owned(), zeros(&[4], DType::F16)),
        (
            "conv.num_batches_tracked".to_owned(),
            zeros(&[], DType::I64),
        ),
        ("head.weight".to_owned(), zeros(&[2, 4], DType::F32)),
    ];
    save_tensors(&path, &tensors, &Metadata::new()).unwrap();
    let params = model(1);
    let want = [
        "does not fit the model, nothing was loaded; is it the same network with the same sizes?",
        "  conv.bias has shape [5], the model [4]",
        "  fc.weight [2, 4] is missing; is head.weight meant?",
        "  conv.running_mean has elements f16, the model f32",
        "  head.weight [2, 4] is not in the model",
        "  names fit with the rule 'head.*=fc.*', as `cortical convert --rename` takes it",
    ];
    let checkpoint = Checkpoint {
        model: tensors.into(),
        ..Checkpoint::default()
    };
    for (origin, refused) in [
        (path.display().to_string(), load_into(&path, &params)),
        (
            "the checkpoint of step 0".to_owned(),
            checkpoint.restore_model(&params),
        ),
    ] {
        let message = refused.unwrap_err().to_string();
        assert_eq!(message, format!("{origin} {}", want.join("\n")));
        assert_eq!(values(&params), values(&model(1)));
    }
}

#[test]
fn a_long_list_of_differences_is_cut_in_the_message_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.safetensors");
    save(&path, &Params::new(&Device::Cpu, Seed(0))).unwrap();
    let params = Params::new(&Device::Cpu, Seed(0));
    for index in 0..25 {
        let var = Var::from_tensor(&zeros(&[1], DType::F32)).unwrap();
        params.adopt(&format!("p{index}"), var).unwrap();
    }
    let error = load_into(&path, &params).unwrap_err();
    let message = error.to_string();
    assert!(
        message.ends_with("\n  p19 [1] is missing\n  and 5 more"),
        "{message}"
    );
    let Error::Mismatch { differences, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(differences.len(), 25);
    assert_eq!(
        differences[24],
        Difference::Missing {
            name: "p24".into(),
            shape: vec![1],
            nearest: None,
        }
    );
}

#[test]
fn a_checkpoint_gives_the_model_back() {
    let (saved, fresh) = (model(1), model(2));
    let checkpoint = Checkpoint {
        model: saved.named_tensors(),
        ..Checkpoint::default()
    };
    checkpoint.restore_model(&fresh).unwrap();
    assert_eq!(values(&saved), values(&fresh));
}

//! Models of other formats, names, types and layouts are loaded by rules; what does not fit is said, and changes
//! nothing.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use cortical_io::{AnyModel, Difference, Error, LoadRules, load_with, save_tensors};
use cortical_neuron::{Init, Params};
use cortical_tensor::Seed;

fn params() -> Params {
    let params = Params::new(&Device::Cpu, Seed(1));
    params
        .at("fc1")
        .param("weight", &[2, 3], Init::KAIMING_UNIFORM)
        .unwrap();
    params
        .at("fc1")
        .param("bias", &[2], Init::KAIMING_UNIFORM)
        .unwrap();
    params
        .at("fc2")
        .param("weight", &[3, 2], Init::KAIMING_UNIFORM)
        .unwrap();
    params
}

fn file(folder: &Path, tensors: &[(&str, &[usize], DType)]) -> AnyModel {
    let path = folder.join("model.safetensors");
    let tensors: Vec<(String, Tensor)> = tensors
        .iter()
        .map(|(name, shape, dtype)| {
            let count = shape.iter().product::<usize>() as f32;
            let tensor = Tensor::arange(0_f32, count, &Device::Cpu).unwrap();
            let tensor = tensor.reshape(*shape).unwrap().to_dtype(*dtype).unwrap();
            ((*name).to_owned(), tensor)
        })
        .collect();
    save_tensors(&path, &tensors, &Default::default()).unwrap();
    AnyModel::open(path).unwrap()
}

fn value(params: &Params, name: &str) -> Vec<f32> {
    params
        .get(name)
        .unwrap()
        .tensor()
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

#[test]
fn names_types_and_layouts_are_changed_as_the_rules_say() {
    let folder = tempfile::tempdir().unwrap();
    let model = file(
        folder.path(),
        &[
            ("module.fc1.weight", &[2, 3], DType::BF16),
            ("module.fc1.bias", &[2], DType::F64),
            ("module.fc2.weight", &[2, 3], DType::F32),
            ("steps", &[1], DType::I64),
        ],
    );
    let rules = LoadRules::new()
        .rename("module.*=*".parse().unwrap())
        .rename("steps=".parse().unwrap())
        .transpose("fc2.*");
    let params = params();
    let report = load_with(&model, &params, &rules).unwrap();
    assert_eq!(report.loaded, ["fc1.weight", "fc1.bias", "fc2.weight"]);
    assert_eq!(report.converted, ["fc1.weight", "fc1.bias"]);
    assert!(report.differences.is_empty());
    assert_eq!(value(&params, "fc1.weight"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(value(&params, "fc2.weight"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
}

#[test]
fn strictly_every_difference_is_said_and_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let model = file(
        folder.path(),
        &[
            ("module.fc1.weight", &[2, 3], DType::F32),
            ("module.fc1.bias", &[2], DType::F32),
            ("fc2.weight", &[2, 2], DType::F32),
        ],
    );
    let params = params();
    let before = value(&params, "fc1.weight");
    let error = load_with(&model, &params, &LoadRules::new()).unwrap_err();
    assert!(matches!(&error, Error::Mismatch { differences, .. } if differences.len() == 5));
    let message = error.to_string();
    for part in [
        "\n  fc1.weight [2, 3] is missing; is module.fc1.weight meant?",
        "\n  fc1.bias [2] is missing; is module.fc1.bias meant?",
        "\n  fc2.weight has shape [2, 2], the model [3, 2]",
        "\n  module.fc1.bias [2] is not in the model",
        "\n  names fit with the rule 'module.*=*'",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(value(&params, "fc1.weight"), before);
    // Loosely what fits is loaded, and the rest is reported.
    let loose = LoadRules::new()
        .rename("module.fc1.weight=fc1.weight".parse().unwrap())
        .loose();
    let report = load_with(&model, &params, &loose).unwrap();
    assert_eq!(report.loaded, ["fc1.weight"]);
    assert_eq!(value(&params, "fc1.weight"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let kinds: Vec<_> = report
        .differences
        .iter()
        .map(|difference| match difference {
            Difference::Missing { name, .. } => ("missing", name.as_str()),
            Difference::Unexpected { name, .. } => ("unexpected", name.as_str()),
            Difference::Shape { name, .. } => ("shape", name.as_str()),
            _ => ("other", ""),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            ("missing", "fc1.bias"),
            ("shape", "fc2.weight"),
            ("unexpected", "module.fc1.bias")
        ]
    );
    let twice = LoadRules::new()
        .rename("*.bias=x".parse().unwrap())
        .rename("fc2.weight=x".parse().unwrap());
    assert!(matches!(
        load_with(&model, &params, &twice),
        Err(Error::Renamed { .. })
    ));
}

#[test]
fn checkpoints_of_pytorch_are_loaded() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytorch/zip-4.pt");
    let model = AnyModel::open(fixture).unwrap();
    let params = Params::new(&Device::Cpu, Seed(1));
    params
        .at("2")
        .param("weight", &[2, 2], Init::KAIMING_UNIFORM)
        .unwrap();
    params
        .at("0")
        .param("bias", &[2], Init::KAIMING_UNIFORM)
        .unwrap();
    let rules = LoadRules::new()
        .rename("state_dict.*=*".parse().unwrap())
        .loose();
    let report = load_with(&model, &params, &rules).unwrap();
    assert_eq!(report.loaded, ["2.weight", "0.bias"]);
    let want = model.load("state_dict.2.weight", &Device::Cpu).unwrap();
    let want: Vec<f32> = want.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(value(&params, "2.weight"), want);
}

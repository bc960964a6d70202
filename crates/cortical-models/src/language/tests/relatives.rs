//! Llama and relatives against transformers and llama.cpp's files: losses, gradients, GGUF.

use super::{difference, expected, fixture, output};
use crate::language::{LoadOptions, Loaded, Weights, open};
use candle_core::Device;
use cortical_io::TensorFile;
use cortical_kernels::quantized::Format;
use cortical_neuron::Pass;

/// The fixtures with gradients and a GGUF file.
const RELATIVES: [&str; 9] = [
    "gemma2",
    "gemma3",
    "llama",
    "llama-grouped-tied",
    "olmo2",
    "phi3",
    "phi3-longrope",
    "qwen3",
    "smollm3",
];

#[test]
fn losses_and_gradients_are_those_of_transformers() {
    for name in RELATIVES {
        let Loaded { model, params, .. } = open(fixture(name), &LoadOptions::default()).unwrap();
        let file = TensorFile::open(fixture(name).join("expected.safetensors")).unwrap();
        let (ids, _) = expected(&fixture(name));
        let n = ids.dim(1).unwrap() - 1;
        let (text, labels) = (ids.narrow(1, 0, n).unwrap(), ids.narrow(1, 1, n).unwrap());
        let mut rng = params.rng("pass");
        let loss = model.loss(&text, &labels, &mut Pass::train(&mut rng));
        let loss = loss.unwrap();
        let want = file.load("loss", &Device::Cpu).unwrap();
        assert!(difference(&loss, &want) < 1e-4, "{name}");
        params.backward(&loss).unwrap();
        for param in params.all() {
            let want = file.load(&format!("gradient.{}", param.name()), &Device::Cpu);
            let want: Vec<f32> = want.unwrap().to_vec1().unwrap();
            let grad = param.grad().unwrap().flatten_all().unwrap();
            let grad: Vec<f32> = grad.to_vec1().unwrap();
            let step = (grad.len() / 8).max(1);
            let got: Vec<f32> = grad.into_iter().step_by(step).take(8).collect();
            assert_eq!(got.len(), want.len());
            let largest = want.iter().fold(1e-3_f32, |most, x| most.max(x.abs()));
            for (got, want) in got.iter().zip(&want) {
                let far = (got - want).abs();
                assert!(
                    far < 1e-4 * largest,
                    "{name} {}: {got} {want}",
                    param.name()
                );
            }
        }
    }
}

#[test]
fn gguf_files_are_the_same_models() {
    for name in RELATIVES {
        let (ids, want) = expected(&fixture(name));
        let loaded = open(fixture(name).join("model.gguf"), &LoadOptions::default()).unwrap();
        assert!(loaded.gguf.is_some());
        let far = difference(&output(&loaded.model, &ids), &want);
        assert!(far < 1e-4, "{name}: {far}");
        let folder = open(fixture(name), &LoadOptions::default()).unwrap();
        let [one, other] = [&loaded, &folder].map(|l| l.model.config().model_type());
        assert_eq!(one, other);
        // Quantized, rows of queries and keys are in their order too.
        let options = LoadOptions {
            weights: Weights::Quantized(Format::F16),
            ..Default::default()
        };
        let half = open(fixture(name).join("model.gguf"), &options).unwrap();
        let far = difference(&output(&half.model, &ids), &want);
        assert!(far < 0.03, "{name}: {far}");
    }
}

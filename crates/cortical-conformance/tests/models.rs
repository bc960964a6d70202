//! Published models agree in our layers as far as they lie in the repository; `cargo xtask cases --models` checks them
//! whole.

use cortical_conformance::models::{self, ModelError, SileroWeights};

#[test]
fn silero_vad_hears_what_its_onnx_model_hears() {
    let weights = models::committed().join("silero_vad_16k.safetensors");
    let agreements = models::silero(&weights, SileroWeights::Onnx).unwrap();
    assert_eq!(agreements.len(), 6, "speech and both states for two sounds");
}

#[test]
fn a_head_of_minilm_hands_on_what_berts_does() {
    assert_eq!(models::minilm_head().unwrap().len(), 1);
}

#[test]
fn weights_that_are_not_there_are_told() {
    let missing = models::committed().join("no-such.safetensors");
    let error = models::minilm(&missing).unwrap_err();
    assert!(matches!(error, ModelError::File(_)), "{error}");
    // A file of another model lacks the tensors.
    let other = models::committed().join("minilm-head.safetensors");
    let error = models::silero(&other, SileroWeights::Onnx)
        .unwrap_err()
        .to_string();
    assert!(error.contains("stft_conv.weight"), "{error}");
}

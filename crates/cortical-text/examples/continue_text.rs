//! A language model continues a text, token by token.
//!
//! ```console
//! cargo run --release -p cortical-text --example continue_text -- MODEL "The whale"
//! ```
//!
//! `MODEL` is a folder as Hugging Face publishes them, a GGUF file, or a run of `cortical train`. Without one, a model
//! of random weights shows how it works; what it writes means nothing.

use candle_core::Device;
use cortical_models::language::{self, LanguageModel, LoadOptions, preset};
use cortical_neuron::Params;
use cortical_tensor::Seed;
use cortical_text::{Generator, Sampler, Sampling, Tokenizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (model, tokenizer) = match arguments.next() {
        Some(path) => {
            let loaded = language::open(&path, &LoadOptions::default())?;
            (loaded.model, Tokenizer::open(&path)?)
        }
        None => {
            let config = preset("llama-tiny")
                .ok_or("a preset of the library")?
                .config;
            let params = Params::new(&Device::Cpu, Seed(1));
            (LanguageModel::build(&config, &params)?, Tokenizer::bytes())
        }
    };
    let prompt = arguments.next().unwrap_or_else(|| "The whale".to_owned());
    let ids = tokenizer.encode(&prompt)?;

    // Draws with the model's own probabilities, a little sharpened; the same seed writes the same text.
    let sampler = Sampler::new(Sampling::with_temperature(0.8), 7)?;
    let mut generator = Generator::new(&model, model.cache(), &ids, sampler)?.limit(40);
    for token in &mut generator {
        token?;
    }
    println!("{}", tokenizer.decode(generator.text())?);
    Ok(())
}

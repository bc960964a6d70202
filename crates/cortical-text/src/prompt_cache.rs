//! What a model has read of a prompt, in a file.

use crate::error::{Error, Result};
use candle_core::{Device, Tensor};
use cortical_io::{Metadata, TensorFile, save_tensors};
use cortical_models::language::{LanguageModel, ModelCache};
use cortical_neuron::Pass;
use std::path::Path;

/// The file's own name for what it is, under [`KEY`] in its header.
const KIND: &str = "a prompt that was read, 1";
/// As above.
const KEY: &str = "cortical.prompt";
/// Tokens that every model has.
const PROBE: [u32; 2] = [1, 0];

/// Writes `tokens` with what `model` has read of them, to be opened by [`open_prompt`].
///
/// # Errors
/// When the file cannot be written.
pub fn save_prompt(
    path: impl AsRef<Path>,
    model: &LanguageModel,
    tokens: &[u32],
    cache: &ModelCache,
) -> Result<()> {
    let read = &tokens[..cache.len().min(tokens.len())];
    let mut tensors = cache.tensors()?;
    tensors.push(("probe".to_owned(), probe(model)?));
    tensors.push((
        "tokens".to_owned(),
        Tensor::from_slice(read, read.len(), &Device::Cpu)?,
    ));
    let mut metadata = Metadata::default();
    metadata.insert(KEY.to_owned(), KIND.to_owned());
    Ok(save_tensors(path, &tensors, &metadata)?)
}

/// The tokens of a file that [`save_prompt`] wrote, and what was read of them, with room for so many positions; `None`
/// where another model has read them, or the same one on a machine that computes other bits.
///
/// # Errors
/// [`Error::NoPrompt`] for another file; when it cannot be read or does not fit to itself.
pub fn open_prompt(
    path: impl AsRef<Path>,
    model: &LanguageModel,
    room: usize,
) -> Result<Option<(Vec<u32>, ModelCache)>> {
    let path = path.as_ref();
    let none = || Error::NoPrompt {
        path: path.to_owned(),
    };
    let file = TensorFile::open(path).map_err(|_| none())?;
    if file.metadata().get(KEY).map(String::as_str) != Some(KIND) {
        return Err(none());
    }
    let load = |name: &str| file.load(name, &Device::Cpu);
    let own = probe(model)?;
    let theirs = load("probe")?;
    let bits = |t: &Tensor| -> Result<Vec<u32>> {
        let all = t.flatten_all()?.to_vec1::<f32>().map_err(|_| none())?;
        Ok(all.into_iter().map(f32::to_bits).collect())
    };
    if own.dims() != theirs.dims() || bits(&own)? != bits(&theirs)? {
        return Ok(None);
    }
    let tokens = load("tokens")?.to_vec1::<u32>().map_err(|_| none())?;
    let cache = model.cache_from(tokens.len(), |name| {
        let own = file.info(name).and_then(|info| info.shape().first());
        let all = file.load_with_room(name, room, &Device::Cpu)?;
        Ok((all, own.copied().unwrap_or(0)))
    })?;
    Ok(Some((tokens, cache)))
}

/// What a model makes of a few tokens: every weight of its blocks takes part in it, so it tells models apart.
fn probe(model: &LanguageModel) -> Result<Tensor> {
    let ids = Tensor::new(&[PROBE], &Device::Cpu)?;
    let hidden = model.hidden(&ids, None, &mut Pass::eval())?;
    Ok(hidden.to_dtype(candle_core::DType::F32)?.flatten_all()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_models::language::preset;
    use cortical_neuron::Params;
    use cortical_tensor::Seed;

    #[test]
    fn a_prompt_comes_back_for_its_model_only() {
        let build = |seed: u64| {
            let config = preset("llama-tiny").unwrap().config;
            let params = Params::new(&Device::Cpu, Seed(seed));
            LanguageModel::build(&config, &params).unwrap()
        };
        let model = build(1);
        let tokens: Vec<u32> = (0..40).collect();
        let mut cache = model.cache_with_room(50);
        let ids = Tensor::from_slice(&tokens, (1, 40), &Device::Cpu).unwrap();
        model
            .hidden(&ids, Some(&mut cache), &mut Pass::eval())
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompt.safetensors");
        save_prompt(&path, &model, &tokens, &cache).unwrap();

        let (read, mut again) = open_prompt(&path, &model, 64).unwrap().unwrap();
        assert_eq!((&read, again.len()), (&tokens, 40));
        let next = Tensor::new(&[[7_u32]], &Device::Cpu).unwrap();
        let go = |cache: &mut ModelCache| -> Vec<f32> {
            let scores = model.logits(&next, Some(cache), &mut Pass::eval()).unwrap();
            scores.flatten_all().unwrap().to_vec1().unwrap()
        };
        assert_eq!(go(&mut again), go(&mut cache));

        assert!(open_prompt(&path, &build(2), 64).unwrap().is_none());
        let other = folder.path().join("other.safetensors");
        save_tensors(&other, &[("x".to_owned(), next)], &Metadata::default()).unwrap();
        for wrong in [&other, &folder.path().join("nothing")] {
            let error = open_prompt(wrong, &model, 64).unwrap_err();
            assert!(matches!(error, Error::NoPrompt { .. }), "{error}");
        }
    }
}

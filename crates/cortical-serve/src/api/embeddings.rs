//! `POST /v1/embeddings`

use super::answer::object;
use super::completions::prompts;
use super::error::{ApiError, ApiResult};
use super::fields::Fields;
use crate::app::{App, Language};
use axum::response::Response;
use candle_core::{DType, Device, Tensor};
use cortical_neuron::Pass;
use serde_json::{Value, json};
use std::sync::Arc;

/// Answers it: the mean of an encoder's hidden states over the tokens of each text, made as long as 1.
pub(crate) async fn embeddings(app: &Arc<App>, body: &[u8]) -> ApiResult<Response> {
    let mut fields = Fields::read(body)?;
    app.check_model(&mut fields)?;
    let inputs = prompts(fields.need("input")?)?;
    let in_base64 = match fields.take("encoding_format") {
        None => false,
        Some(Value::String(form)) if form == "float" => false,
        Some(Value::String(form)) if form == "base64" => true,
        Some(other) => {
            let message = format!("encoding_format: expected float or base64, found {other}");
            return Err(ApiError::field("encoding_format", message));
        }
    };
    fields.only("dimensions", &[])?;
    fields.finish()?;
    let language = app.language()?;
    if language.model.has_head() {
        return Err(ApiError::not_here(
            "this model writes text; embeddings are what an encoder makes",
        ));
    }
    let _place = app.place()?;
    let own = app.clone();
    let (vectors, tokens) = app
        .compute(move || {
            let language = own.language()?;
            let mut tokens = 0;
            let mut vectors = Vec::new();
            for input in inputs {
                let ids = own.tokens_of(input)?;
                tokens += ids.len();
                let most = own.options.context;
                if ids.is_empty() || ids.len() > most {
                    let got = ids.len();
                    let message = format!("a text has {got} tokens; expected 1 to {most}");
                    return Err(ApiError::field("input", message).code("context_length_exceeded"));
                }
                vectors.push(own.pool.install(|| embedding(language, &ids))?);
            }
            Ok((vectors, tokens))
        })
        .await??;
    let data: Vec<Value> = vectors
        .iter()
        .enumerate()
        .map(|(at, vector)| {
            let embedding = match in_base64 {
                true => json!(base64(
                    &vector
                        .iter()
                        .flat_map(|x| x.to_le_bytes())
                        .collect::<Vec<_>>()
                )),
                false => json!(vector),
            };
            json!({ "object": "embedding", "index": at, "embedding": embedding })
        })
        .collect();
    Ok(object(&json!({
        "object": "list",
        "data": data,
        "model": app.options.name,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    })))
}

fn embedding(language: &Language, ids: &[u32]) -> ApiResult<Vec<f32>> {
    let run = || -> cortical_models::Result<Vec<f32>> {
        let ids = Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu)?;
        let hidden = language.model.hidden(&ids, None, &mut Pass::eval())?;
        let mean = hidden.to_dtype(DType::F32)?.squeeze(0)?.mean(0)?;
        Ok(mean.to_vec1::<f32>()?)
    };
    let mut mean = run().map_err(|why| ApiError::failed(why.to_string()))?;
    let length = mean.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        mean.iter_mut().for_each(|x| *x /= length);
    }
    Ok(mean)
}

/// Bytes as text of 64 signs (RFC 4648), which clients ask for as it is shorter.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for part in bytes.chunks(3) {
        let at = |i: usize| u32::from(part.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            match i <= part.len() {
                true => text.push(SIGNS[(bits >> (18 - 6 * i) & 63) as usize] as char),
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::completions::Prompt;
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        let pairs = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, want) in pairs {
            assert_eq!(base64(bytes.as_bytes()), want);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn prompts_are_texts_or_tokens() {
        assert!(matches!(
            &prompts(json!("a")).unwrap()[..],
            [Prompt::Text(_)]
        ));
        assert!(
            matches!(&prompts(json!([1, 2])).unwrap()[..], [Prompt::Tokens(t)] if t == &[1, 2])
        );
        assert_eq!(prompts(json!(["a", [1]])).unwrap().len(), 2);
        for bad in [json!([]), json!(1), json!([-1]), json!([["a"]])] {
            assert!(prompts(bad).is_err());
        }
        let many: Vec<&str> = vec!["a"; 17];
        assert!(prompts(json!(many)).is_err());
    }
}

//! `generate`

use std::time::Instant;

use cortical_models::language::{Loaded, ModelCache};
use cortical_text::{
    Generator, Sampler, TextStream, TextStreamOptions, check_length, open_prompt, save_prompt,
};
use serde_json::json;

use crate::cli::Common;
use crate::cli_language::GenerateArgs;
use crate::done::Done;
use crate::error::Result;
use crate::output::Output;
use crate::style::count;

/// `cortical generate`
pub(crate) fn generate(args: &GenerateArgs, common: &Common, output: &Output) -> Result<Done> {
    let (loaded, tokenizer) = super::open_with_tokenizer(&args.model, output)?;
    if let Some(path) = &args.prompts {
        return super::prompts::prompts(args, path, &loaded, &tokenizer, common, output);
    }
    let prompt = match &args.prompt {
        Some(text) => tokenizer.encode(text)?,
        None => args.ids.clone(),
    };
    super::check_ids(&args.ids, &loaded)?;
    let sampler = Sampler::new(args.sampling.sampling(), common.seed.unwrap_or(0))?;
    let cache = known(args, &loaded, &prompt, output)?;
    let is_known = cache.len() + 1 >= prompt.len();
    let mut generator = Generator::new(&loaded.model, cache, &prompt, sampler)?
        .limit(args.sampling.max_tokens)
        .beyond_context(args.model.beyond_context)
        .lookup(!args.no_lookup)
        .ends(tokenizer.eos());
    // Before the prompt is shown, as if it were read.
    check_length(&loaded.model, prompt.len(), args.model.beyond_context)?;
    let options = TextStreamOptions {
        stop: args.sampling.stop.clone(),
    };
    output.stream(
        args.prompt
            .as_deref()
            .map(|text| output.err.dim(text))
            .as_deref()
            .unwrap_or_default(),
    );
    let mut stream = TextStream::new(&mut generator, &tokenizer, options);
    let mut text = String::new();
    for piece in &mut stream {
        let piece = piece?;
        text.push_str(&piece);
        if !output.stream(&piece) {
            break;
        }
    }
    let stop = stream.stop().map(|stop| stop.name());
    output.stream("\n");
    let (read, written) = (generator.prompt_speed(), generator.speed());
    output.remark(&output.err.dim(&super::speeds_text(read, written)));
    let tokens = generator.text()[prompt.len()..].to_vec();
    let mut value = json!({
        "prompt": args.prompt,
        "prompt_ids": prompt,
        "text": text,
        "ids": tokens,
        "tokens": tokens.len(),
        "stop": stop,
        "seed": common.seed.unwrap_or(0),
    });
    if let (Some(all), Some(speeds)) = (
        value.as_object_mut(),
        super::speeds(read, written).as_object(),
    ) {
        all.extend(speeds.clone());
    }
    if let Some(path) = args.prompt_cache.as_ref().filter(|_| !is_known) {
        let (mut cache, tokens) = generator.into_parts();
        cache.truncate(prompt.len());
        save_prompt(path, &loaded.model, &tokens, &cache)?;
    }
    output.streamed(&value);
    Ok(Done::Finished)
}

/// What the file of the prompt holds of this one, or an empty cache.
fn known(
    args: &GenerateArgs,
    loaded: &Loaded,
    prompt: &[u32],
    output: &Output,
) -> Result<ModelCache> {
    let model = &loaded.model;
    let Some(path) = args.prompt_cache.as_ref().filter(|path| path.exists()) else {
        return Ok(model.cache());
    };
    let began = Instant::now();
    let most = prompt.len().saturating_add(args.sampling.max_tokens);
    let room = most.min(model.config().max_positions().max(prompt.len()));
    let Some((tokens, mut cache)) = open_prompt(path, model, room)? else {
        let path = path.display();
        output.remark(&format!(
            "{path} is what another model has read; it is written anew"
        ));
        return Ok(model.cache());
    };
    let alike = tokens.iter().zip(prompt).take_while(|(a, b)| a == b);
    cache.truncate(alike.count().min(prompt.len().saturating_sub(1)));
    output.remark(&format!(
        "{} of {} tokens were read before, opened in {:.1} ms",
        count(cache.len()),
        count(prompt.len()),
        began.elapsed().as_secs_f64() * 1e3,
    ));
    Ok(cache)
}

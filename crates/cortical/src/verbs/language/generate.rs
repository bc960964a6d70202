//! `generate`

use cortical_text::{Generator, Sampler, TextStream, TextStreamOptions, Tokenizer, check_length};
use serde_json::json;

use crate::cli::Common;
use crate::cli_language::GenerateArgs;
use crate::done::Done;
use crate::error::Result;
use crate::output::Output;

/// `cortical generate`
pub(crate) fn generate(args: &GenerateArgs, common: &Common, output: &Output) -> Result<Done> {
    let loaded = super::open(&args.model, output)?;
    let tokenizer = Tokenizer::open(&args.model.model)?;
    let prompt = match &args.prompt {
        Some(text) => tokenizer.encode(text)?,
        None => args.ids.clone(),
    };
    super::check_ids(&args.ids, &loaded)?;
    let sampler = Sampler::new(args.sampling.sampling(), common.seed.unwrap_or(0))?;
    let mut generator = Generator::new(&loaded.model, loaded.model.cache(), &prompt, sampler)?
        .limit(args.sampling.max_tokens)
        .beyond_context(args.model.beyond_context)
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
    let tokens = &generator.text()[prompt.len()..];
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
    output.streamed(&value);
    Ok(Done::Finished)
}

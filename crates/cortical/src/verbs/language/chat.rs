//! `chat`

use std::io::{self, BufRead};

use cortical_text::{Chat, ChatTemplate, Reply, Sampler};
use serde_json::{Value, json};

use crate::cli::Common;
use crate::cli_language::ChatArgs;
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;

/// `cortical chat`
pub(crate) fn chat(args: &ChatArgs, common: &Common, output: &Output) -> Result<Done> {
    let (loaded, tokenizer) = super::open_with_tokenizer(&args.model, output)?;
    let template = ChatTemplate::open(&args.model.model)?;
    let beyond = args.model.beyond_context;
    let chat = Chat::new(&loaded.model, &tokenizer, template);
    let mut chat = chat.beyond_context(beyond);
    if let Some(system) = &args.system {
        chat.system(system);
    }
    let seed = common.seed.unwrap_or(0);
    let mut turns = Vec::new();
    let mut said = args.say.iter();
    loop {
        let line = match (args.say.is_empty(), said.next()) {
            (false, None) => break,
            (false, Some(text)) => {
                output.remark(&format!("{} {text}", output.err.bold("you:")));
                text.clone()
            }
            (true, _) => match typed(output)? {
                Some(text) => text,
                None => break,
            },
        };
        // Every turn draws from a stream of its own, so that a conversation can be repeated.
        let sampler = Sampler::new(
            args.sampling.sampling(),
            seed.wrapping_add(turns.len() as u64),
        )?;
        output.stream(&format!("{} ", output.err.green("model:")));
        let limit = args.sampling.max_tokens;
        let reply = chat.say(&line, sampler, limit, &args.sampling.stop, |piece| {
            output.stream(piece);
        })?;
        output.stream("\n");
        output.remark(
            &output
                .err
                .dim(&super::speeds_text(reply.prompt, reply.written)),
        );
        turns.push(turn(&line, &reply));
    }
    output.streamed(&json!({ "system": args.system, "turns": turns, "seed": seed }));
    Ok(Done::Finished)
}

/// The next line that a person types, or `None` at the end.
fn typed(output: &Output) -> Result<Option<String>> {
    output.ask(&format!("{} ", output.err.bold("you:")));
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|why| Error::Input { why })?;
    let line = line.trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}

fn turn(said: &str, reply: &Reply) -> Value {
    let mut value = json!({
        "user": said,
        "assistant": reply.text,
        "read": reply.prompt.0,
        "tokens": reply.tokens,
        "stop": reply.stop.name(),
    });
    let speeds = super::speeds(reply.prompt, reply.written);
    if let (Some(all), Some(speeds)) = (value.as_object_mut(), speeds.as_object()) {
        all.extend(speeds.clone());
    }
    value
}

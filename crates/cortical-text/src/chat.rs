//! A conversation with a model.

use crate::error::Result;
use crate::generate::Generator;
use crate::sample::Sampler;
use crate::stop::Stop;
use crate::stream::{TextStream, TextStreamOptions};
use crate::template::{ChatTemplate, Message};
use crate::tokenizer::Tokenizer;
use cortical_models::language::{LanguageModel, ModelCache};
use std::time::Duration;

/// A conversation whose turns so far stay in the model's cache: only what is new is read.
#[derive(Debug)]
pub struct Chat<'a> {
    model: &'a LanguageModel,
    tokenizer: &'a Tokenizer,
    template: ChatTemplate,
    messages: Vec<Message>,
    cache: ModelCache,
    /// The tokens that the cache holds.
    read: Vec<u32>,
    beyond: bool,
}

/// A model's turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// What it said.
    pub text: String,
    /// Its tokens.
    pub tokens: usize,
    /// Why it ended.
    pub stop: Stop,
    /// Tokens that were read before it, and in what time.
    pub prompt: (usize, Duration),
    /// Tokens behind its first one, and in what time.
    pub written: (usize, Duration),
}

impl<'a> Chat<'a> {
    /// A conversation that nothing was said in yet.
    #[must_use]
    pub fn new(model: &'a LanguageModel, tokenizer: &'a Tokenizer, template: ChatTemplate) -> Self {
        Self {
            model,
            tokenizer,
            template,
            messages: Vec::new(),
            cache: model.cache(),
            read: Vec::new(),
            beyond: false,
        }
    }

    /// As [`Generator::beyond_context`].
    #[must_use]
    pub fn beyond_context(mut self, beyond: bool) -> Self {
        self.beyond = beyond;
        self
    }

    /// Says who the model is to be.
    pub fn system(&mut self, content: &str) {
        self.messages.push(Message::new("system", content));
    }

    /// The turns so far.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Says something and lets the model answer; `hear` gets its words as they come.
    ///
    /// # Errors
    /// When the template, the tokenizer or the model refuse; the conversation is then as it was.
    pub fn say(
        &mut self,
        content: &str,
        sampler: Sampler,
        limit: usize,
        stop: &[String],
        mut hear: impl FnMut(&str),
    ) -> Result<Reply> {
        let mut messages = self.messages.clone();
        messages.push(Message::new("user", content));
        let turns: Vec<_> = messages.iter().map(Message::to_value).collect();
        let prompt = self.template.encode(self.tokenizer, &turns, None)?;
        // What was read of the last turns may be written otherwise now: the cache goes back to where they agree.
        let agree = self
            .read
            .iter()
            .zip(&prompt)
            .take_while(|(a, b)| a == b)
            .count();
        let mut cache = std::mem::take(&mut self.cache);
        if cache.layers() == 0 {
            cache = self.model.cache();
        }
        cache.truncate(agree.min(prompt.len().saturating_sub(1)));
        let mut generator = Generator::new(self.model, cache, &prompt, sampler)?
            .limit(limit)
            .beyond_context(self.beyond)
            .ends(&self.tokenizer.turn_ends());
        let options = TextStreamOptions {
            stop: stop.to_vec(),
        };
        let mut stream = TextStream::new(&mut generator, self.tokenizer, options);
        let mut said = String::new();
        for piece in &mut stream {
            let piece = piece?;
            hear(&piece);
            said.push_str(&piece);
        }
        let reason = stream.stop().unwrap_or(Stop::Length);
        let (read, written) = (generator.prompt_speed(), generator.speed());
        let (cache, tokens) = generator.into_parts();
        let known = cache.len();
        self.read = tokens[..known.min(tokens.len())].to_vec();
        self.cache = cache;
        messages.push(Message::new("assistant", &said));
        self.messages = messages;
        Ok(Reply {
            text: said,
            tokens: tokens.len() - prompt.len(),
            stop: reason,
            prompt: read,
            written,
        })
    }
}

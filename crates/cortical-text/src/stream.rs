//! The text of tokens as they come.

use crate::error::Result;
use crate::generate::{Generator, Stop};
use crate::tokenizer::{GrowingText, Tokenizer};

/// What ends a [`TextStream`] besides what ends its tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextStreamOptions {
    /// The stream ends before the first of these strings.
    pub stop: Vec<String>,
}

/// An iterator over the text of a generation, in pieces that are whole characters and hold no part of a stop string.
///
/// The pieces together are what the text of all tokens has behind that of the prompt: the prompt's last tokens are read
/// along, and what a further token may change is kept back.
#[derive(Debug)]
pub struct TextStream<'a, 'm> {
    generator: &'a mut Generator<'m>,
    tokenizer: &'a Tokenizer,
    stop: Vec<String>,
    /// The text behind the prompt; `None` before the first token is asked for.
    text: Option<GrowingText<'a>>,
    /// Text that may be the beginning of a stop string.
    held: String,
    done: Option<Stop>,
}

impl<'a, 'm> TextStream<'a, 'm> {
    /// The text of what `generator` goes on with.
    #[must_use]
    pub fn new(
        generator: &'a mut Generator<'m>,
        tokenizer: &'a Tokenizer,
        options: TextStreamOptions,
    ) -> Self {
        let mut stop = options.stop;
        stop.retain(|text| !text.is_empty());
        Self {
            generator,
            tokenizer,
            stop,
            text: None,
            held: String::new(),
            done: None,
        }
    }

    /// Why it ended, once it has.
    #[must_use]
    pub fn stop(&self) -> Option<Stop> {
        self.done
    }

    /// The text that a token adds, as far as it is certain; at the end, all of it.
    fn added(&mut self, token: Option<u32>) -> Result<String> {
        let text = match &mut self.text {
            Some(text) => text,
            none => {
                let all = self.generator.text();
                let prompt = &all[..all.len() - usize::from(token.is_some())];
                none.insert(GrowingText::new(self.tokenizer, prompt)?)
            }
        };
        match token {
            Some(token) => text.push(token),
            None => text.end(),
        }
    }

    /// What of the held text is certain to be no part of a stop string.
    fn release(&mut self) -> String {
        let found = self
            .stop
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min();
        if let Some(at) = found {
            self.done = Some(Stop::Text);
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let begins = |at: &usize| {
            self.stop
                .iter()
                .any(|stop| stop.starts_with(&self.held[*at..]))
        };
        let mut places = self.held.char_indices().map(|(at, _)| at);
        let kept = places.find(begins).unwrap_or(self.held.len());
        let rest = self.held.split_off(kept);
        std::mem::replace(&mut self.held, rest)
    }

    fn step(&mut self) -> Result<Option<String>> {
        while self.done.is_none() {
            let Some(token) = self.generator.next().transpose()? else {
                self.done = self.generator.stop();
                let rest = self.added(None)?;
                self.held.push_str(&rest);
                let ended = self.done;
                let mut text = self.release();
                if self.done == ended {
                    text.push_str(&std::mem::take(&mut self.held));
                }
                return Ok(Some(text).filter(|text| !text.is_empty()));
            };
            let new = self.added(Some(token))?;
            self.held.push_str(&new);
            let text = self.release();
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }
}

impl Iterator for TextStream<'_, '_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

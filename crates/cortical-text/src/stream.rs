//! The text of tokens as they come.

use crate::error::Result;
use crate::generate::{Generator, Stop};
use crate::tokenizer::Tokenizer;

/// What ends a [`TextStream`] besides what ends its tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextStreamOptions {
    /// The stream ends before the first of these strings.
    pub stop: Vec<String>,
}

/// An iterator over the text of a generation, in pieces that are whole characters and hold no part of a stop string.
#[derive(Debug)]
pub struct TextStream<'a, 'm> {
    generator: &'a mut Generator<'m>,
    tokenizer: &'a Tokenizer,
    stop: Vec<String>,
    /// Tokens whose text is not given out whole, behind one that is, for what stands before a token may change its
    /// text.
    window: Vec<u32>,
    /// How many bytes of the window's text were given out or held back.
    given: usize,
    /// Text that may be the beginning of a stop string.
    held: String,
    done: Option<Stop>,
}

/// Tokens that are kept as the context of the next.
const CONTEXT: usize = 8;

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
            window: Vec::new(),
            given: 0,
            held: String::new(),
            done: None,
        }
    }

    /// Why it ended, once it has.
    #[must_use]
    pub fn stop(&self) -> Option<Stop> {
        self.done
    }

    /// The text that a token adds, as far as it is whole characters.
    fn added(&mut self, token: Option<u32>) -> Result<String> {
        self.window.extend(token);
        let text = self.tokenizer.decode(&self.window)?;
        // An unfinished character shows as one that stands for bytes that are no text.
        let whole = match token {
            Some(_) => text.trim_end_matches('\u{fffd}').len(),
            None => text.len(),
        };
        let new = text
            .get(self.given..whole.max(self.given))
            .unwrap_or_default()
            .to_owned();
        self.given = whole.max(self.given);
        if self.window.len() > 4 * CONTEXT && self.given == text.len() {
            let kept = self.window.split_off(self.window.len() - CONTEXT);
            self.window = kept;
            self.given = self.tokenizer.decode(&self.window)?.len();
        }
        Ok(new)
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

//! The text of tokens as they come.

use crate::error::Result;
use crate::generate::Generator;
use crate::stop::Stop;
use crate::tokenizer::{GrowingText, Tokenizer};

/// What ends a [`TextStream`] besides what ends its tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextStreamOptions {
    /// The stream ends before the first of these strings.
    pub stop: Vec<String>,
}

/// The text of tokens that come one by one, in pieces that are whole characters and hold no part of a stop string.
///
/// The pieces together are what the text of all tokens has behind that of the prompt: the prompt's last tokens are read
/// along, and what a further token may change is kept back.
#[derive(Debug)]
pub struct TextPieces<'a> {
    text: GrowingText<'a>,
    stop: Vec<String>,
    /// Text that may be the beginning of a stop string.
    held: String,
    is_stopped: bool,
}

impl<'a> TextPieces<'a> {
    /// The text behind these tokens.
    ///
    /// # Errors
    /// When the tokenizer refuses.
    pub fn new(
        tokenizer: &'a Tokenizer,
        prompt: &[u32],
        options: TextStreamOptions,
    ) -> Result<Self> {
        let mut stop = options.stop;
        stop.retain(|text| !text.is_empty());
        Ok(Self {
            text: GrowingText::new(tokenizer, prompt)?,
            stop,
            held: String::new(),
            is_stopped: false,
        })
    }

    /// Whether a stop string came; nothing comes behind it.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// The text that a token adds, as far as it is certain.
    ///
    /// # Errors
    /// When the tokenizer refuses.
    pub fn push(&mut self, token: u32) -> Result<String> {
        if self.is_stopped {
            return Ok(String::new());
        }
        let new = self.text.push(token)?;
        self.held.push_str(&new);
        Ok(self.release())
    }

    /// What is left when no token comes any more.
    ///
    /// # Errors
    /// When the tokenizer refuses.
    pub fn end(&mut self) -> Result<String> {
        if self.is_stopped {
            return Ok(String::new());
        }
        let rest = self.text.end()?;
        self.held.push_str(&rest);
        let mut text = self.release();
        if !self.is_stopped {
            text.push_str(&std::mem::take(&mut self.held));
        }
        Ok(text)
    }

    /// What of the held text is certain to be no part of a stop string.
    fn release(&mut self) -> String {
        let found = self
            .stop
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min();
        if let Some(at) = found {
            self.is_stopped = true;
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
}

/// An iterator over the text of a generation, in the pieces of [`TextPieces`].
#[derive(Debug)]
pub struct TextStream<'a, 'm> {
    generator: &'a mut Generator<'m>,
    tokenizer: &'a Tokenizer,
    options: TextStreamOptions,
    /// The text behind the prompt; `None` before the first token is asked for.
    pieces: Option<TextPieces<'a>>,
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
        Self {
            generator,
            tokenizer,
            options,
            pieces: None,
            done: None,
        }
    }

    /// Why it ended, once it has.
    #[must_use]
    pub fn stop(&self) -> Option<Stop> {
        self.done
    }

    fn step(&mut self) -> Result<Option<String>> {
        while self.done.is_none() {
            let token = self.generator.next().transpose()?;
            let pieces = match &mut self.pieces {
                Some(pieces) => pieces,
                none => {
                    let all = self.generator.text();
                    let prompt = &all[..all.len() - usize::from(token.is_some())];
                    let options = std::mem::take(&mut self.options);
                    none.insert(TextPieces::new(self.tokenizer, prompt, options)?)
                }
            };
            let text = match token {
                Some(token) => pieces.push(token)?,
                None => {
                    self.done = self.generator.stop();
                    pieces.end()?
                }
            };
            if pieces.is_stopped() {
                self.done = Some(Stop::Text);
            }
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

//! Conversations as the text that a model was made to read.

mod clock;
mod engine;
mod filters;
mod measure;
mod source;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use cortical_io::{GgufFile, GgufValue, printable, read_text};
use cortical_models::language::adapter_base;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// The most bytes of a template that are read.
const TEMPLATE_BYTES: u64 = 1 << 20;
/// The most characters of what a template says when it fails.
const WHY_CHARS: usize = 400;

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn.
    #[must_use]
    pub fn new(role: &str, content: &str) -> Self {
        Self {
            role: role.to_owned(),
            content: content.to_owned(),
        }
    }

    /// As templates read it.
    pub(crate) fn to_value(&self) -> Value {
        json!({ "role": self.role, "content": self.content })
    }
}

/// A model's template for conversations, in Jinja as Hugging Face's and GGUF files have it.
///
/// ```
/// use cortical_text::{ChatTemplate, Message};
/// let template = ChatTemplate::new(concat!(
///     "{% for m in messages %}<{{ m.role }}>{{ m.content.strip() }}{% endfor %}",
///     "{% if add_generation_prompt %}<assistant>{% endif %}",
/// ));
/// assert_eq!(template.render(&[Message::new("user", " Call me. ")], true)?, "<user>Call me.<assistant>");
/// # Ok::<(), cortical_text::Error>(())
/// ```
///
/// A template may ask for the time with `strftime_now`, as transformers has it; here it is that of UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    source: String,
    /// Where it was found.
    origin: Option<PathBuf>,
    /// The tokens that templates know by name.
    tokens: Map<String, Value>,
}

/// The tokens with a name in `tokenizer_config.json`.
const NAMED: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

impl ChatTemplate {
    /// A template.
    #[must_use]
    pub fn new(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            origin: None,
            tokens: Map::new(),
        }
        .tokens("", "")
    }

    /// The names of the tokens at a text's beginning and end, which templates refer to.
    #[must_use]
    pub fn tokens(mut self, bos: &str, eos: &str) -> Self {
        for (name, token) in NAMED.into_iter().zip([bos, eos]) {
            self.tokens.insert(name.to_owned(), token.into());
        }
        self
    }

    /// The template of a model: in its folder `chat_template.jinja` or `tokenizer_config.json`, or in its GGUF file.
    ///
    /// # Errors
    /// [`Error::NoTemplate`]; those of the files.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let none = || Error::NoTemplate { path: path.into() };
        if GgufFile::is_gguf(path) {
            return Self::from_gguf(&GgufFile::open(path)?).ok_or_else(none);
        }
        let settings = path.join("tokenizer_config.json");
        let config: Value = match settings.exists() {
            true => {
                let text = read_text(&settings, 16 * TEMPLATE_BYTES)?;
                let read = serde_json::from_str(&text);
                read.map_err(|why| Error::Settings {
                    path: settings.clone(),
                    why,
                })?
            }
            false => Value::Null,
        };
        let file = path.join("chat_template.jinja");
        let (source, origin) = match file.exists() {
            true => (read_text(&file, TEMPLATE_BYTES)?, file),
            false => {
                let inner = &config["chat_template"];
                // Several templates are a list of names and templates.
                let named = inner.as_array().and_then(|all| {
                    all.iter()
                        .find(|one| one["name"] == "default")
                        .and_then(|one| one["template"].as_str())
                });
                match (inner.as_str().or(named), adapter_base(path)?) {
                    (Some(source), _) => (source.to_owned(), settings),
                    // Low-rank changes speak as their model does.
                    (None, Some(base)) => return Self::open(base),
                    (None, None) => return Err(none()),
                }
            }
        };
        let mut template = Self::new(&source);
        template.origin = Some(origin);
        for name in NAMED {
            let token = &config[name];
            if let Some(token) = token.as_str().or_else(|| token["content"].as_str()) {
                template.tokens.insert(name.to_owned(), token.into());
            }
        }
        Ok(template)
    }

    /// The template in a GGUF file, if it has one.
    #[must_use]
    pub fn from_gguf(file: &GgufFile) -> Option<Self> {
        let source = file
            .value("tokenizer.chat_template")
            .and_then(GgufValue::as_text)?;
        let tokens = file
            .value("tokenizer.ggml.tokens")
            .and_then(GgufValue::as_texts)
            .unwrap_or_default();
        let token = |key: &str| {
            let id = file
                .value(key)
                .and_then(GgufValue::as_u64)
                .and_then(|id| usize::try_from(id).ok());
            id.and_then(|id| tokens.get(id))
                .cloned()
                .unwrap_or_default()
        };
        let (bos, eos) = (
            token("tokenizer.ggml.bos_token_id"),
            token("tokenizer.ggml.eos_token_id"),
        );
        let mut template = Self::new(source).tokens(&bos, &eos);
        template.origin = Some(file.path().to_owned());
        Some(template)
    }

    /// The template itself.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The tokens of a conversation as [`ChatTemplate::render_with`] writes it, ready for the model's answer.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`]; when the tokenizer refuses the text.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Value],
        tools: Option<&[Value]>,
    ) -> Result<Vec<u32>> {
        let text = self.render_with(messages, tools, true)?;
        let mut prompt = tokenizer.encode_part(&text)?;
        // A GGUF file may say what a text begins with, whether its template does or not.
        if let Some(bos) = tokenizer.bos()
            && prompt.first() != Some(&bos)
        {
            prompt.insert(0, bos);
        }
        Ok(prompt)
    }

    /// The text of a conversation; with `ask` it ends where the model's answer begins.
    ///
    /// # Errors
    /// [`Error::Template`] with what the template says, or that it does not end.
    pub fn render(&self, messages: &[Message], ask: bool) -> Result<String> {
        let turns: Vec<Value> = messages.iter().map(Message::to_value).collect();
        self.render_with(&turns, None, ask)
    }

    /// As [`ChatTemplate::render`], of turns that may have more than a role and a content, such as calls of tools, and
    /// with the tools that the model may call, described as the template wants to have them.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_with(
        &self,
        messages: &[Value],
        tools: Option<&[Value]>,
        ask: bool,
    ) -> Result<String> {
        let mut context = self.tokens.clone();
        context.insert("messages".to_owned(), messages.into());
        context.insert("add_generation_prompt".to_owned(), ask.into());
        let tools = tools.map_or(Value::Null, Value::from);
        context.insert("tools".to_owned(), tools);
        context.insert("documents".to_owned(), Value::Null);
        engine::render(&self.source, &context.into()).map_err(|why| Error::Template {
            path: self.origin.clone(),
            why: printable(&why, WHY_CHARS),
        })
    }
}

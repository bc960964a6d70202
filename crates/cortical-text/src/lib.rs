//! Between text and language models.
//!
//! - [`Tokenizer`]: text to tokens and back, from a Hugging Face folder, a GGUF file, or made from bytes, characters or
//!   a training text;
//! - [`Sampling`] and [`Sampler`]: which token comes next;
//! - [`Generator`]: an iterator over the tokens that a model goes on with, [`TextStream`] over their text;
//! - [`ChatTemplate`] and [`Chat`]: conversations, with what was read kept in the model's cache;
//! - [`perplexity`]: how well a model predicts a text.
//!
//! This crate does not know training or the command line.
//!
//! ```
//! use cortical_text::Tokenizer;
//! let tokenizer = Tokenizer::bytes();
//! assert_eq!(tokenizer.encode("Ahab")?, [65, 104, 97, 98]);
//! assert_eq!(tokenizer.decode(&[65, 104])?, "Ah");
//! # Ok::<(), cortical_text::Error>(())
//! ```

mod chat;
mod error;
mod generate;
mod perplexity;
mod sample;
mod stream;
mod template;
mod tokenizer;

pub use chat::{Chat, Reply};
pub use error::{Error, Result};
pub use generate::{Generator, Stop, check_length};
pub use perplexity::{Perplexity, perplexity};
pub use sample::{Sampler, Sampling};
pub use stream::{TextStream, TextStreamOptions};
pub use template::{ChatTemplate, Message};
pub use tokenizer::{Tokenizer, write_gguf_tokenizer};

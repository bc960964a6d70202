//! Between text and language models.
//!
//! - [`Tokenizer`]: text to tokens and back, from a Hugging Face folder, a GGUF file, or made from bytes, characters or
//!   a training text;
//! - [`Sampling`] and [`Sampler`]: which token comes next;
//! - [`Batch`]: texts that a model goes on with together, which join and leave at any time; [`Generator`]: an iterator
//!   over the tokens of one, [`TextStream`] over their text; [`TextPieces`]: the text of tokens that come one by one;
//! - [`ChatTemplate`] and [`Chat`]: conversations, with what was read kept in the model's cache;
//! - [`save_prompt`], [`open_prompt`]: what was read of a prompt, in a file;
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

mod batch;
mod chat;
mod error;
mod generate;
mod lookup;
mod perplexity;
mod prompt_cache;
mod sample;
mod stop;
mod stream;
mod template;
mod tokenizer;

pub use batch::{Batch, Left, Progress, Request, Speeds, TextId, Written};
pub use chat::{Chat, Reply};
pub use error::{Error, Result};
pub use generate::Generator;
pub use perplexity::{Perplexity, perplexity};
pub use prompt_cache::{open_prompt, save_prompt};
pub use sample::{Sampler, Sampling};
pub use stop::{Stop, check_length};
pub use stream::{TextPieces, TextStream, TextStreamOptions};
pub use template::{ChatTemplate, Message};
pub use tokenizer::{Tokenizer, write_gguf_tokenizer};

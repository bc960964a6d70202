//! Language models that learn from raw text.
//!
//! Nobody has to label a text: the label of each token is the token that comes next. So every position of every block of text is
//! one example, and a model that foresees a text well has learned what it is made of.
//!
//! A [`LanguageRecipe`](crate::LanguageRecipe) says everything that decides a run, [`train_language`] is the loop. The run's folder is at the same time a
//! model as Hugging Face publishes them: `config.json`, `model.safetensors`, `tokenizer.json`.

mod evaluate;
mod observe;
mod page;
mod session;
mod text;

pub use evaluate::{Foresight, evaluate_language};
pub use observe::{LanguageEvent, LanguageOutcome, LanguageReport};
pub(crate) use page::page;
pub use session::train_language;

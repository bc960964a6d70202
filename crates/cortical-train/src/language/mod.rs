//! Language models that learn from raw text.
//!
//! Nobody has to label a text: the label of each token is the token that comes next. So every position of every block of text is
//! one example, and a model that foresees a text well has learned what it is made of.
//!
//! What was learned so serves other tasks: a model that gets a head over classes ([`ClassifyRecipe`](crate::ClassifyRecipe)) learns them from a few
//! labelled texts. The loop is the same for both tasks.
//!
//! A [`LanguageRecipe`](crate::LanguageRecipe) says everything that decides a run, [`train_language`] is the loop. The run's folder is at the same time a
//! model as Hugging Face publishes them: `config.json`, `model.safetensors`, `tokenizer.json`.

mod classes;
mod evaluate;
mod next_token;
mod observe;
mod page;
mod session;
mod task;
mod text;
mod text_model;

pub use evaluate::{Foresight, evaluate_language};
pub use observe::{LanguageEvent, LanguageOutcome, LanguageReport, Material, TextMistake};
pub(crate) use page::page;
pub use session::train_language;
pub use text_model::TextModel;

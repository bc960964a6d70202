//! Language models that learn from raw text.
//!
//! Nobody has to label a text: the label of each token is the token that comes next. So every position of every block of text is
//! one example, and a model that foresees a text well has learned what it is made of.
//!
//! [`LanguageRecipe`] says everything that decides a run, [`LanguageRun`] is its folder, [`train_language`] the loop. The folder is at the same time a
//! model as Hugging Face publishes them: `config.json`, `model.safetensors`, `tokenizer.json`.

mod recipe;
mod run;
mod session;
mod text;

pub use recipe::{
    LANGUAGE_VERSION, LanguageData, LanguageOptim, LanguageRecipe, LanguageTrain, LoraRecipe,
};
pub use run::LanguageRun;
pub use session::{LanguageEvent, LanguageOutcome, LanguageReport, train_language};

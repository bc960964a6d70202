//! Where a text ends.

use crate::error::{Error, Result};
use cortical_models::language::LanguageModel;

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The model said that the text is at its end.
    End,
    /// As many tokens came as were asked for.
    Length,
    /// The positions that the model was made for are used up.
    Positions,
    /// A stop string came.
    Text,
}

impl Stop {
    /// The reason in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Length => "length",
            Self::Positions => "positions",
            Self::Text => "stop",
        }
    }
}

/// Refuses a text of so many tokens that is longer than what a model was made for; with `beyond`, only one that it has
/// no positions for.
///
/// # Errors
/// [`Error::LongText`].
pub fn check_length(model: &LanguageModel, tokens: usize, beyond: bool) -> Result<()> {
    let config = model.config();
    let table = config.table_positions();
    let limit = match beyond {
        true => table,
        false => Some(table.unwrap_or(config.max_positions())),
    };
    match limit {
        Some(positions) if tokens > positions => Err(Error::LongText {
            got: tokens,
            positions,
            computed: table.is_none(),
        }),
        _ => Ok(()),
    }
}

//! How tables write that a value is missing, and what to do about cells that are no numbers.

/// Whether a cell says that it has no value. `NA` stands for it in capitals only, as `Na` is sodium.
pub(super) fn is_missing(text: &str) -> bool {
    const WORDS: [&str; 9] = [
        "", "nan", "-nan", "n/a", "#n/a", "<na>", "null", "?", "none",
    ];
    text == "NA" || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Whether a label says that there is none; `None` is the name of many a class.
pub(super) fn is_no_label(text: &str) -> bool {
    !text.eq_ignore_ascii_case("none") && is_missing(text)
}

/// Bytes of a category's name that is recognised as one.
const LONGEST_WORD: usize = 32;

/// What to do about a cell that is plainly no misspelt number.
pub(super) fn advice(found: &str) -> &'static str {
    let is_word = found.len() <= LONGEST_WORD
        && found.contains(char::is_alphabetic)
        && !found.contains(|c: char| c.is_numeric())
        && !is_missing(found);
    if found.split_whitespace().count() >= 3 {
        "; texts are for a language model (`--model llama-tiny`), or leave the column out (data.ignore)"
    } else if is_word {
        "; if the column holds categories, name it in data.one_hot, or leave it out by data.ignore"
    } else {
        ""
    }
}

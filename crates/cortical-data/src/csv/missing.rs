//! How tables write that a value is missing.

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

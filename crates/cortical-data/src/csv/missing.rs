//! How tables write that a value is missing, and what to do about cells that are no numbers.

/// Whether a cell says that it has no value. `NA` stands for it in capitals only, as `Na` is sodium.
pub(super) fn is_missing(text: &str) -> bool {
    const WORDS: [&str; 9] = [
        "", "nan", "-nan", "n/a", "#n/a", "<na>", "null", "?", "none",
    ];
    text == "NA" || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// What to do about a number or category that is missing, in a table to learn from.
pub(super) const FILL: &str = "; fill it in by data.missing=mean (median, most_frequent), or leave the row out by data.missing=drop";
/// Likewise, of a category.
pub(super) const FILL_CATEGORY: &str = "; make it one of its own by data.missing=category, fill it in by data.missing=most_frequent, or leave the row out by data.missing=drop";
/// Likewise, in a table to predict from.
pub(super) const UNFILLED: &str =
    "; the model has learned from a table without missing values, and fills none in";

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
    } else if is_date(found) {
        "; dates are no numbers: name the column in data.dates (days since 1970) or data.date_parts (year, month, day, weekday), or leave it out by data.ignore"
    } else if is_grouped(found) {
        "; write numbers without signs between their digits, with a point before the fraction"
    } else if is_code(found) {
        "; if the column holds names or numbers of another notation, leave it out by data.ignore, or name it in data.one_hot"
    } else {
        ""
    }
}

/// Whether a cell looks like a date or a time: numbers with the same sign between them.
fn is_date(text: &str) -> bool {
    let part = text.split(['T', ' ']).next().unwrap_or_default();
    ['-', '/', ':', '.'].iter().any(|sign| {
        let parts: Vec<&str> = part.split(*sign).collect();
        let is_number =
            |part: &&str| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        // 1.2.3 may be a version.
        let is_year = *sign != '.' || parts.last().is_some_and(|last| last.len() == 4);
        parts.len() == 3 && parts.iter().all(is_number) && is_year
    })
}

/// Whether a cell is a name with numbers in it, or a number to another base.
fn is_code(text: &str) -> bool {
    let begins = text.starts_with(char::is_alphabetic) || text.starts_with("0x");
    let is_one = text.len() <= LONGEST_WORD && !text.contains(char::is_whitespace);
    begins && is_one && !is_missing(text)
}

/// Whether a cell is a number with signs between its digits, or a comma for the point.
fn is_grouped(text: &str) -> bool {
    let is_sign = |c: char| "_,' ".contains(c);
    text.contains(is_sign) && text.replace(is_sign, "").parse::<f64>().is_ok()
}

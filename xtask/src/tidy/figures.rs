//! The check of figures in prose: what was measured stands in `docs/benchmarks.json` and is shown by tables that are
//! made of it.

use super::Finding;
use crate::bench::documents::{ends, filled, name};
use crate::bench::records::Records;
use crate::tree::Tree;

const RECORDS: &str = "docs/benchmarks.json";

/// Pages whose figures are not those of the program now: what has changed, and pages that are made as a whole.
const OTHERS: [&str; 3] = ["docs/CHANGELOG.md", "docs/LAYERS.md", "docs/benchmarks.md"];

/// What a number is measured in.
const UNITS: [&str; 14] = [
    "%", "ns", "µs", "ms", "s", "min", "h", "seconds", "minutes", "hours", "GFLOP/s", "GB/s",
    "tokens/s", "times",
];

/// Numbers in words, before `times`.
const WORDS: [&str; 9] = [
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
];

/// Words before the number of a version.
const VERSIONED: [&str; 5] = ["PyTorch", "PEFT", "candle", "transformers", "Rust"];

/// A table of what was measured says what the records say, and no figure stands outside of one.
pub(super) fn figures(tree: &Tree) -> Vec<Finding> {
    let records = match Records::parse(tree.text(RECORDS).unwrap_or_default()) {
        Ok(records) => records,
        Err(what) => return vec![finding(RECORDS, 1, what, "measure anew, or mend the file")],
    };
    let is_page = |path: &str| path == "README.md" || path.starts_with("docs/");
    let pages = tree.files.iter().filter(|file| {
        let path = file.path.as_str();
        is_page(path) && path.ends_with(".md") && !OTHERS.contains(&path)
    });
    let mut findings = Vec::new();
    for page in pages {
        let text = page.text.as_deref().unwrap_or_default();
        match filled(text, &records) {
            Ok(want) if want == text => {}
            Ok(want) => {
                let lines = text.lines().zip(want.lines());
                let same = lines.take_while(|(got, want)| got == want).count();
                findings.push(finding(
                    &page.path,
                    same + 1,
                    "a table differs from docs/benchmarks.json".to_owned(),
                    "cargo xtask bench --peers --page writes the tables anew",
                ));
            }
            Err((line, what)) => {
                let mend = "name a table of docs/benchmarks.json";
                findings.push(finding(&page.path, line, what, mend));
            }
        }
        findings.extend(in_prose(&page.path, text));
    }
    findings
}

/// Figures outside of tables that are made, and of code.
fn in_prose(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut is_code, mut is_table) = (false, false);
    for (at, line) in text.lines().enumerate() {
        is_table = (is_table || name(line).is_some()) && !ends(line);
        if line.starts_with("```") {
            is_code = !is_code;
        } else if !is_code
            && !is_table
            && let Some(figure) = figure(line)
        {
            findings.push(finding(
                path,
                at + 1,
                format!("`{figure}` is a figure in prose, which nothing holds to a measurement"),
                "say it without a number, or put it into a table of docs/benchmarks.json",
            ));
        }
    }
    findings
}

/// The first figure of a line: a number with a unit, so many times as much, or a number with a fraction.
fn figure(line: &str) -> Option<String> {
    let prose: String = line
        .split('`')
        .step_by(2)
        .collect::<Vec<_>>()
        .join(" code ");
    let words: Vec<&str> = prose
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric() && c != '%'))
        .collect();
    let pairs = words.iter().zip(words.iter().skip(1).chain([&""]));
    let before = [&""].into_iter().chain(&words);
    pairs.zip(before).find_map(|((word, next), before)| {
        let number = word.trim_end_matches('%');
        let is_number = number.starts_with(|c: char| c.is_ascii_digit())
            && number
                .chars()
                .all(|c| c.is_ascii_digit() || ".,e-−".contains(c));
        let has_fraction = is_number && number.contains('.') && !VERSIONED.contains(before);
        let is_share = is_number && number.len() < word.len();
        let is_times = WORDS.contains(word) && *next == "times";
        let is_double = *word == "twice" && ["as", "the"].contains(next);
        if is_number && UNITS.contains(next) || is_times || is_double {
            return Some(format!("{word} {next}"));
        }
        (is_share || has_fraction).then(|| (*word).to_owned())
    })
}

fn finding(path: &str, line: usize, what: String, mend: &str) -> Finding {
    Finding {
        file: path.to_owned(),
        line,
        what,
        mend: mend.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, assert_tidy, files};
    use super::*;

    #[test]
    fn every_figure_comes_from_the_records() {
        assert_tidy(figures);
    }

    const TABLE: &str = "{\"machines\": {}, \"order\": [], \"records\": [], \"tables\": {\"runs\": {\"how\": \"by hand\", \
        \"date\": \"2026-11-26\", \"head\": [\"seed\", \"time\"], \"rows\": [[\"1\", \"60.7 s\"]]}}}";

    #[test]
    fn a_figure_that_departs_from_the_records_is_found() {
        let page = |time: &str| {
            format!(
                "A run:\n\n<!-- benchmarks.json: runs -->\n| seed | time |\n|---|---:|\n| 1 | {time} |\n<!-- end -->\n"
            )
        };
        let tree = files(&[(RECORDS, TABLE), ("docs/a.md", &page("60.7 s"))]);
        assert_finds(figures, &tree, &[]);
        let tree = files(&[(RECORDS, TABLE), ("docs/a.md", &page("60.6 s"))]);
        assert_finds(
            figures,
            &tree,
            &["docs/a.md:6: a table differs from docs/benchmarks.json"],
        );
    }

    #[test]
    fn a_figure_in_prose_is_found() {
        let said = [
            "It took 60 s in all.",
            "**93.77 %** of them,",
            "a loss of 1.3561 nats",
            "about 3 times as fast",
            "twice as fast as before",
            "takes three times PyTorch's time",
            "at 93 GFLOP/s a thread",
        ];
        let tree = files(&[(RECORDS, TABLE), ("README.md", &said.join("\n"))]);
        let want = [
            "60 s",
            "93.77 %",
            "1.3561",
            "3 times",
            "twice as",
            "three times",
            "93 GFLOP/s",
        ];
        let want: Vec<String> = want
            .iter()
            .zip(1..)
            .map(|(figure, line)| {
                format!("README.md:{line}: `{figure}` is a figure in prose, which nothing holds to a measurement")
            })
            .collect();
        let want: Vec<&str> = want.iter().map(String::as_str).collect();
        assert_finds(figures, &tree, &want);
    }

    #[test]
    fn sizes_versions_and_settings_are_no_figures() {
        let text = "PyTorch 2.15 with `lr = 0.1`, 64 samples, 1,797 pictures, 4 KiB, `60 s`\n```\n60 s\n```\n";
        let tree = files(&[
            (RECORDS, TABLE),
            ("docs/a.md", text),
            ("docs/CHANGELOG.md", "60 s"),
        ]);
        assert_finds(figures, &tree, &[]);
    }
}

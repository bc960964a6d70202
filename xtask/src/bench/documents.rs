//! Tables of pages that people write: their rows come from what was measured.
//!
//! A page asks for a table with two lines, between which its rows are written:
//!
//! ```text
//! <!-- benchmarks.json: NAME -->
//! <!-- end -->
//! ```

use super::records::{Records, Table};

const BEGIN: &str = "<!-- benchmarks.json: ";
const END: &str = "<!-- end -->";

/// A page with the rows of its tables, or the line and the reason why one cannot be made.
pub(crate) fn filled(text: &str, records: &Records) -> Result<String, (usize, String)> {
    let mut page = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        push(&mut page, line);
        let Some(name) = name(line) else {
            continue;
        };
        let Some(table) = records.tables.get(name) else {
            return Err((at + 1, format!("there is no table `{name}`")));
        };
        if !lines.any(|(_, line)| line == END) {
            return Err((at + 1, format!("the table `{name}` has no line `{END}`")));
        }
        for row in rows(table) {
            push(&mut page, &row);
        }
        push(&mut page, END);
    }
    if !text.ends_with('\n') {
        page.pop();
    }
    Ok(page)
}

/// The name of the table that begins with this line.
pub(crate) fn name(line: &str) -> Option<&str> {
    line.strip_prefix(BEGIN)?.strip_suffix(" -->")
}

/// Whether a table ends with this line.
pub(crate) fn ends(line: &str) -> bool {
    line == END
}

fn push(page: &mut String, line: &str) {
    page.push_str(line);
    page.push('\n');
}

fn rows(table: &Table) -> Vec<String> {
    let row = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let rule = format!(
        "|---|{}",
        "---:|".repeat(table.head.len().saturating_sub(1))
    );
    let mut rows = vec![row(&table.head), rule];
    rows.extend(table.rows.iter().map(|cells| row(cells)));
    rows
}

#[cfg(test)]
mod tests {
    use super::super::records::testing::sample;
    use super::*;

    #[test]
    fn rows_are_those_that_were_measured() {
        let page = "Two runs:\n\n<!-- benchmarks.json: two_runs -->\nolder\n<!-- end -->\nEnd.\n";
        let want = "Two runs:\n\n<!-- benchmarks.json: two_runs -->\n| seed | time |\n|---|---:|\n\
                    | 1 | 60 s |\n| 2 | 61 s |\n<!-- end -->\nEnd.\n";
        assert_eq!(filled(page, &sample()), Ok(want.to_owned()));
        assert_eq!(filled(want, &sample()), Ok(want.to_owned()));
    }

    #[test]
    fn what_is_asked_for_must_be_there_and_end() {
        let error = filled(
            "a\n<!-- benchmarks.json: three -->\n<!-- end -->\n",
            &sample(),
        );
        assert_eq!(error, Err((2, "there is no table `three`".to_owned())));
        let error = filled("<!-- benchmarks.json: two_runs -->\n", &sample());
        let why = "the table `two_runs` has no line `<!-- end -->`";
        assert_eq!(error, Err((1, why.to_owned())));
    }
}

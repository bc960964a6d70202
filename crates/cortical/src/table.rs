//! Columns that stand under each other.

use crate::style::Style;

/// On which side of a column the text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of text under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&str, Align)]) -> Self {
        let columns = columns
            .iter()
            .map(|(name, align)| ((*name).to_owned(), *align));
        Self {
            columns: columns.collect(),
            rows: Vec::new(),
        }
    }

    /// A row; what would leave its line is shown escaped.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        let cells = cells
            .into_iter()
            .map(|cell| match cell.contains(char::is_control) {
                true => cell.escape_debug().to_string(),
                false => cell,
            });
        self.rows.push(cells.collect());
    }

    /// The table, two spaces between columns and before each line, with nothing at the ends of lines.
    pub(crate) fn render(&self, style: &Style) -> String {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let widths = cells
                .chain([&self.columns[at].0])
                .map(|cell| cell.chars().count());
            widths.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &mut dyn Iterator<Item = &String>| {
            let mut text = String::new();
            for ((cell, width), (_, align)) in cells.zip(&widths).zip(&self.columns) {
                let gap = " ".repeat(width - cell.chars().count());
                match align {
                    Align::Left => text += &format!("  {cell}{gap}"),
                    Align::Right => text += &format!("  {gap}{cell}"),
                }
            }
            text.trim_end().to_owned()
        };
        let head = line(&mut self.columns.iter().map(|(name, _)| name));
        let mut text = style.bold(&head) + "\n";
        for row in &self.rows {
            text += &line(&mut row.iter());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::new(&[("name", Align::Left), ("n", Align::Right)]);
        table.row(vec!["é".to_owned(), "10".to_owned()]);
        table.row(vec!["longer".to_owned(), "9".to_owned()]);
        let plain = Style::new(false);
        assert_eq!(
            table.render(&plain),
            "  name     n\n  é       10\n  longer   9\n"
        );
    }

    #[test]
    fn a_cell_stays_on_its_line() {
        let mut table = Table::new(&[("name", Align::Left)]);
        table.row(vec!["a\nb\x1b[2J".to_owned()]);
        let text = table.render(&Style::new(false));
        assert_eq!(text, "  name\n  a\\nb\\u{1b}[2J\n");
    }
}

//! Just enough of TOML to see a manifest's tables with their lines: what `cargo metadata` does not tell.

/// A key of a table, with everything to the right of its `=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) line: usize,
    /// The key with its dots: `serde.workspace`.
    pub(crate) key: String,
    /// The value with comments and line ends taken out.
    pub(crate) value: String,
}

/// The entries of every table whose header `is` accepts. Values over several lines are joined.
pub(crate) fn entries(manifest: &str, is: impl Fn(&str) -> bool) -> Vec<Entry> {
    let mut inside = false;
    let mut entries: Vec<Entry> = Vec::new();
    let mut open = 0_i64;
    for (index, line) in manifest.lines().enumerate() {
        let line = without_comment(line).trim();
        if line.is_empty() {
            continue;
        }
        let brackets = depth(line);
        if open > 0 {
            if let Some(entry) = entries.last_mut().filter(|_| inside) {
                entry.value.push_str(line);
            }
            open += brackets;
        } else if let Some(header) = line.strip_prefix('[') {
            inside = is(header.trim_matches(['[', ']']).trim());
        } else {
            open = brackets;
            if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
                entries.push(Entry {
                    line: index + 1,
                    key: key.trim().to_owned(),
                    value: value.trim().to_owned(),
                });
            }
        }
    }
    entries
}

/// A line up to its `#`, unless that stands in a string.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let end = line.find(|c| {
        quoted ^= c == '"';
        c == '#' && !quoted
    });
    &line[..end.unwrap_or(line.len())]
}

/// How many more brackets and braces a line opens than it closes, strings left out.
fn depth(line: &str) -> i64 {
    let outside = line.split('"').step_by(2).flat_map(str::chars);
    outside.fold(0, |depth, c| match c {
        '[' | '{' => depth + 1,
        ']' | '}' => depth - 1,
        _ => depth,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_lines_and_joined_values() {
        let manifest = "[package]\nname = \"x\"\n\n[dependencies] # ours\na.workspace = true\n\
                        b = { version = \"1#2\", # why\n  features = [\n    \"c\",\n] }\n[lints]\nworkspace = true\n";
        let got = entries(manifest, |header| header == "dependencies");
        let entry = |line, key: &str, value: &str| Entry {
            line,
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let want = [
            entry(5, "a.workspace", "true"),
            entry(6, "b", "{ version = \"1#2\",features = [\"c\",] }"),
        ];
        assert_eq!(got, want);
        assert_eq!(
            entries(manifest, |header| header == "lints"),
            [entry(11, "workspace", "true")]
        );
    }
}

//! Checks of Rust sources: their docs, their length, and what they may touch.

use super::Finding;
use crate::rust_source::{Path, Token, paths, tokens};
use crate::tree::Tree;

/// A file longer than this is reported.
const LONG_LINES: usize = 500;
/// A file longer than this is refused.
const TOO_LONG_LINES: usize = 600;

/// A comment's line may have so many columns.
const COMMENT_COLUMNS: usize = 120;

/// Who may say `unsafe`, as the beginning of a path.
const UNSAFE: [&str; 2] = ["crates/cortical-kernels/", "crates/cortical-io/src/mmap.rs"];

/// Who may touch files.
const FILES: [&str; 11] = [
    "benches/",
    "crates/cortical-conformance/",
    "crates/cortical-data/",
    "crates/cortical-explain/",
    "crates/cortical-io/",
    "crates/cortical-prune/",
    "crates/cortical-testkit/",
    "crates/cortical-text/",
    "crates/cortical-train/",
    "crates/cortical/",
    "xtask/",
];

/// Who may use the network.
const NETWORK: [&str; 2] = ["crates/cortical-serve/", "crates/cortical/"];

/// Who may end the process.
const EXIT: [&str; 2] = ["crates/cortical/", "xtask/"];

/// Every file says first what it is.
pub(super) fn begins_with_docs(tree: &Tree) -> Vec<Finding> {
    tree.rust_files()
        .filter(|(_, text)| {
            let first = text.lines().next().unwrap_or_default();
            first
                .strip_prefix("//!")
                .is_none_or(|said| said.trim().is_empty())
        })
        .map(|(path, _)| Finding {
            file: path.to_owned(),
            line: 1,
            what: "does not begin with a `//!` sentence".to_owned(),
            mend: "say on the first line what the file is".to_owned(),
        })
        .collect()
}

/// `unsafe` lives in two places, where somebody looks for it.
pub(super) fn unsafe_code(tree: &Tree) -> Vec<Finding> {
    find(tree, &UNSAFE, |_, tokens| {
        tokens
            .iter()
            .filter(|token| token.text == "unsafe")
            .map(|token| (token.line, "`unsafe` outside its two homes".to_owned()))
            .collect()
    })
}

/// Where something may happen, how to see it, and what it does.
type Rule = (&'static [&'static str], fn(&Path<'_>) -> bool, &'static str);

/// Files, network and exit each have their homes, so that a library never surprises its caller.
pub(super) fn outside_world(tree: &Tree) -> Vec<Finding> {
    let rules: [Rule; 3] = [
        (&FILES, is_files, "touches files"),
        (&NETWORK, is_network, "uses the network"),
        (&EXIT, is_exit, "ends the process"),
    ];
    let mut findings = Vec::new();
    for (homes, is, does) in rules {
        findings.extend(find(tree, homes, |paths, _| {
            paths
                .iter()
                .filter(|path| is(path))
                .map(|path| (path.line, format!("`{}` {does}", path.segments.join("::"))))
                .collect()
        }));
    }
    findings
}

fn is_files(path: &Path<'_>) -> bool {
    matches!(
        path.segments[..],
        ["std", "fs", ..] | ["fs" | "File" | "OpenOptions", _, ..]
    )
}

fn is_network(path: &Path<'_>) -> bool {
    matches!(
        path.segments[..],
        ["std", "net", ..] | ["TcpStream" | "TcpListener" | "UdpSocket", _, ..]
    )
}

fn is_exit(path: &Path<'_>) -> bool {
    path.segments
        .windows(2)
        .any(|pair| matches!(pair, ["process", "exit" | "abort"]))
}

/// A name has one home: no crate hands on what another one of ours holds.
pub(super) fn re_exports(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree.rust_files() {
        for three in tokens(text).windows(3) {
            if let ["pub", "use", sibling] = [0, 1, 2].map(|i| three[i].text)
                && sibling.starts_with("cortical_")
            {
                findings.push(Finding {
                    file: file.to_owned(),
                    line: three[0].line,
                    what: format!("hands on items of `{sibling}`"),
                    mend: format!("import them from `{sibling}` where they are used"),
                });
            }
        }
    }
    findings
}

/// What `look` finds in the files outside `homes`.
fn find(
    tree: &Tree,
    homes: &[&str],
    look: impl Fn(&[Path<'_>], &[Token<'_>]) -> Vec<(usize, String)>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let strangers = tree
        .rust_files()
        .filter(|(path, _)| !homes.iter().any(|home| path.starts_with(home)));
    for (file, text) in strangers {
        let tokens = tokens(text);
        for (line, what) in look(&paths(&tokens), &tokens) {
            findings.push(Finding {
                file: file.to_owned(),
                line,
                what,
                mend: format!("leave it to {}", homes.join(", ")),
            });
        }
    }
    findings
}

/// A file can be read in one sitting.
pub(super) fn too_long(tree: &Tree) -> Vec<Finding> {
    lengths(tree, TOO_LONG_LINES)
        .map(|(path, lines)| Finding {
            file: path.to_owned(),
            line: TOO_LONG_LINES + 1,
            what: format!("has {lines} lines; {TOO_LONG_LINES} is the most a file may have"),
            mend: format!("split it by subject; about {LONG_LINES} lines is a good file"),
        })
        .collect()
}

/// Files that want a reason for their length, but are not refused for it.
pub(super) fn long_files(tree: &Tree) -> Vec<String> {
    lengths(tree, LONG_LINES)
        .map(|(path, lines)| format!("note: {path} has {lines} lines, more than {LONG_LINES}"))
        .collect()
}

/// Comments can be read beside code. The row of a table is left alone, it cannot be broken.
pub(super) fn wide_comments(tree: &Tree) -> Vec<Finding> {
    let is_wide = |line: &str| {
        let text = line.trim_start();
        let comment = ["//! |", "/// |"].iter().all(|row| !text.starts_with(row));
        comment && text.starts_with("//") && line.chars().count() > COMMENT_COLUMNS
    };
    tree.rust_files()
        .flat_map(|(path, text)| text.lines().enumerate().map(move |line| (path, line)))
        .filter(|(_, (_, line))| is_wide(line))
        .map(|(path, (index, line))| Finding {
            file: path.to_owned(),
            line: index + 1,
            what: format!("a comment of {} columns", line.chars().count()),
            mend: format!("wrap it at {COMMENT_COLUMNS}"),
        })
        .collect()
}

fn lengths(tree: &Tree, more_than: usize) -> impl Iterator<Item = (&str, usize)> {
    tree.rust_files()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(move |(_, lines)| *lines > more_than)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, assert_tidy, files};
    use super::*;

    #[test]
    fn comments_are_narrow() {
        assert_tidy(wide_comments);
    }

    #[test]
    fn a_wide_comment_is_found() {
        let (fits, long) = ("é".repeat(117), "é".repeat(118));
        let text =
            format!("// {fits}\n    // {fits}\nlet x = \"{long}\";\n/// {long}\n//! | {long} |\n");
        let tree = files(&[("crates/a/src/x.rs", &text)]);
        assert_finds(
            wide_comments,
            &tree,
            &[
                "crates/a/src/x.rs:2: a comment of 124 columns",
                "crates/a/src/x.rs:4: a comment of 122 columns",
            ],
        );
    }

    #[test]
    fn every_file_begins_with_docs() {
        assert_tidy(begins_with_docs);
    }

    #[test]
    fn a_file_without_docs_is_found() {
        let tree = files(&[
            ("crates/a/src/good.rs", "//! Good.\n"),
            ("crates/a/src/late.rs", "use b;\n//! Late.\n"),
            ("crates/a/src/none.rs", ""),
            ("crates/a/src/says_nothing.rs", "//!\nfn f() {}\n"),
        ]);
        let what = "does not begin with a `//!` sentence";
        let want = ["late", "none", "says_nothing"]
            .map(|name| format!("crates/a/src/{name}.rs:1: {what}"));
        assert_finds(
            begins_with_docs,
            &tree,
            &want.each_ref().map(String::as_str),
        );
    }

    #[test]
    fn unsafe_is_at_home() {
        assert_tidy(unsafe_code);
    }

    #[test]
    fn unsafe_elsewhere_is_found() {
        let code = "//! It says unsafe.\n#![deny(unsafe_code)]\nconst S: &str = \"unsafe\";\nunsafe { f() }\n";
        let tree = files(&[
            ("crates/cortical-io/src/mmap.rs", code),
            ("crates/cortical-io/src/reader.rs", code),
            ("crates/cortical-kernels/src/x.rs", code),
            ("crates/cortical-tensor/src/x.rs", code),
        ]);
        assert_finds(
            unsafe_code,
            &tree,
            &[
                "crates/cortical-io/src/reader.rs:4: `unsafe` outside its two homes",
                "crates/cortical-tensor/src/x.rs:4: `unsafe` outside its two homes",
            ],
        );
    }

    #[test]
    fn files_network_and_exit_are_at_home() {
        assert_tidy(outside_world);
    }

    #[test]
    fn files_network_and_exit_elsewhere_are_found() {
        let tree = files(&[
            ("crates/cortical-data/src/a.rs", "use std::fs;"),
            (
                "crates/cortical/src/main.rs",
                "use std::{fs, net::TcpStream}; process::exit(1)",
            ),
            (
                "crates/cortical-neuron/src/a.rs",
                "// std::fs\nuse std::{io, fs};\nfs::read(p);",
            ),
            (
                "crates/cortical-neuron/src/b.rs",
                "\nlet f = File::open(p);",
            ),
            ("crates/cortical-data/src/b.rs", "use std::net::TcpStream;"),
            (
                "crates/cortical-serve/src/b.rs",
                "use std::net::TcpListener;",
            ),
            (
                "crates/cortical-train/src/c.rs",
                "use std::process;\nprocess::exit(3);",
            ),
            (
                "xtask/src/d.rs",
                "std::process::exit(3); std::net::lookup()",
            ),
        ]);
        assert_finds(
            outside_world,
            &tree,
            &[
                "crates/cortical-neuron/src/a.rs:2: `std::fs` touches files",
                "crates/cortical-neuron/src/a.rs:3: `fs::read` touches files",
                "crates/cortical-neuron/src/b.rs:2: `File::open` touches files",
                "crates/cortical-data/src/b.rs:1: `std::net::TcpStream` uses the network",
                "xtask/src/d.rs:1: `std::net::lookup` uses the network",
                "crates/cortical-train/src/c.rs:2: `process::exit` ends the process",
            ],
        );
    }

    #[test]
    fn a_name_has_one_home() {
        assert_tidy(re_exports);
    }

    #[test]
    fn items_handed_on_are_found() {
        let tree = files(&[
            (
                "crates/a/src/lib.rs",
                "//! A.\nuse cortical_b::C;\npub use d::E;\npub(crate) use cortical_b::F;\n",
            ),
            (
                "crates/a/src/b.rs",
                "//! pub use cortical_b::C;\n\npub use cortical_b::{C, d};\n",
            ),
        ]);
        assert_finds(
            re_exports,
            &tree,
            &["crates/a/src/b.rs:3: hands on items of `cortical_b`"],
        );
    }

    #[test]
    fn files_can_be_read_in_one_sitting() {
        assert_tidy(too_long);
    }

    #[test]
    fn long_files_are_reported_and_longer_ones_refused() {
        let text = |lines: usize| "//! x\n".repeat(lines);
        let tree = files(&[
            ("a.rs", &text(500)),
            ("b.rs", &text(501)),
            ("c.rs", &text(600)),
            ("d.rs", &text(601)),
            ("e.md", &text(2000)),
        ]);
        assert_finds(
            too_long,
            &tree,
            &["d.rs:601: has 601 lines; 600 is the most a file may have"],
        );
        let report = long_files(&tree);
        assert_eq!(report.len(), 3, "{report:?}");
        assert_eq!(report[0], "note: b.rs has 501 lines, more than 500");
    }
}

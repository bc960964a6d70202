//! Checks of every committed file, whatever it holds.

use super::Finding;
use crate::tree::Tree;
use std::collections::BTreeSet;

/// What may stand at the root besides dot files.
const TOP_LEVEL: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "NOTICE",
    "README.md",
    "benches",
    "crates",
    "docs",
    "xtask",
];

/// First folders of paths that mean something on one machine only. Spelled without their slashes, so
/// that this file does not trip over itself.
const MACHINE_FOLDERS: [&str; 4] = ["home", "root", "work", "Users"];

/// No text names a path of somebody's machine: it would be wrong, or tell too much, anywhere else.
pub(super) fn machine_paths(tree: &Tree) -> Vec<Finding> {
    let unix = MACHINE_FOLDERS.map(|folder| format!("/{folder}/"));
    let windows = ["\\", "/", "\\\\"].map(|slash| format!("C:{slash}Users"));
    let needles: Vec<&String> = unix.iter().chain(&windows).collect();
    let mut findings = Vec::new();
    for file in &tree.files {
        let lines = file.text.as_deref().unwrap_or_default().lines();
        for (index, line) in lines.enumerate() {
            for needle in needles.iter().filter(|needle| names_path(line, needle)) {
                findings.push(Finding {
                    file: file.path.clone(),
                    line: index + 1,
                    what: format!("names a path of one machine (`{needle}`)"),
                    mend: "make it relative to the repository, or a placeholder such as RUN"
                        .to_owned(),
                });
            }
        }
    }
    findings
}

/// Whether `line` holds `needle` as the start of an absolute path rather than in the middle of a longer one.
fn names_path(line: &str, needle: &str) -> bool {
    line.match_indices(needle).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.}~$".contains(c))
    })
}

/// The root stays a short list, so that a newcomer sees the repository at a glance.
pub(super) fn top_level(tree: &Tree) -> Vec<Finding> {
    let entries: BTreeSet<&str> = tree
        .files
        .iter()
        .filter_map(|file| file.path.split('/').next())
        .collect();
    entries
        .into_iter()
        .filter(|entry| !entry.starts_with('.') && !TOP_LEVEL.contains(entry))
        .map(|entry| Finding {
            file: entry.to_owned(),
            line: 1,
            what: "does not belong at the root of the repository".to_owned(),
            mend: "move it into crates/, xtask/, benches/ or docs/, or add it to .gitignore"
                .to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, assert_tidy, files};
    use super::*;

    #[test]
    fn no_file_names_a_machine_path() {
        assert_tidy(machine_paths);
    }

    #[test]
    fn a_machine_path_is_found_in_any_text() {
        let home = format!("see ~\n\"{}me/ann/x\"", "/ho");
        let users = format!("x = {}Users\\ann", "C:\\");
        let url = format!("file://{}ot/a", "/ro");
        let tree = files(&[("a.md", &home), ("b.toml", &users), ("c.rs", &url)]);
        let found = |needle: String| format!("names a path of one machine (`{needle}`)");
        let want = [
            format!("a.md:2: {}", found(format!("{}me/", "/ho"))),
            format!("b.toml:1: {}", found(format!("{}Users", "C:\\"))),
            format!("c.rs:1: {}", found(format!("{}ot/", "/ro"))),
        ];
        assert_finds(machine_paths, &tree, &want.each_ref().map(String::as_str));
    }

    #[test]
    fn a_relative_path_is_no_machine_path() {
        let inner = format!("frame{wo}rk/x .{wo}rk/y $HOME{wo}rk/", wo = "/wo");
        let tree = files(&[
            ("a.md", &inner),
            ("b.md", "/usr/share/datasets/ /tmp/ the /home page"),
        ]);
        assert_finds(machine_paths, &tree, &[]);
    }

    #[test]
    fn the_root_is_short() {
        assert_tidy(top_level);
    }

    #[test]
    fn a_stray_entry_at_the_root_is_found() {
        let tree = files(&[
            (".ci/run", ""),
            ("README.md", ""),
            ("notes.txt", ""),
            ("src/lib.rs", ""),
        ]);
        assert_finds(
            top_level,
            &tree,
            &[
                "notes.txt:1: does not belong at the root of the repository",
                "src:1: does not belong at the root of the repository",
            ],
        );
    }
}

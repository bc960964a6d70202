//! The check of circles: files of a crate that import each other, which can only be understood together.

use super::Finding;
use crate::modules::{Edge, Graph, graph};
use crate::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};

/// How the reason for an import that closes a circle begins, in a comment on its line or right above.
const REASON: &str = "// circle: ";

/// Files import each other in a circle only with a reason beside one of the imports that close it.
///
/// The files of a folder and the module above them are one whole: that they use what stands there is no circle. The
/// crate's root is no such module, it stands above everything.
pub(super) fn circles(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        let src = format!("{}/src/", package.folder);
        let sources: Vec<(&str, &str)> = tree
            .rust_files()
            .filter(|(path, _)| path.starts_with(&src))
            .collect();
        let mut graph = graph(&sources, &src);
        let files = graph.files.clone();
        let roots = ["lib.rs", "main.rs"].map(|root| format!("{src}{root}"));
        graph.edges.retain(|edge| {
            let (from, to) = (files[edge.from], files[edge.to]);
            roots.iter().any(|root| root == to) || !is_below(from, to)
        });
        findings.extend(of_crate(&graph, &sources));
    }
    findings
}

/// Whether a file stands in the folder of the module that another one holds.
fn is_below(file: &str, module: &str) -> bool {
    let folder = module
        .strip_suffix("mod.rs")
        .or_else(|| module.strip_suffix(".rs"));
    folder.is_some_and(|folder| file.starts_with(&format!("{}/", folder.trim_end_matches('/'))))
}

fn of_crate(graph: &Graph<'_>, sources: &[(&str, &str)]) -> Vec<Finding> {
    let is_excused = |edge: &&Edge| has_reason(sources[edge.from].1, edge);
    let (excused, plain): (Vec<&Edge>, Vec<&Edge>) = graph.edges.iter().partition(is_excused);
    let excused: BTreeSet<(usize, usize)> = excused.iter().map(|e| (e.from, e.to)).collect();
    let mut plain: Vec<&Edge> = plain
        .into_iter()
        .filter(|edge| !excused.contains(&(edge.from, edge.to)))
        .collect();
    let mut findings = Vec::new();
    while let Some(circle) = shortest_circle(&plain) {
        let what: Vec<String> = circle
            .iter()
            .map(|edge| {
                let (from, to) = (graph.files[edge.from], graph.files[edge.to]);
                format!("{from}:{} imports {to} (`{}`)", edge.line, edge.path)
            })
            .collect();
        findings.push(Finding {
            file: graph.files[circle[0].from].to_owned(),
            line: circle[0].line,
            what: format!("a circle: {}", what.join(", ")),
            mend: format!(
                "move what both need into a file of its own, or say `{REASON}why` above one of the imports"
            ),
        });
        // One finding for a group of files: the next circle has none of these imports.
        let seen: BTreeSet<_> = circle.iter().map(|edge| (edge.from, edge.to)).collect();
        plain.retain(|edge| !seen.contains(&(edge.from, edge.to)));
    }
    findings.extend(idle_reasons(graph, sources));
    findings
}

/// Reasons beside imports that are in no circle any more.
fn idle_reasons(graph: &Graph<'_>, sources: &[(&str, &str)]) -> Vec<Finding> {
    let all: Vec<&Edge> = graph.edges.iter().collect();
    let idle = |edge: &&Edge| {
        has_reason(sources[edge.from].1, edge) && way(&all, edge.to, edge.from).is_none()
    };
    graph
        .edges
        .iter()
        .filter(idle)
        .map(|edge| Finding {
            file: graph.files[edge.from].to_owned(),
            line: edge.line,
            what: format!("a reason for a circle that is not there (`{}`)", edge.path),
            mend: "take the comment out".to_owned(),
        })
        .collect()
}

/// Whether a comment beside an import says why it closes a circle.
fn has_reason(text: &str, edge: &Edge) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let line = |number: usize| number.checked_sub(1).and_then(|at| lines.get(at)).copied();
    let says = |number: usize| {
        line(number).is_some_and(|line| {
            let reason = line.split_once(REASON).map(|(_, why)| why.trim());
            reason.is_some_and(|why| !why.is_empty())
        })
    };
    let above = |number: usize| {
        (1..number)
            .rev()
            .take_while(|at| line(*at).is_some_and(|line| line.trim_start().starts_with("//")))
            .any(says)
    };
    says(edge.line) || above(edge.line) || above(edge.statement)
}

/// The circle of the fewest imports, beginning with its first file.
fn shortest_circle<'a>(edges: &[&'a Edge]) -> Option<Vec<&'a Edge>> {
    let circles = edges.iter().filter_map(|edge| {
        let mut circle = vec![*edge];
        circle.extend(way(edges, edge.to, edge.from)?);
        Some(circle)
    });
    circles.min_by_key(|circle| (circle.len(), circle[0].from, circle[0].line))
}

/// The shortest way along imports from one file to another.
fn way<'a>(edges: &[&'a Edge], from: usize, to: usize) -> Option<Vec<&'a Edge>> {
    let mut came_by: BTreeMap<usize, &Edge> = BTreeMap::new();
    let mut front = vec![from];
    while !front.is_empty() && !came_by.contains_key(&to) {
        let mut next = Vec::new();
        for edge in edges.iter().filter(|edge| front.contains(&edge.from)) {
            if edge.to != from && !came_by.contains_key(&edge.to) {
                came_by.insert(edge.to, edge);
                next.push(edge.to);
            }
        }
        front = next;
    }
    let mut way = Vec::new();
    let mut at = to;
    while at != from {
        let edge = came_by.get(&at)?;
        way.push(*edge);
        at = edge.from;
    }
    way.reverse();
    Some(way)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, assert_tidy, files, package};
    use super::*;

    #[track_caller]
    fn check(sources: &[(&str, &str)], want: &[&str]) {
        let mut tree = files(sources);
        tree.packages.push(package("p", 1, vec![]));
        assert_finds(circles, &tree, want);
    }

    #[test]
    fn no_files_import_each_other_without_a_reason() {
        assert_tidy(circles);
    }

    const ROOT: (&str, &str) = (
        "crates/p/src/lib.rs",
        "mod a;\nmod b;\nmod c;\npub use a::A;\n",
    );

    #[test]
    fn a_circle_is_found() {
        check(
            &[
                ("crates/p/src/a.rs", "use crate::b::B;\npub struct A;\n"),
                ("crates/p/src/b.rs", "pub struct B;\nuse super::A;\n"),
                ROOT,
            ],
            &[
                "crates/p/src/a.rs:1: a circle: crates/p/src/a.rs:1 imports crates/p/src/b.rs (`crate::b::B`), \
                 crates/p/src/b.rs:2 imports crates/p/src/a.rs (`super::A`)",
            ],
        );
    }

    #[test]
    fn a_circle_of_three_is_found_whatever_else_they_import() {
        check(
            &[
                ("crates/p/src/a.rs", "pub struct A;\nuse crate::b::B;\n"),
                (
                    "crates/p/src/b.rs",
                    "use crate::c::{C, D};\npub struct B;\n",
                ),
                (
                    "crates/p/src/c.rs",
                    "use crate::a::A;\npub struct C; pub struct D;\n",
                ),
                ROOT,
            ],
            &[
                "crates/p/src/a.rs:2: a circle: crates/p/src/a.rs:2 imports crates/p/src/b.rs (`crate::b::B`), \
                 crates/p/src/b.rs:1 imports crates/p/src/c.rs (`crate::c::C`), \
                 crates/p/src/c.rs:1 imports crates/p/src/a.rs (`crate::a::A`)",
            ],
        );
    }

    #[test]
    fn a_circle_with_a_reason_is_none() {
        let b = ("crates/p/src/b.rs", "use super::A;\npub struct B;\n");
        for a in [
            "// circle: they are two ends of one thing\nuse crate::b::B;\npub struct A;\n",
            "use crate::b::B; // circle: they are two ends of one thing\npub struct A;\n",
            "// circle: they are two ends of one thing,\n// as the paper has it\nuse crate::{\n    b::B\n};\npub struct A;\n",
        ] {
            check(&[("crates/p/src/a.rs", a), b, ROOT], &[]);
        }
        let silent = "// circle: \nuse crate::b::B;\npub struct A;\n";
        check(
            &[("crates/p/src/a.rs", silent), b, ROOT],
            &[
                "crates/p/src/a.rs:2: a circle: crates/p/src/a.rs:2 imports crates/p/src/b.rs (`crate::b::B`), \
                 crates/p/src/b.rs:1 imports crates/p/src/a.rs (`super::A`)",
            ],
        );
    }

    #[test]
    fn a_reason_without_a_circle_is_found() {
        check(
            &[
                (
                    "crates/p/src/a.rs",
                    "// circle: once there was one\nuse crate::b::B;\n",
                ),
                ("crates/p/src/b.rs", "pub struct B;\n"),
                ROOT,
            ],
            &["crates/p/src/a.rs:2: a reason for a circle that is not there (`crate::b::B`)"],
        );
    }

    #[test]
    fn a_file_may_use_the_module_above_it_but_not_the_root() {
        for above in ["crates/p/src/a/mod.rs", "crates/p/src/a.rs"] {
            check(
                &[
                    (above, "mod b;\nuse b::B;\npub struct A;\n"),
                    ("crates/p/src/a/b.rs", "use super::A;\npub struct B;\n"),
                    ("crates/p/src/lib.rs", "mod a;\n"),
                ],
                &[],
            );
        }
        check(
            &[
                ("crates/p/src/a.rs", "use crate::X;\npub struct A;\n"),
                ("crates/p/src/lib.rs", "mod a;\npub struct X(a::A);\n"),
            ],
            &[
                "crates/p/src/a.rs:1: a circle: crates/p/src/a.rs:1 imports crates/p/src/lib.rs (`crate::X`), \
                 crates/p/src/lib.rs:2 imports crates/p/src/a.rs (`a::A`)",
            ],
        );
    }

    #[test]
    fn a_file_may_use_what_it_hands_on_to_nobody() {
        check(
            &[
                ("crates/p/src/a.rs", "pub struct A;\n"),
                ("crates/p/src/b.rs", "use crate::A;\n"),
                ROOT,
            ],
            &[],
        );
    }
}

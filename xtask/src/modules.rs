//! Which files of a crate name which: its modules, their imports and their paths, as far as the text tells.
//!
//! A re-export is followed to the file that holds the item, so a crate's root does not lead to everything. Code for
//! tests is left out, and so are methods, whose types are found by no path.

use crate::rust_source::{Import, Path, Token, paths, tokens};
use std::collections::{BTreeMap, BTreeSet};

/// A file names something of another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    /// The files, as positions in [`Graph::files`].
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) line: usize,
    /// Where the statement begins: another line for an import over several lines.
    pub(crate) statement: usize,
    /// What is named, as the code writes it.
    pub(crate) path: String,
}

/// The files of one crate and what they name of each other.
#[derive(Debug, Default)]
pub(crate) struct Graph<'a> {
    pub(crate) files: Vec<&'a str>,
    pub(crate) edges: Vec<Edge>,
}

/// How many imports of imports are followed.
const MAX_HOPS: usize = 16;

/// A module's path from the root of its crate.
type Name<'a> = Vec<&'a str>;

/// A module: a file, or an inline module inside one.
struct Module<'a> {
    file: usize,
    tokens: Vec<Token<'a>>,
    paths: Vec<Path<'a>>,
    /// The items that are defined here.
    items: BTreeSet<&'a str>,
}

/// Reads the sources of a crate, given as paths and texts; `src` is the folder of its root, with a slash at its end.
pub(crate) fn graph<'a>(sources: &[(&'a str, &'a str)], src: &str) -> Graph<'a> {
    let files: Vec<&str> = sources.iter().map(|(path, _)| *path).collect();
    let mut modules = BTreeMap::new();
    let mut tests = Vec::new();
    for (file, (path, text)) in sources.iter().enumerate() {
        if let Some(name) = path.strip_prefix(src).and_then(name_of) {
            add(&mut modules, &mut tests, name, file, tokens(text));
        }
    }
    modules.retain(|name, _| !tests.iter().any(|test| name.starts_with(test)));
    let crate_ = Crate { modules };
    let edges = crate_
        .modules
        .iter()
        .flat_map(|(name, module)| crate_.edges(name, module))
        .collect();
    Graph { files, edges }
}

/// The module that a file of `src` holds.
fn name_of(file: &str) -> Option<Name<'_>> {
    let mut name: Vec<&str> = file.strip_suffix(".rs")?.split('/').collect();
    if matches!(name[..], ["lib" | "main"]) || name.last() == Some(&"mod") {
        name.pop();
    }
    Some(name)
}

/// Adds a module and those inside it; modules for tests are noted in `tests`.
fn add<'a>(
    modules: &mut BTreeMap<Name<'a>, Module<'a>>,
    tests: &mut Vec<Name<'a>>,
    name: Name<'a>,
    file: usize,
    tokens: Vec<Token<'a>>,
) {
    let mut own = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        let text = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text);
        if is_test_attribute(&tokens, at) {
            let (inner, end) = item(&tokens, at);
            if let Some(module) = inner {
                tests.push(joined(&name, module));
            }
            at = end;
        } else if text(0) == "mod" && text(2) == "{" {
            let end = closing(&tokens, at + 2);
            let inner = joined(&name, tokens[at + 1].text);
            let body = tokens[at + 3..end.max(at + 3)].to_vec();
            add(modules, tests, inner, file, body);
            at = end + 1;
        } else {
            own.push(tokens[at]);
            at += 1;
        }
    }
    let module = Module {
        file,
        paths: paths(&own),
        items: items(&own),
        tokens: own,
    };
    modules.insert(name, module);
}

fn joined<'a>(name: &[&'a str], last: &'a str) -> Name<'a> {
    name.iter().copied().chain([last]).collect()
}

/// Whether `#[cfg(test)]`, or an attribute like it, begins here.
fn is_test_attribute(tokens: &[Token<'_>], at: usize) -> bool {
    let text = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text);
    text(0) == "#" && text(1) == "[" && text(2) == "cfg" && {
        let attribute = &tokens[at..closing(tokens, at + 1).min(tokens.len())];
        let says = |word: &str| attribute.iter().any(|token| token.text == word);
        says("test") && !says("not")
    }
}

/// The code without items for tests.
pub(crate) fn without_tests(tokens: Vec<Token<'_>>) -> Vec<Token<'_>> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if is_test_attribute(&tokens, at) {
            at = item(&tokens, at).1;
        } else {
            kept.push(tokens[at]);
            at += 1;
        }
    }
    kept
}

/// The item behind an attribute: its name if it is a module, and the token after it.
fn item<'a>(tokens: &[Token<'a>], mut at: usize) -> (Option<&'a str>, usize) {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    while text(at) == "#" {
        at = closing(tokens, at + 1) + 1;
    }
    let mut module = None;
    while at < tokens.len() {
        match text(at) {
            "mod" => module = tokens.get(at + 1).map(|token| token.text),
            ";" => return (module, at + 1),
            "{" => return (module, closing(tokens, at) + 1),
            "(" | "[" => at = closing(tokens, at),
            _ => {}
        }
        at += 1;
    }
    (module, at)
}

/// The token that closes the bracket at `open`, or the end.
fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// What a module defines by name.
fn items<'a>(tokens: &[Token<'a>]) -> BTreeSet<&'a str> {
    let mut items = BTreeSet::new();
    for (at, token) in tokens.iter().enumerate() {
        let name = match token.text {
            "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union" => at + 1,
            "macro_rules" => at + 2,
            _ => continue,
        };
        items.extend(tokens.get(name).map(|token| token.text));
    }
    items
}

/// The modules of a crate.
struct Crate<'a> {
    modules: BTreeMap<Name<'a>, Module<'a>>,
}

impl<'a> Crate<'a> {
    /// What a module names of other files.
    fn edges(&self, name: &[&'a str], module: &Module<'a>) -> Vec<Edge> {
        let used = used(&module.tokens);
        let counts = |path: &&Path<'a>| match path.import {
            // What is only handed on is not used here.
            Some(import) if import.public => used.contains(import.name),
            _ => true,
        };
        let edge = |path: &Path<'a>| {
            let absolute = self.absolute(name, &path.segments, MAX_HOPS)?;
            let to = self.home(&absolute, MAX_HOPS)?;
            (to != module.file).then(|| Edge {
                from: module.file,
                to,
                line: path.line,
                statement: path.import.map_or(path.line, |import| import.line),
                path: path.segments.join("::"),
            })
        };
        module
            .paths
            .iter()
            .filter(counts)
            .filter_map(edge)
            .collect()
    }

    /// A path as seen from the crate's root; `None` where it leads to another crate or to a local name.
    fn absolute(&self, from: &[&'a str], path: &[&'a str], hops: usize) -> Option<Name<'a>> {
        let (first, rest) = path.split_first()?;
        let mut start = match *first {
            "crate" => Vec::new(),
            "self" => from.to_vec(),
            "super" => {
                let above = from.split_last()?.1;
                if rest.first() == Some(&"super") {
                    return self.absolute(above, rest, hops);
                }
                above.to_vec()
            }
            name => match self.import(from, name) {
                Some((path, _)) if path != [name] && hops > 0 => {
                    self.absolute(from, path, hops - 1)?
                }
                _ => {
                    let inner = joined(from, name);
                    self.modules.contains_key(&inner).then_some(inner)?
                }
            },
        };
        start.extend(rest);
        Some(start)
    }

    /// The import that binds `name` in a module.
    fn import(&self, module: &[&'a str], name: &str) -> Option<(&[&'a str], Import<'a>)> {
        let paths = &self.modules.get(module)?.paths;
        paths.iter().find_map(|path| {
            let import = path.import.filter(|import| import.name == name)?;
            Some((&path.segments[..], import))
        })
    }

    /// The file in which the item of an absolute path is defined; `None` for a module, which is no item.
    fn home(&self, path: &[&'a str], hops: usize) -> Option<usize> {
        let known = |length: &usize| self.modules.contains_key(&path[..*length]);
        let length = (0..=path.len()).rev().find(known)?;
        let (module, rest) = path.split_at(length);
        let (name, rest) = rest.split_first()?;
        let file = self.modules[module].file;
        let follow = |path: &[&'a str]| -> Option<usize> {
            let hops = hops.checked_sub(1)?;
            let mut absolute = self.absolute(module, path, hops)?;
            absolute.extend(rest);
            self.home(&absolute, hops)
        };
        if *name == "*" {
            return Some(file);
        }
        if self.modules[module].items.contains(name) {
            return Some(file);
        }
        match self.import(module, name) {
            Some((path, _)) if path == [*name] => Some(file),
            // Another crate's item that is handed on from here.
            Some((path, _)) => Some(follow(path).unwrap_or(file)),
            None => {
                let globs = self.modules[module].paths.iter();
                let globs = globs.filter(|path| path.import.is_some_and(|i| i.name == "*"));
                let found = globs.filter_map(|glob| {
                    let inner = &glob.segments[..glob.segments.len() - 1];
                    let inner = self.absolute(module, inner, hops)?;
                    let holds = self.modules.get(&inner)?.items.contains(name);
                    holds.then(|| self.home(&joined(&inner, name), hops.checked_sub(1)?))?
                });
                Some(found.into_iter().next().unwrap_or(file))
            }
        }
    }
}

/// The identifiers outside imports.
fn used<'a>(tokens: &[Token<'a>]) -> BTreeSet<&'a str> {
    let mut used = BTreeSet::new();
    let mut importing = false;
    for (at, token) in tokens.iter().enumerate() {
        let after = tokens.get(at + 1).map_or("", |token| token.text);
        importing |= token.text == "use" && after != "<";
        if !importing {
            used.insert(token.text);
        }
        importing &= token.text != ";";
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The edges of a crate as `from line to path`.
    #[track_caller]
    fn check(sources: &[(&str, &str)], want: &[&str]) {
        let graph = graph(sources, "src/");
        let got: Vec<String> = graph
            .edges
            .iter()
            .map(|edge| {
                let (from, to) = (graph.files[edge.from], graph.files[edge.to]);
                format!("{from} {} {to} {}", edge.line, edge.path)
            })
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn a_path_leads_to_the_file_of_its_item() {
        check(
            &[
                ("src/a.rs", "use super::b::{C, d};\nfn f() { d::g() }"),
                ("src/b/d.rs", "pub fn g() { crate::a::f(); self::h(); }"),
                ("src/b/mod.rs", "pub mod d;\npub struct C;"),
                ("src/lib.rs", "mod a; mod b;"),
            ],
            &[
                "src/a.rs 1 src/b/mod.rs super::b::C",
                "src/a.rs 2 src/b/d.rs d::g",
                "src/b/d.rs 1 src/a.rs crate::a::f",
            ],
        );
    }

    #[test]
    fn a_re_export_is_followed_and_is_no_use() {
        check(
            &[
                ("src/a.rs", "use crate::{B, D, std_too};"),
                ("src/b.rs", "pub struct B; pub struct D;"),
                (
                    "src/lib.rs",
                    "mod a; mod b;\npub use b::B;\npub use b::*;\npub use std::io as std_too;",
                ),
            ],
            &[
                "src/a.rs 1 src/b.rs crate::B",
                "src/a.rs 1 src/b.rs crate::D",
                "src/a.rs 1 src/lib.rs crate::std_too",
            ],
        );
        check(
            &[
                ("src/b.rs", "pub struct B;"),
                ("src/lib.rs", "mod b;\npub use b::B;\nfn f(_: B) {}"),
            ],
            &["src/lib.rs 2 src/b.rs b::B"],
        );
    }

    #[test]
    fn tests_are_left_out() {
        check(
            &[
                (
                    "src/a.rs",
                    "#[cfg(test)]\nmod tests { use crate::b::B; }\n#[cfg(test)]\nuse crate::b::B;\n\
                     #[cfg(test)]\nmod kit;\n#[cfg(not(test))]\nfn f(_: crate::b::B) {}",
                ),
                ("src/a/kit.rs", "use crate::b::B;"),
                ("src/b.rs", "pub struct B;"),
                ("src/lib.rs", "mod a; mod b;"),
            ],
            &["src/a.rs 8 src/b.rs crate::b::B"],
        );
    }

    #[test]
    fn an_inline_module_belongs_to_its_file() {
        check(
            &[
                (
                    "src/a.rs",
                    "pub mod inner { use super::super::b::B; pub fn f() {} }",
                ),
                ("src/b.rs", "pub struct B; fn g() { crate::a::inner::f() }"),
                ("src/lib.rs", "mod a; mod b;"),
            ],
            &[
                "src/a.rs 1 src/b.rs super::super::b::B",
                "src/b.rs 1 src/a.rs crate::a::inner::f",
            ],
        );
    }

    #[test]
    fn imports_of_each_other_end() {
        check(
            &[
                ("src/a.rs", "pub use crate::b::X;\nfn f(_: X) {}"),
                ("src/b.rs", "pub use crate::a::X;\nfn f(_: X) {}"),
                (
                    "src/lib.rs",
                    "mod a; mod b; use lib; pub(crate) use lib as lib2;",
                ),
            ],
            &[
                "src/a.rs 1 src/b.rs crate::b::X",
                "src/b.rs 1 src/a.rs crate::a::X",
            ],
        );
    }
}

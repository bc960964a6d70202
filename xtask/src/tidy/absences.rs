//! Checks of what docs/ARCHITECTURE.md says is absent: names with two homes, global state, ways round the door into
//! candle's graph.

use super::Finding;
use crate::modules::without_tests;
use crate::rust_source::{Token, paths, tokens};
use crate::tree::Tree;

/// Where state lives that outlasts a call, and why nothing depends on it.
const STATE: [(&str, &str); 7] = [
    (
        "crates/cortical-kernels/src/isa.rs",
        "the limit on instructions for tests, scoped to a thread",
    ),
    (
        "crates/cortical-kernels/src/scratch.rs",
        "memory of a thread that is written before it is read",
    ),
    (
        "crates/cortical-tensor/src/path.rs",
        "the fallback for tests, scoped to a thread",
    ),
    (
        "crates/cortical-tensor/src/tally.rs",
        "the count of multiply-adds for tests, scoped to a thread",
    ),
    (
        "crates/cortical-tensor/src/graph/outlet.rs",
        "the index from living tensors to the operations that made them, which candle does not show",
    ),
    (
        "crates/cortical-io/src/atomic.rs",
        "numbers that keep the names of temporary files apart",
    ),
    (
        "crates/cortical-io/src/source.rs",
        "turns of threads at a file's position, where the system has one position only",
    ),
];

/// Types whose value changes behind a shared reference.
const CHANGEABLE: [&str; 6] = ["mut", "Cell", "RefCell", "Mutex", "RwLock", "UnsafeCell"];

/// Who may make operations in candle's graph.
const DOOR: &str = "crates/cortical-tensor/src/graph/";

/// The code of the crates, without that for tests.
fn sources(tree: &Tree) -> impl Iterator<Item = (&str, Vec<Token<'_>>)> {
    tree.rust_files()
        .filter(|(path, _)| path.starts_with("crates/") && path.contains("/src/"))
        .map(|(path, text)| (path, without_tests(tokens(text))))
}

fn finding(file: &str, line: usize, what: String, mend: &str) -> Finding {
    Finding {
        file: file.to_owned(),
        line,
        what,
        mend: mend.to_owned(),
    }
}

/// A name has one home: no crate hands on what a sibling defines.
pub(super) fn one_home(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, tokens) in sources(tree) {
        for path in paths(&tokens) {
            let exported = path.import.is_some_and(|import| import.exported);
            if exported && path.segments[0].starts_with("cortical_") {
                let what = format!(
                    "hands on `{}`, which is a sibling's",
                    path.segments.join("::")
                );
                let mend = "let users name the crate that defines it";
                findings.push(finding(file, path.line, what, mend));
            }
        }
    }
    findings
}

/// Nothing outlasts a call but what is listed with a reason.
pub(super) fn global_state(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let strangers = sources(tree).filter(|(file, _)| STATE.iter().all(|(home, _)| home != file));
    for (file, tokens) in strangers {
        for (at, token) in tokens.iter().enumerate() {
            if token.text != "static" {
                continue;
            }
            let types = tokens[at..]
                .iter()
                .take_while(|t| !matches!(t.text, "=" | ";"));
            let changes = types
                .into_iter()
                .any(|t| CHANGEABLE.contains(&t.text) || t.text.starts_with("Atomic"));
            if changes {
                let name = tokens.get(at + 1).map_or("", |name| name.text);
                let what = format!("`{name}` is global state");
                let mend = "let the caller hold it, or list it with a reason in xtask/src/tidy/absences.rs";
                findings.push(finding(file, token.line, what, mend));
            }
        }
    }
    findings
}

/// Operations come into candle's graph by one door.
pub(super) fn one_door(tree: &Tree) -> Vec<Finding> {
    let is_way = |text: &str| {
        ["CustomOp1", "CustomOp2", "CustomOp3"].contains(&text)
            || ["apply_op1", "apply_op2", "apply_op3"]
                .iter()
                .any(|way| text.starts_with(way))
    };
    let mut findings = Vec::new();
    for (file, tokens) in sources(tree).filter(|(file, _)| !file.starts_with(DOOR)) {
        for token in tokens.iter().filter(|token| is_way(token.text)) {
            let what = format!("`{}` enters candle's graph beside the door", token.text);
            let mend = "use `cortical_tensor::graph::apply`";
            findings.push(finding(file, token.line, what, mend));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, assert_tidy, files};
    use super::*;

    #[test]
    fn names_have_one_home() {
        assert_tidy(one_home);
    }

    #[test]
    fn a_name_that_is_handed_on_is_found() {
        let text = "use cortical_b::B;\npub(crate) use cortical_b::C;\npub use {own::D, cortical_b::{E, F as G}};\n\
                    #[cfg(test)]\nmod tests { pub use cortical_b::H; }\n";
        let tree = files(&[
            ("crates/a/src/lib.rs", text),
            ("xtask/src/x.rs", "pub use cortical_b::B;"),
        ]);
        assert_finds(
            one_home,
            &tree,
            &[
                "crates/a/src/lib.rs:3: hands on `cortical_b::E`, which is a sibling's",
                "crates/a/src/lib.rs:3: hands on `cortical_b::F`, which is a sibling's",
            ],
        );
    }

    #[test]
    fn state_is_listed() {
        assert_tidy(global_state);
        // What is listed is there.
        for (file, _) in STATE {
            let mut tree = super::super::testing::real().clone();
            tree.files.retain(|other| other.path == file);
            for other in &mut tree.files {
                other.path = format!("crates/a/src/{}", other.path.replace('/', "_"));
            }
            assert!(
                !global_state(&tree).is_empty(),
                "{file} has no state any more"
            );
        }
    }

    #[test]
    fn state_that_is_not_listed_is_found() {
        let text = "static A: u8 = 1;\nstatic B: Mutex<u8> = Mutex::new(1);\nconst C: Cell<u8> = Cell::new(1);\n\
                    thread_local! {\n static D: RefCell<&'static str> = RefCell::default();\n}\n\
                    fn f() { static E: AtomicU64 = AtomicU64::new(0); static F: OnceLock<u8> = OnceLock::new(); }\n\
                    static mut G: u8 = 1;\n#[cfg(test)]\nstatic H: Mutex<u8> = Mutex::new(1);\n";
        let tree = files(&[("crates/a/src/x.rs", text)]);
        assert_finds(
            global_state,
            &tree,
            &[
                "crates/a/src/x.rs:2: `B` is global state",
                "crates/a/src/x.rs:5: `D` is global state",
                "crates/a/src/x.rs:7: `E` is global state",
                "crates/a/src/x.rs:8: `mut` is global state",
            ],
        );
    }

    #[test]
    fn there_is_one_door() {
        assert_tidy(one_door);
    }

    #[test]
    fn a_way_beside_the_door_is_found() {
        let tree = files(&[
            (
                "crates/cortical-tensor/src/graph/hooks.rs",
                "x.apply_op1(op)",
            ),
            (
                "crates/cortical-dense/src/x.rs",
                "impl CustomOp2 for X {}\nx.apply_op1_no_bwd(&op)",
            ),
        ]);
        assert_finds(
            one_door,
            &tree,
            &[
                "crates/cortical-dense/src/x.rs:1: `CustomOp2` enters candle's graph beside the door",
                "crates/cortical-dense/src/x.rs:2: `apply_op1_no_bwd` enters candle's graph beside the door",
            ],
        );
    }
}

//! Checks of dependencies on other people's crates against the table in `xtask/src/allowed.rs`.

use super::Finding;
use super::packages::at_key;
use crate::allowed::{ALLOWED, Allowed};
use crate::tree::Tree;

/// A package uses what the table in `xtask/src/allowed.rs` allows it.
pub(super) fn allowed_dependencies(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        let row = ALLOWED.iter().find(|(name, _)| package.name == *name);
        let allowed = row.map_or(&[][..], |(_, allowed)| allowed);
        let known: Vec<_> = allowed
            .iter()
            .map(|a| format!("{} ({})", a.dependency, a.why))
            .collect();
        for dependency in package.dependencies.iter().filter(|d| !d.local) {
            if !allowed
                .iter()
                .any(|entry| entry.dependency == dependency.name)
            {
                let name = &dependency.name;
                let what = format!("{} may not use {name}", package.name);
                let mend = format!(
                    "do without it, or allow it in xtask/src/allowed.rs and say why; allowed so far: {}",
                    known.join(", ")
                );
                findings.push(at_key(tree, package, name, what, &mend));
            }
        }
    }
    findings
}

/// Permissions that nobody needs any more: worth a note, and no reason to stop a crate that is being written.
pub(super) fn unused_permissions(tree: &Tree) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, allowed) in ALLOWED {
        let Some(package) = tree.packages.iter().find(|package| package.name == *name) else {
            notes.push(format!(
                "note: xtask/src/allowed.rs has a row for {name}, which does not exist"
            ));
            continue;
        };
        let used = |entry: &&Allowed| {
            package
                .dependencies
                .iter()
                .any(|d| d.name == entry.dependency)
        };
        for entry in allowed.iter().filter(|entry| !used(entry)) {
            let dependency = entry.dependency;
            notes.push(format!(
                "note: {name} may use {dependency} but does not; see xtask/src/allowed.rs"
            ));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, assert_tidy, external, local, package};
    use super::*;
    use crate::tree::{Kind, Package};

    fn tree(packages: Vec<Package>) -> Tree {
        Tree {
            packages,
            ..Tree::default()
        }
    }

    #[test]
    fn dependencies_are_allowed() {
        assert_tidy(allowed_dependencies);
    }

    #[test]
    fn a_dependency_that_nobody_allowed_is_found() {
        let tree = tree(vec![
            package(
                "cortical-dense",
                3,
                vec![external("candle-core", Kind::Normal)],
            ),
            package("cortical-conv", 3, vec![external("left-pad", Kind::Dev)]),
            package(
                "unknown",
                3,
                vec![external("thiserror", Kind::Build), local("x", Kind::Normal)],
            ),
        ]);
        assert_finds(
            allowed_dependencies,
            &tree,
            &[
                "crates/cortical-conv/Cargo.toml:1: cortical-conv may not use left-pad",
                "crates/unknown/Cargo.toml:1: unknown may not use thiserror",
            ],
        );
    }

    #[test]
    fn an_unused_permission_is_noted() {
        let uses = vec![
            external("candle-core", Kind::Normal),
            external("rayon", Kind::Dev),
            external("serde", Kind::Normal),
            external("thiserror", Kind::Normal),
        ];
        let notes = unused_permissions(&tree(vec![package("cortical-optim", 5, uses)]));
        let about = |name: &str| notes.iter().filter(|note| note.contains(name)).count();
        let unused = "note: cortical-optim may use toml but does not; see xtask/src/allowed.rs";
        assert!(notes.iter().any(|note| note == unused), "{notes:?}");
        assert_eq!(about("cortical-optim"), 1, "{notes:?}");
        let absent = "note: xtask/src/allowed.rs has a row for cortical-io, which does not exist";
        assert!(notes.iter().any(|note| note == absent), "{notes:?}");
    }

    #[test]
    fn every_permission_says_why() {
        for (name, allowed) in ALLOWED {
            for entry in *allowed {
                assert!(
                    entry.why.len() > 5,
                    "{name}: {} says no why",
                    entry.dependency
                );
                let times = allowed
                    .iter()
                    .filter(|other| other.dependency == entry.dependency);
                assert_eq!(
                    times.count(),
                    1,
                    "{name}: {} is allowed twice",
                    entry.dependency
                );
            }
        }
    }
}

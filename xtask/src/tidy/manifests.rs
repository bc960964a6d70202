//! Checks of manifests' text: that versions, features and lints have one home, the root manifest.

use super::Finding;
use crate::manifest::{self, Entry};
use crate::tree::Tree;

fn is_dependency_table(header: &str) -> bool {
    let last = header.rsplit('.').next().unwrap_or(header);
    matches!(
        last,
        "dependencies" | "dev-dependencies" | "build-dependencies"
    )
}

/// Versions and features have one home: a crate only says `workspace = true`.
pub(super) fn from_the_root(tree: &Tree) -> Vec<Finding> {
    let taken = |entry: &Entry| match entry.key.strip_suffix(".workspace") {
        Some(_) => entry.value == "true",
        None => entry.value.contains("workspace = true"),
    };
    let mut findings = Vec::new();
    for package in &tree.packages {
        let file = package.manifest();
        let text = tree.text(&file).unwrap_or_default();
        for entry in manifest::entries(text, is_dependency_table) {
            if !taken(&entry) {
                findings.push(Finding {
                    file: file.clone(),
                    line: entry.line,
                    what: format!("`{}` does not come from the root", entry.key),
                    mend: "put version and features into the root's [workspace.dependencies]"
                        .to_owned(),
                });
            }
        }
    }
    findings
}

/// Nothing is compiled that nobody asked for: features of other people's crates are named one by one.
pub(super) fn default_features_off(tree: &Tree) -> Vec<Finding> {
    let root = tree.text("Cargo.toml").unwrap_or_default();
    manifest::entries(root, |header| header == "workspace.dependencies")
        .into_iter()
        .filter(|entry| !entry.value.contains("path ="))
        .filter(|entry| !entry.value.contains("default-features = false"))
        .map(|entry| Finding {
            file: "Cargo.toml".to_owned(),
            line: entry.line,
            what: format!("`{}` has its default features on", entry.key),
            mend: "add `default-features = false` and name the features that are used".to_owned(),
        })
        .collect()
}

/// One set of lints holds everywhere.
pub(super) fn workspace_lints(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        let text = tree.text(&package.manifest()).unwrap_or_default();
        let lints = manifest::entries(text, |header| header == "lints");
        if !lints
            .iter()
            .any(|entry| entry.key == "workspace" && entry.value == "true")
        {
            let what = format!("{} does not share the workspace's lints", package.name);
            findings.push(super::packages::at_key(
                tree,
                package,
                "name",
                what,
                "add `[lints]` with `workspace = true`",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, assert_tidy, file, files, package};
    use super::*;

    fn tree(names: &[&str]) -> Tree {
        Tree {
            packages: names.iter().map(|name| package(name, 1, vec![])).collect(),
            ..Tree::default()
        }
    }

    #[test]
    fn versions_have_one_home() {
        assert_tidy(from_the_root);
    }

    #[test]
    fn a_version_outside_the_root_is_found() {
        let mut tree = tree(&["a"]);
        let text = "[dependencies]\nx.workspace = true\ny = { workspace = true, optional = true }\nz = \"1\"\n\
                    [target.'cfg(unix)'.dependencies]\nw = { version = \"1\" }\n[features]\nf = []\n";
        tree.files.push(file("crates/a/Cargo.toml", text));
        assert_finds(
            from_the_root,
            &tree,
            &[
                "crates/a/Cargo.toml:4: `z` does not come from the root",
                "crates/a/Cargo.toml:6: `w` does not come from the root",
            ],
        );
    }

    #[test]
    fn features_are_named_one_by_one() {
        assert_tidy(default_features_off);
    }

    #[test]
    fn default_features_are_found() {
        let text = "[workspace.dependencies]\na = { path = \"a\" }\nb = \"1\"\n\
                    c = { version = \"1\", default-features = false }\nd = { version = \"1\" }\n";
        let tree = files(&[("Cargo.toml", text)]);
        assert_finds(
            default_features_off,
            &tree,
            &[
                "Cargo.toml:3: `b` has its default features on",
                "Cargo.toml:5: `d` has its default features on",
            ],
        );
    }

    #[test]
    fn lints_are_shared() {
        assert_tidy(workspace_lints);
    }

    #[test]
    fn a_package_with_its_own_lints_is_found() {
        let mut tree = tree(&["a", "b"]);
        tree.files
            .push(file("crates/a/Cargo.toml", "[lints]\nworkspace = true\n"));
        tree.files.push(file(
            "crates/b/Cargo.toml",
            "[lints.rust]\nmissing_docs = \"allow\"\n",
        ));
        let want = "crates/b/Cargo.toml:1: b does not share the workspace's lints";
        assert_finds(workspace_lints, &tree, &[want]);
    }
}

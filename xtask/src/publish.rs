//! `publish --dry-run`: packs every published crate, lowest tier first, and builds each from its package as others
//! would get it.
//!
//! All go through one call of cargo, because they need each other: it builds a crate against the packages of those
//! below it and not against the workspace, so a file that a manifest leaves out or a version that does not fit is found
//! here. Uploading is a person's decision, made with cargo itself.

use crate::command;
use crate::error::{Error, Result};
use crate::tree::{Package, Tree, root};
use std::path::Path;

const USAGE: &str = "usage: cargo xtask publish --dry-run [--no-verify] [--since REVISION]; uploading is left to `cargo publish`";

/// Whether the packages are built as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verify {
    /// Each is unpacked and compiled.
    Build,
    /// They are packed only.
    Not,
}

pub(crate) fn run(args: &[String]) -> Result<()> {
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    let since = match args.iter().position(|arg| *arg == "--since") {
        Some(at) if at + 1 < args.len() => args.drain(at..at + 2).nth(1),
        _ => None,
    };
    let verify = match args[..] {
        ["--dry-run"] => Verify::Build,
        ["--dry-run", "--no-verify"] | ["--no-verify", "--dry-run"] => Verify::Not,
        _ => {
            let is_known = |arg: &&&str| ["--dry-run", "--no-verify"].contains(*arg);
            let got = args.iter().find(|arg| !is_known(arg));
            return Err(Error::UnknownArgument {
                verb: "publish",
                got: got.map_or_else(|| args.join(" "), ToString::to_string),
                expected: USAGE.to_owned(),
            });
        }
    };
    package(&root(), verify)?;
    since.map_or(Ok(()), |revision| compare(&root(), revision))
}

/// Compares what every published crate offers with what it offered at a revision: what was taken away needs another
/// version.
fn compare(root: &Path, revision: &str) -> Result<()> {
    let packages = Tree::load()?.packages;
    command::new(
        "cargo-semver-checks",
        "install it with `cargo install cargo-semver-checks --locked`",
    )
    .within(root)
    .args(["semver-checks", "--baseline-rev", revision])
    .args(
        in_order(&packages)
            .iter()
            .flat_map(|name| ["--package", name]),
    )
    .run()
}

/// Packs every published crate.
pub(crate) fn package(root: &Path, verify: Verify) -> Result<()> {
    let packages = Tree::load()?.packages;
    let names = in_order(&packages);
    // A person runs this before committing, hence `--allow-dirty`.
    let mut flags = vec!["package", "--quiet", "--allow-dirty", "--offline"];
    if verify == Verify::Not {
        flags.push("--no-verify");
    }
    command::cargo(root)
        .args(flags)
        .args(names.iter().flat_map(|name| ["--package", name]))
        .run()?;
    let how = match verify {
        Verify::Build => "packed and built from their packages",
        Verify::Not => "packed",
    };
    println!("{} crates {how}: {}", names.len(), names.join(", "));
    Ok(())
}

/// The published crates as they would be uploaded: nothing before what it needs.
fn in_order(packages: &[Package]) -> Vec<&str> {
    let mut published: Vec<&Package> = packages.iter().filter(|p| p.published).collect();
    published.sort_by_key(|package| (package.tier, &package.name));
    published.iter().map(|p| p.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Kind;

    #[test]
    fn wrong_arguments_are_told() {
        for (args, got) in [
            (&[][..], ""),
            (&["--now"][..], "--now"),
            (&["--dry-run", "--fast"][..], "--fast"),
        ] {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            let error = run(&args).expect_err("nothing is uploaded").to_string();
            assert_eq!(
                error,
                format!("`publish` does not understand `{got}`; {USAGE}")
            );
        }
    }

    #[test]
    fn nothing_comes_before_what_it_needs() {
        let tree = Tree::load().expect("the workspace can be read");
        let names = in_order(&tree.packages);
        let at = |name: &str| names.iter().position(|other| *other == name);
        for package in tree.packages.iter().filter(|package| package.published) {
            for needed in package
                .dependencies
                .iter()
                .filter(|d| d.local && d.kind != Kind::Dev)
            {
                assert!(at(&needed.name) < at(&package.name), "{}", package.name);
            }
        }
        assert!(!names.contains(&"xtask") && names.contains(&"cortical"));
    }
}

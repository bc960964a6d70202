//! Checks of the repository's conventions. Each is a pure function of the [`Tree`], so that a test can hand it a bad
//! one.

mod absences;
mod circles;
mod figures;
mod files;
mod manifests;
mod packages;
mod permissions;
mod sources;

use crate::error::{Error, Result};
use crate::tree::Tree;
use std::fmt;

/// Something to mend, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) mend: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            what,
            mend,
        } = self;
        write!(f, "{file}:{line}: {what}\n    to mend: {mend}")
    }
}

/// A check: what it is called and what it finds.
type Check = (&'static str, fn(&Tree) -> Vec<Finding>);

const CHECKS: &[Check] = &[
    ("tiers", packages::tiers),
    ("tier is stated", packages::tier_is_stated),
    ("folder is the package's name", packages::folder_is_name),
    ("allowed dependencies", permissions::allowed_dependencies),
    ("publishable", packages::publishable),
    ("dependencies come from the root", manifests::from_the_root),
    ("default features are off", manifests::default_features_off),
    ("workspace lints", manifests::workspace_lints),
    ("map of the crates", packages::on_the_map),
    ("files begin with their docs", sources::begins_with_docs),
    ("unsafe", sources::unsafe_code),
    ("file system, network, exit", sources::outside_world),
    ("one home for a name", sources::re_exports),
    ("file length", sources::too_long),
    ("columns of comments", sources::wide_comments),
    ("circles of imports", circles::circles),
    ("names have one home", absences::one_home),
    ("global state", absences::global_state),
    ("one door into candle's graph", absences::one_door),
    ("machine paths", files::machine_paths),
    ("top level", files::top_level),
    ("figures in prose", figures::figures),
];

/// Runs every check over the real tree and prints what is to be mended.
pub(crate) fn run() -> Result<()> {
    let tree = Tree::load()?;
    let notes = permissions::unused_permissions(&tree);
    for line in sources::long_files(&tree).iter().chain(&notes) {
        println!("{line}");
    }
    let mut count = 0;
    for (name, check) in CHECKS {
        for finding in check(&tree) {
            eprintln!("{finding}\n    check: {name}");
            count += 1;
        }
    }
    if count > 0 {
        return Err(Error::Untidy { count });
    }
    let (packages, files) = (tree.packages.len(), tree.files.len());
    println!(
        "tidy: {} checks over {packages} packages and {files} files",
        CHECKS.len()
    );
    Ok(())
}

#[cfg(test)]
mod testing {
    //! What the tests of the single checks share.

    use super::Finding;
    use crate::tree::{Dependency, File, Kind, Package, Tree};
    use std::sync::OnceLock;

    /// The workspace itself, read once.
    pub(super) fn real() -> &'static Tree {
        static TREE: OnceLock<Tree> = OnceLock::new();
        TREE.get_or_init(|| Tree::load().expect("the workspace can be read"))
    }

    /// The check passes on the workspace itself.
    #[track_caller]
    pub(super) fn assert_tidy(check: fn(&Tree) -> Vec<Finding>) {
        let findings: Vec<_> = check(real()).iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }

    /// The check finds exactly the given things, as `file:line: what`.
    #[track_caller]
    pub(super) fn assert_finds(check: fn(&Tree) -> Vec<Finding>, tree: &Tree, want: &[&str]) {
        let got: Vec<_> = check(tree)
            .iter()
            .map(|finding| format!("{}:{}: {}", finding.file, finding.line, finding.what))
            .collect();
        assert_eq!(got, want);
    }

    pub(super) fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            text: Some(text.to_owned()),
        }
    }

    pub(super) fn files(files: &[(&str, &str)]) -> Tree {
        Tree {
            files: files.iter().map(|(path, text)| file(path, text)).collect(),
            ..Tree::default()
        }
    }

    pub(super) fn package(name: &str, tier: u64, dependencies: Vec<Dependency>) -> Package {
        Package {
            name: name.to_owned(),
            folder: format!("crates/{name}"),
            tier: Some(tier),
            published: true,
            description: Some("what it is".to_owned()),
            license: Some("MIT OR Apache-2.0".to_owned()),
            readme: Some("README.md".to_owned()),
            keywords: vec!["k".to_owned()],
            categories: vec!["science".to_owned()],
            dependencies,
        }
    }

    pub(super) fn local(name: &str, kind: Kind) -> Dependency {
        Dependency {
            name: name.to_owned(),
            kind,
            local: true,
            versioned: true,
            ..Dependency::default()
        }
    }

    pub(super) fn external(name: &str, kind: Kind) -> Dependency {
        Dependency {
            local: false,
            ..local(name, kind)
        }
    }
}

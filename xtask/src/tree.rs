//! The workspace as the checks see it: packages from `cargo metadata`, and every file git would commit.

use crate::command;
use crate::error::{Error, Result};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Packages and files; small enough that a test can build a bad one by hand.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tree {
    pub(crate) packages: Vec<Package>,
    pub(crate) files: Vec<File>,
}

/// A package of the workspace.
#[derive(Debug, Default, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Folder relative to the workspace's root, with forward slashes.
    pub(crate) folder: String,
    /// `package.metadata.cortical.tier`.
    pub(crate) tier: Option<u64>,
    pub(crate) published: bool,
    pub(crate) description: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) readme: Option<String>,
    pub(crate) keywords: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One edge that a manifest declares.
#[derive(Debug, Default, Clone)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) optional: bool,
    /// Names a path, hence a package of this workspace.
    pub(crate) local: bool,
    /// States a version, without which a published crate cannot be packaged.
    pub(crate) versioned: bool,
}

/// Where a dependency is used.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Normal,
    Build,
    Dev,
}

/// A file that is, or is about to be, committed.
#[derive(Debug, Default, Clone)]
pub(crate) struct File {
    /// Relative to the root, with forward slashes.
    pub(crate) path: String,
    /// Absent when the file is not UTF-8 text.
    pub(crate) text: Option<String>,
}

impl Package {
    pub(crate) fn manifest(&self) -> String {
        format!("{}/Cargo.toml", self.folder)
    }
}

impl Tree {
    /// Reads the real workspace.
    pub(crate) fn load() -> Result<Self> {
        let root = root();
        Ok(Self {
            packages: packages(&root)?,
            files: files(&root)?,
        })
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        let file = self.files.iter().find(|file| file.path == path)?;
        file.text.as_deref()
    }

    pub(crate) fn rust_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files
            .iter()
            .filter(|file| file.path.ends_with(".rs"))
            .filter_map(|file| Some((file.path.as_str(), file.text.as_deref()?)))
    }

    /// The line of `path` on which `key` is set, or 1 where that cannot be told.
    pub(crate) fn line_of_key(&self, path: &str, key: &str) -> usize {
        let lines = self.text(path).unwrap_or_default().lines();
        let starts_with_key = |line: &str| {
            line.trim_start()
                .strip_prefix(key)
                .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
        };
        lines
            .enumerate()
            .find(|(_, line)| starts_with_key(line))
            .map_or(1, |(index, _)| index + 1)
    }
}

/// The workspace's root: the folder above xtask's own.
pub(crate) fn root() -> PathBuf {
    // Cargo sets the variable for `cargo run` and `cargo test`, so a moved checkout is still found.
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or_else(|| own.clone(), Path::to_path_buf)
}

fn packages(root: &Path) -> Result<Vec<Package>> {
    // `--no-deps --offline` resolves nothing, so a lock file that is out of date does not stop tidy.
    let output = command::cargo(root)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .read()?;
    let metadata: Value =
        serde_json::from_str(&output).map_err(|source| Error::Metadata { source })?;
    let list = metadata["packages"]
        .as_array()
        .ok_or(Error::MetadataField { field: "packages" })?;
    list.iter()
        .map(|package| read_package(root, package))
        .collect()
}

fn read_package(root: &Path, package: &Value) -> Result<Package> {
    let text = |field: &'static str| {
        package[field]
            .as_str()
            .map(str::to_owned)
            .ok_or(Error::MetadataField { field })
    };
    let list = |field: &str| {
        let texts = package[field].as_array().into_iter().flatten();
        texts
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect()
    };
    let manifest = PathBuf::from(text("manifest_path")?);
    let folder = manifest.parent().unwrap_or(&manifest);
    let folder = folder.strip_prefix(root).unwrap_or(folder);
    Ok(Package {
        name: text("name")?,
        folder: slashes(folder),
        tier: package["metadata"]["cortical"]["tier"].as_u64(),
        // `publish = false` arrives as an empty list of registries, its absence as null.
        published: package["publish"]
            .as_array()
            .is_none_or(|list| !list.is_empty()),
        description: text("description").ok(),
        license: text("license").ok(),
        readme: text("readme").ok(),
        keywords: list("keywords"),
        categories: list("categories"),
        dependencies: package["dependencies"]
            .as_array()
            .ok_or(Error::MetadataField {
                field: "dependencies",
            })?
            .iter()
            .map(read_dependency)
            .collect::<Result<_>>()?,
    })
}

fn read_dependency(dependency: &Value) -> Result<Dependency> {
    let name = dependency["name"].as_str();
    Ok(Dependency {
        name: name
            .ok_or(Error::MetadataField {
                field: "dependencies.name",
            })?
            .to_owned(),
        kind: match dependency["kind"].as_str() {
            Some("build") => Kind::Build,
            Some("dev") => Kind::Dev,
            _ => Kind::Normal,
        },
        optional: dependency["optional"].as_bool().unwrap_or(false),
        local: dependency["path"].is_string(),
        versioned: dependency["req"].as_str() != Some("*"),
    })
}

/// Folders that `.gitignore` names; only used where git cannot be asked (an unpacked archive, say).
const IGNORED: [&str; 5] = ["target", ".cache", "runs", "__pycache__", ".git"];

fn files(root: &Path) -> Result<Vec<File>> {
    let listing = command::new("git", "it lists the files to check")
        .within(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .read_quietly();
    let mut paths: Vec<String> = match listing {
        Ok(listing) => listing.split('\0').map(str::to_owned).collect(),
        Err(_) => {
            let mut paths = Vec::new();
            walk(root, root, &mut paths)?;
            paths
        }
    };
    paths.retain(|path| !path.is_empty());
    paths.sort();
    // A conflict lists a path several times.
    paths.dedup();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        match fs::read(root.join(&path)) {
            Ok(bytes) => files.push(File {
                path,
                text: String::from_utf8(bytes).ok(),
            }),
            // Deleted but not yet staged, or a link to nowhere: nothing to check.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::file("read", root.join(&path))(source)),
        }
    }
    Ok(files)
}

fn walk(root: &Path, folder: &Path, paths: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::file("list", folder))? {
        let entry = entry.map_err(Error::file("list", folder))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::file("look at", &path))?;
        if kind.is_dir() {
            let name = entry.file_name();
            if !IGNORED.iter().any(|ignored| name == *ignored) {
                walk(root, &path, paths)?;
            }
        } else {
            paths.push(slashes(path.strip_prefix(root).unwrap_or(&path)));
        }
    }
    Ok(())
}

fn slashes(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_tree_knows_this_file_and_this_package() {
        let tree = Tree::load().expect("the workspace can be read");
        assert!(
            tree.text("xtask/src/tree.rs")
                .is_some_and(|text| text.contains("fn walk"))
        );
        let own = tree.packages.iter().find(|package| package.name == "xtask");
        let own = own.expect("xtask is a member");
        assert_eq!(
            (own.folder.as_str(), own.published, own.tier),
            ("xtask", false, None)
        );
        assert!(
            own.dependencies
                .iter()
                .any(|dependency| dependency.name == "serde_json")
        );
    }

    #[test]
    fn walking_finds_what_git_finds_among_the_sources() {
        let root = root();
        let mut walked = Vec::new();
        walk(&root.join("xtask"), &root.join("xtask"), &mut walked).expect("xtask can be listed");
        assert!(
            walked.iter().any(|path| path == "src/tree.rs"),
            "{walked:?}"
        );
        assert!(
            walked.iter().all(|path| !path.contains("target/")),
            "{walked:?}"
        );
    }

    #[test]
    fn git_ignores_what_the_walk_skips() {
        let ignore =
            fs::read_to_string(root().join(".gitignore")).expect(".gitignore is committed");
        for folder in IGNORED.iter().filter(|folder| **folder != ".git") {
            assert!(
                ignore.contains(&format!("{folder}/")),
                "{folder} is not in .gitignore"
            );
        }
    }
}

//! The folder of a language model's training.

use super::LanguageRecipe;
use crate::{Error, Result, RunPaths};
use cortical_io::RunLock;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// A run folder that this process has locked.
#[derive(Debug)]
pub struct LanguageRun {
    paths: RunPaths,
    recipe: LanguageRecipe,
    _lock: RunLock,
}

impl LanguageRun {
    /// Makes a new run in the folder `root`, which must be empty or not there.
    ///
    /// # Errors
    /// [`Error::RunExists`], [`Error::FolderNotEmpty`]; a folder that cannot be written or is in use.
    pub fn create(root: &Path, recipe: &LanguageRecipe) -> Result<Self> {
        fs::create_dir_all(root).map_err(Error::file(root))?;
        let lock = RunLock::acquire(root)?;
        let paths = RunPaths::new(root);
        if paths.is_run() {
            return Err(Error::RunExists { path: root.into() });
        }
        for entry in fs::read_dir(root).map_err(Error::file(root))? {
            let found = entry.map_err(Error::file(root))?.file_name();
            let found = found.to_string_lossy().into_owned();
            if found != ".lock" && !found.starts_with(".cortical-tmp-") {
                return Err(Error::FolderNotEmpty {
                    path: root.into(),
                    found,
                });
            }
        }
        let text = recipe.to_toml();
        cortical_io::write_atomic(paths.recipe(), |file| file.write_all(text.as_bytes()))?;
        Ok(Self {
            paths,
            recipe: recipe.clone(),
            _lock: lock,
        })
    }

    /// Makes a new run in the first free folder of `NAME-001`, `NAME-002`, ... in `parent`.
    ///
    /// # Errors
    /// As [`LanguageRun::create`].
    pub fn create_numbered(parent: &Path, name: &str, recipe: &LanguageRecipe) -> Result<Self> {
        fs::create_dir_all(parent).map_err(Error::file(parent))?;
        let mut number = 1_u64;
        loop {
            let root = parent.join(format!("{name}-{number:03}"));
            match fs::create_dir(&root) {
                Ok(()) => return Self::create(&root, recipe),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::file(root)(error)),
            }
        }
    }

    /// Opens the run in the folder `root` to continue it, or `None` if it is none of a language model.
    ///
    /// # Errors
    /// A folder in use, a recipe that cannot be read.
    pub fn open(root: &Path) -> Result<Option<Self>> {
        let paths = RunPaths::new(root);
        let path = paths.recipe();
        let text = match fs::read_to_string(&path) {
            Ok(text) if LanguageRecipe::is_one(&text) => text,
            _ => return Ok(None),
        };
        let lock = RunLock::acquire(root)?;
        let recipe = LanguageRecipe::from_toml(&text)?;
        Ok(Some(Self {
            paths,
            recipe,
            _lock: lock,
        }))
    }

    /// The names in the folder.
    #[must_use]
    pub fn paths(&self) -> &RunPaths {
        &self.paths
    }

    /// The recipe.
    #[must_use]
    pub fn recipe(&self) -> &LanguageRecipe {
        &self.recipe
    }
}

//! A run is a folder.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use candle_core::Device;
use cortical_io::{CheckpointDir, RunLock};
use cortical_models::Kinds;

use crate::model_file::TrainedModel;
use crate::report::Report;
use crate::{Error, Recipe, Result};

/// Bytes of a recipe that are read at most.
const RECIPE_BYTES: u64 = 1 << 20;

/// The names in a run folder, without opening it.
#[derive(Clone, Debug)]
pub struct RunPaths {
    root: PathBuf,
    /// The kinds of layers that its recipe and its model may name.
    kinds: Kinds,
}

impl RunPaths {
    /// The run in the folder `root`, whether it exists or not.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            kinds: Kinds::standard(),
        }
    }

    /// The same run, whose network may have layers of these kinds, a person's own among them.
    #[must_use]
    pub fn with_kinds(self, kinds: &Kinds) -> Self {
        Self {
            kinds: kinds.clone(),
            ..self
        }
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The recipe, with every default written out.
    #[must_use]
    pub fn recipe(&self) -> PathBuf {
        self.root.join("recipe.toml")
    }

    /// The trained model.
    #[must_use]
    pub fn model(&self) -> PathBuf {
        self.root.join("model.safetensors")
    }

    /// One line an epoch and one every so many steps.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// The metrics as a table, if the recipe asks for it.
    #[must_use]
    pub fn metrics_csv(&self) -> PathBuf {
        self.root.join("metrics.csv")
    }

    /// The folder of event files for TensorBoard, if the recipe asks for them.
    #[must_use]
    pub fn tensorboard(&self) -> PathBuf {
        self.root.join("tensorboard")
    }

    /// The folder of the models of the best validations, if the recipe asks for them.
    #[must_use]
    pub fn best(&self) -> PathBuf {
        self.root.join("best")
    }

    /// The run as a page with pictures.
    #[must_use]
    pub fn page(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// What the test at the end found. It is written last: a run that has it is finished.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.root.join("report.json")
    }

    /// The checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> CheckpointDir {
        CheckpointDir::new(self.root.join("checkpoints"))
    }

    /// Whether there is a run here.
    #[must_use]
    pub fn is_run(&self) -> bool {
        self.recipe().is_file()
    }

    /// Reads the recipe of the run here.
    ///
    /// # Errors
    /// [`Error::NotARun`]; a recipe that cannot be read.
    pub fn read_recipe(&self) -> Result<Recipe> {
        let path = self.recipe();
        if !self.is_run() {
            return Err(Error::NotARun {
                path: self.root.clone(),
            });
        }
        Recipe::from_toml_with(&recipe_text(&path)?, None, &[], &self.kinds)
    }

    /// Reads the network of pictures or of a table that a training wrote here.
    ///
    /// # Errors
    /// As [`TrainedModel::load`].
    pub fn load_model(&self, device: &Device) -> Result<TrainedModel> {
        TrainedModel::load_with(&self.model(), device, &self.kinds)
    }

    /// Opens the run here to continue it.
    ///
    /// # Errors
    /// As [`RunFolder::open`].
    pub fn open(&self) -> Result<(RunFolder, Recipe)> {
        let paths = self.clone();
        if !paths.is_run() {
            return Err(Error::NotARun { path: paths.root });
        }
        let lock = RunLock::acquire(&paths.root)?;
        paths.checkpoints().recover()?;
        let recipe = paths.read_recipe()?;
        let is_new = false;
        let folder = RunFolder {
            paths,
            lock,
            is_new,
        };
        Ok((folder, recipe))
    }

    /// The report of a finished run, `None` if it is not finished.
    ///
    /// # Errors
    /// A file that cannot be read, or is no report.
    pub fn read_report(&self) -> Result<Option<Report>> {
        let path = self.report();
        match fs::read(&path) {
            Ok(json) => match Report::from_json(&json) {
                Ok(report) => Ok(Some(report)),
                Err(why) => Err(Error::BadReport { path, why }),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file(path)(error)),
        }
    }

    /// The recipe and the report of the finished run here.
    ///
    /// # Errors
    /// [`Error::NotARun`], [`Error::NotFinished`]; files that cannot be read.
    pub fn read_finished(&self) -> Result<(Recipe, Report)> {
        let recipe = self.read_recipe()?;
        let report = self.read_report()?.ok_or_else(|| Error::NotFinished {
            path: self.root.clone(),
        })?;
        Ok((recipe, report))
    }

    /// Writes the report that says that the run is finished.
    pub(crate) fn write_report(&self, report: &Report) -> Result<()> {
        let path = self.report();
        let mut json = serde_json::to_vec_pretty(report).map_err(|why| Error::BadReport {
            path: path.clone(),
            why,
        })?;
        json.push(b'\n');
        Ok(cortical_io::write_atomic(&path, |file| {
            file.write_all(&json)
        })?)
    }
}

/// Reads a recipe from a file; `overrides` replace single fields.
///
/// # Errors
/// A file that cannot be read, is larger than a mebibyte or is no recipe.
pub fn read_recipe_file(path: &Path, overrides: &[crate::Override]) -> Result<Recipe> {
    Recipe::from_toml(&recipe_text(path)?, None, overrides)
}

/// The text of a recipe.
fn recipe_text(path: &Path) -> Result<String> {
    let size = fs::metadata(path).map_err(Error::file(path))?.len();
    if size > RECIPE_BYTES {
        let why = format!("{size} bytes are too many for a recipe");
        return Err(Error::file(path)(std::io::Error::other(why)));
    }
    fs::read_to_string(path).map_err(Error::file(path))
}

/// A run folder that this process has locked.
#[derive(Debug)]
pub struct RunFolder {
    paths: RunPaths,
    lock: RunLock,
    /// Whether this process made the run, so that it may be undone before it begins.
    is_new: bool,
}

impl RunFolder {
    /// Makes a new run in the folder `root`, which may exist if it is empty.
    ///
    /// # Errors
    /// [`Error::RunExists`], [`Error::FolderNotEmpty`]; a folder that another process uses or that cannot be written.
    pub fn create(root: &Path, recipe: &Recipe) -> Result<Self> {
        let paths = RunPaths::new(root);
        fs::create_dir_all(root).map_err(Error::file(root))?;
        refuse_other_content(&paths)?;
        let lock = RunLock::acquire(root)?;
        // Once more under the lock: another process may have made a run meanwhile.
        refuse_other_content(&paths)?;
        let text = recipe.to_toml();
        cortical_io::write_atomic(paths.recipe(), |file| file.write_all(text.as_bytes()))?;
        Ok(Self {
            paths,
            lock,
            is_new: true,
        })
    }

    /// Makes a new run in the first free folder of `NAME-001`, `NAME-002`, ... in `parent`.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn create_numbered(parent: &Path, name: &str, recipe: &Recipe) -> Result<Self> {
        fs::create_dir_all(parent).map_err(Error::file(parent))?;
        let mut number = 1_u64;
        loop {
            let root = parent.join(format!("{name}-{number:03}"));
            // Making the folder decides who has the number, whoever else is looking for one.
            match fs::create_dir(&root) {
                Ok(()) => return Self::create(&root, recipe),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::file(root)(error)),
            }
        }
    }

    /// Opens the run in the folder `root` to continue it.
    ///
    /// # Errors
    /// [`Error::NotARun`]; a folder that another process uses; a recipe that cannot be read.
    pub fn open(root: &Path) -> Result<(Self, Recipe)> {
        RunPaths::new(root).open()
    }

    /// The names in the folder.
    #[must_use]
    pub fn paths(&self) -> &RunPaths {
        &self.paths
    }

    /// Undoes [`RunFolder::create`] for a run that cannot begin, so that no dead folder stays. What cannot be removed
    /// stays.
    pub(crate) fn discard_if_new(self) {
        if !self.is_new {
            return;
        }
        let root = self.paths.root().to_owned();
        let _ = fs::remove_file(self.paths.recipe());
        let _ = fs::remove_file(root.join(".lock"));
        drop(self.lock);
        // Refuses unless it is empty, which is what we want.
        let _ = fs::remove_dir(root);
    }
}

/// Refuses a folder with anything in it but what our own lock and interrupted writes leave.
fn refuse_other_content(paths: &RunPaths) -> Result<()> {
    let root = paths.root();
    if paths.is_run() {
        return Err(Error::RunExists {
            path: root.to_owned(),
        });
    }
    for entry in fs::read_dir(root).map_err(Error::file(root))? {
        let name = entry.map_err(Error::file(root))?.file_name();
        let name = name.to_string_lossy();
        if name != ".lock" && !name.starts_with(".cortical-tmp-") {
            return Err(Error::FolderNotEmpty {
                path: root.to_owned(),
                found: name.into_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_anything_in_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = Recipe::for_data("iris");
        let root = folder.path().join("a/b");
        let run = RunFolder::create(&root, &recipe).unwrap();
        assert_eq!(run.paths().read_recipe().unwrap(), recipe);
        let error = RunFolder::create(&root, &recipe).unwrap_err();
        let shown = root.display();
        assert_eq!(
            error.to_string(),
            format!(
                "{shown} already holds a run; continue it with `cortical resume {shown}`, or choose another folder"
            )
        );
        run.discard_if_new();
        assert!(!root.exists());

        fs::create_dir_all(&root).unwrap();
        fs::write(root.join(".cortical-tmp-1-1"), "left behind").unwrap();
        drop(RunFolder::create(&root, &recipe).unwrap());

        let other = folder.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("thesis.txt"), "mine").unwrap();
        let error = RunFolder::create(&other, &recipe).unwrap_err().to_string();
        let shown = other.display();
        assert_eq!(
            error,
            format!(
                "{shown} is not empty (it has \"thesis.txt\") and holds no run; choose another folder"
            )
        );
    }

    #[test]
    fn numbers_go_up_and_gaps_are_filled() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = Recipe::for_data("iris");
        let name = |run: &RunFolder| {
            let name = run.paths().root().file_name().unwrap();
            name.to_str().unwrap().to_owned()
        };
        let first = RunFolder::create_numbered(folder.path(), "iris", &recipe).unwrap();
        let second = RunFolder::create_numbered(folder.path(), "iris", &recipe).unwrap();
        assert_eq!(
            (&name(&first)[..], &name(&second)[..]),
            ("iris-001", "iris-002")
        );
    }

    #[test]
    fn what_is_no_run_cannot_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        let error = RunFolder::open(folder.path()).unwrap_err();
        let shown = folder.path().display();
        assert_eq!(
            error.to_string(),
            format!(
                "{shown} holds no run: it has no recipe.toml; start one there with `cortical train --out {shown}`"
            )
        );
        assert!(
            !folder.path().join(".lock").exists(),
            "looking leaves nothing behind"
        );
    }
}

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
/// Bytes of a report that are read at most: one of many classes has a line of some hundred for each.
const REPORT_BYTES: u64 = 1 << 28;

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

    /// The files that the run's data were in: sizes and hashes.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.root.join("data.json")
    }

    /// The trained model.
    #[must_use]
    pub fn model(&self) -> PathBuf {
        self.root.join("model.safetensors")
    }

    /// Which weights of the trained model are connected, where some are pruned.
    #[must_use]
    pub fn masks(&self) -> PathBuf {
        self.root.join("masks.safetensors")
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
        let read = Recipe::from_toml_with(&recipe_text(&path)?, None, &[], &self.kinds);
        read.map_err(|why| why.of_recipe(&path))
    }

    /// Reads the network of pictures or of a table that a training wrote here.
    ///
    /// # Errors
    /// As [`TrainedModel::load`]; [`Error::NotFinished`] and [`Error::ModelLost`].
    pub fn load_model(&self, device: &Device) -> Result<TrainedModel> {
        if self.is_run() && !self.model().exists() {
            return Err(self.no_model());
        }
        TrainedModel::load_with(&self.model(), device, &self.kinds)
    }

    /// The error for a run whose model is not there: it is not finished, or has lost it.
    #[must_use]
    pub fn no_model(&self) -> Error {
        let path = self.root.clone();
        match self.report().exists() {
            true => Error::ModelLost { path },
            false => Error::NotFinished { path },
        }
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
        let folder = RunFolder {
            paths,
            lock,
            made: None,
            takes_changed_data: false,
        };
        Ok((folder, recipe))
    }

    /// The report of a finished run, `None` if it is not finished.
    ///
    /// # Errors
    /// A file that cannot be read, or is no report.
    pub fn read_report(&self) -> Result<Option<Report>> {
        let path = self.report();
        if fs::symlink_metadata(&path).is_err_and(|why| why.kind() == ErrorKind::NotFound) {
            return Ok(None);
        }
        let json = cortical_io::read_text(&path, REPORT_BYTES)?;
        match Report::from_json(json.as_bytes()) {
            Ok(report) => Ok(Some(report)),
            Err(why) => Err(Error::BadReport { path, why }),
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
    let text = recipe_text(path)?;
    let why = match Recipe::from_toml(&text, None, overrides) {
        Ok(recipe) => return Ok(recipe),
        Err(why) => why,
    };
    // What is wrong without the overrides too is the file's.
    let alone = Recipe::from_toml(&text, None, &[]);
    let is_of_file = alone.is_err_and(|alone| alone.to_string() == why.to_string());
    Err(if is_of_file { why.of_recipe(path) } else { why })
}

/// The text of a recipe.
fn recipe_text(path: &Path) -> Result<String> {
    Ok(cortical_io::read_text(path, RECIPE_BYTES)?)
}

/// A run folder that this process has locked.
#[derive(Debug)]
pub struct RunFolder {
    paths: RunPaths,
    lock: RunLock,
    /// What this process made for the run, so that it may be undone before it begins; `None` for a run that was there.
    made: Option<Made>,
    /// Whether the run goes on although its data have changed.
    takes_changed_data: bool,
}

/// What was made for a run that has not begun.
#[derive(Clone, Debug)]
pub struct Made {
    paths: RunPaths,
    /// Folders that were not there before, the innermost first.
    folders: Vec<PathBuf>,
}

impl Made {
    /// Removes it again, so that no dead folder stays. What cannot be removed stays.
    pub fn undo(self) {
        for file in [self.paths.recipe(), self.paths.data()] {
            let _ = fs::remove_file(file);
        }
        let _ = fs::remove_file(self.paths.root.join(".lock"));
        for folder in self.folders {
            // Refuses unless it is empty, which is what we want.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The folders of this path that are not there, the innermost first.
fn missing(path: &Path) -> Vec<PathBuf> {
    let all = path.ancestors().filter(|path| !path.as_os_str().is_empty());
    all.take_while(|path| !path.exists())
        .map(Path::to_owned)
        .collect()
}

/// Makes a folder and what is missing above it.
fn make_folder(path: &Path) -> Result<()> {
    let there = path.ancestors().find(|above| above.exists());
    if let Some(file) = there.filter(|there| !there.is_dir()) {
        return Err(Error::NoFolder {
            path: path.to_owned(),
            file: file.to_owned(),
        });
    }
    fs::create_dir_all(path).map_err(|why| Error::CannotMake {
        path: path.to_owned(),
        why,
    })
}

impl RunFolder {
    /// Makes a new run in the folder `root`, which may exist if it is empty.
    ///
    /// # Errors
    /// [`Error::RunExists`], [`Error::FolderNotEmpty`]; a folder that another process uses or that cannot be written.
    pub fn create(root: &Path, recipe: &Recipe) -> Result<Self> {
        Self::make(root, missing(root), recipe)
    }

    /// Makes a run; `folders` were not there before.
    fn make(root: &Path, folders: Vec<PathBuf>, recipe: &Recipe) -> Result<Self> {
        let paths = RunPaths::new(root);
        let text = recipe.to_toml();
        if text.len() as u64 > RECIPE_BYTES {
            return Err(Error::LongRecipe {
                bytes: text.len() as u64,
                most: RECIPE_BYTES,
            });
        }
        make_folder(root)?;
        refuse_other_content(&paths)?;
        let lock = RunLock::acquire(root)?;
        // Once more under the lock: another process may have made a run meanwhile.
        refuse_other_content(&paths)?;
        cortical_io::write_atomic(paths.recipe(), |file| file.write_all(text.as_bytes()))?;
        Ok(Self {
            made: Some(Made {
                paths: paths.clone(),
                folders,
            }),
            paths,
            lock,
            takes_changed_data: false,
        })
    }

    /// Makes a new run in the first free folder of `NAME-001`, `NAME-002`, ... in `parent`.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn create_numbered(parent: &Path, name: &str, recipe: &Recipe) -> Result<Self> {
        let above = missing(parent);
        make_folder(parent)?;
        let mut number = 1_u64;
        loop {
            let root = parent.join(format!("{name}-{number:03}"));
            // Making the folder decides who has the number, whoever else is looking for one.
            match fs::create_dir(&root) {
                Ok(()) => {
                    let mut folders = vec![root.clone()];
                    folders.extend(above);
                    return Self::make(&root, folders, recipe);
                }
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

    /// Goes on although the data are not those that the run began with: the person knows it. The run then belongs to
    /// the data that there are now.
    pub fn take_changed_data(&mut self) {
        self.takes_changed_data = true;
    }

    /// Whether it goes on although its data have changed.
    pub(crate) fn takes_changed_data(&self) -> bool {
        self.takes_changed_data
    }

    /// What this process made for the run; `None` for a run that was there.
    #[must_use]
    pub fn made(&self) -> Option<&Made> {
        self.made.as_ref()
    }

    /// The names in the folder.
    #[must_use]
    pub fn paths(&self) -> &RunPaths {
        &self.paths
    }

    /// Undoes [`RunFolder::create`] for a run that cannot begin.
    pub(crate) fn discard_if_new(self) {
        if let Some(made) = self.made {
            made.undo();
        }
        drop(self.lock);
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
        let parent = root.parent().unwrap();
        assert!(!parent.exists(), "what was made above it is gone too");

        fs::create_dir_all(&root).unwrap();
        RunFolder::create(&root, &recipe).unwrap().discard_if_new();
        assert!(root.is_dir() && fs::read_dir(&root).unwrap().next().is_none());

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

//! Checkpoints: `step-N/` folders that are complete or absent, verified when they are read.
//!
//! A folder has `model.safetensors` (weights and buffers, a model file like any other), `optimizer.safetensors` (the
//! optimizer's tensors), where weights are averaged `average.safetensors`, where some are pruned `pruning.safetensors`,
//! and `state.json` (the numbers of [`TrainingState`], and sizes and checksums of the other files). The folder is
//! written under a temporary name, `state.json` last; all of it is brought to the disk, and then renamed.

mod damage;
mod state;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

use crate::atomic::{
    TEMPORARY, Temporary, parent, rename, sweep_temporaries, sync_folder, write_durable,
};
use crate::write::Plan;
use crate::{Error, Metadata, Result, TensorFile};
use state::{FileRecord, Manifest};

pub use damage::{CHECKPOINT_VERSION, Damage};
pub use state::TrainingState;

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
/// Absent without averages, and before version 2.
const AVERAGE: &str = "average.safetensors";
/// Absent where nothing is pruned, and before version 4.
const PRUNING: &str = "pruning.safetensors";
const STATE: &str = "state.json";

/// Bytes of a `state.json` that we read at most.
const STATE_BYTES: u64 = 16 << 20;

/// Everything that a training needs to continue with the same bits.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// Numbers: step, position in the data, random streams and so on.
    pub state: TrainingState,
    /// Weights and buffers by name.
    pub model: Vec<(String, Tensor)>,
    /// What the model file says about itself.
    pub metadata: Metadata,
    /// The optimizer's tensors by name.
    pub optimizer: Vec<(String, Tensor)>,
    /// Averages of the weights by name, empty where there are none.
    pub average: Vec<(String, Tensor)>,
    /// Masks of pruned weights and what else pruning has to remember, by name; empty where nothing is pruned.
    pub pruning: Vec<(String, Tensor)>,
}

/// The newest checkpoint that can be used, and what was found on the way to it.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Latest {
    /// The checkpoint, `None` if there is none that can be used.
    pub checkpoint: Option<Checkpoint>,
    /// Newer checkpoints that are damaged, newest first. The user should be told.
    pub skipped: Vec<Skipped>,
}

/// A damaged checkpoint that was passed over.
#[derive(Debug, thiserror::Error)]
#[error("checkpoint of step {step} is skipped: {error}")]
#[non_exhaustive]
pub struct Skipped {
    /// Its step.
    pub step: u64,
    /// What is wrong with it.
    #[source]
    pub error: Error,
}

/// The folder `checkpoints/` of a run.
///
/// Whoever saves or prunes holds the run's [`RunLock`](crate::RunLock); reading needs no lock.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_io::{Checkpoint, CheckpointDir, TrainingState};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let run = folder.path();
/// let checkpoints = CheckpointDir::new(run.join("checkpoints"));
/// checkpoints.save(&Checkpoint {
///     state: TrainingState { step: 100, epoch: 1, ..Default::default() },
///     model: vec![("fc.weight".into(), Tensor::new(&[1f32, 2.], &Device::Cpu)?)],
///     ..Default::default()
/// })?;
/// checkpoints.prune(3)?;
///
/// let latest = checkpoints.latest_valid(&Device::Cpu)?;
/// for skipped in &latest.skipped {
///     eprintln!("warning: {skipped}");
/// }
/// assert_eq!(latest.checkpoint.map(|checkpoint| checkpoint.state.step), Some(100));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct CheckpointDir {
    path: PathBuf,
}

impl CheckpointDir {
    /// The folder at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where the checkpoints are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the checkpoint of `step`, whether it exists or not.
    #[must_use]
    pub fn folder(&self, step: u64) -> PathBuf {
        self.path.join(format!("step-{step}"))
    }

    /// Steps that have a checkpoint, in rising order; damaged ones are among them.
    ///
    /// # Errors
    /// [`Error::Read`] if the folder exists and cannot be listed.
    pub fn steps(&self) -> Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::read(&self.path))?,
        };
        let mut steps = Vec::new();
        for entry in entries {
            let name = entry.map_err(Error::read(&self.path))?.file_name();
            let step = name
                .to_str()
                .and_then(|name| name.strip_prefix("step-")?.parse::<u64>().ok());
            // `step-007` and `step-+7` are somebody else's.
            steps.extend(step.filter(|&step| self.folder(step).file_name() == Some(&name)));
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// Writes a checkpoint, and returns its folder once everything is on the disk.
    ///
    /// A checkpoint of the same step is replaced. Checkpoints of later steps are removed afterwards: the training went
    /// back behind them, and they would be taken for its newest.
    ///
    /// # Errors
    /// [`Error::Unwritable`] for tensors that cannot be stored; [`Error::Write`] if the operating system fails. What
    /// was there before is then still there.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<PathBuf> {
        let target = self.folder(checkpoint.state.step);
        let plan = |tensors, metadata| {
            Plan::new(tensors, metadata).map_err(|defect| Error::Unwritable {
                path: target.clone(),
                defect,
            })
        };
        let model = plan(&checkpoint.model, &checkpoint.metadata)?;
        let none = Metadata::new();
        let optimizer = plan(&checkpoint.optimizer, &none)?;
        let mut contents = vec![(MODEL, model), (OPTIMIZER, optimizer)];
        for (name, tensors) in [
            (AVERAGE, &checkpoint.average),
            (PRUNING, &checkpoint.pruning),
        ] {
            if !tensors.is_empty() {
                contents.push((name, plan(tensors, &none)?));
            }
        }

        self.create()?;
        self.recover()?;
        let write = || -> io::Result<()> {
            let temporary = Temporary::folder(&self.path)?;
            let mut files = BTreeMap::new();
            for (name, plan) in contents {
                let record = write_durable(&temporary.path.join(name), |writer| {
                    let mut writer = Recording {
                        writer,
                        bytes: 0,
                        crc32: crc32fast::Hasher::new(),
                    };
                    plan.write(&mut writer)?;
                    Ok(FileRecord {
                        bytes: writer.bytes,
                        crc32: writer.crc32.finalize(),
                    })
                })?;
                files.insert(name.to_owned(), record);
            }
            let state = Manifest::new(checkpoint.state.clone(), files).to_bytes();
            write_durable(&temporary.path.join(STATE), |writer| {
                writer.write_all(&state)
            })?;
            sync_folder(&temporary.path)?;
            self.replace(temporary, &target)
        };
        write().map_err(Error::write(&target))?;
        for later in self
            .steps()?
            .into_iter()
            .filter(|&step| step > checkpoint.state.step)
        {
            self.remove(later)?;
        }
        Ok(target)
    }

    /// Reads and verifies the checkpoint of `step`.
    ///
    /// # Errors
    /// [`Error::NoCheckpoint`] if there is none, [`Error::Damaged`] if it is not what was written,
    /// [`Error::NewerCheckpoint`] if a newer version of this crate wrote it, and those of [`TensorFile`].
    pub fn load(&self, step: u64, device: &Device) -> Result<Checkpoint> {
        let folder = self.folder(step);
        if !folder.is_dir() {
            return Err(Error::NoCheckpoint {
                path: self.path.clone(),
                step,
            });
        }
        let damaged = |damage| Error::Damaged {
            path: folder.clone(),
            damage,
        };
        let json = read_state(&folder)?;
        let manifest = Manifest::parse(&folder, &json)?;
        if manifest.state.step != step {
            return Err(damaged(Damage::Step {
                got: manifest.state.step,
            }));
        }
        let has = |file: &&str| manifest.files.contains_key(*file);
        let files = [MODEL, OPTIMIZER]
            .into_iter()
            .chain([AVERAGE, PRUNING].into_iter().filter(has));
        for file in files {
            let record = manifest
                .files
                .get(file)
                .ok_or_else(|| damaged(Damage::Missing { file: file.into() }))?;
            verify(&folder, file, record)?;
        }
        let model = TensorFile::open(folder.join(MODEL))?;
        let optional = |file: &str| match has(&file) {
            true => TensorFile::open(folder.join(file))?.load_all(device),
            false => Ok(Vec::new()),
        };
        let (average, pruning) = (optional(AVERAGE)?, optional(PRUNING)?);
        Ok(Checkpoint {
            state: manifest.state,
            model: model.load_all(device)?,
            metadata: model.metadata().clone(),
            optimizer: TensorFile::open(folder.join(OPTIMIZER))?.load_all(device)?,
            average,
            pruning,
        })
    }

    /// The newest checkpoint that is what was written. Damaged ones are passed over and reported.
    ///
    /// # Errors
    /// Where passing over could lose work that is not lost: [`Error::NewerCheckpoint`] for one that a newer version of
    /// this crate wrote, [`Error::Read`] for one that may not be read.
    pub fn latest_valid(&self, device: &Device) -> Result<Latest> {
        let mut latest = Latest::default();
        for step in self.steps()?.into_iter().rev() {
            match self.load(step, device) {
                Ok(checkpoint) => {
                    latest.checkpoint = Some(checkpoint);
                    break;
                }
                Err(
                    error @ (Error::Damaged { .. }
                    | Error::Malformed { .. }
                    | Error::NoCheckpoint { .. }),
                ) => {
                    latest.skipped.push(Skipped { step, error });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(latest)
    }

    /// Removes all checkpoints but the newest `keep`. Returns the steps that were removed.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Write`] if the folder cannot be listed or changed.
    pub fn prune(&self, keep: usize) -> Result<Vec<u64>> {
        let mut steps = self.steps()?;
        steps.truncate(steps.len().saturating_sub(keep));
        for &step in &steps {
            self.remove(step)?;
        }
        Ok(steps)
    }

    /// Clears away what a killed process left: a checkpoint that was about to be replaced gets its name back if the new
    /// one did not, and everything else that is half done is removed. [`save`](Self::save) calls it; whoever opens a
    /// run does so as well.
    ///
    /// # Errors
    /// [`Error::Read`] or [`Error::Write`] if the folder cannot be listed or changed.
    pub fn recover(&self) -> Result<()> {
        if !self.path.is_dir() {
            return Ok(());
        }
        for entry in fs::read_dir(&self.path).map_err(Error::read(&self.path))? {
            let aside = entry.map_err(Error::read(&self.path))?.path();
            let name = aside.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with(TEMPORARY) {
                continue;
            }
            for step in Self::new(&aside).steps()? {
                let (old, target) = (Self::new(&aside).folder(step), self.folder(step));
                if !target.exists() {
                    let restore = rename(&old, &target).and_then(|()| sync_folder(&self.path));
                    restore.map_err(Error::write(&target))?;
                }
            }
        }
        sweep_temporaries(&self.path)?;
        Ok(())
    }

    /// Makes the folder if it is not there.
    fn create(&self) -> Result<()> {
        if self.path.is_dir() {
            return Ok(());
        }
        let create = fs::create_dir_all(&self.path).and_then(|()| sync_folder(parent(&self.path)));
        create.map_err(Error::write(&self.path))
    }

    /// Gives the finished folder its name, in place of what has it now.
    fn replace(&self, finished: Temporary, target: &Path) -> io::Result<()> {
        // Under its own name in a temporary folder, where `recover` finds it should we be killed before the second
        // rename.
        let aside = Temporary::folder(&self.path)?;
        let old = aside.path.join(target.file_name().unwrap_or_default());
        let replaced = match rename(target, &old) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if let Err(error) = rename(&finished.path, target) {
            if replaced && rename(&old, target).is_err() {
                // `recover` will do it.
                aside.keep();
            }
            return Err(error);
        }
        finished.keep();
        sync_folder(&self.path)
    }

    /// Removes a checkpoint: at once by its name, then its files.
    fn remove(&self, step: u64) -> Result<()> {
        let folder = self.folder(step);
        let remove = || {
            let aside = Temporary::folder(&self.path)?;
            rename(&folder, &aside.path.join("old"))
        };
        remove().map_err(Error::write(&folder))
    }
}

/// Reads `state.json`, unless it is missing or too long to be one.
fn read_state(folder: &Path) -> Result<Vec<u8>> {
    let path = folder.join(STATE);
    let damaged = |damage| Error::Damaged {
        path: folder.into(),
        damage,
    };
    let file = open(folder, STATE)?;
    let got = file.metadata().map_err(Error::read(&path))?.len();
    if got > STATE_BYTES {
        return Err(damaged(Damage::Size {
            file: STATE.into(),
            expected: STATE_BYTES,
            got,
        }));
    }
    let mut bytes = Vec::new();
    file.take(STATE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(Error::read(&path))?;
    Ok(bytes)
}

/// Opens a file of a checkpoint; its absence is damage.
fn open(folder: &Path, file: &str) -> Result<File> {
    let path = folder.join(file);
    match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let damage = Damage::Missing { file: file.into() };
            Err(Error::Damaged {
                path: folder.into(),
                damage,
            })
        }
        opened => opened.map_err(Error::read(&path)),
    }
}

/// Compares a file with the record that was made when it was written.
fn verify(folder: &Path, name: &str, record: &FileRecord) -> Result<()> {
    let path = folder.join(name);
    let damaged = |damage| {
        Err(Error::Damaged {
            path: folder.into(),
            damage,
        })
    };
    let file = open(folder, name)?;
    let (expected, got) = (
        record.bytes,
        file.metadata().map_err(Error::read(&path))?.len(),
    );
    if got != expected {
        return damaged(Damage::Size {
            file: name.into(),
            expected,
            got,
        });
    }
    let mut found = Recording {
        writer: &mut io::sink(),
        bytes: 0,
        crc32: crc32fast::Hasher::new(),
    };
    let mut file = io::BufReader::with_capacity(1 << 18, file);
    io::copy(&mut file, &mut found).map_err(Error::read(&path))?;
    if found.crc32.finalize() != record.crc32 {
        return damaged(Damage::Checksum { file: name.into() });
    }
    Ok(())
}

/// A writer that counts and sums up what it passes on.
struct Recording<'a> {
    writer: &'a mut dyn Write,
    bytes: u64,
    crc32: crc32fast::Hasher,
}

impl Write for Recording<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.writer.write(bytes)?;
        self.bytes += count as u64;
        self.crc32.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

#[cfg(test)]
mod faults;

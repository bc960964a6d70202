//! One process at a time in a run folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::atomic::sweep_temporaries;
use crate::{Error, Result};

/// Name of the file that carries the lock.
const FILE: &str = ".lock";

/// The right to work in a run folder, held until dropped.
///
/// It is the operating system's lock on the file `.lock` in the folder, which ends with the process however the
/// process ends. The file itself stays and means nothing.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let run = folder.path();
/// let lock = cortical_io::RunLock::acquire(run)?;
/// assert!(cortical_io::RunLock::acquire(run).is_err());
/// drop(lock);
/// assert!(cortical_io::RunLock::acquire(run).is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the lock is given back when this is dropped"]
pub struct RunLock {
    folder: PathBuf,
    /// Closing the file gives the lock back.
    _file: File,
}

impl RunLock {
    /// Locks an existing folder, and removes the temporary files and folders of this crate that killed processes left
    /// there.
    ///
    /// # Errors
    /// [`Error::Locked`] at once, without waiting, if another process holds the lock; [`Error::Lock`] if the folder
    /// does not exist or has no locks; [`Error::Read`] or [`Error::Write`] if it cannot be listed or changed.
    pub fn acquire(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        let path = folder.join(FILE);
        // Before it is opened, as opening a pipe waits for somebody who reads.
        if std::fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(Error::NotAFile { path });
        }
        let open = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let locked = open
            .map_err(TryLockError::Error)
            .and_then(|file| file.try_lock().map(|()| file));
        match locked {
            Ok(file) => {
                sweep_temporaries(&folder)?;
                Ok(Self {
                    folder,
                    _file: file,
                })
            }
            Err(TryLockError::WouldBlock) => Err(Error::Locked { folder }),
            Err(TryLockError::Error(source)) => Err(Error::Lock { folder, source }),
        }
    }

    /// The locked folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_by_name_and_a_stale_file_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "left behind").unwrap();
        std::fs::write(folder.path().join(".cortical-tmp-1-1"), "left behind").unwrap();
        let lock = RunLock::acquire(folder.path()).unwrap();
        assert_eq!(lock.folder(), folder.path());
        assert!(!folder.path().join(".cortical-tmp-1-1").exists());

        let refused = RunLock::acquire(folder.path()).unwrap_err();
        assert!(matches!(refused, Error::Locked { .. }));
        let message = refused.to_string();
        let want = format!("{} is in use by another process", folder.path().display());
        assert!(message.starts_with(&want), "{message}");
        drop(lock);
        drop(RunLock::acquire(folder.path()).unwrap());
        assert!(folder.path().join(FILE).exists());
    }

    #[test]
    fn a_missing_folder_cannot_be_locked() {
        let folder = tempfile::tempdir().unwrap();
        let missing = RunLock::acquire(folder.path().join("none"));
        assert!(matches!(missing, Err(Error::Lock { .. })), "{missing:?}");
    }
}

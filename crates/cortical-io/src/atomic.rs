//! Writing that a crash cannot leave half done, and that a power failure cannot undo.
//!
//! The new content goes to a temporary file in the same folder; it reaches the disk (`fsync`) before it takes the
//! old file's name (`rename`, which the file system does at once or not at all), and then the folder's own change
//! reaches the disk as well.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::fault::{self, Op};
use crate::{Error, Result};

/// How the names of our temporary files and folders start.
pub(crate) const TEMPORARY: &str = ".cortical-tmp-";

/// Replaces the file at `path` by what `write` writes: a reader, and whoever looks after a crash, finds the old
/// content or the new one, whole.
///
/// The new file has the permissions that new files get (the process's umask). A symbolic link stays, and the file it
/// points to is replaced. When this function returns `Ok`, the content has reached the disk.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("notes.txt");
/// cortical_io::write_atomic(&path, |w| w.write_all(b"all or nothing"))?;
/// assert_eq!(std::fs::read(&path)?, b"all or nothing");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::NotAFile`] if a folder, device or pipe stands at `path`; [`Error::Write`] if `write` or the operating
/// system fails, with the old file untouched and nothing left behind; [`Error::NotDurable`] if the new file is in
/// place but the system could not say that it is on the disk.
pub fn write_atomic<T>(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> Result<T> {
    let path = path.as_ref();
    let target = resolve(path)?;
    let folder = parent(&target);
    let temporary = Temporary::file(folder).map_err(Error::write(path))?;
    let value = write_durable(&temporary.path, write).map_err(Error::write(path))?;
    rename(&temporary.path, &target).map_err(Error::write(path))?;
    temporary.keep();
    sync_folder(folder).map_err(|source| Error::NotDurable {
        path: path.into(),
        source,
    })?;
    Ok(value)
}

/// Replaces several files of one folder, after all of them are on the disk: those before the last one are of no use
/// without it, such as the parts of a model whose index comes last.
pub(crate) fn write_together<T>(
    files: &[T],
    path: impl Fn(&T) -> PathBuf,
    mut write: impl FnMut(&T, &mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let mut ready = Vec::with_capacity(files.len());
    for file in files {
        let path = path(file);
        let target = resolve(&path)?;
        let temporary = Temporary::file(parent(&target)).map_err(Error::write(&path))?;
        write_durable(&temporary.path, |out| write(file, out)).map_err(Error::write(&path))?;
        ready.push((path, target, temporary));
    }
    let mut folders = std::collections::BTreeMap::new();
    for (path, target, temporary) in ready {
        rename(&temporary.path, &target).map_err(Error::write(&path))?;
        temporary.keep();
        folders.insert(parent(&target).to_owned(), path);
    }
    for (folder, path) in folders {
        sync_folder(&folder).map_err(|source| Error::NotDurable { path, source })?;
    }
    Ok(())
}

/// Removes what killed processes left in `folder`: temporary files and folders of this crate. Returns how many.
///
/// Only safe while nobody else writes there; [`RunLock`](crate::RunLock) promises that for a run folder and calls this.
///
/// # Errors
/// [`Error::Read`] if the folder cannot be listed, [`Error::Write`] if something cannot be removed.
pub(crate) fn sweep_temporaries(folder: impl AsRef<Path>) -> Result<usize> {
    let folder = folder.as_ref();
    let mut removed = 0;
    for entry in fs::read_dir(folder).map_err(Error::read(folder))? {
        let entry = entry.map_err(Error::read(folder))?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            remove(&entry.path()).map_err(Error::write(&entry.path()))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Writes into the existing, empty file at `path` and waits until it is on the disk.
pub(crate) fn write_durable<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> io::Result<T> {
    fault::check(Op::Create)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    let mut buffered = BufWriter::with_capacity(1 << 16, fault::Watched(file));
    let value = write(&mut buffered)?;
    let file = buffered
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    fault::check(Op::Sync)?;
    file.0.sync_all()?;
    Ok(value)
}

/// Gives a file or folder another name, at once or not at all.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fault::check(Op::Rename)?;
    fs::rename(from, to)
}

/// Waits until the names in `folder` are on the disk.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Other systems do not open folders; there a rename is as durable as it gets.
    if cfg!(not(unix)) {
        return Ok(());
    }
    fault::check(Op::Sync)?;
    match File::open(folder)?.sync_all() {
        // Some file systems have no such operation for folders.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// The folder that holds `path`; `.` for a bare file name.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A temporary file or folder, removed when dropped unless it was kept.
#[derive(Debug)]
pub(crate) struct Temporary {
    pub(crate) path: PathBuf,
    kept: bool,
}

impl Temporary {
    /// A new empty file in `folder`.
    pub(crate) fn file(folder: &Path) -> io::Result<Self> {
        Self::create(folder, |path| File::create_new(path).map(drop))
    }

    /// A new empty folder in `folder`.
    pub(crate) fn folder(folder: &Path) -> io::Result<Self> {
        Self::create(folder, |path| fs::create_dir(path))
    }

    /// Creates something in `folder` under a name that nothing has.
    fn create(folder: &Path, create: impl Fn(&Path) -> io::Result<()>) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        fault::check(Op::Create)?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{TEMPORARY}{}-{number}", std::process::id()));
            match create(&path) {
                Ok(()) => return Ok(Self { path, kept: false }),
                // Left behind by a killed process that had our id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Leaves it where it is, or where it has been renamed to.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // The error that led here is the one to report; what stays behind now is swept later.
            let _ = remove(&self.path);
        }
    }
}

/// Removes a file, a link or a whole folder.
fn remove(path: &Path) -> io::Result<()> {
    fault::check(Op::Remove)?;
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// The file that is to be replaced: `path` itself or what it links to.
fn resolve(path: &Path) -> Result<PathBuf> {
    let not_a_file = || Error::NotAFile { path: path.into() };
    path.file_name().ok_or_else(not_a_file)?;
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(not_a_file()),
        Ok(_) if path.is_symlink() => fs::canonicalize(path).map_err(Error::write(path)),
        Ok(_) => Ok(path.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(Error::write(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomic(&path, |w| w.write_all(b"old")).unwrap();
        let failed = write_atomic(&path, |w| {
            w.write_all(&[0; 100_000])?;
            assert_eq!(
                names(folder.path()).len(),
                2,
                "the new content is not in a file of its own"
            );
            Err::<(), _>(io::Error::other("the disk is full"))
        });
        let message = failed.unwrap_err().to_string();
        assert!(
            message.ends_with("the disk is full; what was there before is unchanged"),
            "{message}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn a_panic_while_writing_leaves_no_litter_either() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let panicked = std::panic::catch_unwind(|| {
            write_atomic(&path, |_| -> io::Result<()> { panic!("on purpose") })
        });
        assert!(panicked.is_err());
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn only_files_are_replaced_and_links_stay_links() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), Path::new("/"), Path::new("..")] {
            let refused = write_atomic(path, |w| w.write_all(b"x"));
            assert!(
                matches!(refused, Err(Error::NotAFile { .. })),
                "{}",
                path.display()
            );
        }
        let missing = folder.path().join("no/such/folder");
        assert!(matches!(
            write_atomic(missing, |_| Ok(())),
            Err(Error::Write { .. })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_not_replaced_links_stay_links_and_modes_follow_the_umask() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let refused = write_atomic("/dev/null", |w| w.write_all(b"x"));
        assert!(matches!(refused, Err(Error::NotAFile { .. })));

        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        symlink(&file, &link).unwrap();
        write_atomic(&link, |w| w.write_all(b"new")).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");

        let plain = folder.path().join("plain");
        File::create(&plain).unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&file), mode(&plain));
    }

    #[test]
    fn litter_of_killed_processes_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model"), "").unwrap();
        fs::write(folder.path().join(".hidden"), "").unwrap();
        Temporary::file(folder.path()).unwrap().keep();
        let stale = folder.path().join(format!("{TEMPORARY}1-1"));
        fs::create_dir(&stale).unwrap();
        fs::write(stale.join("inside"), "").unwrap();
        assert_eq!(sweep_temporaries(folder.path()).unwrap(), 2);
        assert_eq!(names(folder.path()), [".hidden", "model"]);
    }
}

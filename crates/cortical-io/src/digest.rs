//! What files held at a moment: enough to notice that they have changed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Error, Result};

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 18;

/// Number, size and SHA-256 of one file or of some files together.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("abc.txt");
/// std::fs::write(&path, "abc")?;
/// let digest = cortical_io::Digest::of_file(&path)?;
/// assert_eq!((digest.files, digest.bytes), (1, 3));
/// assert!(digest.sha256.starts_with("ba7816bf")); // as sha256sum says
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Digest {
    /// How many files.
    pub files: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Lower-case hexadecimal: of one file as `sha256sum` prints it, of several the SHA-256 of the lines that
    /// `sha256sum` prints for them in their folder.
    pub sha256: String,
}

impl Digest {
    /// Of one file, which is read whole.
    ///
    /// # Errors
    /// [`Error::NotAFile`] for a folder, a pipe or a device; [`Error::Read`].
    pub fn of_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        // Before it is opened, as opening a pipe waits for somebody who writes.
        if !std::fs::metadata(path)
            .map_err(Error::read(path))?
            .is_file()
        {
            return Err(Error::NotAFile { path: path.into() });
        }
        let mut file = File::open(path).map_err(Error::read(path))?;
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let mut buffer = vec![0; BUFFER];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hash.update(&buffer[..count]);
                    bytes += count as u64;
                }
                Err(why) if why.kind() == std::io::ErrorKind::Interrupted => {}
                Err(why) => return Err(Error::read(path)(why)),
            }
        }
        Ok(Self {
            files: 1,
            bytes,
            sha256: hexadecimal(hash),
        })
    }

    /// Of files together, in this order and with their names without folders.
    ///
    /// # Errors
    /// As [`Digest::of_file`].
    pub fn of_files(paths: &[PathBuf]) -> Result<Self> {
        let each: Result<Vec<Self>> = paths.par_iter().map(Self::of_file).collect();
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        for (path, digest) in paths.iter().zip(each?) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            hash.update(format!("{}  {name}\n", digest.sha256));
            bytes += digest.bytes;
        }
        Ok(Self {
            files: paths.len() as u64,
            bytes,
            sha256: hexadecimal(hash),
        })
    }
}

fn hexadecimal(hash: Sha256) -> String {
    let bytes = hash.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sizes_and_contents_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("a"), "one").unwrap();
        std::fs::write(path("b"), "two").unwrap();
        let both = Digest::of_files(&[path("a"), path("b")]).unwrap();
        assert_eq!((both.files, both.bytes), (2, 6));
        // printf 'one' > a; printf 'two' > b; sha256sum a b | sha256sum
        assert!(both.sha256.starts_with(SUM_OF_SUMS), "{}", both.sha256);
        assert_ne!(both, Digest::of_files(&[path("b"), path("a")]).unwrap());
        std::fs::rename(path("b"), path("c")).unwrap();
        assert_ne!(both, Digest::of_files(&[path("a"), path("c")]).unwrap());
        let error = Digest::of_file(folder.path()).unwrap_err();
        assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    }

    const SUM_OF_SUMS: &str = "d17138d963824036";
}

//! The files that data come from, so that a training notices when they change.

use std::collections::BTreeMap;
use std::path::Path;

use cortical_io::Digest;

use crate::catalog::{FASHION_MNIST, OpenOptions, fashion_folder};
use crate::error::{Error, Result};
use crate::{catalog, idx, pictures};

/// What the files hold that [`open`](crate::open) reads with these arguments: by their names in the folder that they
/// are in, the pictures of a class together. Nothing for data that are part of the program.
///
/// # Errors
/// As [`open`](crate::open) for data that are nowhere; files that cannot be read.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("flowers.csv");
/// std::fs::write(&path, "1,2,red\n3,4,blue\n")?;
/// let sources = cortical_data::sources(path.to_str().unwrap(), &Default::default())?;
/// assert_eq!(sources["flowers.csv"].bytes, 17);
/// assert!(cortical_data::sources("digits", &Default::default())?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sources(name_or_path: &str, options: &OpenOptions) -> Result<BTreeMap<String, Digest>> {
    if name_or_path == FASHION_MNIST {
        return of_idx(&fashion_folder(options)?);
    }
    if catalog().iter().any(|entry| entry.name == name_or_path) {
        return Ok(BTreeMap::new());
    }
    let path = Path::new(name_or_path);
    if idx::is_folder(path) {
        of_idx(path)
    } else if pictures::is_folder(path) {
        of_pictures(path)
    } else if path.is_dir() {
        Err(Error::NothingToLearn {
            path: path.to_owned(),
        })
    } else if path.exists() {
        Ok([(name(path), Digest::of_file(path)?)].into())
    } else {
        Err(catalog::unknown(name_or_path))
    }
}

fn of_idx(folder: &Path) -> Result<BTreeMap<String, Digest>> {
    let files = idx::files(folder)?;
    let each = files.iter();
    each.map(|path| Ok((name(path), Digest::of_file(path)?)))
        .collect()
}

/// Every folder of pictures, whether it is a class or not: one that becomes a class is a change as well.
fn of_pictures(folder: &Path) -> Result<BTreeMap<String, Digest>> {
    let mut found = BTreeMap::new();
    for outer in pictures::folders(folder)? {
        let mut all = vec![(name(&outer), outer.clone())];
        for inner in pictures::folders(&outer)? {
            all.push((format!("{}/{}", name(&outer), name(&inner)), inner));
        }
        for (name, folder) in all {
            let files = pictures::files(&folder)?;
            if !files.is_empty() {
                found.insert(name, Digest::of_files(&files)?);
            }
        }
    }
    Ok(found)
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_pictures_of_a_class_are_one_source() {
        let folder = tempfile::tempdir().unwrap();
        let dots = include_bytes!("../data/test/dots.png");
        for class in ["train/cat", "train/dog", "test/cat", "test/dog"] {
            let class = folder.path().join(class);
            fs::create_dir_all(&class).unwrap();
            fs::write(class.join("1.png"), dots).unwrap();
        }
        let path = folder.path().to_str().unwrap();
        let before = sources(path, &OpenOptions::default()).unwrap();
        let names: Vec<&String> = before.keys().collect();
        assert_eq!(names, ["test/cat", "test/dog", "train/cat", "train/dog"]);
        fs::write(folder.path().join("train/cat/2.png"), dots).unwrap();
        let after = sources(path, &OpenOptions::default()).unwrap();
        assert_eq!(
            (before["train/cat"].files, after["train/cat"].files),
            (1, 2)
        );
        assert_eq!(before["test/cat"], after["test/cat"]);
    }

    #[test]
    fn what_is_nowhere_is_refused_as_ever() {
        for name in ["digitz", "/nowhere/at/all.csv"] {
            let error = sources(name, &OpenOptions::default()).unwrap_err();
            assert!(matches!(error, Error::UnknownDataset { .. }), "{error}");
        }
    }
}

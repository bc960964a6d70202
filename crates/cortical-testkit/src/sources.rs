//! Source text, for tests that hold one part of the repository against another.

use std::path::Path;
use std::{fs, io};

/// The text of every Rust file in a folder and the folders in it, one behind the other in the order of their names.
///
/// # Errors
/// When the folder or a file in it cannot be read.
pub fn rust_sources(folder: &Path) -> io::Result<String> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    let mut text = String::new();
    for path in paths {
        if path.is_dir() {
            text += &rust_sources(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(&path)?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_file_is_among_our_own() {
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let text = rust_sources(&ours).expect("our sources are there");
        assert!(text.contains("this_file_is_among_our_own") && text.contains("mod sources;"));
        assert!(rust_sources(&ours.join("nowhere")).is_err());
    }
}

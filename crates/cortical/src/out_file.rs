//! `--out`: what stands there already may be somebody's only copy.

use std::fs;
use std::io::Read;
use std::path::Path;

use cortical_io::TensorFile;

use crate::error::{Error, Result};

/// What a verb writes, and how it recognises that in a file.
pub(crate) struct Kind {
    name: &'static str,
    is_own: fn(&Path) -> bool,
}

/// What `logits` writes.
pub(crate) const LOGITS: Kind = Kind {
    name: "a file of logits",
    is_own: |path| {
        TensorFile::open(path).is_ok_and(|file| {
            let has = |name: &str| file.tensors().iter().any(|tensor| tensor.name() == name);
            has("ids") && (has("logits") || has("last_hidden_state"))
        })
    },
};

/// What `train --find-lr` writes.
pub(crate) const LR_PAGE: Kind = Kind {
    name: "a page of the learning rate finder",
    is_own: |path| starts_with_title(path, "Learning rate finder"),
};

/// What the title of a page of `neurons` begins with.
pub(crate) const NEURONS_TITLE: &str = "Neurons of";

/// What `neurons` writes.
pub(crate) const NEURONS_PAGE: Kind = Kind {
    name: "a page of neurons",
    is_own: |path| starts_with_title(path, NEURONS_TITLE),
};

/// What `predict --out` writes.
pub(crate) const PREDICTIONS: Kind = Kind {
    name: "a file of predictions",
    is_own: |path| {
        let mut start = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(1 << 16).read_to_end(&mut start));
        let first = start
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        read.is_ok() && String::from_utf8_lossy(first).contains("prediction")
    },
};

/// Whether a file is a page whose title begins so.
fn starts_with_title(path: &Path, title: &str) -> bool {
    let mut start = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(1024).read_to_end(&mut start));
    read.is_ok() && String::from_utf8_lossy(&start).contains(&format!("<title>{title}"))
}

/// Refuses to replace what the verb reads, whatever `force` says, and without it what is no file of this kind.
///
/// # Errors
/// [`Error::OutIsInput`], [`Error::WouldReplace`].
pub(crate) fn may_write(path: &Path, kind: &Kind, reads: &[&Path], force: bool) -> Result<()> {
    let Ok(found) = fs::canonicalize(path) else {
        return Ok(());
    };
    let is_own = (kind.is_own)(path);
    let is_read = reads.iter().any(|read| match fs::canonicalize(read) {
        Ok(read) if read.is_dir() => found.parent() == Some(&read) && !is_own,
        Ok(read) => found == read,
        Err(_) => false,
    });
    let path = path.to_owned();
    if is_read {
        return Err(Error::OutIsInput { path });
    }
    if !is_own && !force && found.is_file() {
        let kind = kind.name;
        return Err(Error::WouldReplace { path, kind });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_or_of_another_kind_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (page, thesis, new) = (path("lr.html"), path("thesis.html"), path("new.html"));
        fs::write(&page, "<!doctype html><title>Learning rate finder</title>").unwrap();
        fs::write(&thesis, "mine").unwrap();
        let may = |out: &Path, reads: &[&Path], force| may_write(out, &LR_PAGE, reads, force);
        assert!(may(&page, &[], false).is_ok() && may(&new, &[], false).is_ok());
        let refused = may(&thesis, &[], false).unwrap_err().to_string();
        assert!(refused.contains("--force"), "{refused}");
        assert!(may(&thesis, &[], true).is_ok());
        for read in [&thesis, folder.path()] {
            let error = may(&thesis, &[read], true).unwrap_err();
            assert!(matches!(error, Error::OutIsInput { .. }), "{error}");
        }
        #[cfg(unix)]
        {
            let link = path("link.html");
            std::os::unix::fs::symlink(&thesis, &link).unwrap();
            let error = may(&link, &[&thesis], true).unwrap_err();
            assert!(matches!(error, Error::OutIsInput { .. }), "{error}");
        }
    }
}

//! What can be wrong with an archive.

/// Why an archive is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveDefect {
    /// The directory at the end is not there, or not where it should be.
    #[error("the directory at the end of the archive {why}; copy or download it again")]
    Directory {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name that is no path inside the archive.
    #[error(
        "{name:?} is not a name for a file of the archive: it is empty, too long, or leads out of it"
    )]
    Name {
        /// The name, or its beginning.
        name: String,
    },
    /// A name that stands twice, so that it is not known which file is meant.
    #[error("the archive has two files {name:?}")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// The directory and the file itself say different things.
    #[error(
        "{name:?} has another {what} in the directory of the archive than at its own place; one of them is made by hand"
    )]
    Disagree {
        /// The name in the directory.
        name: String,
        /// What differs.
        what: &'static str,
    },
    /// A file that lies outside the archive or over another.
    #[error("{name:?} lies outside the archive or over another of its files")]
    Place {
        /// Its name.
        name: String,
    },
    /// A file that is packed, encrypted or a link.
    #[error(
        "{name:?} is {kind}, which is not read; unpack the archive and pack it again without that"
    )]
    Kind {
        /// Its name.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A file that says it is larger than its packed bytes can become.
    #[error("{name:?} should become {size} bytes out of {packed}, which no packing reaches")]
    Bomb {
        /// Its name.
        name: String,
        /// What it says its size is.
        size: u64,
        /// Its packed bytes.
        packed: u64,
    },
    /// A file that is needed is not there.
    #[error("it has no {name:?}")]
    Missing {
        /// Its name.
        name: String,
    },
    /// Unpacked bytes are not those that were packed.
    #[error("{name:?} is damaged: what it unpacks to is not what was packed")]
    Damaged {
        /// Its name.
        name: String,
    },
}

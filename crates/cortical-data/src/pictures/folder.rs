//! What lies in a folder of pictures: the pictures, the folders of the classes, and what is left out with a word.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::about::{About, count};
use crate::error::{Error, PictureDefect, Result, list};

/// What the files of pictures are called.
const ENDINGS: [&str; 3] = ["png", "jpg", "jpeg"];
/// What macOS, network storage and recycle bins put beside the folders of classes.
const NO_CLASS: [&str; 5] = [
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "$RECYCLE.BIN",
    "lost+found",
];
/// How deep folders are looked into for pictures to predict.
const DEEPEST: usize = 8;
/// Names of a kind that a note lists.
const SHOWN: usize = 5;

/// What lies in one folder; hidden things are left out.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Files called like a picture, sorted.
    pub(super) pictures: Vec<PathBuf>,
    /// Folders, sorted, whatever they are called.
    pub(super) folders: Vec<PathBuf>,
    /// Other files.
    others: Vec<PathBuf>,
}

impl Listing {
    /// Looks into a folder.
    ///
    /// # Errors
    /// A folder that cannot be read; something called like a picture that is none: a pipe, a device, a link to nowhere.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let failed = |why| Error::read(folder, 0, why);
        let mut found = Self::default();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path
                .file_name()
                .is_none_or(|name| name.to_string_lossy().starts_with('.'))
            {
                continue;
            }
            match fs::metadata(&path) {
                Ok(about) if about.is_dir() => found.folders.push(path),
                Ok(about) if about.is_file() && is_called_picture(&path) => {
                    found.pictures.push(path);
                }
                _ if !is_called_picture(&path) => found.others.push(path),
                Ok(_) => return Err(Error::NotAFile { path }),
                Err(why) => return Err(Error::read(&path, 0, why)),
            }
        }
        found.pictures.sort();
        found.folders.sort();
        found.others.sort();
        Ok(found)
    }
}

/// Whether a file is called like a picture that can be read.
pub(crate) fn is_called_picture(path: &Path) -> bool {
    ending(path).is_some_and(|ending| ENDINGS.contains(&&*ending))
}

fn ending(path: &Path) -> Option<String> {
    let ending = path.extension()?;
    Some(ending.to_string_lossy().to_ascii_lowercase())
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn is_no_class(folder: &Path) -> bool {
    let name = name_of(folder);
    NO_CLASS
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether a folder holds something called like a picture.
pub(super) fn has_pictures(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths = entries.map(|entry| entry.path());
    paths.any(|path| !name_of(&path).starts_with('.') && is_called_picture(&path) && !path.is_dir())
}

/// The folders of a folder, but hidden ones.
pub(crate) fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(Listing::of(folder)?.folders)
}

/// The pictures of a folder, by the endings of their names.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(Listing::of(folder)?.pictures)
}

/// The folder that is called one of these names, in letters of any case.
pub(super) fn part<'a>(folders: &'a [PathBuf], names: &[&str]) -> Result<Option<&'a PathBuf>> {
    let called = |path: &&PathBuf| {
        let name = name_of(path);
        names.iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let mut found = folders.iter().filter(called);
    match (found.next(), found.next()) {
        (Some(first), Some(second)) => Err(Error::Picture {
            path: second.clone(),
            defect: PictureDefect::TwoParts {
                other: first.clone(),
            },
        }),
        (found, _) => Ok(found),
    }
}

/// All pictures of a folder and of the folders in it, sorted, and what was left out.
///
/// # Errors
/// [`PictureDefect::NoneBeneath`] where there is none; as [`Listing::of`].
pub(super) fn beneath(folder: &Path) -> Result<(Vec<PathBuf>, LeftOut)> {
    let (mut pictures, mut left_out) = (Vec::new(), LeftOut::new(folder));
    // Links may lead round in circles.
    let (mut seen, mut open) = (
        std::collections::HashSet::new(),
        vec![(folder.to_owned(), 0)],
    );
    while let Some((folder, depth)) = open.pop() {
        let real = fs::canonicalize(&folder).map_err(|why| Error::read(&folder, 0, why))?;
        if !seen.insert(real) {
            continue;
        }
        let listing = Listing::of(&folder)?;
        left_out.others(&listing);
        pictures.extend(listing.pictures);
        for inner in listing.folders {
            if is_no_class(&inner) || depth == DEEPEST {
                left_out.folders.push(inner);
            } else {
                open.push((inner, depth + 1));
            }
        }
    }
    if pictures.is_empty() {
        return Err(Error::Picture {
            path: folder.to_owned(),
            defect: PictureDefect::NoneBeneath {
                hint: left_out.hint(),
            },
        });
    }
    pictures.sort();
    Ok((pictures, left_out))
}

/// What is not read of a folder of pictures.
#[derive(Debug)]
pub(super) struct LeftOut {
    root: PathBuf,
    /// Files of other kinds: how many have each ending, and the first of them.
    others: BTreeMap<String, (usize, PathBuf)>,
    /// Folders that are none of classes.
    folders: Vec<PathBuf>,
    /// Folders called like one of a class, without a picture.
    empty: Vec<PathBuf>,
    /// Folders within that of a class.
    within: Vec<PathBuf>,
    /// Pictures beside the folders of the classes.
    beside: Vec<PathBuf>,
    /// Folders beside those of the parts.
    no_part: Vec<PathBuf>,
}

impl LeftOut {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            others: BTreeMap::new(),
            folders: Vec::new(),
            empty: Vec::new(),
            within: Vec::new(),
            beside: Vec::new(),
            no_part: Vec::new(),
        }
    }

    fn others(&mut self, listing: &Listing) {
        for path in &listing.others {
            let ending = ending(path).map_or_else(String::new, |ending| format!(".{ending}"));
            let entry = self.others.entry(ending);
            entry.or_insert_with(|| (0, path.clone())).0 += 1;
        }
    }

    /// What lies beside the folders of the parts.
    pub(super) fn beside_parts(&mut self, listing: &Listing, parts: &[&PathBuf]) {
        self.others(listing);
        self.beside.extend(listing.pictures.iter().cloned());
        for folder in listing
            .folders
            .iter()
            .filter(|folder| !parts.contains(folder))
        {
            match is_no_class(folder) {
                true => self.folders.push(folder.clone()),
                false => self.no_part.push(folder.clone()),
            }
        }
    }

    /// A path as a person knows it who named the folder.
    fn inside(&self, path: &Path) -> String {
        path.strip_prefix(&self.root)
            .unwrap_or(path)
            .display()
            .to_string()
    }

    fn names(&self, paths: &[PathBuf]) -> String {
        let shown: Vec<String> = paths
            .iter()
            .take(SHOWN)
            .map(|path| self.inside(path))
            .collect();
        let more = paths.len().saturating_sub(SHOWN);
        let shown = list(&shown);
        if more == 0 {
            shown
        } else {
            format!("{shown} and {more} more")
        }
    }

    /// The files of other kinds, `2 .webp, 1 .txt`.
    fn kinds(&self) -> String {
        let kinds = self
            .others
            .iter()
            .map(|(ending, (number, _))| match ending.is_empty() {
                true => format!("{number} without an ending"),
                false => format!("{number} {ending}"),
            });
        list(&kinds.collect::<Vec<_>>())
    }

    /// What was left out, a line for each kind.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let mut add = |paths: &[PathBuf], one: &str, many: &str, why: &str| {
            if !paths.is_empty() {
                let what = if paths.len() == 1 { one } else { many };
                notes.push(format!("left out: the {what} {}, {why}", self.names(paths)));
            }
        };
        let (one, many) = ("folder", "folders");
        add(&self.folders, one, many, "not taken for a class");
        add(
            &self.empty,
            one,
            many,
            "without a picture called .png, .jpg or .jpeg",
        );
        add(
            &self.within,
            one,
            many,
            "as the pictures of a class lie in its own folder",
        );
        add(
            &self.no_part,
            one,
            many,
            "not called like a part of the data: train, valid or test",
        );
        let why = "beside the folders of the classes";
        add(&self.beside, "picture", "pictures", why);
        let files = self.others.values().map(|(number, _)| number).sum();
        if let Some((_, example)) = self.others.values().next() {
            notes.push(format!(
                "left out: {} not called .png, .jpg or .jpeg ({}), such as {}",
                count(files, "file", "files"),
                self.kinds(),
                self.inside(example)
            ));
        }
        notes
    }

    /// What is there instead, for an error about too few classes or pictures; empty where nothing is.
    pub(super) fn hint(&self) -> String {
        let mut parts = Vec::new();
        let folders: Vec<PathBuf> = [&self.folders, &self.empty, &self.no_part]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        if !folders.is_empty() {
            parts.push(format!("the folders {}", self.names(&folders)));
        }
        if !self.others.is_empty() {
            parts.push(format!("files of other kinds ({})", self.kinds()));
        }
        if !self.beside.is_empty() {
            parts.push(count(
                self.beside.len(),
                "picture beside them",
                "pictures beside them",
            ));
        }
        match parts.is_empty() {
            true => String::new(),
            false => format!("; there are {}", parts.join(", ")),
        }
    }
}

/// The folders of a folder that are classes, with their pictures.
pub(super) struct Classes {
    folder: PathBuf,
    pub(super) folders: Vec<(PathBuf, Vec<PathBuf>)>,
}

impl Classes {
    /// `all` is what lies in `folder`.
    pub(super) fn of(folder: &Path, all: Listing, left_out: &mut LeftOut) -> Result<Self> {
        let mut folders = Vec::new();
        left_out.others(&all);
        left_out.beside.extend(all.pictures);
        for path in all.folders {
            if is_no_class(&path) {
                left_out.folders.push(path);
                continue;
            }
            let listing = Listing::of(&path)?;
            left_out.others(&listing);
            if listing.pictures.is_empty() {
                left_out.empty.push(path);
            } else {
                left_out.within.extend(listing.folders);
                folders.push((path, listing.pictures));
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            folders,
        })
    }

    /// The names of the classes, sorted.
    pub(super) fn names(&self, left_out: &LeftOut) -> Result<Vec<String>> {
        let names: Vec<String> = self
            .folders
            .iter()
            .map(|(class, _)| name_of(class))
            .collect();
        if names.len() < 2 {
            return Err(Error::Picture {
                path: self.folder.clone(),
                defect: PictureDefect::NoClassFolders {
                    found: names.len(),
                    hint: left_out.hint(),
                },
            });
        }
        Ok(names)
    }
}

/// How a folder of pictures was understood.
pub(super) fn about(
    pictures: String,
    shape: [usize; 3],
    classes: &[String],
    notes: Vec<String>,
) -> About {
    let [channels, height, width] = shape;
    let colour = if channels == 1 { "grey" } else { "coloured" };
    let classes = count(classes.len(), "class", "classes");
    About {
        summary: format!("{pictures}, {width} x {height} pixels, {colour}, {classes}"),
        notes,
    }
}

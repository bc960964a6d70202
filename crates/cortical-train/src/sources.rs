//! A run knows its data: what the files held that it learns from, and whether they still do.

use std::collections::{BTreeMap, BTreeSet};

use cortical_io::{Digest, read_text};
use serde::{Deserialize, Serialize};

use crate::folder::{RunFolder, RunPaths};
use crate::observe::{Event, Observer, Warning};
use crate::recipe::{Recipe, TaskRecipe};
use crate::task::text_files;
use crate::{Error, Result};

/// What files held, by their names.
pub(crate) type Sources = BTreeMap<String, Digest>;

/// What `data.json` says it is, and its version.
const FORMAT: &str = "cortical-data";
const VERSION: u64 = 1;
/// Bytes of `data.json` that are read at most.
const MOST_BYTES: u64 = 16 << 20;
/// Changes that a message names.
const SHOWN: usize = 5;

/// The content of `data.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: String,
    version: u64,
    files: Sources,
}

/// What the files hold now that a recipe learns from; nothing where the data are part of the program.
fn of_recipe(recipe: &Recipe) -> Result<Sources> {
    let name = &recipe.data.name;
    match &recipe.task {
        TaskRecipe::Samples(samples) => Ok(cortical_data::sources(
            name,
            &samples.options(&recipe.data),
        )?),
        TaskRecipe::Text(_) => {
            let files = text_files(name)?.into_iter();
            let digest = |path: std::path::PathBuf| {
                let name = path.file_name().unwrap_or(path.as_os_str());
                Ok((name.to_string_lossy().into_owned(), Digest::of_file(&path)?))
            };
            files.map(digest).collect()
        }
    }
}

/// What is different, in words; `None` if nothing is.
pub(crate) fn changes(then: &Sources, now: &Sources) -> Option<String> {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let each = names
        .into_iter()
        .filter_map(|name| change(name, then.get(name), now.get(name)));
    let all: Vec<String> = each.collect();
    let mut text = all
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join("; ");
    if all.len() > SHOWN {
        text += &format!("; and {} more", all.len() - SHOWN);
    }
    (!all.is_empty()).then_some(text)
}

fn change(name: &str, then: Option<&Digest>, now: Option<&Digest>) -> Option<String> {
    Some(match (then, now) {
        (Some(then), Some(now)) if then == now => return None,
        (Some(then), Some(now)) if then.files != now.files => {
            format!("{name} had {} files and has {}", then.files, now.files)
        }
        (Some(then), Some(now)) if then.bytes != now.bytes => {
            format!("{name} had {} bytes and has {}", then.bytes, now.bytes)
        }
        (Some(then), Some(_)) => {
            format!("{name} has its {} bytes, but other ones", then.bytes)
        }
        (Some(_), None) => format!("{name} is gone"),
        (None, _) => format!("{name} is new"),
    })
}

impl RunPaths {
    /// That the files are as they were that the run learned from, as far as that is known: runs of older versions do
    /// not know their data.
    ///
    /// # Errors
    /// [`Error::DataChanged`]; [`Error::NotARun`]; files that cannot be read.
    pub fn check_data(&self) -> Result<()> {
        let Some(then) = self.read_sources()? else {
            return Ok(());
        };
        match changes(&then, &of_recipe(&self.read_recipe()?)?) {
            Some(changes) => Err(self.changed(changes)),
            None => Ok(()),
        }
    }

    fn changed(&self, changes: String) -> Error {
        Error::DataChanged {
            run: self.root().to_owned(),
            changes,
        }
    }

    /// What the files held; `None` for a run that does not know.
    fn read_sources(&self) -> Result<Option<Sources>> {
        let path = self.data();
        if !path.exists() {
            return Ok(None);
        }
        let bad = |why: String| Error::BadData {
            path: path.clone(),
            why,
        };
        let text = read_text(&path, MOST_BYTES)?;
        let record: Record = serde_json::from_str(&text).map_err(|why| bad(why.to_string()))?;
        match (&record.format[..], record.version) {
            (FORMAT, VERSION) => Ok(Some(record.files)),
            (FORMAT, other) => Err(bad(format!(
                "version {other}, this program knows {VERSION}; use a newer version of it"
            ))),
            (other, _) => Err(bad(format!("expected format {FORMAT:?}, found {other:?}"))),
        }
    }

    /// Keeps what the files hold.
    pub(crate) fn write_sources(&self, files: &Sources) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let record = Record {
            format: FORMAT.to_owned(),
            version: VERSION,
            files: files.clone(),
        };
        let mut json = serde_json::to_vec_pretty(&record).expect("names and numbers are JSON");
        json.push(b'\n');
        Ok(cortical_io::write_atomic(self.data(), |file| {
            file.write_all(&json)
        })?)
    }
}

/// What the data hold that a run is about to learn from.
///
/// # Errors
/// [`Error::DataChanged`] where that is not what it has begun with, unless the person knows it.
pub(crate) fn open(
    folder: &RunFolder,
    recipe: &Recipe,
    observer: &mut dyn Observer,
) -> Result<Sources> {
    let now = of_recipe(recipe)?;
    let then = folder.paths().read_sources()?;
    compare(folder, then.as_ref(), &now, observer)?;
    Ok(now)
}

/// Compares what the data hold with what they held when a run began or a checkpoint was written.
pub(crate) fn compare(
    folder: &RunFolder,
    then: Option<&Sources>,
    now: &Sources,
    observer: &mut dyn Observer,
) -> Result<()> {
    let Some(changes) = then.and_then(|then| changes(then, now)) else {
        return Ok(());
    };
    if !folder.takes_changed_data() {
        return Err(folder.paths().changed(changes));
    }
    observer.event(Event::Warning(&Warning::DataChanged { changes }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(files: u64, bytes: u64, sha256: &str) -> Digest {
        Digest {
            files,
            bytes,
            sha256: sha256.to_owned(),
        }
    }

    #[test]
    fn what_changed_is_named() {
        let then: Sources = [
            ("a.csv".to_owned(), digest(1, 10, "x")),
            ("cat".to_owned(), digest(3, 10, "y")),
            ("dog".to_owned(), digest(3, 10, "z")),
            ("gone".to_owned(), digest(1, 1, "g")),
            ("same".to_owned(), digest(1, 1, "s")),
        ]
        .into();
        let mut now = then.clone();
        assert_eq!(changes(&then, &now), None);
        now.remove("gone");
        now.insert("a.csv".to_owned(), digest(1, 11, "x2"));
        now.insert("cat".to_owned(), digest(4, 12, "y2"));
        now.insert("dog".to_owned(), digest(3, 10, "z2"));
        now.insert("kit".to_owned(), digest(1, 1, "k"));
        assert_eq!(
            changes(&then, &now).unwrap(),
            "a.csv had 10 bytes and has 11; cat had 3 files and has 4; dog has its 10 bytes, but other ones; gone is gone; kit is new"
        );
    }

    #[test]
    fn a_record_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let paths = RunPaths::new(folder.path());
        for (text, want) in [
            ("{", "data.json"),
            (
                r#"{"format":"x","version":1,"files":{}}"#,
                "expected format",
            ),
            (
                r#"{"format":"cortical-data","version":9,"files":{}}"#,
                "version 9",
            ),
        ] {
            std::fs::write(paths.data(), text).unwrap();
            let error = paths.check_data().unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
    }
}

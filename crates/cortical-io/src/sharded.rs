//! Models in several files: an index that says which tensor is in which safetensors file beside it.
//!
//! ```text
//! {"metadata": {"total_size": 123}, "weight_map": {"fc.weight": "model-00001-of-00002.safetensors", …}}
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use cortical_kernels::sparse::SparseMatrix;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use crate::{Error, IndexDefect, Result, TensorFile, TensorInfo, bitmask, limits};

/// Names of a model's file, or of its index, in a folder.
const MODEL: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A model in one or several safetensors files, with the tensors of all of them.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = cortical_io::ModelFiles::open("a-folder-from-hugging-face")?;
/// for tensor in model.tensors() {
///     println!("{} {:?}", tensor.name(), tensor.shape());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ModelFiles {
    path: PathBuf,
    files: Vec<TensorFile>,
}

impl ModelFiles {
    /// Opens a model: a safetensors file, an index (`….index.json`), or a folder that has `model.safetensors` or
    /// `model.safetensors.index.json`.
    ///
    /// # Errors
    /// [`Error::Index`] with what is wrong with the index, or where it and the files disagree; those of
    /// [`TensorFile::open`] for each file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mut path = path.as_ref().to_owned();
        if path.is_dir() {
            let index = path.join(INDEX);
            path = if index.is_file() && !path.join(MODEL).is_file() {
                index
            } else {
                path.join(MODEL)
            };
        }
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            return Self::open_index(&path);
        }
        let files = vec![TensorFile::open(&path)?];
        Ok(Self { path, files })
    }

    /// Opens the safetensors files of a folder that has no index, as one model.
    ///
    /// # Errors
    /// Those of [`TensorFile::open`]; [`Error::TwoFiles`] for a tensor that two of them have.
    pub fn of_files(folder: &Path, files: &[PathBuf]) -> Result<Self> {
        let files = files.iter().map(TensorFile::open);
        let files: Vec<TensorFile> = files.collect::<Result<_>>()?;
        let mut homes = BTreeMap::new();
        for file in &files {
            for tensor in file.tensors() {
                if let Some(other) = homes.insert(tensor.name(), file.path()) {
                    return Err(Error::TwoFiles {
                        name: tensor.name().into(),
                        first: other.into(),
                        second: file.path().into(),
                    });
                }
            }
        }
        Ok(Self {
            path: folder.into(),
            files,
        })
    }

    fn open_index(path: &Path) -> Result<Self> {
        let wrong = |defect| Error::Index {
            path: path.into(),
            defect,
        };
        let index = read_index(path)?;
        let listed = &index.weight_map.0;
        let names: BTreeSet<&str> = listed.values().map(String::as_str).collect();
        let mut files = BTreeMap::new();
        for name in names {
            // An index says names, not paths: nothing outside its own folder is opened.
            if name.contains(['/', '\\', ':']) || matches!(name, "" | "." | "..") {
                return Err(wrong(IndexDefect::FileName { name: name.into() }));
            }
            let file = TensorFile::open(path.with_file_name(name))?;
            let here = |tensor: &&TensorInfo| {
                let stored = match tensor.is_sparse() {
                    true => listed.get(&bitmask::first_part(tensor.name())),
                    false => listed.get(tensor.name()),
                };
                stored.is_some_and(|at| at == name)
            };
            if let Some(tensor) = file.tensors().iter().find(|tensor| !here(tensor)) {
                let (tensor, file) = (tensor.name().to_owned(), name.to_owned());
                return Err(wrong(IndexDefect::NotListed { tensor, file }));
            }
            files.insert(name, file);
        }
        for (tensor, file) in listed {
            if !files[file.as_str()].stores(tensor) {
                let (tensor, file) = (tensor.clone(), file.clone());
                return Err(wrong(IndexDefect::NotThere { tensor, file }));
            }
        }
        Ok(Self {
            path: path.into(),
            files: files.into_values().collect(),
        })
    }

    /// The files, in the order of their names.
    #[must_use]
    pub fn files(&self) -> &[TensorFile] {
        &self.files
    }

    /// The tensors of all files, file by file.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.files.iter().flat_map(TensorFile::tensors)
    }

    /// Tensors that share their elements and are stored under one of their names: `safetensors.torch.save_model`
    /// says in the metadata which other name leads there. By the other name, the one that the files have.
    #[must_use]
    pub fn aliases(&self) -> BTreeMap<String, String> {
        let has = |file: &TensorFile, name: &str| file.info(name).is_some();
        let listed = self.files.iter().flat_map(|file| {
            let pairs = file.metadata().iter();
            pairs.filter(move |(other, kept)| has(file, kept) && !has(file, other))
        });
        listed
            .map(|(other, kept)| (other.clone(), kept.clone()))
            .collect()
    }

    /// Loads the tensor called `name` from whichever file has it.
    ///
    /// # Errors
    /// Those of [`TensorFile::load`].
    pub fn load(&self, name: &str, device: &Device) -> Result<Tensor> {
        match self.files.iter().find(|file| file.info(name).is_some()) {
            Some(file) => file.load(name, device),
            None => Err(Error::NoTensor {
                path: self.path.clone(),
                name: name.into(),
            }),
        }
    }

    /// Reads bytes of the tensor called `name`.
    pub(crate) fn read_bytes(&self, name: &str, from: u64, out: &mut [u8]) -> Result<()> {
        let found = self
            .files
            .iter()
            .find_map(|file| Some((file, file.info(name)?)));
        match found {
            Some((file, info)) => file.read_bytes(info, from, out),
            None => Err(Error::NoTensor {
                path: self.path.clone(),
                name: name.into(),
            }),
        }
    }

    /// The weight called `name` with the connections that are left, where it is stored so; see
    /// [`TensorFile::sparse`].
    ///
    /// # Errors
    /// Those of [`TensorFile::sparse`].
    pub fn sparse(&self, name: &str) -> Result<Option<SparseMatrix>> {
        match self.files.iter().find(|file| file.info(name).is_some()) {
            Some(file) => file.sparse(name),
            None => Err(Error::NoTensor {
                path: self.path.clone(),
                name: name.into(),
            }),
        }
    }

    /// Reads some elements of the tensor called `name`; see [`TensorFile::read_numbers`].
    ///
    /// # Errors
    /// Those of [`TensorFile::read_numbers`].
    pub fn read_numbers(&self, name: &str, from: usize, out: &mut [f64]) -> Result<()> {
        match self.files.iter().find(|file| file.info(name).is_some()) {
            Some(file) => file.read_numbers(name, from, out),
            None => Err(Error::NoTensor {
                path: self.path.clone(),
                name: name.into(),
            }),
        }
    }

    /// Loads the tensors of all files.
    ///
    /// # Errors
    /// Those of [`TensorFile::load`].
    pub fn load_all(&self, device: &Device) -> Result<Vec<(String, Tensor)>> {
        let mut all = Vec::new();
        for file in &self.files {
            all.extend(file.load_all(device)?);
        }
        Ok(all)
    }
}

/// An index; further fields are allowed and not read.
#[derive(Deserialize)]
struct IndexFile {
    weight_map: WeightMap,
}

/// File names by tensor names, none twice and no more than a file may have.
struct WeightMap(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WeightMapVisitor)
    }
}

struct WeightMapVisitor;

impl<'de> Visitor<'de> for WeightMapVisitor {
    type Value = WeightMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of file names by tensor names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
        let mut files = BTreeMap::new();
        while let Some((tensor, file)) = map.next_entry::<String, String>()? {
            if files.len() == limits::TENSORS {
                return Err(A::Error::custom(format_args!(
                    "more than {} tensors",
                    limits::TENSORS
                )));
            }
            if files.insert(tensor.clone(), file).is_some() {
                return Err(A::Error::custom(format_args!(
                    "the name {tensor:?} appears twice"
                )));
            }
        }
        Ok(WeightMap(files))
    }
}

/// Reads an index, unless it is too long to be one.
fn read_index(path: &Path) -> Result<IndexFile> {
    let wrong = |defect| Error::Index {
        path: path.into(),
        defect,
    };
    if !std::fs::metadata(path)
        .map_err(Error::read(path))?
        .is_file()
    {
        return Err(Error::NotAFile { path: path.into() });
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::read(path))?;
    file.take(limits::HEADER_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::read(path))?;
    let got = bytes.len() as u64;
    if got > limits::HEADER_BYTES {
        return Err(wrong(IndexDefect::TooLong { got }));
    }
    serde_json::from_slice(&bytes).map_err(|error| wrong(IndexDefect::Json(error)))
}

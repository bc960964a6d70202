//! Models in several files: an index that says which tensor is in which file beside it.
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

use crate::{Error, IndexDefect, PytorchFile, Result, TensorFile, TensorInfo, bitmask, limits};

/// Names of a model's file, or of its index, in a folder; the first that is there counts.
const NAMES: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// A model in one or several safetensors files, or files of PyTorch's, with the tensors of all of them.
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
    /// Files of PyTorch's, where the model has no others.
    pickles: Vec<PytorchFile>,
}

/// A file of either kind.
#[derive(Clone, Copy)]
enum Home<'a> {
    Safetensors(&'a TensorFile, &'a TensorInfo),
    /// With the tensor's number.
    Pytorch(&'a PytorchFile, usize),
}

impl ModelFiles {
    /// Opens a model: a safetensors file, one of PyTorch's, an index (`….index.json`), or a folder that has
    /// `model.safetensors`, `pytorch_model.bin` or the index of such files.
    ///
    /// # Errors
    /// [`Error::Index`] with what is wrong with the index, or where it and the files disagree; those of
    /// [`TensorFile::open`] and [`PytorchFile::open`] for each file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let mut path = path.as_ref().to_owned();
        if path.is_dir() {
            let mut places = NAMES.iter().map(|name| path.join(name));
            let found = places.find(|place| place.is_file());
            path = found.unwrap_or_else(|| path.join(NAMES[0]));
        }
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            return Self::open_index(&path);
        }
        let (mut files, mut pickles) = (Vec::new(), Vec::new());
        match PytorchFile::may_be(&path) {
            true => pickles.push(PytorchFile::open(&path)?),
            false => files.push(TensorFile::open(&path)?),
        }
        Ok(Self {
            path,
            files,
            pickles,
        })
    }

    /// The format of the files: `safetensors` or `PyTorch`.
    #[must_use]
    pub fn format(&self) -> &'static str {
        match self.pickles.is_empty() {
            true => "safetensors",
            false => "PyTorch",
        }
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
            pickles: Vec::new(),
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
        let (mut files, mut pickles) = (BTreeMap::new(), BTreeMap::new());
        for name in names {
            // An index says names, not paths: nothing outside its own folder is opened.
            if name.contains(['/', '\\', ':']) || matches!(name, "" | "." | "..") {
                return Err(wrong(IndexDefect::FileName { name: name.into() }));
            }
            let not_listed = |tensor: &TensorInfo| {
                let (tensor, file) = (tensor.name().to_owned(), name.to_owned());
                wrong(IndexDefect::NotListed { tensor, file })
            };
            if PytorchFile::may_be(path.with_file_name(name)) {
                let file = PytorchFile::open(path.with_file_name(name))?;
                let here =
                    |tensor: &&TensorInfo| listed.get(tensor.name()).is_some_and(|at| at == name);
                if let Some(tensor) = file.tensors().iter().find(|tensor| !here(tensor)) {
                    return Err(not_listed(tensor));
                }
                pickles.insert(name, file);
                continue;
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
                return Err(not_listed(tensor));
            }
            files.insert(name, file);
        }
        for (tensor, file) in listed {
            let stores = match files.get(file.as_str()) {
                Some(file) => file.stores(tensor),
                None => pickles[file.as_str()].info(tensor).is_some(),
            };
            if !stores {
                let (tensor, file) = (tensor.clone(), file.clone());
                return Err(wrong(IndexDefect::NotThere { tensor, file }));
            }
        }
        Ok(Self {
            path: path.into(),
            files: files.into_values().collect(),
            pickles: pickles.into_values().collect(),
        })
    }

    /// The safetensors files, in the order of their names; none where the model is in files of PyTorch's.
    #[must_use]
    pub fn files(&self) -> &[TensorFile] {
        &self.files
    }

    /// The tensors of all files, file by file.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        let pickled = self.pickles.iter().flat_map(PytorchFile::tensors);
        self.files
            .iter()
            .flat_map(TensorFile::tensors)
            .chain(pickled)
    }

    /// Tensors that share their elements. By the other name, the one that they are read from.
    ///
    /// Safetensors files have them under one of their names, and `safetensors.torch.save_model` says in the metadata
    /// which other name leads there. Files of PyTorch's have both.
    #[must_use]
    pub fn aliases(&self) -> BTreeMap<String, String> {
        let has = |file: &TensorFile, name: &str| file.info(name).is_some();
        let listed = self.files.iter().flat_map(|file| {
            let pairs = file.metadata().iter();
            pairs.filter(move |(other, kept)| has(file, kept) && !has(file, other))
        });
        let pickled = self.pickles.iter().flat_map(PytorchFile::aliases);
        listed
            .map(|(other, kept)| (other.clone(), kept.clone()))
            .chain(pickled)
            .collect()
    }

    /// Where the tensor called `name` is.
    fn home(&self, name: &str) -> Result<Home<'_>> {
        let mut files = self.files.iter();
        let stored = files.find_map(|file| Some(Home::Safetensors(file, file.info(name)?)));
        let pickled = || {
            let mut pickles = self.pickles.iter();
            pickles.find_map(|file| Some(Home::Pytorch(file, file.number(name)?)))
        };
        stored.or_else(pickled).ok_or_else(|| Error::NoTensor {
            path: self.path.clone(),
            name: name.into(),
        })
    }

    /// Loads the tensor called `name` from whichever file has it.
    ///
    /// # Errors
    /// Those of [`TensorFile::load`].
    pub fn load(&self, name: &str, device: &Device) -> Result<Tensor> {
        match self.home(name)? {
            Home::Safetensors(file, _) => file.load(name, device),
            Home::Pytorch(file, _) => file.load(name, device),
        }
    }

    /// Reads bytes of the tensor called `name`.
    pub(crate) fn read_bytes(&self, name: &str, from: u64, out: &mut [u8]) -> Result<()> {
        match self.home(name)? {
            Home::Safetensors(file, info) => file.read_bytes(info, from, out),
            Home::Pytorch(file, at) => file
                .read_bytes(at, from, out)
                .map_err(Error::read(file.path())),
        }
    }

    /// The weight called `name` with the connections that are left, where it is stored so; see
    /// [`TensorFile::sparse`].
    ///
    /// # Errors
    /// Those of [`TensorFile::sparse`].
    pub fn sparse(&self, name: &str) -> Result<Option<SparseMatrix>> {
        match self.home(name)? {
            Home::Safetensors(file, _) => file.sparse(name),
            Home::Pytorch(..) => Ok(None),
        }
    }

    /// Reads some elements of the tensor called `name`; see [`TensorFile::read_numbers`].
    ///
    /// # Errors
    /// Those of [`TensorFile::read_numbers`].
    pub fn read_numbers(&self, name: &str, from: usize, out: &mut [f64]) -> Result<()> {
        match self.home(name)? {
            Home::Safetensors(file, _) => file.read_numbers(name, from, out),
            Home::Pytorch(file, at) => file.read_numbers(at, from, out),
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
        for file in &self.pickles {
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

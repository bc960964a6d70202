//! A safetensors file of 400 MB, written and read, with the system's cache warm.

use super::{Size, normal};
use crate::error::{Error, Result};
use crate::measure::{Cost, Output, Workload};
use candle_core::{Device, Tensor};
use cortical_io::{Metadata, TensorFile, save_tensors};
use cortical_kernels::parallel;
use cortical_tensor::values;
use std::path::PathBuf;
use tempfile::TempDir;

pub(super) fn workloads(size: Size) -> Vec<Workload> {
    let shape = Shape {
        tensors: size.pick(100, 3),
        numbers: size.pick(1_000_000, 50),
    };
    let all = (shape.tensors * shape.numbers) as f64;
    let rate = (4.0 * all / 1e6, "MB/s");
    let save = Workload::new("safetensors_save_400mb", rate, move || {
        let tensors = shape.make()?;
        let folder = Folder::new()?;
        Ok(move || -> Result<Output> {
            save_tensors(&folder.file, &tensors, &Metadata::new())?;
            Ok(Output::Number(folder.bytes()))
        })
    });
    let load = Workload::new("safetensors_load_400mb", rate, move || {
        let folder = Folder::new()?;
        save_tensors(&folder.file, &shape.make()?, &Metadata::new())?;
        Ok(move || Ok(Output::Number(folder.read_every_value()?)))
    });
    // What is written is read from memory and written to the cache; what is read need be read once.
    vec![
        save.times(1, 5).cost(Cost::moving(2.0 * all)),
        load.times(1, 5).cost(Cost::moving(all)),
    ]
}

#[derive(Clone, Copy)]
struct Shape {
    tensors: usize,
    numbers: usize,
}

impl Shape {
    fn make(self) -> Result<Vec<(String, Tensor)>> {
        let values = normal("values", &[self.numbers])?;
        // Each has memory of its own: a tensor that is written twice would be in a cache the second time.
        let one = |i: usize| Ok((format!("t{i}"), values.affine(1.0, i as f64 * 1e-3)?));
        (0..self.tensors).map(one).collect()
    }
}

/// A file in a folder that goes away with it.
struct Folder {
    _folder: TempDir,
    file: PathBuf,
}

impl Folder {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir().map_err(Error::Folder)?;
        let file = folder.path().join("model.safetensors");
        Ok(Self {
            _folder: folder,
            file,
        })
    }

    /// Loads all tensors, through a map as the other side does, and adds all of their values up.
    fn read_every_value(&self) -> Result<f64> {
        let tensors = TensorFile::map(&self.file)?.load_all(&Device::Cpu)?;
        let sums = parallel::map(tensors.len(), |i| -> Result<f64> {
            Ok(sum(&values::<f32>(&tensors[i].1)?))
        });
        sums.into_iter().sum()
    }

    fn bytes(&self) -> f64 {
        std::fs::metadata(&self.file).map_or(f64::NAN, |file| file.len() as f64)
    }
}

/// The sum of sixteen lanes, as wide as a vector register.
fn sum(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f32; 16];
    let (blocks, rest) = values.as_chunks::<16>();
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *lane += value;
        }
    }
    lanes.iter().chain(rest).map(|&x| f64::from(x)).sum()
}

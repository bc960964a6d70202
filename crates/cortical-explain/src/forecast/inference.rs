//! The use of a model: a batch on its way forward, and a language model that writes.

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use cortical_kernels::parallel::keep_spinning;
use cortical_models::language::{
    LanguageConfig, LanguageModel, LoadOptions, ModelCache, TextCosts, Weights, open,
};
use cortical_neuron::{Params, Pass};
use cortical_tensor::Seed;
use cortical_train::{Activations, MemoryNeed, SubjectModel, rehearse_forward};

use super::asked::Asked;
use super::{FLOORS, ForecastOptions, Machine, NumberType, PATIENCE_MS, Work, largest};
use crate::contents::Contents;
use crate::error::Result;

/// Tokens that are written to see how long one takes: so many that are not counted, then so many that are.
const COLD: usize = 2;
const WRITTEN: usize = 12;
/// What writing has in memory beside all that is counted: code that the forecast has not run, stacks. A model of a
/// million parameters over bytes takes so much more than the program before it.
const WRITER: u64 = 9 << 20;
/// What a token of a vocabulary takes: its text in both directions, the merge that makes it, and what reading them left
/// behind. Measured with the 49,152 tokens of SmolLM2.
const TOKEN_BYTES: u64 = 640;
/// Tokens that are bytes need none of it.
const BYTES: usize = 257;
/// Reading is tried once without being counted if it takes no longer than this.
const SHORT_MS: f64 = 2_000.0;

/// A batch on its way forward and, of a language model that writes, the next token of each text.
pub(super) fn works(
    asked: &mut Asked,
    options: &ForecastOptions,
    machine: &Machine,
    program: u64,
    runs_here: bool,
) -> Result<(Work, Option<Work>)> {
    let effort = match runs_here {
        true => options.effort,
        false => Duration::ZERO,
    };
    let subject = &asked.subject;
    match &subject.model {
        SubjectModel::Network(plan) => {
            let batch = options.batch.unwrap_or(asked.recipe.train.batch_size);
            let activations = Activations::of_network(plan, 0);
            let weights = 4 * plan.parameters() as u64;
            let need = |batch: usize| {
                let mut need = MemoryNeed::default();
                (need.program, need.weights) = (program, weights);
                need.workspace = activations.peak_forward(batch);
                need
            };
            let memory = need(batch);
            let multiply_adds = subject.multiply_adds(batch);
            let bytes_moved = weights.saturating_add(activations.kept(batch).saturating_mul(2));
            let mut work = Work {
                batch,
                units: batch as u64,
                fits: memory.total() <= machine.memory,
                largest_batch: largest(machine.memory, |batch| need(batch).total()),
                floor_ms: machine.floor_ms(multiply_adds, bytes_moved, false),
                measured_ms: None,
                memory,
                multiply_adds,
                bytes_moved,
            };
            if !effort.is_zero() && work.fits && work.floor_ms * FLOORS <= PATIENCE_MS {
                work.measured_ms = Some(rehearse_forward(plan, batch, effort / 2)?);
            }
            Ok((work, None))
        }
        SubjectModel::Language(config, costs) => {
            let context = asked.recipe.text()?.train.block;
            let weights = weights_of(config, asked.files.as_ref(), options);
            let use_of = Use {
                config,
                costs,
                context,
                weights,
                loading: loading(asked.files.as_ref(), options),
                program: if runs_here { program + WRITER } else { 0 },
                is_bf16: options.dtype.is_some_and(|dtype| dtype.is_16_bit()),
            };
            let batch = options.batch.unwrap_or(1);
            let mut reading = use_of.reading(batch, machine);
            let mut writing = (config.cache_width() > 0).then(|| use_of.writing(batch, machine));
            if effort.is_zero() {
                return Ok((reading, writing));
            }
            let long = reading.floor_ms * FLOORS > PATIENCE_MS;
            if !reading.fits || long {
                let said = "the model's use was not tried, as it does not fit or takes long: its time is the least that this machine allows";
                asked.remarks.push(said.to_owned());
                return Ok((reading, writing));
            }
            let model = opened(config, asked.files.as_ref(), options)?;
            let (read, written) = try_out(&model, batch, context, writing.is_some())?;
            reading.measured_ms = Some(read);
            if let Some(writing) = &mut writing {
                writing.measured_ms = written;
            }
            Ok((reading, writing))
        }
        // More kinds of models may come.
        _ => unreachable!("a model is a network or a language model"),
    }
}

/// Bytes of a language model's weights as they lie in memory.
fn weights_of(config: &LanguageConfig, files: Option<&Contents>, options: &ForecastOptions) -> u64 {
    let stored = files.filter(|contents| contents.what == "GGUF file");
    match (options.dtype, stored) {
        // Quantized weights stay as they are stored.
        (None, Some(contents)) => contents.bytes().unwrap_or(0),
        (dtype, _) => {
            let dtype = dtype.unwrap_or(NumberType::F32);
            let tensors = config.tensors().into_iter();
            let bytes = tensors.map(|tensor| dtype.bytes(&tensor.shape));
            bytes.fold(0, u64::saturating_add)
        }
    }
}

/// Bytes that opening a model takes for a moment, and that are used for other things later: the largest tensor once
/// more, where it becomes a parameter. Quantized weights are read some rows at a time.
fn loading(files: Option<&Contents>, options: &ForecastOptions) -> u64 {
    match (files, options.dtype) {
        (Some(contents), Some(NumberType::F32)) => contents.largest_in_single(),
        (Some(contents), None) if contents.what != "GGUF file" => contents.largest_in_single(),
        _ => 0,
    }
}

/// A language model in use.
struct Use<'u> {
    config: &'u LanguageConfig,
    costs: &'u TextCosts,
    context: usize,
    weights: u64,
    loading: u64,
    program: u64,
    is_bf16: bool,
}

impl Use<'_> {
    fn need(&self, batch: usize) -> MemoryNeed {
        let mut need = MemoryNeed::default();
        (need.program, need.weights) = (self.program, self.weights);
        let positions = (self.context as u64).saturating_mul(batch as u64);
        need.cache = positions
            .saturating_mul(self.config.cache_width())
            .saturating_mul(4);
        let activations = Activations::of_text(self.costs, self.context, self.config.vocab_size());
        need.workspace = activations.peak_forward(batch).max(self.loading);
        need.tokenizer = match self.config.vocab_size() {
            // A card has the weights; the text stays with its processor.
            _ if self.program == 0 => 0,
            0..=BYTES => 0,
            tokens => TOKEN_BYTES * tokens as u64,
        };
        need
    }

    /// A whole text of each of a batch, read at once.
    fn reading(&self, batch: usize, machine: &Machine) -> Work {
        let multiply_adds = self.costs.multiply_adds().saturating_mul(batch as u64);
        let units = (self.context as u64).saturating_mul(batch as u64);
        self.work(batch, units, multiply_adds, machine)
    }

    /// One more token of each of a batch.
    fn writing(&self, batch: usize, machine: &Machine) -> Work {
        let before = self.config.costs(self.context.saturating_sub(1).max(1));
        let before = before.map_or(0, |costs| costs.multiply_adds());
        let one = self.costs.multiply_adds().saturating_sub(before);
        let multiply_adds = one.saturating_mul(batch as u64);
        self.work(batch, batch as u64, multiply_adds, machine)
    }

    fn work(&self, batch: usize, units: u64, multiply_adds: u64, machine: &Machine) -> Work {
        let memory = self.need(batch);
        let bytes_moved = memory.weights.saturating_add(memory.cache);
        Work {
            batch,
            units,
            fits: memory.total() <= machine.memory,
            largest_batch: largest(machine.memory, |batch| self.need(batch).total()),
            floor_ms: machine.floor_ms(multiply_adds, bytes_moved, self.is_bf16),
            measured_ms: None,
            memory,
            multiply_adds,
            bytes_moved,
        }
    }
}

/// The model from its files, or drawn where it has none.
fn opened(
    config: &LanguageConfig,
    files: Option<&Contents>,
    options: &ForecastOptions,
) -> Result<LanguageModel> {
    let Some(contents) = files else {
        let params = Params::with_dtype(&Device::Cpu, Seed(0), DType::F32);
        return Ok(LanguageModel::build(config, &params)?);
    };
    let load = LoadOptions {
        weights: options
            .dtype
            .map_or(Weights::Stored, |dtype| dtype.weights()),
        ..LoadOptions::default()
    };
    // The one file of a folder stands for the folder in what was found there.
    let path = match contents.path.parent() {
        Some(folder) if contents.path.ends_with("model.safetensors") => folder,
        _ => &contents.path,
    };
    Ok(open(path, &load)?.model)
}

/// Milliseconds to read `context` tokens of each text, and to write the next one.
fn try_out(
    model: &LanguageModel,
    batch: usize,
    context: usize,
    writes: bool,
) -> Result<(f64, Option<f64>)> {
    let vocabulary = model.config().vocab_size().max(1);
    let ids = |rows: usize| {
        let ids = (0..batch * rows).map(|i| (i * 7919 % vocabulary) as u32);
        Tensor::from_vec(ids.collect::<Vec<u32>>(), (batch, rows), &Device::Cpu)
    };
    let text = ids(context).map_err(cortical_train::Error::from)?;
    let read = |cache: Option<&mut ModelCache>| -> Result<f64> {
        let before = Instant::now();
        keep_spinning(|| model.hidden(&text, cache, &mut Pass::eval()))?;
        Ok(before.elapsed().as_secs_f64() * 1e3)
    };
    if !writes {
        read(None)?;
        return Ok((read(None)?, None));
    }
    let mut cache = model.cache();
    let mut reading = read(Some(&mut cache))?;
    if reading <= SHORT_MS {
        cache.truncate(0);
        reading = read(Some(&mut cache))?;
    }
    if model
        .config()
        .table_positions()
        .is_some_and(|limit| context >= limit)
    {
        cache.truncate(context.saturating_sub(COLD + WRITTEN).max(1));
    }
    let next = ids(1).map_err(cortical_train::Error::from)?;
    let mut taken = Vec::new();
    for at in 0..COLD + WRITTEN {
        let before = Instant::now();
        keep_spinning(|| match model.has_head() {
            true => model.logits(&next, Some(&mut cache), &mut Pass::eval()),
            false => model.hidden(&next, Some(&mut cache), &mut Pass::eval()),
        })?;
        if at >= COLD {
            taken.push(before.elapsed().as_secs_f64() * 1e3);
        }
    }
    taken.sort_by(f64::total_cmp);
    Ok((reading, Some(taken[taken.len() / 2])))
}

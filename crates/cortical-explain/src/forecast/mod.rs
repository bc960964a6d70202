//! What a training or the use of a model would take: memory part by part, arithmetic, time, and how several machines
//! could share it.

mod asked;
mod card;
mod dtype;
mod inference;
mod machines;

use std::path::Path;
use std::time::Duration;

use cortical_io::resident_memory;
use cortical_train::{MemoryNeed, Override, Recipe, Subject, SubjectModel, rehearse};

use crate::error::{Error, Result};
use asked::Asked;
pub use card::Machine;
pub use dtype::NumberType;
pub use machines::Split;
use machines::Whole;

/// What a training has in memory beside all that is counted: code that the forecast has not run, stacks, the report. A
/// training of iris takes so much more than the program before it.
const TRAINER: u64 = 16 << 20;

/// What is asked of a forecast; whatever is absent is as in the recipe that is planned, or as a recipe would have it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ForecastOptions {
    /// The data to train on.
    pub data: Option<String>,
    /// Fields of the recipe.
    pub overrides: Vec<Override>,
    /// Samples or texts of a step.
    pub batch: Option<usize>,
    /// Tokens of a text.
    pub context: Option<usize>,
    /// The form of weights.
    pub dtype: Option<NumberType>,
    /// The optimizer.
    pub optimizer: Option<String>,
    /// Segments of layers that run twice.
    pub recompute: Option<usize>,
    /// The card that it is to run on; this machine if there is none.
    pub card: Option<Machine>,
    /// Machines that share a training, and the GB/s of the link of each.
    pub machines: Option<(usize, f64)>,
    /// How long steps are taken for on this machine to see how long one takes; not at all for zero.
    pub effort: Duration,
}

/// What something would take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Forecast {
    /// The model's parameters.
    pub parameters: u64,
    /// How many of them a training changes.
    pub trainable: u64,
    /// What it runs on.
    pub machine: Machine,
    /// The recipe that would train it.
    pub recipe: Recipe,
    /// Tokens of a text; `None` for a network, which takes samples.
    pub context: Option<usize>,
    /// A step of a training.
    pub training: Work,
    /// A batch on its way forward alone: samples, or texts that are read at once.
    pub inference: Work,
    /// Writing the next token of every text of the batch, behind `context` tokens; for language models that write.
    pub decoding: Option<Work>,
    /// Ways to divide a training among machines, where that was asked.
    pub splits: Vec<Split>,
    /// What a person should know.
    pub remarks: Vec<String>,
}

/// Some work: its memory, its arithmetic, its time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Work {
    /// Samples or texts together.
    pub batch: usize,
    /// Samples, or tokens, that it comes to.
    pub units: u64,
    /// What memory is for.
    pub memory: MemoryNeed,
    /// Whether that is there.
    pub fits: bool,
    /// The largest batch that fits; `None` if not even one sample does.
    pub largest_batch: Option<usize>,
    /// Multiply-adds.
    pub multiply_adds: u64,
    /// Bytes moved between memory and processor, at least.
    pub bytes_moved: u64,
    /// Milliseconds that arithmetic and memory need at least.
    pub floor_ms: f64,
    /// Milliseconds that it took on this machine, scaled to the batch; `None` where it was not tried.
    pub measured_ms: Option<f64>,
}

impl Work {
    /// Milliseconds: those that were measured, or the least.
    #[must_use]
    pub fn ms(&self) -> f64 {
        self.measured_ms.unwrap_or(self.floor_ms)
    }

    /// Samples or tokens a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.units as f64 / self.ms() * 1e3
    }
}

/// Batches beyond this are not looked at.
const LARGEST_BATCH: usize = 1 << 20;
/// Steps are tried where one is expected to take at most so many milliseconds; it is expected to take so many times its
/// floor.
const PATIENCE_MS: f64 = 8_000.0;
const FLOORS: f64 = 4.0;

/// What a training of this, and its use, would take.
///
/// ```
/// use cortical_explain::{ForecastOptions, Machine, forecast};
/// let mut options = ForecastOptions::default();
/// options.card = Machine::card("a100");
/// options.context = Some(2048);
/// options.batch = Some(1);
/// let llama = forecast("llama2-7b".as_ref(), &options)?;
/// // Weights, gradients and AdamW's two means in single precision are 108 GB.
/// assert!(!llama.training.fits && llama.inference.fits);
/// # Ok::<(), cortical_explain::Error>(())
/// ```
///
/// # Errors
/// What cannot be opened; fields of a recipe that do not exist; a model that nothing describes.
pub fn forecast(what: &Path, options: &ForecastOptions) -> Result<Forecast> {
    // Before anything is opened.
    let program = resident_memory().unwrap_or(0);
    let mut asked = Asked::open(what, options)?;
    let machine = match &options.card {
        Some(card) => card.clone(),
        None => Machine::this(
            Duration::from_millis(300).min(options.effort.max(Duration::from_millis(60))),
        ),
    };
    let runs_here = options.card.is_none();
    let program = if runs_here { program } else { 0 };
    let (recipe, subject) = (&asked.recipe, &asked.subject);
    let parameters = subject.parameters.iter();
    let trainable = parameters.clone().filter(|one| one.is_trained);
    let sum = |sum: u64, one: &cortical_train::ParameterShape| sum.saturating_add(one.count());
    let (parameters, trainable) = (parameters.fold(0, sum), trainable.fold(0, sum));
    let mut training = training(subject, recipe, &machine, program, runs_here);
    if runs_here && !options.effort.is_zero() {
        match rehearsed(subject, recipe, &training, options.effort)? {
            Some(ms) => training.measured_ms = Some(ms),
            None => asked.remarks.push(
                "a step of the training was not tried, as it does not fit or takes long: its time is the least that this machine allows".to_owned(),
            ),
        }
    }
    let (inference, decoding) =
        inference::works(&mut asked, options, &machine, program, runs_here)?;
    let context = match &asked.subject.model {
        SubjectModel::Language(..) => Some(asked.recipe.text()?.train.block),
        _ => None,
    };
    let splits = match options.machines {
        Some((machines, link_gb_s)) if machines > 1 => Whole {
            model: &asked.subject.model,
            need: training.memory,
            batch: training.batch,
            step_ms: training.ms(),
            machines,
            link_gb_s,
        }
        .splits(),
        _ => Vec::new(),
    };
    Ok(Forecast {
        parameters,
        trainable,
        machine,
        context,
        training,
        inference,
        decoding,
        splits,
        recipe: asked.recipe,
        remarks: asked.remarks,
    })
}

/// A step of a training.
fn training(
    subject: &Subject,
    recipe: &Recipe,
    machine: &Machine,
    program: u64,
    runs_here: bool,
) -> Work {
    let need = |batch: usize| {
        let mut need = subject.memory(recipe, batch);
        need.program = if runs_here {
            program.saturating_add(TRAINER)
        } else {
            0
        };
        // Data stay with the processor that the card belongs to.
        need.data = if runs_here { need.data } else { 0 };
        need
    };
    let batch = recipe.train.batch_size;
    let memory = need(batch);
    let accumulate = recipe.train.accumulate;
    let forward = subject.multiply_adds(batch).saturating_mul(accumulate);
    // Gradients of inputs and of weights cost as much as the way forward each; the first layer's inputs need none, and
    // frozen weights neither. Layers that run twice cost once more.
    let all = subject.parameters.iter().all(|one| one.is_trained);
    let mut multiply_adds = forward.saturating_mul(if all { 3 } else { 2 });
    multiply_adds =
        multiply_adds.saturating_sub(first_inputs(subject, batch).saturating_mul(accumulate));
    if recomputes(recipe) {
        multiply_adds = multiply_adds.saturating_add(forward);
    }
    // Weights are read forward and back, gradients written and read, the optimizer's state and weights read and
    // written, activations written and read twice.
    let moved = [
        memory.weights.saturating_mul(4),
        memory.gradients.saturating_mul(2),
        memory.optimizer.saturating_mul(2),
        memory
            .activations
            .saturating_mul(3)
            .saturating_mul(accumulate),
    ];
    let bytes_moved = moved.into_iter().fold(0, u64::saturating_add);
    let is_bf16 = recipe
        .text()
        .is_ok_and(|text| text.train.dtype.bytes() == 2);
    let tokens = match (&subject.model, recipe.text()) {
        (SubjectModel::Language(..), Ok(text)) => text.train.block,
        _ => 1,
    };
    let samples = (batch as u64).saturating_mul(accumulate);
    Work {
        batch,
        units: samples.saturating_mul(tokens as u64),
        fits: memory.total() <= machine.memory,
        largest_batch: largest(machine.memory, |batch| need(batch).total()),
        floor_ms: machine.floor_ms(multiply_adds, bytes_moved, is_bf16),
        measured_ms: None,
        memory,
        multiply_adds,
        bytes_moved,
    }
}

/// Multiply-adds that the gradient of a network's inputs would cost, which nobody asks for.
fn first_inputs(subject: &Subject, batch: usize) -> u64 {
    match &subject.model {
        SubjectModel::Network(plan) => {
            let layers = plan.layers().iter();
            let mut costs = layers.map(|layer| layer.description.multiply_adds);
            let first = costs.find(|cost| *cost > 0);
            first.unwrap_or(0).saturating_mul(batch as u64)
        }
        _ => 0,
    }
}

fn recomputes(recipe: &Recipe) -> bool {
    recipe
        .samples()
        .is_ok_and(|samples| samples.train.recompute > 0)
}

/// The largest batch whose need is no more than `memory`.
pub(super) fn largest(memory: u64, need: impl Fn(usize) -> u64) -> Option<usize> {
    if need(1) > memory {
        return None;
    }
    let (mut fits, mut too_many) = (1, LARGEST_BATCH + 1);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        match need(middle) <= memory {
            true => fits = middle,
            false => too_many = middle,
        }
    }
    Some(fits)
}

/// Milliseconds of a step as it is taken here; `None` where it does not fit or would take long.
fn rehearsed(
    subject: &Subject,
    recipe: &Recipe,
    work: &Work,
    effort: Duration,
) -> Result<Option<f64>> {
    // Where a whole batch takes long, one sample is tried, and the rest follows from it.
    let whole = work.floor_ms * FLOORS <= PATIENCE_MS;
    let batch = if whole { work.batch } else { 1 };
    let one = work.floor_ms * FLOORS / work.batch as f64 <= PATIENCE_MS;
    // A learner of classes of texts has another head, and lengths that are not known.
    let is_known =
        recipe.text().is_ok_and(|text| text.classify.is_none()) || recipe.samples().is_ok();
    if !work.fits || !one || !is_known {
        return Ok(None);
    }
    let ms = rehearse(subject, recipe, batch, effort).map_err(Error::from)?;
    Ok(Some(ms * (work.batch / batch) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(what: &str, change: impl Fn(&mut ForecastOptions)) -> Forecast {
        let mut options = ForecastOptions {
            card: Machine::card("a100"),
            ..ForecastOptions::default()
        };
        change(&mut options);
        forecast(what.as_ref(), &options).unwrap()
    }

    #[test]
    fn the_largest_batch_is_the_last_that_fits() {
        assert_eq!(largest(100, |batch| 10 + 3 * batch as u64), Some(30));
        assert_eq!(largest(12, |batch| 10 + 3 * batch as u64), None);
        assert_eq!(largest(u64::MAX, |_| 0), Some(LARGEST_BATCH));
        let found = ask("resnet20", |_| ());
        let batch = found.training.largest_batch.unwrap();
        let at = |batch| ask("resnet20", |options| options.batch = Some(batch)).training;
        assert!(at(batch).fits && !at(batch + 1).fits);
    }

    #[test]
    fn options_change_what_is_planned() {
        let plain = ask("llama-tiny", |_| ());
        assert_eq!(plain.context, Some(256));
        let other = ask("llama-tiny", |options| {
            options.batch = Some(2);
            options.context = Some(64);
            options.dtype = NumberType::named("bf16");
            options.optimizer = Some("sgd".to_owned());
        });
        assert_eq!((other.training.batch, other.context), (2, Some(64)));
        assert_eq!(
            other.training.memory.weights * 2,
            plain.training.memory.weights
        );
        assert!(other.training.memory.optimizer < plain.training.memory.optimizer);
        let kept = |segments| {
            let found = ask("resnet20", |options| options.recompute = Some(segments));
            (
                found.training.memory.activations,
                found.training.multiply_adds,
            )
        };
        assert!(kept(4).0 < kept(0).0 && kept(4).1 > kept(0).1);
    }

    #[test]
    fn a_model_in_use_here_has_its_tokenizer() {
        let here = |what: &str| {
            let found = ask(what, |options| {
                options.card = None;
                options.context = Some(8);
            });
            found.decoding.unwrap().memory
        };
        let (tiny, gpt2) = (here("llama-tiny"), here("gpt2"));
        // Bytes are tokens by themselves.
        assert_eq!(tiny.tokenizer, 0);
        assert!(gpt2.tokenizer >= 50_257 * 32 && gpt2.program > 0);
        let card = ask("gpt2", |_| ()).decoding.unwrap().memory;
        assert_eq!((card.tokenizer, card.program), (0, 0));
    }

    #[test]
    fn a_step_costs_three_ways_forward_less_the_inputs_gradient() {
        let found = ask("lenet", |options| options.batch = Some(10));
        let conv1 = 32 * 9 * 26 * 26;
        let forward = conv1 + 64 * 32 * 9 * 24 * 24 + 9216 * 128 + 128 * 10;
        assert_eq!(found.inference.multiply_adds, 10 * forward);
        assert_eq!(found.training.multiply_adds, 10 * (3 * forward - conv1));
    }
}

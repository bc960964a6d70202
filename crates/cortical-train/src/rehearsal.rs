//! A few steps of a training, to see how long they take: on its data, or on made-up samples where there are none.

use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use cortical_kernels::parallel::keep_spinning;
use cortical_models::language::LanguageModel;
use cortical_models::{Network, Plan};
use cortical_neuron::loss::cross_entropy;
use cortical_neuron::{Layer, Params, Pass};
use cortical_tensor::{Rng, Seed};

use crate::recipe::{Recipe, StorageType, TaskRecipe};
use crate::subject::{Subject, SubjectModel};
use crate::task::{Batch, Task, Visitor, adapters, number, train_changes_only};
use crate::trainer::step::Learner;
use crate::{Result, start};

/// Steps that are not counted: memory comes from the system for the first time, and caches are cold.
const COLD: usize = 2;
/// Steps that are counted, at least and at most.
const LEAST: usize = 3;
const MOST: usize = 400;
/// The random stream of made-up samples.
const STREAM: &str = "rehearsal";

/// Milliseconds of a step of this training at a batch of so many samples: the median of some steps with fresh weights,
/// forward, back and with the optimizer, for about `effort`. Where the recipe's data can be opened and have such a
/// batch, reading it is part of the step; elsewhere samples are made up.
///
/// # Errors
/// A model that cannot be built, or that does not fit into memory.
pub fn rehearse(subject: &Subject, recipe: &Recipe, batch: usize, effort: Duration) -> Result<f64> {
    let training = Training {
        recipe,
        batch,
        effort,
    };
    // What is wrong with the data is said by a training.
    match recipe.kind().visit(training) {
        Ok(Some(ms)) => Ok(ms),
        _ => rehearse_made_up(subject, recipe, batch, effort),
    }
}

/// The training itself, for some steps.
struct Training<'r> {
    recipe: &'r Recipe,
    batch: usize,
    effort: Duration,
}

impl<'r> Visitor<'r> for Training<'r> {
    /// Milliseconds of a step; `None` where there are no batches of that size.
    type Output = Option<f64>;

    fn visit<T: Task<'r>>(self) -> Result<Option<f64>> {
        let recipe = self.recipe;
        let (mut task, params) = T::open(recipe, None)?;
        start::freeze(&recipe.start, &params)?;
        let mut optimizer = recipe.optim.config.build(&params, recipe.optim.groups())?;
        let mut learner = Learner {
            recipe,
            task: &mut task,
            params: &params,
            optimizer: &mut *optimizer,
            pruner: None,
            rng: &mut params.rng(STREAM),
        };
        let first = learner.next_batches()?;
        if first.first().map(Batch::samples) != Some(self.batch) {
            return Ok(None);
        }
        let ms = timed(self.effort, || {
            let batches = learner.next_batches()?;
            learner.step(&batches).map(|_| ())
        })?;
        Ok(Some(ms))
    }
}

/// The same on made-up samples.
fn rehearse_made_up(
    subject: &Subject,
    recipe: &Recipe,
    batch: usize,
    effort: Duration,
) -> Result<f64> {
    match &subject.model {
        SubjectModel::Network(plan) => rehearse_network(plan, recipe, batch, effort),
        SubjectModel::Language(config, _) => {
            let text = recipe.text()?;
            let dtype = match text.train.dtype {
                StorageType::F32 => DType::F32,
                StorageType::Bf16 => DType::BF16,
            };
            let params = Params::with_dtype(&Device::Cpu, Seed(recipe.seed), dtype);
            params.adapt(adapters(text));
            let model = LanguageModel::build(config, &params)?;
            train_changes_only(text, config, &params)?;
            let mut rng = Rng::new(Seed(recipe.seed), STREAM);
            let ids = tokens(&mut rng, config.vocab_size(), &[batch, text.train.block])?;
            let mut loss = |rng: &mut Rng| -> Result<Tensor> {
                match model.has_head() {
                    true => Ok(model.loss(&ids, &ids, &mut Pass::train(rng))?),
                    // A model without a head learns something else from its hidden state.
                    false => {
                        let hidden = model.hidden(&ids, None, &mut Pass::train(rng))?;
                        Ok(hidden.sqr()?.mean_all()?)
                    }
                }
            };
            steps(&params, recipe, effort, &mut loss)
        }
    }
}

fn rehearse_network(plan: &Plan, recipe: &Recipe, batch: usize, effort: Duration) -> Result<f64> {
    let recompute = match &recipe.task {
        TaskRecipe::Samples(samples) => samples.train.recompute,
        TaskRecipe::Text(_) => 0,
    };
    let params = Params::new(&Device::Cpu, Seed(recipe.seed));
    let network = Network::build(plan, &params)?.recompute(recompute);
    let mut rng = Rng::new(Seed(recipe.seed), STREAM);
    let (inputs, labels) = samples(&mut rng, plan, batch)?;
    let mut loss = |rng: &mut Rng| -> Result<Tensor> {
        let logits = network.forward(&inputs, &mut Pass::train(rng))?;
        Ok(cross_entropy(&logits, &labels)?)
    };
    steps(&params, recipe, effort, &mut loss)
}

/// Made-up samples, and their classes.
fn samples(rng: &mut Rng, plan: &Plan, batch: usize) -> Result<(Tensor, Tensor)> {
    let shape = [&[batch], plan.input_shape()].concat();
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| rng.normal() as f32).collect();
    let labels = tokens(rng, plan.classes(), &[batch])?;
    Ok((Tensor::from_vec(values, shape, &Device::Cpu)?, labels))
}

/// Made-up tokens.
fn tokens(rng: &mut Rng, vocabulary: usize, shape: &[usize]) -> Result<Tensor> {
    let count = shape.iter().product();
    let ids: Vec<u32> = (0..count)
        .map(|_| rng.below(vocabulary.max(1) as u64) as u32)
        .collect();
    Ok(Tensor::from_vec(ids, shape, &Device::Cpu)?)
}

/// The median of some steps in milliseconds.
fn steps(
    params: &Params,
    recipe: &Recipe,
    effort: Duration,
    loss: &mut dyn FnMut(&mut Rng) -> Result<Tensor>,
) -> Result<f64> {
    let mut optimizer = recipe.optim.config.build(params, recipe.optim.groups())?;
    let (limit, norm) = (recipe.optim.limit(), recipe.optim.norm());
    let mut rng = Rng::new(Seed(recipe.seed), STREAM);
    timed(effort, || {
        for _ in 0..recipe.train.accumulate {
            keep_spinning(|| -> Result<()> {
                let loss = loss(&mut rng)?;
                number(&loss)?;
                Ok(params.backward(&loss)?)
            })?;
        }
        keep_spinning(|| optimizer.step_clipped(limit, norm))?;
        Ok(())
    })
}

/// The median of how long `once` takes, in milliseconds, over some calls for about `effort`.
fn timed(effort: Duration, mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    let mut taken = Vec::new();
    for turn in 0..COLD + MOST {
        let before = Instant::now();
        once()?;
        if turn >= COLD {
            taken.push(before.elapsed().as_secs_f64() * 1e3);
        }
        if taken.len() >= LEAST && began.elapsed() >= effort {
            break;
        }
    }
    taken.sort_by(f64::total_cmp);
    Ok(taken[taken.len() / 2])
}

/// Milliseconds of a network's way forward alone, for a batch of so many samples.
///
/// # Errors
/// A network that cannot be built.
pub fn rehearse_forward(plan: &Plan, batch: usize, effort: Duration) -> Result<f64> {
    let params = Params::new(&Device::Cpu, Seed(0));
    let network = Network::build(plan, &params)?;
    let mut rng = Rng::new(Seed(0), STREAM);
    let (inputs, _) = samples(&mut rng, plan, batch)?;
    timed(effort, || {
        keep_spinning(|| network.forward(&inputs, &mut Pass::eval()))?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_and_a_text_are_rehearsed() {
        let iris = Recipe::for_data("iris");
        let subject = Subject::of(&iris).unwrap();
        let step = rehearse(&subject, &iris, 16, Duration::ZERO).unwrap();
        assert!(step > 0.0 && step.is_finite());
        let SubjectModel::Network(plan) = &subject.model else {
            panic!("iris is learned by a network");
        };
        assert!(rehearse_forward(plan, 4, Duration::ZERO).unwrap() > 0.0);
        let overrides = ["train.block=16".parse().unwrap()];
        let text = Recipe::from_toml(
            "version = 2\nmodel = \"llama-tiny\"\n[data]\nname = \"moby-dick\"",
            None,
            &overrides,
        );
        let text = text.unwrap();
        let subject = Subject::of(&text).unwrap();
        assert!(subject.data > 4_000_000, "the book's bytes are tokens");
        assert!(rehearse(&subject, &text, 1, Duration::ZERO).unwrap() > 0.0);
    }
}

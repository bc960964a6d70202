//! The learning rate finder: a short training whose learning rate rises until the loss explodes.

use cortical_report::{LineChart, Page, Series, number as shown};

use crate::recipe::OnNan;
use crate::task::{Task, Visitor};
use crate::trainer::step::{Attempt, Learner, USELESS};
use crate::{Error, Recipe, Result, start};

/// What the finder found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LrFinding {
    /// The learning rates that were tried, rising, with the smoothed loss after a step at each.
    pub points: Vec<(f64, f64)>,
    /// A tenth of the learning rate with the lowest loss: near the steepest fall, and safely below the explosion.
    /// `None` if the loss never fell.
    pub suggestion: Option<f64>,
}

/// The lowest and the highest learning rate that are tried.
const FROM: f64 = 1e-7;
const TO: f64 = 10.0;
/// The share of the running mean of losses that a step keeps, and the multiple of the lowest at which the search ends.
const KEEP: f64 = 0.9;
const EXPLODED: f64 = 4.0;

/// Trains the recipe's network for up to `steps` steps, each with a learning rate that is the same factor higher than
/// the last.
///
/// Each step is one of the training itself: as many batches, limits on gradients, and guard as the recipe says. Nothing
/// is written, and the recipe's own learning rate and schedule play no part.
///
/// # Errors
/// As [`train`](crate::train); [`Error::TooFewSteps`] for fewer than 10.
///
/// # Source
/// Smith, "Cyclical learning rates for training neural networks" (2017), section 3.3.
pub fn find_lr(recipe: &Recipe, steps: u64) -> Result<LrFinding> {
    if steps < 10 {
        return Err(Error::TooFewSteps { steps });
    }
    recipe.kind().visit(Search { recipe, steps })
}

/// A search that is to begin.
struct Search<'r> {
    recipe: &'r Recipe,
    steps: u64,
}

impl<'r> Visitor<'r> for Search<'r> {
    type Output = LrFinding;

    fn visit<T: Task<'r>>(self) -> Result<LrFinding> {
        let Self { recipe, steps } = self;
        let (mut task, params) = T::open(recipe, None)?;
        start::take_weights(&recipe.start, &params)?;
        start::freeze(&recipe.start, &params)?;
        let mut optimizer = recipe.optim.config.build(&params, recipe.optim.groups())?;
        let mut learner = Learner {
            recipe,
            task: &mut task,
            params: &params,
            optimizer: &mut *optimizer,
            pruner: None,
            rng: &mut params.rng("lr finder"),
        };
        let (mut mean, mut weight, mut skips) = (0.0, 0.0, 0);
        let mut points: Vec<(f64, f64)> = Vec::new();
        for step in 0..steps {
            let lr = FROM * (TO / FROM).powf(step as f64 / (steps - 1) as f64);
            learner.optimizer.set_lr(lr)?;
            let batches = learner.next_batches()?;
            let Attempt::Taken(done) = learner.step(&batches)? else {
                // A batch that the recipe leaves out, or the explosion.
                skips += 1;
                match recipe.guard.on_nan == OnNan::Skip && skips < USELESS {
                    true => continue,
                    false => break,
                }
            };
            skips = 0;
            (mean, weight) = (KEEP * mean + done.loss, KEEP * weight + 1.0);
            let smooth = mean / weight;
            points.push((lr, smooth));
            let lowest = points.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
            if smooth > EXPLODED * lowest {
                break;
            }
        }
        let suggestion = suggestion(&points);
        Ok(LrFinding { points, suggestion })
    }
}

fn suggestion(points: &[(f64, f64)]) -> Option<f64> {
    let lowest = points.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let first = points.first()?;
    (lowest.1 < 0.98 * first.1).then(|| lowest.0 / 10.0)
}

impl LrFinding {
    /// The finding as a page with a plot.
    #[must_use]
    pub fn to_html(&self, recipe: &Recipe) -> String {
        let curve = self.points.iter().map(|(lr, loss)| (lr.log10(), *loss));
        let lowest = self
            .points
            .iter()
            .map(|p| p.1)
            .fold(f64::INFINITY, f64::min);
        let mut chart =
            LineChart::new("Loss by learning rate", "power of ten of the learning rate")
                .series(Series::new("loss", curve));
        let mut figures = Vec::new();
        if let Some(lr) = self.suggestion {
            let top = self.points.first().map_or(lowest, |p| p.1);
            let mark = [(lr.log10(), lowest), (lr.log10(), top)];
            chart = chart.series(Series::new("suggestion", mark));
            figures.push(("suggested learning rate".to_owned(), shown(lr)));
        }
        figures.push(("lowest loss".to_owned(), shown(lowest)));
        let summary = format!("{} on {}", recipe.model_name(), recipe.data.name);
        let mut page = Page::new("Learning rate finder", &summary);
        page.figures(&figures).section("Plot").wide(&chart.to_svg());
        page.section("Recipe").code(recipe.to_toml().trim_end());
        page.to_html()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suggestion_lies_where_the_loss_falls() {
        let recipe = Recipe::for_data("iris");
        let finding = find_lr(&recipe, 60).unwrap();
        let lr = finding.suggestion.unwrap();
        assert!((1e-4..1.0).contains(&lr), "{lr}");
        assert!(finding.points.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(
            find_lr(&recipe, 60).unwrap(),
            finding,
            "it is a function of the recipe"
        );
        let html = finding.to_html(&recipe);
        assert!(html.contains("suggested learning rate"));
    }

    #[test]
    fn a_step_is_one_of_the_training_itself() {
        let find = |set: &[&str]| {
            let set: Vec<crate::Override> = set.iter().map(|set| set.parse().unwrap()).collect();
            let recipe = Recipe::from_toml("version = 2\ndata.name = \"iris\"", None, &set);
            find_lr(&recipe.unwrap(), 60).unwrap()
        };
        let plain = find(&[]);
        for set in [
            // Gradients that come to nothing move nothing.
            &["optim.clip_norm=1e-12"][..],
            &["optim.clip_value=1e-12"],
        ] {
            let sgd = [
                "optim={ kind = \"sgd\", weight_decay = 0 }",
                "train.batch_size=1000",
            ];
            let finding = find(&[&sgd[..], set].concat());
            assert_eq!(finding.suggestion, None, "{set:?}");
        }
        // Two batches of four make the step of one batch of eight, but for sums in another order.
        let halves = find(&["train.batch_size=4", "train.accumulate=2"]);
        let whole = find(&["train.batch_size=8"]);
        for (a, b) in halves.points.iter().zip(&whole.points).take(20) {
            assert!((a.1 - b.1).abs() < 1e-4, "{a:?} {b:?}");
        }
        assert_ne!(halves, plain);
    }

    #[test]
    fn a_loss_that_never_falls_suggests_nothing() {
        assert_eq!(suggestion(&[(1e-3, 1.0), (1e-2, 1.0), (1e-1, 3.0)]), None);
        assert_eq!(suggestion(&[]), None);
        let error = find_lr(&Recipe::for_data("iris"), 3).unwrap_err();
        assert!(matches!(error, Error::TooFewSteps { steps: 3 }));
    }
}

//! The learning rate finder: a short training whose learning rate rises until the loss explodes.

use cortical_report::{LineChart, Page, Series, number as shown};

use crate::recipe::TaskKind;
use crate::task::{Classification, NextToken, Task, TextClasses, number};
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
/// Nothing is written, and the recipe's own learning rate and schedule play no part.
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
    match recipe.kind() {
        TaskKind::Classification => find::<Classification<'_>>(recipe, steps),
        TaskKind::NextToken => find::<NextToken<'_>>(recipe, steps),
        TaskKind::TextClassification => find::<TextClasses<'_>>(recipe, steps),
    }
}

fn find<'r, T: Task<'r>>(recipe: &'r Recipe, steps: u64) -> Result<LrFinding> {
    let (mut task, params) = T::open(recipe)?;
    start::take_weights(&recipe.start, &params)?;
    start::freeze(&recipe.start, &params)?;
    let mut optimizer = recipe.optim.config.build(&params, recipe.optim.groups())?;
    let mut rng = params.rng("lr finder");
    let (mut mean, mut weight) = (0.0, 0.0);
    let mut points: Vec<(f64, f64)> = Vec::new();
    for step in 0..steps {
        let lr = FROM * (TO / FROM).powf(step as f64 / (steps - 1) as f64);
        optimizer.set_lr(lr)?;
        let batch = task.next_batch()?;
        let (loss, _) = task.loss(&batch, &mut rng)?;
        let value = number(&loss)?;
        if !value.is_finite() {
            break;
        }
        (mean, weight) = (KEEP * mean + value, KEEP * weight + 1.0);
        let smooth = mean / weight;
        points.push((lr, smooth));
        let lowest = points.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
        if smooth > EXPLODED * lowest {
            break;
        }
        params.backward(&loss)?;
        match optimizer.step() {
            Err(cortical_optim::Error::NotFinite { .. }) => break,
            other => other?,
        }
    }
    let suggestion = suggestion(&points);
    Ok(LrFinding { points, suggestion })
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
    fn a_loss_that_never_falls_suggests_nothing() {
        assert_eq!(suggestion(&[(1e-3, 1.0), (1e-2, 1.0), (1e-1, 3.0)]), None);
        assert_eq!(suggestion(&[]), None);
        let error = find_lr(&Recipe::for_data("iris"), 3).unwrap_err();
        assert!(matches!(error, Error::TooFewSteps { steps: 3 }));
    }
}

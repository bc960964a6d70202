//! Trying settings: many runs of one recipe, each with other values of some fields, and which of them is the best.
//!
//! What is tried is a function of the request alone, and every run has a folder of its own: a search that was stopped
//! or killed goes on where it was, with the same runs.

mod space;

use std::path::{Path, PathBuf};

use cortical_tensor::{Rng, Seed};
use serde_json::{Value, json};

use crate::folder::{RunFolder, RunPaths};
use crate::observe::Stop;
use crate::recipe::{Override, Recipe};
use crate::report::Report;
use crate::search_defect::SearchDefect;
use crate::trainer::{Outcome, train};
use crate::{Error, Result};

pub use space::Axis;

/// Runs of a search at most.
const MOST_TRIALS: usize = 10_000;
/// Of so many trials successive halving keeps one for the next, longer round.
const KEEP_ONE_OF: usize = 3;
/// Bytes of `search.json` that are read at most.
const REQUEST_BYTES: u64 = 16 << 20;
/// What `search.json` says it is, and its version.
const FORMAT: &str = "cortical-search";
const VERSION: u64 = 1;

/// How settings are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SearchMethod {
    /// Every combination.
    Grid,
    /// So many random combinations.
    Random(usize),
    /// So many random combinations, trained for a part of the epochs; the best third for three times as many, and so on
    /// to the recipe's epochs (Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter
    /// optimization").
    Halving(usize),
}

/// A search.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// What all runs have in common.
    pub recipe: Recipe,
    /// What is tried.
    pub axes: Vec<Axis>,
    /// How it is chosen.
    pub method: SearchMethod,
    /// In how many parts a cross-validation divides the samples: each setting is trained once for each part, which then
    /// judges it. Without one the validation part judges.
    pub folds: Option<usize>,
    /// The folder for all runs.
    pub root: PathBuf,
}

/// Settings that were tried.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Trial {
    /// Its number, from 1.
    pub number: usize,
    /// The fields with their values, in the order of the request.
    pub set: Vec<(String, String)>,
    /// What it was judged by: what the recipe monitors, its mean over all folds; `None` for a run that did not end
    /// well.
    pub score: Option<f64>,
    /// The (sample) standard deviation of that over the folds, where there are several.
    pub deviation: Option<f64>,
    /// The epochs that its longest run was trained for.
    pub epochs: u64,
    /// Seconds that its runs were trained for.
    pub seconds: f64,
    /// The folder of its longest run: the first of them, where there are folds.
    pub run: PathBuf,
    /// The report of that run.
    pub report: Option<Report>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Found {
    /// All trials, the best first: those that were trained for the most epochs, by their scores.
    pub trials: Vec<Trial>,
    /// What they were judged by.
    pub judge: String,
    /// Whether the search was stopped before its end.
    pub stopped: bool,
}

/// Tries settings, or goes on where a search in the same folder was stopped. `watch` sees each trial of each round as
/// it ends.
///
/// # Errors
/// [`Error::Search`] for a request that makes no sense; a setting that makes no recipe; whatever a training refuses. A
/// run whose loss becomes non-finite is a trial without a score.
pub fn search(
    request: &SearchRequest,
    stop: &dyn Stop,
    watch: &mut dyn FnMut(&Trial),
) -> Result<Found> {
    let trials = request.trials()?;
    // A setting that makes no recipe is said before anything is trained.
    for set in &trials {
        request.recipe_with(set)?;
    }
    request.keep()?;
    let mut found: Vec<Trial> = Vec::new();
    let mut left: Vec<usize> = (0..trials.len()).collect();
    let mut stopped = false;
    'rounds: for (round, epochs) in request.rounds(trials.len()).into_iter().enumerate() {
        let mut of_round = Vec::new();
        for &at in &left {
            let Some(trial) = request.run(at, &trials[at], (round, epochs), stop)? else {
                stopped = true;
                break 'rounds;
            };
            watch(&trial);
            found.retain(|earlier| earlier.number != trial.number);
            found.push(trial.clone());
            of_round.push(trial);
        }
        request.sort(&mut of_round);
        of_round.truncate(of_round.len().div_ceil(KEEP_ONE_OF).max(1));
        left = of_round.iter().map(|trial| trial.number - 1).collect();
        left.sort_unstable();
    }
    request.sort(&mut found);
    Ok(Found {
        trials: found,
        judge: request.judge(),
        stopped,
    })
}

impl SearchRequest {
    /// The settings of every trial.
    fn trials(&self) -> Result<Vec<Vec<Override>>> {
        if self.axes.is_empty() {
            return Err(SearchDefect::NoAxes.into());
        }
        let (SearchMethod::Random(count) | SearchMethod::Halving(count)) = self.method else {
            return Ok(space::grid(&self.axes, MOST_TRIALS)?);
        };
        if !(1..=MOST_TRIALS).contains(&count) {
            return Err(SearchDefect::TooMany { most: MOST_TRIALS }.into());
        }
        let mut rng = Rng::new(Seed(self.recipe.seed), "search");
        let mut draw = |_| self.axes.iter().map(|axis| axis.draw(&mut rng)).collect();
        Ok((0..count).map(&mut draw).collect())
    }

    /// The epochs of each round; `None` for those of the recipe.
    fn rounds(&self, trials: usize) -> Vec<Option<u64>> {
        let SearchMethod::Halving(_) = self.method else {
            return vec![None];
        };
        let all = self.recipe.train.epochs;
        let (mut rounds, mut left, mut epochs) = (vec![None], trials, all);
        while left > 1 && epochs > 1 {
            left = left.div_ceil(KEEP_ONE_OF);
            epochs = (epochs / KEEP_ONE_OF as u64).max(1);
            rounds.push(Some(epochs));
        }
        rounds.reverse();
        rounds
    }

    fn recipe_with(&self, set: &[Override]) -> Result<Recipe> {
        Recipe::from_toml("version = 2", Some(&self.recipe), set)
    }

    /// What trials are judged by, in words.
    fn judge(&self) -> String {
        let measure = self.recipe.train.monitor.measure();
        let figure = measure.map_or("loss", crate::Measure::name);
        match self.folds {
            Some(folds) => format!("{figure} over {folds} folds"),
            None => format!("valid_{figure}"),
        }
    }

    /// Writes down what is searched, or sees that the folder holds the same search.
    fn keep(&self) -> Result<()> {
        let path = self.root.join("search.json");
        let method = match self.method {
            SearchMethod::Grid => json!("grid"),
            SearchMethod::Random(count) => json!({ "random": count }),
            SearchMethod::Halving(count) => json!({ "halving": count }),
        };
        let axes: Vec<&str> = self.axes.iter().map(Axis::text).collect();
        let own = json!({
            "format": FORMAT,
            "version": VERSION,
            "recipe": self.recipe.to_toml(),
            "try": axes,
            "method": method,
            "folds": self.folds,
        });
        let other = || {
            Error::from(SearchDefect::OtherSearch {
                path: self.root.clone(),
            })
        };
        if path.exists() {
            let text = cortical_io::read_text(&path, REQUEST_BYTES)?;
            let kept: Value = serde_json::from_str(&text).map_err(|_| other())?;
            return (kept == own).then_some(()).ok_or_else(other);
        }
        let is_free = std::fs::read_dir(&self.root).map_or(true, |mut all| all.next().is_none());
        if !is_free || (self.root.exists() && !self.root.is_dir()) {
            return Err(other());
        }
        std::fs::create_dir_all(&self.root).map_err(Error::file(&self.root))?;
        let text = format!("{own:#}\n");
        Ok(cortical_io::write_atomic(&path, |file| {
            file.write_all(text.as_bytes())
        })?)
    }

    /// One trial of a round: a run, or one for each fold. `None` if it was stopped.
    fn run(
        &self,
        at: usize,
        set: &[Override],
        (round, epochs): (usize, Option<u64>),
        stop: &dyn Stop,
    ) -> Result<Option<Trial>> {
        let folder = self.root.join(format!("trial-{:03}", at + 1));
        let folder = match self.method {
            SearchMethod::Halving(_) => folder.join(format!("round-{}", round + 1)),
            _ => folder,
        };
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let mut set_of_run = set.to_vec();
        set_of_run.extend(epochs.map(|n| Override::new("train.epochs", whole(n))));
        let (mut scores, mut seconds, mut first, mut failed) = (Vec::new(), 0.0, None, false);
        for fold in 0..self.folds.unwrap_or(1) {
            let mut set = set_of_run.clone();
            let mut path = folder.clone();
            if let Some(folds) = self.folds {
                set.push(Override::new("data.folds", whole(folds as u64)));
                set.push(Override::new("data.fold", whole(fold as u64)));
                path.push(format!("fold-{fold}"));
            }
            let recipe = self.recipe_with(&set)?;
            match run_one(&path, &recipe, stop) {
                Ok(None) => return Ok(None),
                Ok(Some(report)) => {
                    seconds += report.train_seconds;
                    scores.push(self.score(&report)?);
                    first.get_or_insert((path, report));
                }
                Err(Error::Diverged { .. }) => {
                    failed = true;
                    break;
                }
                Err(other) => return Err(other),
            }
        }
        let count = scores.len() as f64;
        let mean = scores.iter().sum::<f64>() / count;
        let squares = scores
            .iter()
            .map(|score| (score - mean).powi(2))
            .sum::<f64>();
        let shown = |set: &Override| (set.path().to_owned(), set.value().to_string());
        let (run, report) = match first {
            Some((run, report)) => (run, Some(report)),
            None => (folder, None),
        };
        Ok(Some(Trial {
            number: at + 1,
            set: set.iter().map(shown).collect(),
            score: (!failed && mean.is_finite()).then_some(mean),
            deviation: (scores.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
            epochs: epochs.unwrap_or(self.recipe.train.epochs),
            seconds,
            run,
            report,
        }))
    }

    /// What a run is judged by.
    fn score(&self, report: &Report) -> Result<f64> {
        let of_figure = self.recipe.train.monitor.measure().is_some();
        let score = match (self.folds, of_figure) {
            (None, false) => report.valid_loss,
            (None, true) => report.valid_figure,
            (Some(_), false) => report.test_loss,
            (Some(_), true) => report.tested().and_then(|test| test.figure),
        };
        let field = "a search without --folds";
        score.ok_or(Error::NoValidation { field })
    }

    /// The best first: of those that were trained for the most epochs.
    fn sort(&self, trials: &mut [Trial]) {
        let measure = self.recipe.train.monitor.measure();
        let larger = measure.is_some_and(crate::Measure::larger_is_better);
        let key = |trial: &Trial| match (trial.score, larger) {
            (None, _) => f64::INFINITY,
            (Some(score), true) => -score,
            (Some(score), false) => score,
        };
        trials.sort_by(|a, b| {
            let longer = b.epochs.cmp(&a.epochs);
            longer
                .then(key(a).total_cmp(&key(b)))
                .then(a.number.cmp(&b.number))
        });
    }
}

/// A run from its beginning, from where it was stopped, or as it ended. `None` if it is stopped.
fn run_one(root: &Path, recipe: &Recipe, stop: &dyn Stop) -> Result<Option<Report>> {
    let paths = RunPaths::new(root);
    if paths.is_run() && paths.read_recipe()? != *recipe {
        let path = root.to_owned();
        return Err(SearchDefect::OtherSearch { path }.into());
    }
    if let Some(report) = paths.read_report()? {
        return Ok(Some(report));
    }
    let folder = match paths.is_run() {
        true => RunFolder::open(root)?.0,
        false => RunFolder::create(root, recipe)?,
    };
    Ok(match train(folder, recipe, stop, &mut ())? {
        Outcome::Finished(report) | Outcome::AlreadyFinished(report) => Some(report),
        Outcome::Stopped { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    fn request(root: &Path, axes: &[&str], method: SearchMethod) -> SearchRequest {
        let mut recipe = Recipe::for_data("iris");
        recipe.train.epochs = 9;
        SearchRequest {
            recipe,
            axes: axes.iter().map(|text| text.parse().unwrap()).collect(),
            method,
            folds: None,
            root: root.to_owned(),
        }
    }

    #[test]
    fn the_best_of_a_grid_comes_first_and_a_second_search_takes_no_step() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("found");
        let request = request(
            &root,
            &["optim.lr=1e-9,1e-2", "seed=1,2"],
            SearchMethod::Grid,
        );
        let found = search(&request, &(), &mut |_| {}).unwrap();
        assert_eq!((found.trials.len(), &found.judge[..]), (4, "valid_loss"));
        let scores: Vec<f64> = found.trials.iter().map(|t| t.score.unwrap()).collect();
        assert!(
            scores.is_sorted() && scores[1] < 0.5 && scores[2] > 0.5,
            "{scores:?}"
        );
        assert_eq!(
            found.trials[0].set[0],
            ("optim.lr".to_owned(), "0.01".to_owned())
        );
        assert!(root.join("trial-001/report.json").is_file());
        let again = search(&request, &(), &mut |_| {}).unwrap();
        assert_eq!(again, found);
        let other = SearchRequest {
            axes: vec!["optim.lr=1e-3".parse().unwrap()],
            ..request
        };
        let error = search(&other, &(), &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("holds another search"), "{error}");
    }

    /// Stops at the so-manyeth question.
    struct StopAt(AtomicUsize);

    impl Stop for StopAt {
        fn is_requested(&self) -> bool {
            self.0.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    #[test]
    fn a_search_that_was_stopped_goes_on_to_the_same_runs() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| {
            let axes = ["optim.lr=1e-3..1e-1", "model.hidden=[8],[16, 8]"];
            request(&folder.path().join(name), &axes, SearchMethod::Halving(5))
        };
        let mut seen = Vec::new();
        let whole = search(&of("whole"), &(), &mut |trial| {
            seen.push((trial.number, trial.epochs));
        });
        let whole = whole.unwrap();
        // Five for one epoch, two for three, one for nine.
        let epochs = |n| seen.iter().filter(|(_, epochs)| *epochs == n).count();
        assert_eq!([epochs(1), epochs(3), epochs(9), seen.len()], [5, 2, 1, 8]);
        assert_eq!(whole.trials[0].epochs, 9);
        let stop = StopAt(AtomicUsize::new(20));
        let cut = search(&of("cut"), &stop, &mut |_| {}).unwrap();
        assert!(cut.stopped && cut.trials.len() < 5);
        let rest = search(&of("cut"), &AtomicBool::new(false), &mut |_| {}).unwrap();
        let figures = |found: &Found| -> Vec<(usize, Option<f64>, u64)> {
            found
                .trials
                .iter()
                .map(|t| (t.number, t.score, t.epochs))
                .collect()
        };
        assert_eq!(figures(&rest), figures(&whole));
    }

    #[test]
    fn folds_judge_by_their_own_parts_and_a_run_that_diverges_is_last() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("found");
        let request = SearchRequest {
            folds: Some(3),
            ..request(&root, &["optim.lr=1e30,1e-2"], SearchMethod::Grid)
        };
        let found = search(&request, &(), &mut |_| {}).unwrap();
        let best = &found.trials[0];
        assert!(
            best.score.unwrap() < 0.6 && best.deviation.unwrap() > 0.0,
            "{best:?}"
        );
        assert!(best.run.ends_with("trial-002/fold-0"));
        assert_eq!(found.judge, "loss over 3 folds");
        assert_eq!(found.trials[1].score, None, "{:?}", found.trials[1]);
    }

    #[test]
    fn what_cannot_be_searched_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("found");
        for (axes, method) in [
            (&[][..], SearchMethod::Grid),
            (&["optim.lr=1e-3..1e-2"], SearchMethod::Grid),
            (&["optim.lr=1e-3"], SearchMethod::Random(0)),
            (&["optim.lrr=1e-3"], SearchMethod::Grid),
            (&["optim.lr=-1"], SearchMethod::Grid),
        ] {
            assert!(search(&request(&root, axes, method), &(), &mut |_| {}).is_err());
            assert!(!root.exists(), "{axes:?}");
        }
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("mine.txt"), "x").unwrap();
        let grid = request(&root, &["optim.lr=1e-3"], SearchMethod::Grid);
        assert!(search(&grid, &(), &mut |_| {}).is_err());
    }
}

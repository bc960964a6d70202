//! Runs from outside: the same bytes however often a run is interrupted, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Device;
use cortical_train::{
    Error, Event, Outcome, Recipe, RunFolder, RunPaths, Stop, TrainedModel, evaluate, in_pool,
    train,
};

/// A small recipe with everything that has state: dropout, momentum, a schedule, batches that do not come out even.
fn recipe(more: &str) -> Recipe {
    let text = format!(
        "version = 1\n[data]\nname = \"iris\"\n[model]\nkind = \"mlp\"\nhidden = [8]\ndropout = 0.2\n\
         [train]\nepochs = 6\nbatch_size = 25\n[checkpoint]\nevery_steps = 4\n[log]\nevery_steps = 3\n{more}"
    );
    Recipe::from_toml(&text, None, &[]).unwrap()
}

/// Asks to stop when it has been asked this often.
struct After(AtomicU64);

impl Stop for After {
    fn is_requested(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) == 0
    }
}

fn model(root: &Path) -> Vec<u8> {
    fs::read(RunPaths::new(root).model()).unwrap()
}

/// The steps and events of the lines of `metrics.jsonl`, and the epochs' figures.
fn metrics(root: &Path) -> Vec<(String, u64, String)> {
    let text = fs::read_to_string(RunPaths::new(root).metrics()).unwrap();
    let line = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let figures = format!(
            "{} {} {}",
            value["loss"], value["train_loss"], value["test_accuracy"]
        );
        let event = value["event"].as_str().unwrap().to_owned();
        (event, value["step"].as_u64().unwrap(), figures)
    };
    text.lines().map(line).collect()
}

fn uninterrupted(root: &Path, recipe: &Recipe) -> cortical_train::Report {
    let folder = RunFolder::create(root, recipe).unwrap();
    match train(folder, recipe, &(), &mut ()).unwrap() {
        Outcome::Finished(report) => report,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_that_is_stopped_anywhere_ends_with_the_same_bytes() {
    let temporary = tempfile::tempdir().unwrap();
    let recipe = recipe("");
    let whole = temporary.path().join("whole");
    let report = uninterrupted(&whole, &recipe);
    assert_eq!(report.steps, 30);

    let root = temporary.path().join("stopped");
    let mut folder = RunFolder::create(&root, &recipe).unwrap();
    let mut stops = 0;
    let last = loop {
        let stop = After(AtomicU64::new(7));
        match train(folder, &recipe, &stop, &mut ()).unwrap() {
            Outcome::Stopped { step, .. } => assert_eq!(step, 7 * (stops + 1)),
            Outcome::Finished(report) => break report,
            other => panic!("{other:?}"),
        }
        stops += 1;
        folder = RunFolder::open(&root).unwrap().0;
    };
    assert_eq!(stops, 4);
    assert!(model(&root) == model(&whole), "the models differ");
    assert_eq!(metrics(&root), metrics(&whole));
    assert_eq!(last.test, report.test);
}

#[test]
fn a_killed_run_goes_back_to_its_checkpoint_or_to_the_start() {
    let temporary = tempfile::tempdir().unwrap();
    let recipe = recipe("");
    let whole = temporary.path().join("whole");
    uninterrupted(&whole, &recipe);

    // What a kill leaves: checkpoints up to some step, lines beyond it, one of them half, and no report.
    for kept in [vec![], vec![4], vec![4, 8]] {
        let root = temporary.path().join(format!("killed-{}", kept.len()));
        let folder = RunFolder::create(&root, &recipe).unwrap();
        let stop = After(AtomicU64::new(11));
        let outcome = train(folder, &recipe, &stop, &mut ()).unwrap();
        assert!(matches!(outcome, Outcome::Stopped { step: 11, .. }));
        let checkpoints = RunPaths::new(&root).checkpoints();
        for step in checkpoints.steps().unwrap() {
            if !kept.contains(&step) {
                fs::remove_dir_all(checkpoints.folder(step)).unwrap();
            }
        }
        let path = RunPaths::new(&root).metrics();
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"event\":\"st");
        fs::write(&path, text).unwrap();

        let mut start = None;
        let mut observer = |event: Event<'_>| {
            if let Event::Ready(setup) = event {
                start = Some(setup.start_step);
            }
        };
        let (folder, recipe) = RunFolder::open(&root).unwrap();
        let outcome = train(folder, &recipe, &(), &mut observer).unwrap();
        assert!(matches!(outcome, Outcome::Finished(_)));
        // Two checkpoints are kept, so that the one of step 4 is gone by step 11.
        assert_eq!(start, Some(if kept.contains(&8) { 8 } else { 0 }));
        assert!(model(&root) == model(&whole), "the models differ");
        assert_eq!(metrics(&root), metrics(&whole));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let temporary = tempfile::tempdir().unwrap();
    let text = "version = 1\n[train]\nepochs = 1\nbatch_size = 64\n[log]\nevery_steps = 0";
    let recipe = Recipe::from_toml(text, None, &[]).unwrap();
    let run = |threads: usize| {
        let root = temporary.path().join(threads.to_string());
        in_pool(Some(threads), || uninterrupted(&root, &recipe)).unwrap();
        model(&root)
    };
    let one = run(1);
    assert!(run(2) == one, "2 threads");
    assert!(run(5) == one, "5 threads");
}

#[test]
fn the_seed_decides_and_the_model_predicts_what_the_run_reported() {
    let temporary = tempfile::tempdir().unwrap();
    let (first, second) = (temporary.path().join("1"), temporary.path().join("2"));
    let recipe = recipe("");
    let report = uninterrupted(&first, &recipe);
    let mut other = recipe.clone();
    other.seed = 2;
    uninterrupted(&second, &other);
    assert!(model(&first) != model(&second), "two seeds, one model");

    let trained = TrainedModel::load(&RunPaths::new(&first).model(), &Device::Cpu).unwrap();
    let splits = recipe.data.open().unwrap();
    let test = splits.test.preprocessed(trained.preprocess()).unwrap();
    let again = evaluate(trained.network(), &test, 256, &Device::Cpu).unwrap();
    assert_eq!(again, report.test);
    let predictions = trained.predict(splits.test.inputs(), 7).unwrap();
    let labels = splits.test.labels().iter();
    let right = labels
        .zip(&predictions)
        .filter(|(label, p)| **label as usize == p.class);
    let accuracy = right.count() as f64 / predictions.len() as f64;
    assert!((accuracy - report.test.accuracy).abs() < 1e-8, "{accuracy}");
}

#[test]
fn a_model_file_holds_neither_time_nor_path_nor_threads() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("a");
    uninterrupted(&root, &recipe(""));
    let file = cortical_io::TensorFile::open(RunPaths::new(&root).model()).unwrap();
    let keys: Vec<&str> = file.metadata().keys().map(String::as_str).collect();
    let want = [
        "cortical.classes",
        "cortical.input_shape",
        "cortical.kind",
        "cortical.layers",
        "cortical.model",
        "cortical.network",
        "cortical.preprocess",
        "format",
    ];
    assert_eq!(keys, want);
    assert_eq!(file.metadata()["format"], "pt");
    assert_eq!(
        file.metadata()["cortical.classes"],
        "[\"setosa\",\"versicolor\",\"virginica\"]"
    );
}

#[test]
fn a_finished_run_is_left_alone() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("a");
    let report = uninterrupted(&root, &recipe(""));
    let before = model(&root);
    let (folder, recipe) = RunFolder::open(&root).unwrap();
    let outcome = train(folder, &recipe, &(), &mut ()).unwrap();
    assert_eq!(outcome, Outcome::AlreadyFinished(report));
    assert!(model(&root) == before);
}

#[test]
fn a_recipe_that_was_changed_meanwhile_is_refused() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("a");
    let folder = RunFolder::create(&root, &recipe("")).unwrap();
    train(folder, &recipe(""), &After(AtomicU64::new(2)), &mut ()).unwrap();
    let changed = recipe("[optim]\nlr = 0.5");
    let folder = RunFolder::open(&root).unwrap().0;
    let error = train(folder, &changed, &(), &mut ()).unwrap_err();
    assert!(
        matches!(error, Error::RecipeChanged { step: 2, .. }),
        "{error}"
    );
}

#[test]
fn a_run_that_diverges_says_so_and_one_that_cannot_begin_leaves_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("a");
    let mut wild = recipe("[optim]\nkind = \"sgd\"\nlr = 1e30");
    let folder = RunFolder::create(&root, &wild).unwrap();
    let error = train(folder, &wild, &(), &mut ()).unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "{error}");

    let root = temporary.path().join("b");
    wild.data.name = "no such data".to_owned();
    let folder = RunFolder::create(&root, &wild).unwrap();
    let error = train(folder, &wild, &(), &mut ()).unwrap_err();
    assert!(matches!(error, Error::Data(_)), "{error}");
    assert!(!root.exists());
}

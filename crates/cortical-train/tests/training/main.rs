//! Runs from outside: what decides their bytes, what they leave, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod interruption;
mod non_finite;
mod pruning;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Device;
use cortical_train::{
    Error, Event, Outcome, Recipe, RunFolder, RunPaths, Stop, TaskRecipe, TrainedModel, Warning,
    evaluate, in_pool, train,
};

/// A small recipe with everything that has state: dropout, momentum, a schedule, batches that do not come out even.
fn recipe(more: &str) -> Recipe {
    let text = format!(
        "version = 2\n[data]\nname = \"iris\"\n[model]\nkind = \"mlp\"\nhidden = [8]\ndropout = 0.2\n\
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
            value["loss"], value["train_loss"], value["valid_accuracy"]
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
fn the_number_of_threads_changes_no_bit() {
    let temporary = tempfile::tempdir().unwrap();
    let text = "version = 2\n[train]\nepochs = 1\nbatch_size = 64\n[log]\nevery_steps = 0";
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
    let splits = recipe.open_samples(&[]).unwrap();
    let test = splits.test.preprocessed(trained.preprocess()).unwrap();
    let again = evaluate(trained.network(), &test, 256, &Device::Cpu).unwrap();
    assert_eq!(Some(&again), report.test.as_ref());
    let predictions = trained.predict(splits.test.inputs(), 7).unwrap();
    let labels = splits.test.labels().iter();
    let right = labels
        .zip(&predictions)
        .filter(|(label, p)| **label as usize == p.class);
    let accuracy = right.count() as f64 / predictions.len() as f64;
    assert!((accuracy - again.accuracy).abs() < 1e-8, "{accuracy}");
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
fn accumulated_batches_are_one_large_batch() {
    let temporary = tempfile::tempdir().unwrap();
    let recipe = |batch_size: u64, accumulate: u64| {
        let text = format!(
            "version = 2\n[data]\nname = \"iris\"\n[model]\nkind = \"softmax\"\n[optim]\nkind = \"sgd\"\n\
             [train]\nepochs = 2\nbatch_size = {batch_size}\naccumulate = {accumulate}"
        );
        Recipe::from_toml(&text, None, &[]).unwrap()
    };
    let weights = |name: &str, recipe: &Recipe| {
        let root = temporary.path().join(name);
        uninterrupted(&root, recipe);
        let trained = TrainedModel::load(&RunPaths::new(&root).model(), &Device::Cpu).unwrap();
        let tensors = trained.params().named_tensors();
        let flat = |(_, t): &(String, candle_core::Tensor)| {
            t.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        tensors.iter().flat_map(flat).collect::<Vec<f32>>()
    };
    let (one, many) = (
        weights("one", &recipe(50, 1)),
        weights("many", &recipe(10, 5)),
    );
    for (a, b) in one.iter().zip(&many) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn a_second_task_starts_from_the_first_ones_weights() {
    let temporary = tempfile::tempdir().unwrap();
    let first = temporary.path().join("first");
    uninterrupted(&first, &recipe(""));
    let second = |more: &str| {
        let from = first.to_str().unwrap().replace('\\', "/");
        recipe(&format!(
            "{more}[start]\nfrom = \"{from}\"\nfreeze = [\"fc1*\"]\nreplace = [\"fc2.*\"]\n"
        ))
    };
    let root = temporary.path().join("second");
    uninterrupted(
        &root,
        &second("[optim]\ngroups = [{ match = \"fc2.bias\", lr_scale = 0.1 }]\n"),
    );
    let tensors = |root: &Path| {
        let trained = TrainedModel::load(&RunPaths::new(root).model(), &Device::Cpu).unwrap();
        let tensors = trained.params().named_tensors();
        let flat = |(name, t): (String, candle_core::Tensor)| {
            (name, t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        };
        tensors.into_iter().map(flat).collect::<Vec<_>>()
    };
    for ((name, before), (_, after)) in tensors(&first).into_iter().zip(tensors(&root)) {
        assert_eq!(before == after, name.starts_with("fc1"), "{name}");
    }

    let refused = |change: fn(&mut Recipe)| {
        let mut recipe = second("");
        change(&mut recipe);
        let folder = RunFolder::create(&temporary.path().join("refused"), &recipe).unwrap();
        train(folder, &recipe, &(), &mut ())
            .unwrap_err()
            .to_string()
    };
    let error = refused(|recipe| recipe.start.freeze = vec!["conv*".to_owned()]);
    assert_eq!(
        error,
        "start.freeze: \"conv*\" fits no name; there are fc1.weight, fc1.bias, fc2.weight, fc2.bias"
    );
    let error = refused(|recipe| recipe.start.freeze = vec!["*".to_owned()]);
    assert_eq!(
        error,
        "start.freeze leaves nothing to train; name fewer parameters"
    );
    let error = refused(|recipe| recipe.start.from = "no such file".to_owned());
    assert!(error.contains("no such file"), "{error}");
    let error = refused(|recipe| {
        recipe.start.replace.clear();
        if let TaskRecipe::Samples(samples) = &mut recipe.task {
            samples.model = "softmax".parse().unwrap();
        }
        recipe.start.freeze.clear();
    });
    assert!(
        error.contains("does not have the weights of this network"),
        "{error}"
    );
}

#[test]
fn a_run_ends_when_validations_stop_getting_better_or_its_steps_are_up() {
    let temporary = tempfile::tempdir().unwrap();
    let steps = |name: &str, limits: &str| {
        let text = format!("version = 2\n[data]\nname = \"iris\"\n[train]\nepochs = 60\n{limits}");
        let recipe = Recipe::from_toml(&text, None, &[]).unwrap();
        let folder = RunFolder::create(&temporary.path().join(name), &recipe).unwrap();
        let mut said = String::new();
        let mut observer = |event: Event<'_>| {
            if let Event::EarlyEnd(end) = event {
                said = end.to_string();
            }
        };
        match train(folder, &recipe, &(), &mut observer).unwrap() {
            Outcome::Finished(report) => (report.steps, said),
            other => panic!("{other:?}"),
        }
    };
    let patient = steps("patience", "patience = 3\nmonitor = \"valid_accuracy\"");
    assert!(patient.0 < 480 && patient.0 > 24, "{patient:?}");
    let said = format!(
        "ends early after step {}: 3 validations in a row found nothing better than ",
        patient.0
    );
    assert!(patient.1.starts_with(&said), "{patient:?}");
    let (spent, said) = steps("budget", "time_budget_s = 1e-9");
    assert_eq!(
        (spent, &*said),
        (1, "ends early after step 1: its 0.000000001 s are used up")
    );
    // These are as long as they were to be.
    assert_eq!(steps("max", "max_steps = 11"), (11, String::new()));
    let overfit = steps("overfit", "overfit_batches = 2\nmax_steps = 30");
    assert_eq!(overfit, (30, String::new()));
}

#[test]
fn a_finished_run_has_a_page() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("a <run>");
    uninterrupted(&root, &recipe(""));
    let paths = RunPaths::new(&root);
    let html = cortical_train::write_page(&paths).unwrap();
    assert_eq!(fs::read_to_string(paths.page()).unwrap(), html);
    for part in [
        "a &lt;run&gt;",
        "Loss",
        "Confusion",
        "setosa",
        "Worst predictions",
        "of a product&#39;s",
        "fc1.weight",
        "kind = &quot;mlp&quot;",
    ] {
        assert!(html.contains(part), "{part}");
    }
    let error = cortical_train::write_page(&RunPaths::new(temporary.path())).unwrap_err();
    assert!(matches!(error, Error::NotARun { .. }), "{error}");
}

#[test]
fn a_table_of_categories_is_learned_from_fold_by_fold() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("animals.csv");
    // What an animal is follows from its cover alone.
    let rows: String = (0..60)
        .map(|i| {
            let cover = ["fur", "scales", "feathers"][i % 3];
            let kind = ["mammal", "fish", "bird"][i % 3];
            format!("{i},{cover},{},{kind}\n", (i * 7) % 10)
        })
        .collect();
    fs::write(&path, format!("row,cover,weight,kind\n{rows}")).unwrap();
    let data = path.to_str().unwrap().replace('\\', "/");
    let mut tested = 0;
    for fold in 0..3 {
        let text = format!(
            "version = 2\n[data]\nname = \"{data}\"\none_hot = [\"cover\"]\nignore = [1]\nfolds = 3\nfold = {fold}\n\
             [model]\nkind = \"softmax\"\n[optim]\nlr = 0.1\n[train]\nepochs = 30\n"
        );
        let recipe = Recipe::from_toml(&text, None, &[]).unwrap();
        let root = temporary.path().join(format!("fold-{fold}"));
        let test = uninterrupted(&root, &recipe).test.unwrap();
        assert_eq!(test.accuracy, 1.0, "fold {fold}");
        tested += test.samples;
        let model = TrainedModel::load(&RunPaths::new(&root).model(), &Device::Cpu).unwrap();
        let rows = temporary.path().join("rows.csv");
        fs::write(&rows, "row,cover,weight\n7,scales,3\n").unwrap();
        let options = cortical_data::csv::CsvOptions::default();
        let row = cortical_data::open_features(&rows, model.preprocess(), &options).unwrap();
        let prediction = model.predict(&row.inputs, 1).unwrap();
        assert_eq!(model.classes()[prediction[0].class], "fish");
    }
    assert_eq!(tested, 60, "every sample is tested on once");
}

//! Runs from outside: the same bytes however often a run is interrupted, and what is refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

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
    let splits = recipe.open_samples().unwrap();
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

/// Everything in a run that has state of its own, and nothing that comes out even.
const EVERYTHING: &str = "[optim]\nkind = \"sgd\"\nlr = 0.1\nclip_norm = 1.0\n[schedule]\nkind = \"plateau\"\npatience = 0\nfactor = 0.5\n\
     [average]\nkind = \"ema\"\ndecay = 0.9\n";

fn everything() -> Recipe {
    let text = "version = 2\n[data]\nname = \"iris\"\n[model]\nkind = \"mlp\"\nhidden = [8]\ndropout = 0.2\n\
         [train]\nepochs = 6\nbatch_size = 11\naccumulate = 3\nlabel_smoothing = 0.1\nmixup = 0.4\nprefetch = 2\nrecompute = 2\n\
         validate_every = 3\nbalanced = true\n[checkpoint]\nevery_steps = 3\nkeep_best = 2\n[log]\nevery_steps = 2\ncsv = true\n";
    Recipe::from_toml(&format!("{text}{EVERYTHING}"), None, &[]).unwrap()
}

#[test]
fn everything_that_has_state_is_resumed_with_it() {
    let temporary = tempfile::tempdir().unwrap();
    let recipe = everything();
    let whole = temporary.path().join("whole");
    let report = uninterrupted(&whole, &recipe);
    // 120 samples in batches of 11 are 11 batches, in steps of three batches 4 steps.
    assert_eq!((report.steps, report.epochs), (24, 6));

    let root = temporary.path().join("stopped");
    let mut folder = RunFolder::create(&root, &recipe).unwrap();
    for threads in (1..).map(|i| i % 3 + 1) {
        let stop = After(AtomicU64::new(5));
        let outcome = in_pool(Some(threads), || train(folder, &recipe, &stop, &mut ()));
        match outcome.unwrap().unwrap() {
            Outcome::Finished(again) => {
                assert_eq!(again.test, report.test);
                break;
            }
            _ => folder = RunFolder::open(&root).unwrap().0,
        }
    }
    assert!(model(&root) == model(&whole), "the models differ");
    assert_eq!(metrics(&root), metrics(&whole));
    let table = |root: &Path| fs::read_to_string(RunPaths::new(root).metrics_csv()).unwrap();
    assert_eq!(table(&root).lines().count(), table(&whole).lines().count());
    let best = |root: &Path| {
        let entries = fs::read_dir(RunPaths::new(root).best()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(best(&root), best(&whole));
    assert_eq!(best(&root).len(), 2);
}

#[test]
fn a_run_of_the_first_format_goes_on() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/run-v1");
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("run");
    let from = |inner: &str| fixture.join(inner);
    fs::create_dir_all(root.join("checkpoints/step-4")).unwrap();
    for inner in [
        "recipe.toml",
        "metrics.jsonl",
        "checkpoints/step-4/state.json",
        "checkpoints/step-4/model.safetensors",
        "checkpoints/step-4/optimizer.safetensors",
    ] {
        fs::copy(from(inner), root.join(inner)).unwrap();
    }
    let (folder, recipe) = RunFolder::open(&root).unwrap();
    let mut start = None;
    let mut observer = |event: Event<'_>| {
        if let Event::Ready(setup) = event {
            start = Some(setup.start_step);
        }
    };
    let outcome = train(folder, &recipe, &(), &mut observer).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)), "{outcome:?}");
    assert_eq!(start, Some(4));
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

/// A table of which one row has this number everywhere, and as many others as fill some batches.
fn table_with_a_giant(folder: &Path, number: &str) -> String {
    let rows = (0..60).map(|i| {
        let giant = |k: usize| match i {
            20 => number.to_owned(),
            _ => format!("{}", (i + k) % 7),
        };
        let numbers: Vec<String> = (0..8).map(giant).collect();
        format!("{},{}\n", numbers.join(","), ["a", "b"][i % 2])
    });
    let path = folder.join("giant.csv");
    fs::write(
        &path,
        std::iter::once("a,b,c,d,e,f,g,h,class\n".to_owned())
            .chain(rows)
            .collect::<String>(),
    )
    .unwrap();
    path.to_str().unwrap().replace('\\', "/")
}

#[test]
fn what_is_non_finite_is_named_and_its_batches_can_be_left_out() {
    let temporary = tempfile::tempdir().unwrap();
    // Too large for any network.
    let data = table_with_a_giant(temporary.path(), "3e38");
    let recipe = |more: &str| {
        let text = format!(
            "version = 2\n[data]\nname = \"{data}\"\nnormalize = \"none\"\ntest_fraction = 0.1\nvalid_fraction = 0\n[model]\nkind = \"mlp\"\nhidden = [64]\n\
             [train]\nepochs = 3\nbatch_size = 9\n[checkpoint]\nevery_steps = 2\n{more}"
        );
        Recipe::from_toml(&text, None, &[]).unwrap()
    };
    let run = |name: &str, recipe: &Recipe, warnings: &mut Vec<String>| {
        let folder = RunFolder::create(&temporary.path().join(name), recipe).unwrap();
        let mut observer = |event: Event<'_>| {
            if let Event::Warning(warning) = event {
                warnings.push(warning.to_string());
            }
        };
        train(folder, recipe, &(), &mut observer)
    };
    let mut warnings = Vec::new();
    let error = run("stop", &recipe(""), &mut warnings)
        .unwrap_err()
        .to_string();
    assert!(error.contains("training has diverged at step "), "{error}");
    assert!(
        error.contains("the output of fc") || error.contains("the gradient of fc"),
        "{error}"
    );

    let skip = recipe("[guard]\non_nan = \"skip\"\n");
    let outcome = run("skip", &skip, &mut warnings).unwrap();
    let Outcome::Finished(report) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(report.steps, 18, "a step that is left out counts");
    assert_eq!(warnings.len(), 3, "one in each epoch: {warnings:?}");
    let trained = TrainedModel::load(
        &RunPaths::new(temporary.path().join("skip")).model(),
        &Device::Cpu,
    );
    for (name, tensor) in trained.unwrap().params().named_tensors() {
        let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(values.iter().all(|x| x.is_finite()), "{name}");
    }
    let few =
        recipe("[guard]\non_nan = \"skip\"\nmax_skips = 1\n[optim]\nkind = \"sgd\"\nlr = 1e30\n");
    let error = run("wild", &few, &mut warnings).unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
    let checkpoints = RunPaths::new(temporary.path().join("wild")).checkpoints();
    for step in checkpoints.steps().unwrap() {
        for (name, tensor) in checkpoints.load(step, &Device::Cpu).unwrap().model {
            let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let sound = values.iter().all(|x| x.is_finite());
            assert!(sound, "step {step}: {name} was committed as no number");
        }
    }
}

#[test]
fn a_step_after_which_all_losses_are_no_number_is_taken_back() {
    let temporary = tempfile::tempdir().unwrap();
    // Its loss and gradients are numbers; with the weights after the step no other loss is.
    let data = table_with_a_giant(temporary.path(), "1e25");
    let run = |name: &str, every: u64, max_skips: u64, stop: &dyn Stop| {
        let text = format!(
            "version = 2\n[data]\nname = \"{data}\"\nnormalize = \"none\"\ntest_fraction = 0.1\nvalid_fraction = 0\n[model]\nkind = \"mlp\"\nhidden = [64]\n\
             [optim]\nkind = \"sgd\"\nlr = 0.01\n[train]\nepochs = 3\nbatch_size = 9\n[checkpoint]\nevery_steps = {every}\n\
             [guard]\non_nan = \"skip\"\nmax_skips = {max_skips}"
        );
        let recipe = Recipe::from_toml(&text, None, &[]).unwrap();
        let root = temporary.path().join(name);
        let folder = match root.exists() {
            true => RunFolder::open(&root).unwrap().0,
            false => RunFolder::create(&root, &recipe).unwrap(),
        };
        let mut back = Vec::new();
        let mut observer = |event: Event<'_>| {
            if let Event::Warning(Warning::RolledBack { step, .. }) = event {
                back.push(*step);
            }
        };
        (train(folder, &recipe, stop, &mut observer), back)
    };
    let (outcome, back) = run("whole", 2, 10, &());
    let Outcome::Finished(report) = outcome.unwrap() else {
        panic!("nobody asked it to stop");
    };
    let loss = report.test_loss.unwrap();
    assert!(loss < 10.0, "{loss}");
    assert!(!back.is_empty());
    // Where it stands when it is stopped makes no difference.
    let whole = model(&temporary.path().join("whole"));
    for asked in [1, 4, 7, 9, 13, 16, 20] {
        let name = format!("stopped-{asked}");
        let (outcome, _) = run(&name, 2, 10, &After(AtomicU64::new(asked)));
        assert!(matches!(outcome, Ok(Outcome::Stopped { .. })), "{asked}");
        let (outcome, _) = run(&name, 2, 10, &());
        assert!(matches!(outcome, Ok(Outcome::Finished(_))), "{asked}");
        assert_eq!(model(&temporary.path().join(&name)), whole, "{asked}");
    }
    // With nothing to go back to it does not end as if all were well.
    for max_skips in [0, 2] {
        let (outcome, _) = run(&format!("nowhere-{max_skips}"), 0, max_skips, &());
        assert!(
            matches!(outcome, Err(Error::Diverged { .. })),
            "{outcome:?}"
        );
    }
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

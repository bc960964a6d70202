//! Runs that are stopped, killed and continued: the same bytes as without a break.

use super::*;

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

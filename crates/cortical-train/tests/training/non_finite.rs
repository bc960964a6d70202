//! Losses and gradients that are non-finite: named, left out, taken back.

use super::*;

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
            assert!(
                sound,
                "step {step}: {name} was committed, and is non-finite"
            );
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

//! Classes of texts: what is learned, kept, continued and refused.

use std::path::Path;

use std::sync::atomic::AtomicU64;

use super::{After, model_bytes, text_of};
use crate::{Outcome, Override, Recipe, Report, RunFolder, RunPaths, TextModel, train};

/// A table of texts whose class follows from one word, of several lengths.
fn table(folder: &Path) -> String {
    let path = folder.join("reviews.csv");
    let mut text = String::from("id,label,text\n");
    for i in 0..24 {
        let (label, word) = [("bad", "awful"), ("good", "lovely")][i % 2];
        let more = ["", " on a day, at sea", " in rain"][i % 3];
        text += &format!("{i},{label},\"{word}{more}\"\n");
    }
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn recipe(folder: &Path, set: &[&str]) -> Recipe {
    let mut set: Vec<Override> = set.iter().map(|set| set.parse().unwrap()).collect();
    set.insert(0, Override::new("data.name", table(folder)));
    let text = r#"
version = 2
model = "llama-tiny"
data = { test_fraction = 0.25, valid_fraction = 0 }
train = { epochs = 4, batch_size = 4, block = 24, validate_every = 8 }
optim.lr = 1e-3
checkpoint.every_steps = 5
log = { every_steps = 1, csv = true }
classify = {}
"#;
    Recipe::from_toml(text, None, &set).unwrap()
}

fn trained(root: &Path, recipe: &Recipe) -> Report {
    let folder = RunFolder::create(root, recipe).unwrap();
    match train(folder, recipe, &(), &mut ()).unwrap() {
        Outcome::Finished(report) => report,
        other => panic!("nobody asked it to stop: {other:?}"),
    }
}

#[test]
fn a_word_is_learned_and_the_folder_is_a_model_of_classes() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &[]);
    let root = folder.path().join("run");
    let report = trained(&root, &recipe);
    // 18 texts to learn from, 4 a step.
    assert_eq!(report.steps, 4 * 5);
    let test = report.test.as_ref().unwrap();
    assert_eq!((test.accuracy, test.samples), (1.0, 6), "{test:?}");
    assert_eq!(
        (report.perplexity, report.test_loss),
        (None, Some(test.loss))
    );

    let model = TextModel::open(&root).unwrap().unwrap();
    assert_eq!(model.classes(), ["bad", "good"]);
    let found = model.predict(&["lovely in rain", "awful"]).unwrap();
    assert_eq!([found[0].class, found[1].class], [1, 0]);
    let (_, again) = crate::evaluate_run(&RunPaths::new(&root)).unwrap();
    assert_eq!(again.unwrap().classes.as_ref(), Some(test));
    let all = model.evaluate(Path::new(&recipe.data.name), &model.options());
    assert_eq!(all.unwrap().samples, 24);

    let page = crate::write_page(&RunPaths::new(&root)).unwrap();
    for part in ["Accuracy", "Confusion", "classify"] {
        assert!(page.contains(part), "{part}");
    }
    let csv = std::fs::read_to_string(RunPaths::new(&root).metrics_csv()).unwrap();
    assert!(
        csv.lines().next().unwrap().contains("valid_accuracy"),
        "{csv}"
    );
    let other = cortical_models::language::read_classes(folder.path());
    assert_eq!(other.unwrap(), None);
}

#[test]
fn a_test_of_a_finished_run_keeps_to_its_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &["train.eval_blocks=3", "train.epochs=1"]);
    let root = folder.path().join("run");
    let report = trained(&root, &recipe);
    let (_, again) = crate::evaluate_run(&RunPaths::new(&root)).unwrap();
    let again = again.unwrap();
    assert_eq!(again.count, 3);
    assert_eq!(again.classes, report.test);
}

#[test]
fn labels_are_smoothed_and_texts_held_out_as_the_recipe_says() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, set: &[&str]| {
        let mut all = vec!["train.max_steps=2"];
        all.extend(set);
        let root = folder.path().join(name);
        trained(&root, &recipe(folder.path(), &all));
        model_bytes(&root)
    };
    let plain = run("plain", &[]);
    assert!(plain != run("smooth", &["train.label_smoothing=0.2"]));
    assert!(
        plain == run("own-seed", &["data.split_seed=0"]),
        "the run's seed is 0"
    );
    assert!(plain != run("other-seed", &["data.split_seed=5"]));
}

#[test]
fn a_stopped_run_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &["train.accumulate=2", "train.max_steps=7"]);
    let whole = folder.path().join("whole");
    trained(&whole, &recipe);
    let root = folder.path().join("parts");
    let mut parts = RunFolder::create(&root, &recipe).unwrap();
    for stop in [2, 3] {
        let stop = After(AtomicU64::new(stop));
        let outcome = train(parts, &recipe, &stop, &mut ()).unwrap();
        assert!(matches!(outcome, Outcome::Stopped { .. }));
        parts = RunFolder::open(&root).unwrap().0;
    }
    let Outcome::Finished(report) = train(parts, &recipe, &(), &mut ()).unwrap() else {
        panic!("nobody asked it to stop");
    };
    assert!(model_bytes(&whole) == model_bytes(&root), "the same model");
    let first = RunPaths::new(&whole).read_report().unwrap().unwrap();
    assert_eq!((first.seen, first.test), (report.seen, report.test));
}

#[test]
fn a_head_is_trained_and_kept_beside_low_rank_changes() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base");
    trained(&base, &recipe(folder.path(), &["train.max_steps=1"]));
    let base = base.display().to_string();
    for set in [
        &["lora.rank=2"][..],
        &["lora.rank=2", "train.dtype=bf16", "lora.dora=true"],
    ] {
        let mut recipe = recipe(folder.path(), set);
        text_of(&mut recipe).model.clone_from(&base);
        let root = folder.path().join(format!("run-{}", set.len()));
        let report = trained(&root, &recipe);
        assert!(report.trainable.unwrap() * 10 < report.parameters);
        assert!(!RunPaths::new(&root).model().exists());
        let (_, again) = crate::evaluate_run(&RunPaths::new(&root)).unwrap();
        let again = again.unwrap();
        let (again, before) = (again.classes.unwrap(), report.test.unwrap());
        assert_eq!(again.confusion, before.confusion);
        assert!(
            (again.loss - before.loss).abs() < 0.02,
            "{again:?} {before:?}"
        );
    }
}

#[test]
fn what_cannot_be_learned_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let check = |set: &[&str], want: &str| {
        let recipe = recipe(folder.path(), set);
        let root = folder.path().join("refused");
        let run = RunFolder::create(&root, &recipe).unwrap();
        let error = train(run, &recipe, &(), &mut ()).unwrap_err();
        assert!(error.to_string().contains(want), "{set:?}: {error}");
        assert!(!root.exists(), "{set:?}");
    };
    check(
        &["classify.label=stars"],
        "expected a label column \"stars\"",
    );
    check(&["data.test_fraction=0.01"], "leave 24 and 0");
    check(
        &["model=gpt2", "train.block=2000"],
        "the model knows 1024 positions",
    );
}

//! Runs that are stopped, kinds of storage and of changes, and what is refused.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use cortical_models::language::{self, LoadOptions};
use cortical_text::Tokenizer;

use super::{After, model_bytes, text_of};
use crate::recipe::{LoraRecipe, StorageType};
use crate::{Error, Event, Outcome, Override, Recipe, Report, RunFolder, RunPaths, train};

fn recipe(folder: &Path, set: &[&str]) -> Recipe {
    let text = folder.join("text.txt");
    let line = "the sea, the open sea, and the white whale in it. ";
    std::fs::write(&text, line.repeat(40)).unwrap();
    let mut set: Vec<Override> = set.iter().map(|set| set.parse().unwrap()).collect();
    set.insert(0, Override::new("data.name", text.display().to_string()));
    let text = r#"
version = 2
model = "llama-tiny"
train = { max_steps = 6, batch_size = 2, block = 16, validate_every = 3, sample_tokens = 5 }
checkpoint.every_steps = 4
log = { every_steps = 1, csv = true }
schedule.warmup_steps = 2
"#;
    Recipe::from_toml(text, None, &set).unwrap()
}

/// Trains to the end, in a folder of its own, and returns the losses too.
fn trained(root: &Path, recipe: &Recipe) -> (Report, Vec<f64>) {
    let folder = RunFolder::create(root, recipe).unwrap();
    let mut losses = Vec::new();
    let outcome = train(folder, recipe, &(), &mut |event: Event<'_>| {
        if let Event::Step(step) = event {
            losses.push(step.loss);
        }
    });
    match outcome.unwrap() {
        Outcome::Finished(report) => (report, losses),
        other => panic!("nobody asked it to stop: {other:?}"),
    }
}

#[test]
fn a_run_that_was_stopped_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for set in [&[][..], &["average.kind=ema", "train.accumulate=2"]] {
        let recipe = recipe(folder.path(), set);
        let whole = folder.path().join(format!("whole-{}", set.len()));
        let (report, losses) = trained(&whole, &recipe);
        assert!(losses[5] < losses[0], "{losses:?}");
        assert!(report.test_loss.unwrap() < 6.0, "{report:?}");

        let root = folder.path().join(format!("parts-{}", set.len()));
        let mut parts = RunFolder::create(&root, &recipe).unwrap();
        for stop in [2, 3] {
            let stop = After(AtomicU64::new(stop));
            let outcome = train(parts, &recipe, &stop, &mut ()).unwrap();
            assert!(matches!(outcome, Outcome::Stopped { .. }));
            parts = RunFolder::open(&root).unwrap().0;
        }
        train(parts, &recipe, &(), &mut ()).unwrap();
        assert!(model_bytes(&whole) == model_bytes(&root), "the same model");
        // The lines are the same but for speeds and times.
        let steps = |root: &Path| {
            let text = std::fs::read_to_string(RunPaths::new(root).metrics()).unwrap();
            let loss = |line: &str| -> serde_json::Value {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                serde_json::json!([
                    line["event"],
                    line["step"],
                    line["loss"],
                    line["valid_loss"],
                    line["sample"]
                ])
            };
            text.lines().map(loss).collect::<Vec<_>>()
        };
        assert_eq!(steps(&whole), steps(&root));
        let (again, _) = RunFolder::open(&root).unwrap();
        let again = train(again, &recipe, &(), &mut ()).unwrap();
        assert!(matches!(again, Outcome::AlreadyFinished(_)));
    }
}

#[test]
fn the_folder_is_a_model_with_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &["data.tokenizer=bpe-300"]);
    let root = folder.path().join("run");
    let (report, _) = trained(&root, &recipe);
    let loaded = language::open(&root, &LoadOptions::default()).unwrap();
    assert_eq!(Some(report.parameters), loaded.model.config().parameters());
    let tokenizer = Tokenizer::open(&root).unwrap();
    assert!((258..=300).contains(&tokenizer.vocab_size()));
    assert_eq!(tokenizer.eos().len(), 1);
    // It grew with its tokenizer's vocabulary.
    assert_eq!(
        loaded.model.config().vocab_size(),
        tokenizer.vocab_size().max(256)
    );
    let (step, again) = crate::evaluate_run(&RunPaths::new(&root)).unwrap();
    assert_eq!((step, again.unwrap().loss), (None, report.test_loss));
    let page = crate::write_page(&RunPaths::new(&root)).unwrap();
    for part in ["Perplexity", "What it writes", "After step 3", "bpe-300"] {
        assert!(page.contains(part), "{part}");
    }
    let csv = std::fs::read_to_string(RunPaths::new(&root).metrics_csv()).unwrap();
    assert!(csv.starts_with(
        "event,step,epoch,loss,lr,grad_norm,tokens_per_second,train_loss,valid_loss,valid_perplexity"
    ));
    // Two validations and six steps.
    assert_eq!(csv.lines().count(), 1 + 6 + 2, "{csv}");
}

#[test]
fn low_rank_changes_are_trained_alone_and_saved_for_peft() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = recipe(folder.path(), &[]);
    let base = folder.path().join("base");
    trained(&base, &drawn);
    for dora in [false, true] {
        let mut recipe = drawn.clone();
        text_of(&mut recipe).lora = Some(LoraRecipe {
            dora,
            ..LoraRecipe::default()
        });
        // What was drawn for the run is nowhere else: the whole model is written.
        let root = folder.path().join(format!("drawn-{dora}"));
        let (report, _) = trained(&root, &recipe);
        let (_, again) = crate::evaluate_run(&RunPaths::new(&root)).unwrap();
        let off = again.unwrap().loss.unwrap() - report.test_loss.unwrap();
        assert!(off.abs() < 1e-4, "{off}");
        language::open(&root, &LoadOptions::default()).unwrap();

        text_of(&mut recipe).model = base.display().to_string();
        let root = folder.path().join(format!("lora-{dora}"));
        let (report, _) = trained(&root, &recipe);
        let (_, again) = crate::evaluate_run(&RunPaths::new(&root)).unwrap();
        assert_eq!(again.unwrap().loss, report.test_loss);
        let trainable = report.trainable.unwrap();
        assert!(trainable > 0 && trainable * 10 < report.parameters);
        let adapter = std::fs::read_to_string(root.join("adapter_config.json")).unwrap();
        let adapter: serde_json::Value = serde_json::from_str(&adapter).unwrap();
        assert_eq!(
            (&adapter["r"], &adapter["use_dora"]),
            (&8.into(), &dora.into())
        );
        assert!(!RunPaths::new(&root).model().exists());
    }
}

#[test]
fn training_on_from_low_rank_changes_gives_a_whole_model() {
    let folder = tempfile::tempdir().unwrap();
    let base = recipe(folder.path(), &["train.max_steps=3"]);
    let root = |name: &str| folder.path().join(name);
    trained(&root("base"), &base);
    let mut adapted = base.clone();
    text_of(&mut adapted).model = root("base").display().to_string();
    text_of(&mut adapted).lora = Some(LoraRecipe::default());
    trained(&root("adapted"), &adapted);
    let mut on = base;
    text_of(&mut on).model = root("adapted").display().to_string();
    let (report, _) = trained(&root("on"), &on);
    let (_, again) = crate::evaluate_run(&RunPaths::new(root("on"))).unwrap();
    let again = again.unwrap().loss.unwrap();
    assert!((again - report.test_loss.unwrap()).abs() < 1e-4, "{again}");
}

#[test]
fn a_test_of_a_finished_run_keeps_to_its_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &["train.eval_blocks=2"]);
    let root = folder.path().join("run");
    let (report, _) = trained(&root, &recipe);
    let (_, again) = crate::evaluate_run(&RunPaths::new(&root)).unwrap();
    let again = again.unwrap();
    assert_eq!((again.loss, again.count), (report.test_loss, 2 * 16));
    assert_eq!(again.sample, report.sample);
}

#[test]
fn batches_that_make_one_step_are_one_large_batch() {
    let folder = tempfile::tempdir().unwrap();
    let one = recipe(folder.path(), &["train.batch_size=4"]);
    let two = recipe(folder.path(), &["train.accumulate=2"]);
    let (_, one) = trained(&folder.path().join("one"), &one);
    let (_, two) = trained(&folder.path().join("two"), &two);
    for (a, b) in one.iter().zip(&two) {
        assert!((a - b).abs() < 2e-4, "{one:?} {two:?}");
    }
}

#[test]
fn weights_of_half_the_size_learn_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let single = recipe(folder.path(), &[]);
    let mut half = single.clone();
    text_of(&mut half).train.dtype = StorageType::Bf16;
    let roots = ["single", "half"].map(|name| folder.path().join(name));
    let (_, a) = trained(&roots[0], &single);
    let (_, b) = trained(&roots[1], &half);
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() < 0.05, "{a} {b}");
    }
    let [a, b] = roots.map(|root| model_bytes(&root).len());
    assert!(b < a * 6 / 10, "{a} {b}");
}

#[test]
fn what_cannot_be_trained_says_why_and_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let check = |set: &[&str], want: &str| {
        let recipe = recipe(folder.path(), set);
        let root = folder.path().join("refused");
        let run = RunFolder::create(&root, &recipe).unwrap();
        let error = train(run, &recipe, &(), &mut ()).unwrap_err();
        assert_eq!(error.to_string(), want, "{set:?}");
        assert!(!root.exists(), "{set:?}");
    };
    check(
        &["train.block=2000"],
        "the text has 1700 tokens to learn from, too few for a block of 2000; take a longer one or a smaller train.block",
    );
    check(
        &["data.tokenizer=model"],
        "data.tokenizer is \"model\", but the model brings no tokenizer; choose bytes, characters or bpe-N",
    );
    check(
        &["lora.targets=[q_proj,nope]"],
        "lora.targets: \"nope\" fits no name; there are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj",
    );
    check(
        &["schedule.warmup_steps=6"],
        "recipe: schedule.warmup_steps: expected fewer than the 6 steps of the run, found 6",
    );
}

#[test]
fn weights_that_fly_away_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let wild = ["optim.lr=1e30", "schedule={ kind = \"constant\" }"];
    let recipe = recipe(folder.path(), &wild);
    let run = RunFolder::create(&folder.path().join("wild"), &recipe).unwrap();
    let error = train(run, &recipe, &(), &mut ()).unwrap_err();
    assert!(matches!(error, Error::Diverged { step: 2, .. }), "{error}");
}

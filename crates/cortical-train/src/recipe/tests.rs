//! Recipes read, written and refused.

use super::*;

fn read(text: &str, set: &[&str]) -> crate::Result<Recipe> {
    let set: Vec<Override> = set.iter().map(|set| set.parse().unwrap()).collect();
    Recipe::from_toml(text, None, &set)
}

#[test]
fn one_field_of_a_network_can_be_changed_without_naming_its_kind() {
    let read = |set: &[&str]| {
        let sets: Vec<Override> = set.iter().map(|set| set.parse().unwrap()).collect();
        Recipe::from_toml("version = 2", None, &sets).map(|recipe| recipe.to_toml())
    };
    let changed = read(&["data.name=iris", "model.hidden=[8]"]).unwrap();
    assert!(changed.contains("kind = \"mlp\"") && changed.contains("hidden = [8]"));
    let other = read(&["data.name=iris", "model.kind=softmax"]).unwrap();
    assert!(!other.contains("hidden = "), "{other}");
    let error = read(&["data.name=digits", "model.hidden=[8]"]).unwrap_err();
    assert!(error.to_string().contains("hidden"), "{error}");
}

#[test]
fn what_is_written_reads_back_and_hashes_alike() {
    let check = |recipe: &Recipe| {
        let text = recipe.to_toml();
        let again = read(&text, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(*recipe, again, "{text}");
        assert_eq!(recipe.hash(), again.hash());
    };
    for preset in presets() {
        check(&preset.recipe(&[]).unwrap());
    }
    for set in [
        "model.layers=[{ conv2d = { out_channels = 2, kernel_size = 3 } }, \"flatten\", { linear = \"classes\" }]",
        "data.label=species",
        "data.label=3",
        "data.input_shape=[1, 8, 8]",
        "data.dir=some/where",
        "data={ one_hot = [\"colour\", 3], ignore = [1], folds = 5, fold = 4 }",
        "data.name=a \"quoted\" name.csv",
        "optim.clip_norm=1",
        "optim.kind=sgd",
        "optim.lr=1e-300",
        "schedule.kind=constant",
        "schedule.kind=one-cycle",
        "schedule={ kind = \"step\", step_size = 5 }",
        "schedule={ kind = \"cyclic\", base_lr = 0.1, max_lr = 1 }",
        "schedule={ kind = \"warmup_stable_decay\", warmup_steps = 2, stable_steps = 3, decay_steps = 4 }",
        "schedule={ kind = \"sequential\", milestones = [3], schedules = [{ name = \"linear\" }, { name = \"none\" }] }",
        "schedule={ kind = \"plateau\", patience = 3 }",
        "optim={ kind = \"muon\", others = { weight_decay = 0.1 } }",
        "optim={ kind = \"rmsprop\", centered = true, clip_norm = 1, clip_norm_type = inf }",
        "optim={ groups = [{ match = \"conv*\", lr_scale = 0.1 }], decay_norms_and_biases = false }",
        "train={ accumulate = 4, mixup = 0.2, monitor = \"valid_accuracy\", balanced = true }",
        "average={ kind = \"ema\", decay = 0.9 }",
        "start={ from = \"a.safetensors\", freeze = [\"conv*\"], replace = [\"fc2.*\"] }",
        "guard.on_nan=skip",
        "augment={ flip = 0.5, crop_padding = 2 }",
        "seed=9223372036854775807",
    ] {
        check(&read("version = 2", &[set]).unwrap());
    }
    let (a, b) = (Recipe::for_data("digits"), Recipe::for_data("iris"));
    assert_ne!(a.hash(), b.hash());
}

#[test]
fn what_a_recipe_does_not_say_suits_its_data() {
    let iris = read("version = 2\n[data]\nname = \"iris\"", &[]).unwrap();
    assert_eq!(iris, Recipe::for_data("iris"));
    assert_eq!(iris.samples().unwrap().model.kind(), "mlp");
    let table = read("version = 2\n[data]\nname = \"none.csv\"", &[]).unwrap();
    assert_eq!(table.samples().unwrap().model.kind(), "mlp");
    let picture = read(
        "version = 2\n[data]\nname = \"none.csv\"\ninput_shape = [1, 28, 28]",
        &[],
    )
    .unwrap();
    assert_eq!(picture.samples().unwrap().model.kind(), "lenet");
    let sgd = read("version = 2\n[optim]\nkind = \"sgd\"", &[]).unwrap();
    assert_eq!(sgd.optim.lr(), 0.05, "AdamW's learning rate would not do");
}

#[test]
fn mistakes_are_named_with_their_full_path() {
    let check = |set: &str, want: &str| {
        let error = read("version = 2", &[set]).unwrap_err().to_string();
        assert_eq!(error, format!("recipe: {want}"), "{set}");
    };
    check(
        "optim.lrr=1",
        "there is no field optim.lrr; did you mean optim.lr?",
    );
    check(
        "optimizer.lr=1",
        "there is no field optimizer; did you mean optim?",
    );
    check("lr=1", "there is no field lr; did you mean optim.lr?");
    check(
        "train.batch=1",
        "there is no field train.batch; did you mean train.batch_size?",
    );
    check(
        "zebra=1",
        "there is no field zebra; known: version, seed, device, model, data, optim, schedule, train, average, start, prune, guard, checkpoint, log, augment",
    );
    check(
        "optim.lr=fast",
        "optim.lr: expected a finite number, found the text \"fast\"",
    );
    check(
        "optim.lr=-1",
        "optim.lr: expected a number from 0 up, found -1",
    );
    check(
        "optim.lr=0",
        "optim.lr: expected a learning rate above 0, found 0",
    );
    check(
        "optim.betas=[0.9]",
        "optim.betas: expected two finite numbers, found the list [0.9]",
    );
    check(
        "optim.betas=[0.9, 1.0]",
        "optim.betas: expected two shares from 0 to below 1, found [0.9, 1.0]",
    );
    check(
        "optim.kind=adan",
        "optim.kind: there is no optimizer \"adan\"; did you mean \"adam\"?",
    );
    check(
        "optim.clip_norm=0",
        "optim.clip_norm: expected a norm above 0, found 0",
    );
    check(
        "train.epochs=0",
        "train.epochs: expected at least 1, unless train.max_steps says when the run ends, found 0",
    );
    check(
        "train.epochs=2.5",
        "train.epochs: expected a whole number, not negative, found the number 2.5",
    );
    check(
        "train.batch_size=0",
        "train.batch_size: expected from 1 to 1048576, found 0",
    );
    check(
        "train=5",
        "train: expected a table, [train], found the number 5",
    );
    check(
        "checkpoint.keep=0",
        "checkpoint.keep: expected at least 1, found 0",
    );
    check(
        "data.test_fraction=1",
        "data.test_fraction: expected a share from 0 to below 1, found 1",
    );
    check(
        "data.normalize=unti",
        "data.normalize: there is no kind of normalisation \"unti\"; did you mean \"unit\"?",
    );
    check("data.folds=1", "data.folds: expected at least 2, found 1");
    check(
        "data={ folds = 3, fold = 3 }",
        "data.fold: expected a number below data.folds, found 3",
    );
    check(
        "data.one_hot=[1.5]",
        "data.one_hot[0]: expected the name or the number of a column, found the number 1.5",
    );
    check(
        "data.input_shape=[]",
        "data.input_shape: expected sizes of at least 1, such as [1, 8, 8], found []",
    );
    check(
        "device=cuda",
        "device: there is no device \"cuda\"; known: cpu",
    );
    check(
        "seed=-1",
        "seed: expected a whole number, not negative, found the number -1",
    );
    check(
        "schedule.kind=cosin",
        "schedule.kind: there is no schedule \"cosin\"; did you mean \"cosine\"?",
    );
    check(
        "schedule.min_factor=2",
        "schedule.min_factor: expected a share from 0 to 1, found 2",
    );
    check(
        "schedule.kind=step",
        "schedule.step_size is missing; expected a whole number, not negative",
    );
    check(
        "model.kind=lennet",
        "model.kind: there is no kind of network \"lennet\"; did you mean \"lenet\"?",
    );
}

#[test]
fn other_versions_and_other_text_are_refused() {
    let check = |text: &str, want: &str| {
        assert_eq!(read(text, &[]).unwrap_err().to_string(), want);
    };
    let hint = "`cortical train --print-recipe` shows a complete recipe";
    check(
        "",
        &format!("recipe: expected version = 2, found none; {hint}"),
    );
    check(
        "version = 3",
        &format!("recipe: expected version = 2, found 3; {hint}"),
    );
    let error = read("version = 2\n[data\n", &[]).unwrap_err().to_string();
    assert!(error.starts_with("recipe, line 2: "), "{error}");
    let error = read("version = 2\nseed = 1\nseed = 2", &[])
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("recipe, line 3: "), "{error}");
}

#[test]
fn run_folders_are_named_after_the_data() {
    let check = |name: &str, want: &str| {
        let recipe = Recipe::for_data(name);
        assert_eq!(recipe.short_name(), want);
    };
    check("digits", "digits");
    check("/some/where/My Table.csv.gz", "My-Table");
    check("..", "run");
    check("/data/mnist/", "mnist");
}

const TEXT: &str = "version = 2\nmodel = \"llama-tiny\"\n";

#[test]
fn recipes_of_language_models_read_back_and_hash_alike() {
    let plain = read(TEXT, &[]).unwrap();
    assert_eq!(plain, Recipe::for_text("llama-tiny"));
    for set in [
        "seed=3",
        "lora.rank=2",
        "classify={}",
        "classify={ text = 2, label = \"stars\" }",
        "lora={ dora = true, targets = [\"down_proj\"] }",
        "train={ max_steps = 7, accumulate = 2, dtype = \"bf16\", epochs = 2 }",
        "data={ tokenizer = \"bpe-512\", test_fraction = 0 }",
        "optim={ kind = \"muon\", clip_norm = 2 }",
        "optim.groups=[{ match = \"*embed*\", lr_scale = 0.1 }]",
        "schedule.kind=constant",
        "schedule.kind=plateau",
        "average.kind=ema",
        "guard.on_nan=skip",
        "checkpoint={ every_steps = 5, keep = 1 }",
        "log.csv=true",
    ] {
        let recipe = read(TEXT, &[set]).unwrap();
        let text = recipe.to_toml();
        let again = read(&text, &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(recipe, again, "{text}");
        assert_eq!(recipe.hash(), again.hash());
        assert_ne!(recipe.hash(), plain.hash(), "{set}");
    }
}

#[test]
fn a_short_run_of_a_language_model_has_a_short_warmup_unless_it_says_otherwise() {
    let warmup = |set: &[&str]| match read(TEXT, set).unwrap().schedule {
        ScheduleRecipe::Run(RunSchedule::Cosine(run)) => run.warmup_steps,
        other => panic!("{other:?}"),
    };
    assert_eq!(warmup(&[]), 50);
    assert_eq!(warmup(&["train.max_steps=20"]), 2);
    assert_eq!(
        warmup(&["train.max_steps=20", "schedule.warmup_steps=9"]),
        9
    );
}

#[test]
fn mistakes_in_recipes_of_language_models_are_named_with_their_full_path() {
    let check = |set: &str, want: &str| {
        let error = read(TEXT, &[set]).unwrap_err().to_string();
        assert_eq!(error, format!("recipe: {want}"), "{set}");
    };
    check(
        "train.max_step=1",
        "there is no field train.max_step; did you mean train.max_steps?",
    );
    check("lr=1", "there is no field lr; did you mean optim.lr?");
    check(
        "train.block=1",
        "train.block: expected from 2 to 1048576, found 1",
    );
    check(
        "train.max_steps=0",
        "train.epochs: expected at least 1, unless train.max_steps says when the run ends, found 0",
    );
    check(
        "train.dtype=f16",
        "train.dtype: there is no form of weights \"f16\"; did you mean \"bf16\"?",
    );
    check(
        "data.tokenizer=bpe-many",
        "data.tokenizer: expected auto, model, bytes, characters, or bpe-N for N tokens, such as bpe-2048, found \"bpe-many\"",
    );
    check(
        "lora.rank=0",
        "lora.rank: expected from 1 to 65536, found 0",
    );
    check(
        "classify.label=text",
        "classify.label: expected another column than that of texts, found \"text\"",
    );
    check(
        "classify.labels=2",
        "there is no field classify.labels; did you mean classify.label?",
    );
}

#[test]
fn a_sample_of_a_language_model_has_an_end() {
    let error = read(TEXT, &["train.sample_tokens=9007199254740993"]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "recipe: train.sample_tokens: expected at most 4096, found 9007199254740993"
    );
}

#[test]
fn a_field_of_another_task_is_refused_by_name() {
    let check = |text: &str, set: &str, want: &str| {
        let error = read(text, &[set]).unwrap_err().to_string();
        assert_eq!(error, format!("recipe: {want}"), "{set}");
    };
    let text = "and this recipe is for a language model";
    check(
        TEXT,
        "train.mixup=0.1",
        &format!("train.mixup is a setting for pictures and tables of numbers, {text}"),
    );
    check(
        TEXT,
        "augment.flip=0.5",
        &format!("augment is a setting for pictures and tables of numbers, {text}"),
    );
    check(
        "version = 2",
        "train.block=8",
        "train.block is a setting for language models, and this recipe is for pictures or a table of numbers",
    );
    let base = Recipe::for_data("iris");
    let error = Recipe::from_toml(TEXT, Some(&base), &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected a recipe that learns classes of pictures or of rows of numbers, found one that learns the next token of a text"
    );
}

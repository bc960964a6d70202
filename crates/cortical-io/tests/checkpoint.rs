//! Checkpoints are complete or absent, keep every bit, and damage is found and passed over.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use cortical_io::{Checkpoint, CheckpointDir, Damage, Error, Latest, TrainingState};
use cortical_tensor::{Rng, Seed};

/// A way to spoil a file, and what to call it.
type Alteration = (&'static str, fn(&Path));

const FILES: [&str; 3] = ["model.safetensors", "optimizer.safetensors", "state.json"];

fn tensor(values: &[f32]) -> Tensor {
    Tensor::new(values, &Device::Cpu).unwrap()
}

/// A checkpoint whose content depends on the step.
fn checkpoint(step: u64) -> Checkpoint {
    let random = |name: &str| (name.to_owned(), Rng::new(Seed(step), name).state());
    Checkpoint {
        state: TrainingState {
            step,
            epoch: 3,
            position: 17,
            random: ["shuffle", "dropout"].map(random).into(),
            schedule: [("lr".into(), 1e-3 / 3.0)].into(),
            metrics: [("best".into(), f64::INFINITY)].into(),
            instruction_set: "none".into(),
            recipe_hash: "abc".into(),
            ..Default::default()
        },
        model: vec![
            ("b".into(), tensor(&[step as f32, f32::NAN])),
            ("a".into(), tensor(&[])),
        ],
        metadata: [("format".into(), "pt".into())].into(),
        optimizer: vec![("exp_avg.b".into(), tensor(&[0.5, -0.0]))],
        ..Checkpoint::default()
    }
}

fn bits(tensors: &[(String, Tensor)]) -> Vec<(&str, Vec<u32>)> {
    let bits = |t: &Tensor| {
        t.to_vec1::<f32>()
            .unwrap()
            .iter()
            .map(|x| x.to_bits())
            .collect()
    };
    let mut all: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), bits(tensor)))
        .collect();
    all.sort();
    all
}

fn assert_same(got: &Checkpoint, want: &Checkpoint) {
    assert_eq!(got.state, want.state);
    assert_eq!(got.metadata, want.metadata);
    assert_eq!(bits(&got.model), bits(&want.model));
    assert_eq!(bits(&got.optimizer), bits(&want.optimizer));
    assert_eq!(bits(&got.average), bits(&want.average));
    assert_eq!(bits(&got.pruning), bits(&want.pruning));
}

/// A folder of checkpoints in a folder that goes away.
fn folder() -> (tempfile::TempDir, CheckpointDir) {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = CheckpointDir::new(folder.path().join("run/checkpoints"));
    (folder, checkpoints)
}

fn latest(checkpoints: &CheckpointDir) -> Latest {
    checkpoints.latest_valid(&Device::Cpu).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_saved_is_loaded_and_the_newest_is_found() {
    let (_folder, checkpoints) = folder();
    assert_eq!(checkpoints.steps().unwrap(), [0; 0]);
    assert!(latest(&checkpoints).checkpoint.is_none());
    for step in [9, 10, 100] {
        let saved = checkpoints.save(&checkpoint(step)).unwrap();
        assert_eq!(saved, checkpoints.folder(step));
        assert_eq!(names(&saved), FILES);
    }
    assert_eq!(names(checkpoints.path()), ["step-10", "step-100", "step-9"]);
    assert_eq!(checkpoints.steps().unwrap(), [9, 10, 100]);
    let latest = latest(&checkpoints);
    assert_same(&latest.checkpoint.unwrap(), &checkpoint(100));
    assert!(latest.skipped.is_empty());
    assert_same(&checkpoints.load(9, &Device::Cpu).unwrap(), &checkpoint(9));
    let none = checkpoints.load(11, &Device::Cpu).unwrap_err();
    assert!(
        none.to_string().ends_with("has no checkpoint of step 11"),
        "{none}"
    );
}

#[test]
fn the_same_state_gives_the_same_bytes() {
    let (_a, a) = folder();
    let (_b, b) = folder();
    let (a, b) = (
        a.save(&checkpoint(5)).unwrap(),
        b.save(&checkpoint(5)).unwrap(),
    );
    for file in FILES {
        assert_eq!(
            fs::read(a.join(file)).unwrap(),
            fs::read(b.join(file)).unwrap(),
            "{file}"
        );
    }
}

#[test]
fn any_damage_is_found_and_the_checkpoint_before_is_taken() {
    let alterations: [Alteration; 5] = [
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("emptied", |path| fs::write(path, "").unwrap()),
        ("cut", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("extended", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, [&bytes[..], b"0"].concat()).unwrap();
        }),
        ("altered", |path| {
            let mut bytes = fs::read(path).unwrap();
            // Behind the middle there is no white space in any of the three files.
            let index = bytes
                .iter()
                .rposition(|byte| !byte.is_ascii_whitespace() && *byte != b'}')
                .unwrap();
            bytes[index] = if bytes[index] == b'x' { b'y' } else { b'x' };
            fs::write(path, bytes).unwrap();
        }),
    ];
    for file in FILES {
        for (how, alter) in alterations {
            let (_folder, checkpoints) = folder();
            checkpoints.save(&checkpoint(1)).unwrap();
            let newest = checkpoints.save(&checkpoint(2)).unwrap();
            alter(&newest.join(file));

            let found = latest(&checkpoints);
            let got = found
                .checkpoint
                .unwrap_or_else(|| panic!("{file} {how}: nothing found"));
            assert_same(&got, &checkpoint(1));
            assert_eq!(found.skipped.len(), 1, "{file} {how}");
            assert_eq!(found.skipped[0].step, 2);
            let message = found.skipped[0].to_string();
            assert!(
                message.starts_with("checkpoint of step 2 is skipped: "),
                "{message}"
            );
            assert!(message.contains(file), "{file} {how}: {message}");
            if file != "state.json" {
                let want = match how {
                    "removed" => "is missing",
                    "altered" => "its checksum is wrong",
                    _ => "bytes, ",
                };
                assert!(message.contains(want), "{file} {how}: {message}");
            }
        }
    }
}

#[test]
fn nothing_but_damage_is_nothing_found_and_all_of_it_is_reported() {
    let (_folder, checkpoints) = folder();
    checkpoints.save(&checkpoint(1)).unwrap();
    fs::create_dir(checkpoints.folder(2)).unwrap();
    fs::write(checkpoints.folder(3), "a file").unwrap();
    fs::rename(checkpoints.folder(1), checkpoints.folder(4)).unwrap();
    let found = latest(&checkpoints);
    assert!(found.checkpoint.is_none());
    let steps: Vec<_> = found.skipped.iter().map(|skipped| skipped.step).collect();
    assert_eq!(steps, [4, 3, 2]);
    let renamed = &found.skipped[0].error;
    assert!(
        matches!(
            renamed,
            Error::Damaged {
                damage: Damage::Step { got: 1 },
                ..
            }
        ),
        "{renamed}"
    );
}

#[test]
fn what_is_averaged_and_pruned_is_kept_and_damage_to_it_is_noticed() {
    let (_folder, checkpoints) = folder();
    let pruned = Checkpoint {
        average: vec![("b.average".into(), tensor(&[2.0]))],
        pruning: vec![("b.mask".into(), tensor(&[1.0, 0.0]))],
        ..checkpoint(7)
    };
    let path = checkpoints.save(&pruned).unwrap();
    assert_same(&checkpoints.load(7, &Device::Cpu).unwrap(), &pruned);
    fs::remove_file(path.join("pruning.safetensors")).unwrap();
    let error = checkpoints.load(7, &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("pruning.safetensors is missing"), "{error}");
}

#[test]
fn a_newer_version_is_an_error_and_not_passed_over() {
    let (_folder, checkpoints) = folder();
    checkpoints.save(&checkpoint(1)).unwrap();
    let state = checkpoints.save(&checkpoint(2)).unwrap().join("state.json");
    let newer = fs::read_to_string(&state)
        .unwrap()
        .replace("\"version\": 4", "\"version\": 5");
    fs::write(&state, newer).unwrap();
    let error = checkpoints.latest_valid(&Device::Cpu).unwrap_err();
    assert!(
        matches!(error, Error::NewerCheckpoint { version: 5, .. }),
        "{error}"
    );
}

#[test]
fn what_a_kill_leaves_is_not_a_checkpoint_and_goes_with_the_next_save() {
    let (_folder, checkpoints) = folder();
    checkpoints.save(&checkpoint(1)).unwrap();
    let complete = checkpoints.save(&checkpoint(2)).unwrap();
    // Killed before the rename: everything is there, under the temporary name.
    fs::rename(complete, checkpoints.path().join(".cortical-tmp-1-0")).unwrap();
    assert_eq!(checkpoints.steps().unwrap(), [1]);
    assert_same(&latest(&checkpoints).checkpoint.unwrap(), &checkpoint(1));
    checkpoints.save(&checkpoint(3)).unwrap();
    assert_eq!(names(checkpoints.path()), ["step-1", "step-3"]);
}

#[test]
fn a_step_saved_again_replaces_it_and_what_came_after() {
    let (_folder, checkpoints) = folder();
    for step in [10, 20, 30] {
        checkpoints.save(&checkpoint(step)).unwrap();
    }
    let mut again = checkpoint(20);
    again.state.epoch = 99;
    checkpoints.save(&again).unwrap();
    assert_eq!(names(checkpoints.path()), ["step-10", "step-20"]);
    assert_same(&latest(&checkpoints).checkpoint.unwrap(), &again);
}

#[test]
fn a_save_that_fails_leaves_what_was_there() {
    let (_folder, checkpoints) = folder();
    checkpoints.save(&checkpoint(1)).unwrap();
    let mut bad = checkpoint(1);
    bad.optimizer.push(("../x".into(), tensor(&[1.0])));
    let refused = checkpoints.save(&bad);
    assert!(
        matches!(refused, Err(Error::Unwritable { .. })),
        "{refused:?}"
    );
    assert_eq!(names(checkpoints.path()), ["step-1"]);
    assert_same(&latest(&checkpoints).checkpoint.unwrap(), &checkpoint(1));

    let file = checkpoints.folder(1).join("state.json");
    let impossible = CheckpointDir::new(file.join("checkpoints"));
    assert!(matches!(
        impossible.save(&checkpoint(2)),
        Err(Error::Write { .. })
    ));
}

#[test]
fn pruning_keeps_the_newest_and_leaves_strangers_alone() {
    let (_folder, checkpoints) = folder();
    for step in [1, 2, 10] {
        checkpoints.save(&checkpoint(step)).unwrap();
    }
    for stranger in ["step-007", "step-+8", "step-x", "best"] {
        fs::create_dir(checkpoints.path().join(stranger)).unwrap();
    }
    assert_eq!(checkpoints.prune(5).unwrap(), [0; 0]);
    assert_eq!(checkpoints.prune(2).unwrap(), [1]);
    assert_eq!(
        names(checkpoints.path()),
        ["best", "step-+8", "step-007", "step-10", "step-2", "step-x"]
    );
    assert_eq!(checkpoints.prune(0).unwrap(), [2, 10]);
    assert!(latest(&checkpoints).checkpoint.is_none());
}

/// One checkpoint of each format that was ever written.
#[test]
fn checkpoints_of_earlier_versions_are_read() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for version in [1, 2] {
        let folder = fixtures.join(format!("checkpoint-v{version}"));
        let latest = CheckpointDir::new(folder)
            .latest_valid(&Device::Cpu)
            .unwrap();
        assert!(latest.skipped.is_empty(), "{:?}", latest.skipped);
        let checkpoint = latest.checkpoint.expect("the fixture is there");
        assert_eq!((checkpoint.state.step, checkpoint.state.position), (4, 4));
        let names: Vec<&str> = checkpoint.model.iter().map(|(n, _)| &n[..]).collect();
        assert_eq!(names, ["fc1.bias", "fc1.weight", "fc2.bias", "fc2.weight"]);
        let sum = |tensors: &[(String, candle_core::Tensor)], name: &str| {
            let (_, tensor) = tensors.iter().find(|(n, _)| n == name).unwrap();
            let sum = tensor.sum_all().unwrap().to_scalar::<f32>().unwrap();
            (sum * 1e4).round() / 1e4
        };
        assert!(sum(&checkpoint.model, "fc1.weight") != 0.0);
        assert!(sum(&checkpoint.optimizer, "fc1.weight.exp_avg_sq") > 0.0);
        assert_eq!(checkpoint.average.is_empty(), version == 1);
    }
}

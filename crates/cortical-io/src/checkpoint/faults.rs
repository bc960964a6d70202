//! Every change of the disk fails, or is the last one before the process is gone: the newest complete checkpoint loads,
//! and nothing older is lost.

use super::*;
use crate::fault::Op;
use crate::fault::tests::{Fault, with_fault};

fn checkpoint(step: u64) -> Checkpoint {
    let tensor = |value: f32| Tensor::new(&[value; 3], &Device::Cpu).unwrap();
    Checkpoint {
        state: TrainingState {
            step,
            ..TrainingState::default()
        },
        model: vec![("fc.weight".to_owned(), tensor(step as f32))],
        optimizer: vec![("fc.weight.exp_avg".to_owned(), tensor(0.5))],
        average: vec![("fc.weight.average".to_owned(), tensor(0.25))],
        ..Checkpoint::default()
    }
}

/// The value by which a checkpoint of [`checkpoint`] is recognised.
fn value(checkpoint: &Checkpoint) -> f32 {
    checkpoint.model[0].1.to_vec1::<f32>().unwrap()[0]
}

/// Has checkpoints of `before`, works with a fault at each change in turn, and then looks at what is there as a new
/// process does.
fn at_every_change(
    before: &[u64],
    fault: Fault,
    work: impl Fn(&CheckpointDir) -> Result<()>,
    look: impl Fn(&str, bool, &CheckpointDir),
) -> Vec<Op> {
    let mut at = 0;
    loop {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointDir::new(folder.path().join("checkpoints"));
        for step in before {
            checkpoints.save(&checkpoint(*step)).unwrap();
        }
        let (result, seen) = with_fault(at, fault, || work(&checkpoints));
        let what = format!("{fault:?} at change {at}, {:?}", seen.get(at));
        if at >= seen.len() {
            result.unwrap_or_else(|error| panic!("{what}: {error}"));
            return seen;
        }
        checkpoints.recover().unwrap();
        let names = fs::read_dir(checkpoints.path()).map(|entries| {
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| !name.starts_with("step-")).count()
        });
        assert_eq!(names.unwrap_or(0), 0, "{what}: something half done stayed");
        look(&what, result.is_ok(), &checkpoints);
        at += 1;
    }
}

fn faults() -> [Fault; 3] {
    [
        Fault::Kill,
        Fault::Fail(io::ErrorKind::StorageFull),
        Fault::Fail(io::ErrorKind::Other),
    ]
}

#[test]
fn a_checkpoint_is_there_whole_or_not_at_all_and_the_older_ones_stay() {
    for fault in faults() {
        let work = |dir: &CheckpointDir| dir.save(&checkpoint(30)).map(drop);
        let seen = at_every_change(&[10, 20], fault, work, |what, done, dir| {
            let latest = dir.latest_valid(&Device::Cpu).unwrap();
            assert!(latest.skipped.is_empty(), "{what}: {:?}", latest.skipped);
            let step = latest.checkpoint.unwrap().state.step;
            assert!(step == 30 || (step == 20 && !done), "{what}: {step}");
            for older in [10, 20] {
                assert_eq!(
                    value(&dir.load(older, &Device::Cpu).unwrap()),
                    older as f32,
                    "{what}"
                );
            }
        });
        for op in [Op::Create, Op::Write, Op::Sync, Op::Rename] {
            assert!(seen.contains(&op), "{op:?} was never tried");
        }
    }
}

#[test]
fn the_only_checkpoint_survives_its_own_replacement() {
    for fault in faults() {
        let work = |dir: &CheckpointDir| {
            let mut again = checkpoint(10);
            again.model[0].1 = Tensor::new(&[99.0_f32], &Device::Cpu).unwrap();
            dir.save(&again).map(drop)
        };
        at_every_change(&[10], fault, work, |what, _, dir| {
            let kept = value(&dir.load(10, &Device::Cpu).unwrap());
            assert!(kept == 10.0 || kept == 99.0, "{what}: {kept}");
        });
    }
}

#[test]
fn pruning_never_takes_the_newest() {
    for fault in faults() {
        let work = |dir: &CheckpointDir| dir.prune(1).map(drop);
        at_every_change(&[10, 20, 30], fault, work, |what, done, dir| {
            let steps = dir.steps().unwrap();
            assert!(
                steps.contains(&30) && (!done || steps == [30]),
                "{what}: {steps:?}"
            );
            for step in steps {
                dir.load(step, &Device::Cpu).unwrap();
            }
        });
    }
}

//! Killed, stopped and resumed: the same bytes in the end.
#![cfg(unix)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Place, Said};

/// A training of a second or so with everything that has state, and checkpoints in between.
const RUN: &str = "train --data digits --model mlp --set model.dropout=0.2 --epochs 8 --seed 3 --set checkpoint.every_steps=20 --set log.every_steps=10";

fn spawn(place: &Place, line: &str) -> Child {
    let mut command = place.command(line.split_whitespace());
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    let kill = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
}

/// Waits until the training has written so many lines of metrics.
fn wait_for_lines(place: &Place, run: &str, lines: usize) {
    let path = place.path(run).join("metrics.jsonl");
    let started = Instant::now();
    while std::fs::read_to_string(&path)
        .unwrap_or_default()
        .lines()
        .count()
        < lines
    {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "no metrics in {run}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The same of numbers, with what they have beside.
const NUMBERS: &str = "train --preset concrete --set model.hidden=[64,64] --set train.loss=gaussian --epochs 12 --seed 3 --set checkpoint.every_steps=20 --set log.every_steps=10";

#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    killed(RUN);
}

#[test]
fn a_killed_run_of_numbers_resumes_to_the_same_bytes() {
    killed(NUMBERS);
}

fn killed(run: &str) {
    let place = Place::new();
    place.run(&format!("{run} --out whole --quiet")).expect(0);
    let want = place.read("whole/model.safetensors");
    // Before the first checkpoint, after it, and a run that is killed twice.
    for (name, kills) in [
        ("early", &[1_usize][..]),
        ("middle", &[4]),
        ("twice", &[3, 6]),
    ] {
        let mut line = format!("{run} --out {name} --quiet");
        for lines in kills {
            let mut child = spawn(&place, &line);
            wait_for_lines(&place, name, *lines);
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(
                !place.path(name).join("report.json").exists(),
                "killed too late"
            );
            line = format!("resume {name} --quiet");
        }
        place.run(&line).expect(0);
        assert!(
            place.read(format!("{name}/model.safetensors")) == want,
            "{name}: the models differ"
        );
    }
}

#[test]
fn a_stopped_run_saves_says_how_to_go_on_and_ends_the_same() {
    let place = Place::new();
    place
        .run(&format!("{RUN} --out whole --quiet --threads 1"))
        .expect(0);
    for (name, number, format) in [("term", "-TERM", ""), ("int", "-INT", "--json")] {
        let child = spawn(&place, &format!("{RUN} --out {name} {format}"));
        wait_for_lines(&place, name, 2);
        signal(&child, number);
        let said = Said::from(child.wait_with_output().unwrap()).expect(75);
        assert!(
            said.out.contains(&format!("cortical resume {name}")),
            "{}",
            said.out
        );
        if format == "--json" {
            let value = said.json();
            assert_eq!(value["stopped"], true);
            assert!(value["steps"].as_u64().unwrap() >= 5);
        }
        let steps = std::fs::read_dir(place.path(name).join("checkpoints"))
            .unwrap()
            .count();
        assert!(steps >= 1, "no checkpoint");
        let said = place.run(&format!("inspect {name} --json")).expect(0);
        assert!(
            said.json()["file"]
                .as_str()
                .unwrap()
                .contains("checkpoints/step-")
        );
        let said = place.run(&format!("eval {name}")).expect(0);
        let remark = "the run is not finished: this is its checkpoint of step ";
        assert!(said.err.starts_with(remark), "{}", said.err);
        assert!(said.out.contains("test accuracy"), "{}", said.out);
        place
            .run(&format!("resume {name} --quiet --threads 2"))
            .expect(0);
        let same = place.read(format!("{name}/model.safetensors"))
            == place.read("whole/model.safetensors");
        assert!(same, "{name}: the models differ");
    }
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    // Steps so long that both signals fall into one of them.
    const SLOW: &str = "train --data digits --model mlp --set model.hidden=[3000,3000] --batch 1400 --epochs 50 --set log.every_steps=1 --quiet";
    let place = Place::new();
    for (name, first, second) in [("term", "-TERM", "-TERM"), ("both", "-INT", "-TERM")] {
        let mut child = spawn(&place, &format!("{SLOW} --out {name}"));
        wait_for_lines(&place, name, 1);
        signal(&child, first);
        // The same signal twice would count once if the first had not arrived yet.
        std::thread::sleep(Duration::from_millis(30));
        assert!(
            child.try_wait().unwrap().is_none(),
            "it did not finish its step"
        );
        signal(&child, second);
        let said = Said::from(child.wait_with_output().unwrap()).expect(1);
        assert_eq!((said.out.as_str(), said.err.as_str()), ("", ""));
    }
}

#[test]
fn a_trial_that_is_stopped_does_not_say_that_everything_works() {
    const SLOW: &str = "train --data digits --model mlp --set model.hidden=[3000,3000] --batch 1400 --quiet --fast-dev-run";
    let place = Place::new();
    let mut command = place.command(SLOW.split_whitespace());
    command
        .env("TMPDIR", place.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let run = format!("cortical-fast-dev-run-{}", child.id());
    wait_for_lines(&place, &run, 1);
    signal(&child, "-TERM");
    let said = Said::from(child.wait_with_output().unwrap()).expect(1);
    let want = "interrupted after step ";
    assert!(said.out.is_empty() && said.err.contains(want), "{said:?}");
    assert!(!place.path(&run).exists());
}

#[test]
fn two_processes_do_not_share_a_run() {
    let place = Place::new();
    let mut child = spawn(&place, &format!("{RUN} --out r"));
    wait_for_lines(&place, "r", 1);
    let said = place.run("resume r").expect(1);
    assert!(
        said.err
            .starts_with("error: r is in use by another process"),
        "{}",
        said.err
    );
    child.kill().unwrap();
    child.wait().unwrap();
    // The lock ends with the process, though its file stays.
    assert!(place.path("r/.lock").exists());
    place.run("resume r --quiet").expect(0);
}

#[test]
fn a_signal_before_the_first_step_ends_it_and_leaves_no_folder() {
    let place = Place::new();
    // A model that takes a while to draw.
    let line = "train --data moby-dick --model gpt2 --batch 1 --set optim.kind=sgd --set train.block=16 --out above/run";
    let child = spawn(&place, line);
    let started = Instant::now();
    while !place.path("above/run/recipe.toml").exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "no run");
        std::thread::sleep(Duration::from_millis(2));
    }
    signal(&child, "-TERM");
    let said = Said::from(child.wait_with_output().unwrap()).expect(1);
    assert!(
        said.err
            .contains("interrupted before the first step of above/run"),
        "{}",
        said.err
    );
    assert!(!place.path("above").exists());
}

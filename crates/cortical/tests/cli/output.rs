//! What goes to stdout and stderr when files are strangers' and disks are full.

use std::fs::File;

use crate::support::{Place, QUICK, Said};

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_under_stdout_is_an_error_and_a_closed_pipe_is_none() {
    let place = Place::new();
    place.run(QUICK).expect(0);
    for line in [
        "data",
        "data --json",
        "eval runs/iris-001",
        "inspect runs/iris-001",
        "train --print-recipe",
        "--help",
        "--version --json",
    ] {
        let mut command = place.command(line.split_whitespace());
        command.stdout(File::options().write(true).open("/dev/full").unwrap());
        let said = Said::from(command.output().unwrap()).expect(1);
        assert!(
            said.err.contains("cannot write the results to stdout: "),
            "{line}: {}",
            said.err
        );
    }
}

#[test]
fn control_characters_of_files_are_shown_and_not_done() {
    let place = Place::new();
    let hostile = "a\u{1b}[2J\u{9b}31m\u{202e}";
    let rows: String = (0..8)
        .map(|i| format!("{i},{}\n", if i % 2 == 0 { hostile } else { "plain" }))
        .collect();
    place.write("evil.csv", format!("x,y\n{rows}"));
    place.write("bad.csv", format!("x,y\n1,a\n{hostile},b\n"));
    for line in [
        "data evil.csv",
        "data evil.csv --json",
        "data bad.csv",
        "train --data evil.csv --epochs 2 --out evil",
        "eval evil",
        "predict evil evil.csv",
        "predict evil evil.csv --json",
        "inspect evil",
        "inspect evil --json",
    ] {
        let said = place.run(line);
        let all = said.out.clone() + &said.err;
        let raw = all.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(raw, None, "{line}: {all:?}");
        assert!(!all.contains('\u{202e}'), "{line}: {all:?}");
    }
    let json = place.run("predict evil evil.csv --json").json();
    assert_eq!(json["predictions"].as_array().unwrap().len(), 8);
}

#[test]
fn what_is_read_or_of_another_kind_is_not_written_over() {
    let place = Place::new();
    place.write("thesis.html", "mine");
    let line = "train --data iris --find-lr --out thesis.html";
    let said = place.run(line).expect(2);
    assert!(said.err.contains("replace it with --force"), "{}", said.err);
    assert_eq!(place.read("thesis.html"), b"mine");
    place.run(&format!("{line} --force")).expect(0);
    assert!(place.read("thesis.html").starts_with(b"<!doctype html>"));
    // Its own page may be written again.
    place.run(line).expect(0);

    place.write("table.csv", "1,2,a\n3,4,b\n5,6,a\n7,8,b\n2,2,a\n9,9,b\n");
    let said = place
        .run("train --data table.csv --find-lr --out table.csv --force")
        .expect(2);
    assert!(
        said.err.contains("is what this command reads"),
        "{}",
        said.err
    );

    place
        .run("train --model llama-tiny --data moby-dick --batch 1 --set train.max_steps=1 --set train.block=16 --set train.eval_blocks=1 --out lm")
        .expect(0);
    let weights = place.read("lm/model.safetensors");
    let said = place
        .run("logits lm --ids 1,2 --out lm/model.safetensors --force")
        .expect(2);
    assert!(
        said.err.contains("is what this command reads"),
        "{}",
        said.err
    );
    assert_eq!(place.read("lm/model.safetensors"), weights);
    for _ in 0..2 {
        place
            .run("logits lm --ids 1,2 --out lm/l.safetensors")
            .expect(0);
    }
}

#[test]
fn a_run_that_cannot_start_leaves_no_folder() {
    let place = Place::new();
    for line in [
        "train --data nowhere.csv --out a/b",
        "train --data iris --model mlp --set model.hidden=[200000,200000] --out a/b",
        "train --data moby-dick --model llama2-70b --out a/b",
        "train --data moby-dick --model llama2-70b --fast-dev-run",
        "train --data digits --model llama-tiny",
    ] {
        let said = place.run(line);
        assert!(matches!(said.code, Some(1 | 2)), "{line}: {said:?}");
        let left: Vec<_> = std::fs::read_dir(place.path(".")).unwrap().collect();
        assert!(left.is_empty(), "{line}: {left:?}");
    }
    let said = place
        .run("train --data moby-dick --model llama2-70b")
        .expect(2);
    assert!(
        said.err.contains("the training needs at least") && said.err.contains("this machine has"),
        "{}",
        said.err
    );
}

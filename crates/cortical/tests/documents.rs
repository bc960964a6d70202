//! The commands that README and docs show, run one after the other in an empty folder.
//!
//! Blocks marked `console` are run; those marked `console long` take minutes, a network or files that a reader brings.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// The commands of a page's short blocks, without their remarks and their output.
fn commands(page: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            is_inside = line == "```console";
        } else if let (true, Some(command)) = (is_inside, line.strip_prefix("$ ")) {
            commands.push(command.split("  #").next().unwrap().trim().to_owned());
        } else if let (true, Some(more)) = (is_inside, line.strip_prefix("    "))
            && let Some(last) = commands.last_mut()
            && last.ends_with('\\')
        {
            last.truncate(last.len() - 1);
            last.push_str(more);
        }
    }
    commands
}

/// A command of ours as a line for the shell; `None` for those of cargo that are not ours.
fn line(command: &str) -> Option<String> {
    let program = env!("CARGO_BIN_EXE_cortical");
    for start in ["cargo run --release -- ", "cortical "] {
        if let Some(arguments) = command.strip_prefix(start) {
            return Some(format!("'{program}' {arguments}"));
        }
    }
    (!command.starts_with("cargo ")).then(|| command.to_owned())
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages: Vec<PathBuf> = std::fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages.insert(0, root.join("README.md"));
    pages
}

#[test]
fn every_short_command_of_the_pages_works_in_their_order() {
    let mut count = 0;
    for page in pages() {
        let folder = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(&page).unwrap();
        for command in commands(&text) {
            let Some(line) = line(&command) else {
                continue;
            };
            let done = Command::new("sh")
                .args(["-c", &line])
                .current_dir(folder.path())
                .output()
                .unwrap();
            assert!(
                done.status.success(),
                "{}: {command}\n{}",
                page.display(),
                String::from_utf8_lossy(&done.stderr)
            );
            count += 1;
        }
        // What a page says about folders is where they are.
        if text.contains("runs/digits-001/\n") {
            assert!(folder.path().join("runs/digits-001/report.html").is_file());
        }
    }
    assert!(count >= 8, "only {count} commands were found");
}

#[test]
fn commands_are_found_in_short_blocks_only() {
    let page = "```console\n$ cortical data   # all\nname\n$ cortical train \\\n    --epochs 2\n```\n```console long\n$ cortical chat x\n```\n";
    assert_eq!(
        commands(page),
        ["cortical data", "cortical train --epochs 2"]
    );
}

//! `cortical-conformance [FOLDER]`: runs every reference case of a folder (our own by default) and prints a line for each.
//!
//! Exit code 0 if no case failed, 1 if one did, 2 if the folder or a file cannot be read.

use cortical_conformance::{cases_in, committed, run};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(committed, PathBuf::from);
    let cases = match cases_in(&folder) {
        Ok(cases) => cases,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let (mut passed, mut skipped, mut failed) = (0, 0, 0);
    for case in &cases {
        let outcome = run(case);
        println!("{outcome}");
        match &outcome.result {
            Ok(_) => passed += 1,
            Err(stop) if stop.is_skip() => skipped += 1,
            Err(_) => failed += 1,
        }
    }
    println!(
        "{} cases: {passed} passed, {failed} failed, {skipped} skipped",
        cases.len()
    );
    ExitCode::from(u8::from(failed > 0))
}

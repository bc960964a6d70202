//! `cortical-conformance [FOLDER]`: runs every reference case of a folder (our own by default) and prints a line for
//! each, then how many passed, failed and were skipped.
//!
//! Exit code 0 if no case failed, 1 if one did, 2 if the folder cannot be read or holds no case.

use cortical_conformance::{committed, run_file};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(committed, PathBuf::from);
    let paths = match cortical_testkit::cases(&folder) {
        Ok(paths) => paths,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    if paths.is_empty() {
        eprintln!(
            "{}: no .safetensors file is in this folder",
            folder.display()
        );
        return ExitCode::from(2);
    }
    // A case that makes something panic is reported as failed, without the default message between the lines.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for path in &paths {
        let outcome = run_file(path);
        println!("{outcome}");
        match &outcome.result {
            Ok(_) => passed += 1,
            Err(stop) if stop.is_skip() => skipped += 1,
            Err(_) => failed += 1,
        }
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    ExitCode::from(u8::from(failed > 0))
}

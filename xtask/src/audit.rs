//! `audit`: licences, bans and sources of everything we compile, by cargo-deny under the rules of .deny.toml.

use crate::command;
use crate::error::Result;
use crate::tree::root;
use std::path::{Path, PathBuf};

/// Pinned, because a newer one may refuse what this one took, or the other way round.
const VERSION: &str = "0.20.2";

/// Installs cargo-deny into `.cache/` on first use and runs its checks.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let deny = install(&root)?;
    check(&root, &deny, &["licenses", "bans", "sources"])?;
    // The advisory database is a git repository; where it cannot be reached that check has nothing to say.
    let reached = command::new(&deny, MEND)
        .within(&root)
        .args(["fetch", "db"])
        .read_quietly();
    match reached {
        Ok(_) => check(&root, &deny, &["advisories"]),
        Err(_) => {
            println!(
                "note: the advisory database cannot be reached from here, so known vulnerabilities were NOT checked"
            );
            Ok(())
        }
    }
}

const MEND: &str = "remove .cache/cargo-deny and run this again";

fn check(root: &Path, deny: &Path, checks: &[&str]) -> Result<()> {
    command::new(deny, MEND)
        .within(root)
        .args(["--all-features", "--locked", "check"])
        .args(checks)
        .run()
}

fn install(root: &Path) -> Result<PathBuf> {
    let home = root.join(".cache/cargo-deny");
    let deny = home
        .join("bin")
        .join(format!("cargo-deny{}", std::env::consts::EXE_SUFFIX));
    let installed = command::new(&deny, MEND).args(["--version"]).read_quietly();
    if installed.is_ok_and(|version| version.trim() == format!("cargo-deny {VERSION}")) {
        return Ok(deny);
    }
    println!("installing cargo-deny {VERSION} into .cache/; this takes some minutes, once");
    command::cargo(root)
        .args([
            "install",
            "cargo-deny",
            "--locked",
            "--force",
            "--version",
            VERSION,
            "--root",
        ])
        .args([&home])
        .run()?;
    Ok(deny)
}

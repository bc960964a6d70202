//! The arguments of the verbs for the shell: completions and manual pages.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical completions bash > ~/.local/share/bash-completion/completions/cortical\n  cortical completions zsh > ~/.zfunc/_cortical\n  cortical completions fish > ~/.config/fish/completions/cortical.fish"
)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical man > cortical.1\n  cortical man train | man -l -\n  cortical man --out ~/.local/share/man/man1"
)]
pub(crate) struct ManArgs {
    /// The verb whose page to print; the whole command's when absent
    #[arg(value_name = "VERB", conflicts_with = "out")]
    pub(crate) about: Option<String>,
    /// Write every page into this folder, cortical.1 and cortical-VERB.1, which is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

//! `completions` and `man`: what a shell and its manual know of the command, from the arguments themselves.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use serde_json::json;

use crate::cli::Cli;
use crate::cli_shell::{CompletionsArgs, ManArgs};
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::style::count;

/// `cortical completions`
pub(crate) fn completions(args: &CompletionsArgs, output: &Output) -> Result<Done> {
    let mut script = Vec::new();
    let mut command = Cli::command();
    clap_complete::generate(args.shell, &mut command, "cortical", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    let value = json!({ "shell": args.shell.to_string(), "script": script });
    output.written(&value, &script);
    Ok(Done::Finished)
}

/// `cortical man`
pub(crate) fn man(args: &ManArgs, output: &Output) -> Result<Done> {
    let pages = pages();
    if let Some(folder) = &args.out {
        write(folder, &pages)?;
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        output.result(&json!({ "folder": folder, "pages": names }), |style| {
            let folder = style.bold(&folder.display().to_string());
            format!("  {} pages in {folder}", count(names.len()))
        });
        return Ok(Done::Finished);
    }
    let name = match &args.about {
        None => "cortical.1".to_owned(),
        Some(verb) => format!("cortical-{verb}.1"),
    };
    let Some((_, page)) = pages.iter().find(|(own, _)| *own == name) else {
        return Err(Error::NoVerb {
            found: args.about.clone().unwrap_or_default(),
        });
    };
    output.written(&json!({ "name": name, "page": page }), page);
    Ok(Done::Finished)
}

/// Every page with the name of its file.
fn pages() -> Vec<(String, String)> {
    let mut command = Cli::command();
    // Only a built command hands its global arguments on to its verbs.
    command.build();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let verbs = verbs.filter(|verb| verb.get_name() != "help").map(|verb| {
        let name = format!("cortical-{}", verb.get_name());
        page(verb.clone(), &name)
    });
    std::iter::once(page(command.clone(), "cortical"))
        .chain(verbs.collect::<Vec<_>>())
        .collect()
}

fn page(command: Command, name: &str) -> (String, String) {
    let mut page = Vec::new();
    let written = Man::new(command).render(&mut page);
    written.expect("memory can be written to");
    (
        format!("{name}.1"),
        String::from_utf8_lossy(&page).into_owned(),
    )
}

fn write(folder: &Path, pages: &[(String, String)]) -> Result<()> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |why| Error::File { path, why }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    for (name, page) in pages {
        let path = folder.join(name);
        std::fs::write(&path, page).map_err(failed(&path))?;
    }
    Ok(())
}

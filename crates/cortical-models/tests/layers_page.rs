//! The page about layers says what the registry says.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fmt::Write;

use cortical_models::Kinds;

/// What stands above the list of kinds.
const HEAD: &str = include_str!("layers_page.md");

/// The page, from the registry.
fn page() -> String {
    let kinds = Kinds::standard();
    let mut summaries: Vec<_> = kinds.summaries().collect();
    summaries.sort_unstable();
    let mut page = HEAD.to_owned();
    for (kind, summary) in summaries {
        writeln!(page, "\n### {kind}\n\n{summary}").unwrap();
        let settings = kinds.settings_of(kind);
        if settings.is_empty() {
            continue;
        }
        writeln!(page, "\n| setting | default | what it is |\n|---|---|---|").unwrap();
        for line in settings {
            let default = line
                .value
                .map_or(String::new(), |value| format!("`{value}`"));
            writeln!(page, "| `{}` | {default} | {} |", line.name, line.remark).unwrap();
        }
    }
    page
}

#[test]
fn the_page_about_layers_is_as_the_registry_says() {
    let page = page();
    // Shown where the test fails, to be put into the file.
    println!("{page}");
    assert!(
        page == include_str!("../../../docs/LAYERS.md"),
        "docs/LAYERS.md is not what the registry says, which stands above"
    );
}

//! Checks of packages: who may depend on whom, where they stand, and whether they can be published.

use super::Finding;
use crate::tree::{Dependency, Kind, Package, Tree};

/// The only package that a dev-dependency may name whatever its tier.
const TESTKIT: &str = "cortical-testkit";
/// The command, which stands above everything.
const COMMAND: (&str, u64) = ("cortical", 11);
/// Where the map of the crates is drawn.
const MAP: &str = "docs/ARCHITECTURE.md";
/// Packages outside the tiers and their folders; nothing may depend on them.
const OUTSIDE: [(&str, &str); 2] = [("cortical-bench", "benches"), ("xtask", "xtask")];

/// A package depends only on packages of a strictly lower tier, in tests too.
pub(super) fn tiers(tree: &Tree) -> Vec<Finding> {
    let tier_of = |name: &str| {
        let package = tree.packages.iter().find(|package| package.name == name);
        package.and_then(|package| package.tier)
    };
    let mut findings = Vec::new();
    for package in &tree.packages {
        for dependency in package.dependencies.iter().filter(|d| d.local) {
            let allowed = match (package.tier, tier_of(&dependency.name)) {
                // The packages outside the tiers stand on top of all of them.
                (None, Some(_)) => true,
                (_, None) => false,
                (Some(own), Some(other)) => other < own,
            };
            let testkit = dependency.kind == Kind::Dev && dependency.name == TESTKIT;
            if !allowed && !testkit {
                findings.push(bad_edge(
                    tree,
                    package,
                    dependency,
                    tier_of(&dependency.name),
                ));
            }
        }
    }
    findings
}

fn bad_edge(tree: &Tree, package: &Package, to: &Dependency, tier: Option<u64>) -> Finding {
    let said = |tier: Option<u64>| tier.map_or("no tier".to_owned(), |tier| format!("tier {tier}"));
    let kind = match (to.kind, to.optional) {
        (Kind::Normal, false) => "depends",
        (Kind::Normal, true) => "optionally depends",
        (Kind::Build, _) => "depends in its build script",
        (Kind::Dev, _) => "depends in its tests",
    };
    at_key(
        tree,
        package,
        &to.name,
        format!(
            "{} ({}) {kind} on {} ({})",
            package.name,
            said(package.tier),
            to.name,
            said(tier)
        ),
        "depend on a strictly lower tier only: move the shared part down, or the user of both up",
    )
}

/// A finding at the line of a package's manifest that sets `key`.
pub(super) fn at_key(
    tree: &Tree,
    package: &Package,
    key: &str,
    what: String,
    mend: &str,
) -> Finding {
    let file = package.manifest();
    Finding {
        line: tree.line_of_key(&file, key),
        file,
        what,
        mend: mend.to_owned(),
    }
}

fn is_outside(package: &Package) -> bool {
    OUTSIDE.iter().any(|(name, _)| package.name == *name)
}

/// Every package under `crates/` states its tier; the command's is the highest.
pub(super) fn tier_is_stated(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &tree.packages {
        let what = match (is_outside(package), package.tier) {
            (false, None) => format!("{} states no tier", package.name),
            (true, Some(_)) => format!("{} stands outside the tiers but states one", package.name),
            (false, Some(tier)) if package.name == COMMAND.0 && tier != COMMAND.1 => {
                format!("{} is tier {tier}, not {}", package.name, COMMAND.1)
            }
            _ => continue,
        };
        let mend = "set `tier` under [package.metadata.cortical] as docs/ARCHITECTURE.md has it";
        findings.push(at_key(tree, package, "tier", what, mend));
    }
    findings
}

/// A package is found where its name says.
pub(super) fn folder_is_name(tree: &Tree) -> Vec<Finding> {
    let home = |package: &Package| {
        let outside = OUTSIDE.iter().find(|(name, _)| package.name == *name);
        outside.map_or_else(
            || format!("crates/{}", package.name),
            |(_, folder)| (*folder).to_owned(),
        )
    };
    let mut findings = Vec::new();
    for package in &tree.packages {
        let home = home(package);
        if package.folder != home {
            let what = format!("{} is in {}, not in {home}", package.name, package.folder);
            let mend = "give folder and package the same name";
            findings.push(at_key(tree, package, "name", what, mend));
        }
    }
    findings
}

/// A published package says what it is, where to read on, under which words it is found and under which licence, and
/// needs nothing unpublished.
pub(super) fn publishable(tree: &Tree) -> Vec<Finding> {
    let published = |name: &str| tree.packages.iter().any(|p| p.name == name && p.published);
    let mut findings = Vec::new();
    for package in tree.packages.iter().filter(|package| package.published) {
        let mut find = |key: &str, what: String, mend: &str| {
            findings.push(at_key(tree, package, key, what, mend));
        };
        for (key, value) in [
            ("description", &package.description),
            ("license", &package.license),
            ("readme", &package.readme),
        ] {
            if value.as_deref().is_none_or(|value| value.trim().is_empty()) {
                let what = format!("{} is published without a {key}", package.name);
                find("name", what, "add the key, or `publish = false`");
            }
        }
        for (key, list) in [
            ("keywords", &package.keywords),
            ("categories", &package.categories),
        ] {
            // A registry takes one to five of each.
            if !(1..=5).contains(&list.len()) {
                let what = format!("{} is published with {} {key}", package.name, list.len());
                find("name", what, "give one to five");
            }
        }
        // Cargo drops dev-dependencies without a version when it packages, so tests may use anything.
        let needed = |d: &&Dependency| d.local && d.kind != Kind::Dev;
        for dependency in package.dependencies.iter().filter(needed) {
            let name = &dependency.name;
            if !published(name) {
                let what = format!(
                    "{} is published and needs {name}, which is not",
                    package.name
                );
                find(name, what, "publish both or neither");
            } else if !dependency.versioned {
                let what = format!("{} needs {name} without a version", package.name);
                find(
                    name,
                    what,
                    "state its version in the root's [workspace.dependencies]",
                );
            }
        }
    }
    findings
}

/// The map of the crates shows every crate at its tier.
pub(super) fn on_the_map(tree: &Tree) -> Vec<Finding> {
    let map = rows(tree.text(MAP).unwrap_or_default());
    let at = |line: usize, what: String, mend: &str| Finding {
        file: MAP.to_owned(),
        line,
        what,
        mend: mend.to_owned(),
    };
    let mut findings = Vec::new();
    for package in tree.packages.iter().filter(|package| !is_outside(package)) {
        match map.iter().find(|row| row.name == package.name) {
            None => findings.push(at(
                1,
                format!("{} is not on the map", package.name),
                "add a row `| tier | `name` | what lives there | what it does not know |`",
            )),
            Some(row) if Some(row.tier) != package.tier => findings.push(at(
                row.line,
                format!("{} is shown at tier {}, not at its own", row.name, row.tier),
                "make the map and [package.metadata.cortical] agree",
            )),
            Some(_) => {}
        }
    }
    findings
}

/// A row of the map: `| 0 | `cortical-kernels` | ...`.
struct Row<'a> {
    line: usize,
    tier: u64,
    name: &'a str,
}

fn rows(map: &str) -> Vec<Row<'_>> {
    map.lines()
        .enumerate()
        .filter_map(|(index, line)| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            Some(Row {
                line: index + 1,
                tier: cells.next()?.parse().ok()?,
                name: cells.next()?.strip_prefix('`')?.strip_suffix('`')?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_finds, assert_tidy, file, local, package};
    use super::*;

    fn tree(packages: Vec<Package>) -> Tree {
        Tree {
            packages,
            ..Tree::default()
        }
    }

    #[test]
    fn dependencies_point_down() {
        assert_tidy(tiers);
    }

    fn check_edge(kind: Kind, optional: bool, to: &str, want: &[&str]) {
        let mut edge = local(to, kind);
        edge.optional = optional;
        let mut tree = tree(vec![
            package("low", 1, vec![]),
            package("middle", 2, vec![edge]),
            package("beside", 2, vec![]),
            package("high", 3, vec![]),
            package(TESTKIT, 5, vec![]),
            package("outside", 0, vec![]),
        ]);
        tree.packages[5].tier = None;
        let text = format!("[package]\nname = \"middle\"\n[dependencies]\n{to}.workspace = true\n");
        tree.files.push(file("crates/middle/Cargo.toml", &text));
        assert_finds(tiers, &tree, want);
    }

    #[test]
    fn an_edge_that_does_not_point_down_is_found_in_every_kind() {
        let manifest = "crates/middle/Cargo.toml:4: middle (tier 2)";
        let finding = |rest: &str| format!("{manifest} {rest}");
        for kind in [Kind::Normal, Kind::Build, Kind::Dev] {
            check_edge(kind, false, "low", &[]);
        }
        check_edge(
            Kind::Normal,
            false,
            "beside",
            &[&finding("depends on beside (tier 2)")],
        );
        check_edge(
            Kind::Normal,
            false,
            "high",
            &[&finding("depends on high (tier 3)")],
        );
        check_edge(
            Kind::Normal,
            true,
            "high",
            &[&finding("optionally depends on high (tier 3)")],
        );
        check_edge(
            Kind::Build,
            false,
            "high",
            &[&finding("depends in its build script on high (tier 3)")],
        );
        check_edge(
            Kind::Dev,
            false,
            "beside",
            &[&finding("depends in its tests on beside (tier 2)")],
        );
        check_edge(
            Kind::Normal,
            false,
            "outside",
            &[&finding("depends on outside (no tier)")],
        );
    }

    #[test]
    fn tests_alone_may_use_the_testkit() {
        check_edge(Kind::Dev, false, TESTKIT, &[]);
        let finding =
            format!("crates/middle/Cargo.toml:4: middle (tier 2) depends on {TESTKIT} (tier 5)");
        check_edge(Kind::Normal, false, TESTKIT, &[&finding]);
    }

    #[test]
    fn every_crate_states_its_tier() {
        assert_tidy(tier_is_stated);
    }

    #[test]
    fn a_missing_or_wrong_tier_is_found() {
        let mut tree = tree(vec![
            package("a", 1, vec![]),
            package("cortical", 10, vec![]),
            package("xtask", 1, vec![]),
        ]);
        tree.packages[0].tier = None;
        tree.files.push(file(
            "crates/cortical/Cargo.toml",
            "[package.metadata.cortical]\ntier = 10\n",
        ));
        assert_finds(
            tier_is_stated,
            &tree,
            &[
                "crates/a/Cargo.toml:1: a states no tier",
                "crates/cortical/Cargo.toml:2: cortical is tier 10, not 11",
                "crates/xtask/Cargo.toml:1: xtask stands outside the tiers but states one",
            ],
        );
    }

    #[test]
    fn folders_are_named_after_their_packages() {
        assert_tidy(folder_is_name);
    }

    #[test]
    fn a_package_in_another_folder_is_found() {
        let mut tree = tree(vec![
            package("a", 1, vec![]),
            package("b", 1, vec![]),
            package("xtask", 1, vec![]),
        ]);
        tree.packages[1].folder = "crates/bee".to_owned();
        tree.packages[2].folder = "xtask".to_owned();
        assert_finds(
            folder_is_name,
            &tree,
            &["crates/bee/Cargo.toml:1: b is in crates/bee, not in crates/b"],
        );
    }

    #[test]
    fn published_crates_can_be_published() {
        assert_tidy(publishable);
    }

    #[test]
    fn what_cannot_be_published_is_found() {
        let mut unversioned = local("b", Kind::Normal);
        unversioned.versioned = false;
        let edges = vec![
            unversioned,
            local("hidden", Kind::Normal),
            local("hidden", Kind::Dev),
        ];
        let mut tree = tree(vec![
            package("a", 2, edges),
            package("b", 1, vec![]),
            package("hidden", 1, vec![]),
        ]);
        tree.packages[0].license = None;
        tree.packages[0].readme = None;
        tree.packages[1].categories.clear();
        tree.packages[1].keywords = vec!["k".to_owned(); 6];
        tree.packages[1].description = Some(" ".to_owned());
        tree.packages[2].published = false;
        tree.packages[2].description = None;
        assert_finds(
            publishable,
            &tree,
            &[
                "crates/a/Cargo.toml:1: a is published without a license",
                "crates/a/Cargo.toml:1: a is published without a readme",
                "crates/a/Cargo.toml:1: a needs b without a version",
                "crates/a/Cargo.toml:1: a is published and needs hidden, which is not",
                "crates/b/Cargo.toml:1: b is published without a description",
                "crates/b/Cargo.toml:1: b is published with 6 keywords",
                "crates/b/Cargo.toml:1: b is published with 0 categories",
            ],
        );
    }

    #[test]
    fn the_map_shows_the_house() {
        assert_tidy(on_the_map);
    }

    #[test]
    fn a_crate_missing_from_the_map_is_found() {
        let mut tree = tree(vec![
            package("a", 1, vec![]),
            package("b", 2, vec![]),
            package("c", 3, vec![]),
            package("xtask", 0, vec![]),
        ]);
        tree.files.push(file(
            MAP,
            "# Map\n| Tier | Crate |\n|---|---|\n| 1 | `a` | x |\n| 1 | `b` | y |\n",
        ));
        assert_finds(
            on_the_map,
            &tree,
            &[
                "docs/ARCHITECTURE.md:5: b is shown at tier 1, not at its own",
                "docs/ARCHITECTURE.md:1: c is not on the map",
            ],
        );
    }
}
